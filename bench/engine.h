/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * engine.h - whatever keeps keys and values, as the benches see it
 *
 * One file engine_NAME.c for each: the cache itself, the floor (what any such
 * get must do, and no more), and its alternatives.  All of them are called
 * through the same pointers, with the same keys in the same order, and copy the
 * value out.
 */
#ifndef BENCH_ENGINE_H
#define BENCH_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_BYTES 16u

/* One operation of a stream: a key, in printable characters, and the place that
   the floor knows beforehand. */
struct op {
	char key[KEY_BYTES];
	uint32_t item;
	uint32_t hint;
};

/* What an engine is opened for. */
struct load {
	uint64_t items;
	size_t value_bytes;
	uint64_t spare_bytes; /* room for so much more than the items */
};

struct engine {
	const char *name;

	/* It works in another process: the time that passes counts, not the
	   time of the caller's processor. */
	bool remote;

	/* It is there for sets or for many gets only; it forgets. */
	bool single_gets_left_out;
	bool forgets;

	/* NULL, or why it cannot be had here. */
	const char *(*open)(const struct load *load, void **state_out);
	void (*close)(void *state);

	/* Between filling(true) and filling(false) sets may be batched. */
	void (*filling)(void *state, bool on);

	/* Precompute hints; NULL if it has none. */
	void (*prepare)(void *state, struct op *ops, size_t count);

	/* True if it was stored. */
	bool (*set)(void *state, const struct op *op, const void *value,
	    size_t value_bytes);

	/* Bytes copied, or -1 for a miss. */
	int (*get)(void *state, const struct op *op, void *buffer, size_t room);

	/* Each into its own `room` bytes of `buffers`; how many were found.
	   NULL if it has no such call. */
	unsigned (*get_many)(void *state, const struct op *ops, unsigned count,
	    void *buffers, size_t room);
};

extern const struct engine engine_shmcache;
extern const struct engine engine_shmcache_full;
extern const struct engine engine_shmcache_counter;
extern const struct engine engine_floor;
extern const struct engine engine_lfht;
extern const struct engine engine_ckht;
extern const struct engine engine_naive;
extern const struct engine engine_lmdb;
extern const struct engine engine_sqlite;
extern const struct engine engine_memcached;
extern const struct engine engine_redis;
extern const struct engine engine_redis_pipelined;

#endif /* BENCH_ENGINE_H */
