/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * expire.h - entries that may not be returned any more
 *
 * Expiry is exact where it is read: every get compares the entry's time and
 * flush with the clock and the flush word.  What may not be returned is then
 * unlinked by whoever meets it, or by a sweep; a cache without a janitor is
 * correct, only fuller.
 *
 * An entry that has expired is frozen before it is unlinked, and looked at
 * again: a touch that was acknowledged before the freeze counts, one that comes
 * later sees a frozen word and goes by replacing.
 */
#ifndef LIBSHMCACHE_EXPIRE_H
#define LIBSHMCACHE_EXPIRE_H

#include "libshmcache/index.h"
#include "libshmcache/shmcache_admin.h"
#include "libshmcache/stats.h"

/*
 * Unlink the found entry, which is pinned, if it may not be returned.  True if
 * it may not (unlinked by this call or another).
 */
bool expire_found(
    const struct call *call, const struct found *found, enum counter counter);

/* Unlink what has expired in one extent; how many. */
uint64_t expire_extent(const struct call *call, struct shm_extent *extent);

/* Sweep the whole cache once. */
void expire_sweep(
    const struct call *call, struct shmcache_sweep_result *result_out);

#endif /* LIBSHMCACHE_EXPIRE_H */
