/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * worker.c - the processes that serve, and the one that changes rows
 *
 * A worker answers every WORKERS-th request of the stream, as an application
 * would: ask the cache; on a miss ask the database and put the answer into the
 * cache.  The editor changes a row, commits, and deletes it from the cache.
 *
 * Every value is checked before the next request:
 *
 *  - It is the value of that row, of all its bytes: its digest is one that was
 *    taken from the database, not from the cache.
 *  - It is not the value from before a change, unless its reading from the
 *    database began before the change was committed; and once the row has been
 *    deleted from the cache, not long before (LOAD_MS_MAX).  The time at which
 *    the reading began is kept with the entry, as its client flags.
 *  - Its time to live, counted from then, was not over when it was asked for.
 *
 * That exception is how cache-aside works: whoever reads the old row just
 * before the change can put it into the cache just after the delete.  Such a
 * value is served until its time is up; these are counted as OUTDATED.
 */
#define XXH_INLINE_ALL
#include "demo.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <xxhash.h>

/*
 * The most that may pass between the reading of a row and its being in the
 * cache: an answer older than half of it isn't put there, the other half is for
 * waiting for a CPU within the set.
 */
#define LOAD_MS_MAX 1000

#define EDIT_INTERVAL_MS 200
#define EDIT_TRIES       1000
#define COMPLAINTS_MAX   3

struct worker {
	struct demo *demo;
	struct slice *slice;
	struct origin origin;
	uint32_t row;
	char key_text[KEY_BYTES_MAX];
	size_t key_bytes;
	char value[VALUE_BYTES_MAX];
	size_t value_bytes;
	uint32_t read_ms; /* when the reading of the row began */
	int complaints;
};

static void
count(struct slice *slice, enum counter counter, uint64_t more)
{
	uint64_t old = atomic_load_explicit(
	    &slice->counter[counter], memory_order_relaxed);

	atomic_store_explicit(
	    &slice->counter[counter], old + more, memory_order_relaxed);
}

static uint64_t
digest(uint32_t row, const char *value, size_t value_bytes)
{
	uint64_t hash = XXH3_64bits_withSeed(value, value_bytes, row);

	return hash ? hash : 1;
}

static int64_t
ttl_ms(uint32_t row)
{
	return TTL_MS_MIN +
	       row * UINT32_C(2654435761) % (TTL_MS_MAX - TTL_MS_MIN + 1);
}

static void
name_row(struct worker *worker, uint32_t row)
{
	worker->row = row;
	worker->key_bytes = (size_t)snprintf(
	    worker->key_text, sizeof(worker->key_text), "city:%" PRIu32, row);
}

/* 1 is a hit, 0 a miss, -1 a failure. */
static int
ask_cache(struct worker *worker)
{
	int64_t start = now_ns();
	int result = shmcache_get(worker->demo->cache, worker->key_text,
	    worker->key_bytes, worker->value, sizeof(worker->value),
	    &worker->value_bytes, &worker->read_ms);

	latency_add(worker->slice, TIMER_GET, now_ns() - start);
	if (!result) {
		return 1;
	}
	return result == SHMCACHE_ENOENT
		   ? 0
		   : complain("shmcache_get: %s", shmcache_last_error());
}

static int
ask_origin(struct worker *worker)
{
	int64_t start = now_ns();
	int bytes;

	worker->read_ms = (uint32_t)now_ms(worker->demo->shared);
	bytes = origin_read(&worker->origin, worker->row, worker->value);
	latency_add(worker->slice, TIMER_ORIGIN, now_ns() - start);
	worker->value_bytes = (size_t)bytes;
	return bytes < 0 ? -1 : 0;
}

/* The time to live counts from the reading of the row, not from the set. */
static int
fill_cache(struct worker *worker)
{
	int64_t start = now_ns();
	int64_t age_ms = now_ms(worker->demo->shared) - worker->read_ms;
	int result;

	if (age_ms > LOAD_MS_MAX / 2) {
		return 0;
	}
	result = shmcache_set(worker->demo->cache, worker->key_text,
	    worker->key_bytes, worker->value, worker->value_bytes,
	    ttl_ms(worker->row) - age_ms, worker->read_ms);
	latency_add(worker->slice, TIMER_SET, now_ns() - start);
	return result ? complain("shmcache_set: %s", shmcache_last_error()) : 0;
}

/* What is wrong with a value from before the row was changed, or NULL. */
static const char *
fault_of_old(struct worker *worker, int64_t asked_ms, const struct row *row)
{
	int64_t changed_ms = atomic_load(&row->changed_ms);
	int64_t deleted_ms = atomic_load(&row->deleted_ms);

	if (changed_ms && worker->read_ms > changed_ms) {
		return "the old value, read after the row was changed";
	}
	if (deleted_ms && asked_ms > deleted_ms &&
	    worker->read_ms + LOAD_MS_MAX < changed_ms) {
		return "the old value, which had been deleted";
	}
	if (changed_ms && asked_ms > changed_ms) {
		count(worker->slice, OUTDATED, 1);
	}
	return NULL;
}

/* What is wrong with the value that was served, or NULL. */
static const char *
fault(struct worker *worker, int64_t asked_ms)
{
	const struct row *row = &worker->demo->shared->row[worker->row];
	uint64_t found =
	    digest(worker->row, worker->value, worker->value_bytes);

	if (asked_ms - worker->read_ms > ttl_ms(worker->row) + LOAD_MS_MAX) {
		return "a value whose time was up";
	}
	if (found == atomic_load(&row->digest)) {
		return fault_of_old(worker, asked_ms, row);
	}
	return found == atomic_load(&row->changed_digest)
		   ? NULL
		   : "not the value that the database has";
}

