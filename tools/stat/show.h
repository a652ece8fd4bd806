/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * show.h - reports in the forms that people and programs read
 *
 * Everything goes to standard output unless a stream is given; a write that fails is left to
 * tool_finish(), which looks at it.  Functions that return int return TOOL_OK
 * or, having said why, another exit code.
 */
#ifndef TOOLS_STAT_SHOW_H
#define TOOLS_STAT_SHOW_H

#include "tools/stat/field.h"
#include "tools/stat/list.h"

#include <stdio.h>

/* For people. `explain`: with a text for each field. */
void show_table(const struct report *report, const struct selection *selection,
    int explain);

/* Parts of the table; but for the fields' they begin with a heading, and are
   empty if there is nothing to show. */
void show_fields(FILE *out, const struct report *report,
    const struct selection *selection, int explain);
void show_processes(FILE *out, const struct report *report);
void show_peers(FILE *out, const struct report *report);
void show_pins(FILE *out, const struct report *report);
void show_census(FILE *out, const struct census *census);
void show_advice(FILE *out, const struct report *report);

/* One JSON object; `compact` puts it into one line. */
int show_json(const struct report *report, const struct selection *selection,
    int compact);

/* A heading line, and a line for each report; times are UTC. */
void show_csv_heading(const struct selection *selection);
void show_csv_row(
    const struct report *report, const struct selection *selection);

/*
 * The text format of Prometheus: each metric once, with the samples of all
 * caches that could be looked into.
 */
void show_prometheus(
    const struct listing *listing, const struct selection *selection);

/* Caches of the host, for people and for programs. */
void show_list_table(const struct listing *listing);
void show_list_csv(const struct listing *listing);
int show_list_json(const struct listing *listing);

#endif /* TOOLS_STAT_SHOW_H */
