/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * entry.h - one key and its value, as it lies in an extent
 *
 *   header 24 | options, 8 bytes each | key | value | padding to 16
 *
 * An entry is written by one peer before it is linked, and does not change
 * after that, but for two things:
 *
 *   expiry  {time 63, frozen 1}, by CAS: touch stores a new time, freezing sets
 *           the low bit for good.  Whoever carries an entry's content on to
 *           another (a copy of the evictor, a touch by replacing) freezes
 *           first and reads the time then; a touch that meets a frozen word
 *           goes by replacing.  So no acknowledged touch is lost.  A freeze
 *           that is not followed up does no harm.
 *   ref     a byte of its own: readers count it up to 3 by plain stores; a lost
 *           count does no harm.
 *
 * Options follow the header in the order of their flag bits.  Those that are
 * not used yet (tags, cost of the load, time until which it may be served
 * stale) get further bits.
 *
 * An entry's version is its birth address {generation, extent, offset}: unique,
 * and without a shared counter.  Copies keep it in an option.
 *
 * Damage.  Lengths are read once and checked against the extent, so that no
 * access leaves it whatever the bytes say.
 */
#ifndef LIBSHMCACHE_ENTRY_H
#define LIBSHMCACHE_ENTRY_H

#include "libshmcache/mapping.h"
#include "shm/arena.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct entry_shared {
	uint64_t expiry; /* {milliseconds 63, frozen 1}; 0 ms: never */
	uint32_t seq_low;
	uint16_t seq_high; /* seq: 48 bits */
	uint8_t flags;     /* ENTRY_... */
	uint8_t ref;
	uint32_t value_bytes;
	uint16_t key_bytes;
	uint16_t reserved;
};

static_assert(offsetof(struct entry_shared, ref) == 15, "layout");
static_assert(sizeof(struct entry_shared) == 24, "layout");

#define ENTRY_CLIENT_FLAGS 0x01u /* option: the caller's flags */
#define ENTRY_BIRTH        0x02u /* option: the version, of a copy */
#define ENTRY_OPTIONS      0x03u

#define ENTRY_FROZEN  1ull
#define ENTRY_REF_MAX 3u

/* What an entry is written from. */
struct entry_content {
	const void *key;
	const void *value;
	uint32_t key_bytes;
	uint32_t value_bytes;
	uint32_t client_flags;
	uint64_t birth; /* 0: it is new */
	uint64_t seq;
	uint64_t expires_ms; /* 0: never */
	uint8_t ref;
};

/* An entry, taken apart and checked; valid while its extent is pinned. */
struct entry {
	struct entry_shared *shared;
	const uint8_t *key;
	const uint8_t *value;
	uint32_t key_bytes;
	uint32_t value_bytes;
	uint32_t bytes; /* in the extent */
	uint32_t extent;
	uint64_t offset; /* from the segment's start */
	uint8_t flags;
};

/* The bytes an entry takes. */
uint32_t entry_bytes(const struct entry_content *content);

/* Write it to its place and mark it as started; not linked yet. */
void entry_write(const struct mapping *m, const struct shm_place *place,
    const struct entry_content *content);

/* Take the entry at this offset apart; false if its lengths leave its extent or
   are more than the cache allows (damage). */
bool entry_open(
    const struct mapping *m, uint64_t offset, struct entry *entry_out);

uint32_t entry_client_flags(const struct entry *entry);

/* {generation 28, 1 + unit of the arena 36}; never 0. */
uint64_t entry_version(const struct mapping *m, const struct entry *entry);

/* The content of an entry that is pinned, for carrying on; freezes it. */
void entry_carry(const struct mapping *m, const struct entry *entry,
    struct entry_content *content_out);

static inline uint64_t
entry_seq(const struct entry *entry)
{
	return (uint64_t)shm_load16(&entry->shared->seq_high) << 32 |
	       shm_load32(&entry->shared->seq_low);
}

/* Stop all further touches; returns the time it expires, 0 for never. */
static inline uint64_t
entry_freeze(const struct entry *entry)
{
	uint64_t *word = &entry->shared->expiry;

	for (;;) {
		uint64_t old = shm_load64(word);

		if ((old & ENTRY_FROZEN) != 0 ||
		    shm_cas64(word, old, old | ENTRY_FROZEN))
			return old >> 1;
	}
}

/* Was it invalidated as a whole, by a flush after its load began? */
static inline bool
entry_flushed(const struct mapping *m, const struct entry *entry)
{
	return shm_load64_acquire(&m->shared->flush) > entry_seq(entry);
}

static inline bool
entry_expired(const struct mapping *m, const struct entry *entry)
{
	uint64_t expires_ms = shm_load64(&entry->shared->expiry) >> 1;

	return expires_ms != 0 && mapping_now_ms(m) >= expires_ms;
}

/* May it be returned? */
static inline bool
entry_valid(const struct mapping *m, const struct entry *entry)
{
	return !entry_flushed(m, entry) && !entry_expired(m, entry);
}

/* Leave a reference mark: at most 3 writes in an entry's stay. */
static inline void
entry_mark(const struct entry *entry)
{
	uint8_t ref = shm_load8(&entry->shared->ref);

	if (ref < ENTRY_REF_MAX)
		shm_store8(&entry->shared->ref, (uint8_t)(ref + 1));
}

#endif /* LIBSHMCACHE_ENTRY_H */
