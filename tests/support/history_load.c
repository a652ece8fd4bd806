/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * history_load.c - see history_load.h
 */
#include "tests/support/history_load.h"

#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/history.h"
#include "tests/support/prng.h"
#include "tests/support/run.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#define PROCS_MAX     32
#define THREADS_MAX   8
#define KEYS_MAX      12
#define COUNTER_EVERY 3 /* each third key is a counter */
#define READ_EVERY                                                             \
	2 /* each second is mostly read, so that it is old enough
			   to be evicted, and copied on */
#define SHORT_MARK    0xc7u /* first byte of chunks; a counter has digits */
#define LONG_MARK     0xc8u
#define SHORT_WORDS   12
#define LONG_WORDS    112
#define VALUE_ROOM    4096
#define SLEEP_MOST_US 1500

static struct history_load load;

/*
 * Rounds take turns.  In a mixed one keys come and go beside many others.  In a
 * narrow one there are but two, whose values have one length, so that new ones
 * come to lie exactly where old ones lay: who reads a place whose time is over
 * finds a value of the key there, only not the one of now.  In a roomy one the
 * cache holds whatever is written, so that nothing is ever missing.
 */
struct shape {
	unsigned keys;
	bool narrow;
	bool roomy;
};

static const struct shape shapes[] = {
	{ .keys = KEYS_MAX },
	{ .keys = 2, .narrow = true },
	{ .keys = KEYS_MAX },
	{ .keys = 4, .roomy = true },
};

/* What one thread's operations were; it goes on when its process is killed and
   another takes its place. */
struct log {
	_Atomic uint64_t used;
	struct history_event *events; /* load.round / threads of them */
};

static struct shmcache *cache;
static struct shmcache *reading; /* a handle of it that can't write */
static struct log *logs;         /* of all threads; shared */
static uint64_t log_room;
static uint64_t round_number;

/* What gets gave, for cas. */
struct token {
	uint64_t value;
	uint64_t version;
};

struct worker {
	struct prng prng;
	struct log *log;
	struct history_event *event; /* of the call under way */
	uint32_t number;
	uint32_t life; /* processes that had this number before */
	uint64_t chunks;
	struct token tokens[KEYS_MAX]; /* what gets found last, by key */
	struct token *token;           /* of the key at hand */
	char key[32];
	size_t key_bytes;
	bool counter;
	unsigned char value[VALUE_ROOM];
	size_t value_bytes;
};

static const struct shape *
shape(void)
{
	return &shapes[round_number % TEST_COUNT_OF(shapes)];
}

/* Values */

/* A chunk: its number, whose lowest byte is a mark, and words that follow from
   it. */
static size_t
put_chunk(unsigned char *at, uint64_t chunk)
{
	size_t words = (chunk & 0xff) == LONG_MARK
			   ? LONG_WORDS
			   : 1 + prng_mix(chunk) % SHORT_WORDS;

	for (uint64_t i = 0; i < words; i++) {
		uint64_t word = i == 0 ? chunk : prng_mix(chunk + i);

		memcpy(at + 8 * i, &word, sizeof(word));
	}
	return 8 * words;
}

static uint64_t
fresh_chunk(struct worker *w)
{
	uint64_t serial = (uint64_t)w->life << 32 | ++w->chunks;

	return (prng_mix(serial << 10 | w->number) & ~UINT64_C(0xff)) |
	       (shape()->narrow ? LONG_MARK : SHORT_MARK);
}

