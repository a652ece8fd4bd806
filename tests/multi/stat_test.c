/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * stat_test.c - shmcache-stat as its users meet it
 *
 * What it prints and how it exits is compared with what the API says about the
 * same cache.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/counts.h"
#include "tests/support/run.h"
#include "tests/support/tool.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CAPACITY_BYTES (8u << 20)
#define NOBODY         65534

/* --- shmcache-stat ----------------------------------------------------- */

struct field {
	const char *name;
	size_t offset_bytes;
	int is_counter;
};

static const struct field fields[] = {
#define COUNTER(name, text) { #name, offsetof(struct shmcache_stats, name), 1 },
#define GAUGE(name, text)   { #name, offsetof(struct shmcache_stats, name), 0 },
#include <shmcache_stats.def>
};

static uint64_t
field_value(const struct shmcache_stats *stats, const struct field *field)
{
	uint64_t value;

	memcpy(
	    &value, (const char *)stats + field->offset_bytes, sizeof(value));
	return value;
}

static void
check_field(const struct field *field, uint64_t seen,
    const struct shmcache_stats *stats)
{
	uint64_t wanted = field_value(stats, field);

	/* Time goes on between the two looks. */
	if (strstr(field->name, "_age_ms")) {
		CHECK(seen >= wanted && seen < wanted + 60000);
		return;
	}
	CHECK_SAY(seen == wanted, "%s is %" PRIu64 ", not %" PRIu64,
	    field->name, seen, wanted);
}

static void
table_agrees_with_api(void)
{
	static struct outcome outcome;
	struct shmcache *cache = cache_create_used("table");
	struct shmcache_stats stats = cache_stats(cache);
	char start[64];
	char pid[32];

	RUN(&outcome, "shmcache-stat", test_name("table"));
	check_silent_success(&outcome);
	for (size_t i = 0; i < TEST_COUNT_OF(fields); i++) {
		const char *line;

		snprintf(start, sizeof(start), "\n  %s ", fields[i].name);
		line = strstr(outcome.out, start);
		CHECK_SAY(
		    line, "no line of %s: %s", fields[i].name, outcome.out);
		check_field(&fields[i], strtoull(line + strlen(start), NULL, 0),
		    &stats);
	}
	CHECK_HAS(outcome.out, "0.750000  75.0 %");
	CHECK_HAS(outcome.out, " MiB\n");
	snprintf(pid, sizeof(pid), "  %10d  alive", (int)getpid());
	CHECK_HAS(outcome.out, pid);
	CHECK_SAY(!strstr(outcome.out, "Advice"),
	    "advice for a sound cache: %s", outcome.out);

	RUN(&outcome, "shmcache-stat", "--explain", test_name("table"));
	check_silent_success(&outcome);
	CHECK_HAS(outcome.out, "gets that returned a value");
	CHECK_RESULT(shmcache_close(cache), 0);
}

static json_t *
run_json(const char *name)
{
	static struct outcome outcome;
	json_error_t error;
	json_t *root;

	RUN(&outcome, "shmcache-stat", "--json", name);
	check_silent_success(&outcome);
	root = json_loads(outcome.out, JSON_REJECT_DUPLICATES, &error);
	CHECK_SAY(root, "line %d: %s: %s", error.line, error.text, outcome.out);
	return root;
}

static json_t *
member(const json_t *object, const char *name)
{
	json_t *value = json_object_get(object, name);

	CHECK_SAY(value, "no member \"%s\"", name);
	return value;
}

static uint64_t
json_field(const json_t *root, const struct field *field)
{
	const json_t *group =
	    member(root, field->is_counter ? "counters" : "gauges");
	const json_t *value = member(group, field->name);

	if (!strcmp(field->name, "segment_id")) {
		CHECK(json_is_string(value));
		return strtoull(json_string_value(value), NULL, 16);
	}
	CHECK_SAY(json_is_integer(value), "%s is no integer", field->name);
	return (uint64_t)json_integer_value(value);
}

static void
check_ratio(const json_t *root, const char *name, uint64_t part, uint64_t whole)
{
	const json_t *value = member(member(root, "derived"), name);
	double wanted = (double)part / (double)whole;
	double seen = json_real_value(value);

	CHECK(json_is_real(value));
	CHECK_SAY(seen > wanted - 1e-5 && seen < wanted + 1e-5,
	    "%s is %g, not %g", name, seen, wanted);
}

