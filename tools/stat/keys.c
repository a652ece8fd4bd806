/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* keys.c - the few keys that stand out among many */
#include "tools/stat/keys.h"

#include "tools/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What is left of a weight at the next call, and what is too little to keep. */
#define HOT_FADES_TO   0.85
#define HOT_WEIGHT_MIN 0.05

/* Returns the new place, behind the last; NULL if there is no memory. */
static struct key *
append(struct key_list *list, const struct shmcache_entry *entry)
{
	struct key *key;

	if (list->count == list->room) {
		size_t room = list->room ? list->room * 2 : 64;
		struct key *keys =
		    reallocarray(list->keys, room, sizeof(*keys));

		if (!keys) {
			return NULL;
		}
		list->keys = keys;
		list->room = room;
	}
	key = &list->keys[list->count];
	key->text = text_escape(entry->key, entry->key_bytes);
	if (!key->text) {
		return NULL;
	}
	key->bytes = entry->entry_bytes;
	key->ttl_ms = entry->ttl_ms;
	list->count++;
	return key;
}

void
keys_free(struct key_list *list)
{
	size_t i;

	for (i = 0; i < list->count; i++) {
		free(list->keys[i].text);
	}
	free(list->keys);
	memset(list, 0, sizeof(*list));
}

/* --- hot ---------------------------------------------------------------- */

struct hot_visit {
	struct key_list *list;
	int error;
};

static int
visit_hot(void *context, const struct shmcache_entry *entry)
{
	struct hot_visit *visit = context;
	struct key *key = append(visit->list, entry);

	if (!key) {
		visit->error = -ENOMEM;
		return 1;
	}
	key->weight = 1;
	visit->list->total += 1;
	return 0;
}

static int
by_text(const void *a, const void *b)
{
	const struct key *one = a;
	const struct key *other = b;

	return strcmp(one->text, other->text);
}

static int
by_weight(const void *a, const void *b)
{
	const struct key *one = a;
	const struct key *other = b;

	if (one->weight > other->weight) {
		return -1;
	}
	return one->weight < other->weight ? 1 : strcmp(one->text, other->text);
}

/* Sorted by text, equal ones are neighbours: they become one. */
static void
merge_equal(struct key_list *list)
{
	size_t kept = 0;
	size_t i;

	for (i = 0; i < list->count; i++) {
		if (kept &&
		    !strcmp(list->keys[kept - 1].text, list->keys[i].text)) {
			list->keys[kept - 1].weight += list->keys[i].weight;
			free(list->keys[i].text);
		} else {
			list->keys[kept++] = list->keys[i];
		}
	}
	list->count = kept;
}

int
keys_fold_hot(struct shmcache *cache, struct key_list *list)
{
	struct hot_visit visit = { .list = list };
	int result;
	size_t i;

	for (i = 0; i < list->count; i++) {
		list->keys[i].weight *= HOT_FADES_TO;
	}
	list->total *= HOT_FADES_TO;
	result = shmcache_hot_keys(cache, visit_hot, &visit);
	if (list->count) {
		qsort(list->keys, list->count, sizeof(*list->keys), by_text);
		merge_equal(list);
		qsort(list->keys, list->count, sizeof(*list->keys), by_weight);
	}
	while (list->count &&
	       list->keys[list->count - 1].weight < HOT_WEIGHT_MIN) {
		free(list->keys[--list->count].text);
	}
	return visit.error ? visit.error : result < 0 ? result : 0;
}

/* --- big ---------------------------------------------------------------- */

int
keys_add_big(struct key_list *list, const struct shmcache_entry *entry)
{
	struct key added;
	size_t place;

	list->total += (double)entry->entry_bytes;
	if (list->count == KEYS_BIG_MAX) {
		if (entry->entry_bytes <= list->keys[list->count - 1].bytes) {
			return 0;
		}
		free(list->keys[--list->count].text);
	}
	if (!append(list, entry)) {
		return -ENOMEM;
	}
	added = list->keys[list->count - 1];
	added.weight = (double)entry->entry_bytes;
	for (place = list->count - 1;
	     place > 0 && list->keys[place - 1].bytes < added.bytes; place--) {
		list->keys[place] = list->keys[place - 1];
	}
	list->keys[place] = added;
	return 0;
}
