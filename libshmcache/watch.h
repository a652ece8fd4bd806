/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * watch.h - loads of others, watched for an event loop
 *
 * Processes that are not related share no descriptor.  What they share is the
 * leases' words (lease.h), and who gives one back wakes whoever sleeps on it.  So
 * a handle that is asked to watch gets a thread that does nothing but sleep on
 * these words, as many as there are, and an eventfd that is readable as long as
 * there are watches that are over and were not fetched:
 *
 *   shmcache_watch_load()     puts a watch to the others of the same word (the
 *                             group), or makes a group, and wakes the thread
 *   the thread                looks whether groups are over, and watches' time;
 *                             moves what is to the end of the queue; sleeps on
 *                             all words at once (futex_waitv), for no longer than
 *                             until it is time to look who lives (wait.h)
 *   shmcache_watch_next()     takes the first from the queue
 *   shmcache_watch_cancel()   takes a watch from its group, or from the queue
 *
 * It is private to the process but for the leases, which it only reads (and gives
 * a deadline, lest one has none); so a kill leaves nothing of it.  The thread
 * needs no peer, and counts nothing.
 *
 * The mutex guards everything here, and is held for a few steps at a time; who
 * has it takes no other lock, and enters no call.  Groups are put at the list's
 * head, and taken off by the thread alone: so it walks the list that it has seen
 * without the mutex while it asks the kernel who lives.  `changes` is the word
 * by which it is woken.
 *
 * The kernel waits for SHM_FUTEX_MAX words at once; one that is older than 5.16
 * for one.  Of the others the thread looks at the memory each WATCH_LOOK_MS while
 * there are any.
 *
 * fork() takes the mutexes; the child has no such thread, closes its copy of the
 * descriptor, frees what is its, and makes another when it is asked to.
 */
#ifndef LIBSHMCACHE_WATCH_H
#define LIBSHMCACHE_WATCH_H

#include "libshmcache/lease.h"
#include "libshmcache/shmcache.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define WATCH_LOOK_MS 2u

struct watch {
	struct watch *next; /* of its queue */
	struct shmcache_watched told;
	uint64_t deadline_ms; /* of the coarse clock */
	uint64_t began_ns;
};

/* The first comes first. */
struct watch_queue {
	struct watch *first;
	struct watch *last; /* undefined if it is empty */
};

/* The watches of one word, as it was seen. */
struct watch_group {
	struct watch_group *next;
	uint64_t attachment_id;
	struct lease lease;
	struct watch_queue watches;
	bool is_over; /* the thread's, as the next */
	int result;
};

struct watcher {
	struct shmcache *cache;
	int fd;
	pthread_t thread;
	pthread_mutex_t mutex;
	struct watch_group *groups;
	struct watch_queue over;
	uint64_t last_id;
	uint64_t changes; /* atomic; bumped by who wants to wake the thread */
	uint32_t one_by_one; /* atomic: the kernel waits for one word at once */
	uint32_t stopping;   /* atomic */
};

/* The handle's watcher, made if there is none.  Within cache_begin().  Errors:
   -EMFILE and what else eventfd(2) and pthread_create(3) return. */
int watch_get(struct shmcache *cache, struct watcher **watcher_out);

/*
 * Watch what was seen of a lease; NULL if there is nothing to wait for.  The watch
 * (from malloc()) becomes the watcher's, and may be over at once.  -ENOMEM: it
 * stays the caller's.
 */
int watch_add(struct watcher *watcher, struct watch *watch,
    uint64_t attachment_id, const struct lease *lease, uint64_t *id_out);

/* The first of the queue, which becomes the caller's; NULL if it is empty. */
struct watch *watch_fetch(struct watcher *watcher);

/* The same of a certain one, wherever it is. */
struct watch *watch_withdraw(struct watcher *watcher, uint64_t id);

/* End the thread, and free everything; NULL is allowed, as below. */
void watch_stop(struct watcher *watcher);

void watch_before_fork(struct watcher *watcher);
void watch_after_fork(struct watcher *watcher); /* in the parent */
void watch_forget(struct watcher *watcher);     /* in the child */

#endif /* LIBSHMCACHE_WATCH_H */
