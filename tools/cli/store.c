/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * store.c - set, add, replace, cas, append, prepend: commands that store a
 *           value
 *
 * The value is the last argument or, without it, standard input to its end.
 * The commands differ by one call each; what they have in common is said once.
 */
#include "tools/cli/entry.h"
#include "tools/cli/number.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *ttl_text;
static const char *flags_text;
static char **tag_list; /* ended by NULL; NULL: none */

static int64_t ttl_ms;
static int64_t client_flags;

static uint64_t version;

static struct bytes tag_bytes[SHMCACHE_TAGS_MAX];
static struct shmcache_tag tags[SHMCACHE_TAGS_MAX];
static size_t tag_count;

static const struct poptOption entry_options[] = {
	{ "ttl", 't', POPT_ARG_STRING, &ttl_text, 0,
	    "time to live (default: the cache's)", "TIME" },
	{ "flags", 'f', POPT_ARG_STRING, &flags_text, 0,
	    "client flags to store with it (default: 0)", "NUMBER" },
	{ "tag", '\0', POPT_ARG_ARGV, &tag_list, 0,
	    "a tag of the entry, for invalidate-tag; up to 8 of them", "TAG" },
	ARGUMENT_OPTIONS, COMMAND_OPTIONS_END
};

/* append and prepend keep time to live and flags. */
static const struct poptOption plain_options[] = { ARGUMENT_OPTIONS,
	COMMAND_OPTIONS_END };

/* What --tag said, as bytes. */
static int
check_tags(void)
{
	int code = TOOL_GO_ON;

	for (char **tag = tag_list; tag && *tag && code == TOOL_GO_ON; tag++) {
		if (tag_count == SHMCACHE_TAGS_MAX) {
			return tool_usage("an entry can have %u tags, no more",
			    SHMCACHE_TAGS_MAX);
		}
		code = argument_bytes(*tag, &tag_bytes[tag_count]);
		if (code != TOOL_GO_ON) {
			return code;
		}
		tags[tag_count].data = tag_bytes[tag_count].data;
		tags[tag_count].bytes = tag_bytes[tag_count].bytes;
		if (tags[tag_count++].bytes == 0) {
			return tool_usage("a tag has at least one byte");
		}
	}
	return code;
}

static int
check_store(struct call *call)
{
	const char *version_text =
	    call->command == &command_cas ? call->arguments[1].data : NULL;

	return number_token("VERSION", version_text, &version) &&
		       number_time("--ttl", ttl_text, &ttl_ms) &&
		       number_integer(
			   "--flags", flags_text, 0, UINT32_MAX, &client_flags)
		   ? check_tags()
		   : TOOL_USAGE;
}

/* --- the value --------------------------------------------------------- */

#define INPUT_BYTES_LEAST 4096

/*
 * Read all of standard input, `most` bytes and one at the most: who gets more
 * than `most` knows that it is too much.  Returns TOOL_GO_ON or an exit code.
 */
static int
read_input(const char *name, uint64_t most, struct bytes *bytes_out)
{
	struct bytes all = { NULL, 0 };
	size_t room = 0;
	size_t wanted;
	char *larger;

	while (all.bytes <= most && !feof(stdin)) {
		if (all.bytes == room) {
			room = room ? room * 2 : INPUT_BYTES_LEAST;
			larger = realloc(all.data, room);
			if (!larger) {
				free(all.data);
				return tool_fail(name, -ENOMEM);
			}
			all.data = larger;
		}
		wanted = room - all.bytes;
		if (wanted > most + 1 - all.bytes) {
			wanted = (size_t)(most + 1 - all.bytes);
		}
		all.bytes += fread(all.data + all.bytes, 1, wanted, stdin);
		if (ferror(stdin)) {
			free(all.data);
			tool_say(
			    "standard input", "%s", strerrordesc_np(errno));
			return TOOL_FAILED;
		}
	}
	*bytes_out = all;
	return TOOL_GO_ON;
}

