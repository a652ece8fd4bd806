/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * run_library.c - a trace through the library
 *
 * A cache of its own, of so many bytes that what grows with the capacity (index,
 * ghosts, extents with their tables) has the point's bytes; below 64 MiB the
 * fixed tables (header, processes, peers, counters) come on top.  Several
 * processes take the requests in blocks, in order.  Or a cache that is there, as
 * a load on it.
 */
#include "tools/replay/run.h"

#include <errno.h>
#include <shmcache.h>
#include <shmcache_admin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK_REQUESTS   64u
#define FIXED_UP_TO      (64u << 20)
#define EXTENTS_WANTED   128u
#define EXTENT_BYTES_MIN 4096u
#define ENTRY_OVERHEAD   40u /* of an extent's quarter, not for the entry */
#define OVERHEAD_MOST    80u /* with options and tags, as the library reckons */
#define REFUSED_MAX      1000u /* one request of so many, for small extents */
#define KEY_BYTES_MAX    256u
#define SAMPLES          64u

/* What the processes of a run share. */
struct common {
	struct timespec began;
	uint64_t next;    /* first request that nobody has taken */
	bool interrupted; /* the parent was, which its children hear of here */
	uint64_t next_sweep_ms;
	uint64_t gets, misses, wanted_bytes, missed_bytes;
	uint64_t refused, failed, wrong, shared_misses;
	uint64_t live_permille, samples;
};

struct worker {
	struct shmcache *cache;
	const struct trace *trace;
	const struct weights *weights;
	const struct library_options *options;
	struct common *common;
	uint8_t *value;  /* what is stored: the key's number, and filling */
	uint8_t *buffer; /* what is read */
	size_t buffer_bytes;
	struct common own;
};

static void
add_to(uint64_t *sum, uint64_t value)
{
	(void)__atomic_fetch_add(sum, value, __ATOMIC_RELAXED);
}

static size_t
make_key(const struct worker *w, uint32_t key, char text[KEY_BYTES_MAX + 1])
{
	(void)snprintf(
	    text, KEY_BYTES_MAX + 1, "%0*x", (int)w->weights->key_bytes, key);
	return w->weights->key_bytes;
}

static int64_t
ttl_ms(const struct request *r)
{
	return r->ttl_s > 0 ? r->ttl_s * (int64_t)1000 : SHMCACHE_TTL_NONE;
}

/* By shmcache_set() or shmcache_add(). */
typedef int store_call(struct shmcache *, const void *, size_t, const void *,
    size_t, int64_t, uint32_t);

static void
store(struct worker *w, store_call *call, const struct request *r,
    const char *key, size_t bytes)
{
	uint32_t number = r->key;
	int result;

	if (r->value_bytes >= sizeof(number))
		memcpy(w->value, &number, sizeof(number));
	result =
	    call(w->cache, key, bytes, w->value, r->value_bytes, ttl_ms(r), 0);
	if (result == SHMCACHE_ETOOBIG)
		w->own.refused++;
	else if (result == SHMCACHE_EPRESENT)
		w->own.shared_misses++; /* another missed it meanwhile */
	else if (result != 0)
		w->own.failed++;
}

/* Is it there? */
static bool
use(struct worker *w, const struct request *r, const char *key, size_t bytes)
{
	uint32_t number = r->key;
	size_t got = 0;
	int result = shmcache_get(
	    w->cache, key, bytes, w->buffer, w->buffer_bytes, &got, NULL);

	w->own.wrong += result == 0 && got >= sizeof(number) &&
			memcmp(w->buffer, &number, sizeof(number)) != 0;
	return result == 0;
}

static void
get(struct worker *w, const struct request *r, const char *key, size_t bytes)
{
	w->own.gets++;
	w->own.wanted_bytes += r->value_bytes;
	if (use(w, r, key, bytes))
		return;
	w->own.misses++;
	w->own.missed_bytes += r->value_bytes;
	if (r->op != OP_MISS)
		store(w, shmcache_add, r, key, bytes);
}

static void
touch(struct worker *w, const struct request *r, const char *key, size_t bytes)
{
	int result = shmcache_touch(w->cache, key, bytes, ttl_ms(r));

	w->own.failed += result != 0 && result != SHMCACHE_ENOENT;
}

static void
step(struct worker *w, const struct request *r)
{
	char key[KEY_BYTES_MAX + 1];
	size_t bytes = make_key(w, r->key, key);

	trace_clock_set(r->time_ms);
	switch (r->op) {
	case OP_GET:
	case OP_MISS:
		get(w, r, key, bytes);
		break;
	case OP_SET:
		store(w, shmcache_set, r, key, bytes);
		break;
	case OP_INCR:
		if (!use(w, r, key, bytes))
			store(w, shmcache_set, r, key, bytes);
		break;
	case OP_TOUCH:
		touch(w, r, key, bytes);
		break;
	case OP_FLUSH:
		if (w->options->into == NULL)
			w->own.failed += shmcache_flush(w->cache) != 0;
		break;
	default:
		(void)shmcache_delete(w->cache, key, bytes);
	}
}

