/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tools_test.c - shmcache-stat and shmcache-janitor as their users meet them
 *
 * The tools are run as programs, from SHMCACHE_BUILD/tools (else from beside
 * this program); what they print and how they exit is compared with what the
 * API says about the same cache.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/run.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CAPACITY_BYTES (8u << 20)
#define OUTPUT_BYTES   65536
#define ARGUMENTS_MAX  8
#define NOBODY         65534

/* Exit codes that the man pages promise. */
enum {
	EXIT_OK = 0,
	EXIT_USAGE = 2,
	EXIT_NO_ATTACH = 3,
	EXIT_UNSOUND = 4,
	EXIT_NO_SPACE = 5
};

/* What a tool did that was run to its end. */
struct outcome {
	int code;
	char out[OUTPUT_BYTES];
	char err[OUTPUT_BYTES];
};

/* --- running tools ----------------------------------------------------- */

static const char *
tool_path(const char *tool)
{
	static char path[4096];
	const char *build = getenv("SHMCACHE_BUILD");
	char self[2048] = "";
	ssize_t length;

	if (build) {
		snprintf(path, sizeof(path), "%s/tools/%s", build, tool);
	} else {
		length = readlink("/proc/self/exe", self, sizeof(self) - 1);
		CHECK_SYS(length);
		*strrchr(self, '/') = '\0';
		snprintf(path, sizeof(path), "%s/../../tools/%s", self, tool);
	}
	CHECK_SAY(access(path, X_OK) == 0, "%s: %s", path, test_errno_text());
	return path;
}

/* Start a tool with these arguments (NULL ends them) and descriptors. */
static pid_t
start_tool(const char *tool, const char *const *arguments, int out, int err)
{
	posix_spawn_file_actions_t actions;
	char *argv[ARGUMENTS_MAX + 2] = { NULL };
	const char *path = tool_path(tool);
	pid_t pid;
	size_t i;
	int error;

	argv[0] = strdup(tool);
	for (i = 0; arguments[i]; i++) {
		CHECK(i < ARGUMENTS_MAX);
		argv[i + 1] = strdup(arguments[i]);
	}
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
	error = posix_spawn(&pid, path, &actions, NULL, argv, environ);
	CHECK_SAY(error == 0, "%s: %s", path, strerrordesc_np(error));
	posix_spawn_file_actions_destroy(&actions);
	for (i = 0; argv[i]; i++) {
		free(argv[i]);
	}
	return pid;
}

/* A file without a name, so that a tool never waits for its reader. */
static int
scratch_file(void)
{
	int fd = memfd_create("tools_test", MFD_CLOEXEC);

	CHECK_SYS(fd);
	return fd;
}

static void
read_and_close(int fd, char *text)
{
	ssize_t length = pread(fd, text, OUTPUT_BYTES - 1, 0);

	CHECK_SYS(length);
	text[length] = '\0';
	close(fd);
}

static void
run_arguments(
    struct outcome *outcome, const char *tool, const char *const *arguments)
{
	int out = scratch_file();
	int err = scratch_file();

	outcome->code = child_wait(start_tool(tool, arguments, out, err));
	read_and_close(out, outcome->out);
	read_and_close(err, outcome->err);
}

#define RUN(outcome, tool, ...)                                                \
	run_arguments(outcome, tool, (const char *const[]){ __VA_ARGS__, NULL })

#define CHECK_CODE(outcome, wanted)                                            \
	CHECK_SAY((outcome)->code == (wanted),                                 \
	    "exit code %d, not %d; stdout: %s; stderr: %s", (outcome)->code,   \
	    (wanted), (outcome)->out, (outcome)->err)

#define CHECK_HAS(text, part)                                                  \
	CHECK_SAY(strstr(text, part), "\"%s\" is missing in: %s", part, text)

/* A failure: this exit code, nothing on stdout, one or more lines that begin
   with the tool's name on stderr, `part` among them. */
static void
check_refusal(
    const struct outcome *outcome, const char *tool, int code, const char *part)
{
	CHECK_CODE(outcome, code);
	CHECK_SAY(!*outcome->out, "stdout is not empty: %s", outcome->out);
	CHECK_SAY(!strncmp(outcome->err, tool, strlen(tool)),
	    "stderr does not begin with %s: %s", tool, outcome->err);
	CHECK_HAS(outcome->err, part);
}

