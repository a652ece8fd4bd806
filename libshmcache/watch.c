/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* watch.c - the thread that watches leases, and the queue of what is over */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "libshmcache/watch.h"

#include "libshmcache/wait.h"
#include "shm/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A sleep that a change alone ends. */
#define LONG_MS (INT32_MAX / 2)

/* What the thread sleeps on: first `changes`, then words of leases. */
struct list {
	struct shm_futex words[SHM_FUTEX_MAX];
	unsigned count;
	bool is_short; /* there are more leases than it has room for */
};

/* Reading and writing the descriptor are cancellation points. */
static int
lock_watcher(struct watcher *w)
{
	int cancel_state;

	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	(void)pthread_mutex_lock(&w->mutex);
	return cancel_state;
}

static void
unlock_watcher(struct watcher *w, int cancel_state)
{
	(void)pthread_mutex_unlock(&w->mutex);
	(void)pthread_setcancelstate(cancel_state, NULL);
}

static void
wake(struct watcher *w)
{
	(void)shm_faa64(&w->changes, 1);
	shm_futex_wake_all(&w->changes);
}

static void
put(struct watch_queue *queue, struct watch *watch)
{
	watch->next = NULL;
	if (queue->first == NULL)
		queue->first = watch;
	else
		queue->last->next = watch;
	queue->last = watch;
}

/* Takes out what comes after `before`, or the first if that is NULL. */
static struct watch *
take(struct watch_queue *queue, struct watch *before)
{
	struct watch **at = before != NULL ? &before->next : &queue->first;
	struct watch *watch = *at;

	*at = watch->next;
	if (watch->next == NULL)
		queue->last = before;
	return watch;
}

/* The descriptor is readable as long as something is over. */
static void
finish(struct watcher *w, struct watch *watch, int result)
{
	const uint64_t one = 1;

	if (w->over.first == NULL)
		(void)!write(w->fd, &one, sizeof(one));
	watch->told.result = result;
	put(&w->over, watch);
}

static struct watch *
take_over(struct watcher *w, struct watch *before)
{
	struct watch *watch = take(&w->over, before);
	uint64_t count;

	if (w->over.first == NULL)
		(void)!read(w->fd, &count, sizeof(count));
	return watch;
}

/* Which groups are over, and the words of the others. */
static void
judge(struct watcher *w, struct watch_group *groups, bool fresh,
    struct list *list)
{
	struct call call;
	int error = call_enter(w->cache, CALL_LOOKS, &call);

	if (error == 0 && fresh)
		shm_peer_ask_anew(call.m->segment);
	for (struct watch_group *g = groups; g != NULL; g = g->next) {
		g->result = error;
		g->is_over = error != 0 ||
			     g->attachment_id != call.m->attachment_id ||
			     lease_is_over(&call, &g->lease, false);
		if (g->is_over)
			continue;
		if (list->count == SHM_FUTEX_MAX)
			list->is_short = true;
		else
			list->words[list->count++] =
			    shm_futex(&call.m->leases[g->lease.place].word,
				(uint32_t)g->lease.word);
	}
	if (error == 0)
		call_leave();
}

/* Takes from the group what is over; returns when the next of it is. */
static uint64_t
settle_group(struct watcher *w, struct watch_group *group, uint64_t now_ms)
{
	struct watch *before = NULL, *watch = group->watches.first;
	uint64_t next_ms = UINT64_MAX;

	for (; watch != NULL;
	     watch = before != NULL ? before->next : group->watches.first) {
		if (group->is_over || now_ms >= watch->deadline_ms) {
			finish(w, take(&group->watches, before),
			    group->is_over ? group->result : -ETIMEDOUT);
			continue;
		}
		before = watch;
		if (watch->deadline_ms < next_ms)
			next_ms = watch->deadline_ms;
	}
	return next_ms;
}

/* The same of all groups; UINT64_MAX if none is left.  Groups without watches
   go. */
