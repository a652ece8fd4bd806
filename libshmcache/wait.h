/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * wait.h - sleeping until a word that somebody holds (owner.h) changes
 *
 * Whoever changes it wakes those who sleep on it.  Who is killed wakes nobody:
 * so sleepers wake by themselves now and then, and ask whether the owner lives.
 * That, and the time that the kernel takes to tear a process down, is how long
 * the dead are waited for.
 *
 * A look is three system calls; of many who wait for one owner, few look for all
 * (owner.h).  Their pauses differ, so that some wake soon.
 */
#ifndef LIBSHMCACHE_WAIT_H
#define LIBSHMCACHE_WAIT_H

#include "shm/futex.h"

#include <stdint.h>

#define WAIT_LOOK_LEAST_MS 3u
#define WAIT_LOOK_MOST_MS  7u

/* How long to sleep until the next look. */
static inline uint32_t
wait_look_ms(uint32_t random)
{
	return WAIT_LOOK_LEAST_MS +
	       random % (WAIT_LOOK_MOST_MS - WAIT_LOOK_LEAST_MS + 1);
}

/* Sleep until the word is not as it was seen, or it is time to look, but for no
   longer than `most_ms`. */
static inline void
wait_for_change(
    const uint64_t *word, uint64_t seen, uint32_t look_ms, uint64_t most_ms)
{
	shm_futex_wait(word, (uint32_t)seen,
	    look_ms < most_ms ? look_ms : (uint32_t)most_ms);
}

#endif /* LIBSHMCACHE_WAIT_H */
