/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * show_json.c - reports, and the list of caches, for programs
 *
 * Each json_... here returns a new value, or NULL if memory ran out.
 * Jansson's setters take their value over whatever happens, and fail when it is
 * NULL, so a failure anywhere makes the outermost value NULL.
 */
#include "tools/common.h"
#include "tools/stat/show.h"

#include <jansson.h>
#include <shmcache_admin.h>
#include <stdio.h>
#include <string.h>

/* A name is any bytes, but JSON is UTF-8 and nothing else: null for others. */
static json_t *
json_text(const char *text)
{
	json_t *string = text ? json_string(text) : NULL;

	return string ? string : json_null();
}

/* JSON readers keep 53 bits of a number; an id has 64, so it is a string. */
static json_t *
json_value(const struct report *report, const struct field *field)
{
	struct value value = field_value(report, field);
	char text[NUMBER_BYTES_MAX];

	switch (value.kind) {
	case VALUE_COUNT:
		return json_integer(value.count > INT64_MAX
					? INT64_MAX
					: (json_int_t)value.count);
	case VALUE_REAL:
		return json_real(value.real);
	case VALUE_ID:
		field_format_exact(text, &value);
		return json_string(text);
	case VALUE_NONE:
		break;
	}
	return json_null();
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
json_fields(const struct report *report, const struct selection *selection,
    enum field_kind kind)
{
	json_t *object = json_object();
	int failed = 0;
	size_t i;

	for (i = 0; i < selection->count; i++) {
		const struct field *field = selection->fields[i];

		if (field->kind == kind) {
			failed |= json_object_set_new(
			    object, field->name, json_value(report, field));
		}
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
json_peer(const struct shmcache_peer_info *peer)
{
	const size_t pin_count =
	    sizeof(peer->pinned_extents) / sizeof(peer->pinned_extents[0]);
	json_t *pins = json_array();
	int failed = 0;
	size_t i;

	for (i = 0; i < pin_count; i++) {
		if (peer->pinned_extents[i] != UINT32_MAX) {
			failed |= json_array_append_new(pins,
			    json_integer((json_int_t)peer->pinned_extents[i]));
		}
	}
	return json_pack("{s:I, s:I, s:i, s:b, s:b, s:o, s:I, s:o}", "slot",
	    (json_int_t)peer->slot, "process_slot",
	    (json_int_t)peer->process_slot, "pid", (int)peer->pid, "alive",
	    (int)peer->alive, "orphaned", (int)peer->orphaned, "idle_ms",
	    peer->idle_ms < 0 ? json_null() : json_integer(peer->idle_ms),
	    "operations", (json_int_t)peer->operations, "pinned_extents",
	    json_unless(failed, pins));
}

static json_t *
json_peers(const struct report *report)
{
	json_t *array = json_array();
	int failed = 0;
	size_t i;

	for (i = 0; i < report->peer_count; i++) {
		failed |=
		    json_array_append_new(array, json_peer(&report->peers[i]));
	}
	return json_unless(failed, array);
}

static json_t *
json_extents(const struct report *report)
{
	json_t *array = json_array();
	int failed = 0;
	size_t i;

	for (i = 0; i < report->extent_count; i++) {
		const struct shmcache_extent_info *extent = &report->extents[i];

		failed |= json_array_append_new(array,
		    json_pack("{s:s, s:I, s:I, s:I, s:I, s:o}", "state",
			report_extent_state(extent->state), "log",
			(json_int_t)extent->log, "used_bytes",
			(json_int_t)extent->used_bytes, "live_bytes",
			(json_int_t)extent->live_bytes, "pins",
			(json_int_t)extent->pins, "age_ms",
			extent->age_ms < 0 ? json_null()
					   : json_integer(extent->age_ms)));
	}
	return json_unless(failed, array);
}

/* Buckets with the bound that the next one begins behind. */
static json_t *
json_latency(const struct shmcache_latency *latency)
{
	json_t *array = json_array();
	int failed = 0;
	unsigned i;

	for (i = 0; i < SHMCACHE_LATENCY_BUCKETS; i++) {
		uint64_t bound_ns = shmcache_latency_bound_ns(i);

		if (!latency->count[i]) {
			continue;
		}
		failed |= json_array_append_new(
		    array, json_pack("{s:o, s:I}", "below_ns",
			       bound_ns > INT64_MAX
				   ? json_null()
				   : json_integer((json_int_t)bound_ns),
			       "count", (json_int_t)latency->count[i]));
	}
	return json_unless(failed, array);
}

static json_t *
json_histogram(const struct census *census, enum census_kind kind)
{
	json_t *array = json_array();
	int failed = 0;
	unsigned i;

	for (i = 0; census_label(kind, i); i++) {
		const struct census_bucket *bucket = &census->buckets[kind][i];

		failed |= json_array_append_new(array,
		    json_pack("{s:s, s:I, s:I}", "label", census_label(kind, i),
			"entries", (json_int_t)bucket->entries, "bytes",
			(json_int_t)bucket->bytes));
	}
	return json_unless(failed, array);
}

static json_t *
json_census(const struct census *census)
{
	json_t *object = json_pack("{s:b, s:I, s:I}", "complete",
	    census->is_complete, "entries", (json_int_t)census->entries,
	    "bytes", (json_int_t)census->bytes);
	int failed = 0;
	int kind;

	for (kind = 0; kind < CENSUS_KINDS; kind++) {
		failed |= json_object_set_new(object,
		    census_name((enum census_kind)kind),
		    json_histogram(census, (enum census_kind)kind));
	}
	return json_unless(failed, object);
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

/* What is no field. */
static int
add_details(json_t *object, const struct report *report)
{
	int failed = 0;

	failed |=
	    json_object_set_new(object, "processes", json_processes(report));
	failed |= json_object_set_new(object, "peers", json_peers(report));
	failed |= json_object_set_new(object, "extents", json_extents(report));
	failed |= json_object_set_new(object, "latency",
	    json_pack("{s:o, s:o}", "get",
		json_latency(&report->latency[SHMCACHE_LATENCY_GET]), "set",
		json_latency(&report->latency[SHMCACHE_LATENCY_SET])));
	failed |= json_object_set_new(
	    object, "entries", json_census(&report->census));
	failed |= json_object_set_new(object, "advice", json_advice(report));
	return failed;
}

static json_t *
json_report(const struct report *report, const struct selection *selection)
{
	json_t *object = json_object();
	char time[TIME_BYTES_MAX];
	int failed = 0;

	report_format_time(time, report);
	failed |= json_object_set_new(object, "name", json_text(report->name));
	failed |= json_object_set_new(
	    object, "version", json_string(shmcache_version()));
	failed |= json_object_set_new(object, "time", json_string(time));
	failed |= json_object_set_new(object, "policy",
	    json_string(shmcache_policy_name(report->stats.policy)));
	if (report->seconds > 0) {
		failed |= json_object_set_new(
		    object, "seconds", json_real(report->seconds));
	}
	failed |= json_object_set_new(object,
	    report->seconds > 0 ? "rates" : "counters",
	    json_fields(report, selection, FIELD_COUNTER));
	failed |= json_object_set_new(
	    object, "gauges", json_fields(report, selection, FIELD_GAUGE));
	failed |= json_object_set_new(
	    object, "derived", json_fields(report, selection, FIELD_DERIVED));
	if (selection->is_all && report->seconds <= 0) {
		failed |= add_details(object, report);
	}
	return json_unless(failed, object);
}

static int
put_json(const char *name, json_t *object, int compact)
{
	if (!object) {
		tool_say(name, "out of memory");
		return TOOL_FAILED;
	}
	json_dumpf(object, stdout,
	    (compact ? JSON_COMPACT : JSON_INDENT(2)) | JSON_REAL_PRECISION(9) |
		JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(object);
	return TOOL_OK;
}

int
show_json(
    const struct report *report, const struct selection *selection, int compact)
{
	return put_json(report->name, json_report(report, selection), compact);
}

/* --- the caches of the host --------------------------------------------- */

static json_t *
json_listed(const struct listed *cache)
{
	static const char *const names[] = { "items", "hit_ratio" };
	json_t *object = json_pack("{s:o, s:I, s:I, s:s, s:s, s:o}", "name",
	    json_text(cache->name), "bytes", (json_int_t)cache->file_bytes,
	    "uid", (json_int_t)cache->uid, "owner", cache->owner, "state",
	    cache->state, "why", json_text(cache->why));
	int failed = 0;
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct field *field =
		    field_find(names[i], strlen(names[i]));

		failed |= json_object_set_new(object, names[i],
		    cache->why ? json_null()
			       : json_value(&cache->report, field));
	}
	return json_unless(failed, object);
}

int
show_list_json(const struct listing *listing)
{
	json_t *array = json_array();
	json_t *object = json_object();
	int failed = 0;
	size_t i;

	for (i = 0; i < listing->count; i++) {
		failed |= json_array_append_new(
		    array, json_listed(&listing->caches[i]));
	}
	failed |= json_object_set_new(
	    object, "version", json_string(shmcache_version()));
	failed |=
	    json_object_set_new(object, "caches", json_unless(failed, array));
	return put_json("the list", json_unless(failed, object), 0);
}
