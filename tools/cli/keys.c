/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * keys.c - keys, bigkeys: commands that list what is in a cache
 *
 * A size is that of key and value together, as max_entry_bytes counts.
 */
#include "tools/cli/command.h"
#include "tools/cli/filter.h"
#include "tools/cli/number.h"
#include "tools/cli/record.h"
#include "tools/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int as_json;
static int as_list;
static const char *limit_text;

static int64_t limit;

static uint64_t
size_of(const struct shmcache_entry *entry)
{
	return entry->key_bytes + entry->value_bytes;
}

/* --- a listing --------------------------------------------------------- */

/* Above the columns, for people: bold, unless they set NO_COLOR. */
static void
print_heading(void)
{
	const char *no_color = getenv("NO_COLOR");
	int bold = !no_color || !*no_color;

	if (isatty(STDOUT_FILENO)) {
		printf("%s%10s  %14s  %10s  %s%s\n", bold ? "\033[1m" : "",
		    "SIZE", "TTL", "FLAGS", "KEY", bold ? "\033[0m" : "");
	}
}

static void
print_columns(const struct shmcache_entry *entry)
{
	char ttl[NUMBER_TIME_BYTES_MAX];

	number_format_time(ttl, entry->ttl_ms);
	printf("%10" PRIu64 "  %14s  %10" PRIu32 "  ", size_of(entry), ttl,
	    entry->client_flags);
	text_print(stdout, entry->key, entry->key_bytes);
	putchar('\n');
}

/* --- keys -------------------------------------------------------------- */

static int end_with_nul;
static const char *cursor_text;
static const char *min_ttl_text;
static const char *max_ttl_text;
static const char *min_size_text;
static const char *max_size_text;

static uint64_t cursor;
static int64_t min_ttl_ms;
static int64_t max_ttl_ms = SHMCACHE_TTL_NONE;
static uint64_t min_size;
static uint64_t max_size = UINT64_MAX;

static const struct poptOption keys_options[] = { FILTER_OPTIONS,
	{ "min-ttl", '\0', POPT_ARG_STRING, &min_ttl_text, 0,
	    "only keys with at least so much time left ('none': for ever)",
	    "TIME" },
	{ "max-ttl", '\0', POPT_ARG_STRING, &max_ttl_text, 0,
	    "only keys with at most so much time left", "TIME" },
	{ "min-size", '\0', POPT_ARG_STRING, &min_size_text, 0,
	    "only entries of at least this size, key and value together",
	    "SIZE" },
	{ "max-size", '\0', POPT_ARG_STRING, &max_size_text, 0,
	    "only entries of at most this size", "SIZE" },
	{ "limit", 'n', POPT_ARG_STRING, &limit_text, 0,
	    "stop after so many; where to go on is told on standard error",
	    "NUMBER" },
	{ "cursor", 'c', POPT_ARG_STRING, &cursor_text, 0,
	    "go on where a limit has stopped", "CURSOR" },
	{ "long", 'l', POPT_ARG_NONE, &as_list, 0,
	    "print size, time to live and flags too", NULL },
	{ "json", 'j', POPT_ARG_NONE, &as_json, 0,
	    "print a JSON object for each key", NULL },
	{ "null", '0', POPT_ARG_NONE, &end_with_nul, 0,
	    "print keys as they are, each ended by a zero byte", NULL },
	ARGUMENT_OPTIONS, COMMAND_OPTIONS_END };

/* Times to live as numbers that compare: never is longer than any time. */
static int64_t
comparable(int64_t ttl_ms)
{
	return ttl_ms == SHMCACHE_TTL_NONE ? INT64_MAX : ttl_ms;
}

static int
check_keys(struct call *call)
{
	int code = filter_check(call->count ? &call->arguments[0] : NULL);

	if (code != TOOL_GO_ON) {
		return code;
	}
	if (as_list + as_json + end_with_nul > 1) {
		return tool_usage("--long, --json and --null exclude each "
				  "other");
	}
	if (!number_time("--min-ttl", min_ttl_text, &min_ttl_ms) ||
	    !number_time("--max-ttl", max_ttl_text, &max_ttl_ms) ||
	    !number_size("--min-size", min_size_text, &min_size) ||
	    !number_size("--max-size", max_size_text, &max_size) ||
	    !number_integer("--limit", limit_text, 1, INT64_MAX, &limit) ||
	    !number_token("--cursor", cursor_text, &cursor)) {
		return TOOL_USAGE;
	}
	if (comparable(min_ttl_ms) > comparable(max_ttl_ms)) {
		return tool_usage("--min-ttl is above --max-ttl");
	}
	if (min_size > max_size) {
		return tool_usage("--min-size is above --max-size");
	}
	return TOOL_GO_ON;
}

struct listing {
	int64_t printed;
	int error;
};

static int
is_wanted(const struct shmcache_entry *entry)
{
	int64_t ttl_ms = comparable(entry->ttl_ms);

	return ttl_ms >= comparable(min_ttl_ms) &&
	       ttl_ms <= comparable(max_ttl_ms) && size_of(entry) >= min_size &&
	       size_of(entry) <= max_size;
}

