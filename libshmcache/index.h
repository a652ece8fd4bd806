/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * index.h - the lock-free hash table: open addressing, compare-and-swap only
 *
 * A slot is one word:
 *
 *   63          62..51  50..36            35..0
 *   tentative | tag   | generation bits | address in 16-byte units
 *
 * 0 is empty.  The address is an offset from the segment's start, so it is
 * never 0; 36 bits of 16-byte units reach 1 TiB.  The tag is 12 bits of the
 * hash: at 80 % load a look-up opens a wrong entry once in about 300 times.
 * The generation bits are for verify: in a sound segment no final word names a
 * reused extent (arena.h: the walk of an EVICTING extent is final), so they may
 * wrap.
 *
 * Eight slots are a bucket, one cache line.  A key lives in one of two buckets,
 * its home and another of the same 4 KiB page: a look-up touches at most two
 * lines and one page.  (Two-choice hashing: Azar, Broder, Karlin and Upfal
 * 1994.)  Entries never move between slots, so a key that is present is never
 * missed.
 *
 * Find      look at all words of a bucket for the tag (each once: entries do
 *           not move), load_acquire the slot that has it [L], pin what it
 *           names, load it again [P].
 * Replace   CAS(slot, old, new).
 * Remove    CAS(slot, old, 0).  Whoever wins either CAS accounts for the old
 *           entry, before it lets the pin go.
 * Insert    1 look for a final word of the key: replace that instead
 *           2 CAS an empty slot to the new word with its tentative bit
 *           3 look through the whole window again, for words of the same key:
 *             a final one: take the own word back, start again;
 *             a tentative one further up: take that one away (CAS to 0);
 *             a tentative one lower down: take the own word back, wait a
 *             little, start again; after ROUNDS_MAX times take that one away
 *             (its owner may be dead or stopped)
 *           4 CAS tentative -> final; if it fails somebody took it away: start
 *             again
 *
 * Never two final words of one key: of two inserters each has its tentative
 * word in before it looks again (the CAS is a full fence), so at least one sees
 * the other's; the one that is seen is taken away or the one that sees
 * withdraws; and a word that was taken away cannot become final, because that
 * is a CAS.  Two tempting variants are wrong (tests/models/insert.pml finds two
 * finals): to finalise somebody else's tentative word, and to finalise by a
 * plain store.
 *
 * A fill (token.h) looks at its token between 3 and 4, and whenever it starts
 * again.  A delete changes the token first, then takes the key's tentative words
 * out of each slot (their setters start again) until it has removed a final one.
 * Then no other tentative word can become final that was there before: whoever
 * made that word final has taken them away, or they have seen it.
 *
 * Identity first, liveness second: a final word of the key counts, expired or
 * not.  Readers see tentative words as absent.  Every word that is in the
 * index, tentative or final, names an entry that was started.
 *
 * ABA: a final word that a peer expects in a CAS names an extent that the peer
 * has pinned, from before it looked at the word (or it is its own target), so
 * the same word cannot have come to mean something else.  Taking a tentative
 * word away, or any word of a window in which nothing can be opened, needs no
 * pin: whatever it means by then, its loss is an eviction or a fresh start.
 *
 * Killed after 2: a tentative word stays, invisible; the next set of the key,
 * or the eviction of its extent, takes it away.  Killed anywhere else: the CAS
 * was done, or not.
 *
 * Progress: find, replace, remove are lock-free; inserts of one same key at one
 * time are obstruction-free, with bounded waits.
 */
#ifndef LIBSHMCACHE_INDEX_H
#define LIBSHMCACHE_INDEX_H

#include "libshmcache/cache.h"
#include "libshmcache/entry.h"
#include "libshmcache/token.h"
#include "shm/pin.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define INDEX_TENTATIVE    (1ull << 63)
#define INDEX_TAG_SHIFT    51u
#define INDEX_ADDRESS_BITS 36u
#define INDEX_ADDRESS      ((1ull << INDEX_ADDRESS_BITS) - 1)
#define INDEX_GENERATION   0x7fffull
#define INDEX_WINDOW       (2 * INDEX_BUCKET_SLOTS)
#define INDEX_BLOCKED      INDEX_TENTATIVE

struct key {
	const void *data;
	uint32_t bytes;
	uint64_t hash;
	uint64_t tag;      /* in its place in a slot word */
	uint64_t first[2]; /* slots of its two buckets, 8 each */
};

/* A word of the index and the entry that it names, pinned. */
struct found {
	uint64_t slot;
	uint64_t word;
	struct entry entry;
};

/* Hash the key (XXH3, with the cache's own random secret). */
void index_key(const struct mapping *m, const void *data, size_t bytes,
    struct key *key_out);

static inline bool
index_is_key(const void *data, size_t bytes)
{
	return data != NULL && bytes > 0 && bytes <= SHMCACHE_KEY_BYTES_MAX;
}

/*
 * What every call about a key does first: check it, enter (cache.h), hash it.
 * 0: leave with call_leave().  Errors: SHMCACHE_EKEY, and call_enter()'s.
 */
int index_enter(struct shmcache *cache, enum call_needs needs, const void *data,
    size_t bytes, struct call *call, struct key *key_out);

/* The final word that names an entry of the key at this place. */
uint64_t index_word(const struct key *key, const struct shm_place *place);

/* The first slot of the key's second bucket. */
SHM_INLINE uint64_t
index_second_bucket(const struct mapping *m, const struct key *key)
{
	uint64_t step = (((key->hash >> 12) & 0xffff) * m->group_mask) >> 16;

	return key->first[0] ^ (step + 1) * INDEX_BUCKET_SLOTS;
}

