/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* manage.c - create, destroy, flush, verify, count: commands on a whole cache */
#include "tools/cli/ask.h"
#include "tools/cli/command.h"
#include "tools/cli/number.h"

#include <inttypes.h>
#include <shmcache_admin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- create ------------------------------------------------------------ */

/* Docker gives a container 64 MiB of /dev/shm; this leaves room for another. */
#define CAPACITY_DEFAULT "32M"
#define SLOTS_MAX        65535
#define MODE_MAX         0777
#define PPM_MAX          999999

static const char *capacity = CAPACITY_DEFAULT;
static const char *items;
static const char *max_items;
static const char *entry_size;
static const char *extent_size;
static const char *default_ttl;
static const char *peers;
static const char *processes;
static const char *mode;
static const char *tags;
static const char *filter_items;
static const char *filter_error;
static const char *policy;
static int volatile_only;
static int if_missing;
static int same_options;

static struct shmcache_options creation = SHMCACHE_OPTIONS_INIT;

static const struct poptOption create_options[] = {
	{ "capacity", 'c', POPT_ARG_STRING | POPT_ARGFLAG_SHOW_DEFAULT,
	    &capacity, 0, "size of the whole segment", "SIZE" },
	{ "items", 'n', POPT_ARG_STRING, &items, 0,
	    "entries to make the index for (default: one in 256 bytes)",
	    "NUMBER" },
	{ "max-items", '\0', POPT_ARG_STRING, &max_items, 0,
	    "never keep more entries than this (default: no limit)", "NUMBER" },
	{ "max-entry", '\0', POPT_ARG_STRING, &entry_size, 0,
	    "largest key and value together (default: a quarter of an extent)",
	    "SIZE" },
	{ "extent", '\0', POPT_ARG_STRING, &extent_size, 0,
	    "size of an extent, a power of two (default: about 1/256 of all)",
	    "SIZE" },
	{ "ttl", 't', POPT_ARG_STRING, &default_ttl, 0,
	    "time to live of entries that are set without one (default: none)",
	    "TIME" },
	{ "peers", '\0', POPT_ARG_STRING, &peers, 0,
	    "threads that may attach (default: 512)", "NUMBER" },
	{ "processes", '\0', POPT_ARG_STRING, &processes, 0,
	    "processes that may attach (default: 256)", "NUMBER" },
	{ "policy", 'p', POPT_ARG_STRING, &policy, 0,
	    "what is kept when it is full: s3fifo, clock, fifo, lru, lfu, mru "
	    "or random (default: s3fifo)",
	    "NAME" },
	{ "volatile", '\0', POPT_ARG_NONE, &volatile_only, 0,
	    "evict nothing but entries that have a time to live", NULL },
	{ "tags", '\0', POPT_ARG_STRING, &tags, 0,
	    "different tags there will be (default: a sixteenth of --items)",
	    "NUMBER" },
	{ "filter-items", '\0', POPT_ARG_STRING, &filter_items, 0,
	    "keys to make room for in a filter of those that exist (default: "
	    "none)",
	    "NUMBER" },
	{ "filter-error", '\0', POPT_ARG_STRING, &filter_error, 0,
	    "false positives of the filter, of a million (default: 10000)",
	    "NUMBER" },
	{ "mode", 'm', POPT_ARG_STRING, &mode, 0,
	    "permissions of the segment (default: 0600)", "OCTAL" },
	{ "if-missing", '\0', POPT_ARG_NONE, &if_missing, 0,
	    "a cache of that name that is there already is no error", NULL },
	{ "strict", '\0', POPT_ARG_NONE, &same_options, 0,
	    "with --if-missing: unless it has other options than those given",
	    NULL },
	COMMAND_OPTIONS_END
};

static int
read_mode(void)
{
	char *end;
	unsigned long value;

	if (!mode) {
		return 1;
	}
	value = strtoul(mode, &end, 8);
	if (*end || !strspn(mode, "01234567") || !value || value > MODE_MAX) {
		(void)tool_usage(
		    "--mode wants an octal number like 0660: not '%s'", mode);
		return 0;
	}
	creation.mode = (uint32_t)value;
	return 1;
}

