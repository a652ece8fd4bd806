/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * policy_lfu.c - least frequently used, with decay
 *
 * A hit counts in the low two bits of the marks, as with every policy.  A copy
 * carries what has come together in the upper six: half of what it had, and
 * four for each hit of its last stay.
 */
#include "libshmcache/policy.h"

#define CARRIED_SHIFT 2u
#define CARRIED_MAX   62u /* 63 and three hits would be ENTRY_DEAD */

static struct policy_verdict
judge(const struct policy_view *view)
{
	unsigned hits = view->marks & POLICY_MARKS_MAX;
	unsigned carried =
	    (unsigned)(view->marks >> CARRIED_SHIFT) / 2 + hits * 4;
	struct policy_verdict verdict = { .worth = (uint8_t)(carried / 2) };

	if (carried > CARRIED_MAX)
		carried = CARRIED_MAX;
	if (verdict.worth > POLICY_WORTH_MAX)
		verdict.worth = POLICY_WORTH_MAX;
	verdict.marks = (uint8_t)(carried << CARRIED_SHIFT);
	return verdict;
}

const struct policy policy_lfu = {
	.name = "lfu", .judge = judge, .order = POLICY_OLDEST
};
