/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * insert.pml - two final words of one key never stand in the index at once
 *
 * One window of SLOTS slots and one key.  Each of SETTERS processes sets the
 * key once, in the four steps of the index:
 *
 *   (1) look for a final word of the key; if there is one, replace it by CAS;
 *   (2) else put the own word, tentative, in an empty slot or a victim's;
 *   (3) look at the whole window again: a final word of the key -> withdraw,
 *       start again; another's tentative word at a higher position -> abort it
 *       and look again; at a lower one -> withdraw and start again, or, after
 *       some rounds, abort it and look again;
 *   (4) CAS tentative -> final; failure means that somebody aborted us.
 *
 * All setters look through the window in one order, which need not be that of
 * the positions (a window is two buckets): it begins at any slot.
 *
 * The world around them is one process with one state, which may at any moment
 * empty any slot (deletes, evictions, aborts), carry the key's entry to another
 * extent (its final word changes), or fill an empty slot with another key's
 * word (so that the window gets full and victims are needed).
 *
 * Checked: at every moment at most one final word of the key.  A setter may
 * stop for ever after any step: every prefix of every interleaving is searched,
 * and nothing here waits for another process.
 *
 * -DALONE: at any moment all setters but one are killed, wherever they are, and
 * the world stands still.  Checked: the survivor finishes within a bounded
 * number of restarts, and is never blocked.
 *
 * Mutants: M_FINALISE_OTHER  who gives way finalises the other's tentative word
 *          M_PLAIN_STORE     step 4 by a store instead of a CAS
 *          M_NO_RESCAN       no step 3
 *          M_HALF_RESCAN     step 3 looks at lower positions only
 *          M_BLIND_REPLACE   step 1 replaces by a store instead of a CAS
 *          M_NO_ABORT        (with ALONE) a lower tentative word is waited for
 */
#ifndef SLOTS
#define SLOTS 3
#endif
#ifndef SETTERS
#define SETTERS 2
#endif

/* Slot words: setter s writes the value s, tentative or final. */
#define EMPTY	     0
#define OLD	     4 /* the key's value from before */
#define COPY	     5 /* any of its values, carried to another extent */
#define OTHER	     7 /* a word of another key: good as a victim */
#define TENT(s)	     (8 + (s))
#define TENTATIVE(w) ((w) > 8)
#define FINAL(w)     ((w) != EMPTY && (w) < OTHER)
#define FREE(w)	     ((w) == EMPTY || (w) == OTHER)

/* How many rounds a setter gives way; and how often a lone one may restart: in
   those rounds, and once for each slot. */
#define PATIENCE 1
#define RESTARTS (PATIENCE + SLOTS)

#if SLOTS > 2
#define FINALS (FINAL(slot[0]) + FINAL(slot[1]) + FINAL(slot[2]))
#else
#define FINALS (FINAL(slot[0]) + FINAL(slot[1]))
#endif

/* The n-th slot that is looked at. */
#define NTH(n) (((n) + first) % SLOTS)

byte first;
byte slot[SLOTS];
byte survivor; /* 0: nobody was killed; else the setter that goes on */
#ifdef ALONE
bit finished[SETTERS + 1];
#endif

#if SLOTS > 2
#define FINALS (FINAL(slot[0]) + FINAL(slot[1]) + FINAL(slot[2]))
#else
#define FINALS (FINAL(slot[0]) + FINAL(slot[1]))
#endif

inline cas(at, old, new)
{
	d_step {
		ok = (slot[at] == (old));
		if
		:: ok -> slot[at] = (new)
		:: else
		fi;
		assert(FINALS <= 1)
	}
}

inline store(at, new)
{
	d_step {
		slot[at] = (new);
		ok = 1;
		assert(FINALS <= 1)
	}
}

#ifdef M_HALF_RESCAN
#define RIVAL(at) (!FREE(slot[at]) && (at) < own)
#else
#define RIVAL(at) (!FREE(slot[at]) && (at) != own)
#endif

/* After how many rounds a setter no longer gives way is left open, unless
   progress is to be checked. */
#if defined(M_NO_ABORT)
#define GIVES_WAY(at) ((at) < own)
#define MAY_ABORT(at) ((at) > own)
#elif defined(ALONE)
#define GIVES_WAY(at) ((at) < own && round < PATIENCE)
#define MAY_ABORT(at) ((at) > own || round == PATIENCE)
#else
#define GIVES_WAY(at) ((at) < own)
#define MAY_ABORT(at) true
#endif

