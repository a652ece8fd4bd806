/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * policy_clock.c - CLOCK with two bits (Corbato 1968), as FIFO-reinsertion
 *
 * An entry that was hit since it was written or last spared is copied on, with
 * one mark less; the others go.
 */
#include "libshmcache/policy.h"

static struct policy_verdict
judge(const struct policy_view *view)
{
	struct policy_verdict verdict = { .worth = view->marks,
		.marks = (uint8_t)(view->marks > 0 ? view->marks - 1 : 0) };

	return verdict;
}

const struct policy policy_clock = {
	.name = "clock", .judge = judge, .order = POLICY_OLDEST
};
