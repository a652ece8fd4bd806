/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* record.c - writing requests down, and reading them */
#include "libshmcache/record.h"

#include "shm/error.h"

#include <errno.h>

/* How long a recording goes on when its recorder is heard of no more. */
#define LEASE_MS 3000u

/* How long a record is waited for whose number was taken. */
#define PATIENCE_MS 50u

/* The word: until when, and the threshold, less 1. */
#define THRESHOLD_BITS 24u
#define THRESHOLDS     (1u << THRESHOLD_BITS)
#define TTL_S_MAX      (1u << 30)

/* --- the word and the bit ------------------------------------------------- */

static uint64_t
until_ms(uint64_t word)
{
	return word >> THRESHOLD_BITS;
}

/* (These bits are neither a key's tag nor the high ones that choose its
   bucket.)  The hash 0, of a flush, always is. */
static bool
in_sample(uint64_t word, uint64_t hash)
{
	return (hash >> 12 & (THRESHOLDS - 1)) <= (word & (THRESHOLDS - 1));
}

/* R5 and R6. */
static void
clear_bit(const struct mapping *m)
{
	uint64_t flush = shm_load64(&m->shared->flush);

	if ((flush & CACHE_RECORDING) != 0)
		(void)shm_cas64(
		    &m->shared->flush, flush, flush & ~CACHE_RECORDING);
}

/* R2; false: the cache was removed. */
static bool
set_bit(const struct mapping *m)
{
	for (;;) {
		uint64_t flush = shm_load64(&m->shared->flush);

		if (mapping_removed(m))
			return false;
		if ((flush & CACHE_RECORDING) != 0 ||
		    shm_cas64(
			&m->shared->flush, flush, flush | CACHE_RECORDING))
			return true;
	}
}

/* --- writing -------------------------------------------------------------- */

static uint64_t
check_of(uint64_t number, const struct record_shared *r)
{
	uint64_t x = (number + 1) * 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 32 ^ r->hash) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 29 ^ r->what) * 0x94d049bb133111ebull;
	x = (x ^ x >> 31 ^ r->size) * 0x9e3779b97f4a7c15ull;
	return x ^ x >> 32;
}

/* What is less than a second is one: 0 is none. */
static uint64_t
seconds_of(int64_t ttl_ms)
{
	uint64_t ttl_s = (uint64_t)(ttl_ms / 1000 + (ttl_ms % 1000 > 0));

	return ttl_ms < 0          ? 0
	       : ttl_s == 0        ? 1
	       : ttl_s > TTL_S_MAX ? TTL_S_MAX
				   : ttl_s;
}

static void
write_down(const struct call *call, const struct key *key,
    enum shmcache_request_op op, uint32_t value_bytes, int64_t ttl_ms)
{
	const struct mapping *m = call->m;
	uint64_t word = shm_load64(&m->shared->record);
	uint64_t now_ms = mapping_now_ms(m), number;
	struct record_shared *slot, record;

	if (until_ms(word) <= now_ms) {
		clear_bit(m);
		return;
	}
	record_arm(call);
	if (!in_sample(word, key->hash))
		return;
	record = (struct record_shared){ .hash = key->hash,
		.what =
		    now_ms << 20 | (uint64_t)op << 16 | (uint16_t)key->bytes,
		.size = seconds_of(ttl_ms) << 32 | value_bytes };
	number = shm_faa64(&m->record->head, 1);
	slot = &m->record->slot[number & m->record_mask];
	shm_store64(&slot->hash, record.hash);
	shm_store64(&slot->what, record.what);
	shm_store64(&slot->size, record.size);
	shm_store64(&slot->check, check_of(number, &record));
}

void
record_get_now(
    const struct call *call, const struct key *key, const struct entry *entry)
{
	if (entry == NULL)
		write_down(
		    call, key, SHMCACHE_REQUEST_MISS, 0, SHMCACHE_TTL_NONE);
	else
		write_down(call, key, SHMCACHE_REQUEST_GET, entry->value_bytes,
		    entry_ttl_ms(call->m, entry));
}

void
record_now(const struct call *call, const struct key *key,
    enum shmcache_request_op op, uint64_t value_bytes, uint64_t expires_ms)
{
	uint64_t now_ms = mapping_now_ms(call->m);
	int64_t ttl_ms = expires_ms == 0       ? SHMCACHE_TTL_NONE
			 : expires_ms > now_ms ? (int64_t)(expires_ms - now_ms)
					       : 0;

	write_down(call, key, op, (uint32_t)value_bytes, ttl_ms);
}

void
record_dropped_now(const struct call *call, const struct entry *entry)
{
	struct key key;

	index_entry_key(call->m, entry, &key);
	record_now(call, &key, SHMCACHE_REQUEST_DELETE, 0, 0);
}

void
record_flush_now(const struct call *call)
{
	static const struct key every = { .hash = 0 };

	record_now(call, &every, SHMCACHE_REQUEST_FLUSH, 0, 0);
}

/* --- reading -------------------------------------------------------------- */

/* R1 and R3 to R4: the recorder's word becomes another. */
static bool
change_word(const struct mapping *m, struct shmcache_recorder *r, uint64_t word)
{
	if (!shm_cas64(&m->shared->record, r->word, word))
		return false;
	r->word = word;
	return true;
}

