/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * argument.h - keys, values and patterns on the command line
 *
 * They are bytes, which a command line cannot hold all; with --escaped they
 * are written as they are printed (tools/text.h).
 */
#ifndef TOOLS_CLI_ARGUMENT_H
#define TOOLS_CLI_ARGUMENT_H

#include <popt.h>
#include <stddef.h>

/* --escaped, for the option tables of commands that are given bytes. */
extern struct poptOption argument_options[];

#define ARGUMENT_OPTIONS                                                       \
	{                                                                      \
		NULL, '\0', POPT_ARG_INCLUDE_TABLE, argument_options, 0, NULL, \
		    NULL                                                       \
	}

struct bytes {
	char *data; /* from malloc() */
	size_t bytes;
};

/*
 * The bytes that an argument stands for: itself, or with --escaped what its
 * escapes say; a 0 follows them.  The caller frees bytes_out->data.  Returns
 * TOOL_GO_ON, or having said what is wrong an exit code.
 */
int argument_bytes(const char *argument, struct bytes *bytes_out);

#endif /* TOOLS_CLI_ARGUMENT_H */