static void
json_agrees_with_api(void)
{
	struct shmcache *cache = cache_create_used("json");
	struct shmcache_stats stats = cache_stats(cache);
	json_t *root = run_json(test_name("json"));
	size_t counters = 0;

	for (size_t i = 0; i < TEST_COUNT_OF(fields); i++) {
		check_field(&fields[i], json_field(root, &fields[i]), &stats);
		counters += (size_t)fields[i].is_counter;
	}
	CHECK(stats.get_hits == 3 && stats.get_misses == 1);
	CHECK(stats.sets == 4 && stats.deletes == 1 && stats.items == 2);
	CHECK(json_object_size(member(root, "counters")) == counters);
	CHECK(json_object_size(member(root, "gauges")) ==
	      TEST_COUNT_OF(fields) - counters);

	check_ratio(root, "hit_ratio", 3, 4);
	check_ratio(root, "index_load", stats.items, stats.index_slots);
	check_ratio(root, "live_ratio", stats.live_bytes, stats.arena_bytes);
	CHECK(!strcmp(
	    json_string_value(member(root, "name")), test_name("json")));
	CHECK(!strcmp(
	    json_string_value(member(root, "version")), shmcache_version()));
	CHECK(json_array_size(member(root, "advice")) == 0);
	json_decref(root);
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* The element of an array of objects whose member is `wanted`, or NULL. */
static json_t *
find_by(const json_t *array, const char *name, json_int_t wanted)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		json_t *element = json_array_get(array, i);

		if (json_integer_value(member(element, name)) == wanted) {
			return element;
		}
	}
	return NULL;
}

/* Who has pinned what: this thread, an extent that is listed as pinned. */
static void
check_pins(const json_t *root)
{
	json_t *peer = find_by(member(root, "peers"), "pid", getpid());
	json_t *pinned;
	json_t *extent;

	CHECK(peer != NULL);
	CHECK(json_is_true(member(peer, "alive")));
	CHECK(json_is_false(member(peer, "orphaned")));
	CHECK(json_integer_value(member(peer, "operations")) >= 9);
	pinned = member(peer, "pinned_extents");
	CHECK(json_array_size(pinned) == 1);
	extent = json_array_get(member(root, "extents"),
	    (size_t)json_integer_value(json_array_get(pinned, 0)));
	CHECK(json_integer_value(member(extent, "pins")) == 1);
	CHECK(!strcmp(json_string_value(member(extent, "state")), "active"));
	CHECK(json_integer_value(member(extent, "live_bytes")) > 0);
}

