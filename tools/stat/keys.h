/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * keys.h - the few keys that stand out among many
 */
#ifndef TOOLS_STAT_KEYS_H
#define TOOLS_STAT_KEYS_H

#include <shmcache_admin.h>
#include <stddef.h>
#include <stdint.h>

#define KEYS_BIG_MAX 50

struct key {
	char *text;     /* escaped */
	double weight;  /* by which it stands out: bytes, or sampled gets */
	uint64_t bytes; /* of the entry, in memory */
	int64_t ttl_ms;
};

/* In the order of their weight, the largest first. */
struct key_list {
	struct key *keys;
	size_t count;
	size_t room;
	double total; /* weight of all that were looked at */
};

/*
 * Fold the keys of the gets that were sampled last into the list, in which
 * those of earlier calls fade: few are remembered at a time, so a moving average
 * tells more.  Returns 0 or an error of the library.
 */
int keys_fold_hot(struct shmcache *cache, struct key_list *list);

/* Put an entry into a list of the KEYS_BIG_MAX largest.  Returns 0 or -ENOMEM. */
int keys_add_big(struct key_list *list, const struct shmcache_entry *entry);

void keys_free(struct key_list *list);

#endif /* TOOLS_STAT_KEYS_H */
