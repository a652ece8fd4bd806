/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * compare.h - the floor, the cache and one other take turns
 *
 * The floor and the cache are filled once; the others come one after the other,
 * since there is not room for all of them at a time.
 */
#ifndef BENCH_COMPARE_H
#define BENCH_COMPARE_H

#include "bench/report.h"

struct comparison {
	struct report *report;
	const struct settings *settings;
	struct load load;
	enum order order;
	const enum task *tasks;
	unsigned task_count;
	const struct engine *const *peers;
	unsigned peer_count;
};

void compare(const struct comparison *comparison);

#endif /* BENCH_COMPARE_H */
