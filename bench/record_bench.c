/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * record_bench.c - what does recording cost the calls that are recorded?
 *
 * One process asks, and a thread of it reads what is recorded as shmcache-stat
 * does.  Off, and for a hundredth, a tenth and all of the keys in turn in each of
 * the rounds; ratios are of one round, figures are medians.  The second "off" is
 * what the machine alone makes of a ratio.
 */
#include "bench/cleanup.h"
#include "bench/report.h"

#include <pthread.h>
#include <shmcache.h>
#include <shmcache_admin.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define KEYS     10000u
#define BATCH    512
#define PAUSE_NS 2000000

static struct shmcache *cache;
static struct shmcache_recorder recorder;
static uint64_t recorded;
static atomic_bool enough;
static struct stream stream;

static void
die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, shmcache_last_error());
	exit(1);
}

static void
get(const struct op *op)
{
	char value[64];

	if (shmcache_get(cache, op->key, KEY_BYTES, value, sizeof(value), NULL,
		NULL) != 0)
		die("get");
}

static void
set(const struct op *op)
{
	static const char value[64];

	if (shmcache_set(
		cache, op->key, KEY_BYTES, value, sizeof(value), 0, 0) != 0)
		die("set");
}

static const struct {
	const char *name;
	void (*run)(const struct op *op);
} tasks[] = { { "get", get }, { "set", set } };

static const struct {
	const char *name;
	double share; /* 0: off */
} settings_of[] = { { "off", 0 }, { "off, again", 0 }, { "1 %", 0.01 },
	{ "10 %", 0.1 }, { "all", 1 } };

#define TASKS  (sizeof(tasks) / sizeof(tasks[0]))
#define SHARES (sizeof(settings_of) / sizeof(settings_of[0]))

struct figures {
	struct sample ns, ratio, lost;
};

static void
take(void)
{
	static struct shmcache_request batch[BATCH];
	int count;

	do {
		count = shmcache_record_read(cache, &recorder, batch, BATCH);
		if (count < 0)
			die("record_read");
		recorded += (uint64_t)count;
	} while (count == BATCH);
}

static void *
read_until_enough(void *nothing)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };

	while (!atomic_load(&enough)) {
		take();
		(void)nanosleep(&pause, NULL);
	}
	return nothing;
}

static double
run(unsigned task, double milliseconds)
{
	static size_t at;
	double begin = clock_thread(), now;
	uint64_t done = 0;

	do {
		for (unsigned i = 0; i < 1000; i++) {
			tasks[task].run(&stream.ops[at]);
			at = at + 1 < stream.count ? at + 1 : 0;
		}
		done += 1000;
		now = clock_thread();
	} while ((now - begin) * 1e3 < milliseconds);
	return (now - begin) * 1e9 / (double)done;
}

/* Nanoseconds; *lost_out is the share of the records that came too fast. */
static double
run_recorded(unsigned task, double share, double milliseconds, double *lost_out)
{
	pthread_t reader;
	double ns;

	recorded = 0;
	atomic_store(&enough, false);
	if (shmcache_record_begin(cache, share, &recorder) != 0)
		die("record_begin");
	if (pthread_create(&reader, NULL, read_until_enough, NULL) != 0)
		die("pthread_create");
	ns = run(task, milliseconds);
	atomic_store(&enough, true);
	(void)pthread_join(reader, NULL);
	take();
	if (shmcache_record_end(cache, &recorder) != 0)
		die("record_end");
	*lost_out =
	    (double)recorder.lost / (double)(recorded + recorder.lost + 1);
	return ns;
}

static void
one_round(unsigned task, struct figures figures[SHARES], double milliseconds)
{
	double off_ns = 0;

	for (unsigned s = 0; s < SHARES; s++) {
		double share = settings_of[s].share, lost = 0;
		double ns = share > 0
				? run_recorded(task, share, milliseconds, &lost)
				: run(task, milliseconds);

		if (s == 0)
			off_ns = ns;
		sample_add(&figures[s].ns, ns);
		sample_add(&figures[s].ratio, ns / off_ns);
		sample_add(&figures[s].lost, lost);
	}
}

static void
open_cache(char name[64])
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;

	(void)snprintf(
	    name, 64, "/dev/shm/shmcache.bench-%d-record", (int)getpid());
	options.capacity_bytes = 64u << 20;
	if (shmcache_open(name, &options, &cache) != 0)
		die("open");
	cleanup_path(name);
	for (uint64_t item = 0; item < KEYS; item++) {
		struct op op;

		op_make(&op, item);
		set(&op);
	}
}

int
main(int argc, char **argv)
{
	struct settings settings = settings_read(argc, argv);
	static struct figures figures[TASKS][SHARES];
	char name[64];

	open_cache(name);
	stream = stream_make(UNIFORM, 0, KEYS, stream_length(KEYS), 1);
	for (unsigned round = 0; round < settings.rounds; round++)
		for (unsigned t = 0; t < TASKS; t++)
			one_round(t, figures[t], settings.milliseconds);
	printf("%-6s %-12s %8s %8s %8s  %8s %8s\n", "", "recorded", "ns",
	    "least", "most", "to off", "lost");
	for (unsigned t = 0; t < TASKS; t++)
		for (unsigned s = 0; s < SHARES; s++) {
			const struct figures *f = &figures[t][s];

			printf("%-6s %-12s %8.1f %8.1f %8.1f  %8.2f %7.1f%%\n",
			    tasks[t].name, settings_of[s].name,
			    sample_median(&f->ns), sample_least(&f->ns),
			    sample_most(&f->ns), sample_median(&f->ratio),
			    sample_median(&f->lost) * 100);
		}
	stream_free(&stream);
	(void)shmcache_close(cache);
	return 0;
}