/* The n-th slot of the key's window. */
static inline uint64_t
index_slot(const struct key *key, unsigned n)
{
	return key->first[n / INDEX_BUCKET_SLOTS] + n % INDEX_BUCKET_SLOTS;
}

/* The place in the segment that a word names, and its extent; false if it lies
   outside the arena (damage). */
SHM_INLINE bool
index_place(const struct mapping *m, uint64_t word, uint64_t *offset_out,
    uint32_t *extent_out)
{
	uint64_t offset = (word & INDEX_ADDRESS) * SHM_UNIT_BYTES;

	*offset_out = offset;
	*extent_out = (uint32_t)((offset - m->arena) >> m->extent_shift);
	return offset - m->arena < m->arena_bytes;
}

/*
 * Pin what the word in this slot names, with `pin`, and open it.  False, with
 * nothing pinned, if the slot has changed since or the entry is damaged.
 */
SHM_INLINE bool
index_pin(const struct call *call, uint64_t slot, uint64_t word, unsigned pin,
    struct entry *entry_out)
{
	uint64_t offset;
	uint32_t extent;

	if (!index_place(call->m, word, &offset, &extent))
		return false;
	/* On its way while the pin is being published. */
	__builtin_prefetch(call->m->base + offset);
	shm_pin_set(call->peer, pin, extent); /* P1 */
	if (shm_load64_acquire(&call->m->slots[slot]) == word &&
	    entry_open(call->m, offset, entry_out))
		return true;
	shm_pin_clear(call->peer, pin);
	return false;
}

/* The key of an entry that is pinned. */
static inline void
index_entry_key(
    const struct mapping *m, const struct entry *entry, struct key *key_out)
{
	index_key(m, entry->key, entry->key_bytes, key_out);
}

SHM_INLINE bool
index_same_bytes(const uint8_t *a, const uint8_t *b, size_t bytes)
{
	uint64_t a0, a1, b0, b1;

	if (__builtin_expect(bytes < 8 || bytes > 16, 0))
		return memcmp(a, b, bytes) == 0;
	memcpy(&a0, a, 8);
	memcpy(&b0, b, 8);
	memcpy(&a1, a + bytes - 8, 8);
	memcpy(&b1, b + bytes - 8, 8);
	return ((a0 ^ b0) | (a1 ^ b1)) == 0;
}

static inline bool
index_same_key(const struct entry *entry, const struct key *key)
{
	return entry->key_bytes == key->bytes &&
	       index_same_bytes(entry->key, key->data, key->bytes);
}

static_assert(INDEX_BUCKET_SLOTS == SHM_LINE_WORDS, "a bucket is a line");

/* The slot of the first final word that has the key's tag, or UINT64_MAX: in
   its first bucket that has any. */
SHM_INLINE uint64_t
index_look(const struct mapping *m, const struct key *key)
{
	uint64_t first = key->first[0];
	unsigned bits =
	    shm_match_line(&m->slots[first], key->tag, INDEX_TAG_SHIFT);

	if (bits == 0) {
		first = index_second_bucket(m, key);
		bits =
		    shm_match_line(&m->slots[first], key->tag, INDEX_TAG_SHIFT);
		if (bits == 0)
			return UINT64_MAX;
	}
	return first + (unsigned)__builtin_ctz(bits);
}

/* Find the key's final word; true: its extent is pinned with `pin`. */
bool index_find(const struct call *call, const struct key *key, unsigned pin,
    struct found *found_out);

enum index_put {
	PUT_NEW,      /* the key had no entry that could still be read */
	PUT_REPLACED, /* it had one */
	PUT_REFUSED,  /* the rule forbids it */
	PUT_FULL      /* its window is full of what may not be evicted */
};

/* Where a word may be put. */
struct put_rule {
	bool only_new; /* not if the key has a readable entry */
	const struct token
	    *token; /* NULL, or a fill's: only if that is current,
				      and in the place of that version only */
	const struct found *found; /* NULL, or what the key had a moment ago,
				      still pinned with SHM_PIN_ENTRY: tried
				      first; the pin is given back */
};

/*
 * Put the entry that `word` names, which is written and whose extent is the
 * peer's target, in the place of whatever the key has, as the rule allows.
 * Without a token in the rule the caller has bumped the key's (token.h).
 */
enum index_put index_put(const struct call *call, const struct key *key,
    uint64_t word, const struct put_rule *rule);

/*
 * Bump the key's token, and take away whatever the key has, tentative words too.
 * True if it could be read.
 */
bool index_remove(const struct call *call, const struct key *key);

/* CAS the found word to `word` (0 removes), and account for the old entry.
   False if it has changed. */
bool index_swap(
    const struct call *call, const struct found *found, uint64_t word);

/* The key's window is on its way. */
static inline void
index_prefetch(const struct mapping *m, const struct key *key)
{
	__builtin_prefetch(&m->slots[key->first[0]], 1);
	__builtin_prefetch(&m->slots[key->first[1]], 1);
}

/*
 * Does any slot of the key's window hold this word, finally or tentatively?
 * For who has the word's extent pinned.
 */
bool index_holds(const struct call *call, const struct key *key, uint64_t word,
    uint64_t *slot_out, uint64_t *seen_out);

/* Take a tentative word away; whoever put it there starts again. */
bool index_abort(const struct call *call, uint64_t slot, uint64_t word);

#endif /* LIBSHMCACHE_INDEX_H */
