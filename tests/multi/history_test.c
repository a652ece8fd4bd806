/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * history_test.c - what several processes saw of a key is explained by some
 * order of their calls
 */
#include "tests/support/history_load.h"
#include "tests/support/run.h"

int
main(int argc, char **argv)
{
	static const struct history_load defaults = {
		.procs = 6,
		.threads = 1,
		.ops = TEST_TSAN || TEST_ASAN ? 100000 : 400000,
		.round = 50000,
		.kills = 30,
	};

	return history_load_main(argc, argv, &defaults);
}
