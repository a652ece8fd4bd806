/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * history.c - see history.h
 */
#include "tests/support/history.h"

#include "tests/support/prng.h"
#include "tests/support/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNDER_WAY_MAX 64
#define CONFIGS_MAX   (1u << 18)
#define TABLE_SIZE    (2 * CONFIGS_MAX)
#define NO_EVENT      SIZE_MAX

/* {1 for a counter, chunks 7, hash 56}, or a counter's value. */
#define COUNTER    (UINT64_C(1) << 63)
#define HASH_BITS  56
#define HASH_MASK  ((UINT64_C(1) << HASH_BITS) - 1)
#define MULTIPLIER UINT64_C(0x9e3779b97f4a7c15)

static uint64_t
pack(unsigned chunks, uint64_t hash)
{
	return (uint64_t)chunks << HASH_BITS | (hash & HASH_MASK);
}

uint64_t
history_value(uint64_t chunk)
{
	return pack(1, prng_mix(chunk));
}

unsigned
history_chunks(uint64_t value)
{
	return (unsigned)(value >> HASH_BITS) & 0x7f;
}

/* A polynomial in MULTIPLIER whose last coefficient is the first chunk. */
uint64_t
history_appended(uint64_t value, uint64_t chunk)
{
	return pack(
	    history_chunks(value) + 1, value * MULTIPLIER + prng_mix(chunk));
}

uint64_t
history_prepended(uint64_t value, uint64_t chunk)
{
	uint64_t power = 1;

	for (unsigned i = 0; i < history_chunks(value); i++) {
		power *= MULTIPLIER;
	}
	return pack(history_chunks(value) + 1, prng_mix(chunk) * power + value);
}

uint64_t
history_counter(int64_t value)
{
	return COUNTER | (uint64_t)value;
}

struct config {
	uint64_t value;
	uint64_t effective; /* a bit for each call under way that had its
			       effect */
};

/* A set of configurations: a list, and a table of 1 + places in it. */
struct configs {
	struct config *list;
	size_t count;
	uint32_t *table;
};

struct checker {
	const struct history_event *events;
	bool may_evict;
	struct configs now, next, seen;
	size_t under_way[UNDER_WAY_MAX];
	unsigned ways; /* no bit at or above it is in use */
	struct history_verdict *verdict;
};

static uint32_t *
table_place(const struct configs *set, const struct config *config)
{
	uint64_t at = prng_mix(config->value ^ config->effective * MULTIPLIER);

	for (;; at++) {
		uint32_t *place = &set->table[at & (TABLE_SIZE - 1)];

		if (*place == 0 || memcmp(&set->list[*place - 1], config,
				       sizeof(*config)) == 0) {
			return place;
		}
	}
}

static void
insert(struct configs *set, struct config config)
{
	uint32_t *place = table_place(set, &config);

	if (*place != 0) {
		return;
	}
	CHECK_SAY(set->count < CONFIGS_MAX,
	    "more than %u configurations of one history", CONFIGS_MAX);
	set->list[set->count++] = config;
	*place = (uint32_t)set->count;
}

static void
empty(struct configs *set)
{
	/* Only what is in use, from the end on: no probe meets a gap. */
	while (set->count > 0) {
		*table_place(set, &set->list[set->count - 1]) = 0;
		set->count--;
	}
}

/* How an operation's outcome is judged at an instant at which the key holds
   `value`; false: it can't have been then.  Else *value is what it leaves. */
static bool
leave(uint64_t *value, bool possible, uint64_t after)
{
	if (possible) {
		*value = after;
	}
	return possible;
}

/* What an operation that is done leaves; false: not possible. */
static bool
apply_done(const struct history_event *e, uint64_t *value)
{
	bool counter = (*value & COUNTER) != 0;

	switch (e->kind) {
	case HISTORY_GET:
		return *value == e->seen;
	case HISTORY_SET:
		return leave(value, true, e->argument);
	case HISTORY_ADD:
		return leave(value, *value == 0, e->argument);
	case HISTORY_REPLACE:
		return leave(value, *value != 0, e->argument);
	case HISTORY_CAS:
		return leave(value, *value == e->seen, e->argument);
	case HISTORY_DELETE:
		return leave(value, *value != 0, 0);
	case HISTORY_INCR:
		return leave(value,
		    counter && (COUNTER | (*value + e->argument)) == e->seen,
		    e->seen);
	case HISTORY_APPEND:
		return leave(value, *value != 0 && !counter,
		    history_appended(*value, e->argument));
	case HISTORY_PREPEND:
		return leave(value, *value != 0 && !counter,
		    history_prepended(*value, e->argument));
	case HISTORY_INVALIDATE:
		return leave(value, true, 0);
	default:
		return false;
	}
}

