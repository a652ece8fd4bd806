/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * install.pml - the hint that tells a lane which extent to write to
 *
 * Each lane (a CPU's, of one log) has a hint word {extent, generation}; an
 * extent's word is {state, log, generation}.  There are two lanes: of two logs,
 * or (-DONE_LOG) of one.  WORKERS processes write, each time in any lane:
 *
 *   hint {X,g}, X is ACTIVE,g of this log     use it
 *   hint {X,g}, X is FREE,g                   CAS X: FREE,g -> ACTIVE,g,log
 *   hint {X,g}, X is anything else            find Y FREE,h; CAS the hint
 *                                             {X,g} -> {Y,h}
 *
 * and look again.  An active extent may be sealed at any moment, and a sealed
 * one freed as the next generation.  Any worker may stop for ever anywhere, or
 * be killed there: nothing is waited for.
 *
 * Checked: an ACTIVE extent is named by a hint of its log, always, so that none
 * is lost; no extent is ever used for two logs in one generation.
 *
 * Mutants: M_HINT_STORE          the hint is stored, not CASed
 *          M_HINT_NO_GENERATION  its CAS compares the extent alone
 *          M_NO_GENERATION       the extent's CAS compares FREE alone
 *          M_REPLACE_FREE        a hint whose extent is still FREE is replaced
 *          M_ACTIVATE_FIRST      Y is made ACTIVE before the hint names it
 *          M_NO_LOG              whoever finds it ACTIVE,g uses it
 */
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef EXTENTS
#define EXTENTS 2
#endif
#ifndef LAST
#define LAST 2 /* the last generation */
#endif

#ifdef ONE_LOG
#define LOG(lane) 0
#else
#define LOG(lane) (lane)
#endif

/* A hint: {extent, generation}. */
#define HINT(x, g)    ((x) * 8 + (g))
#define EXTENT(h)     ((h) / 8)
#define GENERATION(h) ((h) % 8)

/* An extent's word: {state, log, generation}. */
#define FREE(g)	       (g)
#define ACTIVE(g, log) (16 + (log) * 8 + (g))
#define SEALED(g)      (32 + (g))
#define IS_FREE(x)     (extent[x] < 16)
#define IS_ACTIVE(x)   (extent[x] / 16 == 1)
#define IS_SEALED(x)   (extent[x] >= 32)

byte hint[2];
byte extent[EXTENTS];
byte used_by[EXTENTS]; /* ghost: log + 1, in this generation */

#define NAMED_BY(lane, x) \
	(hint[lane] == HINT(x, extent[x] % 8) && \
	    extent[x] == ACTIVE(extent[x] % 8, LOG(lane)))
#define NAMED(x) (!IS_ACTIVE(x) || NAMED_BY(0, x) || NAMED_BY(1, x))
#if EXTENTS > 2
#define ALL_NAMED (NAMED(0) && NAMED(1) && NAMED(2))
#else
#define ALL_NAMED (NAMED(0) && NAMED(1))
#endif

inline activate(x, g)
{
	d_step {
		if
#ifdef M_NO_GENERATION
		:: IS_FREE(x) -> extent[x] = ACTIVE(extent[x] % 8, LOG(lane))
#else
		:: extent[x] == FREE(g) -> extent[x] = ACTIVE(g, LOG(lane))
#endif
		:: else
		fi;
		assert(ALL_NAMED)
	}
}

#if defined(M_HINT_STORE)
#define SAME_HINT true
#elif defined(M_HINT_NO_GENERATION)
#define SAME_HINT (EXTENT(hint[lane]) == EXTENT(h))
#else
#define SAME_HINT (hint[lane] == h)
#endif

inline replace_hint(x, g)
{
	d_step {
		if
		:: SAME_HINT -> hint[lane] = HINT(x, g)
		:: else
		fi;
		assert(ALL_NAMED)
	}
}

#ifdef M_NO_LOG
#define USABLE(word) \
	((word) == ACTIVE(GENERATION(h), 0) || \
	    (word) == ACTIVE(GENERATION(h), 1))
#else
#define USABLE(word) ((word) == ACTIVE(GENERATION(h), LOG(lane)))
#endif

proctype Worker()
{
	byte lane, h, y, k, word;

end:	do
	:: atomic {
			if
			:: lane = 0
			:: lane = 1
			fi;
			h = hint[lane]
		};
		/* Pinned first, so that it stays: extents.pml */
		atomic {
			word = extent[EXTENT(h)];
			if
			:: USABLE(word) ->
				assert(used_by[EXTENT(h)] == 0 ||
				    used_by[EXTENT(h)] == LOG(lane) + 1);
				used_by[EXTENT(h)] = LOG(lane) + 1;
				goto next
			:: else
			fi
		};
		if
		:: word == FREE(GENERATION(h)) ->
			activate(EXTENT(h), GENERATION(h));
			goto next
#ifdef M_REPLACE_FREE
		:: word == FREE(GENERATION(h))
#endif
		:: word != FREE(GENERATION(h))
		fi;
		atomic {
			if
			:: IS_FREE(0) -> y = 0
			:: IS_FREE(1) -> y = 1
#if EXTENTS > 2
			:: IS_FREE(2) -> y = 2
#endif
			:: else -> goto next
			fi;
			k = extent[y]
		};
#ifdef M_ACTIVATE_FIRST
		activate(y, k);
#endif
		replace_hint(y, k);
next:		atomic { lane = 0; h = 0; y = 0; k = 0; word = 0 }
	od
}

#define SEAL(x) \
	d_step { IS_ACTIVE(x) -> extent[x] = SEALED(extent[x] % 8) }
#define RECYCLE(x) \
	d_step { \
		IS_SEALED(x) && extent[x] % 8 < LAST -> \
		extent[x] = FREE(extent[x] % 8 + 1); \
		used_by[x] = 0 \
	}

proctype World()
{
end:	do
	:: SEAL(0)
	:: SEAL(1)
	:: RECYCLE(0)
	:: RECYCLE(1)
#if EXTENTS > 2
	:: SEAL(2)
	:: RECYCLE(2)
#endif
	od
}

init {
	atomic {
		extent[0] = FREE(1);
		extent[1] = FREE(1);
		hint[0] = HINT(0, 1);
		hint[1] = HINT(0, 1);
#if EXTENTS > 2
		extent[2] = FREE(1);
#endif
		run Worker();
		run Worker();
#if WORKERS > 2
		run Worker();
#endif
		run World()
	}
}
