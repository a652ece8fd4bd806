/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * loading.h - what the loaders of a thread are loading
 *
 * A loader that asks for its own key would wait for itself, so it is told
 * (SHMCACHE_EDEADLK).  Each thread has a list of notes, one for each of its
 * loaders that has not returned.  A note matches a call for its key in the same
 * cache, by whatever handle, but for two that can be told to be none of its
 * callers':
 *
 *   late   older than its `lease_ms`: its key may be loaded by anybody then.
 *          The loader may have been left by longjmp().
 *   left   the call of the loader lies below the present call on the thread's
 *          stack: it was left by longjmp() for certain.  (One that lies above is
 *          a caller of the present call, or was left too: it matches.)
 *
 * Loaders may yield to each other on stacks of their own (coroutines).  Places
 * on two stacks say nothing; there a note matches until it is late, for the call
 * must not wait: that would stop the loader's thread.
 *
 * A coroutine may return from its loader before another that was called later,
 * and in another thread.  So nobody but a note's loader frees it while the list
 * does not have it, and nobody but the list's thread touches the list:
 *
 *   LISTED --> (freed)    the loader returns, in the list's thread
 *   LISTED --> DONE       it returns in another; the list's thread frees it
 *   LISTED --> UNLISTED   the list's thread finds it late; the loader frees it
 *
 * The latter two are CAS.  The note of a loader that never returns is lost.
 */
#ifndef LIBSHMCACHE_LOADING_H
#define LIBSHMCACHE_LOADING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shmcache;

/* What a call asks for, and where that call is. */
struct loading_key {
	struct shmcache *cache;
	const void *data;
	size_t bytes;
	uintptr_t frame; /* of the call that asks; of that of the loader */
};

struct loading;

/* Is one of the thread's loaders, as far as can be told one that called the
   present call, loading this? */
bool loading_is(const struct loading_key *key);

/* Note that a loader begins; NULL: no memory. */
struct loading *loading_begin(const struct loading_key *key, uint32_t lease_ms);

/* It has returned. */
void loading_end(struct loading *loading);

#endif /* LIBSHMCACHE_LOADING_H */