static void
json_lists_processes(void)
{
	static struct outcome outcome;
	struct shmcache *cache = cache_create_used("processes");
	struct shmcache_item item;
	json_t *process;
	json_t *root;
	char line[64];

	CHECK_RESULT(shmcache_get_pinned(cache, "kept", 4, &item), 0);
	root = run_json(test_name("processes"));
	process = find_by(member(root, "processes"), "pid", getpid());
	CHECK(process != NULL);
	CHECK(json_is_true(member(process, "alive")));
	CHECK(json_integer_value(member(process, "peers")) == 1);
	CHECK(json_integer_value(member(process, "pins")) == 1);
	CHECK(json_is_integer(member(process, "slot")));
	/* This process; the tool, which reads only, takes no slot. */
	CHECK(json_array_size(member(root, "processes")) == 1);
	check_pins(root);
	CHECK(json_array_size(member(root, "extents")) ==
	      cache_stats(cache).extents);
	json_decref(root);

	RUN(&outcome, "shmcache-stat", test_name("processes"));
	check_silent_success(&outcome);
	CHECK_HAS(outcome.out, "\nThreads\n");
	(void)snprintf(
	    line, sizeof(line), "  active         0  %10d ", (int)getpid());
	CHECK_HAS(strstr(outcome.out, "\nPinned extents\n"), line);
	CHECK_RESULT(shmcache_unpin(cache, &item), 0);
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* --- entries ------------------------------------------------------------- */

static uint64_t
bucket_entries(const json_t *root, const char *histogram, const char *label)
{
	const json_t *buckets = member(member(root, "entries"), histogram);

	for (size_t i = 0; i < json_array_size(buckets); i++) {
		const json_t *bucket = json_array_get(buckets, i);

		if (!strcmp(
			json_string_value(member(bucket, "label")), label)) {
			return (uint64_t)json_integer_value(
			    member(bucket, "entries"));
		}
	}
	check_failed(
	    __FILE__, __LINE__, "%s has no bucket %s", histogram, label);
}

static uint64_t
all_entries(const json_t *root, const char *histogram)
{
	const json_t *buckets = member(member(root, "entries"), histogram);
	uint64_t entries = 0;

	for (size_t i = 0; i < json_array_size(buckets); i++) {
		entries += (uint64_t)json_integer_value(
		    member(json_array_get(buckets, i), "entries"));
	}
	return entries;
}

static void
set_entries(struct shmcache *cache, const char *prefix, unsigned count,
    size_t bytes, int64_t ttl_ms)
{
	static char value[16000];
	char key[32];

	for (unsigned i = 0; i < count; i++) {
		(void)snprintf(key, sizeof(key), "%s %u", prefix, i);
		CHECK_RESULT(shmcache_set(cache, key, strlen(key), value, bytes,
				 ttl_ms, 0),
		    0);
	}
}

static void
entries_are_counted(void)
{
	static struct outcome outcome;
	struct shmcache *cache = cache_create_plain("entries", CAPACITY_BYTES);
	json_t *root;

	set_entries(cache, "for ever", 70, 10, SHMCACHE_TTL_NONE);
	set_entries(cache, "half an hour", 20, 3000, 1800000);
	set_entries(cache, "a week", 10, 15000, 600000000);
	root = run_json(test_name("entries"));
	CHECK(json_is_true(member(member(root, "entries"), "complete")));
	CHECK(bucket_entries(root, "ttl", "no ttl") == 70);
	CHECK(bucket_entries(root, "ttl", "to 1 h") == 20);
	CHECK(bucket_entries(root, "ttl", "to 7 d") == 10);
	CHECK(bucket_entries(root, "size", "to 64 B") == 70);
	CHECK(bucket_entries(root, "size", "to 4 KiB") == 20);
	CHECK(bucket_entries(root, "size", "to 16 KiB") == 10);
	CHECK(bucket_entries(root, "age", "unknown") == 0);
	CHECK(all_entries(root, "ttl") == 100);
	CHECK(all_entries(root, "size") == 100);
	CHECK(all_entries(root, "age") == 100);
	CHECK((uint64_t)json_integer_value(member(member(root, "entries"),
		  "bytes")) == cache_stats(cache).live_bytes);
	json_decref(root);

	RUN(&outcome, "shmcache-stat", test_name("entries"));
	check_silent_success(&outcome);
	CHECK_HAS(outcome.out, "\nEntries by ttl\n  no ttl                70 ");
	CHECK_HAS(
	    outcome.out, "\nEntries by size\n  to 64 B               70 ");
	CHECK_HAS(outcome.out, "\nEntries by age\n");
	RUN(&outcome, "shmcache-stat", "-s", "0", test_name("entries"));
	check_silent_success(&outcome);
	CHECK(!strstr(outcome.out, "Entries by"));
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* Every call is timed: the buckets have as many as there were calls. */
static void
latency_is_shown(void)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	struct shmcache_latency latency;
	struct shmcache *cache;
	const json_t *buckets;
	uint64_t count = 0;
	json_t *root;

	options.capacity_bytes = CAPACITY_BYTES;
	options.latency_sample = 1;
	cache = cache_create("latency", &options);
	cache_set_text(cache, "key", "value");
	for (int i = 0; i < 100; i++) {
		cache_check_text(cache, "key", "value");
	}
	CHECK_RESULT(
	    shmcache_latency(cache, SHMCACHE_LATENCY_GET, &latency), 0);
	root = run_json(test_name("latency"));
	buckets = member(member(root, "latency"), "get");
	for (size_t i = 0; i < json_array_size(buckets); i++) {
		count += (uint64_t)json_integer_value(
		    member(json_array_get(buckets, i), "count"));
	}
	CHECK_SAY(count == latency.samples && count >= 100,
	    "%" PRIu64 " gets, not %" PRIu64, count, latency.samples);
	CHECK(json_integer_value(
		  member(member(root, "derived"), "get_p50_ns")) > 0);
	CHECK(
	    json_integer_value(member(member(root, "derived"), "get_p50_ns")) <=
	    json_integer_value(member(member(root, "derived"), "get_p999_ns")));
	json_decref(root);
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* No division by 0, and a name that JSON cannot hold. */
static void
json_of_an_unused_cache(void)
{
	const char *name = test_name("unused-\xff");
	json_t *root;

	shmcache_close(cache_create_plain("unused-\xff", CAPACITY_BYTES));
	root = run_json(name);
	CHECK(json_is_null(member(root, "name")));
	CHECK(json_is_null(member(member(root, "derived"), "hit_ratio")));
	CHECK(json_is_real(member(member(root, "derived"), "index_load")));
	json_decref(root);
}

/* --- where the output goes --------------------------------------------- */

static void
check_run_into(int out, const char *format, int code, const char *part)
{
	static struct outcome outcome;
	const char *arguments[] = { format, test_name("output"), NULL };
	int err = scratch_file();

	outcome.out[0] = '\0';
	outcome.code =
	    child_wait(tool_start("shmcache-stat", arguments, out, err));
	read_and_close(err, outcome.err);
	CHECK_CODE(&outcome, code);
	CHECK_HAS(outcome.err, part);
	CHECK_SAY(
	    *part || !*outcome.err, "stderr is not empty: %s", outcome.err);
}

static void
reader_that_went_away(void)
{
	int ends[2];

	shmcache_close(cache_create_used("output"));
	for (int ignored = 0; ignored <= 1; ignored++) {
		signal(SIGPIPE, ignored ? SIG_IGN : SIG_DFL);
		CHECK_SYS(pipe2(ends, O_CLOEXEC));
		close(ends[0]);
		check_run_into(ends[1], "--json", EXIT_OK, "");
		check_run_into(ends[1], "--explain", EXIT_OK, "");
		close(ends[1]);
	}
}

static void
full_device(void)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	if (full < 0) {
		skip("/dev/full: %s", test_errno_text());
	}
	shmcache_close(cache_create_used("output"));
	check_run_into(full, "--json", EXIT_NO_SPACE, "standard output");
	check_run_into(full, "--explain", EXIT_NO_SPACE, "standard output");
	close(full);
}

/* --- advice ------------------------------------------------------------ */

static void
check_advice(const char *suffix, const char *part)
{
	static struct outcome outcome;
	json_t *root = run_json(test_name(suffix));
	const json_t *advice = member(root, "advice");
	int found = 0;

	for (size_t i = 0; i < json_array_size(advice); i++) {
		const char *line = json_string_value(json_array_get(advice, i));

		found |= line && strstr(line, part);
	}
	CHECK_SAY(found, "no advice has \"%s\"", part);
	json_decref(root);
	RUN(&outcome, "shmcache-stat", test_name(suffix));
	check_silent_success(&outcome);
	CHECK_HAS(outcome.out, "\nAdvice\n");
	CHECK_HAS(outcome.out, part);
}

static void
advice_on_a_small_index(void)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	struct shmcache *cache;
	char key[32];

	options.capacity_bytes = CAPACITY_BYTES;
	options.expected_items = 100;
	cache = cache_create("small", &options);
	for (int i = 0; i < 5000; i++) {
		snprintf(key, sizeof(key), "key %d", i);
		cache_set_text(cache, key, "value");
	}
	CHECK(cache_stats(cache).index_evictions > 0);
	check_advice("small", "expected_items of");
	CHECK_RESULT(shmcache_close(cache), 0);
}

