/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * places.pml - a key's lease may be in either of two places, which others use too
 *
 * Two words {state, key, owner, seq}.  CALLERS callers want one key, which is not
 * in the cache; OTHER stands for loads of another key in the same places, which
 * come and go there:
 *
 *   again  get: it is there: done
 *          find own: the first place that is held for the key: sleep as long as
 *          the low half of its word is what was seen; then again
 *          else the first that is free, or the other key's by one who is dead:
 *          CAS it to {held, key, me}; none: load without a lease
 *          the other place is held for the key too, by another who lives: release,
 *          again
 *          get once more; there: release.  Load, store, release; wake all
 *
 * lease.pml is about one place, and has what this leaves out: loads that fail,
 * leases that are late.  With KILL one caller is killed, wherever it is; or who
 * loads the other key is, as which it never gives its place back.
 *
 * Checked: the key is loaded once, but for loads without a lease, and once more
 * only if a leader was killed.  When nobody can go on, everybody who lives is
 * done: a sleeper sleeps on the word of one place, and another key's load may
 * follow there at once.
 *
 * Three callers are searched with TURNS=0, without the other key.
 *
 * Mutants: M_NO_OTHER_LOOK  the other place is not looked at after the CAS
 *          M_LOOK_FIRST   it is looked at before the CAS only
 *          M_FREE_FIRST   a free place is taken before the own is looked for,
 *                         and none is looked at afterwards
 *          M_NO_SECOND_LOOK  the leader does not look again
 *          M_WAKE_OTHER   a release wakes the sleepers of the other place only
 *          M_SLEEP_BLIND  the word is not compared when going to sleep
 */
#ifndef CALLERS
#define CALLERS 2
#endif

#ifndef TURNS
#define TURNS 2 /* loads of the other key */
#endif

#define FREE    0
#define HELD    1
#define KEY     1
#define FOREIGN 2             /* the other key */
#define LOADER  (CALLERS + 1) /* who loads that */
#define SEQ(q)  ((q) & 3)

byte state[2];
byte key[2];
byte owner[2];
byte seq[2];
bit stored;
byte loads;
byte extra; /* loads that may be repeated */
bit dead[CALLERS + 2];
byte asleep[CALLERS + 1]; /* 1 + place; 0: awake */
bit finished[CALLERS + 1];
bit loading[CALLERS + 2];
byte victim;

inline wake(at, who)
{
	if
#ifdef M_WAKE_OTHER
	:: asleep[who] == 2 - at -> asleep[who] = 0
#else
	:: asleep[who] == 1 + at -> asleep[who] = 0
#endif
	:: else
	fi
}

inline wake_all(at)
{
	d_step {
		wake(at, 1);
		wake(at, 2);
#if CALLERS > 2
		wake(at, 3)
#endif
	}
}

inline release(at, me)
{
	atomic {
		assert(state[at] == HELD && owner[at] == me);
		state[at] = FREE;
		owner[at] = 0;
		seq[at] = SEQ(seq[at] + 1)
	}
	wake_all(at)
}

#define OWN(at)    (state[at] == HELD && key[at] == KEY)
#define VACANT(at) (state[at] == FREE || dead[owner[at]])
#define DOUBLED    (OWN(1 - at) && owner[1 - at] != me && !dead[owner[1 - at]])

inline look(place, is_right)
{
	atomic {
		at = place;
		o = owner[at];
		q = seq[at];
		ok = is_right
	}
}

proctype Caller(byte me)
{
	byte at, o, q;
	bit ok;
#ifdef M_LOOK_FIRST
	bit second;
#endif

	{
		goto first;
again:
		skip;
first:
		if
		:: stored -> goto done
		:: !stored
		fi;
#ifdef M_FREE_FIRST
		goto vacant;
own:
#endif
		look(0, OWN(0));
		if
		:: ok -> goto judge
		:: else
		fi;
		look(1, OWN(1));
		if
		:: ok -> goto judge
		:: else
		fi;
#ifdef M_FREE_FIRST
		goto alone;
vacant:
#endif
		look(0, VACANT(0));
		if
		:: ok -> goto take
		:: else
		fi;
		look(1, VACANT(1));
		if
		:: ok -> goto take
		:: else
		fi;
#ifdef M_FREE_FIRST
		goto own;
alone:
#endif
		/* no lease to be had */
		extra++;
		loads++;
		stored = 1;
		goto done;

judge:
		if
		:: dead[o] -> goto take
		:: else
		fi;
#ifdef M_SLEEP_BLIND
		asleep[me] = 1 + at;
#else
		atomic {
			if
			:: state[at] == HELD && seq[at] == q ->
				asleep[me] = 1 + at
			:: else
			fi
		}
#endif
		/* by a wake-up; or by itself, which counts if somebody died */
		!asleep[me] || dead[victim];
		asleep[me] = 0;
		goto again;

take:
#ifdef M_LOOK_FIRST
		second = DOUBLED;
#endif
		atomic {
			ok = (owner[at] == o && seq[at] == q);
			if
			:: ok ->
				state[at] = HELD;
				key[at] = KEY;
				owner[at] = me;
				seq[at] = SEQ(q + 1)
			:: else
			fi
		}
		if
		:: !ok -> goto again
		:: else
		fi;
#ifdef M_LOOK_FIRST
		if
		:: second -> release(at, me); goto again
		:: else
		fi;
#else
#if !defined(M_NO_OTHER_LOOK) && !defined(M_FREE_FIRST)
		if
		:: DOUBLED -> release(at, me); goto again
		:: else
		fi;
#endif
#endif
#ifndef M_NO_SECOND_LOOK
		if
		:: stored -> goto give_back
		:: !stored
		fi;
#endif
		atomic { loads++; loading[me] = 1; assert(loads <= 1 + extra) }
		atomic { stored = 1; loading[me] = 0 }
give_back:
		release(at, me);
done:
		finished[me] = 1
	} unless {
		dead[me]
	}
}

/* Loads of the other key: in one place or the other, one after the other. */
proctype Other()
{
	byte at, turns;

	{
		do
		:: turns == TURNS -> break
		:: turns < TURNS ->
			if
			:: at = 0
			:: at = 1
			fi;
			atomic {
				if
				:: state[at] == FREE ->
					state[at] = HELD;
					key[at] = FOREIGN;
					owner[at] = LOADER;
					seq[at] = SEQ(seq[at] + 1)
				:: else -> break
				fi
			}
			release(at, LOADER);
			turns++
		od
	} unless {
		dead[LOADER]
	}
}

#ifdef KILL
proctype Killer()
{
	if
	:: atomic { dead[victim] = 1; extra = extra + loading[victim] }
	:: skip
	fi
}
#endif

#define IS_DONE(c) (finished[c] || dead[c])

proctype Judge()
{
	timeout; /* nobody can do anything any more */
	assert(IS_DONE(1) && IS_DONE(2));
#if CALLERS > 2
	assert(IS_DONE(3));
#endif
	assert(stored || victim != 0)
}

init {
	atomic {
		run Caller(1);
		run Caller(2);
#if CALLERS > 2
		run Caller(3);
#endif
#ifdef KILL
		if
		:: victim = 1
		:: victim = LOADER
		fi;
		run Killer();
#endif
		run Other();
		run Judge()
	}
}
