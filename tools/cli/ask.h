/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ask.h - what cannot be undone is confirmed
 *
 * By --yes, or on a terminal by an answer.  Without either it is not done.
 */
#ifndef TOOLS_CLI_ASK_H
#define TOOLS_CLI_ASK_H

#include <popt.h>

/* --yes, for the option tables of commands that destroy. */
extern struct poptOption ask_options[];

#define ASK_OPTIONS                                                            \
	{                                                                      \
		NULL, '\0', POPT_ARG_INCLUDE_TABLE, ask_options, 0, NULL, NULL \
	}

/* Can an answer be had?  TOOL_GO_ON, or TOOL_USAGE: for a command's check(). */
int ask_check(void);

/*
 * Ask "QUESTION [y/N]" on standard error, unless --yes was given.  Returns
 * TOOL_GO_ON, or TOOL_FAILED if the answer is no.
 */
int ask(const char *name, const char *question);

#endif /* TOOLS_CLI_ASK_H */