static void
check_silent_success(const struct outcome *outcome)
{
	CHECK_CODE(outcome, EXIT_OK);
	CHECK_SAY(!*outcome->err, "stderr is not empty: %s", outcome->err);
}

static const char *const both_tools[] = { "shmcache-stat", "shmcache-janitor" };

/* The same refusal of both tools. */
static void
check_both_refuse(const char *name, int code, const char *part)
{
	static struct outcome outcome;

	for (size_t i = 0; i < TEST_COUNT_OF(both_tools); i++) {
		RUN(&outcome, both_tools[i], name);
		check_refusal(&outcome, both_tools[i], code, part);
		CHECK_HAS(outcome.err, name);
	}
}

/* --- the command line -------------------------------------------------- */

static void
help_and_version(void)
{
	static struct outcome outcome;
	char version[64];

	for (size_t i = 0; i < TEST_COUNT_OF(both_tools); i++) {
		RUN(&outcome, both_tools[i], "--help");
		check_silent_success(&outcome);
		CHECK_HAS(outcome.out, "Usage: ");
		CHECK_HAS(outcome.out, both_tools[i]);
		CHECK_HAS(outcome.out, "NAME");
		CHECK_HAS(outcome.out, "--any-owner");

		RUN(&outcome, both_tools[i], "--version");
		check_silent_success(&outcome);
		snprintf(version, sizeof(version), "%s %s\n", both_tools[i],
		    shmcache_version());
		CHECK_SAY(!strcmp(outcome.out, version), "not \"%s\": %s",
		    version, outcome.out);
	}
}

static void
usage_errors(void)
{
	static struct outcome outcome;
	static const char *const intervals[] = { "0", "-1", "nan", "1e9",
		"soon", "0.01" };

	for (size_t i = 0; i < TEST_COUNT_OF(both_tools); i++) {
		const char *tool = both_tools[i];

		run_arguments(&outcome, tool, (const char *const[]){ NULL });
		check_refusal(&outcome, tool, EXIT_USAGE, "--help");
		RUN(&outcome, tool, "one", "two");
		check_refusal(&outcome, tool, EXIT_USAGE, "two");
		RUN(&outcome, tool, "--no-such-option", "one");
		check_refusal(&outcome, tool, EXIT_USAGE, "--no-such-option");
		RUN(&outcome, tool, "a/b");
		check_refusal(&outcome, tool, EXIT_USAGE, "slash");
		RUN(&outcome, tool, "");
		check_refusal(&outcome, tool, EXIT_USAGE, "1 to 200 bytes");
	}
	for (size_t i = 0; i < TEST_COUNT_OF(intervals); i++) {
		RUN(&outcome, "shmcache-janitor", "--interval", intervals[i],
		    "one");
		check_refusal(
		    &outcome, "shmcache-janitor", EXIT_USAGE, "--help");
	}
}

/* --- caches that cannot be attached to --------------------------------- */

static void
no_such_cache(void)
{
	check_both_refuse(
	    test_name("absent"), EXIT_NO_ATTACH, "check the name");
	CHECK(access(test_path("absent"), F_OK) != 0);
	check_both_refuse(
	    "/dev/shm/no/such/folder", EXIT_NO_ATTACH, "check the name");
}

static void
write_file(const char *path, const void *content, size_t bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);

	CHECK_SYS(fd);
	CHECK(write(fd, content, bytes) == (ssize_t)bytes);
	close(fd);
}

static void
not_a_cache(void)
{
	static char zeros[65536];
	static struct outcome outcome;

	write_file(test_path("text"), "hello\n", 6);
	check_both_refuse(test_name("text"), EXIT_UNSOUND, "not a cache");
	check_both_refuse(test_path("text"), EXIT_UNSOUND, "not a cache");

	write_file(test_path("empty"), "", 0);
	check_both_refuse(test_name("empty"), EXIT_UNSOUND, "not a cache");

	write_file(test_path("zeros"), zeros, sizeof(zeros));
	check_both_refuse(test_name("zeros"), EXIT_UNSOUND, "not a cache");

	CHECK_SYS(mkdir(test_path("folder"), 0700));
	check_both_refuse(test_name("folder"), EXIT_UNSOUND, "regular file");

	CHECK_SYS(mkfifo(test_path("fifo"), 0600));
	check_both_refuse(test_name("fifo"), EXIT_UNSOUND, "regular file");

	shmcache_close(cache_create_plain("real", CAPACITY_BYTES));
	CHECK_SYS(symlink(test_path("real"), test_path("link")));
	check_both_refuse(test_name("link"), EXIT_UNSOUND, "regular file");
	RUN(&outcome, "shmcache-stat", test_path("real"));
	check_silent_success(&outcome);
}