static uint64_t
settle(struct watcher *w, uint64_t now_ms)
{
	int cancel_state = lock_watcher(w);
	struct watch_group **at = &w->groups;
	uint64_t next_ms = UINT64_MAX;

	while (*at != NULL) {
		struct watch_group *group = *at;
		uint64_t ms = settle_group(w, group, now_ms);

		if (group->watches.first == NULL) {
			*at = group->next;
			free(group);
			continue;
		}
		at = &group->next;
		if (ms < next_ms)
			next_ms = ms;
	}
	unlock_watcher(w, cancel_state);
	return next_ms;
}

static void
sleep_on(struct watcher *w, const struct list *list, uint64_t ms)
{
	bool one_by_one = shm_load32(&w->one_by_one) != 0;

	if ((list->is_short || (one_by_one && list->count > 1)) &&
	    ms > WATCH_LOOK_MS)
		ms = WATCH_LOOK_MS;
	if (one_by_one)
		shm_futex_wait(
		    &w->changes, (uint32_t)list->words[0].seen, (uint32_t)ms);
	else if (!shm_futex_wait_any(list->words, list->count, (uint32_t)ms))
		shm_store32(&w->one_by_one, 1);
}

static struct watch_group *
groups_now(struct watcher *w)
{
	int cancel_state = lock_watcher(w);
	struct watch_group *groups = w->groups;

	unlock_watcher(w, cancel_state);
	return groups;
}

/* (The changes are loaded first, and so before `stopping`, which is stored before
   it is counted as one: what comes after that ends the sleep.) */
static void *
run(void *argument)
{
	struct watcher *w = argument;
	uint32_t random = (uint32_t)(uintptr_t)w | 1;
	uint64_t look_at_ms = 0;
	struct list list;

	for (;;) {
		uint32_t changes = (uint32_t)shm_load64_acquire(&w->changes);
		uint64_t now_ms = shm_clock_ms(), until_ms;
		bool fresh = now_ms >= look_at_ms;

		if (shm_load32(&w->stopping) != 0)
			return NULL;
		list.is_short = false;
		list.count = 1;
		list.words[0] = shm_futex(&w->changes, changes);
		if (fresh) {
			random = random * 1664525u + 1013904223u;
			look_at_ms = now_ms + wait_look_ms(random >> 16);
		}
		judge(w, groups_now(w), fresh, &list);
		until_ms = settle(w, now_ms);
		if (until_ms == UINT64_MAX)
			until_ms = now_ms + LONG_MS;
		else if (until_ms > look_at_ms)
			until_ms = look_at_ms;
		sleep_on(w, &list, until_ms - now_ms);
	}
}

/* The application's signals are not for this thread. */
static int
start_thread(struct watcher *w)
{
	sigset_t all, before;
	int error;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&w->thread, NULL, run, w);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error == 0)
		(void)pthread_setname_np(w->thread, "shmcache-watch");
	return -error;
}

static void
free_watches(struct watch *watch)
{
	while (watch != NULL) {
		struct watch *next = watch->next;

		free(watch);
		watch = next;
	}
}

static void
free_watcher(struct watcher *w)
{
	while (w->groups != NULL) {
		struct watch_group *group = w->groups;

		w->groups = group->next;
		free_watches(group->watches.first);
		free(group);
	}
	free_watches(w->over.first);
	(void)pthread_mutex_destroy(&w->mutex);
	(void)close(w->fd);
	free(w);
}

/* Under the process's lock. */
static int
start(struct shmcache *cache, struct watcher **watcher_out)
{
	struct watcher *w = calloc(1, sizeof(*w));
	int error;

	if (w == NULL)
		return -ENOMEM;
	w->cache = cache;
	w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->fd < 0) {
		error = -errno;
		free(w);
		return error;
	}
	(void)pthread_mutex_init(&w->mutex, NULL);
	error = start_thread(w);
	if (error != 0) {
		free_watcher(w);
		return error;
	}
	*watcher_out = w;
	return 0;
}