/* Number of the value; every byte is looked at. */
static uint64_t
read_value(const unsigned char *bytes, size_t count)
{
	unsigned char chunk_bytes[8 * LONG_WORDS];
	uint64_t value = 0, chunk;
	char text[32];

	CHECK_SAY(
	    count > 0 && count <= VALUE_ROOM, "a value of %zu bytes", count);
	if (bytes[0] != SHORT_MARK && bytes[0] != LONG_MARK) {
		char *end;

		CHECK_SAY(count < sizeof(text), "%zu bytes of no value", count);
		memcpy(text, bytes, count);
		text[count] = '\0';
		value = history_counter(strtoll(text, &end, 10));
		CHECK_SAY(end == text + count, "no value: '%s'", text);
		return value;
	}
	for (size_t at = 0, n; at < count; at += n) {
		CHECK_SAY(count - at >= 8, "half a chunk");
		memcpy(&chunk, bytes + at, sizeof(chunk));
		n = put_chunk(chunk_bytes, chunk);
		CHECK_SAY(
		    n <= count - at && memcmp(chunk_bytes, bytes + at, n) == 0,
		    "torn or foreign bytes at %zu of %zu", at, count);
		value = at == 0 ? history_value(chunk)
				: history_appended(value, chunk);
	}
	return value;
}

/* A value that was never stored before, into worker->value. */
static uint64_t
make_value(struct worker *w)
{
	uint64_t chunk = fresh_chunk(w);

	if (w->counter) {
		int64_t number = (int64_t)(chunk >> 16);

		w->value_bytes =
		    (size_t)snprintf((char *)w->value, 32, "%" PRId64, number);
		return history_counter(number);
	}
	w->value_bytes = put_chunk(w->value, chunk);
	return history_value(chunk);
}

/* Noting */

static void
call_begins(
    struct worker *w, enum history_kind kind, uint64_t argument, uint64_t seen)
{
	uint64_t used = atomic_load(&w->log->used);
	struct history_event *e = &w->log->events[used];

	*e = (struct history_event){ .key = (uint64_t)round_number << 8,
		.argument = argument,
		.seen = seen,
		.kind = (uint8_t)kind };
	e->key |= (uint64_t)(w->key[0] - 'a');
	e->called_ns = clock_ns(CLOCK_MONOTONIC);
	atomic_store(&w->log->used, used + 1);
	w->event = e;
}

static void
call_returned(struct worker *w, enum history_result result)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);

	w->event->result = (uint8_t)result;
	atomic_signal_fence(memory_order_seq_cst); /* a kill may come here */
	w->event->returned_ns = now_ns;
}

static enum history_result
result_of(int code, const char *call)
{
	switch (code) {
	case 0:
		return HISTORY_DONE;
	case SHMCACHE_ENOENT:
		return HISTORY_ABSENT;
	case SHMCACHE_EPRESENT:
	case SHMCACHE_ECHANGED:
		return HISTORY_PRESENT;
	case SHMCACHE_ETOOBIG: /* append */
		return HISTORY_WITHOUT;
	default:
		check_failed(__FILE__, __LINE__, "%s: %s (%s)", call,
		    shmcache_strerror(code), shmcache_last_error());
	}
}

/* Operations */

static int
get_by_pin(struct worker *w)
{
	struct shmcache_item item;
	int code = shmcache_get_pinned(cache, w->key, w->key_bytes, &item);

	if (code != 0) {
		return code;
	}
	CHECK(item.value_bytes <= sizeof(w->value));
	memcpy(w->value, item.value, item.value_bytes);
	w->value_bytes = item.value_bytes;
	CHECK_RESULT(shmcache_unpin(cache, &item), 0);
	return 0;
}

static int
get_among_many(struct worker *w)
{
	struct shmcache_get_request requests[3] = { 0 };

	for (unsigned i = 0; i < 3; i++) {
		requests[i].key = i == 1 ? w->key : "nothing";
		requests[i].key_bytes = i == 1 ? w->key_bytes : 6 + i;
		requests[i].buffer = w->value;
		requests[i].buffer_bytes = sizeof(w->value);
	}
	CHECK(shmcache_multi_get(cache, requests, 3) >= 0);
	w->value_bytes = requests[1].value_bytes;
	return requests[1].result;
}

/* A scan over all slots, which is what the key's slot is seen by. */
static int
visit(void *context, const struct shmcache_entry *entry)
{
	struct worker *w = context;

	if (entry->key_bytes != w->key_bytes ||
	    memcmp(entry->key, w->key, w->key_bytes) != 0) {
		return 0;
	}
	CHECK(entry->value_bytes <= sizeof(w->value));
	memcpy(w->value, entry->value, entry->value_bytes);
	w->value_bytes = entry->value_bytes;
	return 1;
}

