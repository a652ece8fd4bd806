/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * set_bench.c - what does a set cost, alone and among gets, in a cache with
 * room and in a full one?
 *
 * "shmcache" has room for all the items and a GiB more; "shmcache, full" has
 * room for a third of the items, so nearly every set makes somebody leave.
 */
#include "bench/compare.h"

static const enum task tasks[] = { SET, MIX_50, MIX_95 };

static const struct engine *const peers[] = {
	&engine_shmcache_full,
	&engine_ckht,
	&engine_lfht,
	&engine_naive,
	&engine_lmdb,
	&engine_sqlite,
	&engine_memcached,
	&engine_redis,
};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static void
run(struct comparison *c, uint64_t items, enum order order)
{
	if (c->settings->items != 0 && c->settings->items != items)
		return;
	c->load = (struct load){
		.items = items, .value_bytes = 64, .spare_bytes = 1u << 30
	};
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

	if (settings.alone || settings.quick) {
		settings.alone = false;
		c.peer_count = 1; /* the full cache */
	}
	c.report = report_begin("set", "What does a set cost?", &settings);
	run(&c, 10000, UNIFORM);
	run(&c, 1000000, ZIPF);
	if (!settings.quick)
		run(&c, 1000000, UNIFORM);
	report_end(c.report);
	return 0;
}
