/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * peers.pml - a dead peer's pins stand in nobody's way, a live one's always
 * count, whoever has the slot
 *
 * One peer slot {claim, pin}, two process slots {lock, generation}, one extent
 * whose content has a version, and an index slot that names the version.  There
 * are PROCESSES processes, the first and third with one process slot, the
 * second with the other; or (-DSAME) all with one, one after the other.  Each
 * of them does
 *
 *   take the process slot's lock
 *   raise the slot's generation
 *   free the claim if an earlier owner of the process slot left it
 *   claim the peer slot when it is free: FREE -> LIVE {process, generation}
 *   make scans reach the slot; zero its pin
 *   get: w = slot; pin; slot == w ?; read; unpin        as often as it likes
 *   give the slot back, or let its thread exit while the pin is held: ORPHANED,
 *   and FREE after the last unpin; then maybe claim it again
 *
 * and may be killed anywhere, which opens its lock.  Meanwhile one evictor
 * unlinks, scans and reuses the extent, one sweeper frees dead claims, and both
 * may stop for ever anywhere.  Their verdict on a claim takes, in this order:
 * the pin (the evictor), the claim, the generation, the probe of the lock; it
 * holds for this claim word alone.  Claims carry no incarnation here: with it
 * fewer of them are equal.
 *
 * Checked: a version that is pinned and re-checked stays; nobody frees a living
 * peer's claim; a dead peer's claim doesn't pass for a living one's once the
 * next owner of its process slot has raised the generation; a pin that the
 * evictor minds was set by the slot's owner, once that has zeroed it.
 *
 * Mutants: M_EARLY_CLAIM     the evictor reads the claim before it unlinks
 *          M_LATE_CLAIM      the verdict is applied to a claim that is read
 *                            after the probe
 *          M_ADOPT           who finds a dead claim zeroes its pin, then frees
 *                            the claim
 *          M_NO_ZERO         a new owner doesn't zero the pin
 *          M_ORPHAN_IS_FREE  an ORPHANED peer's pin doesn't count
 *          M_LATE_REACH      scans are made to reach the slot after its first
 *                            pin was set and the word re-checked
 *          M_LATE_BUMP       the generation is raised after the peer slot was
 *                            claimed
 *          M_NO_BUMP         (with SAME) it isn't raised: a verdict on the dead
 *                            one's claim hits the next one's, which is equal;
 *                            with V_NO_FREE, the dead peer lives again
 * Right as well, so the order or step isn't what keeps the promises above:
 *          V_CLAIM_THEN_PIN  the claim is read before the pin, but after the
 *                            unlinking
 *          V_FREE_THEN_BUMP  inherited claims are freed before the generation
 *                            is raised
 *          V_NO_FREE         they aren't freed at all (a sweep does that; it
 *                            would not after a wrap of the generations)
 */
#ifndef PROCESSES
#define PROCESSES 2
#endif
#ifdef SAME
#define SLOT_OF(life) 0
#else
#define SLOT_OF(life) ((life) == 2) /* 1 and 3 share a process slot */
#endif
#define VERSIONS 2

/* A claim: {state, process slot, its generation}; 0 is free. */
#define FREE	       0
#define LIVE(p, g)     (8 + (p) * 4 + (g))
#define ORPHAN(claim)  ((claim) + 8)
#define IS_LIVE(c)     ((c) / 8 == 1)
#define PROCESS(c)     (((c) / 4) % 2)
#define GENERATION(c)  ((c) % 4)

#ifdef M_ORPHAN_IS_FREE
#define HELD(c) IS_LIVE(c)
#else
#define HELD(c) ((c) != FREE)
#endif

byte claim;
byte pin; /* 1: the extent */
bit reach; /* scans come as far as this peer slot */
byte lock[2]; /* 0: open; else the process that has it */
byte generation[2];
byte slot;	  /* 0, or the version that it names */
byte version = 1; /* of the extent */

/* Ghosts: what nobody in the segment knows. */
bit dead[4];
byte owner;	  /* of the peer slot */
bit zeroed;	  /* the owner has zeroed the pin */
byte pinned_by;
byte enrolled[2]; /* who raised the generation last */

/* Free a claim that was found dead. */
inline free_dead(c)
{
	d_step {
		if
		:: claim == (c) ->
			assert(dead[owner]);
			claim = FREE; owner = 0; zeroed = 0
		:: else
		fi
	}
}

/* -- a process, with one thread --------------------------------- */

#ifdef M_NO_BUMP
#define BUMPED(p) generation[p]
#else
#define BUMPED(p) (generation[p] + 1)
#endif

inline bump()
{
	d_step {
		generation[p] = BUMPED(p);
		enrolled[p] = me
	}
}

inline free_inherited()
{
#ifndef V_NO_FREE
	c = claim;
	if
	:: HELD(c) && PROCESS(c) == p -> free_dead(c)
	:: !HELD(c) || PROCESS(c) != p
	fi;
#endif
	c = 0
}

