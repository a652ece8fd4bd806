/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * janitor_test.c - shmcache-janitor as its users meet it
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/run.h"
#include "tests/support/tool.h"

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CAPACITY_BYTES (8u << 20)

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
	struct shmcache *cache = cache_create_used("once");
	uint64_t items = cache_stats(cache).items;

	set_with_ttl(cache, "short", 1);
	CHECK(cache_stats(cache).items == items + 1);
	cache_clock_await(cache_clock_ns() + 2000000);

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
	cache_finish(cache);
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
start_janitor_as(struct janitor *janitor, const char *const *arguments)
{
	int ends[2];

	CHECK_SYS(pipe2(ends, O_CLOEXEC));
	janitor->pid =
	    tool_start("shmcache-janitor", arguments, ends[1], ends[1]);
	close(ends[1]);
	janitor->err = ends[0];
	janitor->said[0] = '\0';
}

#define START(janitor, ...)                                                    \
	start_janitor_as(janitor, (const char *const[]){ __VA_ARGS__, NULL })

static void
start_janitor(struct janitor *janitor, const char *suffix)
{
	START(janitor, "--verbose", "--interval", "0.05", test_name(suffix));
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

	shmcache_close(cache_create_used("loop"));
	start_janitor(&janitor, "loop");
	stop_janitor(&janitor, SIGTERM, "stopped by SIGTERM");
	start_janitor(&janitor, "loop");
	stop_janitor(&janitor, SIGINT, "stopped by SIGINT");
}

static void
loop_expires(void)
{
	struct shmcache *cache = cache_create_used("expiry");
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
	cache_finish(cache);
}

/* Removed and created anew, twice: told, and looked after again. */
static void
loop_goes_on_after_removal(void)
{
	struct shmcache *cache = cache_create_used("removed");
	struct janitor janitor;

	start_janitor(&janitor, "removed");
	for (int i = 0; i < 2; i++) {
		janitor.said[0] = '\0';
		cache_remove("removed");
		await_words(&janitor, "was removed");
		CHECK_RESULT(shmcache_close(cache), 0);
		cache = cache_create_used("removed");
		set_with_ttl(cache, "short", 1);
		await_words(&janitor, "there it is");
		while (!cache_stats(cache).expired_swept) {
			sleep_us(5000);
		}
	}
	stop_janitor(&janitor, SIGTERM, "stopped by SIGTERM");
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* Not there at the start: an error, or waited for, as is asked for. */
static void
loop_waits_for_a_cache(void)
{
	struct shmcache *cache;
	struct janitor janitor;

	START(&janitor, "--wait", test_name("late"));
	await_words(&janitor, "no such cache yet");
	cache = cache_create_used("late");
	await_words(&janitor, "there it is");
	set_with_ttl(cache, "short", 1);
	while (!cache_stats(cache).expired_swept) {
		sleep_us(5000);
	}
	stop_janitor(&janitor, SIGTERM, "stopped by SIGTERM");
	CHECK_RESULT(shmcache_close(cache), 0);
}

static void
loop_looks_after_several(void)
{
	struct shmcache *caches[3];
	struct janitor janitor;
	char suffix[] = "several-0";

	for (int i = 0; i < 3; i++) {
		suffix[8] = (char)('0' + i);
		caches[i] = cache_create_used(suffix);
		set_with_ttl(caches[i], "short", 1);
	}
	START(&janitor, "--interval", "0.05", test_name("several-0"),
	    test_name("several-1"), test_name("several-2"));
	for (int i = 0; i < 3; i++) {
		while (!cache_stats(caches[i]).expired_swept) {
			sleep_us(5000);
		}
	}
	/* One that goes leaves the others looked after. */
	cache_remove("several-1");
	await_words(&janitor, "several-1: the cache was removed");
	set_with_ttl(caches[2], "short", 1);
	while (cache_stats(caches[2]).expired_swept < 2) {
		sleep_us(5000);
	}
	stop_janitor(&janitor, SIGINT, "several-2: stopped by SIGINT");
	for (int i = 0; i < 3; i++) {
		CHECK_RESULT(shmcache_close(caches[i]), 0);
	}
}

/* A file in its place that is no cache: given up, and an exit code says so. */
static void
loop_gives_up(void)
{
	struct shmcache *cache = cache_create_used("gone");
	struct janitor janitor;
	int fd;

	start_janitor(&janitor, "gone");
	cache_remove("gone");
	CHECK_RESULT(shmcache_close(cache), 0);
	await_words(&janitor, "was removed");
	fd = open(test_path("gone"), O_WRONLY | O_CREAT | O_EXCL, 0600);
	CHECK_SYS(fd);
	CHECK(write(fd, "something else\n", 15) == 15);
	close(fd);
	child_expect(janitor.pid, EXIT_UNSOUND);
	await_words(&janitor, "given up");
	close(janitor.err);
}

static void
usage_errors(void)
{
	static struct outcome outcome;
	static const char *const intervals[] = { "0", "-1", "nan", "1e9",
		"soon", "0.01" };
	static const char *const budgets[] = { "0", "101", "nan", "-5", "x" };

	run_arguments(
	    &outcome, "shmcache-janitor", (const char *const[]){ NULL });
	check_refusal(&outcome, "shmcache-janitor", EXIT_USAGE, "NAME");
	RUN(&outcome, "shmcache-janitor", "--once", "--wait", "one");
	check_refusal(&outcome, "shmcache-janitor", EXIT_USAGE, "contradict");
	for (size_t i = 0; i < TEST_COUNT_OF(intervals); i++) {
		RUN(&outcome, "shmcache-janitor", "--interval", intervals[i],
		    "one");
		check_refusal(
		    &outcome, "shmcache-janitor", EXIT_USAGE, "--help");
	}
	for (size_t i = 0; i < TEST_COUNT_OF(budgets); i++) {
		RUN(&outcome, "shmcache-janitor", "--cpu", budgets[i], "one");
		check_refusal(
		    &outcome, "shmcache-janitor", EXIT_USAGE, "--help");
	}
}

/* --- the service manager ------------------------------------------------- */

/* A manager's socket; `address` is what NOTIFY_SOCKET says. */
static int
open_manager(char *address, size_t address_bytes, int abstract)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t bytes;

	CHECK_SYS(fd);
	(void)snprintf(address, address_bytes, "%s%s", abstract ? "@" : "",
	    test_path("manager"));
	bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
			    strlen(address));
	memcpy(name.sun_path, address, strlen(address));
	if (abstract) {
		name.sun_path[0] = '\0';
	}
	CHECK_SYS(bind(fd, (struct sockaddr *)&name, bytes));
	return fd;
}

