/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* change.c - touch, incr, decr, del, invalidate-tag: commands that change entries */
#include "tools/cli/ask.h"
#include "tools/cli/entry.h"
#include "tools/cli/filter.h"
#include "tools/cli/number.h"

#include <inttypes.h>
#include <stdio.h>

static const char *ttl_text;

static int64_t ttl_ms;

/* --- touch ------------------------------------------------------------- */

static const char *at_text;

static int64_t at_ms;

static const struct poptOption touch_options[] = {
	{ "ttl", 't', POPT_ARG_STRING, &ttl_text, 0,
	    "time to live from now on (default: the cache's)", "TIME" },
	{ "at", '\0', POPT_ARG_STRING, &at_text, 0,
	    "expire at this time instead, in seconds since 1970 (date +%s)",
	    "SECONDS" },
	ARGUMENT_OPTIONS, COMMAND_OPTIONS_END
};

static int
check_touch(struct call *call)
{
	(void)call;
	if (at_text && ttl_text) {
		return tool_usage("--ttl and --at exclude each other");
	}
	if (!number_time("--ttl", ttl_text, &ttl_ms) ||
	    !number_time("--at", at_text, &at_ms)) {
		return TOOL_USAGE;
	}
	if (at_ms == SHMCACHE_TTL_NONE) {
		return tool_usage("--at wants seconds since 1970; --ttl none "
				  "is for ever");
	}
	return TOOL_GO_ON;
}

static int
touch_entry(struct shmcache *cache, const struct bytes *key)
{
	if (at_text) {
		return shmcache_expire_at(cache, key->data, key->bytes, at_ms);
	}
	return shmcache_touch(cache, key->data, key->bytes, ttl_ms);
}

static int
run_touch(struct call *call)
{
	return entry_each(call, touch_entry);
}

const struct command command_touch = {
	.name = "touch",
	.arguments = "KEY...",
	.summary = "give entries a new time to live",
	.options = touch_options,
	.attach = ATTACH_WRITE,
	.least = 1,
	.most = ARGUMENTS_ANY,
	.check = check_touch,
	.run = run_touch,
};

/* --- incr, decr -------------------------------------------------------- */

static const char *initial_text;

static int64_t initial;
static int64_t delta = 1;

static const struct poptOption incr_options[] = {
	{ "initial", 'i', POPT_ARG_STRING, &initial_text, 0,
	    "what a key that is not there begins with (default: an error)",
	    "NUMBER" },
	{ "ttl", 't', POPT_ARG_STRING, &ttl_text, 0,
	    "time to live of a key that is not there (default: the cache's)",
	    "TIME" },
	ARGUMENT_OPTIONS, COMMAND_OPTIONS_END
};

static int
check_incr(struct call *call)
{
	const char *delta_text =
	    call->count > 1 ? call->arguments[1].data : NULL;

	if (ttl_text && !initial_text) {
		return tool_usage("--ttl is for keys that are not there: give "
				  "--initial too");
	}
	return number_integer(
		   "DELTA", delta_text, INT64_MIN, INT64_MAX, &delta) &&
		       number_integer("--initial", initial_text, INT64_MIN,
			   INT64_MAX, &initial) &&
		       number_time("--ttl", ttl_text, &ttl_ms)
		   ? TOOL_GO_ON
		   : TOOL_USAGE;
}

static int
run_incr(struct call *call)
{
	const struct bytes *key = &call->arguments[0];
	const int64_t *start = initial_text ? &initial : NULL;
	int64_t value;
	int error;

	if (call->command == &command_decr) {
		error = shmcache_decr(call->cache, key->data, key->bytes, delta,
		    start, ttl_ms, &value);
	} else {
		error = shmcache_incr(call->cache, key->data, key->bytes, delta,
		    start, ttl_ms, &value);
	}
	if (!error) {
		printf("%" PRId64 "\n", value);
	}
	return entry_result(call, key, error);
}

const struct command command_incr = {
	.name = "incr",
	.arguments = "KEY [DELTA]",
	.summary = "add 1 or DELTA to a number, and print it",
	.options = incr_options,
	.attach = ATTACH_WRITE,
	.least = 1,
	.most = 2,
	.check = check_incr,
	.run = run_incr,
};

const struct command command_decr = {
	.name = "decr",
	.arguments = "KEY [DELTA]",
	.summary = "subtract 1 or DELTA from a number, and print it",
	.options = incr_options,
	.attach = ATTACH_WRITE,
	.least = 1,
	.most = 2,
	.check = check_incr,
	.run = run_incr,
};

/* --- del --------------------------------------------------------------- */

static const struct poptOption del_options[] = { FILTER_OPTIONS, ASK_OPTIONS,
	ARGUMENT_OPTIONS, COMMAND_OPTIONS_END };

static int
check_del(struct call *call)
{
	int code = filter_check(NULL);

	if (code != TOOL_GO_ON) {
		return code;
	}
	if (!filter_given()) {
		return call->count ? TOOL_GO_ON
				   : tool_usage("after NAME should come KEYs, "
						"--prefix or --glob");
	}
	if (call->count) {
		return tool_usage("give either KEYs or --prefix or --glob");
	}
	if (filter.prefix && filter.glob) {
		return tool_usage("--prefix and --glob exclude each other");
	}
	return ask_check();
}

static int
del_entry(struct shmcache *cache, const struct bytes *key)
{
	return shmcache_delete(cache, key->data, key->bytes);
}

static int
del_matching(struct call *call)
{
	uint64_t deleted = 0;
	int code = ask(call->name, "delete all entries that match?");
	int error;

	if (code != TOOL_GO_ON) {
		return code;
	}
	if (filter.glob) {
		error = shmcache_delete_glob(
		    call->cache, filter.glob, filter.glob_bytes, &deleted);
	} else {
		error = shmcache_delete_prefix(
		    call->cache, filter.prefix, filter.prefix_bytes, &deleted);
	}
	if (error) {
		return tool_fail(call->name, error);
	}
	printf("%" PRIu64 "\n", deleted);
	return TOOL_OK;
}

static int
run_del(struct call *call)
{
	return filter_given() ? del_matching(call)
			      : entry_each(call, del_entry);
}

const struct command command_del = {
	.name = "del",
	.other_name = "delete",
	.arguments = "[KEY...]",
	.summary = "delete entries",
	.options = del_options,
	.attach = ATTACH_WRITE,
	.most = ARGUMENTS_ANY,
	.check = check_del,
	.run = run_del,
};

/* --- invalidate-tag ---------------------------------------------------- */

static const struct poptOption tag_options[] = { ARGUMENT_OPTIONS,
	COMMAND_OPTIONS_END };

static int
invalidate_tag(struct shmcache *cache, const struct bytes *tag)
{
	return shmcache_invalidate_tag(cache, tag->data, tag->bytes);
}

static int
run_invalidate_tag(struct call *call)
{
	return entry_each(call, invalidate_tag);
}

const struct command command_invalidate_tag = {
	.name = "invalidate-tag",
	.arguments = "TAG...",
	.summary = "drop all entries that have a tag",
	.options = tag_options,
	.attach = ATTACH_WRITE,
	.least = 1,
	.most = ARGUMENTS_ANY,
	.run = run_invalidate_tag,
};
