/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* policy.c - the policies there are; the first is the default */
#include "libshmcache/policy.h"

#include <stddef.h>
#include <string.h>

/* The order is part of the format: a cache holds the number. */
#define EACH(with)                                                             \
	with(s3fifo) with(clock) with(fifo) with(lru) with(lfu) with(mru)      \
	    with(random)

#define ENTRY(name) &policy_##name,
static const struct policy *const policies[] = { EACH(ENTRY) };

#define POLICIES (sizeof(policies) / sizeof(policies[0]))

const struct policy *
policy_named(const char *name)
{
	for (size_t i = 0; i < POLICIES && name != NULL; i++)
		if (strcmp(name, policies[i]->name) == 0)
			return policies[i];
	return name == NULL ? policies[0] : NULL;
}

const struct policy *
policy_numbered(uint64_t number)
{
	return number < POLICIES ? policies[number] : NULL;
}

uint64_t
policy_number(const struct policy *policy)
{
	uint64_t number = 0;

	while (policies[number] != policy)
		number++;
	return number;
}

const char *
policy_names(void)
{
#define NAME(name) #name " "
	return EACH(NAME);
}
