/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* filter.c - see filter.h */
#include "tools/cli/filter.h"

#include "tools/common.h"

#include <stddef.h>

struct shmcache_scan_options filter = SHMCACHE_SCAN_OPTIONS_INIT;

static const char *prefix_text;
static const char *glob_text;

struct poptOption filter_options[] = { { "prefix", 'p', POPT_ARG_STRING,
					   &prefix_text, 0,
					   "only keys that begin so", "BYTES" },
	{ "glob", 'g', POPT_ARG_STRING, &glob_text, 0,
	    "only keys that match: * ? [a-z] [^a] \\x", "PATTERN" },
	POPT_TABLEEND };

int
filter_given(void)
{
	return prefix_text || glob_text;
}

/* `text` into what the library wants; it stays until the process ends. */
static int
read_bytes(const char *text, const void **data_out, size_t *bytes_out)
{
	struct bytes bytes;
	int code;

	if (!text) {
		return TOOL_GO_ON;
	}
	code = argument_bytes(text, &bytes);
	if (code == TOOL_GO_ON) {
		*data_out = bytes.data;
		*bytes_out = bytes.bytes;
	}
	return code;
}

int
filter_check(const struct bytes *glob)
{
	int code;

	if (glob && glob_text) {
		return tool_usage("the pattern is given twice, '%s' and "
				  "--glob '%s'",
		    glob->data, glob_text);
	}
	code = read_bytes(prefix_text, &filter.prefix, &filter.prefix_bytes);
	if (code == TOOL_GO_ON) {
		code = read_bytes(glob_text, &filter.glob, &filter.glob_bytes);
	}
	if (glob) {
		filter.glob = glob->data;
		filter.glob_bytes = glob->bytes;
	}
	if (code == TOOL_GO_ON && filter.glob &&
	    shmcache_glob_check(filter.glob, filter.glob_bytes)) {
		return tool_usage("'%s' is not a pattern: a [ needs its ], a "
				  "range goes upwards, and a byte follows "
				  "each \\",
		    (const char *)filter.glob);
	}
	return code;
}
