/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * values_stress_test.c - values_test with a hundred million operations
 */
#include "tests/support/run.h"
#include "tests/support/values_load.h"

int
main(int argc, char **argv)
{
	static const struct values_load defaults = {
		.procs = TEST_TSAN ? 1 : 4,
		.threads = TEST_TSAN ? 4 : 2,
		.ops = TEST_TSAN ? 10000000 : 100000000,
		.keys = 4096,
		.capacity_bytes = 16 << 20,
	};

	return values_load_main(argc, argv, &defaults);
}
