/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* self_test.h - is the crash test able to fail? */
#ifndef CRASH_SELF_TEST_H
#define CRASH_SELF_TEST_H

#include <stdint.h>

struct self_test_result {
	unsigned passed;
	unsigned failed;
};

struct self_test_result self_test(uint64_t seed);

#endif /* CRASH_SELF_TEST_H */
