/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tools_test.c - what shmcache-stat and shmcache-janitor do alike
 *
 * The command line, and caches that cannot be attached to.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/run.h"
#include "tests/support/tool.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CAPACITY_BYTES (8u << 20)
#define NOBODY         65534

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

	for (size_t i = 0; i < TEST_COUNT_OF(both_tools); i++) {
		const char *tool = both_tools[i];

		RUN(&outcome, tool, "--no-such-option", "one");
		check_refusal(&outcome, tool, EXIT_USAGE, "--no-such-option");
		RUN(&outcome, tool, "a/b");
		check_refusal(&outcome, tool, EXIT_USAGE, "slash");
		RUN(&outcome, tool, "");
		check_refusal(&outcome, tool, EXIT_USAGE, "1 to 200 bytes");
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

static const struct test_case cases[] = {
	CASE(help_and_version),
	CASE(usage_errors),
	CASE(no_such_cache),
	CASE(not_a_cache),
	CASE(truncated_cache),
	CASE(foreign_owner),
	CASE(no_permission),
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
