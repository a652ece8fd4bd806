/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * jobs.h - many small checks, each of which may hang or crash
 *
 * A set of jobs is shared out to a few worker processes.  A worker that dies
 * or outlasts the time limit has failed the job it was at; another worker goes
 * on with the next.  The failed jobs' texts are printed when the set is done.
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
	unsigned workers; /* 0: one for each processor, 4 at most */
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

/* Within run(): has this job failed? */
bool job_failed(void);

/* Within run(): which worker this is, for the names of its files. */
unsigned job_worker(void);

/* fork(); the child dies with its parent and never runs exit handlers. */
int job_fork(void);

#endif /* CRASH_JOBS_H */
