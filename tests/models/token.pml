/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * token.pml - what was loaded before a key was deleted or set is never stored
 * after it
 *
 * One key, A, whose value in the source is 1 and becomes 2; a window of two
 * slots; one token word {fingerprint, count}, which key B shares.
 *
 *   Leader (one, or LEADERS=2: any number at once must do no harm, which covers
 *   take-overs by mistake, and leaders that are slow or stopped)
 *     (1) install: the token's fingerprint is A's: remember the word; else CAS
 *         it to {A, count + 1}
 *     (2) look: the version of A's final word, or none
 *     (3) load the value from the source
 *     (4) fill: a final word of A: only if it has the version of (2), and the
 *         token is as remembered, CAS it to the new one; none: CAS a free slot
 *         to the tentative word, look at the other slot (a final word of A:
 *         refused; a rival's tentative one: take it away), token as remembered?,
 *         CAS tentative -> final; any CAS that fails: again from the start of
 *         (4).  Stored: CAS the token to count + 1
 *   Writer
 *     (1) the source becomes 2
 *     (2) the token's fingerprint is A's: CAS count + 1, until it is done or the
 *         fingerprint is another
 *     (3) delete: each slot: take away tentative words of A, or unlink a final
 *         one, which is the end of it (whoever made it final has taken the
 *         others' tentative words away);
 *         or (SET) put the value 2 as a set does; what it has found before (2)
 *         is tried first
 *   Other    a leader of key B installs its fingerprint, in the same word; then
 *            another one of A does
 *   World    evicts final words; carries one on (another word, same version)
 *
 * Checked: when the writer is done, and at every moment after that, no final
 * word of A is of a value loaded before the source changed.  Whoever is killed
 * or stops does no further step: every prefix is searched.
 *
 * Two leaders are too many for all of it at once: TRIES=1 (a fill that has to
 * start again gives up, as if it had been stopped there), and NO_OTHER or
 * NO_COPIES (no other key, no copies).
 *
 * Mutants: M_NO_BUMP    the writer leaves the token alone
 *          M_LATE_BUMP  it unlinks first
 *          M_NO_ABORT   a delete leaves tentative words alone
 *          M_EARLY_CHECK  the fill looks at the token before its tentative word
 *          M_NO_CHECK_AGAIN  not again when it starts again
 *          M_LATE_INSTALL  the leader loads before it installs
 *          M_NO_COUNT   installing leaves the count alone
 */
#ifndef LEADERS
#define LEADERS 1
#endif
#ifndef TRIES
#define TRIES 3 /* of a fill, until it gives up */
#endif

#define A 1
#define B 2

/* A slot: 0, or a word that names one of these entries. */
#define EMPTY	     0
#define OLD	     1 /* value 1, from before: it may be refreshed */
#define SETS	     2 /* of the writer: value 2 */
#define FILL(l)	     (2 + (l)) /* of leader l: 3, 4 */
#define TENT(w)	     (16 + (w))
#define COPIED(w)    (32 + (w)) /* carried on: another word, same entry */
#define TENTATIVE(w) (((w) & 16) != 0)
#define FINAL(w)     ((w) != EMPTY && !TENTATIVE(w))
#define ENTRY(w)     ((w) & 15)

byte slot[2];
byte fp = B;
byte count;
byte db = 1;
byte value[5]; /* of entry */
bit done;

/* A value of before is in the cache. */
#define BAD(w) (FINAL(w) && value[ENTRY(w)] == 1)

inline cas(at, old, new)
{
	d_step {
		ok = (slot[at] == (old));
		if
		:: ok -> slot[at] = (new)
		:: else
		fi;
		assert(!done || (!BAD(slot[0]) && !BAD(slot[1])))
	}
}

inline install(key)
{
	if
	:: fp == key
#ifdef M_NO_COUNT
	:: fp != key -> fp = key
#else
	:: fp != key -> fp = key; count++
#endif
	fi
}

proctype Leader(byte me)
{
	byte w, seen, own, tcount, tries;
	bit ok, checked;

#ifdef M_LATE_INSTALL
	value[FILL(me)] = db;
#endif
	/* (1) */
	atomic {
		install(A);
		tcount = count
	}
	/* (2): the two slots one after the other */
	seen = EMPTY;
	w = slot[0];
	if
	:: FINAL(w) -> seen = ENTRY(w)
	:: else ->
		w = slot[1];
		if
		:: FINAL(w) -> seen = ENTRY(w)
		:: else
		fi
	fi;
	/* (3) */
#ifndef M_LATE_INSTALL
	value[FILL(me)] = db;
#endif
	/* (4) */
again:
	atomic {
		tries++;
		if
		:: tries > TRIES -> goto refused
		:: else
		fi;
		own = 0;
		w = EMPTY
	}
	w = slot[0];
	if
	:: FINAL(w) -> goto replace
	:: else -> own = 1; w = slot[1];
		if
		:: FINAL(w) -> goto replace
		:: else
		fi
	fi;
#ifdef M_EARLY_CHECK
	if
	:: fp != A || count != tcount -> goto refused
	:: else
	fi;
#endif
	/* insert: any free slot */
	if
	:: own = 0
	:: own = 1
	fi;
	cas(own, EMPTY, TENT(FILL(me)));
	if
	:: ok
	:: !ok -> goto again
	fi;
	do
	:: FINAL(slot[1 - own]) ->
		cas(own, TENT(FILL(me)), EMPTY);
		goto again
	:: TENTATIVE(slot[1 - own]) -> w = slot[1 - own];
		if
		:: TENTATIVE(w) -> cas(1 - own, w, EMPTY)
		:: !TENTATIVE(w)
		fi
	:: slot[1 - own] == EMPTY -> break
	od;
#ifdef M_NO_CHECK_AGAIN
	if
	:: checked
	:: !checked && fp == A && count == tcount -> checked = 1
	:: !checked && (fp != A || count != tcount) ->
		cas(own, TENT(FILL(me)), EMPTY);
		goto refused
	fi;
#else
#ifndef M_EARLY_CHECK
	if
	:: atomic { fp != A || count != tcount ->
		cas(own, TENT(FILL(me)), EMPTY) }
		goto refused
	:: fp == A && count == tcount
	fi;
#endif
#endif
	cas(own, TENT(FILL(me)), FILL(me));
	if
	:: ok -> goto stored
	:: !ok -> goto again
	fi;

replace:
	if
	:: ENTRY(w) != seen -> goto refused
	:: else
	fi;
	if
	:: fp != A || count != tcount -> goto refused
	:: else
	fi;
	cas(own, w, FILL(me));
	if
	:: ok
	:: !ok -> goto again
	fi;
stored:
	atomic {
		if
		:: fp == A && count == tcount -> count++
		:: else
		fi
	}
refused:
	skip
}

inline bump()
{
	atomic {
		if
#ifndef M_NO_BUMP
		:: fp == A -> count++
#endif
		:: else
		fi
	}
}

proctype Writer()
{
	byte i, w;
	bit ok;

	db = 2;
#ifdef SET
	w = slot[0];
	if
	:: FINAL(w)
	:: else -> i = 1; w = slot[1]
	fi;
#endif
#ifndef M_LATE_BUMP
	bump();
#endif
#ifdef SET
	if
	:: FINAL(w) -> cas(i, w, SETS);
		if
		:: ok -> goto finished
		:: !ok
		fi
	:: else
	fi;
again:
	i = 0;
	w = slot[0];
	if
	:: FINAL(w) -> cas(0, w, SETS)
	:: else -> w = slot[1];
		if
		:: FINAL(w) -> cas(1, w, SETS)
		:: else -> goto insert
		fi
	fi;
	if
	:: ok -> goto finished
	:: !ok -> goto again
	fi;
insert:
	if
	:: i = 0
	:: i = 1
	fi;
	w = slot[i];
	if
	:: TENTATIVE(w) -> cas(i, w, EMPTY); goto again
	:: FINAL(w) -> goto again
	:: w == EMPTY
	fi;
	cas(i, EMPTY, TENT(SETS));
	if
	:: ok
	:: !ok -> goto again
	fi;
	do
	:: FINAL(slot[1 - i]) -> cas(i, TENT(SETS), EMPTY); goto again
	:: TENTATIVE(slot[1 - i]) -> w = slot[1 - i];
		if
		:: TENTATIVE(w) -> cas(1 - i, w, EMPTY)
		:: !TENTATIVE(w)
		fi
	:: slot[1 - i] == EMPTY -> break
	od;
	cas(i, TENT(SETS), SETS);
	if
	:: ok
	:: !ok -> goto again
	fi;
finished:
	skip;
#else
	do
	:: i < 2 ->
		w = slot[i];
		if
		:: w == EMPTY -> i++
		:: FINAL(w) -> cas(i, w, EMPTY);
			if
			:: ok -> break
			:: !ok
			fi
#ifdef M_NO_ABORT
		:: TENTATIVE(w) -> i++
#else
		:: TENTATIVE(w) -> cas(i, w, EMPTY)
#endif
		fi
	:: i == 2 -> break
	od;
#endif
#ifdef M_LATE_BUMP
	bump();
#else
	skip;
#endif
	d_step {
		done = 1;
		assert(!BAD(slot[0]) && !BAD(slot[1]))
	}
}

proctype Other()
{
	if
	:: atomic { install(B) };
		if
		:: atomic { install(A) }
		:: skip
		fi
	:: skip
	fi
}

#ifdef NO_COPIES
#define CHANGE(at) \
	:: d_step { FINAL(slot[at]) -> slot[at] = EMPTY }
#else
#define CHANGE(at) \
	:: d_step { FINAL(slot[at]) -> slot[at] = EMPTY } \
	:: d_step { FINAL(slot[at]) && slot[at] < 32 -> \
		slot[at] = COPIED(slot[at]) }
#endif

proctype World()
{
end:	do
	CHANGE(0)
	CHANGE(1)
	od
}

init {
	atomic {
		value[OLD] = 1;
		value[SETS] = 2;
		if
		:: slot[0] = OLD
		:: skip
		fi;
		if
		:: fp = A
		:: skip
		fi;
		run Leader(1);
#if LEADERS > 1
		run Leader(2);
#endif
		run Writer();
#ifndef NO_OTHER
		run Other();
#endif
		run World()
	}
}
