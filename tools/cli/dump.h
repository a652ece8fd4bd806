/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dump.h - the file that dump writes and load reads
 *
 * Lines of JSON:
 *
 *	{"shmcache_dump": 1, "time_ms": 1764000000000, "cache": "NAME"}
 *	{"key": "user:17", "value": "...", "flags": 0, "ttl_ms": 86400000}
 *	...
 *	{"end": 1}
 *
 * The first has the version of the format and the wall clock; times to live are
 * those at that moment, so a loader knows what has expired since.  The last has
 * the number of entries, so a file that was cut is known.  record.h says how
 * bytes are written that are not UTF-8.  Readers ignore members that they
 * don't know.
 */
#ifndef TOOLS_CLI_DUMP_H
#define TOOLS_CLI_DUMP_H

#include <stdint.h>

#define DUMP_VERSION 1

/* Milliseconds of the wall clock. */
int64_t dump_time_ms(void);

#endif /* TOOLS_CLI_DUMP_H */