static void
truncated_cache(void)
{
	shmcache_close(cache_create_plain("short", CAPACITY_BYTES));
	CHECK_SYS(truncate(test_path("short"), CAPACITY_BYTES / 2));
	check_both_refuse(test_name("short"), EXIT_UNSOUND, "remove the cache");
}

static void
foreign_owner(void)
{
	static struct outcome outcome;

	if (geteuid() != 0) {
		skip("only root can give a file away");
	}
	shmcache_close(cache_create_plain("given", CAPACITY_BYTES));
	CHECK_SYS(chown(test_path("given"), NOBODY, (gid_t)-1));
	check_both_refuse(test_name("given"), EXIT_NO_ATTACH, "--any-owner");

	RUN(&outcome, "shmcache-stat", "--any-owner", test_name("given"));
	check_silent_success(&outcome);
	RUN(&outcome, "shmcache-janitor", "--any-owner", "--once",
	    test_name("given"));
	check_silent_success(&outcome);
}

static void
no_permission(void)
{
	shmcache_close(cache_create_plain("closed", CAPACITY_BYTES));
	if (geteuid() != 0) {
		CHECK_SYS(chmod(test_path("closed"), 0));
	} else {
		const char *path = tool_path("shmcache-stat");

		CHECK_SYS(setgid(NOBODY));
		CHECK_SYS(setuid(NOBODY));
		if (access(path, X_OK) != 0) {
			skip("user %d may not run the tools here", NOBODY);
		}
	}
	check_both_refuse(
	    test_name("closed"), EXIT_NO_ATTACH, "run as the owner");
}

/* --- shmcache-stat ----------------------------------------------------- */

struct field {
	const char *name;
	size_t offset_bytes;
	int is_counter;
};

static const struct field fields[] = {
#define COUNTER(name, text) { #name, offsetof(struct shmcache_stats, name), 1 },
#define GAUGE(name, text)   { #name, offsetof(struct shmcache_stats, name), 0 },
#include <shmcache_stats.def>
};

static uint64_t
field_value(const struct shmcache_stats *stats, const struct field *field)
{
	uint64_t value;

	memcpy(
	    &value, (const char *)stats + field->offset_bytes, sizeof(value));
	return value;
}

/* What the tool, a process of its own, adds by looking. */
static int
counts_the_viewer(const char *name)
{
	return !strcmp(name, "processes") || !strcmp(name, "peers");
}

/* What grows from one look to the next. */
static int
is_age(const char *name)
{
	return strstr(name, "_age_ms") != NULL;
}

static void
check_field(const struct field *field, uint64_t seen,
    const struct shmcache_stats *stats)
{
	uint64_t wanted = field_value(stats, field);

	if (counts_the_viewer(field->name) && seen == wanted + 1) {
		return;
	}
	if (is_age(field->name) && seen >= wanted) {
		return;
	}
	CHECK_SAY(seen == wanted, "%s is %" PRIu64 ", not %" PRIu64,
	    field->name, seen, wanted);
}

/* A cache whose counters are not all 0. */
static struct shmcache *
create_used_cache(const char *suffix)
{
	struct shmcache *cache = cache_create_plain(suffix, CAPACITY_BYTES);
	char buffer[64];

	cache_set_text(cache, "kept", "a value");
	cache_set_text(cache, "replaced", "an old value");
	cache_set_text(cache, "replaced", "a new value");
	cache_set_text(cache, "deleted", "a value");
	CHECK_RESULT(shmcache_delete(cache, "deleted", 7), 0);
	CHECK_RESULT(shmcache_touch(cache, "kept", 4, 3600000), 0);
	cache_check_text(cache, "kept", "a value");
	cache_check_text(cache, "kept", "a value");
	cache_check_text(cache, "replaced", "a new value");
	CHECK_RESULT(shmcache_get(cache, "deleted", 7, buffer, sizeof(buffer),
			 NULL, NULL),
	    SHMCACHE_ENOENT);
	return cache;
}