static int
get_any_way(struct worker *w)
{
	switch (prng_below(&w->prng, 16)) {
	case 0:
	case 1:
		return get_by_pin(w);
	case 2:
		return get_among_many(w);
	case 3:
		return shmcache_get_and_touch(cache, w->key, w->key_bytes,
		    3600000, w->value, sizeof(w->value), &w->value_bytes, NULL);
	case 4:
		return shmcache_peek(cache, w->key, w->key_bytes, w->value,
		    sizeof(w->value), &w->value_bytes, NULL);
	case 5:
	case 6:
		return shmcache_get(reading, w->key, w->key_bytes, w->value,
		    sizeof(w->value), &w->value_bytes, NULL);
	case 7:
	case 8:
	case 9:
	case 10:
		return shmcache_gets(cache, w->key, w->key_bytes, w->value,
		    sizeof(w->value), &w->value_bytes, NULL,
		    &w->token->version);
	default:
		return shmcache_get(cache, w->key, w->key_bytes, w->value,
		    sizeof(w->value), &w->value_bytes, NULL);
	}
}

static void
op_get(struct worker *w)
{
	uint64_t version = w->token->version;
	enum history_result result;
	int code;

	call_begins(w, HISTORY_GET, 0, 0);
	code = get_any_way(w);
	/* Without a slot or a pin, others may be too fast. */
	if (code == SHMCACHE_EBUSY) {
		call_returned(w, HISTORY_WITHOUT);
		return;
	}
	result = result_of(code, "get");
	if (result == HISTORY_DONE) {
		w->event->seen = read_value(w->value, w->value_bytes);
		if (w->token->version != version) {
			w->token->value = w->event->seen;
		}
	}
	call_returned(w, result);
}

/* What a scan finds was there at some time, but one that finds nothing may have
   come to the key's slot at another time than that of its call. */
static void
op_scan(struct worker *w)
{
	struct shmcache_scan_options options = SHMCACHE_SCAN_OPTIONS_INIT;
	uint64_t cursor = 0;
	int visits;

	options.values = 1;
	options.prefix = w->key;
	options.prefix_bytes = w->key_bytes;
	call_begins(w, HISTORY_GET, 0, 0);
	visits = shmcache_scan(cache, &cursor, &options, visit, w);
	CHECK_SAY(visits >= 0, "scan: %s", shmcache_strerror(visits));
	if (visits > 0) {
		w->event->seen = read_value(w->value, w->value_bytes);
	}
	call_returned(w, visits > 0 ? HISTORY_DONE : HISTORY_WITHOUT);
}

/* The key is its tag. */
static int
store(struct worker *w, enum shmcache_set_condition only_if, uint64_t version)
{
	struct shmcache_set_options options = SHMCACHE_SET_OPTIONS_INIT;
	const struct shmcache_tag tag = { w->key, w->key_bytes };

	options.ttl_ms = (int64_t)prng_below(&w->prng, 2) * 3600000;
	options.client_flags = (uint32_t)prng_below(&w->prng, 2);
	options.only_if = only_if;
	options.version = version;
	options.tags = &tag;
	options.tag_count = 1;
	return shmcache_set_with(
	    cache, w->key, w->key_bytes, w->value, w->value_bytes, &options);
}

/* set, add, replace */
static void
op_store(struct worker *w)
{
	static const enum shmcache_set_condition conditions[] = {
		SHMCACHE_SET_ALWAYS, SHMCACHE_SET_ALWAYS, SHMCACHE_SET_ALWAYS,
		SHMCACHE_SET_IF_ABSENT, SHMCACHE_SET_IF_PRESENT
	};
	static const enum history_kind kinds[] = { HISTORY_SET, HISTORY_SET,
		HISTORY_SET, HISTORY_ADD, HISTORY_REPLACE };
	uint64_t which = prng_below(&w->prng, TEST_COUNT_OF(kinds));
	uint64_t value = make_value(w);
	int code;

	call_begins(w, kinds[which], value, 0);
	code = store(w, conditions[which], 0);
	call_returned(w, result_of(code, "set, add or replace"));
}

