/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * counts.h - what gcov has counted, of a process that ends by _exit() or is killed
 */
#ifndef TESTS_SUPPORT_COUNTS_H
#define TESTS_SUPPORT_COUNTS_H

#include <stddef.h>

/* Present in builds with gcov only. */
void __gcov_dump(void) __attribute__((weak));

/* Write it now; what the process does from here on is not counted. */
static inline void
keep_counts(void)
{
	if (__gcov_dump != NULL)
		__gcov_dump();
}

#endif /* TESTS_SUPPORT_COUNTS_H */
