/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ask.c - see ask.h */
#include "tools/cli/ask.h"

#include "tools/common.h"

#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#define ANSWER_BYTES_MAX 64

static int yes;

struct poptOption ask_options[] = { { "yes", 'y', POPT_ARG_NONE, &yes, 0,
					"do it without asking", NULL },
	POPT_TABLEEND };

int
ask_check(void)
{
	if (yes || (isatty(STDIN_FILENO) && isatty(STDERR_FILENO))) {
		return TOOL_GO_ON;
	}
	return tool_usage("this cannot be undone, and there is no terminal to "
			  "ask on: give --yes if you mean it");
}

int
ask(const char *name, const char *question)
{
	char answer[ANSWER_BYTES_MAX] = "";

	if (yes) {
		return TOOL_GO_ON;
	}
	(void)fprintf(stderr, "%s: %s [y/N] ", name, question);
	if (!fgets(answer, sizeof(answer), stdin)) {
		answer[0] = '\0';
	}
	if (!strcasecmp(answer, "y\n") || !strcasecmp(answer, "yes\n")) {
		return TOOL_GO_ON;
	}
	tool_say(name, "nothing was done");
	return TOOL_FAILED;
}
