/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * stat_forms_test.c - shmcache-stat for programs and monitors: the list of
 * caches, fields, rows, CSV, Prometheus, checks, output to a file
 *
 * JSON is read by jansson.  The text for Prometheus is read by a strict parser
 * here, and by promtool where there is one.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/run.h"
#include "tests/support/tool.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CAPACITY_BYTES (8u << 20)
#define NOBODY         65534
#define STAT           "shmcache-stat"

/* Both NULL-terminated; the text is cut up. */
static size_t
split(char *text, const char *separator, char **parts, size_t room)
{
	size_t count = 0;
	char *part;

	while ((part = strsep(&text, separator))) {
		CHECK(count < room);
		parts[count++] = part;
	}
	return count;
}

static json_t *
parse_json(const char *text)
{
	json_error_t error;
	json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);

	CHECK_SAY(root, "line %d: %s: %s", error.line, error.text, text);
	return root;
}

static const char *
text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	CHECK_SAY(text, "no text \"%s\"", name);
	return text;
}

/* --- the list -------------------------------------------------------------- */

/* Files of every kind that can stand where caches do. */
static void
make_zoo(void)
{
	int fd;

	shmcache_close(cache_create_used("zoo-ok"));
	shmcache_close(cache_create_plain("zoo-short", CAPACITY_BYTES));
	CHECK_SYS(truncate(test_path("zoo-short"), CAPACITY_BYTES / 2));
	fd = open(test_path("zoo-text"), O_WRONLY | O_CREAT | O_EXCL, 0600);
	CHECK_SYS(fd);
	CHECK(write(fd, "no cache\n", 9) == 9);
	close(fd);
	CHECK_SYS(mkfifo(test_path("zoo-fifo"), 0600));
	CHECK_SYS(symlink(test_path("zoo-ok"), test_path("zoo-link")));
	CHECK_SYS(symlink("nowhere", test_path("zoo-nowhere")));
	CHECK_SYS(mkdir(test_path("zoo-folder"), 0700));
	if (geteuid() == 0) {
		shmcache_close(cache_create_plain("zoo-given", CAPACITY_BYTES));
		CHECK_SYS(chown(test_path("zoo-given"), NOBODY, (gid_t)-1));
	}
}

static const struct {
	const char *suffix;
	const char *state;
} zoo[] = { { "zoo-ok", "ok" }, { "zoo-short", "damaged" },
	{ "zoo-text", "not-a-cache" }, { "zoo-fifo", "not-a-cache" },
	{ "zoo-link", "not-a-cache" }, { "zoo-nowhere", "not-a-cache" },
	{ "zoo-folder", "not-a-cache" }, { "zoo-given", "foreign" } };

/* Those of the zoo that there are: the last one is made by root only. */
static size_t
zoo_count(void)
{
	return TEST_COUNT_OF(zoo) - (geteuid() != 0);
}

static const json_t *
find_listed(const json_t *root, const char *name)
{
	const json_t *caches = json_object_get(root, "caches");

	for (size_t i = 0; i < json_array_size(caches); i++) {
		const json_t *cache = json_array_get(caches, i);
		const char *listed =
		    json_string_value(json_object_get(cache, "name"));

		if (listed && !strcmp(listed, name)) {
			return cache;
		}
	}
	check_failed(__FILE__, __LINE__, "%s is not listed", name);
}

static void
check_listed_numbers(const json_t *cache)
{
	struct stat status;

	CHECK_SYS(stat(test_path("zoo-ok"), &status));
	CHECK(json_integer_value(json_object_get(cache, "items")) == 2);
	CHECK_SAY(fabs(json_real_value(json_object_get(cache, "hit_ratio")) -
		       0.75) < 1e-9,
	    "not 0.75");
	CHECK(json_integer_value(json_object_get(cache, "bytes")) ==
	      status.st_size);
	CHECK(json_integer_value(json_object_get(cache, "uid")) ==
	      (json_int_t)geteuid());
}

