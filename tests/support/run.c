/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * run.c - see run.h
 *
 * The runner blocks the signals that it waits for and takes them with
 * sigtimedwait(), so none can be lost between a test of a flag and a wait.  It
 * is the subreaper of what the cases leave behind.
 */
#include "tests/support/run.h"

#include "tests/support/counts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAME_BYTES    128
#define NAMES_KEPT    8
#define LIMIT_SECONDS 900
#define REASON_BYTES  256

static uint64_t seed;
static bool seed_given;
static pid_t runner_pid;
static sigset_t waited_signals;
static sigset_t original_signals;
static char *skip_reason; /* shared with the cases */

void
test_exit(int code)
{
	fflush(stdout);
	fflush(stderr);
	keep_counts();
	_exit(code);
}

uint64_t
run_seed(void)
{
	return seed;
}

static const char *
temporary_name(const char *prefix, const char *suffix)
{
	static _Thread_local char names[NAMES_KEPT][NAME_BYTES];
	static _Thread_local unsigned next;
	char *name = names[next++ % NAMES_KEPT];

	snprintf(
	    name, NAME_BYTES, "%stest-%d-%s", prefix, (int)runner_pid, suffix);
	return name;
}

const char *
test_name(const char *suffix)
{
	return temporary_name("", suffix);
}

const char *
test_path(const char *suffix)
{
	return temporary_name("/dev/shm/shmcache.", suffix);
}

/* One write, so that the lines of several processes do not mix. */
static void say(const char *head, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void
say(const char *head, const char *format, va_list arguments)
{
	char text[1024];
	int used = snprintf(text, sizeof(text), "%s", head);
	int more;

	more = vsnprintf(
	    text + used, sizeof(text) - (size_t)used - 1, format, arguments);
	if (more < 0) {
		more = 0;
	}
	used += more;
	if (used > (int)sizeof(text) - 2) {
		used = (int)sizeof(text) - 2;
	}
	text[used++] = '\n';
	if (write(STDERR_FILENO, text, (size_t)used) < 0) {
		return;
	}
}

void
skip(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(skip_reason, REASON_BYTES, format, arguments);
	va_end(arguments);
	test_exit(TEST_SKIP_CODE);
}

void
check_failed(const char *file, int line, const char *format, ...)
{
	char head[256];
	va_list arguments;

	snprintf(head, sizeof(head), "  %s:%d: failed in process %d: ", file,
	    line, (int)getpid());
	va_start(arguments, format);
	say(head, format, arguments);
	va_end(arguments);
	test_exit(1);
}

const char *
test_errno_text(void)
{
	return strerrordesc_np(errno);
}

/* Remove what the cases left in /dev/shm. */
static void
remove_files(void)
{
	const char *prefix = temporary_name("shmcache.", "");
	DIR *directory = opendir("/dev/shm");
	const struct dirent *entry;

	if (directory == NULL) {
		return;
	}
	while ((entry = readdir(directory)) != NULL) {
		if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0) {
			continue;
		}
		if (unlinkat(dirfd(directory), entry->d_name, 0) != 0) {
			unlinkat(dirfd(directory), entry->d_name, AT_REMOVEDIR);
		}
	}
	closedir(directory);
}

/*
 * End all of the case's processes and reap them.  The leader `pid` must not
 * have been reaped yet, so that its group's number cannot be another's.
 */
static int
end_group(pid_t pid)
{
	int status = 0;
	int other;

	kill(-pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
	}
	while (waitpid(-1, &other, 0) > 0 || errno == EINTR) {
	}
	remove_files();
	return status;
}

static void
die_by_signal(int signal_number)
{
	signal(signal_number, SIG_DFL);
	sigprocmask(SIG_SETMASK, &original_signals, NULL);
	raise(signal_number);
	_exit(128 + signal_number);
}

/* Wait for the case to end or its time to be over; false if it was over. */
static bool
await_case(pid_t pid, unsigned limit_seconds)
{
	struct timespec now, end;
	siginfo_t info;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += limit_seconds;
	for (;;) {
		struct timespec wait = { .tv_sec = 1 };
		int got;

		info.si_pid = 0;
		if (waitid(P_PID, (id_t)pid, &info,
			WEXITED | WNOHANG | WNOWAIT) == 0 &&
		    info.si_pid == pid) {
			return true;
		}
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec >= end.tv_sec) {
			return false;
		}
		got = sigtimedwait(&waited_signals, NULL, &wait);
		if (got > 0 && got != SIGCHLD) {
			end_group(pid);
			die_by_signal(got);
		}
	}
}

static pid_t
start_case(const struct test_case *test)
{
	pid_t pid;

	fflush(stdout);
	fflush(stderr);
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != runner_pid) {
			_exit(1);
		}
		sigprocmask(SIG_SETMASK, &original_signals, NULL);
		test->run();
		test_exit(0);
	}
	if (pid > 0) {
		setpgid(pid, pid);
	}
	return pid;
}