static void
op_cas(struct worker *w)
{
	uint64_t value = make_value(w);
	int code;

	if (w->token->version == 0) {
		op_get(w);
		return;
	}
	call_begins(w, HISTORY_CAS, value, w->token->value);
	code = store(w, SHMCACHE_SET_IF_VERSION, w->token->version);
	call_returned(w, result_of(code, "cas"));
}

static void
op_delete(struct worker *w)
{
	struct shmcache_delete_request request = { w->key, w->key_bytes, 0 };
	uint64_t dice = prng_below(&w->prng, 4);
	int code;

	call_begins(w, HISTORY_DELETE, 0, 0);
	if (dice == 0) {
		CHECK(shmcache_multi_delete(cache, &request, 1) >= 0);
		code = request.result;
	} else if (dice == 1) {
		code = shmcache_expire_at(cache, w->key, w->key_bytes, 1);
	} else {
		code = shmcache_delete(cache, w->key, w->key_bytes);
	}
	call_returned(w, result_of(code, "delete"));
}

/* A load in its two halves: one finds what is there, or nothing and leads; the
   other adds, unless the key was changed since the first. */
static void
op_fill(struct worker *w)
{
	struct shmcache_loaded loaded = { .tags = { { w->key, w->key_bytes } },
		.tag_count = 1 };
	struct shmcache_token token;
	struct shmcache_value found;
	uint64_t value;
	int code;

	call_begins(w, HISTORY_GET, 0, 0);
	CHECK_RESULT(shmcache_begin_load(
			 cache, w->key, w->key_bytes, NULL, &found, &token),
	    0);
	if (found.source == SHMCACHE_FROM_CACHE)
		w->event->seen = read_value(found.value, found.value_bytes);
	free(found.value);
	call_returned(w, found.source == SHMCACHE_FROM_CACHE ? HISTORY_DONE
			 : found.source == SHMCACHE_LEAD     ? HISTORY_ABSENT
							     : HISTORY_WITHOUT);
	if (found.source != SHMCACHE_LEAD)
		return;
	if (atomic_load(&w->log->used) == log_room) {
		CHECK_RESULT(shmcache_abandon(cache, &token), 0);
		return;
	}
	value = make_value(w);
	loaded.value = w->value;
	loaded.value_bytes = w->value_bytes;
	call_begins(w, HISTORY_ADD, value, 0);
	code = shmcache_fill(
	    cache, w->key, w->key_bytes, &token, 0, &loaded, NULL);
	call_returned(w, code == SHMCACHE_ESTALE ? HISTORY_WITHOUT
						 : result_of(code, "fill"));
}

/* Noted for this key only; that others go too is as if they were evicted, so
   there is none where nothing may be. */
static void
op_invalidate(struct worker *w)
{
	if (shape()->roomy) {
		op_fill(w);
		return;
	}
	call_begins(w, HISTORY_INVALIDATE, 0, 0);
	CHECK_RESULT(prng_below(&w->prng, 8) == 0
			 ? shmcache_flush(cache)
			 : shmcache_invalidate_tag(cache, w->key, w->key_bytes),
	    0);
	call_returned(w, HISTORY_DONE);
}

static void
op_incr(struct worker *w)
{
	int64_t delta = 1 + (int64_t)prng_below(&w->prng, 3), got = 0;
	bool minus = prng_below(&w->prng, 4) == 0;
	int code;

	call_begins(
	    w, HISTORY_INCR, minus ? 0 - (uint64_t)delta : (uint64_t)delta, 0);
	code = (minus ? shmcache_decr : shmcache_incr)(
	    cache, w->key, w->key_bytes, delta, NULL, 0, &got);
	w->event->seen = history_counter(got);
	call_returned(w, result_of(code, "incr"));
}

