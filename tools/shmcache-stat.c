/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shmcache-stat.c - what goes on in the caches of this host
 *
 * A report is collected first (tools/stat/report.h), and shown after, in one of
 * several forms (show.h); numbers go by their names (field.h).  Here is the
 * command line, and which of these things is done.
 *
 * A cache is looked at from beside it: nothing of it is written, and nobody
 * who uses it waits.  Only --record asks its users for something.
 */
#include "tools/common.h"
#include "tools/stat/check.h"
#include "tools/stat/live.h"
#include "tools/stat/output.h"
#include "tools/stat/record.h"
#include "tools/stat/show.h"
#include "tools/stat/top.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INTERVAL_S_MIN 0.1
#define INTERVAL_S_MAX 86400.0

enum format { FORMAT_TABLE, FORMAT_JSON, FORMAT_CSV, FORMAT_PROMETHEUS };

static const char *const format_names[] = { "table", "json", "csv", "prom" };

static char *format_name;
static int as_json;
static int as_csv;
static int explain;
static int list_fields;
static char *field_list;
static double interval_s;
static int row_count;
static const char **conditions;
static char *output_path;
static double census_s = 1.0;
static int top_option;
static char *record_path;
static double record_s;
static double record_share;

static const struct poptOption option_table[] = {
	{ "format", 'f', POPT_ARG_STRING, &format_name, 0,
	    "table, json, csv, or prom (the text format of Prometheus)",
	    "FORMAT" },
	{ "json", 'j', POPT_ARG_NONE, &as_json, 0, "the same as --format=json",
	    NULL },
	{ "csv", '\0', POPT_ARG_NONE, &as_csv, 0, "the same as --format=csv",
	    NULL },
	{ "fields", 'F', POPT_ARG_STRING, &field_list, 0,
	    "show these only; names or globs, with commas between", "FIELDS" },
	{ "list-fields", 'l', POPT_ARG_NONE, &list_fields, 0,
	    "print the names of all fields and what they mean", NULL },
	{ "explain", 'e', POPT_ARG_NONE, &explain, 0,
	    "say in the table what each number means", NULL },
	{ "interval", 'i', POPT_ARG_DOUBLE, &interval_s, 0,
	    "a row every so often, of what happened since the last",
	    "SECONDS" },
	{ "count", 'n', POPT_ARG_INT, &row_count, 0,
	    "with --interval: end after so many rows", "ROWS" },
	{ "check", 'c', POPT_ARG_ARGV, &conditions, 0,
	    "exit with 1 if this holds, as in 'hit_ratio<0.8'; may be repeated",
	    "CONDITION" },
	{ "output", 'o', POPT_ARG_STRING, &output_path, 0,
	    "write into this file, which appears whole", "FILE" },
	{ "top", 't', POPT_ARG_NONE, &top_option, 0,
	    "the whole screen, until q is pressed: as `top NAME`", NULL },
	{ "scan-time", 's', POPT_ARG_DOUBLE | POPT_ARGFLAG_SHOW_DEFAULT,
	    &census_s, 0,
	    "longest time to look at entries, for the histograms; 0: don't",
	    "SECONDS" },
	{ "record", 'r', POPT_ARG_STRING, &record_path, 0,
	    "write the requests for a sample of the keys into this file, for "
	    "shmcache-replay; - is standard output",
	    "FILE" },
	{ "duration", 'd', POPT_ARG_DOUBLE, &record_s, 0,
	    "with --record: end after so long; when interrupted unless given",
	    "SECONDS" },
	{ "sample", '\0', POPT_ARG_DOUBLE, &record_share, 0,
	    "with --record: the share of the keys, 1 at the most; about 20,000 "
	    "keys unless given",
	    "SHARE" },
	TOOL_COMMON_OPTIONS, POPT_TABLEEND
};

/* What the command line asks for. */
struct task {
	const char *name; /* NULL: all caches */
	int is_top;
	enum format format;
	struct selection selection;
};

/* --- the command line ----------------------------------------------------- */

static int
choose_format(struct task *task)
{
	size_t count = sizeof(format_names) / sizeof(format_names[0]);
	size_t i;

	if (!!format_name + as_json + as_csv > 1) {
		return tool_usage("one format only, please");
	}
	task->format = as_json  ? FORMAT_JSON
		       : as_csv ? FORMAT_CSV
				: FORMAT_TABLE;
	for (i = 0; format_name && i < count; i++) {
		if (!strcmp(format_name, format_names[i])) {
			task->format = (enum format)i;
			return TOOL_GO_ON;
		}
	}
	return format_name ? tool_usage("--format must be table, json, csv or "
					"prom, not '%s'",
				 format_name)
			   : TOOL_GO_ON;
}

