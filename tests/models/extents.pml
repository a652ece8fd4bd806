/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * extents.pml - an extent that nobody owns is reused only when nobody can
 * reach it any more: two grace periods
 *
 *   FREE,g -> ACTIVE,g -> SEALED,g -(no live destination pin)-> EVICTING,g
 *     -(every entry unlinked)-> LIMBO,g -(no live pin at all)-> FREE,g+1
 *
 * Two extents with a few generations each, and one index slot for one key.
 * WRITERS processes set the key, a reader gets it, EVICTORS processes move
 * extents on, each whichever it likes, so they join, overtake and find each
 * other's work half done.  Extents get full, and free ones active, at any time
 * (how: install.pml).  Nobody's work ever ends.
 *
 *   writer   pin as destination; state still ACTIVE,g?; fill; link: by CAS of
 *            the key's final word, or through a tentative word; unpin
 *   reader   pin; slot still the same?; read; unpin
 *   evictor  SEALED    scan the destination pins -> EVICTING
 *            EVICTING  pin; state still EVICTING,g?; read; take the slot's
 *                      word to 0, or to a copy in another extent (final words
 *                      only), until the slot names no entry of it in any form
 *                      -> LIMBO; unpin
 *            LIMBO     scan all pins -> FREE,g+1
 *
 * Anybody may stop for ever anywhere, with its pins standing (every prefix of
 * every interleaving is searched).  Writers and evictors may also be killed, at
 * the places that matter: with something written, linked or unlinked under a
 * pin; some time later the pins count for nothing (the model clears them; how
 * that is found out: peers.pml).
 *
 * Checked: whoever reads or writes an extent's bytes finds the generation that
 * it means; nobody writes or links once the walk may have begun (so the walk is
 * final, and a start map read during it is complete); when an extent becomes
 * free, the slot names nothing in it, finally or tentatively.
 *
 * Mutants: M_NO_DRAIN            SEALED -> EVICTING without a scan, so that the
 *                                walk overlaps with links
 *          M_NO_STATE_CHECK      the writer doesn't check the state again
 *          M_NO_RECHECK          the reader doesn't check the slot again
 *          M_NO_LIMBO_SCAN       LIMBO -> FREE without a scan
 *          M_NO_EVICTOR_PIN      an evictor doesn't pin what it reads
 *          M_NO_EVICTOR_RECHECK  it pins, but doesn't check the state again
 *          M_SKIP_TENTATIVE      the walk leaves tentative words alone
 *          M_NO_GENERATION       the CAS after a scan minds no generation
 */
#ifndef WRITERS
#define WRITERS 1
#endif
#ifndef EVICTORS
#define EVICTORS 2
#endif
#ifndef LAST0
#define LAST0 2 /* the last generations of extents 0 and 1 */
#endif
#ifndef LAST1
#define LAST1 2 /* 0: extent 1 stays ACTIVE */
#endif

/* Those who write entries, or pin them: the writers, then the evictors. */
#define PEERS (WRITERS + EVICTORS)

/* An extent's word: {state, generation}. */
#define FREE	      0
#define ACTIVE	      1
#define SEALED	      2
#define EVICTING      3
#define LIMBO	      4
#define EXT(state, g) ((state) * 8 + (g))
#define STATE(x)      (extent[x] / 8)
#define GENERATION(x) (extent[x] % 8)

/* A slot word: {tentative, extent, generation}; 0 is empty. */
#define NONE		0
#define WORD(x, g)	((x) * 8 + (g))
#define TENT(w)		((w) + 16)
#define TENTATIVE(w)	((w) >= 16)
#define FINAL(w)	((w) != NONE && (w) < 16)
#define EXTENT(w)	(((w) / 8) % 2)
#define NAMES(w, x, g)	((w) % 16 == WORD(x, g))

/* Pins: 0, or an extent + 1. */
byte slot;
byte extent[2];
byte target[PEERS]; /* destination pins */
byte pin[PEERS];    /* of the evictors, and (0) of the reader */
#define READER 0

/* Reading bytes of generation g of extent x. */
#define touch(x, g) assert(GENERATION(x) == (g))

/* Writing an entry there, or linking it: the walk has not begun. */
#if defined(M_NO_DRAIN) || defined(M_NO_STATE_CHECK)
#define fill(x, g) touch(x, g)
#else
#define fill(x, g) assert(GENERATION(x) == (g) && STATE(x) < EVICTING)
#endif

/* CAS whose outcome doesn't matter. */
inline try(place, old, new)
{
	d_step {
		if
		:: place == (old) -> place = (new)
		:: else
		fi
	}
}

/* Link the own entry; sets ok. */
inline link(old, new)
{
	d_step {
		fill(e, g);
		ok = (slot == (old));
		if
		:: ok -> slot = (new)
		:: else
		fi
	}
}

#define MINE WORD(e, g)

proctype Writer(byte me)
{
	byte e, g, w;
	bit ok;

end:	atomic {
		if
		:: STATE(0) == ACTIVE -> e = 0
		:: STATE(1) == ACTIVE -> e = 1
		fi;
		g = GENERATION(e)
	}
	target[me] = e + 1;
#ifndef M_NO_STATE_CHECK
	if
	:: extent[e] == EXT(ACTIVE, g)
	:: extent[e] != EXT(ACTIVE, g) -> goto unpin
	fi;
#endif
	fill(e, g);
	if
	:: goto unpin /* killed, or it gives up */
	:: skip
	fi;
again:	w = slot;
	if
	:: FINAL(w) -> link(w, MINE)
	:: TENTATIVE(w) -> try(slot, w, NONE)
	:: w == NONE ->
		link(NONE, TENT(MINE));
		if
		:: ok -> link(TENT(MINE), MINE)
		:: ok -> goto unpin /* killed */
		:: !ok
		fi
	fi;
	w = NONE;
	if
	:: ok
	:: !ok -> goto again
	fi;
unpin:	atomic { target[me] = 0; e = 0; g = 0; w = NONE; ok = 0 };
	goto end
}

