/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* measure.c - runs and their medians */
#include "bench/measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEYS_MANY  64u
#define RUN_LEAST  2000u
#define VALUE_ROOM (1u << 20)

static double
seconds_of(clockid_t id)
{
	struct timespec t;

	(void)clock_gettime(id, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double
clock_wall(void)
{
	return seconds_of(CLOCK_MONOTONIC);
}

double
clock_thread(void)
{
	return seconds_of(CLOCK_THREAD_CPUTIME_ID);
}

void
sample_add(struct sample *sample, double value)
{
	unsigned i = sample->count;

	if (i == ROUNDS_MAX)
		return;
	for (; i > 0 && sample->value[i - 1] > value; i--)
		sample->value[i] = sample->value[i - 1];
	sample->value[i] = value;
	sample->count++;
}

double
sample_median(const struct sample *sample)
{
	unsigned n = sample->count;

	return n == 0 ? 0
		      : (sample->value[(n - 1) / 2] + sample->value[n / 2]) / 2;
}

double
sample_least(const struct sample *sample)
{
	return sample->count == 0 ? 0 : sample->value[0];
}

double
sample_most(const struct sample *sample)
{
	return sample->count == 0 ? 0 : sample->value[sample->count - 1];
}

const char *
task_name(enum task task)
{
	const char *const names[] = { "get", "get, overlapping", "get 16",
		"get 64", "miss", "set", "95/5", "50/50" };

	return names[task];
}

static uint8_t buffers[VALUE_ROOM + 64];

static void
fill(struct contender *c, const struct load *load)
{
	if (c->engine->filling != NULL)
		c->engine->filling(c->state, true);
	for (uint64_t item = 0; item < load->items; item++) {
		struct op op;

		op_make(&op, item);
		value_make(buffers, load->value_bytes, item);
		if (!c->engine->set(
			c->state, &op, buffers, load->value_bytes)) {
			fprintf(stderr, "bench: %s does not take item %llu\n",
			    c->engine->name, (unsigned long long)item);
			exit(1);
		}
	}
	if (c->engine->filling != NULL)
		c->engine->filling(c->state, false);
}

/* False: it is there, and is not what was put there. */
static bool
reads_back(struct contender *c, const struct load *load, uint64_t item)
{
	struct stream one = stream_make(SAME, item, 1, 1, 0);
	size_t bytes = load->value_bytes;
	uint8_t *wanted = malloc(bytes);
	bool other;
	int got;

	contender_prepare(c, &one);
	value_make(wanted, bytes, item);
	memset(buffers, 0, bytes);
	got = c->engine->get(c->state, one.ops, buffers, bytes);
	stream_free(&one);
	c->failed += got < 0;
	other = got >= 0 &&
		((size_t)got != bytes || memcmp(buffers, wanted, bytes) != 0);
	free(wanted);
	return !other;
}

/* A cache may have dropped some. */
static void
check(struct contender *c, const struct load *load)
{
	uint64_t step = 1 + load->items / 1000, looked = 0;

	for (uint64_t i = 0; i < load->items; i += step, looked++)
		if (!reads_back(c, load, i)) {
			fprintf(stderr, "bench: %s has another item %llu\n",
			    c->engine->name, (unsigned long long)i);
			exit(1);
		}
	if (c->failed * 100 > looked && !c->engine->forgets) {
		fprintf(stderr, "bench: %s lost %llu of %llu items\n",
		    c->engine->name, (unsigned long long)c->failed,
		    (unsigned long long)looked);
		exit(1);
	}
}

bool
contender_open(
    struct contender *c, const struct engine *engine, const struct load *load)
{
	const char *why;

	*c = (struct contender){ .engine = engine,
		.value_bytes = load->value_bytes };
	why = engine->open(load, &c->state);
	if (why != NULL) {
		printf("  %s is left out: %s\n", engine->name, why);
		return false;
	}
	fill(c, load);
	check(c, load);
	return true;
}

void
contender_close(struct contender *c)
{
	if (c->state != NULL)
		c->engine->close(c->state);
	c->state = NULL;
}

void
contender_prepare(struct contender *c, struct stream *stream)
{
	if (c->engine->prepare != NULL)
		c->engine->prepare(c->state, stream->ops, stream->count);
}

/* What the compiler must not know to be 0. */
static volatile uint64_t zero;

static size_t
around(size_t at, const struct stream *stream)
{
	return at < stream->count ? at : 0;
}

static void
do_gets(struct contender *c, const struct stream *s, bool chained, uint64_t n)
{
	const struct engine *e = c->engine;
	uint64_t none = zero, word = 0;
	size_t at = c->at;

	for (uint64_t i = 0; i < n; i++) {
		c->failed +=
		    e->get(c->state, &s->ops[at], buffers, VALUE_ROOM) < 0;
		if (chained)
			memcpy(&word, buffers, sizeof(word));
		at = around(at + 1 + (word & none), s);
	}
	c->at = at;
}

static void
do_misses(struct contender *c, const struct stream *s, uint64_t n)
{
	size_t at = c->at;

	for (uint64_t i = 0; i < n; i++, at = around(at + 1, s))
		c->failed += c->engine->get(c->state, &s->ops[at], buffers,
				 VALUE_ROOM) >= 0;
	c->at = at;
}

static void
do_many(struct contender *c, const struct stream *s, unsigned each, uint64_t n)
{
	size_t at = c->at, room = c->value_bytes;

	for (uint64_t i = 0; i < n; i += each) {
		if (at + each > s->count)
			at = 0;
		c->failed += each - c->engine->get_many(c->state, &s->ops[at],
					each, buffers, room);
		at = around(at + each, s);
	}
	c->at = at;
}

/* Every so many-th operation is a set. */
static void
do_sets(struct contender *c, const struct stream *s, unsigned every, uint64_t n)
{
	const struct engine *e = c->engine;
	size_t at = c->at;

	for (uint64_t i = 0; i < n; i++, at = around(at + 1, s)) {
		bool done;

		if (i % every == 0)
			done = e->set(
			    c->state, &s->ops[at], buffers, c->value_bytes);
		else
			done = e->get(c->state, &s->ops[at], buffers,
				   VALUE_ROOM) >= 0;
		c->failed += !done;
	}
	c->at = at;
}

static void
do_task(struct contender *c, const struct stream *s, enum task task, uint64_t n)
{
	switch (task) {
	case GET:
	case GET_OVERLAP:
		do_gets(c, s, task == GET, n);
		break;
	case GET_16:
		do_many(c, s, 16, n);
		break;
	case GET_64:
		do_many(c, s, 64, n);
		break;
	case MISS:
		do_misses(c, s, n);
		break;
	case SET:
		do_sets(c, s, 1, n);
		break;
	case MIX_95:
		do_sets(c, s, 20, n);
		break;
	case MIX_50:
		do_sets(c, s, 2, n);
		break;
	}
}

static double
timed(struct contender *c, const struct stream *s, enum task task, uint64_t n)
{
	double (*now)(void) = c->engine->remote ? clock_wall : clock_thread;
	double begin = now();

	do_task(c, s, task, n);
	return (now() - begin) * 1e9 / (double)n;
}

double
contender_run(struct contender *c, const struct stream *stream, enum task task,
    double milliseconds)
{
	uint64_t n;

	if (c->ns <= 0)
		c->ns = timed(c, stream, task, RUN_LEAST);
	n = (uint64_t)(milliseconds * 1e6 / c->ns);
	n = n < RUN_LEAST ? RUN_LEAST : n;
	n = (n + KEYS_MANY - 1) / KEYS_MANY * KEYS_MANY;
	c->failed = 0;
	c->ns = timed(c, stream, task, n);
	if (c->failed * 50 > n && !c->engine->forgets) {
		fprintf(stderr, "bench: %s failed in %llu of %llu\n",
		    c->engine->name, (unsigned long long)c->failed,
		    (unsigned long long)n);
		exit(1);
	}
	return c->ns;
}
