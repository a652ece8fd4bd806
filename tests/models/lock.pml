/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lock.pml - a lock has one owner, and a dead one's goes to the next
 *
 * A table of PLACES words {state, owner, seq}, and TAKERS takers of one name:
 *
 *   again  look at all places: HELD by the living: sleep as long as the word's
 *          low half is what was seen; then again.  HELD by a dead one: CAS it to
 *          {HELD, me}: it is ours
 *          CAS a FREE word, else one of the dead, to WRITING; none: again
 *          CAS it to TENTATIVE
 *          look at all other places: HELD: CAS ours to FREE, again.  TENTATIVE,
 *          further up: CAS it to FREE; lower down: the same as for HELD, or,
 *          after some rounds, as for one further up
 *          CAS ours to HELD; if somebody has taken it away: again
 *   inside take a number, which grows
 *          CAS the word to FREE, wake all; the same by mistake once more
 *
 * With KILL, one taker is killed, wherever it is; sleepers that wake then ask
 * whether the owner lives.  Without it no sleeper wakes by itself, so that a
 * wake-up that is lost is found.  OTHER: a lock of another name comes and goes.
 *
 * Checked: of those inside all but one are dead, and whoever is inside has a
 * number above all that were inside before.  When nobody can go on, everybody
 * who lives is done.  After how many rounds one does not give way any more is
 * left open; that it need not wait for a dead rival is shown by insert.pml.
 *
 * Three takers are searched with UNLOCKS=1 (nobody unlocks twice) and ROUNDS=0: one
 * who has to begin again gives up.
 *
 * Mutants: M_NO_RIVALS   nobody looks at the other places
 *          M_HALF        only at those lower down
 *          M_STORE       TENTATIVE to HELD by a store
 *          M_EARLY_LOOK  looks at the others while still WRITING
 *          M_BLIND_UNLOCK  HELD to FREE by a store
 *          M_FENCE_FIRST the number is taken before the lock
 *          M_NO_WAKE     unlocking wakes nobody
 *          M_SLEEP_BLIND the word is not compared when going to sleep
 *          M_NO_LIVENESS (KILL) a dead owner is waited for
 */
#ifndef PLACES
#define PLACES 2
#endif
#ifndef TAKERS
#define TAKERS 2
#endif
#ifndef UNLOCKS
#define UNLOCKS 2 /* of each, the second by mistake */
#endif

/* ROUNDS: a taker that would begin again more often gives up. */

#define FREE      0
#define WRITING   1
#define TENTATIVE 2
#define HELD      3
#define FOREIGN   (TAKERS + 1) /* owner of the lock of another name */
#define SEQ(q)    ((q) & 3)

byte state[PLACES];
byte owner[PLACES];
byte seq[PLACES];
bit dead[TAKERS + 2];
bit asleep[TAKERS + 1];
bit inside[TAKERS + 1];
bit finished[TAKERS + 1];
byte victim;
byte fence;    /* numbers given out */
byte greatest; /* that was seen inside */

inline wake_all()
{
#ifdef M_NO_WAKE
	skip
#else
	d_step {
		asleep[1] = 0;
		asleep[2] = 0;
#if TAKERS > 2
		asleep[3] = 0
#endif
	}
#endif
}

/* Of the word that was seen as {s, o, q}. */
inline cas(at, new_state, new_owner)
{
	atomic {
		ok = (state[at] == s && owner[at] == o && seq[at] == q);
		if
		:: ok ->
			state[at] = new_state;
			owner[at] = new_owner;
			seq[at] = SEQ(q + 1)
		:: else
		fi
	}
}

inline see(at)
{
	atomic {
		s = state[at];
		o = owner[at];
		q = seq[at]
	}
}

/* CAS of the own word, which was {own_state, me, own_seq}. */
inline change(own_state, new_state, new_owner)
{
	atomic {
		s = own_state;
		o = me;
		q = own_seq;
		cas(own, new_state, new_owner);
		own_seq = SEQ(q + 1)
	}
}

#ifdef M_NO_LIVENESS
#define LIVES(o) true
#else
#define LIVES(o) (!dead[o])
#endif

/* Leaves `verdict`: 0 none is left, 1 give way. */
inline look_for_rivals()
{
	i = 0;
	verdict = 0;
	do
	:: i == PLACES || verdict -> break
	:: i < PLACES && !verdict ->
		if
		:: i == own -> i++
#ifdef M_HALF
		:: i > own -> i++
#endif
		:: else ->
			see(i);
			if
			:: o == FOREIGN || s == FREE || s == WRITING -> i++
			:: o != FOREIGN && s == HELD -> verdict = 1
			:: o != FOREIGN && s == TENTATIVE && i < own ->
				verdict = 1
			:: o != FOREIGN && s == TENTATIVE ->
				/* lower down: after some rounds */
				cas(i, FREE, 0) /* and looks there again */
			fi
		fi
	od
}