/* A value that has grown is stored anew now and then, so it stays short. */
static void
op_extend(struct worker *w)
{
	bool front = prng_below(&w->prng, 2) == 0;
	uint64_t chunk;
	size_t bytes;
	int code;

	if (w->counter || shape()->narrow) {
		(w->counter ? op_incr : op_store)(w);
		return;
	}
	chunk = fresh_chunk(w);
	bytes = put_chunk(w->value, chunk);
	call_begins(w, front ? HISTORY_PREPEND : HISTORY_APPEND, chunk, 0);
	code = (front ? shmcache_prepend : shmcache_append)(
	    cache, w->key, w->key_bytes, w->value, bytes);
	call_returned(w, result_of(code, "append or prepend"));
}

/* Not noted: what makes room scarce, and what looks after the cache. */
static void
op_other(struct worker *w)
{
	char key[40];
	int key_bytes = snprintf(
	    key, sizeof(key), "other-%" PRIu64, prng_below(&w->prng, 100000));
	uint64_t dice = prng_below(&w->prng, 100);

	if (dice == 0) {
		CHECK_RESULT(shmcache_sweep(cache, NULL), 0);
	} else if (dice < 20) {
		(void)result_of(shmcache_touch(cache, w->key, w->key_bytes,
				    SHMCACHE_TTL_NONE),
		    "touch");
	} else {
		memset(w->value, 'x', 900);
		CHECK_RESULT(shmcache_set(cache, key, (size_t)key_bytes,
				 w->value, 900, 0, 0),
		    0);
	}
}

static const struct {
	void (*act)(struct worker *w);
	unsigned share; /* of 100 */
} operations[] = {
	{ op_get, 35 },
	{ op_store, 15 },
	{ op_cas, 5 },
	{ op_delete, 4 },
	{ op_extend, 10 },
	{ op_scan, 1 },
	{ op_fill, 4 },
	{ op_invalidate, 2 },
	{ op_other, 24 },
};

#define OTHER_FROM 76 /* on the dice: op_other */

static void
act(struct worker *w)
{
	bool narrow = shape()->narrow;
	bool others = !narrow && !shape()->roomy;
	uint64_t dice = prng_below(&w->prng, others ? 100 : OTHER_FROM);
	uint64_t key = prng_below(&w->prng, shape()->keys);
	size_t i = 0;

	w->token = &w->tokens[key];
	w->counter = !narrow && key % COUNTER_EVERY == 0;
	w->key_bytes = (size_t)snprintf(w->key, sizeof(w->key), "%c-%" PRIu64,
	    (int)('a' + key), round_number);
	if (others && key % READ_EVERY == 0 && dice < OTHER_FROM &&
	    prng_below(&w->prng, 16) != 0) {
		dice = 0;
	}
	while (dice >= operations[i].share) {
		dice -= operations[i++].share;
	}
	operations[i].act(w);
}

/* Processes */

static void *
thread_main(void *argument)
{
	struct worker *w = argument;

	while (atomic_load(&w->log->used) < log_room) {
		act(w);
	}
	return NULL;
}

struct start {
	uint32_t process;
	uint32_t life;
};

static void
process_main(void *argument)
{
	static struct worker workers[THREADS_MAX];
	pthread_t ids[THREADS_MAX];
	struct start start;

	memcpy(&start, argument, sizeof(start));
	interrupt_often(SLEEP_MOST_US);
	for (uint32_t i = 0; i < load.threads; i++) {
		struct worker *w = &workers[i];

		w->number = start.process * (uint32_t)load.threads + i;
		w->life = start.life;
		w->log = &logs[w->number];
		prng_init(&w->prng, run_seed(),
		    (uint64_t)start.life << 16 | w->number);
		CHECK(pthread_create(&ids[i], NULL, thread_main, w) == 0);
	}
	for (uint64_t i = 0; i < load.threads; i++) {
		CHECK(pthread_join(ids[i], NULL) == 0);
	}
}

struct driver {
	struct prng prng;
	pid_t pids[PROCS_MAX]; /* 0: done */
	uint64_t killed;
	uint32_t next_life;
};