/* The most that the cache takes, so that endless input ends. */
static int
read_value(const struct call *call, struct bytes *value_out)
{
	struct shmcache_stats stats;
	int error = shmcache_stats(call->cache, &stats, sizeof(stats));

	if (error) {
		return tool_fail(call->name, error);
	}
	return read_input(call->name, stats.max_entry_bytes, value_out);
}

/* One of the library's calls that store. */
typedef int store(
    struct shmcache *cache, const struct bytes *key, const struct bytes *value);

/* The value is the argument behind the others, or standard input. */
static int
run_store(struct call *call, store *store_entry)
{
	const struct bytes *key = &call->arguments[0];
	struct bytes input = { NULL, 0 };
	int code;

	if (call->count == call->command->most) {
		return entry_result(call, key,
		    store_entry(
			call->cache, key, &call->arguments[call->count - 1]));
	}
	code = read_value(call, &input);
	if (code == TOOL_GO_ON) {
		code = entry_result(
		    call, key, store_entry(call->cache, key, &input));
		free(input.data);
	}
	return code;
}

static int
store_if(struct shmcache *cache, const struct bytes *key,
    const struct bytes *value, enum shmcache_set_condition only_if)
{
	struct shmcache_set_options options = SHMCACHE_SET_OPTIONS_INIT;
	int error;

	options.ttl_ms = ttl_ms;
	options.client_flags = (uint32_t)client_flags;
	options.only_if = only_if;
	options.version = version;
	options.tags = tags;
	options.tag_count = tag_count;
	error = shmcache_set_with(
	    cache, key->data, key->bytes, value->data, value->bytes, &options);
	while (tag_count > 0) {
		free(tag_bytes[--tag_count].data);
	}
	return error;
}

/* --- the commands ------------------------------------------------------ */

/* A command that is one call, of `cache`, `key` and `value`. */
#define STORE_COMMAND(verb, what, option_table, words, count, ...)             \
	static int verb##_entry(struct shmcache *cache,                        \
	    const struct bytes *key, const struct bytes *value)                \
	{                                                                      \
		return __VA_ARGS__;                                            \
	}                                                                      \
	static int run_##verb(struct call *call)                               \
	{                                                                      \
		return run_store(call, verb##_entry);                          \
	}                                                                      \
	const struct command command_##verb = {                                \
		.name = #verb,                                                 \
		.arguments = words,                                            \
		.summary = what,                                               \
		.options = option_table,                                       \
		.attach = ATTACH_WRITE,                                        \
		.least = count,                                                \
		.most = count + 1,                                             \
		.check = check_store,                                          \
		.run = run_##verb,                                             \
	};

STORE_COMMAND(set, "store a value", entry_options, "KEY [VALUE]", 1,
    store_if(cache, key, value, SHMCACHE_SET_ALWAYS))

STORE_COMMAND(add, "store a value if the key is not there", entry_options,
    "KEY [VALUE]", 1, store_if(cache, key, value, SHMCACHE_SET_IF_ABSENT))

STORE_COMMAND(replace, "store a value if the key is there", entry_options,
    "KEY [VALUE]", 1, store_if(cache, key, value, SHMCACHE_SET_IF_PRESENT))

STORE_COMMAND(cas, "store a value if the entry is still the one with VERSION",
    entry_options, "KEY VERSION [VALUE]", 2,
    store_if(cache, key, value, SHMCACHE_SET_IF_VERSION))

STORE_COMMAND(append, "put bytes behind a value", plain_options, "KEY [BYTES]",
    1, shmcache_append(cache, key->data, key->bytes, value->data, value->bytes))

STORE_COMMAND(prepend, "put bytes before a value", plain_options, "KEY [BYTES]",
    1,
    shmcache_prepend(cache, key->data, key->bytes, value->data, value->bytes))
