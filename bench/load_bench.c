/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * load_bench.c - what does it cost to wait for another's load, and what is saved?
 *
 * wait     Processes want a key that was deleted; one loads it.  The figure is the
 *          time from the end of the load until another has the value.
 * kill     One leads, one waits.  The leader is killed; the figure is the time
 *          until the other loads.  Part of it is the kernel's, which takes the
 *          leader's memory away before it says that it is dead: hence with a
 *          small one and one of 256 MiB, and also from when it is (pidfd).
 * trace    Workers take one request after the other from a recorded stream of
 *          keys, which comes on standard input (timestamp,key,...).  A load takes
 *          1 ms, values live 200 ms.  The figure is the number of loads; the ratio
 *          is to a cache without protection (get, load, set) in the same round.
 */
#include "bench/cleanup.h"
#include "bench/crew.h"
#include "bench/memory.h"
#include "bench/report.h"

#include <poll.h>
#include <shmcache.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WAITS       50u /* of each round */
#define KILLS       20u
#define LARGE_BYTES (256u << 20)
#define KEYS_MAX    50000u /* requests: no more are read */
#define LOAD_US     1000u
#define TTL_MS      200
#define WAITING     8u /* processes */

static struct shmcache *cache;

/* What the processes share. */
struct stage {
	_Atomic unsigned round;
	_Atomic unsigned arrived;
	_Atomic unsigned leads;
	_Atomic uint64_t loads;
	_Atomic size_t next; /* request */
	double loaded;       /* when the load had ended */
	double killed;       /* when the leader was killed */
	double gone;         /* when the kernel said that it was */
	double waited[WAITING][WAITS];
	uint32_t keys[]; /* of the requests */
};

static struct stage *stage;
static size_t key_count;

static void
die(const char *what)
{
	fprintf(stderr, "load_bench: %s: %s\n", what, shmcache_last_error());
	exit(1);
}

static void
sleep_us(unsigned us)
{
	const struct timespec t = { us / 1000000, us % 1000000 * 1000l };

	(void)nanosleep(&t, NULL);
}

static int
give(struct shmcache_loaded *loaded)
{
	loaded->value_bytes = 64;
	loaded->value = calloc(1, loaded->value_bytes);
	return loaded->value != NULL ? 0 : -1;
}

static int
by_value(const void *a, const void *b)
{
	double x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return (x > y) - (x < y);
}

/* Sorts them on the way. */
static double
percentile(double *values, size_t count, double part)
{
	qsort(values, count, sizeof(*values), by_value);
	return values[(size_t)((double)(count - 1) * part)];
}

/* Wait */

static int
load_slowly(void *context, const void *key, size_t key_bytes,
    struct shmcache_loaded *loaded)
{
	(void)context;
	(void)key;
	(void)key_bytes;
	sleep_us(5000);
	stage->loaded = clock_wall();
	return give(loaded);
}

/* Number 0 begins each turn; of every turn one loads and the others wait. */
static uint64_t
take_turns(unsigned number, void *context)
{
	(void)context;
	crew_begin();
	for (unsigned turn = 0; turn < WAITS; turn++) {
		struct shmcache_value value;

		while (number == 0 && stage->arrived < turn * WAITING)
			sleep_us(50);
		if (number == 0) {
			(void)shmcache_delete(cache, "key", 3);
			stage->round = turn + 1;
		}
		while (stage->round <= turn)
			sleep_us(50);
		if (shmcache_get_or_load(
			cache, "key", 3, load_slowly, NULL, NULL, &value) != 0)
			die("get_or_load");
		stage->waited[number][turn] =
		    value.source == SHMCACHE_FROM_CACHE
			? (clock_wall() - stage->loaded) * 1e6
			: 0;
		free(value.value);
		stage->arrived++;
	}
	return WAITS;
}

static void
measure_waits(struct sample *p50, struct sample *p99)
{
	double all[WAITING * WAITS];
	size_t count = 0;

	stage->round = stage->arrived = 0;
	(void)crew_run(WAITING, 0, take_turns, NULL);
	for (unsigned i = 0; i < WAITING; i++)
		for (unsigned turn = 0; turn < WAITS; turn++)
			if (stage->waited[i][turn] > 0)
				all[count++] = stage->waited[i][turn];
	sample_add(p50, percentile(all, count, 0.5));
	sample_add(p99, percentile(all, count, 0.99));
}

/* Kill */

static int
load_never(void *context, const void *key, size_t key_bytes,
    struct shmcache_loaded *loaded)
{
	(void)context;
	(void)key;
	(void)key_bytes;
	(void)loaded;
	stage->leads = 1;
	(void)pause(); /* killed */
	return -1;
}