/* A counter may have come back to the same value with another version. */
static bool
apply_present(const struct history_event *e, uint64_t value)
{
	if (e->kind == HISTORY_CAS) {
		return value != 0 &&
		       (value != e->seen || (value & COUNTER) != 0);
	}
	return value != 0;
}

static bool
apply(const struct checker *c, const struct history_event *e, uint64_t *value)
{
	struct history_event done = *e;

	switch (e->result) {
	case HISTORY_DONE:
		/* It may have been evicted just before. */
		if (e->kind == HISTORY_ADD && c->may_evict) {
			*value = 0;
		}
		return apply_done(e, value);
	case HISTORY_ABSENT:
		return leave(value, *value == 0 || c->may_evict, 0);
	case HISTORY_PRESENT:
		return apply_present(e, *value);
	case HISTORY_PENDING:
		if (e->kind == HISTORY_INCR) {
			done.seen = COUNTER | (*value + e->argument);
		}
		done.result = HISTORY_DONE;
		return apply(c, &done, value);
	default:
		return true;
	}
}

/* Bit `way` is free for the next call. */
static void
keep(struct checker *c, struct config config, unsigned way)
{
	config.effective &= ~(UINT64_C(1) << way);
	insert(&c->next, config);
}

static void
carry_on(struct checker *c, const struct config *from)
{
	for (unsigned w = 0; w < c->ways; w++) {
		struct config to = *from;

		if (c->under_way[w] == NO_EVENT ||
		    (from->effective >> w & 1) != 0 ||
		    !apply(c, &c->events[c->under_way[w]], &to.value)) {
			continue;
		}
		to.effective |= UINT64_C(1) << w;
		insert(&c->seen, to);
	}
}

/* The call of this bit has returned, or its process is dead; false: no
   configuration is left. */
static bool
settle(struct checker *c, unsigned way, bool killed)
{
	struct configs swap;

	for (size_t i = 0; i < c->now.count; i++) {
		insert(&c->seen, c->now.list[i]);
	}
	for (size_t i = 0; i < c->seen.count; i++) {
		struct config config = c->seen.list[i];
		bool effective = (config.effective >> way & 1) != 0;

		if (effective || killed) {
			keep(c, config, way);
		}
		if (!effective) {
			carry_on(c, &config);
		}
	}
	if (c->verdict->widest < c->seen.count) {
		c->verdict->widest = c->seen.count;
	}
	empty(&c->seen);
	empty(&c->now);
	swap = c->now;
	c->now = c->next;
	c->next = swap;
	c->under_way[way] = NO_EVENT;
	return c->now.count > 0;
}

/* Sorting: a history is a list of edges, 2 * event or 2 * event + 1 for its
   return. */

static const struct history_event *sorted;

static uint64_t
edge_ns(size_t edge)
{
	const struct history_event *e = &sorted[edge / 2];

	return edge % 2 != 0 ? e->returned_ns : e->called_ns;
}

/* At one time calls come before returns, so that they overlap. */
static int
by_time(const void *a, const void *b)
{
	size_t x = *(const size_t *)a, y = *(const size_t *)b;
	uint64_t s = edge_ns(x), t = edge_ns(y);

	if (s != t) {
		return s < t ? -1 : 1;
	}
	if (x % 2 != y % 2) {
		return x % 2 != 0 ? 1 : -1;
	}
	return x < y ? -1 : x > y;
}

static int
by_key(const void *a, const void *b)
{
	const struct history_event *x = a, *y = b;

	if (x->key != y->key) {
		return x->key < y->key ? -1 : 1;
	}
	return x->called_ns < y->called_ns ? -1 : x->called_ns > y->called_ns;
}

static size_t
describe(char *text, size_t bytes, const struct history_event *e)
{
	static const char *const kinds[] = { "get", "set", "add", "replace",
		"cas", "delete", "incr", "append", "prepend", "invalidate" };
	static const char *const results[] = { "killed", "done", "absent",
		"present", "refused" };
	int used = snprintf(text, bytes,
	    "\n    %" PRIu64 "..%" PRIu64 " %s(%" PRIx64 ") %s %" PRIx64,
	    e->called_ns, e->returned_ns, kinds[e->kind], e->argument,
	    results[e->result], e->seen);

	return used < 0 || (size_t)used >= bytes ? bytes - 1 : (size_t)used;
}

