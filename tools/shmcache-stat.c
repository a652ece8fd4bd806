/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shmcache-stat.c - print what goes on in a cache
 *
 * shmcache_stats.def is the one list of counters and gauges; each list here is
 * made from it.  A number's unit is the end of its name (_bytes, _ns, _id), and
 * the groups of the table are named by their first member, so a counter that is
 * added there appears here, in the group that it was put into.
 *
 * Collected first, printed after: the two forms of output, a table for humans
 * and JSON for programs, show one and the same `struct report`.
 */
#include "tools/common.h"

#include <inttypes.h>
#include <jansson.h>
#include <shmcache_admin.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ADVICE_COUNT_MAX 16
#define ADVICE_BYTES_MAX 256
#define NUMBER_BYTES_MAX 32

static int print_json;
static int explain;

static const struct poptOption option_table[] = {
	{ "json", 'j', POPT_ARG_NONE, &print_json, 0,
	    "print one JSON object instead of a table", NULL },
	{ "explain", 'e', POPT_ARG_NONE, &explain, 0,
	    "say in the table what each number means", NULL },
	TOOL_COMMON_OPTIONS, POPT_TABLEEND
};

/* One counter or gauge: a field of struct shmcache_stats. */
struct field {
	const char *name;
	const char *text;
	size_t offset_bytes;
	int is_counter;
};