static int
load_next(void *context, const void *key, size_t key_bytes,
    struct shmcache_loaded *loaded)
{
	double *took_ms = context;

	(void)key;
	(void)key_bytes;
	*took_ms = (clock_wall() - stage->killed) * 1e3;
	return give(loaded);
}

/* A process that leads, with so much memory of its own. */
static pid_t
start_leader(size_t bytes)
{
	pid_t pid = fork();
	struct shmcache_value value;
	char *memory;

	if (pid != 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	memory = malloc(bytes + 1);
	if (memory == NULL)
		_exit(1);
	memset(memory, 1, bytes + 1);
	(void)shmcache_get_or_load(
	    cache, "key", 3, load_never, NULL, NULL, &value);
	_exit(memory[bytes] == 1);
}

/* Another, which kills it while this one waits. */
static pid_t
start_killer(pid_t leader)
{
	pid_t pid = fork();
	struct pollfd end = { .events = POLLIN };

	if (pid != 0)
		return pid;
	end.fd = (int)syscall(SYS_pidfd_open, leader, 0);
	sleep_us(20000);
	stage->killed = clock_wall();
	(void)kill(leader, SIGKILL);
	(void)poll(&end, 1, 10000);
	stage->gone = clock_wall();
	_exit(0);
}

/* Times of kills of a leader with so much memory: until another loads, from the
   kill on and from when the kernel was done with it. */
struct kills {
	const char *name;
	size_t bytes;
	struct sample p50, worst;
	struct sample gone_p50, gone_worst;
};

static void
measure_kills(struct kills *kills)
{
	struct shmcache_load_options options = SHMCACHE_LOAD_OPTIONS_INIT;
	double took_ms[KILLS], beyond_ms[KILLS];

	options.timeout_ms = options.lease_ms = 600000; /* by liveness alone */
	for (unsigned i = 0; i < KILLS; i++) {
		struct shmcache_value value;
		pid_t leader, killer;

		(void)shmcache_delete(cache, "key", 3);
		stage->leads = 0;
		leader = start_leader(kills->bytes);
		while (stage->leads == 0)
			sleep_us(100);
		killer = start_killer(leader);
		if (shmcache_get_or_load(cache, "key", 3, load_next,
			&took_ms[i], &options, &value) != 0)
			die("get_or_load");
		free(value.value);
		(void)waitpid(leader, NULL, 0);
		(void)waitpid(killer, NULL, 0);
		/* (Who polls may hear of it after who waits.) */
		beyond_ms[i] = took_ms[i] - (stage->gone - stage->killed) * 1e3;
		if (beyond_ms[i] < 0)
			beyond_ms[i] = 0;
	}
	sample_add(&kills->p50, percentile(took_ms, KILLS, 0.5));
	sample_add(&kills->worst, took_ms[KILLS - 1]);
	sample_add(&kills->gone_p50, percentile(beyond_ms, KILLS, 0.5));
	sample_add(&kills->gone_worst, beyond_ms[KILLS - 1]);
}

/* Trace */

struct protection {
	const char *name;
	bool none;
	uint32_t stale_ms;
	double beta;
	struct sample loads[CREW_MAX + 1];
	struct sample ratio[CREW_MAX + 1];
};

static int
load_counted(void *context, const void *key, size_t key_bytes,
    struct shmcache_loaded *loaded)
{
	(void)context;
	(void)key;
	(void)key_bytes;
	stage->loads++;
	sleep_us(LOAD_US);
	return give(loaded);
}

static void
get_without(uint32_t key)
{
	struct shmcache_loaded loaded = { .value = NULL };
	char value[64];

	if (shmcache_get(cache, &key, sizeof(key), value, sizeof(value), NULL,
		NULL) == 0)
		return;
	if (load_counted(NULL, &key, sizeof(key), &loaded) != 0 ||
	    shmcache_set(cache, &key, sizeof(key), loaded.value,
		loaded.value_bytes, TTL_MS, 0) != 0)
		die("set");
	free(loaded.value);
}

static void
get_with(uint32_t key, const struct protection *p)
{
	struct shmcache_load_options options = SHMCACHE_LOAD_OPTIONS_INIT;
	struct shmcache_value value;

	options.ttl_ms = TTL_MS;
	options.stale_ms = p->stale_ms;
	options.beta = p->beta;
	if (shmcache_get_or_load(cache, &key, sizeof(key), load_counted, NULL,
		&options, &value) != 0)
		die("get_or_load");
	free(value.value);
}

static uint64_t
replay(unsigned number, void *context)
{
	const struct protection *p = context;
	uint64_t done = 0;
	size_t at;

	(void)number;
	crew_begin();
	while ((at = stage->next++) < key_count) {
		if (p->none)
			get_without(stage->keys[at]);
		else
			get_with(stage->keys[at], p);
		done++;
	}
	return done > 0 ? done : 1;
}

/* Each begins with an empty cache. */
static void
measure_trace(struct protection *protections, size_t count, unsigned processes)
{
	double without = 0;

	for (size_t i = 0; i < count; i++) {
		struct protection *p = &protections[i];

		if (shmcache_flush(cache) != 0)
			die("flush");
		stage->loads = stage->next = 0;
		(void)crew_run(processes, 0, replay, p);
		if (p->none)
			without = (double)stage->loads;
		sample_add(&p->loads[processes], (double)stage->loads);
		sample_add(
		    &p->ratio[processes], (double)stage->loads / without);
	}
}

static void
read_keys(void)
{
	char line[256];
	unsigned long key;

	while (!isatty(0) && key_count < KEYS_MAX &&
	       fgets(line, sizeof(line), stdin) != NULL)
		if (sscanf(line, "%*[^,],%lu", &key) == 1)
			stage->keys[key_count++] = (uint32_t)key;
	if (key_count == 0)
		printf("no trace on standard input: that part is left out\n");
}

static void
tell(struct report *report, const char *what, const char *who,
    unsigned processes, const char *unit, const struct sample *figure,
    const struct sample *ratio)
{
	const struct line line = { .what = what,
		.engine = who,
		.order = "",
		.items = ratio != NULL ? key_count : 1,
		.value_bytes = 64,
		.processes = processes,
		.unit = unit,
		.figure = *figure,
		.to_floor =
		    ratio != NULL ? *ratio : (struct sample){ .count = 0 } };

	report_line(report, &line);
}

static void
tell_kills(struct report *report, const struct kills *kills)
{
	char gone[64];

	(void)snprintf(gone, sizeof(gone), "%s, gone", kills->name);
	tell(report, kills->name, "p50", 2, "ms", &kills->p50, NULL);
	tell(report, kills->name, "worst of 20", 2, "ms", &kills->worst, NULL);
	tell(report, gone, "p50", 2, "ms", &kills->gone_p50, NULL);
	tell(report, gone, "worst of 20", 2, "ms", &kills->gone_worst, NULL);
}

static void
open_cache(void)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	char name[64];

	(void)snprintf(name, sizeof(name), "/dev/shm/shmcache.bench-%d-load",
	    (int)getpid());
	options.capacity_bytes = 64u << 20;
	if (shmcache_open(name, &options, &cache) != 0)
		die("open");
	cleanup_path(name);
}