static void
list_as_json(void)
{
	static struct outcome outcome;
	json_t *root;

	make_zoo();
	RUN(&outcome, STAT, "--json");
	check_silent_success(&outcome);
	root = parse_json(outcome.out);
	for (size_t i = 0; i < zoo_count(); i++) {
		const json_t *cache =
		    find_listed(root, test_name(zoo[i].suffix));
		const json_t *why = json_object_get(cache, "why");

		CHECK_SAY(!strcmp(text_of(cache, "state"), zoo[i].state),
		    "%s is %s, not %s", zoo[i].suffix, text_of(cache, "state"),
		    zoo[i].state);
		CHECK(json_is_null(why) == !strcmp(zoo[i].state, "ok"));
	}
	check_listed_numbers(find_listed(root, test_name("zoo-ok")));
	json_decref(root);
}

static void
list_for_people(void)
{
	static struct outcome outcome;
	char line[256];

	make_zoo();
	run_arguments(&outcome, STAT, (const char *const[]){ NULL });
	check_silent_success(&outcome);
	CHECK(!strncmp(outcome.out, "NAME ", 5));
	for (size_t i = 0; i < zoo_count(); i++) {
		const char *row = strstr(outcome.out, test_name(zoo[i].suffix));

		CHECK_SAY(row, "%s is missing: %s", zoo[i].suffix, outcome.out);
		(void)snprintf(
		    line, sizeof(line), "%.*s", (int)strcspn(row, "\n"), row);
		CHECK_HAS(line, zoo[i].state);
	}

	RUN(&outcome, STAT, "--csv");
	check_silent_success(&outcome);
	CHECK_HAS(
	    outcome.out, "cache,bytes,uid,owner,state,why,items,hit_ratio\n");
	(void)snprintf(line, sizeof(line), "\n%s,", test_name("zoo-ok"));
	CHECK_HAS(outcome.out, line);
	CHECK_HAS(outcome.out, ",ok,,2,0.750000\n");
}

