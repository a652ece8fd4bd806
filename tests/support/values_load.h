/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * values_load.h - processes and threads that hammer one cache with values that
 * can be checked
 *
 * Every thread gets, pins, sets, replaces, deletes, sweeps and looks at the
 * statistics of one small set of keys, half of the time of very few of them.
 * Checked are
 *   - every byte and flag of every value got,
 *   - that bytes held in place do not change while they are held,
 *   - that a reader who saw a writer's Nth value of a key never again sees an
 *     earlier one of that writer: replaced, deleted or evicted is gone,
 *   - that no set fails,
 *   - that the cache is sound in the end, and holds no slot of the workers.
 */
#ifndef TESTS_SUPPORT_VALUES_LOAD_H
#define TESTS_SUPPORT_VALUES_LOAD_H

#include <stdint.h>

struct values_load {
	uint64_t procs;
	uint64_t threads; /* of each process */
	uint64_t ops;     /* of all together */
	uint64_t keys;
	uint64_t capacity_bytes;
};

/*
 * main() of a program with that one case, which takes --procs, --threads,
 * --ops, --keys and --capacity beside the usual options.
 */
int values_load_main(int argc, char **argv, const struct values_load *defaults);

#endif /* TESTS_SUPPORT_VALUES_LOAD_H */
