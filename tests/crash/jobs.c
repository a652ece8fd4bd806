/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * jobs.c - see jobs.h
 *
 * Each worker takes the next job that nobody has begun, and writes to a board of
 * its own in shared memory, which the parent reads when the worker is gone; so
 * nothing here needs a lock, and a worker may die at any point.  What a job
 * draws at random follows from the seed and the job's number alone.
 */
#include "jobs.h"

#include "seed.h"

#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS_MAX  4
#define TEXTS_MAX    6 /* per worker; more are counted only */
#define REASON_BYTES 500
#define JOB_AT_BYTES 160
#define DEATHS_MAX   3 /* of workers, in one set */

struct board {
	size_t job;
	bool in_job; /* at work on it; else between two */
	bool job_failed;
	char at[JOB_AT_BYTES]; /* the part of it */
	size_t failed;
	unsigned texts;
	struct {
		size_t job;
		char reason[REASON_BYTES];
	} text[TEXTS_MAX];
};

struct shared {
	size_t next; /* job that nobody has begun */
	struct board boards[WORKERS_MAX];
};

static struct shared *shared;
static struct board *mine; /* NULL: not a worker */
static const struct job_set *my_set;
static unsigned my_number;
static bool gave_up;

static void
keep_reason(struct board *board, const char *reason)
{
	board->job_failed = true;
	board->failed++;
	if (board->texts == TEXTS_MAX)
		return;
	board->text[board->texts].job = board->job;
	(void)snprintf(board->text[board->texts].reason, REASON_BYTES, "%s%s%s",
	    reason, board->at[0] == '\0' ? "" : "; ", board->at);
	board->texts++;
}

bool
job_fail(const char *format, ...)
{
	char reason[REASON_BYTES - JOB_AT_BYTES];
	va_list arguments;

	if (mine->job_failed)
		return false;
	va_start(arguments, format);
	(void)vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	keep_reason(mine, reason);
	return false;
}

void
job_at(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(mine->at, sizeof(mine->at), format, arguments);
	va_end(arguments);
	(void)alarm(my_set->limit_s);
}

bool
job_running(void)
{
	return mine != NULL;
}

bool
job_failed(void)
{
	return mine->job_failed;
}

unsigned
job_worker(void)
{
	return my_number;
}

int
job_fork(void)
{
	pid_t parent = getpid();
	pid_t child;

	(void)fflush(NULL);
	child = fork();
	if (child == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
	}
	return child;
}

static const cpu_set_t *
given_processors(void)
{
	static cpu_set_t given;

	if (CPU_COUNT(&given) == 0 &&
	    sched_getaffinity(0, sizeof(given), &given) != 0)
		CPU_SET(0, &given);
	return &given;
}

/* Where it can't be had, it is done without. */
void
jobs_pin(unsigned number)
{
	const cpu_set_t *given = given_processors();
	unsigned left = number % (unsigned)CPU_COUNT(given);
	cpu_set_t one;

	CPU_ZERO(&one);
	for (unsigned i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, given) || left-- != 0)
			continue;
		CPU_SET(i, &one);
		(void)sched_setaffinity(0, sizeof(one), &one);
		return;
	}
}

static void
work(const struct job_set *set, unsigned number, uint64_t seed)
{
	mine = &shared->boards[number];
	my_set = set;
	my_number = number;
	jobs_pin(number);
	for (;;) {
		mine->job =
		    __atomic_fetch_add(&shared->next, 1, __ATOMIC_RELAXED);
		if (mine->job >= set->count)
			_exit(0);
		mine->at[0] = '\0';
		mine->job_failed = false;
		mine->in_job = true;
		seed_random(seed + mine->job);
		(void)alarm(set->limit_s);
		set->run(set->context, mine->job);
		(void)alarm(0);
		mine->in_job = false;
	}
}

static int
start_worker(const struct job_set *set, unsigned number, uint64_t seed)
{
	int pid = job_fork();

	if (pid == 0) {
		(void)signal(SIGALRM, SIG_DFL);
		work(set, number, seed);
	}
	if (pid < 0) {
		perror("step_test: fork");
		exit(1);
	}
	return pid;
}

/* A worker died in a job: say so on its board. */
static void
bury(const struct job_set *set, struct board *board, int status)
{
	char reason[REASON_BYTES - JOB_AT_BYTES];

	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		(void)snprintf(reason, sizeof(reason),
		    "no progress: the survivor was not done in %u s",
		    set->limit_s);
	else if (WIFSIGNALED(status))
		(void)snprintf(reason, sizeof(reason),
		    "the survivor was killed by signal %d (%s)",
		    WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		(void)snprintf(reason, sizeof(reason),
		    "the survivor left with code %d", WEXITSTATUS(status));
	if (!board->job_failed)
		keep_reason(board, reason);
	board->in_job = false;
}

static size_t
report(const struct job_set *set, unsigned workers)
{
	size_t failed = 0;
	char where[JOB_TEXT_BYTES];

	for (unsigned w = 0; w < workers; w++) {
		const struct board *board = &shared->boards[w];

		failed += board->failed;
		for (unsigned i = 0; i < board->texts && !set->quiet; i++) {
			where[0] = '\0';
			if (set->describe != NULL)
				set->describe(
				    set->context, board->text[i].job, where);
			(void)printf("    VIOLATION %s: %s\n      %s\n",
			    set->title, board->text[i].reason, where);
		}
	}
	return failed;
}

static unsigned
worker_count(const struct job_set *set)
{
	unsigned workers = (unsigned)CPU_COUNT(given_processors());

	if (workers > WORKERS_MAX)
		workers = WORKERS_MAX;
	return set->count < workers ? (unsigned)set->count : workers;
}

static void
lay_boards(void)
{
	if (shared == NULL) {
		shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (shared == MAP_FAILED) {
			perror("step_test: mmap");
			exit(1);
		}
	}
	memset(shared, 0, sizeof(*shared));
}

/* One hang costs the whole time limit, so a set that hangs again and again is
   given up. */
static void
give_up(struct board *board, pid_t *pids, unsigned workers)
{
	for (unsigned w = 0; w < workers; w++) {
		if (pids[w] == 0)
			continue;
		(void)kill(pids[w], SIGKILL);
		(void)waitpid(pids[w], NULL, 0);
	}
	keep_reason(board, "too many survivors died: the other states are not "
			   "looked at");
	gave_up = true;
}

/* Wait for the workers; replace those that die. */
static void
attend(const struct job_set *set, pid_t *pids, unsigned workers, uint64_t seed)
{
	unsigned deaths = 0;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, 0)) > 0) {
		unsigned w = 0;

		while (w < workers && pids[w] != pid)
			w++;
		if (w == workers)
			continue;
		pids[w] = 0;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
		    !shared->boards[w].in_job)
			continue;
		bury(set, &shared->boards[w], status);
		if (++deaths > DEATHS_MAX) {
			give_up(&shared->boards[w], pids, workers);
			return;
		}
		pids[w] = start_worker(set, w, seed);
	}
}

size_t
jobs_run(const struct job_set *set)
{
	unsigned workers = worker_count(set);
	uint64_t seed = seed_next();
	pid_t pids[WORKERS_MAX] = { 0 };

	gave_up = false;
	if (workers == 0)
		return 0;
	lay_boards();
	for (unsigned w = 0; w < workers; w++)
		pids[w] = start_worker(set, w, seed);
	attend(set, pids, workers, seed);
	return report(set, workers);
}

bool
jobs_gave_up(void)
{
	return gave_up;
}