static void
table_agrees_with_api(void)
{
	static struct outcome outcome;
	struct shmcache *cache = create_used_cache("table");
	struct shmcache_stats stats = cache_stats(cache);
	char start[64];
	char pid[32];

	RUN(&outcome, "shmcache-stat", test_name("table"));
	check_silent_success(&outcome);
	for (size_t i = 0; i < TEST_COUNT_OF(fields); i++) {
		const char *line;

		snprintf(start, sizeof(start), "\n  %s ", fields[i].name);
		line = strstr(outcome.out, start);
		CHECK_SAY(
		    line, "no line of %s: %s", fields[i].name, outcome.out);
		check_field(&fields[i], strtoull(line + strlen(start), NULL, 0),
		    &stats);
	}
	CHECK_HAS(outcome.out, "0.750000  75.0 %");
	CHECK_HAS(outcome.out, " MiB\n");
	snprintf(pid, sizeof(pid), "  %10d  alive", (int)getpid());
	CHECK_HAS(outcome.out, pid);
	CHECK_SAY(!strstr(outcome.out, "Advice"),
	    "advice for a sound cache: %s", outcome.out);

	RUN(&outcome, "shmcache-stat", "--explain", test_name("table"));
	check_silent_success(&outcome);
	CHECK_HAS(outcome.out, "gets that returned a value");
	CHECK_RESULT(shmcache_close(cache), 0);
}

static json_t *
run_json(const char *name)
{
	static struct outcome outcome;
	json_error_t error;
	json_t *root;

	RUN(&outcome, "shmcache-stat", "--json", name);
	check_silent_success(&outcome);
	root = json_loads(outcome.out, JSON_REJECT_DUPLICATES, &error);
	CHECK_SAY(root, "line %d: %s: %s", error.line, error.text, outcome.out);
	return root;
}

static json_t *
member(const json_t *object, const char *name)
{
	json_t *value = json_object_get(object, name);

	CHECK_SAY(value, "no member \"%s\"", name);
	return value;
}

static uint64_t
json_field(const json_t *root, const struct field *field)
{
	const json_t *group =
	    member(root, field->is_counter ? "counters" : "gauges");
	const json_t *value = member(group, field->name);

	if (!strcmp(field->name, "segment_id")) {
		CHECK(json_is_string(value));
		return strtoull(json_string_value(value), NULL, 16);
	}
	CHECK_SAY(json_is_integer(value), "%s is no integer", field->name);
	return (uint64_t)json_integer_value(value);
}

static void
check_ratio(const json_t *root, const char *name, uint64_t part, uint64_t whole)
{
	const json_t *value = member(member(root, "derived"), name);
	double wanted = (double)part / (double)whole;
	double seen = json_real_value(value);

	CHECK(json_is_real(value));
	CHECK_SAY(seen > wanted - 1e-5 && seen < wanted + 1e-5,
	    "%s is %g, not %g", name, seen, wanted);
}