/* Read datagrams until one has `part`. */
static void
await_state(int fd, const char *part)
{
	char state[1024] = "";

	while (!strstr(state, part)) {
		ssize_t got = recv(fd, state, sizeof(state) - 1, 0);

		CHECK_SYS(got);
		state[got] = '\0';
	}
}

static void
tells_the_service_manager(void)
{
	struct shmcache *cache = cache_create_used("notify");
	struct janitor janitor;
	char address[128];

	for (int abstract = 0; abstract <= 1; abstract++) {
		int fd = open_manager(address, sizeof(address), abstract);

		CHECK_SYS(setenv("NOTIFY_SOCKET", address, 1));
		CHECK_SYS(setenv("WATCHDOG_USEC", "100000", 1));
		START(&janitor, "--interval", "60", test_name("notify"));
		await_state(fd, "READY=1");
		await_state(fd, "STATUS=1 of 1 caches attached");
		await_state(fd, "WATCHDOG=1");
		await_state(fd, "WATCHDOG=1");
		CHECK_SYS(kill(janitor.pid, SIGTERM));
		await_state(fd, "STOPPING=1");
		stop_janitor(&janitor, 0, "stopped by SIGTERM");
		close(fd);
	}
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
	cache_finish(cache);
}

static const struct test_case cases[] = {
	CASE(usage_errors),
	CASE(once_expires),
	CASE(loop_stops_on_signals),
	CASE(loop_expires),
	CASE(loop_goes_on_after_removal),
	CASE(loop_waits_for_a_cache),
	CASE(loop_looks_after_several),
	CASE(loop_gives_up),
	CASE(tells_the_service_manager),
	CASE(loop_waits_for_a_peer_slot),
	CASE(two_janitors_do_no_harm),
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
