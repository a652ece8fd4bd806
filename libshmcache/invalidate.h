/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * invalidate.h - invalidation without clocks
 *
 * One number for the whole segment, `seq`, counts invalidations.  Each thing
 * that can be invalidated has a word: the flush word for everything, and a word
 * of the tag table for each tag.  Tags hash into the table (XXH3, with the
 * cache's own random secret), so two may share a word: then an invalidation of
 * one is one of both, which costs misses and nothing else.
 *
 *   invalidate   1  s = fetch_add(seq, 1) + 1
 *                2  word = max(word, s), by CAS
 *   load         3  n = load_acquire(seq); then look at the source of the data
 *   set          4  write the entry, with n in it; link it (index.h)
 *   get          5  find the entry [L]; then load_acquire the flush word and the
 *                   entry's tag words: valid iff none of them is above its n
 *
 * Whatever the number of entries, an invalidation is two steps, and it reaches
 * those too that are written but not linked, and those that somebody is loading.
 *
 * Claim.  Once an invalidation has returned, no get that begins then returns
 * anything whose load (3) came before its step 1.  For the load's n is below s,
 * the word is at least s for good, and the get loads the word after it has begun.
 * [I]  What is loaded after step 1 sees what the invalidator did to the source
 * before it: the fetch_add is a full fence, the load of seq an acquire.
 *
 * Between 1 and 2 gets may still return the old: the call has not returned.  A
 * load that begins there has n >= s and is valid, which is right, as it sees the
 * changed source.  With 2 before 1, a kill in between would leave a word above
 * seq, and what is loaded from then on would be dead until the next invalidation;
 * with s read and not taken by fetch_add, two at once could lower seq; without
 * max, they could lower the word.  (tests/models/invalidate.pml, with these as
 * mutants.)
 *
 * The two steps may lie as far apart as one likes: a flush that is begun now and
 * ended later takes what was loaded before its beginning, and leaves what was
 * loaded since.  An end that comes late also counts once more, after step 2: the
 * sweep takes seq for a sign that there may be something to unlink, and may have
 * come by in between.
 *
 * Who loads outside the library takes n by a snapshot before (3); without one, a
 * set takes n when it begins, so that an invalidation is sure to reach sets that
 * have begun, and no loads that went before them.
 *
 * Whoever carries an entry's content on (copies, touch, append, increments)
 * keeps its n and its tags.
 *
 * Killed after 1: seq is one higher, and nothing was invalidated.  After 2: done.
 *
 * seq has 48 bits in an entry: a million invalidations a second for 8 years.
 * Removal of a cache sets its flush word to the maximum.
 *
 * Progress: snapshots are wait-free, invalidations lock-free: a lost CAS means
 * that another's raised the word.
 */
#ifndef LIBSHMCACHE_INVALIDATE_H
#define LIBSHMCACHE_INVALIDATE_H

#include "libshmcache/mapping.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Step 1: the number of this invalidation. */
uint64_t invalidate_begin(const struct mapping *m);

/* Step 2, for the flush word or a tag's. */
void invalidate_raise(uint64_t *word, uint64_t seq);

/* Both. */
void invalidate_word(const struct mapping *m, uint64_t *word);

/* Step 3. */
static inline uint64_t
invalidate_now(const struct mapping *m)
{
	return shm_load64_acquire(&m->shared->seq); /* I */
}

bool invalidate_is_tag(const void *tag, size_t bytes);

/* -EINVAL, and a note that says what a tag is. */
int invalidate_refuse_tag(void);

uint32_t invalidate_tag_hash(
    const struct mapping *m, const void *tag, size_t bytes);

/* Of a list that an entry is to have: 0, or -EINVAL and a note. */
int invalidate_check_tags(const struct shmcache_tag *tags, size_t count);

void invalidate_hash_tags(const struct mapping *m,
    const struct shmcache_tag *tags, size_t count, uint32_t *hashes);

static inline uint64_t *
invalidate_tag_word(const struct mapping *m, uint32_t hash)
{
	return &m->tags[hash & m->tag_mask];
}

/*
 * May be stored what was loaded at this snapshot and is to have these tags?
 * SHMCACHE_ESTALE: it is invalid already, or the snapshot is of another segment;
 * -EINVAL: nobody gave the snapshot out.
 */
int invalidate_check(const struct mapping *m,
    const struct shmcache_snapshot *snapshot, const uint32_t *tags,
    unsigned tag_count);

#endif /* LIBSHMCACHE_INVALIDATE_H */
