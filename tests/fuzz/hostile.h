/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hostile.h - a small cache whose bytes anybody may have changed
 *
 * The cache is attached once, in this process, and its file is mapped a second
 * time.  Damage is done through the second mapping, every call is made, and the
 * bytes are put back as they were.  That takes microseconds, so that each bit
 * can be tried, and a fuzzer gets far.
 *
 * What the library maps lies between pages that fault (guard.c), and so does
 * the buffer that values are copied to: an access outside is a SIGSEGV.
 */
#ifndef TESTS_FUZZ_HOSTILE_H
#define TESTS_FUZZ_HOSTILE_H

#include <shmcache.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the tables are, as the header says (shm/layout.h). */
enum hostile_part {
	PART_HEADER,
	PART_PROCESSES,
	PART_PEERS,
	PART_COUNTERS,
	PART_LANES,
	PART_CACHE,
	PART_INDEX,
	PART_EXTENTS,
	PART_MAPS,
	PART_ARENA,
	PARTS
};

struct hostile {
	char path[128];
	struct shmcache *cache;
	struct shmcache *reading; /* a handle that can't write */
	uint8_t *bytes;           /* the segment */
	uint8_t *sound;           /* a copy of it, from before any damage */
	size_t length;
	size_t part[PARTS + 1]; /* offsets; the last is the end */
};

/* Make it, fill it, attach, and note its state.  `path` is in /dev/shm. */
void hostile_open(struct hostile *h, const char *path);
void hostile_close(struct hostile *h);

/* Only the names; what may be done while the process ends. */
void hostile_unlink(const struct hostile *h);

/* Put all bytes back, and open what has left the cache anew. */
void hostile_restore(struct hostile *h);

/* Which part an offset is in. */
enum hostile_part hostile_part_of(const struct hostile *h, size_t offset);
const char *hostile_part_name(enum hostile_part part);

/* Number of different calls. */
#define HOSTILE_CALLS 32u

/*
 * Make call number `call` (modulo HOSTILE_CALLS), on key number `key`.  A
 * result that is in no list of shmcache.h, or a violation that can't be, ends
 * the process with a message.
 */
void hostile_call(struct hostile *h, unsigned call, unsigned key);

/* Read and touch every key that was stored. */
void hostile_all_keys(struct hostile *h);

/* Does this call walk through the whole segment? */
bool hostile_walks(unsigned call);

/* Every call, on a few keys. */
void hostile_all_calls(struct hostile *h);

/*
 * Attach to the file as it is, use what was attached, close it.  The result of
 * attaching.  Not done where the header says that the cache is being removed:
 * whoever attaches then finishes the removal.
 */
int hostile_attach(struct hostile *h, void (*use)(struct hostile *));

/* How many keys are in it. */
#define HOSTILE_KEYS 40u

/* Say so and abort if all threads together compute for longer than this from now;
   0: no more.  (Time on the clock would be that of a busy machine: calls that try
   a thousand times let others run each time.  Who sleeps for ever is found by the
   limit of the case.) */
void hostile_limit(unsigned seconds);

/* What is being tried, for the message when a signal comes. */
void hostile_announce(const char *what, uint64_t first, uint64_t second);

#endif /* TESTS_FUZZ_HOSTILE_H */
