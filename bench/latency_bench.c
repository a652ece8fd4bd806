/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * latency_bench.c - how long do single gets take, beside a process that evicts?
 *
 * Each get of a hot key is timed by itself (by the time stamp counter, whose
 * own cost is in the figures: see the floor's).  Beside it another process
 * stores more than the cache holds, without a pause.  What the machine does to
 * any program, the floor's line shows.
 */
#include "bench/crew.h"
#include "bench/memory.h"
#include "bench/report.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <x86intrin.h>
static inline uint64_t
ticks(void)
{
	unsigned unused;

	return __rdtscp(&unused);
}
#else
static inline uint64_t
ticks(void)
{
	return (uint64_t)(clock_wall() * 1e9);
}
#endif

#define GETS      1000000u
#define HOT_ITEMS 10000u
#define SHARES    6u

static const double shares[SHARES] = { 0.5, 0.9, 0.99, 0.999, 0.9999, 1 };
static const char *const share_names[SHARES] = { "p50", "p90", "p99", "p99.9",
	"p99.99", "worst" };

/* Hot keys that fit, and many that don't. */
static const struct load load = { .items = 100000, .value_bytes = 64 };

static int
by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Nanoseconds at each share of the gets.  Each key is got once before: a process
   that has just attached meets each page for the first time. */
static void
measure(const struct contender *c, const struct stream *s, double at[SHARES])
{
	static uint32_t took[GETS];
	static uint8_t value[64];
	double begin, per_tick;
	uint64_t first;

	for (size_t i = 0; i < s->count; i++)
		(void)c->engine->get(
		    c->state, &s->ops[i], value, sizeof(value));
	begin = clock_wall();
	first = ticks();
	for (size_t i = 0; i < GETS; i++) {
		uint64_t before = ticks(), after;

		(void)c->engine->get(
		    c->state, &s->ops[i % s->count], value, sizeof(value));
		after = ticks() - before;
		took[i] = after < UINT32_MAX ? (uint32_t)after : UINT32_MAX;
	}
	per_tick = (clock_wall() - begin) * 1e9 / (double)(ticks() - first);
	qsort(took, GETS, sizeof(took[0]), by_value);
	for (unsigned i = 0; i < SHARES; i++) {
		size_t rank = (size_t)(shares[i] * GETS);

		at[i] = took[rank < GETS ? rank : GETS - 1] * per_tick;
	}
}

struct pair {
	struct contender *reader;
	struct contender *writer;
	const struct stream *hot;
	const struct stream *flood;
	double at[SHARES];
};

static double *shared_at;

/* 0 reads, and then stops the other one; 1 writes. */
static uint64_t
read_or_write(unsigned number, void *context)
{
	static uint8_t value[64];
	const struct pair *p = context;
	uint64_t done = 0;

	crew_begin();
	if (number == 0) {
		measure(p->reader, p->hot, shared_at);
		crew_stop();
		return GETS;
	}
	for (size_t at = 0; !crew_stopped(); at++, done++)
		(void)p->writer->engine->set(p->writer->state,
		    &p->flood->ops[at % p->flood->count], value, sizeof(value));
	return done + 1;
}

static void
tell(struct report *report, const char *what, const struct engine *engine,
    unsigned processes, const struct sample at[SHARES],
    const struct sample to_median[SHARES])
{
	for (unsigned i = 0; i < SHARES; i++) {
		char name[32];
		const struct line line = { .what = name,
			.engine = engine->name,
			.order = what,
			.items = HOT_ITEMS,
			.value_bytes = 64,
			.processes = processes,
			.unit = "ns",
			.figure = at[i],
			.to_floor = to_median[i] };

		(void)snprintf(name, sizeof(name), "get %s", share_names[i]);
		report_line(report, &line);
	}
}

static void
compare_latency(struct report *report, const struct settings *settings,
    const char *what, struct pair *pair, unsigned processes)
{
	struct sample at[SHARES] = { 0 }, to_median[SHARES] = { 0 };

	for (unsigned round = 0; round < settings->rounds; round++) {
		(void)crew_run(processes, 0, read_or_write, pair);
		for (unsigned i = 0; i < SHARES; i++) {
			sample_add(&at[i], shared_at[i]);
			sample_add(&to_median[i], shared_at[i] / shared_at[0]);
		}
	}
	tell(report, what, pair->reader->engine, processes, at, to_median);
}

int
main(int argc, char **argv)
{
	struct settings settings = settings_read(argc, argv);
	struct report *report = report_begin_with("latency",
	    "How long do single gets take, beside a process that evicts?",
	    &settings, "x p50", "-");
	struct stream hot =
	    stream_make(UNIFORM, 0, HOT_ITEMS, stream_length(HOT_ITEMS), 1);
	struct stream flood =
	    stream_make(SEQUENTIAL, load.items, 1000000, 1000000, 1);
	struct contender cache, floor;
	struct pair pair = { .writer = &cache, .hot = &hot, .flood = &flood };

	shared_at = memory_map(sizeof(double) * SHARES);
	if (!contender_open(&cache, &engine_shmcache, &load) ||
	    !contender_open(&floor, &engine_floor, &load))
		return 1;
	contender_prepare(&floor, &hot);
	pair.reader = &floor;
	compare_latency(report, &settings, "alone", &pair, 1);
	compare_latency(report, &settings, "evictor", &pair, 2);
	pair.reader = &cache;
	compare_latency(report, &settings, "alone", &pair, 1);
	compare_latency(report, &settings, "evictor", &pair, 2);
	report_end(report);
	contender_close(&cache);
	contender_close(&floor);
	stream_free(&hot);
	stream_free(&flood);
	return 0;
}
