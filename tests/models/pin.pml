/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pin.pml - no byte is read that doesn't belong to the version a word names
 *
 * One index slot, two extents, room for one entry in each.  READERS processes
 * get the key; WRITERS processes set it, from what they read (as append and
 * incr do); one evictor unlinks and reuses extents; the key may be deleted at
 * any moment.
 *
 *   reader                      evictor
 *   w = slot                    CAS slot: w -> 0, if it names the extent
 *   pin = extent(w); fence      state = LIMBO; fence
 *   slot == w ? else release    scan the pins, one by one
 *   read                        none names it: reuse, as version + 1
 *   release
 *
 * Slot words carry no generation at all, so a word comes back as soon as its
 * extent is reused: ABA at its worst.  The model remembers the version that is
 * linked (a ghost), and a free extent holds garbage.
 *
 * Checked: what a reader reads at any moment between its re-check and its
 * release is the version that the slot named at the re-check; and a writer's
 * CAS replaces the very version that it read.  Any process may stop for ever
 * anywhere (every prefix of every interleaving is searched); its pin stays.
 *
 * Mutants: M_NO_PIN         no pin
 *          M_NO_RECHECK     no re-check
 *          M_NO_FENCE       the re-check overtakes the pin's store
 *          M_SCAN_FIRST     the evictor's scan overtakes its unlinking
 *          M_EARLY_RELEASE  the reader's last load falls behind its release
 *          M_EARLY_UNPIN    a writer releases the old entry before its CAS
 */
#ifndef READERS
#define READERS 1
#endif
#ifndef WRITERS
#define WRITERS 2
#endif
#define PEERS	 (READERS + WRITERS)
#define VERSIONS 3 /* an extent's contents are told apart modulo this */
#define GARBAGE	 0

/* Slot words and pins: 0, or an extent + 1. */
#define NONE	  0
#define WORD(e)	  ((e) + 1)
#define EXTENT(w) ((w) - 1)

mtype = { FREE, ACTIVE, SEALED, LIMBO };

byte slot;
byte linked; /* ghost: the version that the slot names */
byte pin[PEERS];
mtype state[2];
byte version[2]; /* of the extent: 1..VERSIONS */
byte bytes[2];	 /* what is in it: a version, or GARBAGE */

/* Load the slot and, for the checks, what it means. */
inline load()
{
	d_step { w = slot; meant = linked }
}

/* Pin what `w` names and re-check; ok: it is linked and pinned. */
inline enter()
{
#if defined(M_NO_PIN)
	d_step { ok = (slot == w); meant = linked }
#elif defined(M_NO_RECHECK)
	d_step { ok = 1; pin[me] = w }
#elif defined(M_NO_FENCE)
	d_step { ok = (slot == w); meant = linked };
	pin[me] = w
#else
	pin[me] = w;
	d_step { ok = (slot == w); meant = linked }
#endif
}

inline read()
{
	assert(bytes[EXTENT(w)] == meant)
}

inline leave()
{
	pin[me] = NONE
}

proctype Reader(byte me)
{
	byte w, meant;
	bit ok;

end:	do
	:: load();
		if
		:: w != NONE ->
			enter();
#ifdef M_EARLY_RELEASE
			leave();
#endif
			if
			:: ok -> read()
			:: !ok
			fi;
			leave()
		:: w == NONE
		fi;
		d_step { w = NONE; meant = 0; ok = 0 }
	od
}

/* Fills a free extent, links it in place of what is there, and seals it. */
proctype Writer(byte me)
{
	byte e, w, meant;
	bit ok;

end:	do
	:: atomic {
			if
			:: state[0] == FREE -> e = 0
			:: state[1] == FREE -> e = 1
			fi;
			state[e] = ACTIVE;
			bytes[e] = version[e]
		}
again:		load();
		if
		:: w != NONE ->
			enter();
			if
			:: ok -> read()
			:: !ok -> leave(); goto again
			fi
		:: w == NONE
		fi;
#ifdef M_EARLY_UNPIN
		leave();
#endif
		d_step {
			ok = (slot == w);
			if
			:: ok ->
				assert(w == NONE || linked == meant);
				slot = WORD(e);
				linked = version[e]
			:: else
			fi
		}
		leave();
		if
		:: ok
		:: !ok -> goto again
		fi;
		d_step {
			state[e] = SEALED;
			e = 0; w = NONE; meant = 0; ok = 0
		}
	od
}

inline unlink()
{
	d_step {
		if
		:: slot == WORD(e) -> slot = NONE; linked = 0
		:: else
		fi;
		state[e] = LIMBO
	}
}

/* Leaves i == PEERS if no pin names the extent. */
inline scan()
{
	do
	:: atomic { i < PEERS && pin[i] != WORD(e) -> i++ }
	:: atomic { i < PEERS && pin[i] == WORD(e) -> break }
	:: i == PEERS -> break
	od
}

proctype Evictor()
{
	byte e, i;

end:	do
	:: atomic {
			if
			:: state[0] == SEALED || state[0] == LIMBO -> e = 0
			:: state[1] == SEALED || state[1] == LIMBO -> e = 1
			fi
		}
#ifdef M_SCAN_FIRST
		scan();
		unlink();
#else
		unlink();
		scan();
#endif
		atomic {
			if
			:: i == PEERS ->
				version[e] = version[e] % VERSIONS + 1;
				bytes[e] = GARBAGE;
				state[e] = FREE
			:: else /* pinned: it stays in limbo */
			fi;
			e = 0; i = 0
		}
	od
}

proctype Deleter()
{
end:	do
	:: d_step { slot != NONE -> slot = NONE; linked = 0 }
	od
}

init {
	atomic {
		version[0] = 1;
		version[1] = 1;
		state[0] = FREE;
		state[1] = FREE;
		run Reader(0);
#if READERS > 1
		run Reader(1);
#endif
		run Writer(READERS);
#if WRITERS > 1
		run Writer(READERS + 1);
#endif
		run Evictor();
		run Deleter()
	}
}
