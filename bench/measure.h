/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * measure.h - one run of many operations, and what many runs say together
 *
 * Contenders take turns: in each round every one runs for a moment, so that
 * what else happens on the machine meets all of them.  Ratios are taken within
 * a round; figures are medians over the rounds, with the least and the most
 * beside them.
 *
 * Time is that of the thread's processor, so that being off it does not count;
 * for servers in other processes it is what passes.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include "bench/engine.h"
#include "bench/stream.h"

#include <stdbool.h>
#include <stdint.h>

#define ROUNDS_MAX 31u

struct sample {
	double value[ROUNDS_MAX];
	unsigned count;
};

void sample_add(struct sample *sample, double value);
double sample_median(const struct sample *sample);
double sample_least(const struct sample *sample);
double sample_most(const struct sample *sample);

enum task {
	GET,         /* each key depends on the bytes got before */
	GET_OVERLAP, /* the processor may begin the next one meanwhile */
	GET_16,      /* 16 keys in one call */
	GET_64,
	MISS,
	SET,
	MIX_95, /* 95 gets, 5 sets */
	MIX_50
};

const char *task_name(enum task task);

/* An engine, filled, with a place in the stream. */
struct contender {
	const struct engine *engine;
	void *state;
	size_t at;
	size_t value_bytes;
	uint64_t failed; /* what did not come out as it had to */
	double ns;       /* of one operation, roughly: how many fit a run */
};

/*
 * Opens and fills it with items 0 to load->items - 1, and checks that a part of
 * them reads back right.  False: it cannot be had, and why was printed.
 */
bool contender_open(
    struct contender *c, const struct engine *engine, const struct load *load);
void contender_close(struct contender *c);

/* Puts the engine's hints into the stream. */
void contender_prepare(struct contender *c, struct stream *stream);

/* One run of about `milliseconds`; ns for each key. */
double contender_run(struct contender *c, const struct stream *stream,
    enum task task, double milliseconds);

double clock_wall(void);
double clock_thread(void);

#endif /* BENCH_MEASURE_H */