static void
json_agrees_with_api(void)
{
	struct shmcache *cache = create_used_cache("json");
	struct shmcache_stats stats = cache_stats(cache);
	json_t *root = run_json(test_name("json"));
	size_t counters = 0;

	for (size_t i = 0; i < TEST_COUNT_OF(fields); i++) {
		check_field(&fields[i], json_field(root, &fields[i]), &stats);
		counters += (size_t)fields[i].is_counter;
	}
	CHECK(stats.get_hits == 3 && stats.get_misses == 1);
	CHECK(stats.sets == 4 && stats.deletes == 1 && stats.items == 2);
	CHECK(json_object_size(member(root, "counters")) == counters);
	CHECK(json_object_size(member(root, "gauges")) ==
	      TEST_COUNT_OF(fields) - counters);

	check_ratio(root, "hit_ratio", 3, 4);
	check_ratio(root, "index_load", stats.items, stats.index_slots);
	check_ratio(root, "live_ratio", stats.live_bytes, stats.arena_bytes);
	CHECK(!strcmp(
	    json_string_value(member(root, "name")), test_name("json")));
	CHECK(!strcmp(
	    json_string_value(member(root, "version")), shmcache_version()));
	CHECK(json_array_size(member(root, "advice")) == 0);
	json_decref(root);
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* The entry of `pid` in the array of processes, or NULL. */
static json_t *
find_process(const json_t *root, pid_t pid)
{
	const json_t *processes = member(root, "processes");

	for (size_t i = 0; i < json_array_size(processes); i++) {
		json_t *process = json_array_get(processes, i);

		if (json_integer_value(member(process, "pid")) == pid) {
			return process;
		}
	}
	return NULL;
}

static void
json_lists_processes(void)
{
	struct shmcache *cache = create_used_cache("processes");
	struct shmcache_item item;
	json_t *process;
	json_t *root;

	CHECK_RESULT(shmcache_get_pinned(cache, "kept", 4, &item), 0);
	root = run_json(test_name("processes"));
	process = find_process(root, getpid());
	CHECK(process != NULL);
	CHECK(json_is_true(member(process, "alive")));
	CHECK(json_integer_value(member(process, "peers")) == 1);
	CHECK(json_integer_value(member(process, "pins")) == 1);
	CHECK(json_is_integer(member(process, "slot")));
	/* This process and the tool. */
	CHECK(json_array_size(member(root, "processes")) == 2);
	json_decref(root);
	CHECK_RESULT(shmcache_unpin(cache, &item), 0);
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* No division by 0, and a name that JSON cannot hold. */
static void
json_of_an_unused_cache(void)
{
	const char *name = test_name("unused-\xff");
	json_t *root;

	shmcache_close(cache_create_plain("unused-\xff", CAPACITY_BYTES));
	root = run_json(name);
	CHECK(json_is_null(member(root, "name")));
	CHECK(json_is_null(member(member(root, "derived"), "hit_ratio")));
	CHECK(json_is_real(member(member(root, "derived"), "index_load")));
	json_decref(root);
}

/* --- where the output goes --------------------------------------------- */

static void
check_run_into(int out, const char *format, int code, const char *part)
{
	static struct outcome outcome;
	const char *arguments[] = { format, test_name("output"), NULL };
	int err = scratch_file();

	outcome.out[0] = '\0';
	outcome.code =
	    child_wait(start_tool("shmcache-stat", arguments, out, err));
	read_and_close(err, outcome.err);
	CHECK_CODE(&outcome, code);
	CHECK_HAS(outcome.err, part);
	CHECK_SAY(
	    *part || !*outcome.err, "stderr is not empty: %s", outcome.err);
}

static void
reader_that_went_away(void)
{
	int ends[2];

	shmcache_close(create_used_cache("output"));
	for (int ignored = 0; ignored <= 1; ignored++) {
		signal(SIGPIPE, ignored ? SIG_IGN : SIG_DFL);
		CHECK_SYS(pipe2(ends, O_CLOEXEC));
		close(ends[0]);
		check_run_into(ends[1], "--json", EXIT_OK, "");
		check_run_into(ends[1], "--explain", EXIT_OK, "");
		close(ends[1]);
	}
}

static void
full_device(void)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	if (full < 0) {
		skip("/dev/full: %s", test_errno_text());
	}
	shmcache_close(create_used_cache("output"));
	check_run_into(full, "--json", EXIT_NO_SPACE, "standard output");
	check_run_into(full, "--explain", EXIT_NO_SPACE, "standard output");
	close(full);
}

/* --- advice ------------------------------------------------------------ */

static void
check_advice(const char *suffix, const char *part)
{
	static struct outcome outcome;
	json_t *root = run_json(test_name(suffix));
	const json_t *advice = member(root, "advice");
	int found = 0;

	for (size_t i = 0; i < json_array_size(advice); i++) {
		const char *line = json_string_value(json_array_get(advice, i));

		found |= line && strstr(line, part);
	}
	CHECK_SAY(found, "no advice has \"%s\"", part);
	json_decref(root);
	RUN(&outcome, "shmcache-stat", test_name(suffix));
	check_silent_success(&outcome);
	CHECK_HAS(outcome.out, "\nAdvice\n");
	CHECK_HAS(outcome.out, part);
}

static void
advice_on_a_small_index(void)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	struct shmcache *cache;
	char key[32];

	options.capacity_bytes = CAPACITY_BYTES;
	options.expected_items = 100;
	cache = cache_create("small", &options);
	for (int i = 0; i < 5000; i++) {
		snprintf(key, sizeof(key), "key %d", i);
		cache_set_text(cache, key, "value");
	}
	CHECK(cache_stats(cache).index_evictions > 0);
	check_advice("small", "expected_items of");
	CHECK_RESULT(shmcache_close(cache), 0);
}

