/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lease.pml - one caller at a time loads a key; nobody waits for a dead one
 *
 * One lease word {state, owner, seq} for one key that is not in the cache, and
 * CALLERS callers that want it:
 *
 *   again  get: it is there: done
 *          free                    CAS it to {held, me, seq}
 *          held by a dead owner    CAS it to {held, me, seq + 1}
 *          held by a living one    sleep as long as the word's low half {state,
 *                                  seq} is what was seen; then again
 *          got it: get once more (the last leader may have stored it since the
 *          first look): there: release
 *          load, store (or fail, once), release: CAS the word to {free, seq + 1}; wake all
 *
 * A waiter also wakes by itself after a while; without KILL that is left out, so
 * that a lost wake-up is found.  With it, one caller is killed, wherever it is;
 * waiters that wake then ask whether the owner lives.
 *
 * Checked: the key is loaded once, and once more only if its leader failed or
 * was killed (LATE: or taken for dead: a lease past its deadline may be taken over from a
 * living owner, whose release must then leave the other's lease alone).  Nobody
 * gets a lease that another has by right.  When nobody can go on, every caller that lives is done.
 *
 * Mutants: M_NO_SECOND_LOOK  the leader does not look again
 *          M_NO_SEQ       a release leaves seq alone (with KILL: a caller that
 *                         dies and a free word that looks like the old one)
 *          M_NO_WAKE      a release wakes nobody
 *          M_WAKE_FIRST   it wakes, then releases
 *          M_NO_LIVENESS  (KILL) a dead owner's lease is waited for
 *          M_BLIND_RELEASE  (LATE) a release by a store
 *          M_SLEEP_BLIND  the word is not compared when going to sleep
 */
#ifndef CALLERS
#define CALLERS 3
#endif

#define FREE 0
#define HELD 1

byte state = FREE;
byte owner;
byte seq;
bit stored;
byte loads;
bit dead[CALLERS + 1];
bit asleep[CALLERS + 1];
bit finished[CALLERS + 1];
byte victim; /* who is killed */
bit late;    /* the lease was taken from a living owner once */
bit failed;  /* a load has failed */
byte leader; /* who leads by right: got the lease, and it was not taken over */
byte extra;  /* loads that may be repeated */

inline wake_all()
{
#ifdef M_NO_WAKE
	skip
#else
	d_step {
		asleep[1] = 0;
		asleep[2] = 0;
#if CALLERS > 2
		asleep[3] = 0
#endif
	}
#endif
}

proctype Caller(byte me)
{
	byte s, o, q;
	bit ok;

	{
		goto first;
again:
		skip;
first:
		if
		:: stored -> goto done
		:: !stored
		fi;
		atomic { s = state; o = owner; q = seq; ok = 0 }
		if
		:: s == FREE ->
			atomic {
				if
				:: state == FREE && seq == q ->
					assert(leader == 0 || dead[leader]);
					state = HELD; owner = me; ok = 1;
					leader = me
				:: else
				fi
			}
#ifndef M_NO_LIVENESS
		:: s == HELD && dead[o] ->
			atomic {
				if
				:: state == s && owner == o && seq == q ->
					owner = me; seq++; ok = 1;
					q = seq; leader = me; extra++
				:: else
				fi
			}
#endif
#ifdef LATE
		:: s == HELD && !late && o != me ->
			atomic {
				if
				:: state == s && owner == o && seq == q ->
					owner = me; seq++; ok = 1;
					q = seq; leader = me;
					late = 1; extra++
				:: else
				fi
			}
#endif
#ifdef M_NO_LIVENESS
		:: s == HELD ->
#else
		:: s == HELD && !dead[o] ->
#endif
#ifdef M_SLEEP_BLIND
			asleep[me] = 1;
#else
			atomic {
				if
				:: state == s && seq == q -> asleep[me] = 1
				:: else
				fi
			}
#endif
#ifdef M_NO_LIVENESS
			!asleep[me]
#else
			/* by a wake-up; or by itself, and looks */
			!asleep[me] || dead[o]
#endif
		fi;
		if
		:: ok
		:: !ok -> goto again
		fi;
#ifndef M_NO_SECOND_LOOK
		if
		:: stored -> goto release
		:: !stored
		fi;
#endif
		loads++;
		assert(loads <= 1 + extra);
		if
		:: stored = 1
		:: atomic { !failed -> failed = 1; extra++ }
		fi;
release:
#ifdef M_WAKE_FIRST
		wake_all();
#endif
		atomic {
			if
			:: leader == me -> leader = 0
			:: else
			fi;
#ifdef M_BLIND_RELEASE
			state = FREE;
			owner = 0;
			seq = q + 1
#else
			if
			:: state == HELD && owner == me && seq == q ->
				state = FREE; owner = 0;
#ifndef M_NO_SEQ
				seq++
#endif
			:: else
			fi
#endif
			assert(state == FREE || owner != me)
		}
#ifndef M_WAKE_FIRST
		wake_all();
#endif
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

#define IS_DONE(c) (finished[c] || dead[c])

proctype Judge()
{
	timeout; /* nobody can do anything any more */
	assert(IS_DONE(1) && IS_DONE(2));
#if CALLERS > 2
	assert(IS_DONE(3));
#endif
	assert(stored || failed || victim != 0)
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
		:: victim = 2
		fi;
		run Killer();
#endif
		run Judge()
	}
}