/* The event whose return nothing explains, and those before it. */
static void
complain(struct checker *c, const size_t *edges, size_t at)
{
	struct history_verdict *v = c->verdict;
	const struct history_event *e = &c->events[edges[at] / 2];
	size_t used = (size_t)snprintf(v->text, sizeof(v->text),
	    "key %" PRIx64 ": no order explains", e->key);

	v->violated = true;
	used += describe(v->text + used, sizeof(v->text) - used, e);
	used += (size_t)snprintf(v->text + used, sizeof(v->text) - used,
	    "\n  before it, latest first");
	for (size_t i = at; i-- > 0 && used < sizeof(v->text) - 120;) {
		if (edges[i] % 2 != 0) {
			used += describe(v->text + used, sizeof(v->text) - used,
			    &c->events[edges[i] / 2]);
		}
	}
}

static unsigned
begin_call(struct checker *c, size_t event)
{
	unsigned way = 0;

	while (way < UNDER_WAY_MAX && c->under_way[way] != NO_EVENT) {
		way++;
	}
	CHECK_SAY(way < UNDER_WAY_MAX, "more than %d calls at one time",
	    UNDER_WAY_MAX);
	c->under_way[way] = event;
	if (c->ways <= way) {
		c->ways = way + 1;
	}
	return way;
}

static unsigned
way_of(const struct checker *c, size_t event)
{
	unsigned way = 0;

	while (c->under_way[way] != event) {
		way++;
	}
	return way;
}

static bool
check_key(struct checker *c, size_t *edges, size_t edge_count)
{
	struct config nothing = { 0, 0 };

	empty(&c->now);
	insert(&c->now, nothing);
	c->ways = 0;
	for (unsigned w = 0; w < UNDER_WAY_MAX; w++) {
		c->under_way[w] = NO_EVENT;
	}
	for (size_t i = 0; i < edge_count; i++) {
		size_t event = edges[i] / 2;
		const struct history_event *e = &c->events[event];

		if (edges[i] % 2 == 0) {
			(void)begin_call(c, event);
		} else if (!settle(c, way_of(c, event),
			       e->result == HISTORY_PENDING)) {
			complain(c, edges, i);
			return false;
		}
	}
	return true;
}

/* Sets are emptied and used again: they are large. */
static void
configs_open(struct configs *set, struct configs *kept)
{
	if (kept->list == NULL) {
		kept->list = calloc(CONFIGS_MAX, sizeof(*kept->list));
		kept->table = calloc(TABLE_SIZE, sizeof(*kept->table));
		CHECK(kept->list != NULL && kept->table != NULL);
	}
	*set = *kept;
}

/* A get that was killed, and what was refused, tells and does nothing. */
static bool
says_nothing(const struct history_event *e)
{
	return e->result == HISTORY_WITHOUT ||
	       (e->result == HISTORY_PENDING && e->kind == HISTORY_GET);
}

void
history_check(struct history_event *events, size_t count, bool may_evict,
    struct history_verdict *verdict)
{
	struct checker c = {
		.events = events, .may_evict = may_evict, .verdict = verdict
	};
	static struct configs kept[3];
	size_t *edges = calloc(2 * count + 1, sizeof(*edges));
	size_t at = 0;

	CHECK(edges != NULL);
	memset(verdict, 0, sizeof(*verdict));
	configs_open(&c.now, &kept[0]);
	configs_open(&c.next, &kept[1]);
	configs_open(&c.seen, &kept[2]);
	qsort(events, count, sizeof(*events), by_key);
	sorted = events;
	while (at < count && !verdict->violated) {
		size_t used = 0, end = at;

		for (; end < count && events[end].key == events[at].key;
		     end++) {
			verdict->killed +=
			    events[end].result == HISTORY_PENDING;
			if (!says_nothing(&events[end])) {
				edges[used++] = 2 * end;
				edges[used++] = 2 * end + 1;
			}
		}
		qsort(edges, used, sizeof(*edges), by_time);
		(void)check_key(&c, edges, used);
		verdict->checked += end - at;
		verdict->keys++;
		at = end;
	}
	empty(&c.now);
	empty(&c.next);
	empty(&c.seen);
	free(edges);
}