static int
print_key(const struct shmcache_entry *entry)
{
	if (as_json) {
		return record_print(entry, RECORD_SIZE);
	}
	if (as_list) {
		print_columns(entry);
	} else if (end_with_nul) {
		(void)fwrite(entry->key, 1, entry->key_bytes, stdout);
		putchar('\0');
	} else {
		text_print(stdout, entry->key, entry->key_bytes);
		putchar('\n');
	}
	return 0;
}

/* Ends the scan at the limit, and when nobody can be told any more. */
static int
visit_key(void *context, const struct shmcache_entry *entry)
{
	struct listing *listing = context;

	if (!is_wanted(entry)) {
		return 0;
	}
	listing->error = print_key(entry);
	listing->printed++;
	return listing->error || ferror(stdout) || listing->printed == limit;
}

static int
run_keys(struct call *call)
{
	struct listing listing = { 0, 0 };
	int result;

	if (as_list) {
		print_heading();
	}
	result =
	    shmcache_scan(call->cache, &cursor, &filter, visit_key, &listing);
	if (result >= 0) {
		result = listing.error;
	}
	if (result < 0) {
		return tool_fail(call->name, result);
	}
	if (cursor && limit) {
		tool_say(
		    call->name, "there may be more: --cursor %" PRIu64, cursor);
	}
	return TOOL_OK;
}

const struct command command_keys = {
	.name = "keys",
	.arguments = "[PATTERN]",
	.summary = "list keys",
	.options = keys_options,
	.attach = ATTACH_READ,
	.most = 1,
	.check = check_keys,
	.run = run_keys,
};

/* --- bigkeys ----------------------------------------------------------- */

#define BIG_DEFAULT 10
#define BIG_MAX     10000

static const struct poptOption bigkeys_options[] = { FILTER_OPTIONS,
	{ "limit", 'n', POPT_ARG_STRING, &limit_text, 0,
	    "print so many (default: 10)", "NUMBER" },
	{ "json", 'j', POPT_ARG_NONE, &as_json, 0,
	    "print a JSON object for each key", NULL },
	ARGUMENT_OPTIONS, COMMAND_OPTIONS_END };

static int
check_bigkeys(struct call *call)
{
	limit = BIG_DEFAULT;
	return number_integer("--limit", limit_text, 1, BIG_MAX, &limit)
		   ? filter_check(call->count ? &call->arguments[0] : NULL)
		   : TOOL_USAGE;
}

struct big {
	void *key; /* ours, which entry.key is */
	struct shmcache_entry entry;
};

/* The largest entries so far, the largest first. */
struct ranking {
	struct big *places;
	int64_t count;
	int error;
};

static int
visit_big(void *context, const struct shmcache_entry *entry)
{
	struct ranking *ranking = context;
	struct big *places = ranking->places;
	int64_t place = ranking->count;
	void *key;

	if (place == limit &&
	    size_of(&places[place - 1].entry) >= size_of(entry)) {
		return 0;
	}
	key = malloc(entry->key_bytes);
	if (!key) {
		ranking->error = -ENOMEM;
		return 1;
	}
	memcpy(key, entry->key, entry->key_bytes);
	if (place == limit) {
		free(places[--place].key);
	} else {
		ranking->count++;
	}
	for (; place > 0 && size_of(&places[place - 1].entry) < size_of(entry);
	     place--) {
		places[place] = places[place - 1];
	}
	places[place].key = key;
	places[place].entry = *entry;
	places[place].entry.key = key;
	return 0;
}

static int
print_ranking(const struct ranking *ranking)
{
	const struct shmcache_entry *entry;
	int error = 0;
	int64_t i;

	if (!as_json) {
		print_heading();
	}
	for (i = 0; i < ranking->count && !error; i++) {
		entry = &ranking->places[i].entry;
		if (as_json) {
			error = record_print(entry, RECORD_SIZE);
		} else {
			print_columns(entry);
		}
	}
	return error;
}

static int
run_bigkeys(struct call *call)
{
	struct ranking ranking = { NULL, 0, 0 };
	int result;

	ranking.places = calloc((size_t)limit, sizeof(*ranking.places));
	if (!ranking.places) {
		return tool_fail(call->name, -ENOMEM);
	}
	result =
	    shmcache_scan(call->cache, &cursor, &filter, visit_big, &ranking);
	if (result >= 0) {
		result =
		    ranking.error ? ranking.error : print_ranking(&ranking);
	}
	while (ranking.count > 0) {
		free(ranking.places[--ranking.count].key);
	}
	free(ranking.places);
	return result < 0 ? tool_fail(call->name, result) : TOOL_OK;
}

const struct command command_bigkeys = {
	.name = "bigkeys",
	.arguments = "[PATTERN]",
	.summary = "list the largest entries, the largest first",
	.options = bigkeys_options,
	.attach = ATTACH_READ,
	.most = 1,
	.check = check_bigkeys,
	.run = run_bigkeys,
};