static void
start_process(struct driver *driver, uint32_t process)
{
	struct start start = { process, driver->next_life++ };

	driver->pids[process] = child_start(process_main, &start);
}

/* The process is dead: what it was at ends here. */
static void
end_calls(uint32_t process)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);

	for (uint64_t i = 0; i < load.threads; i++) {
		struct log *log = &logs[process * load.threads + i];
		uint64_t used = atomic_load(&log->used);

		if (used > 0 && log->events[used - 1].returned_ns == 0) {
			log->events[used - 1].returned_ns = now_ns;
		}
	}
}

static void
kill_one(struct driver *driver)
{
	uint32_t process = (uint32_t)prng_below(&driver->prng, load.procs);
	int code;

	if (driver->pids[process] == 0) {
		return;
	}
	CHECK_SYS(kill(driver->pids[process], SIGKILL));
	code = child_wait(driver->pids[process]);
	CHECK_SAY(code == 0 || code == 128 + SIGKILL,
	    "process %u ended with code %d", process, code);
	end_calls(process);
	driver->killed += code != 0;
	driver->pids[process] = 0;
	if (code != 0) {
		start_process(driver, process);
	}
}

/* True if somebody is still at work. */
static bool
collect(struct driver *driver)
{
	bool working = false;

	for (uint64_t i = 0; i < load.procs; i++) {
		int status = 0;

		if (driver->pids[i] == 0) {
			continue;
		}
		if (waitpid(driver->pids[i], &status, WNOHANG) !=
		    driver->pids[i]) {
			working = true;
			continue;
		}
		CHECK_SAY(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		    "process %" PRIu64 ": wait status %x", i, (unsigned)status);
		driver->pids[i] = 0;
	}
	return working;
}

static uint64_t
noted_in_all(void)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < load.procs * load.threads; i++) {
		sum += atomic_load(&logs[i].used);
	}
	return sum;
}

static void
work_a_round(struct driver *driver)
{
	uint64_t target = load.round, kills = 0;

	for (uint64_t i = 0; i < load.procs * load.threads; i++) {
		atomic_store(&logs[i].used, 0);
	}
	for (uint32_t i = 0; i < load.procs; i++) {
		start_process(driver, i);
	}
	while (collect(driver)) {
		/* Kills are spread over the round by its progress. */
		if (kills < noted_in_all() * load.kills / target) {
			kill_one(driver);
			kills++;
		}
		sleep_us(1 + (unsigned)prng_below(&driver->prng, 500));
	}
}

static void
check_a_round(struct history_event *all, struct history_verdict *total)
{
	struct history_verdict verdict;
	size_t count = 0;

	for (uint64_t i = 0; i < load.procs * load.threads; i++) {
		uint64_t used = atomic_load(&logs[i].used);

		memcpy(all + count, logs[i].events, used * sizeof(*all));
		count += used;
	}
	history_check(all, count, !shape()->roomy, &verdict);
	total->checked += verdict.checked;
	total->keys += verdict.keys;
	total->killed += verdict.killed;
	if (verdict.widest > total->widest) {
		total->widest = verdict.widest;
	}
	CHECK_SAY(!verdict.violated, "%s", verdict.text);
}

static struct history_event *
make_logs(void)
{
	uint64_t count = load.procs * load.threads;
	struct history_event *all;

	log_room = load.round / count;
	logs = shared_alloc(count * sizeof(*logs));
	for (uint64_t i = 0; i < count; i++) {
		logs[i].events =
		    shared_alloc(log_room * sizeof(*logs[i].events));
	}
	all = calloc(count * log_room, sizeof(*all));
	CHECK(all != NULL);
	return all;
}

/* The cache of a round, and a handle of it that can't write. */
struct caches {
	struct shmcache *writing;
	struct shmcache *reading;
};

