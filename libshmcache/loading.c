/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* loading.c - the notes of a thread's loaders */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "libshmcache/loading.h"

#include "libshmcache/cache.h"
#include "shm/atomic.h"
#include "shm/clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { LISTED = 0, UNLISTED, DONE };

struct loading {
	struct loading *next;
	uint64_t thread; /* whose list it is in */
	uint64_t late_at_ms;
	uint64_t segment_id; /* 0: there was no cache */
	struct shmcache *cache;
	uintptr_t frame;
	uint32_t state; /* atomic */
	size_t key_bytes;
	uint8_t key[];
};

/* Of each thread; numbers are never given twice, as addresses are. */
static __thread struct loading *loadings
    __attribute__((tls_model("initial-exec")));
static __thread uint64_t thread_number
    __attribute__((tls_model("initial-exec")));
static uint64_t last_number;

static uint64_t
own_number(void)
{
	if (thread_number == 0)
		thread_number = shm_faa64(&last_number, 1) + 1;
	return thread_number;
}

/* Which cache the handle is for, at present; 0: none. */
static uint64_t
segment_of(struct shmcache *cache)
{
	struct call call;
	uint64_t id;

	if (call_enter(cache, CALL_LOOKS, &call) != 0)
		return 0;
	id = call.m->segment->segment_id;
	call_leave();
	return id;
}

/* Takes out of the list what is late, or was done in another thread. */
static void
tidy(void)
{
	struct loading **at = &loadings;
	uint64_t now_ms = shm_clock_ms();

	while (*at != NULL) {
		struct loading *l = *at;

		if (now_ms < l->late_at_ms && shm_load32(&l->state) != DONE) {
			at = &l->next;
			continue;
		}
		*at = l->next;
		if (!shm_cas32(&l->state, LISTED, UNLISTED))
			free(l);
	}
}

/* Not of a coroutine's; where nobody can tell, neither is it. */
static bool
is_on_own_stack(uintptr_t address)
{
	pthread_attr_t attributes;
	void *low;
	size_t bytes;
	bool is_within;

	if (pthread_getattr_np(pthread_self(), &attributes) != 0)
		return false;
	is_within = pthread_attr_getstack(&attributes, &low, &bytes) == 0 &&
		    address - (uintptr_t)low < bytes;
	(void)pthread_attr_destroy(&attributes);
	return is_within;
}

/* Stacks grow downwards. */
static bool
is_left(const struct loading *l, uintptr_t frame)
{
	return l->frame <= frame && is_on_own_stack(l->frame) &&
	       is_on_own_stack(frame);
}

/* Where one of them has no cache, the handle tells.  (Its address may be one that
   was closed.) */
static bool
is_same(
    const struct loading *l, const struct loading_key *key, uint64_t segment_id)
{
	bool same = l->segment_id != 0 && segment_id != 0
			? l->segment_id == segment_id
			: l->cache == key->cache;

	return same && l->key_bytes == key->bytes &&
	       memcmp(l->key, key->data, key->bytes) == 0;
}

bool
loading_is(const struct loading_key *key)
{
	uint64_t segment_id;

	if (loadings == NULL)
		return false;
	tidy();
	segment_id = segment_of(key->cache);
	for (const struct loading *l = loadings; l != NULL; l = l->next)
		if (is_same(l, key, segment_id) && !is_left(l, key->frame))
			return true;
	return false;
}

struct loading *
loading_begin(const struct loading_key *key, uint32_t lease_ms)
{
	struct loading *l = malloc(sizeof(*l) + key->bytes);

	if (l == NULL)
		return NULL;
	*l = (struct loading){ .next = loadings,
		.thread = own_number(),
		.late_at_ms = shm_clock_ms() + lease_ms,
		.segment_id = segment_of(key->cache),
		.cache = key->cache,
		.frame = key->frame,
		.state = LISTED,
		.key_bytes = key->bytes };
	memcpy(l->key, key->data, key->bytes);
	loadings = l;
	return l;
}

void
loading_end(struct loading *l)
{
	struct loading **at = &loadings;

	if (l->thread != own_number()) {
		if (!shm_cas32(&l->state, LISTED, DONE))
			free(l);
		return;
	}
	while (*at != NULL && *at != l)
		at = &(*at)->next;
	if (*at != NULL)
		*at = l->next;
	free(l);
}
