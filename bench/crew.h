/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * crew.h - several processes that do the same for a while
 *
 * They are forked, wait for each other, work until they are told to stop, and
 * leave what they did in shared memory.
 */
#ifndef BENCH_CREW_H
#define BENCH_CREW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define CREW_MAX 32u

struct crew_result {
	uint64_t operations;
	double cpu_seconds;
	uint8_t pad[48];
};

/* Get ready, crew_begin(), work until crew_stopped(); how many operations were
   done. */
typedef uint64_t crew_work(unsigned number, void *context);

/* Waits for the others; from here on time counts. */
void crew_begin(void);

bool crew_stopped(void);

/* By one of them; else they stop when the time is over. */
void crew_stop(void);

struct crew_sum {
	double cpu_ns;          /* of one operation, the mean over processes */
	double per_microsecond; /* operations of all, in the time that passed */
};

/* `milliseconds` 0: until one stops all. */
struct crew_sum crew_run(
    unsigned processes, double milliseconds, crew_work *work, void *context);

#endif /* BENCH_CREW_H */
