/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * field.h - the numbers of a report, by name
 *
 * shmcache_stats.def is the one list of counters and gauges, and most fields
 * are made from it; the rest is computed from a report.  Whatever shows, lists,
 * selects or checks numbers goes through these.  A number's unit is the end of
 * its name: _bytes, _ns, _us, _ms, _ratio, _id.
 */
#ifndef TOOLS_STAT_FIELD_H
#define TOOLS_STAT_FIELD_H

#include "tools/stat/report.h"

#define NUMBER_BYTES_MAX 32

struct value {
	enum value_kind {
		VALUE_NONE, /* there is none, or none yet */
		VALUE_COUNT,
		VALUE_REAL,
		VALUE_ID /* a count whose digits are a name */
	} kind;
	uint64_t count;
	double real; /* of a count too */
};

struct field {
	const char *name;
	const char *text;
	enum field_kind { FIELD_COUNTER, FIELD_GAUGE, FIELD_DERIVED } kind;
	int grows;           /* by itself, so that its rate is of interest */
	size_t offset_bytes; /* in struct shmcache_stats, unless derived */
	struct value (*compute)(const struct report *report);
};

/* Fields to show, in this order. */
struct selection {
	const struct field **fields;
	size_t count;
	int is_all; /* nothing was left out */
};

/* Of a field that grows, the rate per second if the report has `seconds`. */
struct value field_value(
    const struct report *report, const struct field *field);

const struct field *field_find(const char *name, size_t name_bytes);

/*
 * Select by a list of names or globs with commas between, NULL for all.
 * Returns TOOL_GO_ON, or TOOL_USAGE, having said what is wrong.
 */
int field_select(struct selection *selection, const char *list);

void field_select_free(struct selection *selection);

/* The heading of the group that this field is the first of, or NULL. */
const char *field_group(const struct field *field);

/* Does the end of its name say that this is its unit? */
int field_has_unit(const struct field *field, const char *unit);

/* All digits; empty if there is no value. */
void field_format_exact(char *text, const struct value *value);

/* As people say it: "12.3 MiB", "75.0 %"; "-" if there is no value. */
void field_format_human(
    char *text, const struct field *field, const struct value *value);

void field_format_bytes(char *text, uint64_t bytes);

#endif /* TOOLS_STAT_FIELD_H */
