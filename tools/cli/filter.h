/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* filter.h - which keys a command is about: --prefix and --glob */
#ifndef TOOLS_CLI_FILTER_H
#define TOOLS_CLI_FILTER_H

#include "tools/cli/argument.h"

#include <popt.h>
#include <shmcache.h>

/* For the option tables of commands on many keys. */
extern struct poptOption filter_options[];

#define FILTER_OPTIONS                                                         \
	{                                                                      \
		NULL, '\0', POPT_ARG_INCLUDE_TABLE, filter_options, 0, NULL,   \
		    NULL                                                       \
	}

/* What the options say, from filter_check() on. */
extern struct shmcache_scan_options filter;

/*
 * For a command's check().  `glob` is an argument that stands for --glob, or
 * NULL.  Returns TOOL_GO_ON or TOOL_USAGE.
 */
int filter_check(const struct bytes *glob);

/* Was any of the options given? */
int filter_given(void);

#endif /* TOOLS_CLI_FILTER_H */
