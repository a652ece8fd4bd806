/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* field.c - the numbers of a report, by name */
#include "tools/stat/field.h"

#include "tools/common.h"
#include "tools/stat/latency.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <shmcache_admin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- computed ones ----------------------------------------------------- */

static struct value
count_value(uint64_t count)
{
	return (struct value){ VALUE_COUNT, count, (double)count };
}

/* A part of a whole; nothing if there is no whole yet. */
static struct value
ratio(uint64_t part, uint64_t whole)
{
	if (!whole) {
		return (struct value){ VALUE_NONE, 0, 0 };
	}
	return (struct value){ VALUE_REAL, 0, (double)part / (double)whole };
}

static struct value
hit_ratio(const struct report *report)
{
	return ratio(report->stats.get_hits,
	    report->stats.get_hits + report->stats.get_misses);
}

static struct value
index_load(const struct report *report)
{
	return ratio(report->stats.items, report->stats.index_slots);
}

static struct value
live_ratio(const struct report *report)
{
	return ratio(report->stats.live_bytes, report->stats.arena_bytes);
}

static struct value
gets(const struct report *report)
{
	return count_value(report->stats.get_hits + report->stats.get_misses);
}

static struct value
expired(const struct report *report)
{
	return count_value(report->stats.expired_on_read +
			   report->stats.expired_swept +
			   report->stats.evicted_expired);
}

static struct value
processes_dead(const struct report *report)
{
	uint64_t count = 0;
	size_t i;

	for (i = 0; i < report->process_count; i++) {
		count += !report->processes[i].alive;
	}
	return count_value(count);
}

static struct value
peers_dead(const struct report *report)
{
	uint64_t count = 0;
	size_t i;

	for (i = 0; i < report->peer_count; i++) {
		count += !report->peers[i].alive;
	}
	return count_value(count);
}

/* Of threads that hold pins, the longest time since they were seen calling. */
static struct value
pin_idle_ms(const struct report *report)
{
	struct value longest = { VALUE_NONE, 0, 0 };
	size_t i;

	for (i = 0; i < report->peer_count; i++) {
		const struct shmcache_peer_info *peer = &report->peers[i];

		if (peer->pins && peer->idle_ms >= 0 &&
		    (uint64_t)peer->idle_ms >= longest.count) {
			longest = count_value((uint64_t)peer->idle_ms);
		}
	}
	return longest;
}

static struct value
free_bytes(const struct report *report)
{
	const struct shmcache_stats *stats = &report->stats;
	uint64_t used = stats->live_bytes + stats->dead_bytes;

	return count_value(
	    stats->arena_bytes > used ? stats->arena_bytes - used : 0);
}

static struct value
quantile(
    const struct report *report, enum shmcache_latency_kind kind, double share)
{
	uint64_t ns = latency_quantile_ns(&report->latency[kind], share);

	return ns ? count_value(ns) : (struct value){ VALUE_NONE, 0, 0 };
}

