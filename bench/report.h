/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * report.h - a table for people, JSON for programs, columns for gnuplot
 *
 * Each bench begins a report, which prints what it ran on, and adds lines to
 * it.  With --out FOLDER they go to FOLDER/NAME.json and FOLDER/NAME.tsv too.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench/measure.h"

#include <stdio.h>

/* What all benches are told. */
struct settings {
	bool quick; /* ratios of few sizes */
	bool large; /* up to 100 M items, without peers */
	bool alone; /* no peers */
	unsigned rounds;
	double milliseconds; /* of one run */
	uint64_t items;      /* 0: all sizes */
	const char *out;     /* NULL: print only */
};

/* Reads the options of the command line; exits if they are wrong. */
struct settings settings_read(int argc, char **argv);

struct line {
	const char *what;
	const char *engine;
	const char *order;
	uint64_t items;
	size_t value_bytes;
	unsigned processes;
	const char *unit; /* of `figure` */
	struct sample figure;
	struct sample to_floor; /* of the same round; empty: not compared */
	struct sample to_cache;
};

struct report;

struct report *report_begin(
    const char *name, const char *question, const struct settings *settings);

/* The same with other ratios than those to floor and cache. */
struct report *report_begin_with(const char *name, const char *question,
    const struct settings *settings, const char *first_ratio,
    const char *second_ratio);
void report_line(struct report *report, const struct line *line);
void report_end(struct report *report);

#endif /* BENCH_REPORT_H */
