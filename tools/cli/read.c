/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* read.c - get, ttl, count: commands that change nothing of an entry's value */
#include "tools/cli/entry.h"
#include "tools/cli/number.h"
#include "tools/cli/record.h"
#include "tools/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* --- get --------------------------------------------------------------- */

/* Room for most values, so that most are read at once. */
#define READ_BYTES_FIRST 65536

static int peek;
static int as_json;
static int as_text;
static const char *touch_text;

static int64_t touch_ms;

static const struct poptOption get_options[] = {
	{ "json", 'j', POPT_ARG_NONE, &as_json, 0,
	    "print a JSON object that has flags, version and time to live too",
	    NULL },
	{ "text", 'x', POPT_ARG_NONE, &as_text, 0,
	    "print the value escaped, as one line", NULL },
	{ "peek", 'p', POPT_ARG_NONE, &peek, 0,
	    "leave counters and reference marks as they are", NULL },
	{ "touch", '\0', POPT_ARG_STRING, &touch_text, 0,
	    "give the entry a new time to live", "TIME" },
	ARGUMENT_OPTIONS, COMMAND_OPTIONS_END
};

static int
check_get(struct call *call)
{
	if (as_json && as_text) {
		return tool_usage("--json and --text exclude each other");
	}
	if (touch_text && (peek || as_json)) {
		return tool_usage("--touch goes with neither --peek, which "
				  "changes nothing, nor --json");
	}
	if (peek) {
		call->attach = ATTACH_READ;
	}
	return number_time("--touch", touch_text, &touch_ms) ? TOOL_GO_ON
							     : TOOL_USAGE;
}

static int
get_into(struct shmcache *cache, struct shmcache_entry *entry, void *value,
    size_t room)
{
	const void *key = entry->key;
	size_t key_bytes = entry->key_bytes;

	if (peek) {
		return shmcache_peek(cache, key, key_bytes, value, room,
		    &entry->value_bytes, &entry->client_flags);
	}
	if (touch_text) {
		return shmcache_get_and_touch(cache, key, key_bytes, touch_ms,
		    value, room, &entry->value_bytes, &entry->client_flags);
	}
	return shmcache_gets(cache, key, key_bytes, value, room,
	    &entry->value_bytes, &entry->client_flags, &entry->version);
}

/* The caller frees *value_out.  The value may grow while we look. */
static int
get_entry(
    struct shmcache *cache, struct shmcache_entry *entry, void **value_out)
{
	size_t room = READ_BYTES_FIRST;
	void *value = malloc(room);
	void *larger;
	int error = value ? 0 : -ENOMEM;

	while (!error) {
		error = get_into(cache, entry, value, room);
		if (error != SHMCACHE_EBUFFER) {
			break;
		}
		room = entry->value_bytes;
		larger = realloc(value, room);
		error = larger ? 0 : -ENOMEM;
		value = larger ? larger : value;
	}
	entry->value = value;
	*value_out = value;
	return error;
}

/* A terminal gets a newline, so that the prompt stands on a line of its own. */
static int
print_value(struct shmcache *cache, struct shmcache_entry *entry)
{
	int error = 0;

	if (as_json) {
		error = shmcache_ttl(
		    cache, entry->key, entry->key_bytes, &entry->ttl_ms);
		return error ? error
			     : record_print(
				   entry, peek ? RECORD_VALUE
					       : RECORD_VALUE | RECORD_VERSION);
	}
	if (as_text) {
		text_print(stdout, entry->value, entry->value_bytes);
	} else {
		(void)fwrite(entry->value, 1, entry->value_bytes, stdout);
	}
	if (as_text || isatty(STDOUT_FILENO)) {
		putchar('\n');
	}
	return 0;
}

static int
run_get(struct call *call)
{
	const struct bytes *key = &call->arguments[0];
	struct shmcache_entry entry = {
		.key = key->data,
		.key_bytes = key->bytes,
	};
	void *value;
	int error = get_entry(call->cache, &entry, &value);

	if (!error) {
		error = print_value(call->cache, &entry);
	}
	free(value);
	return entry_result(call, key, error);
}

const struct command command_get = {
	.name = "get",
	.arguments = "KEY",
	.summary = "print the value of a key",
	.options = get_options,
	.attach = ATTACH_WRITE,
	.least = 1,
	.most = 1,
	.check = check_get,
	.run = run_get,
};

/* --- ttl --------------------------------------------------------------- */

static const struct poptOption ttl_options[] = { ARGUMENT_OPTIONS,
	COMMAND_OPTIONS_END };

static int
run_ttl(struct call *call)
{
	const struct bytes *key = &call->arguments[0];
	char text[NUMBER_TIME_BYTES_MAX];
	int64_t ttl_ms;
	int error = shmcache_ttl(call->cache, key->data, key->bytes, &ttl_ms);

	if (!error) {
		number_format_time(text, ttl_ms);
		puts(text);
	}
	return entry_result(call, key, error);
}

const struct command command_ttl = {
	.name = "ttl",
	.arguments = "KEY",
	.summary = "print the time a key has left, in seconds, or 'none'",
	.options = ttl_options,
	.attach = ATTACH_READ,
	.least = 1,
	.most = 1,
	.run = run_ttl,
};

/* --- count ------------------------------------------------------------- */

static const struct poptOption count_options[] = { COMMAND_OPTIONS_END };

static int
run_count(struct call *call)
{
	uint64_t items;
	int error = shmcache_count(call->cache, &items);

	if (error) {
		return tool_fail(call->name, error);
	}
	printf("%" PRIu64 "\n", items);
	return TOOL_OK;
}

const struct command command_count = {
	.name = "count",
	.arguments = "",
	.summary = "print the number of entries",
	.options = count_options,
	.attach = ATTACH_READ,
	.run = run_count,
};