/* Returns 0 passed, 77 skipped, anything else failed. */
static int
run_case(const struct test_case *test, unsigned limit_seconds)
{
	pid_t pid = start_case(test);
	bool in_time;
	int status;

	if (pid < 0) {
		printf("FAILED %s: fork: %s\n", test->name, strerror(errno));
		return 1;
	}
	in_time = await_case(pid, limit_seconds);
	status = end_group(pid);
	if (!in_time) {
		printf("FAILED %s: not over after %u s\n", test->name,
		    limit_seconds);
		return 1;
	}
	if (WIFSIGNALED(status)) {
		printf("FAILED %s: killed by signal %d (%s)\n", test->name,
		    WTERMSIG(status), strsignal(WTERMSIG(status)));
		return 1;
	}
	status = WEXITSTATUS(status);
	if (status == 0) {
		printf("ok %s\n", test->name);
	} else if (status == TEST_SKIP_CODE) {
		printf("skipped %s: %s\n", test->name, skip_reason);
	} else {
		printf("FAILED %s: exit code %d\n", test->name, status);
	}
	return status;
}

static void
usage(const struct test_suite *suite, const char *program, FILE *out)
{
	fprintf(out, "usage: %s [options] [case...]\n", program);
	fprintf(out, "  --seed N     of the random numbers\n");
	for (size_t i = 0; i < suite->option_count; i++) {
		fprintf(out, "  --%s N     %s (%" PRIu64 ")\n",
		    suite->options[i].name, suite->options[i].help,
		    *suite->options[i].value);
	}
	fprintf(out, "cases:\n");
	for (size_t i = 0; i < suite->case_count; i++) {
		fprintf(out, "  %s\n", suite->cases[i].name);
	}
}

static uint64_t
parse_number(const char *program, const char *text)
{
	char *end;
	uint64_t number;

	errno = 0;
	number = strtoull(text, &end, 0);
	if (errno != 0 || end == text || *end != '\0' || *text == '-') {
		fprintf(stderr, "%s: not a number: %s\n", program, text);
		exit(2);
	}
	return number;
}

/* Ends the program if it is told to help, or is told nonsense. */
static void
parse_options(int argc, char **argv, const struct test_suite *suite)
{
	size_t count = suite->option_count;
	struct option *known = calloc(count + 3, sizeof(*known));
	int got;

	if (known == NULL) {
		exit(2);
	}
	for (size_t i = 0; i < count; i++) {
		known[i].name = suite->options[i].name;
		known[i].has_arg = required_argument;
		known[i].val = (int)i + 256;
	}
	known[count] = (struct option){ "seed", required_argument, NULL, 's' };
	known[count + 1] = (struct option){ "help", no_argument, NULL, 'h' };
	while ((got = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (got == 's') {
			seed = parse_number(argv[0], optarg);
			seed_given = true;
		} else if (got >= 256) {
			*suite->options[got - 256].value =
			    parse_number(argv[0], optarg);
		} else {
			usage(suite, argv[0], got == 'h' ? stdout : stderr);
			exit(got == 'h' ? 0 : 2);
		}
	}
	free(known);
}

static bool
is_wanted(const char *name, int argc, char **argv)
{
	if (optind >= argc) {
		return true;
	}
	for (int i = optind; i < argc; i++) {
		if (strcmp(argv[i], name) == 0) {
			return true;
		}
	}
	return false;
}

static void
prepare(void)
{
	runner_pid = getpid();
	if (!seed_given &&
	    getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
		seed = (uint64_t)time(NULL);
	}
	skip_reason = mmap(NULL, REASON_BYTES, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (skip_reason == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	sigemptyset(&waited_signals);
	sigaddset(&waited_signals, SIGCHLD);
	sigaddset(&waited_signals, SIGINT);
	sigaddset(&waited_signals, SIGTERM);
	sigaddset(&waited_signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &waited_signals, &original_signals);
	sigdelset(&original_signals, SIGCHLD);
}

int
run_suite(int argc, char **argv, const struct test_suite *suite)
{
	unsigned limit = suite->limit_seconds;
	unsigned passed = 0, failed = 0, skipped = 0, unknown = 0;

	parse_options(argc, argv, suite);
	for (int i = optind; i < argc; i++) {
		unknown++;
		for (size_t j = 0; j < suite->case_count; j++) {
			unknown -= !strcmp(argv[i], suite->cases[j].name);
		}
	}
	if (unknown != 0) {
		usage(suite, argv[0], stderr);
		return 2;
	}
	prepare();
	printf("seed %" PRIu64 " (again: --seed %" PRIu64 ")\n", seed, seed);
	for (size_t i = 0; i < suite->case_count; i++) {
		int code;

		if (!is_wanted(suite->cases[i].name, argc, argv)) {
			continue;
		}
		code =
		    run_case(&suite->cases[i], limit ? limit : LIMIT_SECONDS);
		passed += code == 0;
		skipped += code == TEST_SKIP_CODE;
		failed += code != 0 && code != TEST_SKIP_CODE;
	}
	if (skipped != 0) {
		printf("%u skipped\n", skipped);
	}
	printf("%u passed, %u failed\n", passed, failed);
	if (failed != 0) {
		return 1;
	}
	if (passed == 0 && skipped != 0) {
		printf("%s\n", skip_reason);
		return TEST_SKIP_CODE;
	}
	return 0;
}
