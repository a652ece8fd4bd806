/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * history_load.h - processes that use a few keys at once, some of which are
 * killed, and whose histories are then checked
 *
 * In each round threads of some processes work on a few keys of that round, in
 * a cache that is so small that they are evicted all the time, and note what
 * they call and what it gives (history.h).  A timer puts processes to sleep
 * anywhere, others are killed and started again.  Values say which they are and
 * every byte of them is checked, so that torn or foreign bytes show as well.
 */
#ifndef TESTS_SUPPORT_HISTORY_LOAD_H
#define TESTS_SUPPORT_HISTORY_LOAD_H

#include <stdint.h>

struct history_load {
	uint64_t procs;
	uint64_t threads; /* of each process */
	uint64_t ops;     /* of all together, in all rounds */
	uint64_t round;   /* of them in a round */
	uint64_t kills;   /* in a round, about */
};

/*
 * main() of a program with that one case, which takes --procs, --threads,
 * --ops, --round and --kills beside the usual options.
 */
int history_load_main(
    int argc, char **argv, const struct history_load *defaults);

#endif /* TESTS_SUPPORT_HISTORY_LOAD_H */
