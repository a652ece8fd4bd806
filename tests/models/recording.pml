/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * recording.pml - a recorder never harms a flush, and leaves nothing switched on
 *
 * The flush word {seq, bit}, or REMOVED for good; the word `record`, until when
 * somebody records (0: nobody).  libshmcache/record.h has the steps.
 *
 *   Recorder (two; RECORDERS=1 with more of the others)
 *     (R1) what is there has lapsed: CAS(record: that -> now + LEASE)
 *     (R2) load the flush word: removed: end; no bit: CAS it in, or again
 *     (R3) CAS(record: own -> now + LEASE), failed: another has taken over, end;
 *          R2 again
 *     (R4) CAS(record: own -> 0), (R5) load the flush word, CAS the bit out, once
 *   Caller (one, with CALLER)
 *     (R6) the bit is set: load `record`; lapsed: as R5
 *   Flusher  raises seq by CAS, which keeps the bit, and says so, twice; then R6,
 *            as a flush is recorded
 *   Remover  (with REMOVES) CAS(flush word -> REMOVED), until it is done
 *   Clock    time goes on
 *   Last     when nobody is at work and all leases are over: one more call
 *
 * Checked: seq never falls, and what was flushed stays so; a removed word stays;
 * only who holds `record` renews it; after Last the bit is out, wherever recorders
 * were killed.  Whoever is killed or stops does no further
 * step: every prefix is searched.
 *
 * Mutants: M_CLEAR_STORE  the bit is taken out by a store of what was loaded
 *          M_SET_STORE    it is put in by one
 *          M_FLUSH_STORE  a flush stores its seq, whatever came meanwhile
 *          M_RENEW_STORE  a recorder renews without looking whose word it is
 *          M_NO_CLEAR     callers leave the bit alone
 *          M_RAISE_DEAD   a recorder sets the bit of a removed cache
 */
#ifndef RECORDERS
#define RECORDERS 2
#endif
#define LEASE   1
#define TIMES   3 /* of the clock; none is left at the end */
#define REMOVED 15
#define BIT     8
#define SEQ(w)  ((w) & 7)

byte flush;
byte record;
byte now;
byte holder;  /* of `record`: ghost */
byte flushed; /* the greatest seq that a flush has said is done */
byte at_work; /* processes that have not ended, or been killed */

bit removed;

#define SOUND (flush == REMOVED || (!removed && SEQ(flush) >= flushed))

inline cas(word, old, new)
{
	d_step {
		ok = (word == (old));
		if
		:: ok -> word = (new)
		:: else
		fi;
		assert(SOUND)
	}
}

inline clear_bit()
{
	f = flush;
	if
	:: f != REMOVED && (f & BIT) ->
#ifdef M_CLEAR_STORE
		d_step { flush = f & ~BIT; assert(SOUND) }
#else
		cas(flush, f, f & ~BIT)
#endif
	:: else
	fi
}

inline set_bit()
{
	do
	:: f = flush;
		if
#ifndef M_RAISE_DEAD
		:: f == REMOVED -> break
#endif
		:: f != REMOVED && (f & BIT) -> break
		:: else ->
#ifdef M_SET_STORE
			d_step { flush = f | BIT; assert(SOUND) }
			break
#else
#ifdef M_RAISE_DEAD
			cas(flush, f, (f | BIT) & ~1);
#else
			cas(flush, f, f | BIT);
#endif
			if
			:: ok -> break
			:: !ok
			fi
#endif
		fi
	od
}

proctype Recorder(byte me)
{
	byte r, own, f, rounds;
	bit ok;

	r = record;
	if
	:: r > now -> goto out
	:: r <= now
	fi;
	d_step { /* R1 */
		ok = (record == r);
		own = now + LEASE;
		if
		:: ok -> record = own; holder = me
		:: else
		fi
	}
	if
	:: !ok -> goto out
	:: ok
	:: goto out /* killed */
	fi;
	set_bit();
	do
	:: rounds < 1 ->
		rounds++;
		d_step { /* R3 */
			ok = (record == own);
#ifdef M_RENEW_STORE
			ok = 1;
#endif
			if
			:: ok ->
				assert(holder == me);
				own = now + LEASE;
				record = own
			:: else
			fi
		}
		if
		:: !ok -> goto out
		:: ok
		fi;
		set_bit()
	:: goto out /* killed */
	:: break
	od;
	skip;
	d_step { /* R4 */
		ok = (record == own);
		if
		:: ok -> record = 0; holder = 0
		:: else
		fi
	}
	if
	:: ok -> clear_bit()
	:: !ok
	fi;
out:
	at_work--
}

inline call()
{
	f = flush;
	if
	:: f != REMOVED && (f & BIT) ->
		r = record;
		if
		:: r <= now ->
#ifndef M_NO_CLEAR
			clear_bit()
#else
			skip
#endif
		:: r > now
		fi
	:: else
	fi
}

proctype Caller()
{
	byte r, f;
	bit ok;

	call();
	at_work--
}

proctype Flusher()
{
	byte r, f, mine;
	bit ok;

	mine = 1;
	do
	:: mine <= 2 ->
		do
		:: f = flush;
			if
			:: f == REMOVED || SEQ(f) >= mine -> break
			:: else ->
#ifdef M_FLUSH_STORE
				d_step { flush = mine; ok = 1; assert(SOUND) }
#else
				cas(flush, f, mine | (f & BIT));
#endif
				if
				:: ok -> break
				:: !ok
				fi
			fi
		od;
		skip;
		d_step {
			if
			:: mine > flushed -> flushed = mine
			:: else
			fi;
			assert(SOUND)
		}
		mine++
	:: mine > 2 -> break
	od;
	call();
	at_work--
}

proctype Remover()
{
	byte f;
	bit ok;

	do
	:: f = flush; cas(flush, f, REMOVED);
		if
		:: ok -> removed = 1; break
		:: !ok
		fi
	od;
	at_work--
}

proctype Clock()
{
	do
	:: now < TIMES -> now++
	:: now >= TIMES -> break
	od
}

/* Its time is later than any lease. */
proctype Last()
{
	byte r, f;
	bit ok;

	(now == TIMES && at_work == 0);
	now = TIMES + LEASE;
	call();
	assert(flush == REMOVED || (flush & BIT) == 0)
}

init {
	atomic {
		at_work = 1 + RECORDERS;
		run Recorder(1);
#if RECORDERS > 1
		run Recorder(2);
#endif
#ifdef CALLER
		at_work++;
		run Caller();
#endif
		run Flusher();
#ifdef REMOVES
		at_work++;
		run Remover();
#endif
		run Clock();
		run Last()
	}
}
