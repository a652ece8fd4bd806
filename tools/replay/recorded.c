/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* recorded.c - what a log of a live cache says besides its requests */
#include "tools/replay/recorded.h"

#include "tools/replay/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A set that comes this long after a miss of its key is not what it loaded. */
#define LOAD_MS_MAX 10000u

static bool
to_count(const char *text, uint64_t *count_out)
{
	char *end;
	double number = strtod(text, &end);

	if (end == text || *end != '\0' || !(number >= 0 && number < 0x1p53))
		return false;
	*count_out = (uint64_t)number;
	return true;
}

static bool
to_share(const char *text, double *share_out)
{
	char *end;
	double share = strtod(text, &end);

	if (end == text || *end != '\0' || !(share > 0 && share <= 1))
		return false;
	*share_out = share;
	return true;
}

bool
recorded_note(struct recorded *r, const char *line)
{
	const struct {
		const char *name;
		uint64_t *count;
	} counts[] = { { "gets", &r->gets }, { "hits", &r->hits },
		{ "capacity_bytes", &r->capacity_bytes },
		{ "fixed_bytes", &r->fixed_bytes },
		{ "key_bytes", &r->key_bytes }, { "lost", &r->lost },
		{ "unknown", &r->unknown }, { "torn", &r->torn },
		{ "gaps", &r->gaps } };
	char name[32], value[32];

	if (sscanf(line, "# %31s %31s", name, value) != 2)
		return true;
	if (strcmp(name, "share") == 0)
		return to_share(value, &r->share);
	if (strcmp(name, "policy") == 0)
		(void)snprintf(r->policy, sizeof(r->policy), "%.15s", value);
	r->ended |= strcmp(name, "gaps") == 0; /* the last one */
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		if (strcmp(name, counts[i].name) == 0)
			return to_count(value, counts[i].count);
	return true;
}

/* What is known of a key on the way through the log. */
struct known {
	uint32_t missed; /* 1 + number of the miss that a set may follow */
	uint32_t ttl_s;  /* of its last set */
	bool set;
};

static bool
is_load(const struct trace *t, const struct known *k, const struct request *r)
{
	return r->time_ms - t->request[k->missed - 1].time_ms <= LOAD_MS_MAX;
}

/* True if the set belonged to a miss, and is no request of its own. */
static bool
join(struct trace *t, struct known *k, const struct request *set)
{
	struct request *miss;

	if (k->missed == 0 || !is_load(t, k, set))
		return false;
	miss = &t->request[k->missed - 1];
	miss->op = OP_GET;
	miss->value_bytes = set->value_bytes;
	miss->ttl_s = set->ttl_s;
	return true;
}

static bool
step(struct trace *t, struct known *k, struct request *r, size_t at)
{
	bool joined = false;

	switch (r->op) {
	case OP_MISS:
		if (k->missed == 0 || !is_load(t, k, r))
			k->missed = (uint32_t)at + 1;
		break;
	case OP_SET:
		joined = join(t, k, r);
		*k = (struct known){ .ttl_s = r->ttl_s, .set = true };
		break;
	case OP_GET:
		k->missed = 0;
		if (k->set) /* else what is left of it must do */
			r->ttl_s = k->ttl_s;
		break;
	case OP_TOUCH: /* one of the key that has missed may find nothing */
		break;
	default:
		k->missed = 0;
	}
	return joined;
}

static bool
is_recorded(const struct trace *t)
{
	bool recorded = t->recorded.share > 0;

	for (size_t i = 0; i < t->count && !recorded; i++)
		recorded = t->request[i].op == OP_MISS;
	return recorded;
}

bool
recorded_settle(struct trace *t)
{
	struct known *known;
	size_t count = 0, flushed = 0;

	if (!is_recorded(t))
		return true;
	known = calloc(t->keys + 1ull, sizeof(*known));
	if (known == NULL)
		return false;
	for (size_t i = 0; i < t->count; i++) {
		struct request r = t->request[i];
		struct known *k = &known[r.key];

		if (r.op == OP_FLUSH)
			flushed = count;
		else if (k->missed <= flushed) /* what is set stays */
			k->missed = 0;
		if (r.op == OP_FLUSH || !step(t, k, &r, count))
			t->request[count++] = r;
	}
	t->recorded.stored = t->count - count;
	t->count = count;
	t->with_ttl = 0;
	for (size_t i = 0; i < t->count; i++)
		t->with_ttl += t->request[i].ttl_s > 0;
	free(known);
	return true;
}

double
recorded_expected_gets(const struct trace *t)
{
	const struct recorded *r = &t->recorded;
	double all = (double)(t->count + r->stored);

	if (r->share == 0 || r->gets == 0)
		return (double)t->gets;
	return (double)r->gets * r->share * all /
	       (all + (double)(r->lost + r->torn));
}