static void
advice_on_failed_sets(void)
{
	struct shmcache *cache = cache_create_plain("failed", CAPACITY_BYTES);
	uint64_t bytes = cache_stats(cache).max_entry_bytes;
	void *value = calloc(1, bytes);

	CHECK(value != NULL);
	CHECK_RESULT(shmcache_set(cache, "key", 3, value, bytes, 0, 0),
	    SHMCACHE_ETOOBIG);
	free(value);
	check_advice("failed", "max_entry_bytes above");
	CHECK_RESULT(shmcache_close(cache), 0);
}

static void
advice_on_few_process_slots(void)
{
	static struct outcome outcome;
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	struct shmcache *cache;

	options.capacity_bytes = CAPACITY_BYTES;
	options.process_slots = 2;
	cache = cache_create("slots", &options);
	check_advice("slots", "2 of 2 process slots");
	CHECK_RESULT(shmcache_close(cache), 0);

	CHECK_SAY(shmcache_remove(test_name("slots")) == 0, "remove");
	options.process_slots = 1;
	cache = cache_create("slots", &options);
	RUN(&outcome, "shmcache-stat", test_name("slots"));
	check_refusal(
	    &outcome, "shmcache-stat", EXIT_NO_ATTACH, "process_slots");
	CHECK_RESULT(shmcache_close(cache), 0);
}

#define PINNERS         3
#define PINS_PER_PINNER 4

struct pinner {
	struct shmcache *cache;
	_Atomic uint32_t *ready;
	int first_key;
};

static void
pin_and_wait(void *argument)
{
	const struct pinner *pinner = argument;
	struct shmcache_item item;
	char key[32];

	for (int i = 0; i < PINS_PER_PINNER; i++) {
		snprintf(key, sizeof(key), "%d", pinner->first_key + i);
		CHECK_RESULT(
		    shmcache_get_pinned(pinner->cache, key, strlen(key), &item),
		    0);
	}
	atomic_fetch_add(pinner->ready, 1);
	pause();
}

/*
 * Twelve of about thirty extents get pinned: one processor writes, so that
 * entries lie in the order of their sets, four to an extent.
 */
static void
advice_on_pinned_extents(void)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	struct pinner pinner = { .ready = shared_alloc(sizeof(uint32_t)) };
	pid_t pids[PINNERS];
	cpu_set_t one;
	uint64_t bytes;
	char key[32];
	char *value;

	CPU_ZERO(&one);
	CPU_SET((unsigned)sched_getcpu(), &one);
	CHECK_SYS(sched_setaffinity(0, sizeof(one), &one));
	options.capacity_bytes = CAPACITY_BYTES;
	options.extent_bytes = 256 << 10;
	options.peer_slots = 16;
	pinner.cache = cache_create("pinned", &options);
	bytes = cache_stats(pinner.cache).max_entry_bytes - sizeof(key);
	value = calloc(1, bytes);
	CHECK(value != NULL);
	for (int i = 0; i < PINNERS * PINS_PER_PINNER * 4; i++) {
		snprintf(key, sizeof(key), i % 4 ? "%d filler" : "%d", i / 4);
		CHECK_RESULT(shmcache_set(pinner.cache, key, strlen(key), value,
				 bytes, 0, 0),
		    0);
	}
	free(value);
	for (int i = 0; i < PINNERS; i++) {
		pinner.first_key = i * PINS_PER_PINNER;
		pids[i] = child_start(pin_and_wait, &pinner);
	}
	await_at_least(pinner.ready, PINNERS);
	CHECK(cache_stats(pinner.cache).extents_pinned == 12);
	check_advice("pinned", "12 of ");
	for (int i = 0; i < PINNERS; i++) {
		child_kill(pids[i]);
	}
	CHECK_RESULT(shmcache_close(pinner.cache), 0);
}

struct doomed {
	struct shmcache *cache;
	_Atomic uint32_t *attached;
};

/* Use the cache, wait until the other has too, and end without detaching. */
static void
die_attached(void *argument)
{
	struct doomed *doomed = argument;

	cache_set_text(doomed->cache, "child", "was here");
	atomic_fetch_add(doomed->attached, 1);
	await_at_least(doomed->attached, 2);
	_exit(0);
}

/*
 * Two die, as the tool, which attaches, takes the lower one's slot for itself
 * and so tidies it up.
 */
