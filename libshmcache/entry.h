/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * entry.h - one key and its value, as it lies in an extent
 *
 *   header 16 | options, 8 bytes each | tags, 4 bytes each | key | value
 *   | padding to 16
 *
 * An entry is written by one peer before it is linked, and does not change
 * after that, but for three things:
 *
 *   expiry  {time 63, frozen 1}, by CAS: touch stores a new time, freezing sets
 *           the low bit for good.  It is an option: an entry without it never
 *           expires, and a touch goes by replacing.  Whoever carries an entry's content on to
 *           another (a copy of the evictor, a touch by replacing) freezes
 *           first and reads the time then; a touch that meets a frozen word
 *           goes by replacing.  So no acknowledged touch is lost.  A freeze
 *           that is not followed up does no harm.
 *   ref     a byte of its own: readers count its low two bits up to 3 by plain
 *           stores; a lost count does no harm.  The rest is the policy's.  Who
 *           unlinks the entry stores ENTRY_DEAD, so that evictors need not
 *           look it up; a reader's late mark may hide that, which costs them a
 *           look-up.
 *   cell    of a counter: {value 64, version 63, frozen 1}, by a CAS of both
 *           words.  Each increment adds one to the version, so that two equal
 *           loads of it enclose one value.  Freezing is as with expiry: an
 *           increment that meets a frozen cell goes by replacing, so no
 *           acknowledged one is lost.
 *
 * A counter (ENTRY_COUNTER) has its cell in the place of a value, 16 bytes at a
 * multiple of 16; it reads as decimal text.
 *
 * Options follow the header in the order of their flag bits.  Those that are
 * not used yet get further bits.
 *
 * An entry's version is its birth address {generation, extent, offset}: unique,
 * and without a shared counter.  Copies keep it in an option.  A counter's is
 * that of its cell, with the top bit set.  It begins anywhere in 2^63 (the birth
 * address, scrambled) and grows by one, so that another counter of the same key
 * passes the same number with a probability below 2^-30 in 2^32 increments.
 *
 * Damage.  Lengths are read once and checked against the extent, so that no
 * access leaves it whatever the bytes say.
 */
#ifndef LIBSHMCACHE_ENTRY_H
#define LIBSHMCACHE_ENTRY_H

#include "libshmcache/mapping.h"
#include "libshmcache/refresh.h"
#include "shm/arena.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct entry_shared {
	uint32_t
	    value_bytes; /* 30 bits; above: ENTRY_REFRESH, ENTRY_NEGATIVE */
	uint16_t key_bytes;
	uint8_t flags; /* ENTRY_... below, number of tags << ENTRY_TAGS_SHIFT */
	uint8_t ref;
	uint32_t seq_low;
	uint16_t seq_high; /* seq: 48 bits */
	uint16_t stamp;    /* its place in its log (place.h); 0: none */
};

static_assert(offsetof(struct entry_shared, ref) == 7, "layout");
static_assert(sizeof(struct entry_shared) == 16, "layout");

/* It is read by words. */
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words");
static_assert(offsetof(struct entry_shared, value_bytes) == 0, "word 0");
static_assert(offsetof(struct entry_shared, key_bytes) == 4, "word 0");
static_assert(offsetof(struct entry_shared, flags) == 6, "word 0");
static_assert(offsetof(struct entry_shared, seq_low) == 8, "word 1");

#define ENTRY_EXPIRY       0x01u /* option: {milliseconds 63, frozen 1} */
#define ENTRY_CLIENT_FLAGS 0x02u /* option: the caller's flags */
#define ENTRY_BIRTH        0x04u /* option: the version, of a copy */
#define ENTRY_COUNTER      0x08u /* not an option: it has a cell, no value */
#define ENTRY_REFRESH      0x10u /* option: struct refresh */
#define ENTRY_NEGATIVE     0x20u /* not an option: the source has no such key */
#define ENTRY_OPTIONS                                                          \
	(ENTRY_EXPIRY | ENTRY_CLIENT_FLAGS | ENTRY_BIRTH | ENTRY_REFRESH)
#define ENTRY_FLAGS        (ENTRY_OPTIONS | ENTRY_COUNTER | ENTRY_NEGATIVE)
#define ENTRY_OPTION_BYTES 8u

static_assert(
    (ENTRY_OPTIONS & ~ENTRY_REFRESH) == 7, "entry_options_bytes() counts them");

