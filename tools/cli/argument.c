/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* argument.c - see argument.h */
#include "tools/cli/argument.h"

#include "tools/common.h"
#include "tools/text.h"

#include <errno.h>
#include <shmcache.h>
#include <stdlib.h>
#include <string.h>

/* So much is shown of what has a wrong escape. */
#define SHOWN_BYTES_MAX 80

static int escaped;

struct poptOption argument_options[] = {
	{ "escaped", 'e', POPT_ARG_NONE, &escaped, 0,
	    "arguments have escapes: \\n \\r \\t \\\\ \\xNN", NULL },
	POPT_TABLEEND
};

/* It may be a line of a file, of anybody's and of any length. */
static int
refuse_escapes(const char *argument)
{
	char *text = text_escape(argument, strnlen(argument, SHOWN_BYTES_MAX));
	int code =
	    tool_usage("'%s': after a backslash comes one of n r t \\ or xNN "
		       "(with --escaped)",
		text ? text : "");

	free(text);
	return code;
}

int
argument_bytes(const char *argument, struct bytes *bytes_out)
{
	char *data = strdup(argument);

	if (!data) {
		tool_say("memory", "%s", shmcache_strerror(-ENOMEM));
		return TOOL_FAILED;
	}
	bytes_out->bytes = strlen(data);
	if (escaped && !text_unescape(data, &bytes_out->bytes)) {
		free(data);
		return refuse_escapes(argument);
	}
	bytes_out->data = data;
	return TOOL_GO_ON;
}
