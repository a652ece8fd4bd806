/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* report.h - points as a table, as JSON, as a plot */
#ifndef REPLAY_REPORT_H
#define REPLAY_REPORT_H

#include "tools/replay/run.h"

#include <stddef.h>

struct report {
	const char *path;
	const struct trace *trace;
	const struct weights *weights;
	const struct point *point; /* by size, then by policy */
	size_t points;
	size_t per_size;
	unsigned processes;
};

/* What the trace is, and what was odd about it, on standard error. */
void report_trace(
    const char *path, const struct trace *trace, const struct weights *weights);

/* Of the size of the cache that was recorded, what a curve shows. */
#define REPORT_MULTIPLES 10
extern const double report_multiples[REPORT_MULTIPLES];

void report_table(const struct report *report);

/* 0, or -1: no memory. */
int report_json(const struct report *report);

/* A gnuplot script with its data in it; 0, or a negative errno. */
int report_plot(const struct report *report, const char *path);

#endif /* REPLAY_REPORT_H */
