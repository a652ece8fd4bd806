/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* argument.c - see argument.h */
#include "tools/cli/argument.h"

#include "tools/common.h"
#include "tools/text.h"

#include <errno.h>
#include <shmcache.h>
#include <stdlib.h>
#include <string.h>

static int escaped;

struct poptOption argument_options[] = {
	{ "escaped", 'e', POPT_ARG_NONE, &escaped, 0,
	    "arguments have escapes: \\n \\r \\t \\\\ \\xNN", NULL },
	POPT_TABLEEND
};

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
		return tool_usage("'%s': after a backslash comes one of n r t "
				  "\\ or xNN (with --escaped)",
		    argument);
	}
	bytes_out->data = data;
	return TOOL_GO_ON;
}
