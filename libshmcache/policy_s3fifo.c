/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * policy_s3fifo.c - S3-FIFO over extents (Yang, Zhang, Qiu, Yue, Vinayak 2023)
 *
 * New entries pass a probation log, of 10 % at first (place.h).  One that was hit
 * there, later than in the newest quarter of that, goes on to the main log, which
 * is a CLOCK with two bits.  What goes from either leaves a ghost.  (In the paper
 * only probation does; here the main log gives way by whole extents, and with
 * them goes what is asked for again; and where the two should meet is learnt
 * from what comes back to each.)
 *
 * Size rule.  A large entry takes the room of several small ones, so it must be
 * hit more often to stay: above twice the mean size it needs one hit more, and
 * above four times two; in the main log it loses its marks as much faster.
 */
#include "libshmcache/policy.h"

/* 1, and 1 more for each step of size. */
static uint8_t
price(const struct policy_view *view)
{
	return (uint8_t)(1 + (view->bytes / 2 > view->mean_bytes) +
			 (view->bytes / 4 > view->mean_bytes));
}

static struct policy_verdict
judge(const struct policy_view *view)
{
	uint8_t step = price(view);
	uint8_t least = view->log == LOG_PROBATION ? step : 1;
	struct policy_verdict verdict = { 0 };

	if (view->marks < least) {
		verdict.remember = true;
		return verdict;
	}
	verdict.worth = view->marks;
	if (view->log == LOG_MAIN && view->marks > step)
		verdict.marks = (uint8_t)(view->marks - step);
	return verdict;
}

const struct policy policy_s3fifo = { .name = "s3fifo",
	.judge = judge,
	.order = POLICY_OLDEST,
	.probation_percent = 10,
	.window_percent = 25 };