static void
advice_on_failed_sets(void)
{
	struct shmcache *cache = cache_create_plain("failed", CAPACITY_BYTES);
	uint64_t bytes = cache_stats(cache).max_entry_bytes;
	void *value = calloc(1, bytes);

	CHECK(value != NULL);
	CHECK_RESULT(shmcache_set(cache, "key", 3, value, bytes, 0, 0),
	    SHMCACHE_ETOOBIG);
	free(value);
	check_advice("failed", "max_entry_bytes above");
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* The last slot is taken; who only looks needs none. */
static void
advice_on_few_process_slots(void)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	struct shmcache *cache;

	options.capacity_bytes = CAPACITY_BYTES;
	options.process_slots = 1;
	cache = cache_create("slots", &options);
	check_advice("slots", "1 of 1 process slots");
	CHECK_RESULT(shmcache_close(cache), 0);
}

#define PINNERS         3
#define PINS_PER_PINNER 4

struct pinner {
	struct shmcache *cache;
	_Atomic uint32_t *ready;
	int first_key;
};

static void
pin_and_wait(void *argument)
{
	const struct pinner *pinner = argument;
	struct shmcache_item item;
	char key[32];

	for (int i = 0; i < PINS_PER_PINNER; i++) {
		snprintf(key, sizeof(key), "%d", pinner->first_key + i);
		CHECK_RESULT(
		    shmcache_get_pinned(pinner->cache, key, strlen(key), &item),
		    0);
	}
	atomic_fetch_add(pinner->ready, 1);
	pause();
}

