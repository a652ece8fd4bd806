/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* invalidate.c - see invalidate.h */
#define XXH_INLINE_ALL /* for xxhash.h */
#include "libshmcache/invalidate.h"

#include "shm/error.h"

#include <errno.h>
#include <xxhash.h>

uint64_t
invalidate_begin(const struct mapping *m)
{
	return shm_faa64(&m->shared->seq, 1) + 1; /* I */
}

void
invalidate_raise(uint64_t *word, uint64_t seq)
{
	for (;;) {
		uint64_t old = shm_load64(word);
		uint64_t bit = old & CACHE_RECORDING; /* of the flush word */

		if ((old ^ bit) >= seq || shm_cas64(word, old, bit | seq))
			return;
	}
}

void
invalidate_word(const struct mapping *m, uint64_t *word)
{
	invalidate_raise(word, invalidate_begin(m));
}

bool
invalidate_is_tag(const void *tag, size_t bytes)
{
	return tag != NULL && bytes > 0 && bytes <= SHMCACHE_TAG_BYTES_MAX;
}

int
invalidate_refuse_tag(void)
{
	return shm_error_note(
	    -EINVAL, "a tag must have 1 to %u bytes", SHMCACHE_TAG_BYTES_MAX);
}

uint32_t
invalidate_tag_hash(const struct mapping *m, const void *tag, size_t bytes)
{
	return (uint32_t)XXH3_64bits_withSecret(
	    tag, bytes, m->secret, CACHE_SECRET_BYTES);
}

int
invalidate_check_tags(const struct shmcache_tag *tags, size_t count)
{
	if (count > SHMCACHE_TAGS_MAX)
		return shm_error_note(-EINVAL,
		    "an entry can have %u tags, not %zu", SHMCACHE_TAGS_MAX,
		    count);
	if (tags == NULL && count > 0)
		return -EINVAL;
	for (size_t i = 0; i < count; i++)
		if (!invalidate_is_tag(tags[i].data, tags[i].bytes))
			return invalidate_refuse_tag();
	return 0;
}

void
invalidate_hash_tags(const struct mapping *m, const struct shmcache_tag *tags,
    size_t count, uint32_t *hashes)
{
	for (size_t i = 0; i < count; i++)
		hashes[i] = invalidate_tag_hash(m, tags[i].data, tags[i].bytes);
}

static bool
is_valid(const struct mapping *m, uint64_t seq, const uint32_t *tags,
    unsigned tag_count)
{
	bool valid = mapping_flushed(m) <= seq;

	for (unsigned i = 0; i < tag_count; i++)
		valid &=
		    shm_load64_acquire(invalidate_tag_word(m, tags[i])) <= seq;
	return valid;
}

int
invalidate_check(const struct mapping *m,
    const struct shmcache_snapshot *snapshot, const uint32_t *tags,
    unsigned tag_count)
{
	if (snapshot->segment_id != m->segment->segment_id)
		return shm_error_note(SHMCACHE_ESTALE,
		    "the snapshot is of another cache, or of this one before it "
		    "was made anew: load again");
	if (snapshot->seq > invalidate_now(m))
		return shm_error_note(
		    -EINVAL, "the snapshot is none that this cache gave out");
	if (!is_valid(m, snapshot->seq, tags, tag_count))
		return shm_error_note(SHMCACHE_ESTALE,
		    "what is to be stored was invalidated since its snapshot "
		    "was taken: load it again");
	return 0;
}