#define ENTRY_TAGS_MAX        SHMCACHE_TAGS_MAX
#define ENTRY_TAG_BYTES       4u
#define ENTRY_FLAGS_LOW       0x0fu /* in the header's flags */
#define ENTRY_FLAGS_HIGH      0x30u /* above the length of the value */
#define ENTRY_VALUE_BYTES     0x3fffffffu
#define ENTRY_TAGS_SHIFT      4u /* in the header's flags */
#define ENTRY_FROZEN          1ull
#define ENTRY_DEAD            0xffu /* as ref: unlinked, for good; a hint */
#define ENTRY_NUMBER_BYTES    20u   /* of the longest number as text */
#define ENTRY_COUNTER_VERSION (1ull << 63)

/* A counter's cell, as it lies in the segment. */
struct cell_shared {
	uint64_t value;
	uint64_t version; /* {version 63, frozen 1} */
};

static_assert(offsetof(struct cell_shared, version) == 8, "layout");
static_assert(sizeof(struct cell_shared) == 16, "layout");

/* The most that an entry has besides key and value: header, options, tags. */
#define ENTRY_OVERHEAD                                                         \
	((uint32_t)sizeof(struct entry_shared) + 4 * 8u +                      \
	    ENTRY_TAGS_MAX * ENTRY_TAG_BYTES)

/* What an entry is written from. */
struct entry_content {
	const void *key;
	const void *value;
	const void *tail; /* more of the value, behind it */
	uint32_t key_bytes;
	uint32_t value_bytes;
	uint32_t tail_bytes;
	uint32_t client_flags;
	uint32_t tag_count;
	const void *tags; /* hashes of 4 bytes */
	uint64_t birth;   /* 0: it is new */
	uint64_t seq;
	uint64_t expires_ms; /* 0: never */
	uint32_t log;        /* where it goes */
	uint16_t stamp;
	uint64_t refresh; /* refresh_pack(); 0: none */
	uint8_t ref;
	bool negative;           /* no value */
	bool counter;            /* instead of a value: */
	struct cell_shared cell; /* version 0: it is new */
};

/* An entry, taken apart and checked; valid while its extent is pinned. */
struct entry {
	struct entry_shared *shared;
	uint64_t *expiry; /* NULL: it has none */
	const uint8_t *key;
	const uint8_t *value;
	uint32_t key_bytes;
	uint32_t value_bytes;
	uint32_t bytes; /* in the extent */
	uint32_t extent;
	uint64_t offset; /* from the segment's start */
	uint64_t seq;
	uint8_t flags;
	uint8_t tag_count;
};

/* The bytes of its value, or of a counter's cell. */
static inline uint64_t
entry_value_bytes(const struct entry_content *content)
{
	return content->counter
		   ? sizeof(struct cell_shared)
		   : (uint64_t)content->value_bytes + content->tail_bytes;
}

/* The bytes an entry takes. */
uint32_t entry_bytes(const struct entry_content *content);

/* Write it to its place and mark it as started; not linked yet. */
void entry_write(const struct mapping *m, const struct shm_place *place,
    const struct entry_content *content);

static inline uint32_t
entry_round(uint64_t bytes)
{
	return (uint32_t)((bytes + SHM_UNIT_BYTES - 1) / SHM_UNIT_BYTES *
			  SHM_UNIT_BYTES);
}

static inline uint32_t
entry_options_bytes(uint8_t flags)
{
	/* A digit for each value of the three low bits: how many are set. */
	uint32_t low = 0x32212110u >> 4 * (flags & 7u) & 0xf;

	return ENTRY_OPTION_BYTES * (low + ((flags & ENTRY_REFRESH) != 0));
}

static inline uint32_t
entry_tags_offset(uint8_t flags)
{
	return (uint32_t)sizeof(struct entry_shared) +
	       entry_options_bytes(flags);
}

static inline uint32_t
entry_key_offset(uint8_t flags, uint32_t tag_count)
{
	return entry_tags_offset(flags) + tag_count * ENTRY_TAG_BYTES;
}

/* Where the value begins: behind the key; a counter's cell at a unit. */
static inline uint32_t
entry_value_offset(uint8_t flags, uint32_t tag_count, uint32_t key_bytes)
{
	uint32_t at = entry_key_offset(flags, tag_count) + key_bytes;

	return __builtin_expect((flags & ENTRY_COUNTER) != 0, 0)
		   ? entry_round(at)
		   : at;
}

static inline bool
entry_is_counter(const struct entry *entry)
{
	return (entry->flags & ENTRY_COUNTER) != 0;
}

static inline uint64_t
entry_header_word(const struct entry_shared *shared, unsigned n)
{
	const void *words = shared;

	return shm_load64((const uint64_t *)words + n);
}

/* Take the entry at this offset apart; false if its lengths leave its extent or
   are more than the cache allows (damage). */