/*
 * Twelve of about thirty extents get pinned: one processor writes, so that
 * entries lie in the order of their sets, four to an extent.
 */
static void
advice_on_pinned_extents(void)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	struct pinner pinner = { .ready = shared_alloc(sizeof(uint32_t)) };
	pid_t pids[PINNERS];
	cpu_set_t one;
	uint64_t bytes;
	char key[32];
	char *value;

	CPU_ZERO(&one);
	CPU_SET((unsigned)sched_getcpu(), &one);
	CHECK_SYS(sched_setaffinity(0, sizeof(one), &one));
	options.capacity_bytes = CAPACITY_BYTES;
	options.extent_bytes = 256 << 10;
	options.peer_slots = 16;
	pinner.cache = cache_create("pinned", &options);
	bytes = cache_stats(pinner.cache).max_entry_bytes - sizeof(key);
	value = calloc(1, bytes);
	CHECK(value != NULL);
	for (int i = 0; i < PINNERS * PINS_PER_PINNER * 4; i++) {
		snprintf(key, sizeof(key), i % 4 ? "%d filler" : "%d", i / 4);
		CHECK_RESULT(shmcache_set(pinner.cache, key, strlen(key), value,
				 bytes, 0, 0),
		    0);
	}
	free(value);
	for (int i = 0; i < PINNERS; i++) {
		pinner.first_key = i * PINS_PER_PINNER;
		pids[i] = child_start(pin_and_wait, &pinner);
	}
	await_at_least(pinner.ready, PINNERS);
	CHECK(cache_stats(pinner.cache).extents_pinned == 12);
	check_advice("pinned", "12 of ");
	for (int i = 0; i < PINNERS; i++) {
		child_kill(pids[i]);
	}
	CHECK_RESULT(shmcache_close(pinner.cache), 0);
}

struct doomed {
	struct shmcache *cache;
	_Atomic uint32_t *attached;
};

/* Use the cache, wait until the other has too, and end without detaching. */
static void
die_attached(void *argument)
{
	struct doomed *doomed = argument;

	cache_set_text(doomed->cache, "child", "was here");
	atomic_fetch_add(doomed->attached, 1);
	await_at_least(doomed->attached, 2);
	keep_counts();
	_exit(0);
}

static void
dead_process_is_told_and_freed(void)
{
	static struct outcome outcome;
	struct shmcache *cache = cache_create_used("dead");
	struct doomed doomed = { cache, shared_alloc(sizeof(uint32_t)) };
	json_t *process;
	json_t *root;
	pid_t pids[2];

	pids[0] = child_start(die_attached, &doomed);
	await_at_least(doomed.attached, 1);
	pids[1] = child_start(die_attached, &doomed);
	child_expect(pids[0], 0);
	child_expect(pids[1], 0);
	root = run_json(test_name("dead"));
	for (int i = 0; i < 2; i++) {
		process = find_by(member(root, "processes"), "pid", pids[i]);
		CHECK(process != NULL);
		CHECK(json_is_false(member(process, "alive")));
	}
	json_decref(root);
	check_advice("dead", "2 dead processes are");

	RUN(&outcome, "shmcache-janitor", "--once", test_name("dead"));
	check_silent_success(&outcome);
	CHECK_HAS(outcome.out, "freed_peers=");
	root = run_json(test_name("dead"));
	CHECK(find_by(member(root, "processes"), "pid", pids[1]) == NULL);
	CHECK(json_array_size(member(root, "advice")) == 0);
	json_decref(root);
	cache_check_text(cache, "child", "was here");
	CHECK_RESULT(shmcache_close(cache), 0);
}

static const struct test_case cases[] = {
	CASE(table_agrees_with_api),
	CASE(json_agrees_with_api),
	CASE(json_lists_processes),
	CASE(entries_are_counted),
	CASE(latency_is_shown),
	CASE(json_of_an_unused_cache),
	CASE(reader_that_went_away),
	CASE(full_device),
	CASE(advice_on_a_small_index),
	CASE(advice_on_failed_sets),
	CASE(advice_on_few_process_slots),
	CASE(advice_on_pinned_extents),
	CASE(dead_process_is_told_and_freed),
};

int
main(int argc, char **argv)
{
	struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
		.limit_seconds = 120,
	};

	return run_suite(argc, argv, &suite);
}
