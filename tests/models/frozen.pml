/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * frozen.pml - changes in place against those who carry an entry on
 *
 * libshmcache/entry.h: a counter's cell {value, frozen} and the expiry word
 * {time, frozen} change in place, each by one CAS; whoever carries an entry's
 * content to another (a copy of the evictor, append, cas, an increment by
 * replacing) freezes first, reads then, and links the new entry by a CAS of the
 * slot; a change that meets a frozen word goes by replacing.  A plain set
 * freezes nothing.
 *
 * One key.  `slot` names its entry.  Increments stand for both sorts of words:
 * a touch that is lost is an increment that is lost.  Extents and pins are left
 * out: no entry's place is used twice here.
 *
 * Incr    1 find the entry; read value and frozen bit at one moment
 *         2 not frozen: CAS of both; failed: from 1
 *         3 frozen: find, freeze, read, write anew, CAS of the slot; failed:
 *           from 1
 * Copier  find, freeze, read, write anew, CAS of the slot or give up
 * Setter  (-DSETTER) write a new value, CAS of the slot till it is done
 * Reader  reads what the slot names
 *
 * Claims: a reader sees every increment that was acknowledged before it began
 * (and since the last set, if that was acknowledged before the increment
 * began); in the end all are there.
 *
 * Mutants:
 * M_NO_FREEZE       who carries on does not freeze
 * M_READ_FIRST      it reads before it freezes
 * M_IGNORE_FROZEN   an increment goes in place although the word is frozen
 * M_STORE           an increment in place is a store
 * M_LINK_BY_STORE   a copy is linked whatever the slot names by then
 * M_REPLACE_UNREAD  an increment that meets a frozen word takes the value that
 *                   it had read before
 */

#ifndef INCRERS
#define INCRERS 2
#endif
#ifndef INCRS
#define INCRS 1 /* of each */
#endif
#ifndef COPIES
#define COPIES 1
#endif
#define ENTRIES (2 + INCRERS * INCRS + COPIES + 1)
#define BASE 100

byte slot = 1;
byte val[ENTRIES];
bit frozen[ENTRIES];
byte next = 2;
byte sets = 0;         /* linked */
bit set_acked = 0;
byte acked = 0;        /* increments, all */
byte acked_after = 0;  /* of these, those that began after the set */
byte over = 0;

inline take(n)
{
	if
	:: n == 0 -> atomic { n = next; next++ }
	:: else
	fi
}

inline freeze(w)
{
#ifndef M_NO_FREEZE
	frozen[w] = 1
#else
	skip
#endif
}

/* The content of w, plus `more`, to n. */
inline carry(w, n, v, more)
{
#ifdef M_READ_FIRST
	v = val[w];
	freeze(w);
#else
	freeze(w);
	v = val[w];
#endif
	d_step { val[n] = v + more; frozen[n] = 0 }
}

inline swap_slot(w, n, ok)
{
	atomic {
		if
		:: slot == w -> slot = n; n = 0; ok = 1
		:: else -> ok = 0
		fi
	}
}

inline acknowledge(before)
{
	d_step {
		acked++;
		if
		:: before -> acked_after++
		:: else
		fi
	}
}

proctype Incr()
{
	byte w, v, n, i;
	bit f, ok, before;

	do
	:: i == INCRS -> break
	:: else ->
		before = set_acked;
		ok = 0;
		do
		:: ok -> break
		:: else ->
			w = slot;
			d_step { v = val[w]; f = frozen[w] };
			if
#ifdef M_IGNORE_FROZEN
			:: true ->
#else
			:: !f ->
#endif
				atomic {
					if
#ifdef M_STORE
					:: true -> val[w] = v + 1; ok = 1
#else
					:: val[w] == v && frozen[w] == f ->
						val[w] = v + 1; ok = 1
					:: else
#endif
					fi
				}
#ifndef M_IGNORE_FROZEN
			:: else ->
				take(n);
#ifdef M_REPLACE_UNREAD
				w = slot;
				d_step { val[n] = v + 1; frozen[n] = 0 };
#else
				w = slot;
				carry(w, n, v, 1);
#endif
				swap_slot(w, n, ok)
#endif
			fi
		od;
		acknowledge(before);
		i++
	od;
	over++
}

proctype Copier()
{
	byte w, v, n, i;
	bit ok;

	do
	:: i == COPIES -> break
	:: else ->
		take(n);
		w = slot;
		carry(w, n, v, 0);
#ifdef M_LINK_BY_STORE
		slot = n; n = 0;
#else
		swap_slot(w, n, ok);
#endif
		i++
	od;
	over++
}

#ifdef SETTER
proctype Setter()
{
	byte w, n;
	bit ok;

	take(n);
	d_step { val[n] = BASE; frozen[n] = 0 };
	do
	:: ok -> break
	:: else -> w = slot; swap_slot(w, n, ok)
	od;
	set_acked = 1;
	over++
}
#endif

proctype Reader()
{
	byte w, v, least;

	d_step {
		if
		:: set_acked -> least = BASE + acked_after
		:: else -> least = acked
		fi
	};
	w = slot;
	v = val[w];
#ifdef SETTER
	/* Before the set was acknowledged it may have come already. */
	assert(v >= least || v >= BASE);
	assert(least < BASE || v >= least)
#else
	assert(v >= least)
#endif
}

init
{
	atomic {
		run Incr();
#if INCRERS > 1
		run Incr();
#endif
		run Copier();
		run Reader();
#ifdef SETTER
		run Setter()
#endif
	};
#ifdef SETTER
	over == INCRERS + 2;
	assert(val[slot] >= BASE + acked_after && val[slot] <= BASE + acked)
#else
	over == INCRERS + 1;
	assert(val[slot] == acked)
#endif
}