SHM_INLINE bool
entry_open(const struct mapping *m, uint64_t offset, struct entry *entry_out)
{
	uint64_t in_arena = offset - m->arena;
	uint64_t room = m->extent_bytes - (in_arena & (m->extent_bytes - 1));
	void *at = m->base + offset;
	struct entry_shared *shared = at;
	uint64_t lengths, payload;
	uint32_t value_at;

	if (room < sizeof(*shared) + 1)
		return false;
	lengths = entry_header_word(shared, 0);
	entry_out->shared = shared;
	entry_out->offset = offset;
	entry_out->extent = (uint32_t)(in_arena >> m->extent_shift);
	entry_out->seq = entry_header_word(shared, 1) & CACHE_SEQ_MAX;
	entry_out->value_bytes = (uint32_t)lengths & ENTRY_VALUE_BYTES;
	entry_out->key_bytes = (uint16_t)(lengths >> 32);
	entry_out->flags = (uint8_t)((lengths >> 48 & ENTRY_FLAGS_LOW) |
				     (lengths >> 26 & ENTRY_FLAGS_HIGH));
	entry_out->tag_count =
	    (uint8_t)(lengths >> (48 + ENTRY_TAGS_SHIFT) & 0xf);
	entry_out->expiry = (entry_out->flags & ENTRY_EXPIRY) != 0
				? (void *)(shared + 1) /* the first option */
				: NULL;
	value_at = entry_value_offset(
	    entry_out->flags, entry_out->tag_count, entry_out->key_bytes);
	entry_out->key =
	    (const uint8_t *)at +
	    entry_key_offset(entry_out->flags, entry_out->tag_count);
	entry_out->value = (const uint8_t *)at + value_at;
	payload = (uint64_t)entry_out->key_bytes + entry_out->value_bytes;
	if (entry_out->key_bytes == 0 ||
	    entry_out->tag_count > ENTRY_TAGS_MAX ||
	    value_at + (uint64_t)entry_out->value_bytes > room ||
	    payload > m->max_entry_bytes ||
	    (__builtin_expect(entry_is_counter(entry_out), 0) &&
		entry_out->value_bytes != sizeof(struct cell_shared)))
		return false;
	entry_out->bytes =
	    entry_round(value_at + (uint64_t)entry_out->value_bytes);
	return true;
}

/*
 * A plain entry has no options but a time to live and client flags, no tags, and
 * a value: the first word of its header is ENTRY_PLAIN(key_bytes), but for the
 * bits that vary.
 */
#define ENTRY_PLAIN(key_bytes)   ((uint64_t)(key_bytes) << 32)
#define ENTRY_PLAIN_EXPIRY       ((uint64_t)ENTRY_EXPIRY << 48)
#define ENTRY_PLAIN_CLIENT_FLAGS ((uint64_t)ENTRY_CLIENT_FLAGS << 48)
#define ENTRY_PLAIN_VARIES                                                     \
	(ENTRY_VALUE_BYTES | ENTRY_PLAIN_EXPIRY | ENTRY_PLAIN_CLIENT_FLAGS |   \
	    0xffull << 56)

/* Where a plain entry's key begins. */
static inline uint64_t
entry_plain_offset(uint64_t lengths)
{
	return sizeof(struct entry_shared) +
	       entry_options_bytes((uint8_t)(lengths >> 48) &
				   (ENTRY_EXPIRY | ENTRY_CLIENT_FLAGS));
}

/* The option of this bit, 0 if the entry has none. */
uint64_t entry_option(
    const struct entry_shared *shared, uint8_t flags, uint8_t bit);

static inline uint32_t
entry_client_flags(const struct entry *entry)
{
	return (entry->flags & ENTRY_CLIENT_FLAGS) == 0
		   ? 0
		   : (uint32_t)entry_option(
			 entry->shared, entry->flags, ENTRY_CLIENT_FLAGS);
}

/* {generation 27, 1 + unit 36} of the place where an entry was born. */
static inline uint64_t
entry_birth_address(
    const struct mapping *m, uint64_t offset, uint32_t generation)
{
	uint64_t unit = (offset - m->arena) / SHM_UNIT_BYTES;

	return (uint64_t)(generation & 0x7ffffff) << 36 | (unit + 1);
}

/* Of a counter, or of a copy. */
uint64_t entry_kept_version(
    const struct entry_shared *shared, uint8_t flags, const uint8_t *value);

struct refresh entry_refresh(const struct entry *entry);

static inline bool
entry_is_negative(const struct entry *entry)
{
	return (entry->flags & ENTRY_NEGATIVE) != 0;
}

