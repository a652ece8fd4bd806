/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* engine_lfht.c - liburcu's cds_lfht, in one process: RCU, values copied out */
#define XXH_INLINE_ALL /* for xxhash.h */
#include "bench/engine.h"

#if __has_include(<urcu/rculfhash.h>)

#include <stdlib.h>
#include <string.h>
#include <urcu/rculfhash.h>
#include <urcu/urcu-bp.h>
#include <xxhash.h>

struct node {
	struct cds_lfht_node link;
	struct rcu_head head;
	uint32_t value_bytes;
	char key[KEY_BYTES];
	char value[];
};

struct state {
	struct cds_lfht *table;
	bool filling;
};

static struct node *
node_of(struct cds_lfht_node *link)
{
	return (struct node *)(void *)link; /* it comes first */
}

static int
match(struct cds_lfht_node *link, const void *key)
{
	return memcmp(node_of(link)->key, key, KEY_BYTES) == 0;
}

static const char *
lfht_open(const struct load *load, void **state_out)
{
	struct state *s = calloc(1, sizeof(*s));
	unsigned long buckets = 64;

	while (buckets < load->items)
		buckets *= 2;
	s->table =
	    cds_lfht_new_flavor(buckets, 64, 0, 0, &urcu_bp_flavor, NULL);
	*state_out = s;
	return s->table != NULL ? NULL : "no memory";
}

static void
lfht_close(void *state)
{
	struct state *s = state;
	struct cds_lfht_iter i;
	struct cds_lfht_node *link;

	urcu_bp_read_lock();
	cds_lfht_for_each(s->table, &i, link)
	{
		(void)cds_lfht_del(s->table, link);
		free(node_of(link)); /* nobody else is here */
	}
	urcu_bp_read_unlock();
	(void)cds_lfht_destroy(s->table, NULL);
	free(s);
}

static void
free_node(struct rcu_head *head)
{
	free((char *)head - offsetof(struct node, head));
}

static bool
lfht_set(
    void *state, const struct op *op, const void *value, size_t value_bytes)
{
	struct state *s = state;
	struct node *node = malloc(sizeof(*node) + value_bytes);
	struct cds_lfht_node *old;

	cds_lfht_node_init(&node->link);
	node->value_bytes = (uint32_t)value_bytes;
	memcpy(node->key, op->key, KEY_BYTES);
	memcpy(node->value, value, value_bytes);
	urcu_bp_read_lock();
	old = cds_lfht_add_replace(s->table, XXH3_64bits(op->key, KEY_BYTES),
	    match, op->key, &node->link);
	urcu_bp_read_unlock();
	if (old != NULL)
		urcu_bp_call_rcu(&node_of(old)->head, free_node);
	return true;
}

static int
lfht_get(void *state, const struct op *op, void *buffer, size_t room)
{
	struct state *s = state;
	struct cds_lfht_iter i;
	int bytes = -1;

	urcu_bp_read_lock();
	cds_lfht_lookup(
	    s->table, XXH3_64bits(op->key, KEY_BYTES), match, op->key, &i);
	if (i.node != NULL && node_of(i.node)->value_bytes <= room) {
		bytes = (int)node_of(i.node)->value_bytes;
		memcpy(buffer, node_of(i.node)->value, (size_t)bytes);
	}
	urcu_bp_read_unlock();
	return bytes;
}

const struct engine engine_lfht = {
	.name = "cds_lfht",
	.open = lfht_open,
	.close = lfht_close,
	.set = lfht_set,
	.get = lfht_get,
};

#else

static const char *
lfht_open(const struct load *load, void **state_out)
{
	(void)load;
	(void)state_out;
	return "install liburcu-dev";
}

const struct engine engine_lfht = { .name = "cds_lfht", .open = lfht_open };

#endif
