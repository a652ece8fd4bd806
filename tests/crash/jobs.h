/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * jobs.h - many small checks, each of which may hang or crash
 *
 * A set of jobs is shared out to a few worker processes.  A worker that dies
 * or outlasts the time limit has failed the job it was at; another worker goes
 * on with the next.  The failed jobs' texts are printed when the set is done.
 *
 * Each worker, with all that it forks, has one processor: a tracer and its
 * victim never run at the same time, and going to and fro between two
 * processors costs more than the step.
 */
#ifndef CRASH_JOBS_H
#define CRASH_JOBS_H

#include <stdbool.h>
#include <stddef.h>

#define JOB_TEXT_BYTES 480

struct job_set {
	const char *title;
	void *context;
	size_t count;
	unsigned limit_s; /* of one job */
	bool quiet;       /* failures are expected: don't print them */
	void (*run)(void *context, size_t job);
	/* Where in the victim's operation this job is, for the reader. */
	void (*describe)(void *context, size_t job, char text[JOB_TEXT_BYTES]);
};

/* Run them all; returns how many failed. */
size_t jobs_run(const struct job_set *set);

/* Was the last set left before its end, because survivors kept dying? */
bool jobs_gave_up(void);

/*
 * Within run(): this job has failed, and why.  Returns false, so that a check
 * can end with `return job_fail(...)`.  Later failures of one job are dropped.
 */
bool job_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Within run(): the job has come to another part, which may take limit_s again
 * and which is named with its failures.
 */
void job_at(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Is this within run()? */
bool job_running(void);

/* Within run(): has this job failed? */
bool job_failed(void);

/* Which worker this is, for the names of its files; 0 outside of run(). */
unsigned job_worker(void);

/* Keep to the `number`-th of the processors that this program was given. */
void jobs_pin(unsigned number);

/* fork(); the child dies with its parent and never runs exit handlers. */
int job_fork(void);

#endif /* CRASH_JOBS_H */
