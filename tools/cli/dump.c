/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dump.c - dump: write the entries of a cache as lines of JSON
 *
 * One scan: entries that are there throughout are in the dump, and those who
 * use the cache are not held up.
 */
#include "tools/cli/dump.h"

#include "tools/cli/command.h"
#include "tools/cli/filter.h"
#include "tools/cli/progress.h"
#include "tools/cli/record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const struct poptOption dump_options[] = { FILTER_OPTIONS,
	ARGUMENT_OPTIONS, COMMAND_OPTIONS_END };

static int
check_dump(struct call *call)
{
	(void)call;
	filter.values = 1;
	return filter_check(NULL);
}

int64_t
dump_time_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct dump {
	int64_t start_ms;
	uint64_t entries;
	int error;
};

/* A name is any bytes, but JSON is UTF-8: null for others. */
static int
print_first(const struct dump *dump, const char *name)
{
	json_t *text = json_string(name);

	return record_print_object(json_pack("{s:i, s:I, s:o}", "shmcache_dump",
	    DUMP_VERSION, "time_ms", (json_int_t)dump->start_ms, "cache",
	    text ? text : json_null()));
}

static int
print_last(const struct dump *dump)
{
	return record_print_object(
	    json_pack("{s:I}", "end", (json_int_t)dump->entries));
}

static int
visit_entry(void *context, const struct shmcache_entry *entry)
{
	struct dump *dump = context;
	struct shmcache_entry then = *entry;

	if (then.ttl_ms != SHMCACHE_TTL_NONE) {
		then.ttl_ms += dump_time_ms() - dump->start_ms;
	}
	dump->error = record_print(&then, RECORD_VALUE);
	dump->entries++;
	progress_show(dump->entries);
	return dump->error || ferror(stdout);
}

static int
run_dump(struct call *call)
{
	struct dump dump = { .start_ms = dump_time_ms() };
	uint64_t cursor = 0;
	uint64_t items = 0;
	int result = filter_given() ? 0 : shmcache_count(call->cache, &items);

	if (result >= 0) {
		result = print_first(&dump, call->name);
	}
	if (!isatty(STDOUT_FILENO)) {
		progress_start("entries dumped", items);
	}
	if (result >= 0) {
		result = shmcache_scan(
		    call->cache, &cursor, &filter, visit_entry, &dump);
	}
	progress_erase();
	if (result >= 0) {
		result = dump.error ? dump.error : print_last(&dump);
	}
	return result < 0 ? tool_fail(call->name, result) : TOOL_OK;
}

const struct command command_dump = {
	.name = "dump",
	.arguments = "",
	.summary = "write all entries to standard output, for load",
	.options = dump_options,
	.attach = ATTACH_READ,
	.check = check_dump,
	.run = run_dump,
};
