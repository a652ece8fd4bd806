/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * invalidate_bench.c - what do tags, invalidations and the filter cost?
 *
 * One process; all contenders take turns in each of the rounds, ratios are of one
 * round, figures are medians.  Gets of a cache that fits the processor's, so that
 * the work is seen and not the memory.
 */
#include "bench/cleanup.h"
#include "bench/report.h"

#include <shmcache.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEYS   1000u
#define FILTER 1000000u

static struct shmcache *cache;

struct contender_key {
	char text[24];
	size_t bytes;
};

static struct contender_key plain[KEYS], tagged[2][KEYS];

static void
die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, shmcache_last_error());
	exit(1);
}

static void
name_key(struct contender_key *key, const char *kind, unsigned n)
{
	key->bytes =
	    (size_t)snprintf(key->text, sizeof(key->text), "%s-%u", kind, n);
}

static void
store(const struct contender_key *key, size_t tag_count)
{
	static const struct shmcache_tag tags[SHMCACHE_TAGS_MAX] = { { "a", 1 },
		{ "b", 1 }, { "c", 1 }, { "d", 1 }, { "e", 1 }, { "f", 1 },
		{ "g", 1 }, { "h", 1 } };
	static const char value[64];
	struct shmcache_set_options options = SHMCACHE_SET_OPTIONS_INIT;

	options.tags = tags;
	options.tag_count = tag_count;
	if (shmcache_set_with(cache, key->text, key->bytes, value,
		sizeof(value), &options) != 0)
		die("set");
}

static void
get(const struct contender_key *key)
{
	char value[64];

	if (shmcache_get(cache, key->text, key->bytes, value, sizeof(value),
		NULL, NULL) != 0)
		die("get");
}

static void
get_plain(unsigned n)
{
	get(&plain[n % KEYS]);
}

static void
get_one_tag(unsigned n)
{
	get(&tagged[0][n % KEYS]);
}

static void
get_eight_tags(unsigned n)
{
	get(&tagged[1][n % KEYS]);
}

static void
set_plain(unsigned n)
{
	store(&plain[n % KEYS], 0);
}

static void
set_eight_tags(unsigned n)
{
	store(&tagged[1][n % KEYS], SHMCACHE_TAGS_MAX);
}

static void
snapshot(unsigned n)
{
	struct shmcache_snapshot s;

	(void)n;
	if (shmcache_snapshot(cache, &s) != 0)
		die("snapshot");
}

static void
invalidate(unsigned n)
{
	(void)n; /* none of the entries', nor with their word in the table */
	if (shmcache_invalidate_tag(cache, "other", 5) != 0)
		die("invalidate_tag");
}

static void
check_there(unsigned n)
{
	n = n * 7919u % FILTER;
	if (shmcache_filter_check(cache, &n, sizeof(n)) != 1)
		die("filter_check");
}

static void
check_other(unsigned n)
{
	n = FILTER + n * 7919u % FILTER;
	if (shmcache_filter_check(cache, &n, sizeof(n)) < 0)
		die("filter_check");
}

static void
add(unsigned n)
{
	n = n * 7919u % FILTER;
	if (shmcache_filter_add(cache, 0, &n, sizeof(n)) != 0)
		die("filter_add");
}

static const struct {
	const char *name;
	void (*run)(unsigned n);
} tasks[] = {
	{ "get", get_plain },
	{ "get, 1 tag", get_one_tag },
	{ "get, 8 tags", get_eight_tags },
	{ "set", set_plain },
	{ "set, 8 tags", set_eight_tags },
	{ "snapshot", snapshot },
	{ "invalidate a tag", invalidate },
	{ "filter: a key that is there", check_there },
	{ "filter: one that is not", check_other },
	{ "filter: add, again", add },
};

#define TASKS (sizeof(tasks) / sizeof(tasks[0]))

static void
fill(void)
{
	for (unsigned i = 0; i < KEYS; i++) {
		name_key(&plain[i], "plain", i);
		name_key(&tagged[0][i], "one", i);
		name_key(&tagged[1][i], "eight", i);
		store(&plain[i], 0);
		store(&tagged[0][i], 1);
		store(&tagged[1][i], SHMCACHE_TAGS_MAX);
	}
}

static void
build_filter(void)
{
	uint64_t build;

	if (shmcache_filter_begin(cache, &build) != 0)
		die("filter_begin");
	for (unsigned i = 0; i < FILTER; i++)
		if (shmcache_filter_add(cache, build, &i, sizeof(i)) != 0)
			die("filter_add");
	if (shmcache_filter_publish(cache, build) != 0)
		die("filter_publish");
}

static double
run(unsigned task, double milliseconds)
{
	double begin = clock_thread(), now;
	uint64_t done = 0;
	static unsigned n;

	do {
		for (unsigned i = 0; i < 1000; i++)
			tasks[task].run(n++);
		done += 1000;
		now = clock_thread();
	} while ((now - begin) * 1e3 < milliseconds);
	return (now - begin) * 1e9 / (double)done;
}

int
main(int argc, char **argv)
{
	struct settings settings = settings_read(argc, argv);
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	struct sample figures[TASKS] = { { .count = 0 } };
	struct sample ratios[TASKS] = { { .count = 0 } };
	char name[64];

	(void)snprintf(name, sizeof(name),
	    "/dev/shm/shmcache.bench-%d-invalidate", (int)getpid());
	options.capacity_bytes = 64u << 20;
	options.filter_items = FILTER;
	if (shmcache_open(name, &options, &cache) != 0)
		die("open");
	cleanup_path(name);
	fill();
	build_filter();
	for (unsigned round = 0; round < settings.rounds; round++) {
		double get_ns = 0;

		for (unsigned t = 0; t < TASKS; t++) {
			double ns = run(t, settings.milliseconds);

			if (t == 0)
				get_ns = ns;
			sample_add(&figures[t], ns);
			sample_add(&ratios[t], ns / get_ns);
		}
	}
	printf(
	    "%-30s %8s %8s %8s  %s\n", "", "ns", "least", "most", "to a get");
	for (unsigned t = 0; t < TASKS; t++)
		printf("%-30s %8.1f %8.1f %8.1f  %8.2f\n", tasks[t].name,
		    sample_median(&figures[t]), sample_least(&figures[t]),
		    sample_most(&figures[t]), sample_median(&ratios[t]));
	(void)shmcache_close(cache);
	return 0;
}