inline give_back(held)
{
	atomic {
		assert(claim == (held) && owner == me);
		claim = FREE; owner = 0; zeroed = 0; mine = 0
	}
}

inline read()
{
	assert(version == w)
}

proctype Process(byte me; byte p)
{
	byte c, mine, w;

end:	d_step { lock[p] == 0 -> lock[p] = me };
	{
#if defined(V_FREE_THEN_BUMP)
		free_inherited();
		bump();
#elif defined(M_LATE_BUMP)
		free_inherited();
#else
		bump();
		free_inherited();
#endif

		/* become a peer */
end_claim:	atomic {
			claim == FREE ->
			mine = LIVE(p, generation[p]);
			claim = mine; owner = me; zeroed = 0
		};
#ifdef M_LATE_BUMP
		if
		:: enrolled[p] != me -> bump()
		:: else
		fi;
#endif
#ifndef M_LATE_REACH
		reach = 1;
#endif
#ifdef M_NO_ZERO
		zeroed = 1;
#else
		d_step { pin = 0; pinned_by = 0; zeroed = 1 };
#endif

		/* get */
end_get:	do
		:: d_step { slot != 0 -> w = slot };
			d_step { pin = 1; pinned_by = me };
			if
			:: slot == w ->
#ifdef M_LATE_REACH
				reach = 1;
#endif
				read();
				if
				:: skip
				:: goto thread_exits
				fi
			:: slot != w
			fi;
			d_step { pin = 0; pinned_by = 0; w = 0 }
		:: break
		od;
		give_back(mine);
		goto end_claim;
thread_exits:	claim = ORPHAN(mine); /* by CAS; nobody else may have */
		read();
		d_step { pin = 0; pinned_by = 0; w = 0 };
		give_back(ORPHAN(mine));
		goto end_claim
	} unless {
		dead[me]
	}
}

/* Kills whom and when it likes; the kernel then opens the lock. */
proctype Killer()
{
end:	do
	:: d_step { lock[0] != 0 -> dead[lock[0]] = 1; lock[0] = 0 }
	:: d_step { lock[1] != 0 -> dead[lock[1]] = 1; lock[1] = 0 }
	od
}

/* -- those who judge ------------------------------------------------------ */

/* Who has the process slot now has raised the generation: a claim of another's
   must not pass for a living one's any more. */
#define MUST_KNOW(p) \
	(enrolled[p] == lock[p] && lock[p] != 0 && lock[p] != who)

inline load_claim()
{
	d_step { c = claim; who = owner }
}

/* Is claim c, which is held, a dead one's? */
inline judge()
{
	d_step {
		found_dead = (generation[PROCESS(c)] != GENERATION(c));
		assert(found_dead || claim != c || !MUST_KNOW(PROCESS(c)))
	};
	d_step { found_dead = found_dead || lock[PROCESS(c)] == 0 };
#ifdef M_LATE_CLAIM
	load_claim();
	found_dead = found_dead && HELD(c);
#endif
}

inline free_it()
{
#ifdef M_ADOPT
	pin = 0;
#endif
	free_dead(c)
}

/* Found in claim_any_slot: the table is full. */
proctype Sweeper()
{
	byte c, who;
	bit found_dead;

end:	do
	:: d_step { HELD(claim) -> c = claim; who = owner };
		judge();
		if
		:: found_dead -> free_it()
		:: !found_dead
		fi;
		d_step { c = 0; who = 0; found_dead = 0 }
	od
}

inline load_pin()
{
	d_step {
		p = (reach && pin);
		assert(!p || !HELD(claim) || !zeroed || pinned_by == owner)
	}
}

proctype Evictor()
{
	byte c, p, who;
	bit found_dead;

end:	do
	:: true ->
#ifdef M_EARLY_CLAIM
		load_claim();
#endif
		slot = 0;
scan:
#ifdef V_CLAIM_THEN_PIN
		load_claim();
#endif
		load_pin();
		if
		:: p == 0 -> goto reuse
		:: p == 1
		fi;
#if !defined(M_EARLY_CLAIM) && !defined(V_CLAIM_THEN_PIN)
		load_claim();
#endif
		if
		:: !HELD(c) -> goto reuse
		:: HELD(c) -> judge()
		fi;
		if
		:: found_dead -> free_it()
		:: !found_dead -> goto scan /* pinned: look again later */
		fi;
reuse:		atomic {
			version = version % VERSIONS + 1;
			c = 0; p = 0; who = 0; found_dead = 0
		};
		slot = version
	od
}

init {
	atomic {
		run Process(1, SLOT_OF(1));
		run Process(2, SLOT_OF(2));
#if PROCESSES > 2
		run Process(3, SLOT_OF(3));
#endif
		run Killer();
		run Sweeper();
		run Evictor();
	}
}
