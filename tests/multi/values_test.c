/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * values_test.c - a million operations of several processes on one cache
 *
 * What is checked: tests/support/values_load.h.  ThreadSanitizer sees one
 * mapping of one process only, so in its build one process has all threads.
 */
#include "tests/support/run.h"
#include "tests/support/values_load.h"

int
main(int argc, char **argv)
{
	static const struct values_load defaults = {
		.procs = TEST_TSAN ? 1 : 4,
		.threads = TEST_TSAN ? 4 : 2,
		.ops = TEST_TSAN ? 200000 : 1000000,
		.keys = 4096,
		.capacity_bytes = 16 << 20,
	};

	return values_load_main(argc, argv, &defaults);
}
