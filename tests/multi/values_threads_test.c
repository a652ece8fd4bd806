/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * values_threads_test.c - values_test with the threads of one process only, for
 * ThreadSanitizer, and with few keys, so that they meet often
 */
#include "tests/support/run.h"
#include "tests/support/values_load.h"

int
main(int argc, char **argv)
{
	static const struct values_load defaults = {
		.procs = 1,
		.threads = 4,
		.ops = TEST_TSAN ? 100000 : 400000,
		.keys = 1024,
		.capacity_bytes = 2 << 20,
	};

	return values_load_main(argc, argv, &defaults);
}
