/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * record.h - an entry as a line of JSON
 *
 *	{"key": "user:17", "value": "...", "flags": 0, "ttl_ms": null}
 *
 * Keys and values are any bytes, and JSON is UTF-8.  Bytes that are UTF-8 are
 * a string of that name; others are its base64 under NAME_base64.  "ttl_ms" is
 * null if the entry never expires.  Numbers that may have more than 53 bits
 * (version) are strings.
 */
#ifndef TOOLS_CLI_RECORD_H
#define TOOLS_CLI_RECORD_H

#include "tools/cli/argument.h"

#include <jansson.h>
#include <shmcache.h>

/* What a line has besides key, flags and ttl_ms. */
enum {
	RECORD_VALUE = 1,
	RECORD_SIZE = 2, /* of key and value together */
	RECORD_VERSION = 4
};

/*
 * Print a line.  A write that fails is left to tool_finish(), which looks at
 * stdout.  Returns 0 or -ENOMEM.
 */
int record_print(const struct shmcache_entry *entry, unsigned members);

/* The same for another object, which is freed; NULL is -ENOMEM. */
int record_print_object(json_t *object);

/*
 * The bytes of the member `name` or NAME_base64; the caller frees them.
 * Returns 0, -EINVAL (neither, both, not base64) or -ENOMEM.
 */
int record_bytes(
    const json_t *object, const char *name, struct bytes *bytes_out);

#endif /* TOOLS_CLI_RECORD_H */
