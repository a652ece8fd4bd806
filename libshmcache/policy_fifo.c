/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * policy_fifo.c - everything goes, extent by extent: the oldest first (fifo),
 * the newest (mru), or any (random)
 *
 * mru is for what is passed over again and again and does not fit: the part
 * that is in stays in.
 */
#include "libshmcache/policy.h"

static struct policy_verdict
judge(const struct policy_view *view)
{
	(void)view;
	return (struct policy_verdict){ .worth = 0 };
}

const struct policy policy_fifo = {
	.name = "fifo", .judge = judge, .order = POLICY_OLDEST
};

const struct policy policy_mru = {
	.name = "mru", .judge = judge, .order = POLICY_NEWEST
};

const struct policy policy_random = {
	.name = "random", .judge = judge, .order = POLICY_ANY
};