static int
check_create(struct call *call)
{
	int64_t item_count = 0;
	int64_t item_limit = 0;
	int64_t peer_slots = 0;
	int64_t process_slots = 0;
	int64_t tag_count = 0;
	int64_t known_keys = 0;
	int64_t error_ppm = 0;

	(void)call;
	if (same_options && !if_missing) {
		return tool_usage("--strict goes with --if-missing only");
	}
	if (!number_size("--capacity", capacity, &creation.capacity_bytes) ||
	    !number_size(
		"--max-entry", entry_size, &creation.max_entry_bytes) ||
	    !number_size("--extent", extent_size, &creation.extent_bytes) ||
	    !number_time("--ttl", default_ttl, &creation.default_ttl_ms) ||
	    !number_integer("--items", items, 1, INT64_MAX, &item_count) ||
	    !number_integer(
		"--max-items", max_items, 1, INT64_MAX, &item_limit) ||
	    !number_integer("--peers", peers, 1, SLOTS_MAX, &peer_slots) ||
	    !number_integer(
		"--processes", processes, 1, SLOTS_MAX, &process_slots) ||
	    !number_integer("--tags", tags, 1, INT64_MAX, &tag_count) ||
	    !number_integer(
		"--filter-items", filter_items, 1, INT64_MAX, &known_keys) ||
	    !number_integer(
		"--filter-error", filter_error, 1, PPM_MAX, &error_ppm) ||
	    !read_mode()) {
		return TOOL_USAGE;
	}
	creation.expected_items = (uint64_t)item_count;
	creation.max_items = (uint64_t)item_limit;
	creation.peer_slots = (uint32_t)peer_slots;
	creation.expected_tags = (uint64_t)tag_count;
	creation.filter_items = (uint64_t)known_keys;
	creation.filter_error_ppm = (uint32_t)error_ppm;
	creation.process_slots = (uint32_t)process_slots;
	return TOOL_GO_ON;
}

static int
run_create(struct call *call)
{
	int error;

	tool_attach_options(&creation);
	creation.policy = policy;
	creation.volatile_only = (uint32_t)volatile_only;
	creation.strict = (uint32_t)same_options;
	creation.open_mode =
	    if_missing ? SHMCACHE_OPEN_OR_CREATE : SHMCACHE_CREATE_EXCLUSIVE;
	error = shmcache_open(call->name, &creation, &call->cache);
	return error ? tool_fail(call->name, error) : TOOL_OK;
}

const struct command command_create = {
	.name = "create",
	.arguments = "",
	.summary = "create a cache",
	.options = create_options,
	.check = check_create,
	.run = run_create,
};

/* --- destroy, flush ---------------------------------------------------- */

static const struct poptOption destructive_options[] = { ASK_OPTIONS,
	COMMAND_OPTIONS_END };

static int
check_destructive(struct call *call)
{
	(void)call;
	return ask_check();
}

static int
run_destroy(struct call *call)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	int code =
	    ask(call->name, "remove this cache, for all who use it, for good?");
	int error;

	if (code != TOOL_GO_ON) {
		return code;
	}
	tool_attach_options(&options);
	error = shmcache_remove_with(call->name, &options);
	return error ? tool_fail(call->name, error) : TOOL_OK;
}

const struct command command_destroy = {
	.name = "destroy",
	.arguments = "",
	.summary = "remove a cache",
	.options = destructive_options,
	.check = check_destructive,
	.run = run_destroy,
};

static int
run_flush(struct call *call)
{
	int code = ask(call->name, "drop every entry?");
	int error;

	if (code != TOOL_GO_ON) {
		return code;
	}
	error = shmcache_flush(call->cache);
	return error ? tool_fail(call->name, error) : TOOL_OK;
}

const struct command command_flush = {
	.name = "flush",
	.arguments = "",
	.summary = "drop every entry",
	.options = destructive_options,
	.attach = ATTACH_WRITE,
	.check = check_destructive,
	.run = run_flush,
};

/* --- verify ------------------------------------------------------------ */

static int strict;

static const struct poptOption verify_options[] = {
	{ "strict", '\0', POPT_ARG_NONE, &strict, 0,
	    "check also what holds only while nobody uses the cache", NULL },
	COMMAND_OPTIONS_END
};

static void
print_violation(void *context, const char *violation)
{
	(void)context;
	puts(violation);
}

static int
run_verify(struct call *call)
{
	int violations = shmcache_verify(call->cache,
	    strict ? SHMCACHE_VERIFY_STRICT : SHMCACHE_VERIFY_LIVE,
	    print_violation, NULL);

	if (violations < 0) {
		return tool_fail(call->name, violations);
	}
	if (violations == 0) {
		tool_say(call->name, "sound");
		return TOOL_OK;
	}
	tool_say(call->name,
	    "%s: remove the cache and let its users create it "
	    "anew",
	    strict ? "damaged, unless somebody used it meanwhile" : "damaged");
	return TOOL_UNSOUND;
}

const struct command command_verify = {
	.name = "verify",
	.arguments = "",
	.summary = "check that a cache is sound",
	.options = verify_options,
	.attach = ATTACH_WRITE,
	.run = run_verify,
};