proctype Reader()
{
	byte w;

end:	do
	:: atomic { FINAL(slot) -> w = slot };
		pin[READER] = EXTENT(w) + 1;
		if
#ifdef M_NO_RECHECK
		:: true ->
#else
		:: slot != w
		:: slot == w ->
#endif
			touch(EXTENT(w), w % 8)
		fi;
		d_step { pin[READER] = 0; w = NONE }
	od
}

/* One pin at a time; leaves i == PEERS if none of `pins` names extent e. */
#define SCAN(pins) \
	i = 0; \
	do \
	:: atomic { i < PEERS && pins[i] != e + 1 -> i++ } \
	:: atomic { i < PEERS && pins[i] == e + 1 -> break } \
	:: i == PEERS -> break \
	od

/* Unlink the entry that `w` names: to 0, or to a copy in the other extent. */
inline unlink_or_copy()
{
	if
	:: try(slot, w, NONE)
	:: atomic {
			STATE(1 - e) == ACTIVE -> h = GENERATION(1 - e)
		};
		target[me] = 2 - e;
		if
		:: extent[1 - e] == EXT(ACTIVE, h) ->
			touch(e, g);
			fill(1 - e, h);
			d_step {
				fill(1 - e, h);
				try(slot, w, WORD(1 - e, h))
			}
		:: extent[1 - e] != EXT(ACTIVE, h)
		fi;
		d_step { target[me] = 0; h = 0 }
	fi
}

/* Take out of the slot whatever names an entry of extent e.  Entries are found
   by reading the extent. */
inline walk()
{
	do
	:: goto next /* killed */
	:: atomic { NAMES(slot, e, g) -> w = slot };
		touch(e, g);
		if
		:: FINAL(w) -> unlink_or_copy()
		:: TENTATIVE(w) ->
#ifdef M_SKIP_TENTATIVE
			break
#else
			try(slot, w, NONE)
#endif
		fi;
		w = NONE
	:: atomic { !NAMES(slot, e, g) -> touch(e, g) };
		break
	od
}

#define CAN_MOVE(x, last) \
	(STATE(x) == SEALED || STATE(x) == EVICTING || \
	    (STATE(x) == LIMBO && GENERATION(x) < (last)))

/* The condition of the CAS that follows a scan. */
#ifdef M_NO_GENERATION
#define SAME(state) (STATE(e) == (state))
#else
#define SAME(state) (extent[e] == EXT(state, g))
#endif

proctype Evictor(byte me)
{
	byte e, g, h, i, w;

end:	atomic {
		if
		:: CAN_MOVE(0, LAST0) -> e = 0
#if LAST1 > 0
		:: CAN_MOVE(1, LAST1) -> e = 1
#endif
		fi;
		g = GENERATION(e);
		i = PEERS;
		if
		:: STATE(e) == SEALED -> goto drain
		:: STATE(e) == EVICTING -> goto evict
		:: STATE(e) == LIMBO -> goto reuse
		fi
	};

drain:	/* SEALED: a scan, then EVICTING */
#ifndef M_NO_DRAIN
	SCAN(target);
#endif
	atomic {
		if
		:: i == PEERS && SAME(SEALED) ->
			extent[e] = EXT(EVICTING, GENERATION(e))
		:: else
		fi
	};
	goto next;

evict:	/* EVICTING: the walk, then LIMBO */
#ifndef M_NO_EVICTOR_PIN
	pin[me] = e + 1;
#endif
#ifndef M_NO_EVICTOR_RECHECK
	if
	:: extent[e] == EXT(EVICTING, g)
	:: extent[e] != EXT(EVICTING, g) -> goto next
	fi;
#endif
	walk();
	try(extent[e], EXT(EVICTING, g), EXT(LIMBO, g));
	goto next;

reuse:	/* LIMBO: a scan, then FREE */
#ifndef M_NO_LIMBO_SCAN
	SCAN(target);
	if
	:: i == PEERS -> SCAN(pin)
	:: i < PEERS
	fi;
#endif
	atomic {
		if
		:: i == PEERS && SAME(LIMBO) ->
			assert(!NAMES(slot, e, GENERATION(e)));
			extent[e] = EXT(FREE, GENERATION(e) + 1)
		:: else
		fi
	};

next:	atomic { pin[me] = 0; e = 0; g = 0; h = 0; i = 0; w = NONE };
	goto end
}

/* Extents get full, and free ones are made active. */
#define CHANGE(x) \
	:: d_step { \
		STATE(x) == ACTIVE -> extent[x] = EXT(SEALED, GENERATION(x)) } \
	:: d_step { STATE(x) == FREE -> extent[x] = EXT(ACTIVE, GENERATION(x)) }

proctype World()
{
end:	do
	CHANGE(0)
#if LAST1 > 0
	CHANGE(1)
#endif
	od
}

init {
	atomic {
		extent[0] = EXT(ACTIVE, 1);
		extent[1] = EXT(ACTIVE, 1);
		run Writer(0);
#if WRITERS > 1
		run Writer(1);
#endif
		run Reader();
		run Evictor(WRITERS);
#if EVICTORS > 1
		run Evictor(WRITERS + 1);
#endif
		run World()
	}
}
