/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * run.h - the runner of the tests that use several processes
 *
 * A program is a list of cases.  Each case runs in a forked process of its own
 * that leads a process group, so that a case that crashes or hangs hides no
 * other.  A check that fails, in the case, in one of its threads or in one of
 * its children, says why and ends that process with code 1; whoever waits for
 * a child checks its code (child.h).
 *
 * When a case is over the runner kills what is left of its group, reaps it, and
 * removes every /dev/shm/shmcache.test-PID-*, PID being the runner's.  It does
 * so on SIGINT, SIGTERM and SIGHUP too.  Names of caches and files therefore
 * come from test_name() and test_path().
 *
 * The last line printed is "N passed, N failed".  The exit code is 0, 1 if a
 * case failed, 2 for bad arguments, and 77 if every case was skipped: then the
 * reason is one more line.
 */
#ifndef TESTS_SUPPORT_RUN_H
#define TESTS_SUPPORT_RUN_H

#include <stddef.h>
#include <stdint.h>

#if defined(__has_feature)
#define TEST_HAS_FEATURE(name) __has_feature(name)
#else
#define TEST_HAS_FEATURE(name) 0
#endif

/* 1 in a build with that sanitizer. */
#if defined(__SANITIZE_THREAD__) || TEST_HAS_FEATURE(thread_sanitizer)
#define TEST_TSAN 1
#else
#define TEST_TSAN 0
#endif
#if defined(__SANITIZE_ADDRESS__) || TEST_HAS_FEATURE(address_sanitizer)
#define TEST_ASAN 1
#else
#define TEST_ASAN 0
#endif

#define TEST_SKIP_CODE 77

struct test_case {
	const char *name;
	void (*run)(void);
};

/* A row of the table of cases. */
#define CASE(function)                                                         \
	{                                                                      \
#function, function                                            \
	}

/* A number that the program takes as --NAME N. */
struct test_option {
	const char *name;
	uint64_t *value; /* holds the default */
	const char *help;
};

struct test_suite {
	const struct test_case *cases;
	size_t case_count;
	const struct test_option *options; /* beside --seed and --help */
	size_t option_count;
	unsigned limit_seconds; /* for a case; 0: 900 */
};

/*
 * Parse the arguments (options, then names of the cases to run: none is all),
 * print the seed, run, print the closing line.  Returns main()'s result.
 */
int run_suite(int argc, char **argv, const struct test_suite *suite);

/* What --seed said, else a random one. */
uint64_t run_seed(void);

/*
 * "test-PID-SUFFIX", a cache name, and the file it stands for.  The string
 * lives until this thread has asked for seven others.
 */
const char *test_name(const char *suffix);
const char *test_path(const char *suffix);

/* End this case (or child of it) with the reason why it cannot run here. */
_Noreturn void skip(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

_Noreturn void check_failed(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define CHECK(condition)                                                       \
	do {                                                                   \
		if (!(condition)) {                                            \
			check_failed(__FILE__, __LINE__, "%s", #condition);    \
		}                                                              \
	} while (0)

/* A check that says more than its condition. */
#define CHECK_SAY(condition, ...)                                              \
	do {                                                                   \
		if (!(condition)) {                                            \
			check_failed(__FILE__, __LINE__, __VA_ARGS__);         \
		}                                                              \
	} while (0)

/* A call of libc that must not fail. */
#define CHECK_SYS(call)                                                        \
	CHECK_SAY((call) != -1, "%s: %s", #call, test_errno_text())

/* Text of errno, for CHECK_SAY(). */
const char *test_errno_text(void);

/* End this process with `code`, saving coverage data but running no handler. */
_Noreturn void test_exit(int code);

#define TEST_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif /* TESTS_SUPPORT_RUN_H */