static const struct field fields[] = {
#define COUNTER(name, text)                                                    \
	{ #name, text, offsetof(struct shmcache_stats, name), 1 },
#define GAUGE(name, text)                                                      \
	{ #name, text, offsetof(struct shmcache_stats, name), 0 },
#include <shmcache_stats.def>
};

#define FIELD_COUNT (sizeof(fields) / sizeof(fields[0]))

/* A group of the table begins with the field `first`. */
static const struct {
	const char *title;
	size_t first_offset_bytes;
} groups[] = {
	{ "Gets", offsetof(struct shmcache_stats, get_hits) },
	{ "Sets and deletes", offsetof(struct shmcache_stats, sets) },
	{ "Expiry", offsetof(struct shmcache_stats, expired_on_read) },
	{ "Eviction", offsetof(struct shmcache_stats, evictions) },
	{ "Rivals", offsetof(struct shmcache_stats, insert_retries) },
	{ "Memory", offsetof(struct shmcache_stats, capacity_bytes) },
	{ "Entries", offsetof(struct shmcache_stats, items) },
	{ "Extents", offsetof(struct shmcache_stats, extents) },
	{ "Attached", offsetof(struct shmcache_stats, peers) },
	{ "Segment", offsetof(struct shmcache_stats, clock_tick_ns) },
};

#define GROUP_COUNT (sizeof(groups) / sizeof(groups[0]))

struct report {
	const char *name;
	struct shmcache_stats stats;
	struct shmcache_process_info *processes;
	size_t process_count;
	char advice[ADVICE_COUNT_MAX][ADVICE_BYTES_MAX];
	size_t advice_count;
};

static uint64_t
field_value(const struct report *report, const struct field *field)
{
	uint64_t value;

	memcpy(&value, (const char *)&report->stats + field->offset_bytes,
	    sizeof(value));
	return value;
}

static int
ends_with(const char *text, const char *end)
{
	size_t text_bytes = strlen(text);
	size_t end_bytes = strlen(end);

	return text_bytes >= end_bytes &&
	       !strcmp(text + text_bytes - end_bytes, end);
}

/* --- derived values ---------------------------------------------------- */

/* A part of a whole; nothing (-1) if there is no whole yet. */
static double
ratio(uint64_t part, uint64_t whole)
{
	return whole ? (double)part / (double)whole : -1.0;
}

static double
hit_ratio(const struct shmcache_stats *stats)
{
	return ratio(stats->get_hits, stats->get_hits + stats->get_misses);
}

static double
index_load(const struct shmcache_stats *stats)
{
	return ratio(stats->items, stats->index_slots);
}

static double
live_ratio(const struct shmcache_stats *stats)
{
	return ratio(stats->live_bytes, stats->arena_bytes);
}

static const struct {
	const char *name;
	const char *text;
	double (*compute)(const struct shmcache_stats *stats);
} derived[] = {
	{ "hit_ratio", "get_hits of all gets", hit_ratio },
	{ "index_load", "items of index_slots", index_load },
	{ "live_ratio", "live_bytes of arena_bytes", live_ratio },
};

#define DERIVED_COUNT (sizeof(derived) / sizeof(derived[0]))

static int
nearly_all(uint64_t taken, uint64_t slots)
{
	return taken >= slots - slots / 10;
}

/* --- collecting -------------------------------------------------------- */

/* Processes may attach between two calls, so ask until all of them fit. */
static int
collect_processes(struct shmcache *cache, struct report *report)
{
	size_t capacity = 64;
	size_t count = 0;
	int error;

	for (;;) {
		report->processes =
		    calloc(capacity, sizeof(*report->processes));
		if (!report->processes) {
			tool_say(report->name, "out of memory");
			return TOOL_FAILED;
		}
		error = shmcache_processes(
		    cache, report->processes, capacity, &count);
		if (error) {
			return tool_fail(report->name, error);
		}
		if (count <= capacity) {
			report->process_count = count;
			return TOOL_OK;
		}
		free(report->processes);
		capacity = count;
	}
}

static size_t
count_dead(const struct report *report)
{
	size_t count = 0;
	size_t i;

	for (i = 0; i < report->process_count; i++) {
		if (!report->processes[i].alive) {
			count++;
		}
	}
	return count;
}

static void __attribute__((format(printf, 2, 3)))
advise(struct report *report, const char *format, ...)
{
	va_list arguments;

	if (report->advice_count == ADVICE_COUNT_MAX) {
		return;
	}
	va_start(arguments, format);
	(void)vsnprintf(report->advice[report->advice_count], ADVICE_BYTES_MAX,
	    format, arguments);
	va_end(arguments);
	report->advice_count++;
}

/* What was chosen when the cache was created, and does not fit its use. */
static void
advise_on_options(struct report *report)
{
	const struct shmcache_stats *stats = &report->stats;

	if (stats->index_evictions) {
		advise(report,
		    "the index is too small: %" PRIu64 " entries were dropped "
		    "because their index window was full; create the cache "
		    "anew with expected_items of %" PRIu64 " or more",
		    stats->index_evictions, stats->items * 2);
	}
	if (stats->set_failures) {
		advise(report,
		    "%" PRIu64 " sets stored nothing: look at their results; "
		    "if it is SHMCACHE_ETOOBIG, create the cache anew with "
		    "max_entry_bytes above %" PRIu64,
		    stats->set_failures, stats->max_entry_bytes);
	}
	if (nearly_all(stats->peers, stats->peer_slots)) {
		advise(report,
		    "%" PRIu64 " of %" PRIu64 " peer slots are taken; at the "
		    "last one writes fail with SHMCACHE_EPEERS: create the "
		    "cache anew with more peer_slots",
		    stats->peers, stats->peer_slots);
	}
	if (nearly_all(stats->processes, stats->process_slots)) {
		advise(report,
		    "%" PRIu64 " of %" PRIu64 " process slots are taken; at "
		    "the last one opening fails with SHMCACHE_EPROCESSES: "
		    "create the cache anew with more process_slots",
		    stats->processes, stats->process_slots);
	}
}

/* What a janitor, or an end to somebody's standing still, would mend. */
static void
advise_on_upkeep(struct report *report)
{
	const struct shmcache_stats *stats = &report->stats;
	size_t dead = count_dead(report);

	if (dead) {
		advise(report,
		    "%zu dead %s still listed: shmcache-janitor --once frees "
		    "what they held",
		    dead, dead == 1 ? "process is" : "processes are");
	}
	if (stats->extents_evicted && !stats->extents_free) {
		advise(report,
		    "none of %" PRIu64 " extents is free, so sets evict on "
		    "their own way: run shmcache-janitor",
		    stats->extents);
	}
	if (stats->extents_pinned > stats->extents / 4) {
		advise(report,
		    "%" PRIu64 " of %" PRIu64 " extents are pinned and can't "
		    "be reused: look above for processes with many pins that "
		    "are stopped or hold items too long",
		    stats->extents_pinned, stats->extents);
	}
}

static int
collect(struct shmcache *cache, struct report *report)
{
	int error;
	int code;

	error = shmcache_stats(cache, &report->stats, sizeof(report->stats));
	if (error) {
		return tool_fail(report->name, error);
	}
	code = collect_processes(cache, report);
	if (code != TOOL_OK) {
		return code;
	}
	advise_on_options(report);
	advise_on_upkeep(report);
	return TOOL_OK;
}

/* --- the table --------------------------------------------------------- */

/* `value` with three digits and the largest unit that leaves 1 or more. */
static void
format_scaled(char *text, double value, double base, const char *const *units)
{
	/* 0.9995 of the next unit has three digits only there. */
	while (units[1] && value >= base * 0.9995) {
		value /= base;
		units++;
	}
	(void)snprintf(text, NUMBER_BYTES_MAX, "%.*f %s",
	    value >= 99.95   ? 0
	    : value >= 9.995 ? 1
			     : 2,
	    value, *units);
}

/* A number as humans say it; empty where they would name all its digits. */
static void
format_human(char *text, const char *name, uint64_t value)
{
	static const char *const counts[] = { "", "k", "M", "G", "T", "P", "E",
		NULL };
	static const char *const bytes[] = { "B", "KiB", "MiB", "GiB", "TiB",
		"PiB", "EiB", NULL };
	static const char *const times[] = { "ns", "us", "ms", "s", NULL };

	text[0] = '\0';
	if (ends_with(name, "_id")) {
		return;
	}
	if (ends_with(name, "_ns")) {
		format_scaled(text, (double)value, 1000.0, times);
	} else if (ends_with(name, "_bytes")) {
		if (value >= 1024) {
			format_scaled(text, (double)value, 1024.0, bytes);
		}
	} else if (value >= 10000) {
		format_scaled(text, (double)value, 1000.0, counts);
	}
}

static void
format_exact(char *text, const char *name, uint64_t value)
{
	(void)snprintf(text, NUMBER_BYTES_MAX,
	    ends_with(name, "_id") ? "0x%016" PRIx64 : "%" PRIu64, value);
}

static void
print_line(
    const char *name, const char *exact, const char *human, const char *text)
{
	if (explain) {
		printf("  %-16s  %18s  %-9s  %s\n", name, exact, human, text);
	} else if (*human) {
		printf("  %-16s  %18s  %s\n", name, exact, human);
	} else {
		printf("  %-16s  %18s\n", name, exact);
	}
}

static void
print_derived(const struct report *report)
{
	char exact[NUMBER_BYTES_MAX];
	char human[NUMBER_BYTES_MAX];
	double value;
	size_t i;

	printf("Ratios\n");
	for (i = 0; i < DERIVED_COUNT; i++) {
		value = derived[i].compute(&report->stats);
		if (value < 0) {
			(void)snprintf(exact, sizeof(exact), "-");
			human[0] = '\0';
		} else {
			(void)snprintf(exact, sizeof(exact), "%.6f", value);
			(void)snprintf(
			    human, sizeof(human), "%.1f %%", value * 100);
		}
		print_line(derived[i].name, exact, human, derived[i].text);
	}
}

static void
print_fields(const struct report *report)
{
	char exact[NUMBER_BYTES_MAX];
	char human[NUMBER_BYTES_MAX];
	size_t group = 0;
	uint64_t value;
	size_t i;

	for (i = 0; i < FIELD_COUNT; i++) {
		if (group < GROUP_COUNT && groups[group].first_offset_bytes ==
					       fields[i].offset_bytes) {
			printf("\n%s\n", groups[group++].title);
		}
		value = field_value(report, &fields[i]);
		format_exact(exact, fields[i].name, value);
		format_human(human, fields[i].name, value);
		print_line(fields[i].name, exact, human, fields[i].text);
	}
}

static void
print_processes(const struct report *report)
{
	const struct shmcache_process_info *process;
	size_t i;

	printf("\nProcesses\n");
	printf("  %6s  %10s  %-5s  %6s  %6s\n", "slot", "pid", "state", "peers",
	    "pins");
	for (i = 0; i < report->process_count; i++) {
		process = &report->processes[i];
		printf("  %6" PRIu32 "  %10" PRId32 "  %-5s  %6" PRIu32
		       "  %6" PRIu32 "\n",
		    process->slot, process->pid,
		    process->alive ? "alive" : "dead", process->peers,
		    process->pins);
	}
}

static void
print_table(const struct report *report)
{
	size_t i;

	printf("Cache %s\n\n", report->name);
	print_derived(report);
	print_fields(report);
	print_processes(report);
	if (report->advice_count) {
		printf("\nAdvice\n");
	}
	for (i = 0; i < report->advice_count; i++) {
		printf("  %s\n", report->advice[i]);
	}
}

/* --- JSON -------------------------------------------------------------- */

/*
 * Each json_... here returns a new value, or NULL if memory ran out.
 * Jansson's setters take their value over whatever happens, and fail when it is
 * NULL, so a failure anywhere makes the outermost value NULL.
 */

/* A name is any bytes, but JSON is UTF-8 and nothing else: null for others. */
static json_t *
json_text(const char *text)
{
	json_t *string = json_string(text);

	return string ? string : json_null();
}

/* JSON readers keep 53 bits of a number; an id has 64, so it is a string. */
static json_t *
json_number(const char *name, uint64_t value)
{
	char text[NUMBER_BYTES_MAX];

	if (ends_with(name, "_id")) {
		format_exact(text, name, value);
		return json_string(text);
	}
	return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

static json_t *
json_unless(int failed, json_t *value)
{
	if (failed) {
		json_decref(value);
		return NULL;
	}
	return value;
}

static json_t *
json_fields(const struct report *report, int counters)
{
	json_t *object = json_object();
	int failed = 0;
	size_t i;

	for (i = 0; i < FIELD_COUNT; i++) {
		if (fields[i].is_counter == counters) {
			failed |= json_object_set_new(object, fields[i].name,
			    json_number(fields[i].name,
				field_value(report, &fields[i])));
		}
	}
	return json_unless(failed, object);
}

static json_t *
json_derived(const struct report *report)
{
	json_t *object = json_object();
	int failed = 0;
	double value;
	size_t i;

	for (i = 0; i < DERIVED_COUNT; i++) {
		value = derived[i].compute(&report->stats);
		failed |= json_object_set_new(object, derived[i].name,
		    value < 0 ? json_null() : json_real(value));
	}
	return json_unless(failed, object);
}

static json_t *
json_processes(const struct report *report)
{
	const struct shmcache_process_info *process;
	json_t *array = json_array();
	int failed = 0;
	size_t i;

	for (i = 0; i < report->process_count; i++) {
		process = &report->processes[i];
		failed |= json_array_append_new(
		    array, json_pack("{s:I, s:i, s:b, s:I, s:I}", "slot",
			       (json_int_t)process->slot, "pid",
			       (int)process->pid, "alive", (int)process->alive,
			       "peers", (json_int_t)process->peers, "pins",
			       (json_int_t)process->pins));
	}
	return json_unless(failed, array);
}

static json_t *
json_advice(const struct report *report)
{
	json_t *array = json_array();
	int failed = 0;
	size_t i;

	for (i = 0; i < report->advice_count; i++) {
		failed |=
		    json_array_append_new(array, json_text(report->advice[i]));
	}
	return json_unless(failed, array);
}

static json_t *
json_report(const struct report *report)
{
	json_t *object = json_object();
	int failed = 0;

	failed |= json_object_set_new(object, "name", json_text(report->name));
	failed |= json_object_set_new(
	    object, "version", json_string(shmcache_version()));
	failed |=
	    json_object_set_new(object, "counters", json_fields(report, 1));
	failed |= json_object_set_new(object, "gauges", json_fields(report, 0));
	failed |= json_object_set_new(object, "derived", json_derived(report));
	failed |=
	    json_object_set_new(object, "processes", json_processes(report));
	failed |= json_object_set_new(object, "advice", json_advice(report));
	return json_unless(failed, object);
}

/* A write that fails is left to tool_finish(), which looks at stdout. */
static int
print_as_json(const struct report *report)
{
	json_t *object = json_report(report);

	if (!object) {
		tool_say(report->name, "out of memory");
		return TOOL_FAILED;
	}
	json_dumpf(object, stdout,
	    JSON_INDENT(2) | JSON_REAL_PRECISION(6) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(object);
	return TOOL_OK;
}

int
main(int argc, char **argv)
{
	static struct report report;
	struct shmcache *cache;
	int code;

	tool_start("shmcache-stat");
	code = tool_parse(argc, argv, option_table, &report.name);
	if (code != TOOL_GO_ON) {
		return tool_finish(code);
	}
	code = tool_attach(report.name, &cache);
	if (code == TOOL_OK) {
		code = collect(cache, &report);
	}
	shmcache_close(cache);
	if (code == TOOL_OK) {
		if (print_json) {
			code = print_as_json(&report);
		} else {
			print_table(&report);
		}
	}
	free(report.processes);
	return tool_finish(code);
}