static void
sample(struct worker *w)
{
	struct shmcache_stats stats;

	if (shmcache_stats(w->cache, &stats, sizeof(stats)) != 0)
		return;
	add_to(&w->common->live_permille,
	    stats.live_bytes * 100000 / stats.arena_bytes);
	add_to(&w->common->samples, 1);
}

static void
maybe_sweep(struct worker *w, uint64_t time_ms)
{
	uint64_t due =
	    __atomic_load_n(&w->common->next_sweep_ms, __ATOMIC_RELAXED);

	if (w->options->sweep_s == 0 || time_ms < due)
		return;
	if (__atomic_compare_exchange_n(&w->common->next_sweep_ms, &due,
		time_ms + w->options->sweep_s * 1000ull, false,
		__ATOMIC_RELAXED, __ATOMIC_RELAXED))
		(void)shmcache_sweep(w->cache, NULL);
}

/* Waits until it is time for the request of that number. */
static void
await_turn(const struct worker *w, uint64_t number)
{
	struct timespec at = w->common->began;
	uint64_t per_second = w->options->per_second;

	if (per_second == 0)
		return;
	at.tv_sec += (time_t)(number / per_second);
	at.tv_nsec += (long)(number % per_second * 1000000000 / per_second);
	if (at.tv_nsec >= 1000000000) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000;
	}
	(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

/* Takes blocks of requests until there are none. */
static void
work(struct worker *w)
{
	size_t count = w->trace->count;
	size_t every = count / SAMPLES / BLOCK_REQUESTS * BLOCK_REQUESTS;

	for (;;) {
		uint64_t from = __atomic_fetch_add(
		    &w->common->next, BLOCK_REQUESTS, __ATOMIC_RELAXED);

		if (from >= count || interrupted ||
		    __atomic_load_n(&w->common->interrupted, __ATOMIC_RELAXED))
			break;
		await_turn(w, from);
		for (uint64_t i = from; i < from + BLOCK_REQUESTS && i < count;
		     i++)
			step(w, &w->trace->request[i]);
		maybe_sweep(w, w->trace->request[from].time_ms);
		if (every > 0 && from > count / 4 && from % every == 0)
			sample(w);
	}
	add_to(&w->common->gets, w->own.gets);
	add_to(&w->common->misses, w->own.misses);
	add_to(&w->common->wanted_bytes, w->own.wanted_bytes);
	add_to(&w->common->missed_bytes, w->own.missed_bytes);
	add_to(&w->common->refused, w->own.refused);
	add_to(&w->common->failed, w->own.failed);
	add_to(&w->common->wrong, w->own.wrong);
	add_to(&w->common->shared_misses, w->own.shared_misses);
}

/* The work in `processes` children; false if one failed. */
static bool
work_in_processes(struct worker *w, unsigned processes)
{
	unsigned started = 0;
	bool good = true;

	for (; started < processes; started++) {
		pid_t child = fork();

		if (child < 0)
			break;
		if (child == 0) {
			work(w);
			_exit(0);
		}
	}
	good = started > 0;
	for (unsigned i = 0; i < started;) {
		int status;
		pid_t child = wait(&status);

		if (child < 0 && errno != EINTR)
			return false;
		if (interrupted)
			__atomic_store_n(
			    &w->common->interrupted, true, __ATOMIC_RELAXED);
		if (child < 0)
			continue;
		good &= status == 0;
		i++;
	}
	return good;
}

static uint32_t
largest_value(const struct trace *trace)
{
	uint32_t most = 0;

	for (size_t i = 0; i < trace->count; i++)
		if (trace->request[i].value_bytes > most)
			most = trace->request[i].value_bytes;
	return most;
}

/* Requests whose values are too large for such extents. */
static size_t
too_large(const struct trace *trace, const struct weights *w, uint64_t bytes)
{
	size_t count = 0;

	for (size_t i = 0; i < trace->count; i++)
		count += w->key_bytes +
			     (uint64_t)trace->request[i].value_bytes +
			     OVERHEAD_MOST >
			 bytes / 4;
	return count;
}

/* Extents small enough for so many of them, and large enough for any entry but a
   few. */
static uint64_t
choose_extent_bytes(const struct point *p, const struct trace *trace,
    const struct weights *w, uint32_t largest)
{
	uint64_t entry = w->key_bytes + (uint64_t)largest + ENTRY_OVERHEAD;
	uint64_t bytes = EXTENT_BYTES_MIN;

	while (bytes * 2 * EXTENTS_WANTED <= p->sim_bytes || bytes < 4 * entry)
		bytes *= 2;
	if (too_large(trace, w, bytes) > trace->count / REFUSED_MAX)
		bytes *= 2;
	return bytes;
}

/* Opens a cache of which the parts that grow have the point's bytes. */
static int
create(const char *name, const struct point *p, struct shmcache_options *o,
    struct shmcache **cache)
{
	struct shmcache_stats stats;
	int result;

	o->open_mode = SHMCACHE_CREATE_EXCLUSIVE;
	o->capacity_bytes = p->sim_bytes;
	if (p->sim_bytes >= FIXED_UP_TO)
		return shmcache_open(name, o, cache);
	o->capacity_bytes = FIXED_UP_TO;
	result = shmcache_open(name, o, cache);
	if (result != 0)
		return result;
	result = shmcache_stats(*cache, &stats, sizeof(stats));
	(void)shmcache_close(*cache);
	(void)shmcache_remove(name);
	o->capacity_bytes = p->sim_bytes + stats.fixed_bytes;
	return result != 0 ? result : shmcache_open(name, o, cache);
}

static void
note_figures(
    struct point *p, const struct common *c, const struct shmcache_stats *stats)
{
	p->gets = c->gets;
	p->misses = c->misses;
	p->wanted_bytes = c->wanted_bytes;
	p->missed_bytes = c->missed_bytes;
	p->refused = c->refused;
	p->failed = c->failed;
	p->wrong = c->wrong;
	p->shared_misses = c->shared_misses;
	p->policy = shmcache_policy_name(stats->policy);
	p->segment_bytes = stats->capacity_bytes;
	p->extent_bytes = stats->extent_bytes;
	p->extents = stats->extents;
	p->index_evictions = stats->index_evictions;
	p->live = c->samples > 0
		      ? (double)c->live_permille * 1e-5 / (double)c->samples
		      : 0;
	p->copied = stats->written_bytes > 0 ? (double)stats->copied_bytes /
						   (double)stats->written_bytes
					     : 0;
}

static void
run_cache(struct point *p, struct worker *w)
{
	struct shmcache_stats stats;
	double from = run_cpu_seconds();
	bool good = true;

	if (w->options->into == NULL)
		trace_clock_start();
	(void)clock_gettime(CLOCK_MONOTONIC, &w->common->began);
	if (w->options->processes > 1)
		good = work_in_processes(w, w->options->processes);
	else
		work(w);
	p->seconds = run_cpu_seconds() - from;
	if (!good)
		(void)snprintf(
		    p->note, sizeof(p->note), "a process of the run failed");
	else if (shmcache_stats(w->cache, &stats, sizeof(stats)) != 0)
		(void)snprintf(
		    p->note, sizeof(p->note), "%s", shmcache_last_error());
	else
		note_figures(p, w->common, &stats);
}

/* Opens the cache, plays the trace into it, and fills the point or its note. */
static void
run_once(struct point *p, struct shmcache_options *o, const struct worker *w)
{
	struct worker worker = *w;
	const char *into = w->options->into;
	char name[64];

	(void)snprintf(name, sizeof(name), "replay-%d", (int)getpid());
	if (into != NULL ? shmcache_open(into, NULL, &worker.cache) != 0
			 : create(name, p, o, &worker.cache) != 0) {
		(void)snprintf(
		    p->note, sizeof(p->note), "%s", shmcache_last_error());
		return;
	}
	worker.value = calloc(1, w->buffer_bytes);
	worker.buffer = calloc(1, w->buffer_bytes);
	worker.common = mmap(NULL, sizeof(*w->common), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (worker.value != NULL && worker.buffer != NULL &&
	    worker.common != MAP_FAILED) {
		run_cache(p, &worker);
		(void)munmap(worker.common, sizeof(*w->common));
	} else {
		(void)snprintf(p->note, sizeof(p->note), "not enough memory");
	}
	free(worker.value);
	free(worker.buffer);
	(void)shmcache_close(worker.cache);
	if (into == NULL)
		(void)shmcache_remove(name);
}

/* Has the cache had room for more entries than its index had? */
static bool
index_was_small(const struct point *p)
{
	return p->note[0] == '\0' && p->index_evictions > p->misses / 64;
}

/*
 * The index is made for a tenth more entries than there is room for of mean size,
 * as small ones stay; and for twice as many, and again, as long as that is too
 * few and more do better: small entries may be most of those that stay.
 */
void
run_library(struct point *p, const char *policy, const struct trace *trace,
    const struct weights *weights, const struct library_options *options)
{
	struct shmcache_options o = SHMCACHE_OPTIONS_INIT;
	uint32_t largest = largest_value(trace);
	struct worker w = { .trace = trace,
		.weights = weights,
		.options = options,
		.buffer_bytes = largest + 1ull };
	struct point next;

	p->policy = policy != NULL ? policy : shmcache_policy_name(0);
	p->library = true;
	p->expected_items = p->objects + p->objects / 10 + 1;
	o.policy = policy;
	o.expected_tags = 1; /* the least table */
	o.expected_items = p->expected_items;
	o.extent_bytes = options->extent_bytes != 0
			     ? options->extent_bytes
			     : choose_extent_bytes(p, trace, weights, largest);
	next = *p;
	run_once(p, &o, &w);
	while (options->into == NULL && index_was_small(p) && !interrupted) {
		next.expected_items = o.expected_items *= 2;
		run_once(&next, &o, &w);
		if (next.note[0] != '\0' || next.misses >= p->misses)
			break;
		*p = next;
	}
}
