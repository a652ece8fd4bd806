/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * invalidate.pml - what was loaded before an invalidation is not returned after
 *
 * A source of data (a number that grows), one entry, two words: the flush word
 * and a tag's; the entry depends on both.  Invalidators change the source and
 * then invalidate one word, in the two steps of libshmcache/invalidate.h:
 *
 *   (1) s = fetch_add(seq, 1) + 1
 *   (2) word = max(word, s), by CAS; then the call has returned
 *
 * Loaders (3) take n = seq, read the source, and (4) link an entry with n.  An
 * evictor carries the entry on, with its n.  A reader (5) finds the entry, then
 * loads both words: it is valid if neither is above its n.
 *
 * Every invalidator may be killed after any step; everybody may stop for ever
 * after any step, as every prefix is searched.
 *
 * Checked: a reader that begins when an invalidation has returned finds no valid
 * entry with less than what the source had then.  And, at the end, whoever was
 * killed: what is loaded then is valid.
 *
 * Mutants: M_LATE_SNAPSHOT  the loader takes n after it has read the source
 *          M_INVALIDATE_FIRST  the source is changed after the invalidation
 *          M_NO_MAX         step 2 is a store
 *          M_NO_FETCH_ADD   step 1 is a load and a store
 *          M_WORD_FIRST     step 2 before step 1: killed in between, all that is
 *                           stored until the next invalidation is dead
 *          M_EQUAL          the words may be one above n
 *          M_NEW_SEQ        the evictor gives its copy the seq of now
 *          M_ONE_WORD       the reader looks at one word only
 */
#ifndef INVALIDATORS
#define INVALIDATORS 2
#endif
#ifndef WORDS
#define WORDS 2 /* that are invalidated */
#endif
#ifndef ROUNDS
#define ROUNDS 1 /* of each invalidator */
#endif
#ifndef LOADS
#define LOADS 1
#endif

byte seq;
byte word[2];
byte source;
byte returned; /* what the source had at the last invalidation that returned */
bit linked;
byte entry_n, entry_v;
byte version; /* of the entry, for the evictor's CAS */
byte ended;

#define KILLED :: goto killed

proctype Invalidator(byte w)
{
	byte s, old, new, round;

again:
#ifndef M_INVALIDATE_FIRST
	atomic { source++; new = source }
#endif
	if
	:: skip
	KILLED
	fi;
#ifdef M_WORD_FIRST
	s = seq + 1;
#else
#ifdef M_NO_FETCH_ADD
	s = seq + 1;
	seq = s;
#else
	d_step { seq++; s = seq }
#endif
#endif
	if
	:: skip
	KILLED
	fi;
#ifdef M_NO_MAX
	word[w] = s;
#else
	do
	:: old = word[w];
		if
		:: old >= s -> break
		:: else
		fi;
		if
		:: atomic { word[w] == old -> word[w] = s }; break
		:: atomic { word[w] != old -> skip }
		fi
	od;
#endif
#ifdef M_WORD_FIRST
	if
	:: skip
	KILLED
	fi;
	seq++;
#endif
#ifdef M_INVALIDATE_FIRST
	atomic { source++; new = source }
#endif
	atomic {
		if
		:: new > returned -> returned = new
		:: else
		fi;
		old = 0;
		s = 0;
		new = 0;
		round++
	}
	if
	:: round < ROUNDS -> goto again
	:: else
	fi;
killed:
	ended++
}

proctype Loader()
{
	byte n, v, round;

	do
	:: round < LOADS ->
#ifdef M_LATE_SNAPSHOT
		v = source;
		n = seq;
#else
		n = seq;
		v = source;
#endif
		d_step {
			linked = 1;
			entry_n = n;
			entry_v = v;
			version++;
			n = 0;
			v = 0;
			round++
		}
	:: else -> break
	od;
	ended++
}

proctype Evictor()
{
	byte n, v, seen;

	atomic { linked -> n = entry_n; v = entry_v; seen = version }
#ifdef M_NEW_SEQ
	n = seq;
#endif
	d_step {
		if
		:: version == seen -> entry_n = n; entry_v = v; version++
		:: else
		fi
	}
end:	skip
}

#ifdef M_EQUAL
#define VALID(w, n) ((w) <= (n) + 1)
#else
#define VALID(w, n) ((w) <= (n))
#endif

proctype Reader()
{
	byte least, n, v;
	bit first;

	least = returned;
	atomic { linked -> n = entry_n; v = entry_v }
	first = VALID(word[0], n);
#ifdef M_ONE_WORD
	assert(!first || v >= least)
#else
	assert(!first || !VALID(word[1], n) || v >= least)
#endif
}

init {
	byte i;

	atomic {
		do
		:: i < INVALIDATORS -> run Invalidator(i % WORDS); i++
		:: else -> break
		od;
		run Loader();
		run Evictor();
		run Reader();
	}
	atomic {
		ended == INVALIDATORS + 1 ->
			assert(VALID(word[0], seq) && VALID(word[1], seq))
	}
}