/* Nobody can tell from the cache that it was looked at. */
static void
looking_changes_nothing(void)
{
	static struct outcome outcome;
	static const char *const forms[] = { "table", "json", "csv", "prom" };
	struct shmcache *cache = cache_create_used("still");
	struct shmcache_stats before = cache_stats(cache);
	struct shmcache_stats after;

	for (size_t i = 0; i < TEST_COUNT_OF(forms); i++) {
		RUN(&outcome, STAT, "-f", forms[i], test_name("still"));
		check_silent_success(&outcome);
		RUN(&outcome, STAT, "-f", forms[i]);
		check_silent_success(&outcome);
	}
	after = cache_stats(cache);
	before.created_age_ms = after.created_age_ms;
	CHECK(!memcmp(&before, &after, sizeof(before)));
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* --- fields ----------------------------------------------------------------- */

static void
fields_are_listed_and_selected(void)
{
	static struct outcome outcome;
	char *lines[256];
	char *columns[256];
	size_t count;

	RUN(&outcome, STAT, "--list-fields");
	check_silent_success(&outcome);
#define COUNTER(name, text)                                                    \
	CHECK_HAS(outcome.out, "\n" #name " ");                                \
	CHECK_HAS(outcome.out, "  counter  " text "\n");
#define GAUGE(name, text) CHECK_HAS(outcome.out, "\n" #name " ");
#include <shmcache_stats.def>

	shmcache_close(cache_create_used("fields"));
	RUN(&outcome, STAT, "--csv", "-F", "items,hit_ratio,get_*,items",
	    test_name("fields"));
	check_silent_success(&outcome);
	count = split(outcome.out, "\n", lines, TEST_COUNT_OF(lines));
	CHECK(count == 3 && !*lines[2]);
	CHECK_SAY(!strncmp(lines[0],
		      "time,cache,items,hit_ratio,get_hits,get_misses", 46),
	    "%s", lines[0]);
	CHECK(split(lines[1], ",", columns, TEST_COUNT_OF(columns)) > 6);
	CHECK(!strcmp(columns[1], test_name("fields")));
	CHECK(!strcmp(columns[2], "2") && !strcmp(columns[3], "0.750000"));
	CHECK(!strcmp(columns[4], "3") && !strcmp(columns[5], "1"));

	RUN(&outcome, STAT, "-F", "items", test_name("fields"));
	check_silent_success(&outcome);
	CHECK(split(outcome.out, "\n", lines, TEST_COUNT_OF(lines)) == 2);
	CHECK_HAS(lines[0], "  items ");
}

/* --- the command line ----------------------------------------------------- */

static void
usage_errors(void)
{
	static struct outcome outcome;
	static const struct {
		const char *arguments[6]; /* NULL ends them */
		const char *part;
	} cases[] = {
		{ { "one", "two" }, "two" },
		{ { "-f", "xml", "one" }, "xml" },
		{ { "--json", "--csv", "one" }, "one format" },
		{ { "-F", "nonsense", "one" }, "nonsense" },
		{ { "-F", "items" }, "NAME" },
		{ { "-i", "1" }, "NAME" },
		{ { "-i", "0.01", "one" }, "--interval" },
		{ { "-i", "nan", "one" }, "--interval" },
		{ { "-i", "1e9", "one" }, "--interval" },
		{ { "-i", "1", "-f", "prom", "one" }, "rates" },
		{ { "-n", "1", "one" }, "--interval" },
		{ { "-i", "1", "-n", "-1", "one" }, "negative" },
		{ { "-s", "-1", "one" }, "--scan-time" },
		{ { "-c", "items>0" }, "NAME" },
		{ { "-c", "items>0", "--json", "one" }, "--check" },
		{ { "-c", "nonsense>0", "one" }, "nonsense" },
		{ { "-c", "items", "one" }, "== !=" },
		{ { "-c", "items=1", "one" }, "== !=" },
		{ { "-c", "items>", "one" }, "not a number" },
		{ { "-c", "items>1x", "one" }, "not a number" },
		{ { "-c", "items>inf", "one" }, "not a number" },
		{ { "-o", "x", "-i", "1", "one" }, "--output" },
		{ { "-t" }, "NAME" },
		{ { "top", "one", "two" }, "two" },
		{ { "-t", "--json", "one" }, "top" },
	};

	for (size_t i = 0; i < TEST_COUNT_OF(cases); i++) {
		run_arguments(&outcome, STAT, cases[i].arguments);
		check_refusal(&outcome, STAT, EXIT_USAGE, cases[i].part);
		CHECK_HAS(outcome.err, "--help");
	}
}

/* --- rows ------------------------------------------------------------------- */

struct worker {
	struct shmcache *cache;
	_Atomic uint32_t *stop;
};

static void
work(void *argument)
{
	struct worker *worker = argument;
	char value[64];

	while (!atomic_load(worker->stop)) {
		for (int i = 0; i < 8; i++) {
			(void)shmcache_get(worker->cache, i % 4 ? "kept" : "x",
			    i % 4 ? 4 : 1, value, sizeof(value), NULL, NULL);
		}
		sleep_us(1000);
	}
}

/* A row has rates of its interval, in which three of four gets hit; nearly none
   did before. */
static void
rows_have_rates(void)
{
	static struct outcome outcome;
	struct shmcache *cache = cache_create_used("rows");
	struct worker worker = { cache, shared_alloc(sizeof(uint32_t)) };
	pid_t pid;
	char *lines[16];
	json_t *row;

	for (int i = 0; i < 100000; i++) {
		CHECK_RESULT(shmcache_get(cache, "x", 1, NULL, 0, NULL, NULL),
		    SHMCACHE_ENOENT);
	}
	pid = child_start(work, &worker);
	while (cache_stats(cache).get_hits < 10) {
		sleep_us(1000);
	}
	RUN(&outcome, STAT, "-i", "0.5", "-n", "3", test_name("rows"));
	check_silent_success(&outcome);
	CHECK(split(outcome.out, "\n", lines, TEST_COUNT_OF(lines)) == 5);
	CHECK_HAS(lines[0], "time ");
	CHECK_HAS(lines[0], "gets/s");
	for (int i = 1; i <= 3; i++) {
		const char *percent = strstr(lines[i], " %");

		/* An interval may begin or end between a hit and a miss. */
		CHECK(percent && percent - lines[i] > 4);
		CHECK_SAY(
		    fabs(strtod(percent - 4, NULL) - 75) < 15, "%s", lines[i]);
	}

	RUN(&outcome, STAT, "-i", "0.5", "-n", "2", "--json", "-F",
	    "hit_ratio,get_hits,items", test_name("rows"));
	check_silent_success(&outcome);
	CHECK(split(outcome.out, "\n", lines, TEST_COUNT_OF(lines)) == 3);
	for (int i = 0; i < 2; i++) {
		row = parse_json(lines[i]);
		CHECK(json_real_value(json_object_get(row, "seconds")) > 0.49);
		CHECK(json_real_value(json_object_get(
			  json_object_get(row, "rates"), "get_hits")) > 0);
		CHECK(json_integer_value(json_object_get(
			  json_object_get(row, "gauges"), "items")) == 2);
		json_decref(row);
	}

	/* In the check, too, it is the interval that counts. */
	RUN(&outcome, STAT, "-i", "0.5", "-c", "hit_ratio<50%", "-c",
	    "get_hits==0", test_name("rows"));
	check_silent_success(&outcome);
	RUN(&outcome, STAT, "-c", "hit_ratio<50%", test_name("rows"));
	CHECK_CODE(&outcome, EXIT_FAILED);
	atomic_store(worker.stop, 1);
	child_expect(pid, 0);
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* Line by line, so that a reader need not wait; and no error when it leaves. */
static void
rows_into_a_pipe(void)
{
	const char *const arguments[] = { "-i", "0.1", "--csv", "-F", "items",
		test_name("pipe"), NULL };
	struct shmcache *cache = cache_create_used("pipe");
	char text[4096] = "";
	size_t used = 0;
	int ends[2];
	int err = scratch_file();
	pid_t pid;

	CHECK_SYS(pipe2(ends, O_CLOEXEC));
	pid = tool_start(STAT, arguments, ends[1], err);
	close(ends[1]);
	while (!strstr(text, ",2\n")) {
		ssize_t got =
		    read(ends[0], text + used, sizeof(text) - 1 - used);

		CHECK(got > 0);
		used += (size_t)got;
		text[used] = '\0';
	}
	close(ends[0]);
	child_expect(pid, EXIT_OK);
	read_and_close(err, text);
	CHECK_SAY(!*text, "stderr: %s", text);
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* Removed, and created anew: said once, and rows go on. */
static void
rows_over_a_removal(void)
{
	const char *const arguments[] = { "-i", "0.1", "--csv", "-F",
		"segment_id", test_name("anew"), NULL };
	struct shmcache *cache = cache_create_used("anew");
	static char said[OUTPUT_BYTES];
	char id[2][32];
	int out = scratch_file();
	int err = scratch_file();
	int again;
	pid_t pid;

	(void)snprintf(id[0], sizeof(id[0]), "0x%016" PRIx64,
	    cache_stats(cache).segment_id);
	pid = tool_start(STAT, arguments, out, err);
	do {
		sleep_us(20000);
		again = dup(out);
		read_and_close(again, said);
	} while (!strstr(said, id[0]));
	cache_remove("anew");
	CHECK_RESULT(shmcache_close(cache), 0);
	do {
		sleep_us(20000);
		again = dup(err);
		read_and_close(again, said);
	} while (!strstr(said, "was removed"));
	cache = cache_create_used("anew");
	(void)snprintf(id[1], sizeof(id[1]), "0x%016" PRIx64,
	    cache_stats(cache).segment_id);
	do {
		sleep_us(20000);
		again = dup(out);
		read_and_close(again, said);
	} while (!strstr(said, id[1]));
	child_kill(pid);
	close(out);
	close(err);
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* --- checks ------------------------------------------------------------------ */

static void
checks_alarm(void)
{
	static struct outcome outcome;
	static const struct {
		const char *condition;
		int code;
	} cases[] = {
		{ "hit_ratio<0.8", EXIT_FAILED },
		{ "hit_ratio < 80%", EXIT_FAILED },
		{ "hit_ratio<0.75", EXIT_OK },
		{ "hit_ratio<=0.75", EXIT_FAILED },
		{ "hit_ratio>=75%", EXIT_FAILED },
		{ "hit_ratio>75%", EXIT_OK },
		{ "items==2", EXIT_FAILED },
		{ "items!=2", EXIT_OK },
		{ "capacity_bytes<=8MiB", EXIT_FAILED },
		{ "capacity_bytes<4 MiB", EXIT_OK },
		{ "capacity_bytes>1KiB", EXIT_FAILED },
		{ "capacity_bytes>1GiB", EXIT_OK },
		{ "pin_idle_ms>=0", EXIT_OK }, /* nobody has pins */
		{ "advices>0", EXIT_OK },
	};
	char line[128];

	shmcache_close(cache_create_used("checks"));
	for (size_t i = 0; i < TEST_COUNT_OF(cases); i++) {
		RUN(&outcome, STAT, "-c", cases[i].condition,
		    test_name("checks"));
		CHECK_SAY(outcome.code == cases[i].code, "%s: %d: %s%s",
		    cases[i].condition, outcome.code, outcome.out, outcome.err);
		(void)snprintf(line, sizeof(line),
		    "%s %s: ", cases[i].code ? "ALARM" : "ok",
		    cases[i].condition);
		CHECK_SAY(!strncmp(outcome.out, line, strlen(line)), "%s: %s",
		    line, outcome.out);
		CHECK(!*outcome.err);
	}
	/* Several: one that holds is enough, and all are reported. */
	RUN(&outcome, STAT, "-c", "items==7", "-c", "items==2", "-c",
	    "items==9", test_name("checks"));
	CHECK_CODE(&outcome, EXIT_FAILED);
	CHECK_HAS(outcome.out, "ok items==7: items is 2\n");
	CHECK_HAS(outcome.out, "ALARM items==2: items is 2\n");
	CHECK_HAS(outcome.out, "ok items==9: items is 2\n");
	/* What cannot be looked at is no alarm, but an error of its own. */
	RUN(&outcome, STAT, "-c", "items==7", test_name("absent"));
	check_refusal(&outcome, STAT, EXIT_NO_ATTACH, "absent");
}

/* --- Prometheus -------------------------------------------------------------- */

#define METRICS_MAX 256
#define LABELS_MAX  4

struct metric {
	char name[128];
	char type[16];
	int samples;
};

struct sample {
	char series[128];
	char label[LABELS_MAX][2][512];
	size_t labels;
	double value;
};

static const char *
read_name(const char *next, char *name, size_t room)
{
	size_t bytes = 0;

	CHECK_SAY(isalpha((unsigned char)*next) || *next == '_', "%s", next);
	while (isalnum((unsigned char)*next) || *next == '_') {
		CHECK(bytes < room - 1);
		name[bytes++] = *next++;
	}
	name[bytes] = '\0';
	return next;
}

/* A label's text in quotes; only \\, \" and \n are escapes. */
static const char *
read_quoted(const char *next, char *text, size_t room)
{
	size_t bytes = 0;

	CHECK(*next++ == '"');
	while (*next != '"') {
		CHECK(*next && bytes < room - 1);
		if (*next == '\\') {
			next++;
			CHECK_SAY(
			    *next && strchr("\\\"n", *next), "\\%c", *next);
		}
		text[bytes++] = *next++;
	}
	text[bytes] = '\0';
	return next + 1;
}

static void
read_sample(const char *line, struct sample *sample)
{
	const char *next =
	    read_name(line, sample->series, sizeof(sample->series));
	char *end;

	sample->labels = 0;
	if (*next == '{') {
		do {
			CHECK(sample->labels < LABELS_MAX);
			next = read_name(
			    next + 1, sample->label[sample->labels][0], 512);
			CHECK(*next == '=');
			next = read_quoted(
			    next + 1, sample->label[sample->labels++][1], 512);
		} while (*next == ',');
		CHECK_SAY(*next == '}', "%s", line);
		next++;
	}
	CHECK(*next++ == ' ');
	sample->value = strtod(next, &end);
	CHECK_SAY(end != next && !*end, "\"%s\" is no value", next);
}

static const char *
label_of(const struct sample *sample, const char *name)
{
	for (size_t i = 0; i < sample->labels; i++) {
		if (!strcmp(sample->label[i][0], name)) {
			return sample->label[i][1];
		}
	}
	return "";
}

static int
has_end(const char *text, const char *end)
{
	size_t bytes = strlen(text);

	return bytes >= strlen(end) && !strcmp(text + bytes - strlen(end), end);
}

/* Does this sample belong to the metric whose heading came last? */
static void
check_belongs(const struct sample *sample, const struct metric *metric)
{
	size_t bytes = strlen(metric->name);
	const char *rest = sample->series + bytes;

	CHECK_SAY(!strncmp(sample->series, metric->name, bytes),
	    "%s stands under %s", sample->series, metric->name);
	if (!strcmp(metric->type, "histogram")) {
		CHECK(!strcmp(rest, "_bucket") || !strcmp(rest, "_sum") ||
		      !strcmp(rest, "_count"));
	} else {
		CHECK(!*rest);
		CHECK(has_end(sample->series, "_total") ==
		      !strcmp(metric->type, "counter"));
	}
}

/* Bounds rise, counts don't fall, and the last is +Inf with the count of all. */
static void
check_histogram(const struct sample *sample)
{
	static double last_bound, last_count, all;

	if (has_end(sample->series, "_bucket")) {
		double bound = strtod(label_of(sample, "le"), NULL);

		if (bound < last_bound || isinf(last_bound)) {
			last_count = 0;
		}
		CHECK(sample->value >= last_count);
		last_bound = bound;
		last_count = sample->value;
		all = sample->value;
	} else if (has_end(sample->series, "_count") &&
		   strstr(sample->series, "_seconds")) {
		CHECK(isinf(last_bound) && sample->value == all);
	}
}

/* Calls `visit` for each sample of the whole text, which must be all right. */
static size_t
read_exposition(
    char *text, void (*visit)(const struct sample *sample, void *), void *with)
{
	static struct metric metrics[METRICS_MAX];
	static struct sample sample;
	size_t count = 0;
	char *line;

	memset(metrics, 0, sizeof(metrics));
	CHECK(*text && has_end(text, "\n"));
	while ((line = strsep(&text, "\n")) && (text || *line)) {
		struct metric *metric = &metrics[count];

		if (!strncmp(line, "# HELP ", 7)) {
			CHECK(count < METRICS_MAX);
			CHECK(*read_name(line + 7, metric->name, 128) == ' ');
			for (size_t i = 0; i < count; i++) {
				CHECK_SAY(strcmp(metrics[i].name, metric->name),
				    "%s comes twice", metric->name);
			}
			line = strsep(&text, "\n");
			CHECK(line && !strncmp(line, "# TYPE ", 7));
			CHECK(!strncmp(
			    line + 7, metric->name, strlen(metric->name)));
			(void)snprintf(metric->type, sizeof(metric->type), "%s",
			    line + 8 + strlen(metric->name));
			CHECK(!strcmp(metric->type, "gauge") ||
			      !strcmp(metric->type, "counter") ||
			      !strcmp(metric->type, "histogram"));
			count++;
			continue;
		}
		CHECK(*line && *line != '#' && count > 0);
		read_sample(line, &sample);
		check_belongs(&sample, &metrics[count - 1]);
		check_histogram(&sample);
		visit(&sample, with);
	}
	return count;
}

struct expected {
	char cache[128];
	struct shmcache_stats stats;
	size_t counters_seen;
	int up;
};

static void
check_sample(const struct sample *sample, void *with)
{
	struct expected *expected = with;

	if (strcmp(label_of(sample, "cache"), expected->cache)) {
		return;
	}
	if (!strcmp(sample->series, "shmcache_up")) {
		expected->up = (int)sample->value;
	}
	if (!strcmp(sample->series, "shmcache_load_wait_seconds_total")) {
		CHECK(fabs(sample->value * 1e6 -
			   (double)expected->stats.load_wait_us) < 1);
		expected->counters_seen++;
	}
#define COUNTER(name, text)                                                    \
	if (!strcmp(sample->series, "shmcache_" #name "_total")) {             \
		CHECK(sample->value == (double)expected->stats.name);          \
		expected->counters_seen++;                                     \
	}
#include <shmcache_stats.def>
	if (!strcmp(sample->series, "shmcache_items")) {
		CHECK(sample->value == (double)expected->stats.items);
	}
	if (!strcmp(sample->series, "shmcache_clock_tick_seconds")) {
		CHECK(fabs(sample->value * 1e9 -
			   (double)expected->stats.clock_tick_ns) < 1);
	}
}

static void
expect(struct expected *expected, const char *cache)
{
	(void)snprintf(expected->cache, sizeof(expected->cache), "%s", cache);
}

static size_t
count_counters(void)
{
	size_t count = 0;

#define COUNTER(name, text) count++;
#include <shmcache_stats.def>
	return count;
}

static void
run_promtool(const char *text)
{
	char command[512];
	FILE *promtool;

	if (system("command -v promtool >/dev/null") != 0) {
		printf("  promtool is missing: not checked by it\n");
		return;
	}
	(void)snprintf(command, sizeof(command),
	    "promtool check metrics >%s 2>&1 || { cat %s; exit 1; }",
	    test_path("promtool"), test_path("promtool"));
	promtool = popen(command, "w");
	CHECK(promtool != NULL);
	CHECK(fputs(text, promtool) >= 0);
	CHECK_SAY(pclose(promtool) == 0, "promtool: see above");
}

static void
prometheus_of_one_cache(void)
{
	static struct outcome outcome;
	struct shmcache *cache = cache_create_used("prom");
	struct expected expected = { .up = -1 };

	for (int i = 0; i < 5000; i++) {
		cache_set_text(cache, "sampled", "value");
		cache_check_text(cache, "sampled", "value");
	}
	expect(&expected, test_name("prom"));
	expected.stats = cache_stats(cache);
	RUN(&outcome, STAT, "--format=prom", test_name("prom"));
	check_silent_success(&outcome);
	run_promtool(outcome.out);
	CHECK(read_exposition(outcome.out, check_sample, &expected) > 50);
	CHECK(expected.up == 1);
	CHECK(expected.counters_seen == count_counters());
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* All caches of the host in one text, with names that need escapes; what
   cannot be looked into is down. */
static void
prometheus_of_all_caches(void)
{
	static struct outcome outcome;
	static char text[OUTPUT_BYTES];
	struct shmcache *cache = cache_create_used("p\"r\\m-\xff");
	struct expected odd = { .up = -1, .stats = cache_stats(cache) };
	struct expected down = { .up = -1 };

	make_zoo();
	expect(&odd, test_name("p\"r\\\\m-\\xff"));
	expect(&down, test_name("zoo-text"));
	RUN(&outcome, STAT, "--format=prom");
	check_silent_success(&outcome);
	run_promtool(outcome.out);
	memcpy(text, outcome.out, sizeof(text));
	(void)read_exposition(outcome.out, check_sample, &odd);
	CHECK(odd.up == 1 && odd.counters_seen == count_counters());
	(void)read_exposition(text, check_sample, &down);
	CHECK(down.up == 0 && down.counters_seen == 0);

	RUN(&outcome, STAT, "--format=prom", "-F", "items,hit_ratio");
	check_silent_success(&outcome);
	CHECK(read_exposition(outcome.out, check_sample, &odd) == 4);
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* --- into a file -------------------------------------------------------------- */

static size_t
count_files(const char *folder)
{
	DIR *files = opendir(folder);
	size_t count = 0;

	CHECK(files != NULL);
	while (readdir(files)) {
		count++;
	}
	closedir(files);
	return count - 2;
}

/* It appears whole, for whomever may read it, or stays as it was. */
static void
output_is_whole_or_old(void)
{
	static struct outcome outcome;
	char file[256];
	struct stat status;

	shmcache_close(cache_create_used("file"));
	CHECK_SYS(mkdir(test_path("folder"), 0700));
	(void)snprintf(file, sizeof(file), "%s/x.prom", test_path("folder"));
	umask(022);
	RUN(&outcome, STAT, "-f", "prom", "-o", file, test_name("file"));
	check_silent_success(&outcome);
	CHECK(!*outcome.out);
	CHECK_SYS(stat(file, &status));
	CHECK((status.st_mode & 0777) == 0644 && status.st_size > 1000);
	CHECK(count_files(test_path("folder")) == 1);

	RUN(&outcome, STAT, "-f", "prom", "-o", file, test_name("absent"));
	check_refusal(&outcome, STAT, EXIT_NO_ATTACH, "absent");
	CHECK_SYS(stat(file, &status));
	CHECK(status.st_size > 1000);
	CHECK(count_files(test_path("folder")) == 1);

	CHECK_SYS(unlink(file));
	CHECK_SYS(rmdir(test_path("folder")));
	RUN(&outcome, STAT, "-f", "prom", "-o", file, test_name("file"));
	check_refusal(&outcome, STAT, EXIT_FAILED, "x.prom");
}

static const struct test_case cases[] = {
	CASE(list_as_json),
	CASE(list_for_people),
	CASE(looking_changes_nothing),
	CASE(fields_are_listed_and_selected),
	CASE(usage_errors),
	CASE(rows_have_rates),
	CASE(rows_into_a_pipe),
	CASE(rows_over_a_removal),
	CASE(checks_alarm),
	CASE(prometheus_of_one_cache),
	CASE(prometheus_of_all_caches),
	CASE(output_is_whole_or_old),
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
