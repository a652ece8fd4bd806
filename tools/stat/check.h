/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * check.h - conditions that a monitor alarms on
 *
 * A condition is FIELD, one of < <= > >= == !=, NUMBER; the number may end with
 * %, KiB, MiB, GiB or TiB.  It says what is bad: the alarm is raised if it
 * holds.  A field that has no value (the hit ratio of a cache that nobody has
 * asked) raises none.
 */
#ifndef TOOLS_STAT_CHECK_H
#define TOOLS_STAT_CHECK_H

#include "tools/stat/field.h"

/*
 * Are these conditions, ended by NULL, written as they must be?  Returns
 * TOOL_GO_ON, or TOOL_USAGE, having said what is wrong.
 */
int check_syntax(const char *const *conditions);

/*
 * A line for each condition on standard output.  Returns TOOL_OK, or
 * TOOL_FAILED if one or more hold.
 */
int check_report(const struct report *report, const char *const *conditions);

#endif /* TOOLS_STAT_CHECK_H */