proctype Taker(byte me)
{
	byte s, o, q, i, own, own_seq, number;
	bit ok, verdict;
#ifdef ROUNDS
	byte rounds;
#endif

	{
		goto first;
again:
#ifdef ROUNDS
		atomic {
			rounds++;
			if
			:: rounds > ROUNDS -> goto done
			:: else
			fi
		}
#else
		skip;
#endif
first:
		atomic { i = 0; ok = 0; own = PLACES; own_seq = 0; verdict = 0 }
#ifdef M_FENCE_FIRST
		atomic { fence++; number = fence }
#endif
		do
		:: i == PLACES -> break
		:: i < PLACES ->
			see(i);
			if
			:: s != HELD || o == FOREIGN -> i++
			:: s == HELD && o != FOREIGN && LIVES(o) -> break
#ifndef M_NO_LIVENESS
			:: s == HELD && o != FOREIGN && dead[o] ->
				cas(i, HELD, me);
				if
				:: ok -> break
				:: else /* looks there again */
				fi
#endif
			fi
		od;
		if
		:: ok -> atomic { own = i; own_seq = SEQ(q + 1); goto got }
		:: !ok && i < PLACES -> goto wait
		:: else
		fi;

		i = 0;
		do
		:: i == PLACES -> goto again /* the table is full */
		:: i < PLACES ->
			see(i);
			if
			:: s == FREE || dead[o] ->
				cas(i, WRITING, me);
				if
				:: ok -> break
				:: else -> i++
				fi
			:: else -> i++
			fi
		od;
		atomic { own = i; own_seq = SEQ(q + 1) }
#ifdef M_EARLY_LOOK
		look_for_rivals();
		if
		:: verdict -> change(WRITING, FREE, 0); goto again
		:: else
		fi;
		change(WRITING, TENTATIVE, me);
#else
		change(WRITING, TENTATIVE, me);
#ifndef M_NO_RIVALS
		look_for_rivals();
		if
		:: verdict -> change(TENTATIVE, FREE, 0); goto again
		:: else
		fi;
#endif
#endif
#ifdef M_STORE
		atomic {
			state[own] = HELD;
			owner[own] = me;
			own_seq = SEQ(own_seq + 1);
			seq[own] = own_seq;
			ok = 1
		}
#else
		change(TENTATIVE, HELD, me);
#endif
		if
		:: !ok -> goto again
		:: else
		fi;
got:
#ifndef M_FENCE_FIRST
		atomic { fence++; number = fence }
#endif
		atomic {
			inside[me] = 1;
			assert(!inside[1] || dead[1] || me == 1);
			assert(!inside[2] || dead[2] || me == 2);
#if TAKERS > 2
			assert(!inside[3] || dead[3] || me == 3);
#endif
			assert(number > greatest);
			greatest = number;
			number = 0
		}
		atomic { inside[me] = 0; i = 0 }
		do
		:: i == UNLOCKS -> break
		:: i < UNLOCKS ->
#ifdef M_BLIND_UNLOCK
			atomic {
				state[own] = FREE;
				owner[own] = 0;
				seq[own] = SEQ(own_seq + 1)
			}
#else
			atomic {
				s = HELD; o = me; q = own_seq;
				cas(own, FREE, 0)
			}
#endif
			wake_all();
			i++
		od;
		goto done;
wait:
		/* state, and seq of place i, were seen as s and q */
#ifdef M_SLEEP_BLIND
		asleep[me] = 1;
#else
		atomic {
			if
			:: state[i] == s && seq[i] == q -> asleep[me] = 1
			:: else
			fi
		}
#endif
#ifdef M_NO_LIVENESS
		!asleep[me];
#else
		!asleep[me] || dead[o];
#endif
		goto again;
done:
		finished[me] = 1
	} unless {
		dead[me]
	}
}

#ifdef KILL
proctype Killer()
{
	if
	:: atomic { dead[victim] = 1; asleep[victim] = 0 }
	:: skip
	fi
}
#endif

#ifdef OTHER
/* A lock of another name is taken, and given back. */
proctype Other()
{
	byte at;

	do
	:: at == PLACES -> break
	:: at < PLACES ->
		atomic {
			if
			:: state[at] == FREE ->
				state[at] = HELD; owner[at] = FOREIGN;
				seq[at] = SEQ(seq[at] + 1);
				break
			:: else -> at++
			fi
		}
	od;
	if
	:: at < PLACES ->
		atomic {
			state[at] = FREE; owner[at] = 0;
			seq[at] = SEQ(seq[at] + 1)
		}
	:: else
	fi
}
#endif

#define IS_DONE(c) (finished[c] || dead[c])

proctype Judge()
{
	timeout; /* nobody can do anything any more */
	assert(IS_DONE(1) && IS_DONE(2));
#if TAKERS > 2
	assert(IS_DONE(3))
#endif
}

init {
	atomic {
		run Taker(1);
		run Taker(2);
#if TAKERS > 2
		run Taker(3);
#endif
#ifdef KILL
		if
		:: victim = 1
		:: victim = 2
		fi;
		run Killer();
#endif
#ifdef OTHER
		run Other();
#endif
		run Judge()
	}
}