#define DEFINE_QUANTILE(name, kind, share)                                     \
	static struct value name(const struct report *report)                  \
	{                                                                      \
		return quantile(report, SHMCACHE_LATENCY_##kind, share);       \
	}

DEFINE_QUANTILE(get_p50_ns, GET, 0.5)
DEFINE_QUANTILE(get_p99_ns, GET, 0.99)
DEFINE_QUANTILE(get_p999_ns, GET, 0.999)
DEFINE_QUANTILE(set_p50_ns, SET, 0.5)
DEFINE_QUANTILE(set_p99_ns, SET, 0.99)
DEFINE_QUANTILE(set_p999_ns, SET, 0.999)

static struct value
janitor_alive(const struct report *report)
{
	return count_value(report_is_swept(report));
}

static struct value
huge_page_ratio(const struct report *report)
{
	return ratio(report->pages.huge_bytes, report->pages.resident_bytes);
}

static struct value
advices(const struct report *report)
{
	return count_value(report->advice_count);
}

/* --- the list ---------------------------------------------------------- */

static const struct field fields[] = {
#define DERIVED(name, grows, text)                                             \
	{                                                                      \
#name, text, FIELD_DERIVED, grows, 0, name                     \
	}
	DERIVED(hit_ratio, 0, "get_hits of all gets"),
	DERIVED(index_load, 0, "items of index_slots"),
	DERIVED(live_ratio, 0, "live_bytes of arena_bytes"),
	DERIVED(gets, 1, "get_hits and get_misses"),
	DERIVED(expired, 1, "expired entries dropped, by whomever"),
#define COUNTER(name, text)                                                    \
	{ #name, text, FIELD_COUNTER, 1,                                       \
		offsetof(struct shmcache_stats, name), NULL },
#define GAUGE(name, text)                                                      \
	{ #name, text, FIELD_GAUGE, 0, offsetof(struct shmcache_stats, name),  \
		NULL },
#include <shmcache_stats.def>
	DERIVED(free_bytes, 0, "room for entries that nothing was written to"),
	DERIVED(get_p50_ns, 0, "time that half of the sampled gets stay below"),
	DERIVED(get_p99_ns, 0, "the same of 99 % of the gets"),
	DERIVED(get_p999_ns, 0, "the same of 99.9 % of the gets"),
	DERIVED(set_p50_ns, 0, "the same of half of the calls that store"),
	DERIVED(set_p99_ns, 0, "the same of 99 % of them"),
	DERIVED(set_p999_ns, 0, "the same of 99.9 % of them"),
	DERIVED(processes_dead, 0, "processes that ended without detaching"),
	DERIVED(peers_dead, 0, "threads that ended without detaching"),
	DERIVED(pin_idle_ms, 0, "longest time that a thread with pins is idle"),
	DERIVED(
	    janitor_alive, 0, "1 if the cache was swept in the last minute"),
	DERIVED(huge_page_ratio, 0, "huge pages, of the memory looked at"),
	DERIVED(advices, 0, "lines of advice there are"),
};

#define FIELD_COUNT (sizeof(fields) / sizeof(fields[0]))

/* A group of the table begins with the field `first`. */
static const struct {
	const char *first;
	const char *title;
} groups[] = {
	{ "hit_ratio", "Summary" },
	{ "get_hits", "Gets" },
	{ "sets", "Sets and deletes" },
	{ "expired_on_read", "Expiry" },
	{ "evictions", "Eviction" },
	{ "insert_retries", "Rivals" },
	{ "add_hits", "Conditional writes" },
	{ "invalidations", "Invalidation and filter" },
	{ "capacity_bytes", "Memory" },
	{ "items", "Entries" },
	{ "extents", "Extents" },
	{ "peers", "Attached" },
	{ "clock_tick_ns", "Segment" },
	{ "load_leaders", "Loads and locks" },
	{ "max_items", "Options and upkeep" },
	{ "free_bytes", "Latency and state" },
};

/* A field as it is in the statistics. */
static struct value
stored_value(const struct report *report, const struct field *field)
{
	struct value value = { VALUE_COUNT, 0, 0 };

	memcpy(&value.count, (const char *)&report->stats + field->offset_bytes,
	    sizeof(value.count));
	value.real = (double)value.count;
	if (field_has_unit(field, "_id")) {
		value.kind = VALUE_ID;
	} else if (field->kind == FIELD_GAUGE && value.count == UINT64_MAX) {
		value.kind = VALUE_NONE;
	}
	return value;
}

struct value
field_value(const struct report *report, const struct field *field)
{
	struct value value = field->kind == FIELD_DERIVED
				 ? field->compute(report)
				 : stored_value(report, field);

	if (field->grows && report->seconds > 0) {
		value.kind = VALUE_REAL;
		value.real /= report->seconds;
	}
	return value;
}

const struct field *
field_find(const char *name, size_t name_bytes)
{
	size_t i;

	for (i = 0; i < FIELD_COUNT; i++) {
		if (strlen(fields[i].name) == name_bytes &&
		    !memcmp(fields[i].name, name, name_bytes)) {
			return &fields[i];
		}
	}
	return NULL;
}

const char *
field_group(const struct field *field)
{
	size_t i;

	for (i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		if (!strcmp(groups[i].first, field->name)) {
			return groups[i].title;
		}
	}
	return NULL;
}

int
field_has_unit(const struct field *field, const char *unit)
{
	size_t name_bytes = strlen(field->name);
	size_t unit_bytes = strlen(unit);

	return name_bytes >= unit_bytes &&
	       !strcmp(field->name + name_bytes - unit_bytes, unit);
}

/* --- selecting --------------------------------------------------------- */

static int
is_selected(const struct selection *selection, const struct field *field)
{
	size_t i;

	for (i = 0; i < selection->count; i++) {
		if (selection->fields[i] == field) {
			return 1;
		}
	}
	return 0;
}

/* Adds what matches and is not there yet; returns how many matched. */
static size_t
select_matching(struct selection *selection, const char *glob)
{
	size_t matches = 0;
	size_t i;

	for (i = 0; i < FIELD_COUNT; i++) {
		if (fnmatch(glob, fields[i].name, 0)) {
			continue;
		}
		matches++;
		if (!is_selected(selection, &fields[i])) {
			selection->fields[selection->count++] = &fields[i];
		}
	}
	return matches;
}

int
field_select(struct selection *selection, const char *list)
{
	char *copy = strdup(list ? list : "*");
	char *rest = copy;
	int code = TOOL_GO_ON;
	char *glob;

	memset(selection, 0, sizeof(*selection));
	selection->fields =
	    (const struct field **)calloc(FIELD_COUNT, sizeof(void *));
	selection->is_all = !list;
	if (!copy || !selection->fields) {
		code = tool_usage("out of memory");
	}
	while (code == TOOL_GO_ON && (glob = strsep(&rest, ","))) {
		if (!select_matching(selection, glob)) {
			code = tool_usage("there is no field '%s': "
					  "--list-fields names them all",
			    glob);
		}
	}
	free(copy);
	return code;
}

void
field_select_free(struct selection *selection)
{
	free((void *)selection->fields);
	selection->fields = NULL;
}

/* --- as text ----------------------------------------------------------- */

void
field_format_exact(char *text, const struct value *value)
{
	switch (value->kind) {
	case VALUE_NONE:
		text[0] = '\0';
		break;
	case VALUE_COUNT:
		(void)snprintf(
		    text, NUMBER_BYTES_MAX, "%" PRIu64, value->count);
		break;
	case VALUE_REAL:
		(void)snprintf(text, NUMBER_BYTES_MAX,
		    value->real <= 1 ? "%.6f" : "%.1f", value->real);
		break;
	case VALUE_ID:
		(void)snprintf(
		    text, NUMBER_BYTES_MAX, "0x%016" PRIx64, value->count);
		break;
	}
}

/* `value` with three digits and the largest unit that leaves 1 or more. */
static void
format_scaled(char *text, double value, double base, const char *const *units)
{
	/* 0.9995 of the next unit has three digits only there. */
	while (units[1] && value >= base * 0.9995) {
		value /= base;
		units++;
	}
	(void)snprintf(text, NUMBER_BYTES_MAX, "%.*f%s%s",
	    value >= 99.95 || (value == (double)(int)value && !**units) ? 0
	    : value >= 9.995                                            ? 1
									: 2,
	    value, **units ? " " : "", *units);
}

void
field_format_bytes(char *text, uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB",
		"PiB", "EiB", NULL };

	format_scaled(text, (double)bytes, 1024.0, units);
}