/* Every step below loads one slot at most, or is one CAS. */
proctype Setter(byte me)
{
	byte i, w, own;
	bit ok;
#ifdef ALONE
	byte round, lone_restarts;
#endif

	{
		goto look;
again:
		atomic {
			i = 0;
			w = EMPTY;
			own = 0;
			ok = 0;
#ifdef ALONE
			if
			:: round < PATIENCE -> round++
			:: else
			fi;
			if
			:: survivor == me ->
				lone_restarts++;
				assert(lone_restarts <= RESTARTS)
			:: else
			fi
#endif
		}
look:
		/* (1) */
		do
		:: atomic { i < SLOTS && !FINAL(slot[NTH(i)]) -> i++ }
		:: atomic {
			i < SLOTS && FINAL(slot[NTH(i)]) ->
				i = NTH(i); w = slot[i]; break }
		:: i == SLOTS -> goto insert
		od;
#ifdef M_BLIND_REPLACE
		store(i, me);
#else
		cas(i, w, me);
#endif
		if
		:: ok -> goto done
		:: !ok -> goto again
		fi;
insert:
		/* (2): anywhere, which covers every order of choosing */
		atomic {
			i = 0;
			if
			:: own = 0
			:: own = 1
#if SLOTS > 2
			:: own = 2
#endif
			fi;
			w = slot[own]
		}
		if
		:: FREE(w) -> cas(own, w, TENT(me))
		:: TENTATIVE(w) -> /* the window may be full of them */
			cas(own, w, EMPTY);
			goto again
		:: FINAL(w) -> goto again
		fi;
		if
		:: ok
		:: !ok -> goto again
		fi;

		/* (3) */
#ifndef M_NO_RESCAN
		do
		:: atomic { i < SLOTS && !RIVAL(NTH(i)) -> i++ }
		:: atomic { i < SLOTS && RIVAL(NTH(i)) -> w = slot[NTH(i)] }
			if
			:: FINAL(w) ->
				cas(own, TENT(me), EMPTY);
				goto again
			:: TENTATIVE(w) && GIVES_WAY(NTH(i)) ->
				cas(own, TENT(me), EMPTY);
#ifdef M_FINALISE_OTHER
				cas(NTH(i), w, w - 8);
#endif
				goto again
			:: TENTATIVE(w) && MAY_ABORT(NTH(i)) ->
				cas(NTH(i), w, EMPTY) /* and look again */
			fi
		:: i == SLOTS -> break
		od;
#endif

		/* (4) */
#ifdef M_PLAIN_STORE
		store(own, me);
#else
		cas(own, TENT(me), me);
#endif
		if
		:: ok
		:: !ok -> goto again
		fi;
done:
#ifdef ALONE
		finished[me] = 1
#else
		skip
#endif
	}
#ifdef ALONE
	unless {
		survivor != 0 && survivor != me
	}
#endif
}

/* Deletes, evictions and aborts; copies; other keys' sets. */
#ifdef DELETES_ONLY
#define CHANGE(at) \
	:: d_step { survivor == 0 && slot[at] != EMPTY -> slot[at] = EMPTY }
#else
#define CHANGE(at) \
	:: d_step { survivor == 0 && slot[at] != EMPTY -> slot[at] = EMPTY } \
	:: d_step { survivor == 0 && FINAL(slot[at]) -> slot[at] = COPY } \
	:: d_step { survivor == 0 && slot[at] == EMPTY -> slot[at] = OTHER }
#endif

proctype World()
{
end:	do
	CHANGE(0)
	CHANGE(1)
#if SLOTS > 2
	CHANGE(2)
#endif
	od
}

#ifdef ALONE
proctype Killer()
{
	if
	:: survivor = 1
	:: survivor = 2
#if SETTERS > 2
	:: survivor = 3
#endif
	fi;
	timeout; /* nobody can do anything any more */
	assert(finished[survivor])
}
#endif

init {
	atomic {
		if
		:: first = 0
		:: first = 1
#if SLOTS > 2
		:: first = 2
#endif
		fi;
		if
		:: slot[0] = OLD
		:: slot[1] = OLD
#if SLOTS > 2
		:: slot[2] = OLD
#endif
		:: skip
		fi;
		run Setter(1);
		run Setter(2);
#if SETTERS > 2
		run Setter(3);
#endif
		run World();
#ifdef ALONE
		run Killer();
#endif
	}
}