/* {0, generation 27, 1 + unit of the arena 36}, or a counter's; never 0. */
SHM_INLINE uint64_t
entry_version(const struct mapping *m, const struct entry *entry)
{
	if ((entry->flags & (ENTRY_COUNTER | ENTRY_BIRTH)) != 0)
		return entry_kept_version(
		    entry->shared, entry->flags, entry->value);
	return entry_birth_address(
	    m, entry->offset, shm_arena_generation(m->segment, entry->extent));
}

/* The content of an entry that is pinned, as it is now. */
void entry_content(const struct mapping *m, const struct entry *entry,
    struct entry_content *content_out);

/* The same for carrying on: freezes it. */
void entry_carry(const struct mapping *m, const struct entry *entry,
    struct entry_content *content_out);

/* A counter's value as text, not terminated; returns its length. */
uint32_t entry_number_text(int64_t value, char text[ENTRY_NUMBER_BYTES + 1]);

/* Value and version of a counter at one moment. */
struct cell_shared entry_cell(const struct entry *entry);

/* CAS of a counter's cell. */
bool entry_cell_swap(const struct entry *entry, const struct cell_shared *from,
    const struct cell_shared *to);

/* When it expires, in milliseconds; 0: never. */
static inline uint64_t
entry_expires_ms(const struct entry *entry)
{
	return entry->expiry != NULL ? shm_load64(entry->expiry) >> 1 : 0;
}

/* Stop all further touches; returns the time it expires, 0 for never. */
static inline uint64_t
entry_freeze(const struct entry *entry)
{
	uint64_t *word = entry->expiry;

	if (word == NULL)
		return 0;
	for (;;) {
		uint64_t old = shm_load64(word);

		if ((old & ENTRY_FROZEN) != 0 ||
		    shm_cas64(word, old, old | ENTRY_FROZEN))
			return old >> 1;
	}
}

/* Its tags: hashes of 4 bytes, at a multiple of 4. */
static inline const uint32_t *
entry_tags(const struct entry *entry)
{
	const void *at =
	    (const uint8_t *)entry->shared + entry_tags_offset(entry->flags);

	return at;
}

/* Was one of its tags invalidated after its load began? */
bool entry_tag_invalidated(const struct mapping *m, const struct entry *entry);

/* Was it invalidated, by a flush or a tag, after its load began? */
static inline bool
entry_invalidated(const struct mapping *m, const struct entry *entry)
{
	return mapping_flushed(m) > entry->seq ||
	       (__builtin_expect(entry->tag_count != 0, 0) &&
		   entry_tag_invalidated(m, entry));
}

static inline bool
entry_expired(const struct mapping *m, const struct entry *entry)
{
	uint64_t expires_ms = entry_expires_ms(entry);

	return expires_ms != 0 && mapping_now_ms(m) >= expires_ms;
}

/* May it be returned? */
static inline bool
entry_valid(const struct mapping *m, const struct entry *entry)
{
	return !entry_invalidated(m, entry) && !entry_expired(m, entry);
}

/* Is a valid entry one that only loading calls see? */
bool entry_hidden(const struct mapping *m, const struct entry *entry);

/* May a call that does not load return it? */
static inline bool
entry_visible(const struct mapping *m, const struct entry *entry)
{
	return entry_valid(m, entry) &&
	       (__builtin_expect(
		    (entry->flags & (ENTRY_REFRESH | ENTRY_NEGATIVE)) == 0,
		    1) ||
		   !entry_hidden(m, entry));
}

/* Milliseconds left, or SHMCACHE_TTL_NONE. */
static inline int64_t
entry_ttl_ms(const struct mapping *m, const struct entry *entry)
{
	uint64_t expires_ms = entry_expires_ms(entry);
	uint64_t now_ms;

	if (expires_ms == 0)
		return SHMCACHE_TTL_NONE;
	now_ms = mapping_now_ms(m) + entry_refresh(entry).stale_ms;
	return expires_ms > now_ms ? (int64_t)(expires_ms - now_ms) : 0;
}

/*
 * Leave a reference mark: at most 3 writes in an entry's stay, and none while it
 * is in the window of its log (policy.h).
 */
static inline void
entry_mark(const struct mapping *m, struct entry_shared *shared)
{
	uint8_t ref = shm_load8(&shared->ref);
	uint16_t stamp;

	if ((ref & POLICY_MARKS_MAX) == POLICY_MARKS_MAX)
		return;
	stamp = shm_load16(&shared->stamp);
	if (stamp != 0 && (uint16_t)(shm_load64(m->window_position) - stamp) <
			      m->window_ticks)
		return;
	shm_store8(&shared->ref, (uint8_t)(ref + 1));
}

#endif /* LIBSHMCACHE_ENTRY_H */