void
field_format_human(
    char *text, const struct field *field, const struct value *value)
{
	static const char *const counts[] = { "", "k", "M", "G", "T", "P", "E",
		NULL };
	static const char *const times[] = { "ns", "us", "ms", "s", NULL };

	if (value->kind == VALUE_NONE) {
		(void)snprintf(text, NUMBER_BYTES_MAX, "-");
	} else if (value->kind == VALUE_ID) {
		field_format_exact(text, value);
	} else if (!strcmp(field->name, "policy")) {
		(void)snprintf(text, NUMBER_BYTES_MAX, "%s",
		    shmcache_policy_name(value->count));
	} else if (field_has_unit(field, "_ratio") ||
		   field_has_unit(field, "_load")) {
		(void)snprintf(
		    text, NUMBER_BYTES_MAX, "%.1f %%", value->real * 100);
	} else if (field_has_unit(field, "_ns")) {
		format_scaled(text, value->real, 1000.0, times);
	} else if (field_has_unit(field, "_us")) {
		format_scaled(text, value->real * 1e3, 1000.0, times);
	} else if (field_has_unit(field, "_ms")) {
		format_scaled(text, value->real * 1e6, 1000.0, times);
	} else if (field_has_unit(field, "_bytes")) {
		field_format_bytes(text, (uint64_t)value->real);
	} else {
		format_scaled(text, value->real, 1000.0, counts);
	}
}