static uint64_t
word_from(uint64_t now_ms, uint64_t threshold)
{
	return (now_ms + LEASE_MS) << THRESHOLD_BITS | threshold;
}

static int
error_taken(void)
{
	return shm_error_note(SHMCACHE_EBUSY,
	    "the cache is being recorded by somebody else; one can at a time");
}

int
record_begin(
    const struct mapping *m, double share, struct shmcache_recorder *r_out)
{
	uint64_t now_ms = mapping_now_ms(m);
	struct shmcache_recorder r = { .segment_id = m->segment->segment_id,
		.word = shm_load64(&m->shared->record) };
	uint64_t threshold;

	if (!(share > 0 && share <= 1))
		return shm_error_note(-EINVAL,
		    "a share of the keys of %g: above 0, 1 at the most", share);
	threshold = (uint64_t)(share * THRESHOLDS);
	if (until_ms(r.word) > now_ms ||
	    !change_word(
		m, &r, word_from(now_ms, threshold > 0 ? threshold - 1 : 0)))
		return error_taken();
	r.next = shm_load64(&m->record->head);
	if (!set_bit(m))
		return SHMCACHE_EREMOVED;
	*r_out = r;
	return 0;
}

static int
check_recorder(const struct mapping *m, const struct shmcache_recorder *r)
{
	if (r->segment_id != m->segment->segment_id)
		return shm_error_note(
		    SHMCACHE_ESTALE, "the cache that was recorded was removed");
	return 0;
}

/* R3. */
static int
renew(const struct mapping *m, struct shmcache_recorder *r, uint64_t now_ms)
{
	uint64_t word = word_from(now_ms, r->word & (THRESHOLDS - 1));
	bool lapsed = until_ms(r->word) <= now_ms;

	if (shm_load64(&m->shared->record) != r->word ||
	    (word > r->word && !change_word(m, r, word)))
		return shm_error_note(SHMCACHE_ESTALE,
		    "another recorder has taken over, as this one was not "
		    "heard of for %u ms",
		    LEASE_MS);
	r->gaps += lapsed;
	return set_bit(m) ? 0 : SHMCACHE_EREMOVED;
}

/* The record of that number, if it is there. */
static bool
take(const struct mapping *m, uint64_t number, struct record_shared *copy)
{
	const struct record_shared *slot =
	    &m->record->slot[number & m->record_mask];

	copy->hash = shm_load64(&slot->hash);
	copy->what = shm_load64(&slot->what);
	copy->size = shm_load64(&slot->size);
	copy->check = shm_load64(&slot->check);
	return copy->check == check_of(number, copy);
}

/* Is the record of this number to be waited for? */
static bool
is_worth_waiting(const struct mapping *m, struct shmcache_recorder *r,
    uint64_t number, uint64_t head, uint64_t now_ms)
{
	if (r->awaited != number + 1) {
		r->awaited = number + 1;
		r->awaited_since_ms = now_ms;
	}
	return head - number <= m->record_mask / 2 &&
	       now_ms - r->awaited_since_ms < PATIENCE_MS;
}

static struct shmcache_request
request_of(const struct record_shared *copy)
{
	return (struct shmcache_request){ .key_hash = copy->hash,
		.time_ms = copy->what >> 20,
		.op = (uint32_t)(copy->what >> 16 & 0xf),
		.key_bytes = (uint32_t)(copy->what & 0xffff),
		.ttl_s = (uint32_t)(copy->size >> 32),
		.value_bytes = (uint32_t)copy->size };
}

static int
take_all(const struct mapping *m, struct shmcache_recorder *r,
    struct shmcache_request *requests, size_t capacity)
{
	uint64_t head = shm_load64(&m->record->head);
	uint64_t now_ms = mapping_now_ms(m), slots = m->record_mask + 1ull;
	size_t count = 0;

	if (head - r->next > slots) {
		uint64_t passed = head - r->next - slots;

		/* (A head that went back is a damaged one.) */
		r->lost += passed <= INT64_MAX ? passed : 0;
		r->next = head - slots;
	}
	while (r->next != head && count < capacity) {
		struct record_shared copy;

		if (take(m, r->next, &copy)) {
			if (in_sample(r->word, copy.hash))
				requests[count++] = request_of(&copy);
		} else if (is_worth_waiting(m, r, r->next, head, now_ms)) {
			break;
		} else {
			r->torn++;
		}
		r->next++;
	}
	return (int)count;
}

int
record_read(const struct mapping *m, struct shmcache_recorder *r,
    struct shmcache_request *requests, size_t capacity)
{
	int error = check_recorder(m, r);

	if (error == 0)
		error = renew(m, r, mapping_now_ms(m));
	return error != 0 ? error : take_all(m, r, requests, capacity);
}

int
record_end(const struct mapping *m, struct shmcache_recorder *r)
{
	int error = check_recorder(m, r);

	if (error != 0)
		return error;
	if (!change_word(m, r, 0)) /* R4 */
		return 0;          /* it is another's */
	clear_bit(m);
	return 0;
}