int
watch_get(struct shmcache *cache, struct watcher **watcher_out)
{
	int error = 0, cancel_state;

	*watcher_out = shm_load_pointer_acquire((void *)&cache->watcher);
	if (*watcher_out != NULL)
		return 0;
	cancel_state = cache_take_lock();
	*watcher_out = cache->watcher;
	if (*watcher_out == NULL)
		error = start(cache, watcher_out);
	if (error == 0)
		shm_store_pointer_release(
		    (void *)&cache->watcher, *watcher_out);
	cache_drop_lock(cancel_state);
	return error;
}

static struct watch_group *
find_group(struct watcher *w, uint64_t attachment_id, const struct lease *lease)
{
	struct watch_group *group = w->groups;

	while (group != NULL && (group->attachment_id != attachment_id ||
				    group->lease.place != lease->place ||
				    group->lease.word != lease->word))
		group = group->next;
	return group;
}

/* The group of this word; *made_out if it was not there. */
static struct watch_group *
group_of(struct watcher *w, uint64_t attachment_id, const struct lease *lease,
    bool *made_out)
{
	struct watch_group *group = find_group(w, attachment_id, lease);

	*made_out = group == NULL;
	if (group == NULL)
		group = calloc(1, sizeof(*group));
	if (*made_out && group != NULL) {
		group->attachment_id = attachment_id;
		group->lease = *lease;
		group->next = w->groups;
		w->groups = group;
	}
	return group;
}

int
watch_add(struct watcher *w, struct watch *watch, uint64_t attachment_id,
    const struct lease *lease, uint64_t *id_out)
{
	int cancel_state = lock_watcher(w);
	struct watch_group *group = NULL;
	bool is_new = false;

	if (lease != NULL)
		group = group_of(w, attachment_id, lease, &is_new);
	if (lease == NULL || group != NULL)
		watch->told.watch = *id_out = ++w->last_id;
	if (lease == NULL) {
		finish(w, watch, 0);
	} else if (group != NULL) {
		put(&group->watches, watch);
	}
	unlock_watcher(w, cancel_state);
	if (is_new)
		wake(w);
	return lease == NULL || group != NULL ? 0 : -ENOMEM;
}

struct watch *
watch_fetch(struct watcher *w)
{
	int cancel_state = lock_watcher(w);
	struct watch *watch = w->over.first != NULL ? take_over(w, NULL) : NULL;

	unlock_watcher(w, cancel_state);
	return watch;
}

/* Is it in the queue?  *before_out is what it comes after. */
static bool
find_watch(
    const struct watch_queue *queue, uint64_t id, struct watch **before_out)
{
	struct watch *watch = queue->first;

	*before_out = NULL;
	while (watch != NULL && watch->told.watch != id) {
		*before_out = watch;
		watch = watch->next;
	}
	return watch != NULL;
}

/* A group that it leaves empty is the thread's to take away. */
struct watch *
watch_withdraw(struct watcher *w, uint64_t id)
{
	int cancel_state = lock_watcher(w);
	struct watch_group *group = w->groups;
	struct watch *watch = NULL, *before;

	if (find_watch(&w->over, id, &before))
		watch = take_over(w, before);
	while (watch == NULL && group != NULL) {
		if (find_watch(&group->watches, id, &before))
			watch = take(&group->watches, before);
		group = group->next;
	}
	unlock_watcher(w, cancel_state);
	return watch;
}

void
watch_stop(struct watcher *w)
{
	int cancel_state;

	if (w == NULL)
		return;
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	shm_store32(&w->stopping, 1);
	wake(w);
	(void)pthread_join(w->thread, NULL);
	free_watcher(w);
	(void)pthread_setcancelstate(cancel_state, NULL);
}

void
watch_before_fork(struct watcher *w)
{
	if (w != NULL)
		(void)pthread_mutex_lock(&w->mutex);
}

void
watch_after_fork(struct watcher *w)
{
	if (w != NULL)
		(void)pthread_mutex_unlock(&w->mutex);
}

void
watch_forget(struct watcher *w)
{
	if (w == NULL)
		return;
	(void)pthread_mutex_unlock(&w->mutex);
	free_watcher(w);
}
