/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* crew.c - forked processes that start and stop together */
#include "bench/crew.h"

#include "bench/measure.h"
#include "bench/memory.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct board {
	_Atomic unsigned ready;
	_Atomic unsigned begun;
	_Atomic bool stop;
	uint8_t pad[52];
	struct crew_result results[CREW_MAX];
};

static struct board *board;

bool
crew_stopped(void)
{
	return atomic_load_explicit(&board->stop, memory_order_relaxed);
}

static double began; /* of this process */

void
crew_begin(void)
{
	atomic_fetch_add(&board->ready, 1);
	while (atomic_load(&board->begun) == 0)
		(void)sched_yield();
	began = clock_thread();
}

void
crew_stop(void)
{
	atomic_store(&board->stop, true);
}

static void
be_one(unsigned number, crew_work *work, void *context)
{
	struct crew_result *r = &board->results[number];

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	r->operations = work(number, context);
	r->cpu_seconds = clock_thread() - began;
	_exit(0);
}

static void
wait_for(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || status != 0) {
		fprintf(stderr, "bench: a process of the crew failed\n");
		exit(1);
	}
}

struct crew_sum
crew_run(
    unsigned processes, double milliseconds, crew_work *work, void *context)
{
	const struct timespec pause = { (time_t)(milliseconds / 1000),
		(long)(milliseconds * 1e6) % 1000000000 };
	struct crew_sum sum = { 0, 0 };
	pid_t pids[CREW_MAX];
	double begin;

	if (board == NULL)
		board = memory_map(sizeof(*board));
	atomic_store(&board->ready, 0);
	atomic_store(&board->begun, 0);
	atomic_store(&board->stop, false);
	for (unsigned i = 0; i < processes; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			be_one(i, work, context);
	}
	while (atomic_load(&board->ready) < processes)
		(void)sched_yield();
	begin = clock_wall();
	atomic_store(&board->begun, 1);
	if (milliseconds > 0) {
		(void)nanosleep(&pause, NULL);
		crew_stop();
	}
	for (unsigned i = 0; i < processes; i++)
		wait_for(pids[i]);
	for (unsigned i = 0; i < processes; i++) {
		const struct crew_result *r = &board->results[i];

		sum.cpu_ns +=
		    r->cpu_seconds * 1e9 / (double)r->operations / processes;
		sum.per_microsecond += (double)r->operations / 1e6;
	}
	sum.per_microsecond /= clock_wall() - begin;
	return sum;
}