static int
check_interval(const struct task *task)
{
	if (row_count && interval_s == 0) {
		return tool_usage("--count needs --interval");
	}
	if (row_count < 0) {
		return tool_usage("--count must not be negative");
	}
	/* Written so that "nan", too, is out of range. */
	if (interval_s != 0 &&
	    !(interval_s >= INTERVAL_S_MIN && interval_s <= INTERVAL_S_MAX)) {
		return tool_usage("--interval must be from %g to %g seconds, "
				  "not %g",
		    INTERVAL_S_MIN, INTERVAL_S_MAX, interval_s);
	}
	if (interval_s != 0 && !task->name) {
		return tool_usage("--interval needs the NAME of a cache");
	}
	if (interval_s != 0 && task->format == FORMAT_PROMETHEUS) {
		return tool_usage("Prometheus computes rates itself: give "
				  "--format=prom without --interval");
	}
	return TOOL_GO_ON;
}

static int
check_contradictions(const struct task *task)
{
	if (conditions && !task->name) {
		return tool_usage("--check needs the NAME of a cache");
	}
	if (conditions && (task->format != FORMAT_TABLE || row_count)) {
		return tool_usage("--check prints lines of its own: give it "
				  "without a format or --count");
	}
	if (output_path && (conditions || interval_s != 0)) {
		return tool_usage("--output goes with neither --check nor "
				  "--interval");
	}
	if (!(census_s >= 0 && census_s <= INTERVAL_S_MAX)) {
		return tool_usage("--scan-time must be from 0 to %g seconds, "
				  "not %g",
		    INTERVAL_S_MAX, census_s);
	}
	if (field_list && !task->name && task->format != FORMAT_PROMETHEUS) {
		return tool_usage("--fields needs the NAME of a cache, or "
				  "--format=prom");
	}
	return TOOL_GO_ON;
}

static int
check_top(const struct task *task)
{
	if (!task->is_top) {
		return TOOL_GO_ON;
	}
	if (!task->name) {
		return tool_usage("top needs the NAME of a cache");
	}
	if (conditions || output_path || field_list || row_count || explain ||
	    format_name || as_json || as_csv) {
		return tool_usage("top goes with --interval only");
	}
	return TOOL_GO_ON;
}

static int
check_record(const struct task *task)
{
	if (!record_path) {
		return record_s != 0 || record_share != 0
			   ? tool_usage("--duration and --sample go with "
					"--record")
			   : TOOL_GO_ON;
	}
	if (!task->name) {
		return tool_usage("--record needs the NAME of a cache");
	}
	if (task->is_top || conditions || output_path || field_list ||
	    explain || interval_s != 0 || format_name || as_json || as_csv) {
		return tool_usage(
		    "--record goes with --duration and --sample only");
	}
	if (!(record_s >= 0 && record_s <= INTERVAL_S_MAX * 365)) {
		return tool_usage("--duration must not be %g", record_s);
	}
	if (!(record_share >= 0 && record_share <= 1)) {
		return tool_usage("--sample must be above 0, and 1 at the "
				  "most, not %g",
		    record_share);
	}
	return TOOL_GO_ON;
}

static int
understand(struct task *task, const char *const *names)
{
	const char *fields = field_list;
	int code;

	task->is_top = top_option;
	if (names[0] && names[1] && !strcmp(names[0], "top")) {
		task->is_top = 1;
		names++;
	}
	task->name = names[0];
	if (names[0] && names[1]) {
		return tool_usage(
		    "one NAME only, please: '%s' is too much", names[1]);
	}
	code = choose_format(task);
	if (code == TOOL_GO_ON) {
		code = check_interval(task);
	}
	if (code == TOOL_GO_ON) {
		code = check_contradictions(task);
	}
	if (code == TOOL_GO_ON) {
		code = check_top(task);
	}
	if (code == TOOL_GO_ON) {
		code = check_record(task);
	}
	if (code == TOOL_GO_ON && conditions) {
		code = check_syntax(conditions);
	}
	if (!fields && interval_s != 0 && task->format == FORMAT_TABLE) {
		fields = LIVE_FIELDS;
	}
	return code == TOOL_GO_ON ? field_select(&task->selection, fields)
				  : code;
}

/* --- doing it --------------------------------------------------------- */

