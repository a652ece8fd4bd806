/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * scale_bench.c - what do processes cost each other?
 *
 * 1, 2, 4 and 8 processes do the same at the same time; the figure is processor
 * time for one operation of one process, so that a busy machine counts less.
 * "x one" is what it grows to from one process on; "share" what remains of a
 * process's speed, of what remains for a loop on memory of its own (which
 * suffers from the machine alone) in the same round.
 */
#include "bench/crew.h"
#include "bench/report.h"

#define MOST  8u
#define BATCH 64u
#define ITEMS 100000u

struct job {
	const char *what;
	const struct engine *engine;
	void *state;
	struct stream *stream;
	bool sets;
	struct contender *own; /* of each process */
	struct sample cpu_ns[MOST + 1];
	struct sample to_one[MOST + 1];
	struct sample share[MOST + 1];
	const struct job *beside; /* the loop on own memory; NULL: it is one */
	double one_ns;            /* of this round, and what it grew to */
	double grown;
};

static const struct load load = { .items = ITEMS, .value_bytes = 64 };
static const struct load roomy = {
	.items = ITEMS, .value_bytes = 64, .spare_bytes = 64u << 20
};

static uint64_t
work(unsigned number, void *context)
{
	static uint8_t value[64];
	const struct job *job = context;
	const struct stream *s = job->stream;
	void *state = job->own != NULL ? job->own[number].state : job->state;
	size_t at = s->count / MOST * number;
	uint64_t done = 0;

	if (job->own != NULL)
		contender_prepare(&job->own[number], job->stream);
	for (size_t i = 0; i < s->count; i++) /* page faults */
		(void)job->engine->get(state, &s->ops[i], value, sizeof(value));
	crew_begin();
	do {
		for (unsigned i = 0; i < BATCH; i++) {
			if (job->sets)
				(void)job->engine->set(
				    state, &s->ops[at], value, sizeof(value));
			else
				(void)job->engine->get(
				    state, &s->ops[at], value, sizeof(value));
			at = at + 1 < s->count ? at + 1 : 0;
		}
		done += BATCH;
	} while (!crew_stopped());
	return done;
}

static void
one_round(struct job *jobs, unsigned count, unsigned processes, double ms)
{
	for (unsigned j = 0; j < count; j++) {
		struct job *job = &jobs[j];
		double ns = crew_run(processes, ms, work, job).cpu_ns;

		if (processes == 1)
			job->one_ns = ns;
		job->grown = ns / job->one_ns;
		sample_add(&job->cpu_ns[processes], ns);
		sample_add(&job->to_one[processes], job->grown);
		if (job->beside != NULL)
			sample_add(&job->share[processes],
			    job->beside->grown / job->grown);
	}
}

static void
tell(struct report *report, const struct job *job, unsigned processes)
{
	const struct line line = { .what = job->what,
		.engine = job->engine->name,
		.order = job->stream->count == 1 ? "one key" : "uniform",
		.items = job->stream->count == 1 ? 1 : ITEMS,
		.value_bytes = 64,
		.processes = processes,
		.unit = "ns",
		.figure = job->cpu_ns[processes],
		.to_floor = job->to_one[processes],
		.to_cache = job->share[processes] };

	report_line(report, &line);
}

int
main(int argc, char **argv)
{
	struct settings settings = settings_read(argc, argv);
	struct report *report = report_begin_with("scale",
	    "What do processes cost each other?", &settings, "x one", "share");
	struct stream many =
	    stream_make(UNIFORM, 0, ITEMS, stream_length(ITEMS), 1);
	struct stream one = stream_make(SAME, 7, 1, 1, 1);
	struct contender cache, counters, naive, own[MOST];
	unsigned most = settings.quick ? 2 : MOST;

	if (!contender_open(&cache, &engine_shmcache, &roomy) ||
	    !contender_open(&counters, &engine_shmcache_counter, &load) ||
	    !contender_open(&naive, &engine_naive, &load))
		return 1;
	for (unsigned i = 0; i < MOST; i++)
		if (!contender_open(&own[i], &engine_floor, &load))
			return 1;
	struct job jobs[] = {
		{ "own memory", &engine_floor, NULL, &one, .own = own },
		{ "own memory", &engine_floor, NULL, &many, .own = own },
		{ "get", cache.engine, cache.state, &one, .beside = jobs },
		{ "get", cache.engine, cache.state, &many, .beside = jobs + 1 },
		{ "set", cache.engine, cache.state, &many, .sets = true,
		    .beside = jobs + 1 },
		{ "set", cache.engine, cache.state, &one, .sets = true,
		    .beside = jobs },
		{ "incr", counters.engine, counters.state, &one, .sets = true,
		    .beside = jobs },
		{ "incr", counters.engine, counters.state, &many, .sets = true,
		    .beside = jobs + 1 },
		{ "get", naive.engine, naive.state, &one, .beside = jobs },
		{ "get", naive.engine, naive.state, &many, .beside = jobs + 1 },
		{ "set", naive.engine, naive.state, &many, .sets = true,
		    .beside = jobs + 1 },
	};
	const unsigned count = sizeof(jobs) / sizeof(jobs[0]);

	for (unsigned round = 0; round < settings.rounds; round++)
		for (unsigned n = 1; n <= most; n *= 2)
			one_round(jobs, count, n, settings.milliseconds);
	for (unsigned j = 0; j < count; j++)
		for (unsigned n = 1; n <= most; n *= 2)
			tell(report, &jobs[j], n);
	report_end(report);
	contender_close(&cache);
	contender_close(&counters);
	contender_close(&naive);
	stream_free(&many);
	stream_free(&one);
	return 0;
}
