/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* compare.c - rounds in which contenders take turns */
#include "bench/compare.h"

#define TURNS_MAX 3u

static bool
can(const struct engine *engine, enum task task)
{
	if (task == GET_16 || task == GET_64)
		return engine->get_many != NULL;
	return !engine->single_gets_left_out;
}

/* The rounds of one task: the last contender's line, or the first two's. */
static void
play(const struct comparison *c, const struct stream *stream, enum task task,
    struct contender *contenders, unsigned count)
{
	struct line lines[TURNS_MAX];
	unsigned first = count == TURNS_MAX ? TURNS_MAX - 1 : 0;

	for (unsigned i = 0; i < count; i++) {
		contenders[i].ns = 0;
		lines[i] = (struct line){ .what = task_name(task),
			.engine = contenders[i].engine->name,
			.order = order_name(c->order),
			.items = c->load.items,
			.value_bytes = c->load.value_bytes,
			.processes = 1,
			.unit = "ns" };
	}
	for (unsigned round = 0; round < c->settings->rounds; round++) {
		double ns[TURNS_MAX];

		for (unsigned i = 0; i < count; i++) {
			ns[i] = contender_run(&contenders[i], stream, task,
			    c->settings->milliseconds);
			sample_add(&lines[i].figure, ns[i]);
			sample_add(&lines[i].to_floor, ns[i] / ns[0]);
		}
		for (unsigned i = 0; i < count; i++)
			sample_add(&lines[i].to_cache, ns[i] / ns[1]);
	}
	for (unsigned i = first; i < count; i++)
		report_line(c->report, &lines[i]);
}

/* Those that are there, and those that are not. */
struct streams {
	struct stream present;
	struct stream absent;
};

static void
play_all(const struct comparison *c, const struct streams *streams,
    struct contender *contenders, unsigned count)
{
	for (unsigned t = 0; t < c->task_count; t++) {
		bool able = true;

		for (unsigned i = 0; i < count; i++)
			able = able && can(contenders[i].engine, c->tasks[t]);
		if (able)
			play(c,
			    c->tasks[t] == MISS ? &streams->absent
						: &streams->present,
			    c->tasks[t], contenders, count);
	}
}

void
compare(const struct comparison *c)
{
	uint64_t items = c->load.items;
	size_t length = stream_length(items);
	struct streams streams = { stream_make(c->order, 0, items, length, 1),
		stream_make(c->order, items, items, length, 1) };
	struct contender contenders[TURNS_MAX];

	if (!contender_open(&contenders[0], &engine_floor, &c->load) ||
	    !contender_open(&contenders[1], &engine_shmcache, &c->load))
		return;
	contender_prepare(&contenders[0], &streams.present);
	contender_prepare(&contenders[0], &streams.absent);
	play_all(c, &streams, contenders, 2);
	for (unsigned i = 0; i < c->peer_count && !c->settings->alone; i++) {
		if (!contender_open(&contenders[2], c->peers[i], &c->load))
			continue;
		play_all(c, &streams, contenders, TURNS_MAX);
		contender_close(&contenders[2]);
	}
	contender_close(&contenders[1]);
	contender_close(&contenders[0]);
	stream_free(&streams.present);
	stream_free(&streams.absent);
}
