/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* get_bench.c - what does a get cost, beside the floor and the alternatives? */
#include "bench/compare.h"

static const enum task tasks[] = { GET, GET_OVERLAP, GET_16, GET_64, MISS };

static const struct engine *const peers[] = {
	&engine_ckht,
	&engine_lfht,
	&engine_naive,
	&engine_lmdb,
	&engine_sqlite,
	&engine_memcached,
	&engine_redis,
	&engine_redis_pipelined,
};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static void
run(struct comparison *c, uint64_t items, size_t value_bytes, enum order order)
{
	if (c->settings->items != 0 && c->settings->items != items)
		return;
	c->load = (struct load){ .items = items, .value_bytes = value_bytes };
	c->order = order;
	compare(c);
}

int
main(int argc, char **argv)
{
	struct settings settings = settings_read(argc, argv);
	struct comparison c = { .settings = &settings,
		.tasks = tasks,
		.task_count = COUNT_OF(tasks),
		.peers = peers,
		.peer_count = COUNT_OF(peers) };

	c.report = report_begin(settings.large ? "large" : "get",
	    "What does a get cost?", &settings);
	if (settings.large) {
		settings.alone = true;
		for (uint64_t items = 10000; items <= 100000000; items *= 10)
			run(&c, items, 8, UNIFORM);
		report_end(c.report);
		return 0;
	}
	run(&c, 1000, 64, UNIFORM);
	run(&c, 10000, 64, UNIFORM);
	run(&c, 100000, 64, UNIFORM);
	run(&c, 1000000, 64, UNIFORM);
	if (!settings.quick) {
		run(&c, 1000000, 64, ZIPF);
		run(&c, 100000, 8, UNIFORM);
		run(&c, 100000, 1024, UNIFORM);
		run(&c, 10000, 16384, UNIFORM);
		run(&c, 10000000, 64, UNIFORM);
		run(&c, 10000000, 64, ZIPF);
	}
	report_end(c.report);
	return 0;
}
