/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* live.c - a row every few seconds, of what happened in them */
#include "tools/stat/live.h"

#include "tools/common.h"
#include "tools/stat/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define COLUMN_WIDTH_MIN 6

static void
sleep_s(double seconds)
{
	struct timespec left = { .tv_sec = (time_t)seconds };

	left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
	while (nanosleep(&left, &left)) {
	}
}

/* --- rows for people ------------------------------------------------------ */

static void
column_label(char *label, size_t label_bytes, const struct field *field)
{
	(void)snprintf(
	    label, label_bytes, "%s%s", field->name, field->grows ? "/s" : "");
}

static int
column_width(const struct field *field)
{
	int width = (int)strlen(field->name) + (field->grows ? 2 : 0);

	return width < COLUMN_WIDTH_MIN ? COLUMN_WIDTH_MIN : width;
}

static void
show_heading(const struct selection *selection)
{
	char label[64];
	size_t i;

	printf("%-8s", "time");
	for (i = 0; i < selection->count; i++) {
		column_label(label, sizeof(label), selection->fields[i]);
		printf("  %*s", column_width(selection->fields[i]), label);
	}
	putchar('\n');
}

static void
show_row(const struct report *report, const struct selection *selection)
{
	char human[NUMBER_BYTES_MAX];
	struct tm local = { 0 };
	char time[16] = "";
	size_t i;

	(void)localtime_r(&report->wall.tv_sec, &local);
	(void)strftime(time, sizeof(time), "%H:%M:%S", &local);
	printf("%-8s", time);
	for (i = 0; i < selection->count; i++) {
		const struct field *field = selection->fields[i];
		struct value value = field_value(report, field);

		field_format_human(human, field, &value);
		printf("  %*s", column_width(field), human);
	}
	putchar('\n');
}

/* Rows between two headings: a screenful; in a file or a pipe, all. */
static int
rows_per_heading(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !isatty(STDOUT_FILENO)) {
		return 0;
	}
	return size.ws_row > 2 ? size.ws_row - 1 : 1;
}

/* `row` counts from 0. */
static int
show(const struct live *live, const struct report *report, int row)
{
	int screenful;

	switch (live->form) {
	case LIVE_CSV:
		if (!row) {
			show_csv_heading(live->selection);
		}
		show_csv_row(report, live->selection);
		return TOOL_OK;
	case LIVE_JSON:
		return show_json(report, live->selection, 1);
	case LIVE_TABLE:
		screenful = rows_per_heading();
		if (!row || (screenful && row % screenful == 0)) {
			show_heading(live->selection);
		}
		show_row(report, live->selection);
		break;
	}
	return TOOL_OK;
}

/* --- the loop ----------------------------------------------------------- */

/* The next report, and waits for a removed cache.  Returns TOOL_OK, TOOL_GO_ON
   if there is none at this time, or an exit code. */
static int
take_report(struct live *live, struct report *report)
{
	int error = 0;

	if (!live->cache) {
		error = report_open(live->name, &live->cache);
		if (error == SHMCACHE_ENOCACHE || error == SHMCACHE_EREMOVED) {
			return TOOL_GO_ON;
		}
	}
	if (!error) {
		error = report_collect(live->cache, live->name, report);
	}
	if (error == SHMCACHE_EREMOVED) {
		tool_say(live->name, "the cache was removed: waiting until it "
				     "is created anew");
		(void)shmcache_close(live->cache);
		live->cache = NULL;
		return TOOL_GO_ON;
	}
	return error ? tool_fail(live->name, error) : TOOL_OK;
}

int
live_run(struct live *live)
{
	struct report before = { 0 };
	int has_before = 0;
	int row = 0;
	int code;

	for (;;) {
		struct report now = { 0 };
		struct report shown;

		code = take_report(live, &now);
		if (code == TOOL_OK && has_before) {
			shown = now;
			report_since(&shown, &before);
			code = show(live, &shown, row++);
		}
		if (code != TOOL_OK && code != TOOL_GO_ON) {
			report_free(&now);
			break;
		}
		has_before = code == TOOL_OK;
		report_free(&before);
		before = now;
		if ((live->rows && row == live->rows) || ferror(stdout)) {
			break;
		}
		sleep_s(live->interval_s);
	}
	report_free(&before);
	return code == TOOL_GO_ON ? TOOL_OK : code;
}

int
live_measure(struct shmcache *cache, const char *name, double interval_s,
    struct report *report)
{
	struct report before = { 0 };
	int error = report_collect(cache, name, &before);

	if (!error) {
		sleep_s(interval_s);
		error = report_collect(cache, name, report);
	}
	if (!error) {
		report_since(report, &before);
	}
	report_free(&before);
	return error;
}
