/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* support.c - names, children, seeds and segments of the unit tests */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "tests/unit/support.h"

#include "tests/support/counts.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAMES_MAX     1024u
#define CHILD_SECONDS 60u

/* Of a hang that computes nothing, and of a program that is run by hand: a busy
   machine may take many times as long as an idle one.  (tests/run.sh has a limit
   of its own.) */
#define ASLEEP_SECONDS 3600u

/* "/dev/shm/shmcache." and the name. */
static char paths[NAMES_MAX][64];
static volatile sig_atomic_t path_count;
static pid_t owner;
static uint64_t seed;

#define PREFIX "/dev/shm/shmcache."

static void
remove_all(void)
{
	if (getpid() != owner)
		return;
	for (int i = 0; i < path_count; i++)
		(void)unlink(paths[i]);
}

static void
end_by_signal(int signal_number)
{
	static const char late[] = "still running after an hour: given up\n";

	if (signal_number == SIGALRM && getpid() == owner)
		(void)!write(STDERR_FILENO, late, sizeof(late) - 1);
	remove_all();
	_exit(128 + signal_number);
}

static uint64_t
choose_seed(void)
{
	const char *given = getenv("TEST_SEED");
	struct timespec now;

	if (given != NULL)
		return strtoull(given, NULL, 0);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000007u ^ (uint64_t)now.tv_nsec;
}

static unsigned
test_patience(unsigned seconds)
{
	const char *times = getenv("TEST_PATIENCE");

	return times == NULL ? seconds
			     : seconds * (unsigned)strtoul(times, NULL, 10);
}

void
test_limit(unsigned seconds)
{
	const struct itimerval once = {
		.it_value = { (time_t)test_patience(seconds), 0 },
	};

	(void)signal(SIGALRM, SIG_DFL);
	(void)setitimer(ITIMER_PROF, &once, NULL);
	(void)alarm(test_patience(ASLEEP_SECONDS));
}

int
test_group_setup(void **state)
{
	static const int signals[] = { SIGALRM, SIGHUP, SIGINT, SIGTERM };

	(void)state;
	owner = getpid();
	for (size_t i = 0; i < TEST_COUNT_OF(signals); i++)
		(void)signal(signals[i], end_by_signal);
	(void)atexit(remove_all);
	(void)alarm(test_patience(ASLEEP_SECONDS));
	seed = choose_seed();
	printf("TEST_SEED=%" PRIu64 "\n", seed);
	return 0;
}

int
test_group_setup_one_cpu(void **state)
{
	cpu_set_t one;
	int cpu = sched_getcpu();

	CPU_ZERO(&one);
	CPU_SET((size_t)(cpu < 0 ? 0 : cpu), &one);
	return sched_setaffinity(0, sizeof(one), &one) != 0 ||
	       test_group_setup(state) != 0;
}

int
test_group_teardown(void **state)
{
	(void)state;
	remove_all();
	return 0;
}

const char *
test_name(void)
{
	int n = path_count;

	assert_in_range(n, 0, NAMES_MAX - 1);
	(void)snprintf(
	    paths[n], sizeof(paths[n]), PREFIX "test-%d-%d", (int)getpid(), n);
	path_count = n + 1;
	return paths[n] + strlen(PREFIX);
}

const char *
test_path(const char *name)
{
	return name - strlen(PREFIX);
}

void
test_random(struct prng *prng, uint64_t salt)
{
	prng_init(prng, seed, salt);
}

static void
become_child(void)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGSEGV, SIG_DFL);
	(void)signal(SIGBUS, SIG_DFL);
	test_limit(CHILD_SECONDS);
}

void
test_child_exit(int code)
{
	keep_counts();
	_exit(code);
}

int
test_child_run(test_child_body *body, void *context)
{
	int status = 0;
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		become_child();
		test_child_exit(body(context));
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status)
				 : 1000 + WTERMSIG(status);
}

/* The child's side: tell the result, then stand still. */
static void
run_and_pause(test_child_body *body, void *context, int out)
{
	char result;

	become_child();
	result = (char)body(context);
	keep_counts();
	(void)!write(out, &result, 1);
	for (;;)
		(void)pause();
}

pid_t
test_child_pause(test_child_body *body, void *context)
{
	char result = 99;
	int ends[2];
	pid_t pid;

	(void)fflush(NULL);
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0)
		run_and_pause(body, context, ends[1]);
	assert_true(pid > 0);
	(void)close(ends[1]);
	assert_int_equal(read(ends[0], &result, 1), 1);
	(void)close(ends[0]);
	assert_int_equal(result, 0);
	return pid;
}

void
test_child_kill(pid_t pid)
{
	siginfo_t info;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

void
test_child_reap(pid_t pid)
{
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

void
test_child_stop(pid_t pid)
{
	int status = 0;

	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status));
}

struct shm_request
test_request(void)
{
	struct shm_request request = { .region_bytes = { 4096 },
		.process_count = 8,
		.peer_count = 8,
		.counter_count = 4,
		.extent_bytes = 4096,
		.extent_count = 16,
		.log_count = 2,
		.lane_count = 1,
		.page_bytes = (uint32_t)sysconf(_SC_PAGESIZE) };

	return request;
}

struct shm_segment *
test_attach(const char *path)
{
	struct shm_segment *segment = NULL;

	assert_int_equal(
	    shm_segment_attach(path, TEST_SIGNATURE, NULL, NULL, &segment), 0);
	return segment;
}

struct shm_segment *
test_segment_of(const struct shm_request *request)
{
	const char *path = test_path(test_name());

	assert_int_equal(
	    shm_segment_create(path, request, TEST_SIGNATURE, 0600, NULL, NULL),
	    0);
	return test_attach(path);
}

struct shm_segment *
test_segment(void)
{
	struct shm_request request = test_request();

	return test_segment_of(&request);
}
