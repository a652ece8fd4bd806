/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * history_stress_test.c - history_test with more than ten million operations
 */
#include "tests/support/history_load.h"
#include "tests/support/run.h"

int
main(int argc, char **argv)
{
	static const struct history_load defaults = {
		.procs = 6,
		.threads = 2,
		.ops = TEST_TSAN || TEST_ASAN ? 1000000 : 12000000,
		.round = 240000,
		.kills = 60,
	};

	return history_load_main(argc, argv, &defaults);
}
