/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * jobs.c - see jobs.h
 *
 * Worker w of n runs the jobs w, w+n, w+2n, ...  Each writes to a board of its
 * own in shared memory, which the parent reads when the worker is gone; so
 * nothing here needs a lock, and a worker may die at any point.
 */
#include "jobs.h"

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
#define REASON_BYTES 400
#define DEATHS_MAX   3 /* of workers, in one set */

struct board {
	size_t job;  /* at work on this one, or the next to do */
	bool in_job; /* else between two */
	bool job_failed;
	size_t failed;
	unsigned texts;
	struct {
		size_t job;
		char reason[REASON_BYTES];
	} text[TEXTS_MAX];
};

static struct board *boards; /* WORKERS_MAX of them, shared */
static struct board *mine;
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
	(void)snprintf(
	    board->text[board->texts].reason, REASON_BYTES, "%s", reason);
	board->texts++;
}

bool
job_fail(const char *format, ...)
{
	char reason[REASON_BYTES];
	va_list arguments;

	if (mine->job_failed)
		return false;
	va_start(arguments, format);
	(void)vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	keep_reason(mine, reason);
	return false;
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

static void
work(const struct job_set *set, unsigned number, unsigned workers)
{
	mine = &boards[number];
	my_number = number;
	while (mine->job < set->count) {
		mine->job_failed = false;
		mine->in_job = true;
		(void)alarm(set->limit_s);
		set->run(set->context, mine->job);
		(void)alarm(0);
		mine->in_job = false;
		mine->job += workers;
	}
	_exit(0);
}

static int
start_worker(const struct job_set *set, unsigned number, unsigned workers)
{
	int pid = job_fork();

	if (pid == 0) {
		(void)signal(SIGALRM, SIG_DFL);
		work(set, number, workers);
	}
	if (pid < 0) {
		perror("step_test: fork");
		exit(1);
	}
	return pid;
}

/* A worker died in a job: say so on its board, and step over the job. */
static void
bury(const struct job_set *set, struct board *board, int status,
    unsigned workers)
{
	char reason[REASON_BYTES];

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
	board->job += workers;
}

static size_t
report(const struct job_set *set, unsigned workers)
{
	size_t failed = 0;
	char where[JOB_TEXT_BYTES];

	for (unsigned w = 0; w < workers; w++) {
		failed += boards[w].failed;
		for (unsigned i = 0; i < boards[w].texts && !set->quiet; i++) {
			where[0] = '\0';
			if (set->describe != NULL)
				set->describe(
				    set->context, boards[w].text[i].job, where);
			(void)printf("    VIOLATION %s: %s\n      %s\n",
			    set->title, boards[w].text[i].reason, where);
		}
	}
	return failed;
}

static unsigned
worker_count(const struct job_set *set)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned workers = set->workers;

	if (workers == 0)
		workers = processors < 1 ? 1 : (unsigned)processors;
	if (workers > WORKERS_MAX)
		workers = WORKERS_MAX;
	return set->count < workers ? (unsigned)set->count : workers;
}

static void
lay_boards(unsigned workers)
{
	size_t bytes = WORKERS_MAX * sizeof(*boards);

	if (boards == NULL) {
		boards = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (boards == MAP_FAILED) {
			perror("step_test: mmap");
			exit(1);
		}
	}
	memset(boards, 0, bytes);
	for (unsigned w = 0; w < workers; w++)
		boards[w].job = w;
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
attend(const struct job_set *set, pid_t *pids, unsigned workers)
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
		    !boards[w].in_job)
			continue;
		bury(set, &boards[w], status, workers);
		if (++deaths > DEATHS_MAX) {
			give_up(&boards[w], pids, workers);
			return;
		}
		pids[w] = start_worker(set, w, workers);
	}
}

size_t
jobs_run(const struct job_set *set)
{
	unsigned workers = worker_count(set);
	pid_t pids[WORKERS_MAX] = { 0 };

	gave_up = false;
	if (workers == 0)
		return 0;
	lay_boards(workers);
	for (unsigned w = 0; w < workers; w++)
		pids[w] = start_worker(set, w, workers);
	attend(set, pids, workers);
	return report(set, workers);
}

bool
jobs_gave_up(void)
{
	return gave_up;
}