int
main(int argc, char **argv)
{
	struct settings settings = settings_read(argc, argv);
	struct report *report = report_begin_with("load",
	    "What does waiting for another's load cost, and what does it save?",
	    &settings, "x without", "-");
	struct protection protections[] = {
		{ .name = "none", .none = true },
		{ .name = "get_or_load" },
		{ .name = "stale_ms", .stale_ms = 10000 },
		{ .name = "beta", .beta = 1 },
	};
	const size_t count = sizeof(protections) / sizeof(protections[0]);
	struct sample p50 = { .count = 0 }, p99 = p50;
	struct kills small = { .name = "kill" };
	struct kills large = { .name = "kill 256 MiB", .bytes = LARGE_BYTES };

	stage = memory_map(sizeof(*stage) + KEYS_MAX * sizeof(uint32_t));
	open_cache();
	read_keys();
	for (unsigned round = 0; round < settings.rounds; round++) {
		measure_waits(&p50, &p99);
		measure_kills(&small);
		measure_kills(&large);
		for (unsigned n = 4; n <= CREW_MAX && key_count > 0; n *= 2)
			measure_trace(protections, count, n);
	}
	tell(report, "wait", "p50", WAITING, "us", &p50, NULL);
	tell(report, "wait", "p99", WAITING, "us", &p99, NULL);
	tell_kills(report, &small);
	tell_kills(report, &large);
	for (size_t i = 0; i < count && key_count > 0; i++)
		for (unsigned n = 4; n <= CREW_MAX; n *= 2)
			tell(report, "trace", protections[i].name, n, "",
			    &protections[i].loads[n], &protections[i].ratio[n]);
	report_end(report);
	(void)shmcache_close(cache);
	return 0;
}