static struct caches
open_caches(const char *suffix, uint64_t capacity, uint64_t extent_bytes)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	struct caches caches;

	options.extent_bytes = extent_bytes;
	options.capacity_bytes = capacity;
	options.expected_items = 4096;
	options.peer_slots = 64;
	caches.writing = cache_create(suffix, &options);
	options.open_mode = SHMCACHE_ATTACH;
	options.read_only = 1;
	caches.reading = cache_create(suffix, &options);
	return caches;
}

static void
close_caches(const struct caches *caches)
{
	CHECK_RESULT(shmcache_sweep(caches->writing, NULL), 0);
	cache_check_sound(caches->writing);
	CHECK_RESULT(shmcache_close(caches->reading), 0);
	CHECK_RESULT(shmcache_close(caches->writing), 0);
}

static void
do_a_round(struct driver *driver, const struct caches *caches,
    struct history_event *all, struct history_verdict *total)
{
	cache = caches->writing;
	reading = caches->reading;
	work_a_round(driver);
	check_a_round(all, total);
}

static void
do_a_roomy_round(struct driver *driver, struct history_event *all,
    struct history_verdict *total)
{
	struct caches caches =
	    open_caches("roomy", 100 * load.round + (4 << 20), 65536);

	do_a_round(driver, &caches, all, total);
	CHECK(cache_stats(cache).evictions == 0);
	CHECK(cache_stats(cache).index_evictions == 0);
	close_caches(&caches);
	CHECK_RESULT(shmcache_remove(test_name("roomy")), 0);
}

static void
report(const struct driver *driver, const struct history_verdict *total,
    const struct shmcache_stats *stats)
{
	printf("  %" PRIu64 " operations of %" PRIu64
	       " histories checked, %" PRIu64 " processes killed, %" PRIu64
	       " operations with them, at most %" PRIu64 " configurations\n",
	    total->checked, total->keys, driver->killed, total->killed,
	    total->widest);
	printf("  %" PRIu64 " hits, %" PRIu64 " misses, %" PRIu64
	       " evictions, %" PRIu64 " second chances, %" PRIu64 " aborts\n",
	    stats->get_hits, stats->get_misses, stats->evictions,
	    stats->second_chances, stats->tentative_aborts);
}

static void
histories_are_linearizable(void)
{
	struct driver driver = { .killed = 0 };
	struct history_verdict total = { 0 };
	struct history_event *all;
	struct shmcache_stats stats;
	struct caches caches;

	CHECK_SAY(load.procs >= 1 && load.procs <= PROCS_MAX &&
		      load.threads >= 1 && load.threads <= THREADS_MAX &&
		      load.procs * load.threads <= 60,
	    "--procs 1 to %d, --threads 1 to %d, 60 in all", PROCS_MAX,
	    THREADS_MAX);
	CHECK_SAY(load.round >= 1000, "--round must be 1000 or more");
	/* Room for what all threads can pin at once, and a little more. */
	caches = open_caches("history",
	    (20 + 3 * load.procs * load.threads) * 4096 + (256 << 10), 4096);
	all = make_logs();
	prng_init(&driver.prng, run_seed(), 1000000);
	do {
		round_number++;
		if (shape()->roomy) {
			do_a_roomy_round(&driver, all, &total);
		} else {
			do_a_round(&driver, &caches, all, &total);
		}
	} while (total.checked < load.ops);
	stats = cache_stats(caches.writing);
	report(&driver, &total, &stats);
	CHECK(stats.get_hits > 0 && stats.evictions > 0);
	close_caches(&caches);
	free(all);
}

int
history_load_main(int argc, char **argv, const struct history_load *defaults)
{
	static const struct test_case cases[] = {
		CASE(histories_are_linearizable),
	};
	static const struct test_option options[] = {
		{ "procs", &load.procs, "processes" },
		{ "threads", &load.threads, "threads of each process" },
		{ "ops", &load.ops, "operations in all" },
		{ "round", &load.round, "operations that are checked at once" },
		{ "kills", &load.kills, "processes killed in a round, about" },
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
		.options = options,
		.option_count = TEST_COUNT_OF(options),
		.limit_seconds = 24 * 3600,
	};

	load = *defaults;
	return run_suite(argc, argv, &suite);
}
