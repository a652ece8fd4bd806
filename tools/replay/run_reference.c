/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* run_reference.c - a trace through a simulated policy */
#include "tools/replay/run.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* What an object costs a reference. */
static uint32_t
weigh(const struct weights *w, const struct request *r)
{
	return w->unit ? 1 : w->key_bytes + r->value_bytes + w->overhead_bytes;
}

/* All keys' objects, at their first size. */
static uint64_t
weigh_all(const struct trace *trace, const struct weights *w)
{
	uint8_t *seen = calloc(trace->keys, 1);
	uint64_t sum = 0;

	if (seen == NULL)
		return 0;
	for (size_t i = 0; i < trace->count; i++) {
		const struct request *r = &trace->request[i];

		if (!trace_stores(r) || seen[r->key])
			continue;
		seen[r->key] = 1;
		sum += weigh(w, r);
	}
	free(seen);
	return sum;
}

void
point_set_capacity(
    struct point *point, const struct trace *trace, const struct weights *w)
{
	uint64_t all = weigh_all(trace, w);
	uint64_t each =
	    (uint64_t)w->key_bytes + w->unit_bytes + w->overhead_bytes;

	uint64_t fixed = trace->recorded.fixed_bytes;
	double sampled = trace_share(trace);

	if (point->capacity_bytes == 0) {
		point->sim_bytes = (uint64_t)(point->share * (double)all + 0.5);
		if (w->unit)
			point->sim_bytes *= each;
		point->capacity_bytes =
		    (uint64_t)((double)point->sim_bytes / sampled) + fixed;
	} else if (all > 0) {
		point->sim_bytes =
		    point->capacity_bytes <= fixed
			? 0
			: (uint64_t)((double)(point->capacity_bytes - fixed) *
				     sampled);
		point->share = (double)point->sim_bytes /
			       (double)(w->unit ? all * each : all);
	}
	point->objects = (uint64_t)(point->share * (double)trace->keys + 0.5);
	if (w->unit)
		point->objects = point->sim_bytes / each;
}

static double
rusage_seconds(int who)
{
	struct rusage u = { .ru_maxrss = 0 };

	(void)getrusage(who, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

double
run_cpu_seconds(void)
{
	return rusage_seconds(RUSAGE_SELF) + rusage_seconds(RUSAGE_CHILDREN);
}

struct run {
	struct sim sim;
	struct point *point;
	const struct weights *weights;
	uint64_t *expires_ms; /* of each key; NULL: nothing expires */
};

/* It lives for as long as the request says. */
static void
touch(struct run *run, const struct request *r)
{
	if (run->expires_ms != NULL)
		run->expires_ms[r->key] =
		    r->ttl_s > 0 ? r->time_ms + r->ttl_s * 1000ull : UINT64_MAX;
}

static void
put(struct run *run, const struct request *r)
{
	run->sim.policy->insert(&run->sim, r->key, weigh(run->weights, r));
	touch(run, r);
}

/* Is it there, and not expired? */
static bool
holds(struct run *run, const struct request *r)
{
	struct sim *s = &run->sim;

	if (!sim_has(s, r->key))
		return false;
	if (run->expires_ms == NULL || r->time_ms < run->expires_ms[r->key])
		return true;
	s->policy->remove(s, r->key);
	return false;
}

static void
get(struct run *run, const struct request *r)
{
	struct point *p = run->point;

	p->gets++;
	p->wanted_bytes += r->value_bytes;
	if (holds(run, r)) {
		run->sim.policy->hit(&run->sim, r->key);
		return;
	}
	p->misses++;
	p->missed_bytes += r->value_bytes;
	if (r->op != OP_MISS)
		put(run, r);
}

static void
set(struct run *run, const struct request *r)
{
	struct sim *s = &run->sim;

	if (!holds(run, r)) {
		put(run, r);
	} else if (s->node[r->key].bytes == weigh(run->weights, r)) {
		s->policy->hit(s, r->key);
		touch(run, r);
	} else {
		s->policy->remove(s, r->key);
		put(run, r);
	}
}

static void
incr(struct run *run, const struct request *r)
{
	if (holds(run, r))
		run->sim.policy->hit(&run->sim, r->key);
	else
		put(run, r);
}

static void
step(struct run *run, const struct request *r)
{
	switch (r->op) {
	case OP_GET:
	case OP_MISS:
		get(run, r);
		break;
	case OP_SET:
		set(run, r);
		break;
	case OP_INCR:
		incr(run, r);
		break;
	case OP_TOUCH:
		if (holds(run, r))
			touch(run, r);
		break;
	case OP_FLUSH:
		sim_flush(&run->sim);
		break;
	default:
		if (sim_has(&run->sim, r->key))
			run->sim.policy->remove(&run->sim, r->key);
	}
}

bool
run_reference(struct point *point, const struct reference *policy,
    const struct trace *trace, const struct weights *weights,
    const uint32_t *next)
{
	struct run run = { .point = point, .weights = weights };
	uint64_t capacity = weights->unit ? point->objects : point->sim_bytes;
	double from = run_cpu_seconds();
	bool done;

	point->policy = policy->name;
	done = sim_begin(&run.sim, policy, capacity, trace->keys, next);
	if (!done)
		return false;
	if (trace->with_ttl > 0) {
		run.expires_ms = calloc(trace->keys, sizeof(uint64_t));
		done = run.expires_ms != NULL;
	}
	for (size_t i = 0; i < trace->count && done && !interrupted; i++) {
		run.sim.now = i;
		step(&run, &trace->request[i]);
	}
	point->refused = run.sim.refused;
	free(run.expires_ms);
	sim_end(&run.sim);
	point->seconds = run_cpu_seconds() - from;
	return done;
}

uint32_t *
run_next_uses(const struct trace *trace)
{
	uint32_t *next = malloc(trace->count * sizeof(*next));
	uint32_t *last = malloc(trace->keys * sizeof(*last));

	if (next == NULL || last == NULL) {
		free(next);
		next = NULL;
	} else {
		memset(last, 0xff, trace->keys * sizeof(*last));
		for (size_t i = trace->count; i-- > 0;) {
			const struct request *r = &trace->request[i];

			if (r->op == OP_TOUCH || r->op == OP_FLUSH)
				continue; /* no use */
			next[i] = last[r->key];
			last[r->key] = (uint32_t)i;
		}
	}
	free(last);
	return next;
}