static void
dead_process_is_told_and_freed(void)
{
	static struct outcome outcome;
	struct shmcache *cache = create_used_cache("dead");
	struct doomed doomed = { cache, shared_alloc(sizeof(uint32_t)) };
	json_t *process;
	json_t *root;
	pid_t pids[2];

	pids[0] = child_start(die_attached, &doomed);
	await_at_least(doomed.attached, 1);
	pids[1] = child_start(die_attached, &doomed);
	child_expect(pids[0], 0);
	child_expect(pids[1], 0);
	root = run_json(test_name("dead"));
	CHECK(find_process(root, pids[0]) == NULL);
	process = find_process(root, pids[1]);
	CHECK(process != NULL);
	CHECK(json_is_false(member(process, "alive")));
	json_decref(root);
	check_advice("dead", "1 dead process is");

	RUN(&outcome, "shmcache-janitor", "--once", test_name("dead"));
	check_silent_success(&outcome);
	CHECK_HAS(outcome.out, "freed_peers=1");
	root = run_json(test_name("dead"));
	CHECK(find_process(root, pids[1]) == NULL);
	CHECK(json_array_size(member(root, "advice")) == 0);
	json_decref(root);
	cache_check_text(cache, "child", "was here");
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* --- shmcache-janitor -------------------------------------------------- */

static void
set_with_ttl(struct shmcache *cache, const char *key, int64_t ttl_ms)
{
	CHECK_RESULT(
	    shmcache_set(cache, key, strlen(key), "x", 1, ttl_ms, 0), 0);
}

static void
once_expires(void)
{
	static struct outcome outcome;
	struct shmcache *cache = create_used_cache("once");
	uint64_t items = cache_stats(cache).items;
	uint64_t tick_ms = cache_stats(cache).clock_tick_ns / 1000000;

	set_with_ttl(cache, "short", 1);
	CHECK(cache_stats(cache).items == items + 1);
	sleep_us((unsigned)(1 + 2 * (tick_ms + 1)) * 1000);

	RUN(&outcome, "shmcache-janitor", "--once", test_name("once"));
	check_silent_success(&outcome);
	CHECK_HAS(outcome.out, " expired_entries=1 ");
	CHECK_HAS(outcome.out, " next_expiry_ms=");
	CHECK_SAY(
	    strchr(outcome.out, '\n') == outcome.out + strlen(outcome.out) - 1,
	    "not one line: %s", outcome.out);
	CHECK(cache_stats(cache).items == items);
	CHECK(cache_stats(cache).expired_swept == 1);

	RUN(&outcome, "shmcache-janitor", "--once", test_name("once"));
	check_silent_success(&outcome);
	CHECK_HAS(outcome.out, " expired_entries=0 ");
	cache_check_text(cache, "kept", "a value");
	cache_check_sound(cache);
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* A janitor in the background; what it says goes into a pipe. */
struct janitor {
	pid_t pid;
	int err;
	char said[4096];
};

/* Read until `part` has been said; the runner's limit ends a vain wait. */
static void
await_words(struct janitor *janitor, const char *part)
{
	size_t used = strlen(janitor->said);
	ssize_t got;

	while (!strstr(janitor->said, part)) {
		got = read(janitor->err, janitor->said + used,
		    sizeof(janitor->said) - 1 - used);
		CHECK_SYS(got);
		CHECK_SAY(got > 0, "the janitor never said \"%s\" but: %s",
		    part, janitor->said);
		used += (size_t)got;
		janitor->said[used] = '\0';
	}
}

static void
start_janitor(struct janitor *janitor, const char *suffix)
{
	const char *arguments[] = { "--verbose", "--interval", "0.05",
		test_name(suffix), NULL };
	int ends[2];

	CHECK_SYS(pipe2(ends, O_CLOEXEC));
	janitor->pid =
	    start_tool("shmcache-janitor", arguments, ends[1], ends[1]);
	close(ends[1]);
	janitor->err = ends[0];
	janitor->said[0] = '\0';
	await_words(janitor, "started");
}

static void
stop_janitor(struct janitor *janitor, int signal_number, const char *words)
{
	if (signal_number) {
		CHECK_SYS(kill(janitor->pid, signal_number));
	}
	child_expect(janitor->pid, EXIT_OK);
	await_words(janitor, words);
	close(janitor->err);
}

static void
loop_stops_on_signals(void)
{
	struct janitor janitor;

	shmcache_close(create_used_cache("loop"));
	start_janitor(&janitor, "loop");
	stop_janitor(&janitor, SIGTERM, "stopped by SIGTERM");
	start_janitor(&janitor, "loop");
	stop_janitor(&janitor, SIGINT, "stopped by SIGINT");
}

static void
loop_expires(void)
{
	struct shmcache *cache = create_used_cache("expiry");
	uint64_t items = cache_stats(cache).items;
	struct janitor janitor;

	start_janitor(&janitor, "expiry");
	for (uint64_t i = 1; i <= 3; i++) {
		set_with_ttl(cache, "short", 20);
		while (cache_stats(cache).expired_swept < i) {
			sleep_us(5000);
		}
		CHECK(cache_stats(cache).items == items);
	}
	await_words(&janitor, "expired_entries=1");
	stop_janitor(&janitor, SIGTERM, "stopped by SIGTERM");
	cache_check_sound(cache);
	CHECK_RESULT(shmcache_close(cache), 0);
}

static void
loop_ends_when_removed(void)
{
	struct shmcache *cache = create_used_cache("removed");
	struct janitor janitor;

	start_janitor(&janitor, "removed");
	CHECK_RESULT(shmcache_remove(test_name("removed")), 0);
	stop_janitor(&janitor, 0, "was removed");
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* Errors that pass are told once, and when they are over. */
static void
loop_waits_for_a_peer_slot(void)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	struct janitor janitor;
	struct shmcache *cache;

	options.capacity_bytes = CAPACITY_BYTES;
	options.peer_slots = 1;
	cache = cache_create("taken", &options);
	cache_set_text(cache, "key", "value");
	start_janitor(&janitor, "taken");
	await_words(&janitor, "peer_slots");
	sleep_us(200000);
	CHECK_RESULT(shmcache_close(cache), 0);
	await_words(&janitor, "sweeping again");
	stop_janitor(&janitor, SIGTERM, "stopped by SIGTERM");
	CHECK_SAY(!strstr(strstr(janitor.said, "peer_slots") + 1, "peer_slots"),
	    "told more than once: %s", janitor.said);
}

/* Two janitors, one of them killed and replaced, while a writer fills the
   cache several times over. */
static void
two_janitors_do_no_harm(void)
{
	struct shmcache *cache = cache_create_plain("two", CAPACITY_BYTES);
	struct janitor one, two;

	start_janitor(&one, "two");
	for (uint64_t round = 0; round < 4; round++) {
		start_janitor(&two, "two");
		set_with_ttl(cache, "short", 1);
		cache_churn(cache, round, CAPACITY_BYTES);
		child_kill(two.pid);
		close(two.err);
	}
	cache_check_live(cache);
	stop_janitor(&one, SIGTERM, "stopped by SIGTERM");
	cache_set_text(cache, "last", "value");
	cache_check_text(cache, "last", "value");
	cache_check_sound(cache);
	CHECK_RESULT(shmcache_close(cache), 0);
}

static const struct test_case cases[] = {
	{ "help_and_version", help_and_version },
	{ "usage_errors", usage_errors },
	{ "no_such_cache", no_such_cache },
	{ "not_a_cache", not_a_cache },
	{ "truncated_cache", truncated_cache },
	{ "foreign_owner", foreign_owner },
	{ "no_permission", no_permission },
	{ "table_agrees_with_api", table_agrees_with_api },
	{ "json_agrees_with_api", json_agrees_with_api },
	{ "json_lists_processes", json_lists_processes },
	{ "json_of_an_unused_cache", json_of_an_unused_cache },
	{ "reader_that_went_away", reader_that_went_away },
	{ "full_device", full_device },
	{ "advice_on_a_small_index", advice_on_a_small_index },
	{ "advice_on_failed_sets", advice_on_failed_sets },
	{ "advice_on_few_process_slots", advice_on_few_process_slots },
	{ "advice_on_pinned_extents", advice_on_pinned_extents },
	{ "dead_process_is_told_and_freed", dead_process_is_told_and_freed },
	{ "once_expires", once_expires },
	{ "loop_stops_on_signals", loop_stops_on_signals },
	{ "loop_expires", loop_expires },
	{ "loop_ends_when_removed", loop_ends_when_removed },
	{ "loop_waits_for_a_peer_slot", loop_waits_for_a_peer_slot },
	{ "two_janitors_do_no_harm", two_janitors_do_no_harm },
};

int
main(int argc, char **argv)
{
	struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
		.limit_seconds = 120,
	};

	return run_suite(argc, argv, &suite);
}