static void
check(struct worker *worker, int64_t asked_ms)
{
	const char *text = fault(worker, asked_ms);

	if (!text) {
		return;
	}
	count(worker->slice, WRONG, 1);
	if (worker->complaints++ < COMPLAINTS_MAX) {
		complain("WRONG: %s: %s (%zu bytes: \"%.*s\")",
		    worker->key_text, text, worker->value_bytes,
		    (int)worker->value_bytes, worker->value);
	}
}

static int
serve(struct worker *worker, uint32_t row)
{
	int64_t start = now_ns();
	int64_t asked_ms = now_ms(worker->demo->shared);
	int hit = 0;
	int64_t end;

	name_row(worker, row);
	if (worker->demo->cache) {
		hit = ask_cache(worker);
	}
	if (hit < 0 || (!hit && ask_origin(worker))) {
		return -1;
	}
	if (!hit && worker->demo->cache && fill_cache(worker)) {
		return -1;
	}
	end = now_ns();
	latency_add(worker->slice, TIMER_REQUEST, end - start);

	check(worker, asked_ms);
	latency_add(worker->slice, TIMER_CHECK, now_ns() - end);
	count(worker->slice, hit ? HITS : MISSES, 1);
	return 0;
}

/*
 * The row that stands for a key of the trace.  The file has the cities of a
 * country together, and the trace's keys are numbered by first appearance: this
 * spreads the keys over the file.
 */
static uint32_t
row_of(const struct demo *demo, uint32_t key)
{
	return 1 + (uint32_t)(key * UINT64_C(104729) % demo->row_count);
}

static uint32_t
row_at(const struct demo *demo, uint64_t position, uint32_t index)
{
	const struct trace *trace = &demo->trace;

	return row_of(
	    demo, trace->key[(position * WORKERS + index) % trace->count]);
}

int
worker_main(struct demo *demo, uint32_t index)
{
	struct worker worker = { .demo = demo };
	struct slice *slice = &demo->shared->slice[index];
	uint64_t position = atomic_load(&slice->position);
	int result;

	worker.slice = slice;
	result = origin_open(&worker.origin, demo->database, 0);
	while (!result && !atomic_load(&demo->shared->stop)) {
		result = serve(&worker, row_at(demo, position, index));
		atomic_store(&slice->position, ++position);
	}
	origin_close(&worker.origin);
	return result ? EXIT_FAILURE : EXIT_SUCCESS;
}

int
learn_main(struct demo *demo, uint32_t index)
{
	char value[VALUE_BYTES_MAX];
	struct origin origin;
	int bytes = origin_open(&origin, demo->database, 0);
	uint32_t row;

	for (uint32_t key = 1 + index; key <= demo->trace.key_max && bytes >= 0;
	     key += WORKERS) {
		row = row_of(demo, key);
		bytes = origin_read(&origin, row, value);
		if (bytes >= 0) {
			atomic_store(&demo->shared->row[row].digest,
			    digest(row, value, (size_t)bytes));
		}
	}
	origin_close(&origin);
	return bytes < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* A row that will be asked for at once and wasn't changed yet; 0 if none. */
static uint32_t
pick_row(struct demo *demo, unsigned short random_state[3])
{
	struct shared *shared = demo->shared;
	uint32_t index = (uint32_t)nrand48(random_state) % WORKERS;
	uint64_t position = atomic_load(&shared->slice[index].position);
	uint32_t row;

	for (uint64_t tries = 0; tries < EDIT_TRIES; tries++) {
		row = row_at(demo, position + tries, index);
		if (!atomic_load(&shared->row[row].changed_digest)) {
			return row;
		}
	}
	return 0;
}

static int
change_row(struct worker *editor, uint32_t number)
{
	struct shared *shared = editor->demo->shared;
	struct row *row = &shared->row[number];
	char sql[100];
	int bytes;
	int result;

	name_row(editor, number);
	snprintf(sql, sizeof(sql),
	    "BEGIN IMMEDIATE;"
	    "UPDATE city SET revision = revision + 1 WHERE id = %" PRIu32,
	    number);
	if (origin_execute(&editor->origin, sql)) {
		return -1;
	}
	bytes = origin_read(&editor->origin, number, editor->value);
	if (bytes < 0) {
		return -1;
	}
	atomic_store(
	    &row->changed_digest, digest(number, editor->value, (size_t)bytes));
	if (origin_execute(&editor->origin, "COMMIT")) {
		return -1;
	}
	atomic_store(&row->changed_ms, now_ms(shared) + 1);
	result = shmcache_delete(
	    editor->demo->cache, editor->key_text, editor->key_bytes);
	atomic_store(&row->deleted_ms, now_ms(shared) + 1);
	return result && result != SHMCACHE_ENOENT
		   ? complain("shmcache_delete: %s", shmcache_last_error())
		   : 0;
}

int
editor_main(struct demo *demo)
{
	struct timespec interval = { .tv_nsec = EDIT_INTERVAL_MS * 1000000L };
	unsigned short random_state[3] = { (unsigned short)demo->seed,
		(unsigned short)(demo->seed >> 16), 0 };
	struct worker editor = { .demo = demo };
	uint32_t row;
	int result = origin_open(&editor.origin, demo->database, 1);

	while (!result && !atomic_load(&demo->shared->stop)) {
		row = pick_row(demo, random_state);
		if (row) {
			result = change_row(&editor, row);
			atomic_fetch_add(&demo->shared->changes, 1);
		}
		nanosleep(&interval, NULL);
	}
	origin_close(&editor.origin);
	return result ? EXIT_FAILURE : EXIT_SUCCESS;
}
