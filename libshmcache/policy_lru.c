/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * policy_lru.c - least recently used, as near as a log comes
 *
 * An entry's place in the log is the time it was last moved.  It is copied to
 * the front if it was hit in the older half of its way, and goes if not: so
 * what goes was not used for between half a round and one and a half.
 */
#include "libshmcache/policy.h"

static struct policy_verdict
judge(const struct policy_view *view)
{
	return (struct policy_verdict){ .worth = view->marks };
}

const struct policy policy_lru = { .name = "lru",
	.judge = judge,
	.order = POLICY_OLDEST,
	.window_percent = 50 };
