/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * record.h - the requests of a sample of the keys, for who records them
 *
 * A key is in the sample if some bits of its hash are below a threshold, so
 * either all requests for it are recorded or none (spatial sampling: SHARDS,
 * Waldspurger, Park, Garthwaite and Ahmad 2015): a cache of a tenth of the size
 * treats a tenth of the keys as the whole cache treats all.
 *
 * Off and on.  A bit of the flush word (CACHE_RECORDING), which every call loads
 * anyway, sends calls the slow way in; there the thread's count of calls is set
 * so that this call is one to be timed (latency.h), and so takes the slow way of
 * its own, where it is recorded; what is recorded sets the count again.  While it
 * is off a get has no instruction more for it.
 *
 * What.  A call is written down when it is done, by who made it: touches and
 * increments as such, whether in place or by replacing; of a delete by prefix or
 * pattern each entry that it took.  A flush has no key, and the hash 0, which is
 * in every sample; one in two steps counts where it begins, as what is loaded
 * from there on stays.  An invalidation by tag takes entries that it does not
 * look at: each is a delete, when somebody finds it and unlinks it (expire.c).
 *
 * Who records holds `record`, one word {until when, threshold}, changed by CAS:
 *
 *   begin   R1  CAS(record: what has lapsed -> until now + LEASE, threshold)
 *           R2  set the bit, by CAS
 *   read    R3  CAS(record: the own word -> a later time); failed: another has
 *               taken over, end.  R2 again
 *   end     R4  CAS(record: the own word -> 0), R5 clear the bit, by CAS
 *   caller  R6  loads `record`: lapsed: clears the bit, by CAS, and is done;
 *               else, if the key is in the sample, writes it down
 *
 * Times only grow, so no two holders' words are ever the same, and a recorder
 * that was stopped for long cannot renew what has become another's.  Killed
 * after R1 or R2 the word lapses, and the next call clears the bit: a dead
 * recorder slows callers down for LEASE at the most.  The bit says no more than
 * "look at `record`": set while nobody records, a call clears it; cleared while
 * somebody does (R5 or R6 that come late), the next R2 sets it again, and some
 * requests are missing.  R2, R5 and R6 keep the seq of the flush word, and a
 * flush keeps the bit (invalidate.c), by CAS each; a removed cache's word stays.
 * tests/models/recording.pml.
 *
 * The ring.  A caller takes a number, by fetch-and-add of `head`, and stores the
 * request where that number, modulo the size, belongs: three words, and a fourth
 * that is a hash of these and the number.  The stores need no order: a record
 * proves itself.  The reader believes one that matches the number that it is at;
 * what does not match is not written yet, or never will be (its writer was
 * killed or is stopped), or was overwritten: by who came a round later, or a
 * writer that was stopped for a round, which mixes its words into another's.  It
 * waits for it a little while, then counts it and goes on.  Nobody waits for the
 * reader: what it was too slow for is overwritten, and known by number.
 *
 * Killed between number and last word: one record is missing, which the reader
 * tells (`torn`); before the number, what it did last is not recorded.  Whatever
 * is in the ring, no more than a wrong record comes of it, once in 2^64.
 *
 * Progress: callers wait-free, but for the CAS of R6, which is tried once.
 */
#ifndef LIBSHMCACHE_RECORD_H
#define LIBSHMCACHE_RECORD_H

#include "libshmcache/entry.h"
#include "libshmcache/index.h"
#include "libshmcache/shmcache_admin.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* Slots of the ring: a power of two, as many for each thread that may attach; a
   reader that comes every few milliseconds misses nothing of 100,000 requests a
   second. */
#define RECORD_SLOTS_MIN      128u
#define RECORD_SLOTS_PER_PEER 4u

/* One request; all 0 at first, which is no valid record. */
struct record_shared {
	uint64_t hash; /* of the key */
	uint64_t what; /* time in ms 44 | operation 4 | key_bytes 16 */
	uint64_t size; /* ttl_s 32 | value_bytes 32 */
	uint64_t check;
};

struct record_ring_shared {
	uint64_t head; /* numbers given out; fetch-and-add */
	uint8_t pad[56];
	struct record_shared slot[];
};

static_assert(sizeof(struct record_shared) == 32, "layout");
static_assert(sizeof(struct record_ring_shared) == 64, "layout");

/* The thread's next call that may be recorded goes the slow way. */
static inline void
record_arm(const struct call *call)
{
	call->peer->calls |= call->m->sample_mask;
}

void record_get_now(
    const struct call *call, const struct key *key, const struct entry *entry);
void record_now(const struct call *call, const struct key *key,
    enum shmcache_request_op op, uint64_t value_bytes, uint64_t expires_ms);
void record_dropped_now(const struct call *call, const struct entry *entry);
void record_flush_now(const struct call *call);

/* `entry`: what a get found, or NULL. */
static inline void
record_get(
    const struct call *call, const struct key *key, const struct entry *entry)
{
	if (__builtin_expect(mapping_recording(call->m), 0))
		record_get_now(call, key, entry);
}

/* `expires_ms`: 0: never, or it is not known. */
static inline void
record(const struct call *call, const struct key *key,
    enum shmcache_request_op op, uint64_t value_bytes, uint64_t expires_ms)
{
	if (__builtin_expect(mapping_recording(call->m), 0))
		record_now(call, key, op, value_bytes, expires_ms);
}

/* A touch has no bytes. */
static inline void
record_stored(const struct call *call, const struct key *key,
    enum shmcache_request_op op, const struct entry_content *content)
{
	record(call, key, op,
	    op == SHMCACHE_REQUEST_TOUCH ? 0 : entry_value_bytes(content),
	    content->expires_ms);
}

/* The entry was unlinked, as a delete would: its key is not at hand. */
static inline void
record_dropped(const struct call *call, const struct entry *entry)
{
	if (__builtin_expect(mapping_recording(call->m), 0))
		record_dropped_now(call, entry);
}

static inline void
record_flush(const struct call *call)
{
	if (__builtin_expect(mapping_recording(call->m), 0))
		record_flush_now(call);
}

/* Steps R1 to R5, and reading, as the public calls say; `m` may be written. */
int record_begin(
    const struct mapping *m, double share, struct shmcache_recorder *r);
int record_read(const struct mapping *m, struct shmcache_recorder *r,
    struct shmcache_request *requests, size_t capacity);
int record_end(const struct mapping *m, struct shmcache_recorder *r);

#endif /* LIBSHMCACHE_RECORD_H */