static int
show_field_list(void)
{
	static const char *const kinds[] = { "counter", "gauge", "derived" };
	struct selection selection;
	int code = field_select(&selection, field_list);
	size_t i;

	for (i = 0; code == TOOL_GO_ON && i < selection.count; i++) {
		printf("%-18s  %-7s  %s\n", selection.fields[i]->name,
		    kinds[selection.fields[i]->kind],
		    selection.fields[i]->text);
	}
	field_select_free(&selection);
	return code == TOOL_GO_ON ? TOOL_OK : code;
}

static int
show_report(const struct task *task, struct report *report)
{
	struct listed listed = { .name = NULL };
	struct listing one = { &listed, 1 };

	switch (task->format) {
	case FORMAT_JSON:
		return show_json(report, &task->selection, 0);
	case FORMAT_CSV:
		show_csv_heading(&task->selection);
		show_csv_row(report, &task->selection);
		break;
	case FORMAT_PROMETHEUS:
		listed.name = report->name;
		listed.report = *report;
		show_prometheus(&one, &task->selection);
		break;
	case FORMAT_TABLE:
		show_table(report, &task->selection, explain);
		break;
	}
	return TOOL_OK;
}

/* Only what is shown whole has room for them. */
static int
has_details(const struct task *task)
{
	return !conditions && task->selection.is_all &&
	       (task->format == FORMAT_TABLE || task->format == FORMAT_JSON);
}

/* One report: shown, or checked. */
static int
report_once(const struct task *task, struct shmcache *cache)
{
	struct report report = { 0 };
	int error;
	int code;

	if (conditions && interval_s != 0) {
		error = live_measure(cache, task->name, interval_s, &report);
	} else {
		error = report_collect(cache, task->name, &report);
		if (!error && has_details(task)) {
			error =
			    report_collect_details(cache, census_s, &report);
		}
	}
	if (error) {
		code = tool_fail(task->name, error);
	} else if (conditions) {
		code = check_report(&report, conditions);
	} else {
		code = show_report(task, &report);
	}
	report_free(&report);
	return code;
}

/* The one thing that this tool does with a cache that it may write. */
static int
record_one(const struct task *task)
{
	struct shmcache *cache;
	int code = tool_attach(task->name, &cache);

	if (code == TOOL_OK) {
		code = record_run(
		    cache, task->name, record_path, record_share, record_s);
	}
	(void)shmcache_close(cache);
	return code;
}

static int
show_one(const struct task *task)
{
	struct live live = { .name = task->name,
		.interval_s = interval_s,
		.rows = row_count,
		.form = task->format == FORMAT_JSON  ? LIVE_JSON
			: task->format == FORMAT_CSV ? LIVE_CSV
						     : LIVE_TABLE,
		.selection = &task->selection };
	int error = report_open(task->name, &live.cache);
	int code = error ? tool_fail(task->name, error) : TOOL_OK;

	if (code == TOOL_OK && task->is_top) {
		code = top_run(&live.cache, task->name,
		    interval_s != 0 ? interval_s : 1.0);
	} else if (code == TOOL_OK && interval_s != 0 && !conditions) {
		code = live_run(&live);
	} else if (code == TOOL_OK) {
		code = report_once(task, live.cache);
	}
	(void)shmcache_close(live.cache);
	return code;
}

static int
show_all(const struct task *task)
{
	struct listing listing;
	int code = list_collect(&listing);

	if (code == TOOL_OK) {
		switch (task->format) {
		case FORMAT_JSON:
			code = show_list_json(&listing);
			break;
		case FORMAT_CSV:
			show_list_csv(&listing);
			break;
		case FORMAT_PROMETHEUS:
			show_prometheus(&listing, &task->selection);
			break;
		case FORMAT_TABLE:
			show_list_table(&listing);
			break;
		}
	}
	list_free(&listing);
	return code;
}

int
main(int argc, char **argv)
{
	struct task task = { 0 };
	const char *const *names;
	int code;

	tool_start("shmcache-stat");
	code = tool_parse(
	    argc, argv, option_table, "[OPTION...] [[top] NAME]", &names);
	if (code == TOOL_GO_ON && list_fields) {
		code = show_field_list();
	}
	if (code == TOOL_GO_ON) {
		code = understand(&task, names);
	}
	if (code == TOOL_GO_ON) {
		code = output_path ? output_begin(output_path) : TOOL_OK;
		if (code == TOOL_OK) {
			code = record_path ? record_one(&task)
			       : task.name ? show_one(&task)
					   : show_all(&task);
		}
		code = output_end(code);
	}
	field_select_free(&task.selection);
	return tool_finish(code);
}
