/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cache.c - handles: open, close, remove, enter, leave, fork, thread exit */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "libshmcache/cache.h"

#include "libshmcache/error.h"
#include "shm/atomic.h"
#include "shm/clock.h"
#include "shm/error.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <urcu/urcu-bp.h>

/* A process that found every slot taken asks again after so long. */
#define PEER_RETRY_MS 100

/* A child that could not attach tries again after so long. */
#define ATTACH_RETRY_MS 10

/* A peer of this thread, for one segment. */
struct thread_peer {
	uint64_t segment_id;
	struct shm_peer *peer;
	struct thread_peer *next;
};

struct thread {
	bool inside;
	uint64_t segment_id; /* the last one used, and its peer */
	struct shm_peer *peer;
	struct thread_peer *peers;
};

static __thread struct thread thread __attribute__((tls_model("initial-exec")));

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_key;
static struct shmcache *handles;
static int once_error;

/* The lock's holder opens files and must not be cancelled there. */
static int
take_lock(void)
{
	int cancel_state;

	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	(void)pthread_mutex_lock(&lock);
	return cancel_state;
}

static void
drop_lock(int cancel_state)
{
	(void)pthread_mutex_unlock(&lock);
	(void)pthread_setcancelstate(cancel_state, NULL);
}

/* fork() is under way, and its handlers take care of everything. */
static bool fork_prepared;

/* A page of its own that reads 1, and in a forked child 0. */
static uint32_t *not_forked;

enum { FORKED = 0, NOT_FORKED = 1, RECOVERING = 2 };

static struct shmcache *
find_handle(uint64_t segment_id)
{
	struct shmcache *c = handles;

	while (c != NULL &&
	       (c->mapping == NULL || c->mapping->segment->id != segment_id))
		c = c->next;
	return c;
}

static void
free_thread_peers(struct thread_peer *tp)
{
	while (tp != NULL) {
		struct thread_peer *next = tp->next;

		free(tp);
		tp = next;
	}
}

/* At thread exit: give back the slots of segments that are still open.  In a
   child that no handler prepared, they are the parent's. */
static void
release_thread(void *peers)
{
	if (shm_load32(not_forked) == NOT_FORKED) {
		int cancel_state = take_lock();

		for (struct thread_peer *tp = peers; tp != NULL; tp = tp->next)
			if (find_handle(tp->segment_id) != NULL)
				shm_peer_release(tp->peer);
		drop_lock(cancel_state);
	}
	free_thread_peers(peers);
	thread = (struct thread){ .inside = false };
}

static void
prepare_fork(void)
{
	urcu_bp_before_fork();
	(void)pthread_mutex_lock(&lock);
	fork_prepared = true;
}

static void
parent_forked(void)
{
	fork_prepared = false;
	(void)pthread_mutex_unlock(&lock);
	urcu_bp_after_fork_parent();
}

/* Frees what came of a handle's mapping over fork(), and attaches anew. */
static void
reopen(struct shmcache *cache)
{
	struct mapping *m = cache->mapping;

	if (m != NULL) {
		struct shm_peer *peer = m->segment->peers;

		while (peer != NULL) {
			struct shm_peer *next = peer->next;

			free(peer);
			peer = next;
		}
		mapping_forget(m);
		m = NULL;
	}
	cache->error = mapping_open(cache->path, cache->any_owner, &m);
	if (cache->error == SHMCACHE_ENOCACHE)
		cache->error = SHMCACHE_EREMOVED;
	rcu_assign_pointer(cache->mapping, m);
}

/* In the child, alone: its peers and mappings are the parent's. */
static void
start_anew(void)
{
	free_thread_peers(thread.peers);
	(void)pthread_setspecific(thread_key, NULL);
	thread = (struct thread){ .inside = thread.inside };
	for (struct shmcache *c = handles; c != NULL; c = c->next)
		reopen(c);
	shm_store32(not_forked, NOT_FORKED);
}

/* May have been done already, by a call from another's handler. */
static void
child_forked(void)
{
	if (!fork_prepared)
		return;
	fork_prepared = false;
	urcu_bp_after_fork_child();
	start_anew();
	(void)pthread_mutex_unlock(&lock);
}

/* A child that no fork handler prepared (clone(2), _Fork(3)), or one whose
   handlers have not come to ours yet. */
static void
recover_fork(void)
{
	if (!shm_cas32(not_forked, FORKED, RECOVERING)) {
		while (shm_load32(not_forked) == RECOVERING)
			(void)sched_yield();
		return;
	}
	if (fork_prepared) {
		child_forked();
		return;
	}
	urcu_bp_before_fork();
	urcu_bp_after_fork_child();
	lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	(void)pthread_mutex_lock(&lock);
	start_anew();
	(void)pthread_mutex_unlock(&lock);
}

static void
init_process(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED) {
		once_error = -errno;
		return;
	}
	if (madvise(page, 4096, MADV_WIPEONFORK) != 0) {
		once_error = SHMCACHE_EKERNEL;
		return;
	}
	not_forked = page;
	shm_store32(not_forked, NOT_FORKED);
	once_error = -pthread_key_create(&thread_key, release_thread);
	if (once_error == 0)
		once_error =
		    -pthread_atfork(prepare_fork, parent_forked, child_forked);
}

/* For calls that need no handle: the process is set up, and not a child that
   nobody prepared. */
static int
enter_process(void)
{
	(void)pthread_once(&once, init_process);
	if (once_error == 0 && shm_load32(not_forked) != NOT_FORKED)
		recover_fork();
	return once_error;
}

bool
call_begin(void)
{
	if (__builtin_expect(thread.inside, 0))
		return false;
	*(volatile bool *)&thread.inside = true;
	return true;
}

void
call_end(void)
{
	*(volatile bool *)&thread.inside = false;
}

/* Forgets this thread's peers of segments that were closed. */
static void
prune_peers(void)
{
	struct thread_peer **at = &thread.peers;

	while (*at != NULL) {
		struct thread_peer *tp = *at;

		if (find_handle(tp->segment_id) != NULL) {
			at = &tp->next;
		} else {
			*at = tp->next;
			free(tp);
		}
	}
}

/* Claims a slot for this thread and notes it. */
static int
claim_peer(struct mapping *m)
{
	struct thread_peer *tp = malloc(sizeof(*tp));
	int error, cancel_state;

	if (tp == NULL)
		return -ENOMEM;
	cancel_state = take_lock();
	prune_peers();
	(void)pthread_setspecific(thread_key, thread.peers);
	error = shm_peer_claim(m->segment, &tp->peer);
	if (error == 0 && pthread_setspecific(thread_key, tp) != 0) {
		shm_peer_release(tp->peer);
		error = -ENOMEM;
	}
	drop_lock(cancel_state);
	if (error != 0) {
		free(tp);
		return error;
	}
	tp->segment_id = m->segment->id;
	tp->next = thread.peers;
	thread.peers = tp;
	thread.segment_id = tp->segment_id;
	thread.peer = tp->peer;
	return 0;
}

/* The thread's peer for a segment that is not the last one it used. */
static int
find_peer(struct mapping *m)
{
	uint64_t id = m->segment->id;
	int error;

	for (struct thread_peer *tp = thread.peers; tp != NULL; tp = tp->next)
		if (tp->segment_id == id) {
			thread.segment_id = id;
			thread.peer = tp->peer;
			return 0;
		}
	if (shm_clock_ms() < shm_load64(&m->denied_until_ms))
		return SHMCACHE_EPEERS;
	error = claim_peer(m);
	if (error == SHMCACHE_EPEERS)
		shm_store64(
		    &m->denied_until_ms, shm_clock_ms() + PEER_RETRY_MS);
	return error;
}

static int
enter_mapping(struct shmcache *cache, enum call_needs needs, struct call *call)
{
	struct mapping *m = rcu_dereference(cache->mapping);
	int error = 0;

	call->m = m;
	if (m == NULL)
		return cache->error;
	call->peer = NULL;
	if (needs == CALL_WRITES && shm_segment_retired(m->segment))
		return SHMCACHE_EREMOVED;
	if (needs == CALL_LOOKS)
		return 0;
	if (__builtin_expect(thread.segment_id != m->segment->id, 0))
		error = find_peer(m);
	if (error == 0)
		call->peer = thread.peer;
	return error == SHMCACHE_EPEERS && needs == CALL_READS ? 0 : error;
}

/*
 * A child that could not attach when it was born (no descriptor, no process
 * slot was left) tries again, now and then.  True if it was worth it.
 */
static bool
revive(struct shmcache *cache)
{
	int cancel_state = take_lock();
	uint64_t now_ms = shm_clock_ms();

	if (cache->mapping == NULL && cache->error != SHMCACHE_EREMOVED &&
	    now_ms >= cache->retry_at_ms) {
		cache->retry_at_ms = now_ms + ATTACH_RETRY_MS;
		reopen(cache);
	}
	drop_lock(cancel_state);
	return cache->mapping != NULL;
}

static int
enter(struct shmcache *cache, enum call_needs needs, struct call *call)
{
	int error;

	urcu_bp_read_lock();
	error = enter_mapping(cache, needs, call);
	if (__builtin_expect(error != 0, 0))
		urcu_bp_read_unlock();
	return error;
}

int
call_enter(struct shmcache *cache, enum call_needs needs, struct call *call)
{
	int error;

	if (!call_begin())
		return SHMCACHE_EDEADLK;
	if (__builtin_expect(shm_load32(not_forked) != NOT_FORKED, 0))
		recover_fork();
	error = enter(cache, needs, call);
	if (__builtin_expect(error != 0, 0)) {
		if (call->m == NULL && revive(cache))
			error = enter(cache, needs, call);
		if (error != 0)
			call_end();
	}
	return error;
}

void
call_leave(void)
{
	urcu_bp_read_unlock();
	call_end();
}

int
call_miss(const struct call *call)
{
	return shm_segment_retired(call->m->segment) ? SHMCACHE_EREMOVED
						     : SHMCACHE_ENOENT;
}

void
cache_release_peer(struct shm_peer *peer)
{
	int cancel_state = take_lock();

	shm_peer_release(peer);
	drop_lock(cancel_state);
}

/* Attach to `path`, and put the handle on the list.  Under the lock. */
static int
attach(const char *path, bool any_owner, struct shmcache **cache_out)
{
	size_t path_bytes = strlen(path) + 1;
	struct shmcache *cache = calloc(1, sizeof(*cache) + path_bytes);
	struct mapping *m;
	int error;

	if (cache == NULL)
		return -ENOMEM;
	memcpy(cache->path, path, path_bytes);
	cache->any_owner = any_owner;
	error = mapping_open(path, any_owner, &m);
	if (error == 0) {
		rcu_assign_pointer(cache->mapping, m);
		cache->next = handles;
		handles = cache;
	}
	if (error != 0) {
		free(cache);
		return error;
	}
	*cache_out = cache;
	return 0;
}

/* Attach, or create, as the mode says; until neither was overtaken. */
static int
attach_or_create(const char *path, const struct shmcache_options *options,
    struct shmcache **cache_out)
{
	bool any_owner = options->any_owner != 0;
	int error;

	if (options->open_mode == SHMCACHE_ATTACH)
		return attach(path, any_owner, cache_out);
	do {
		if (options->open_mode != SHMCACHE_CREATE_EXCLUSIVE) {
			error = attach(path, any_owner, cache_out);
			if (error != SHMCACHE_ENOCACHE)
				return error;
		}
		if (options->capacity_bytes == 0)
			return shm_error_note(SHMCACHE_ECAPACITY,
			    "%.200s does not exist, and creating it needs a "
			    "capacity",
			    path);
		error = mapping_create(path, options);
		if (error == 0)
			error = attach(path, any_owner, cache_out);
	} while ((error == SHMCACHE_EEXIST || error == SHMCACHE_ENOCACHE) &&
		 options->open_mode == SHMCACHE_OPEN_OR_CREATE);
	return error;
}

static bool
all_zero(const uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/* Takes the options of any version's struct: missing fields are 0, and fields
   that this version doesn't know must be. */
static int
read_options(const struct shmcache_options *given, struct shmcache_options *o)
{
	size_t bytes;

	memset(o, 0, sizeof(*o));
	if (given == NULL) {
		o->open_mode = SHMCACHE_ATTACH;
		return 0;
	}
	bytes = given->struct_bytes;
	if (bytes < offsetof(struct shmcache_options, expected_items))
		return shm_error_note(-EINVAL,
		    "struct_bytes is not set: start from "
		    "SHMCACHE_OPTIONS_INIT");
	if (bytes > sizeof(*o) &&
	    !all_zero((const uint8_t *)given + sizeof(*o), bytes - sizeof(*o)))
		return shm_error_note(
		    -EINVAL, "an option of a newer library is set");
	memcpy(o, given, bytes < sizeof(*o) ? bytes : sizeof(*o));
	return 0;
}

struct limit {
	const char *name;
	uint64_t value;
	uint64_t most;
};

static int
check_options(const struct shmcache_options *o)
{
	const struct limit limits[] = {
		{ "capacity_bytes", o->capacity_bytes, SHM_SEGMENT_MAX },
		{ "expected_items", o->expected_items, 1ull << 34 },
		{ "max_entry_bytes", o->max_entry_bytes, SHM_EXTENT_MAX / 8 },
		{ "extent_bytes", o->extent_bytes, SHM_EXTENT_MAX },
		{ "peer_slots", o->peer_slots, SHM_PEERS_MAX },
		{ "process_slots", o->process_slots, SHM_PROCESSES_MAX },
		{ "open_mode", o->open_mode, SHMCACHE_CREATE_EXCLUSIVE },
		{ "any_owner", o->any_owner, 1 },
		{ "reserved", o->reserved, 0 },
	};

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		if (limits[i].value > limits[i].most)
			return shm_error_note(-EINVAL, "%s is above %llu",
			    limits[i].name, (unsigned long long)limits[i].most);
	if (o->default_ttl_ms < SHMCACHE_TTL_NONE)
		return shm_error_note(-EINVAL, "default_ttl_ms is negative");
	if (o->mode != 0 &&
	    ((o->mode & ~0666u) != 0 || (o->mode & 0600) != 0600))
		return shm_error_note(-EINVAL,
		    "mode %#o: the owner must be able to read and write, and "
		    "nobody to execute",
		    o->mode);
	if (o->extent_bytes != 0 &&
	    (o->extent_bytes < SHM_EXTENT_MIN ||
		(o->extent_bytes & (o->extent_bytes - 1)) != 0))
		return shm_error_note(-EINVAL,
		    "extent_bytes must be a power of two from %u on",
		    SHM_EXTENT_MIN);
	if (o->extent_bytes != 0 &&
	    o->max_entry_bytes > o->extent_bytes / 4 - 40)
		return shm_error_note(-EINVAL,
		    "max_entry_bytes does not fit a quarter of extent_bytes");
	return 0;
}

int
shmcache_open(const char *name, const struct shmcache_options *options,
    struct shmcache **cache_out)
{
	struct shmcache_options o;
	char path[SHM_PATH_MAX];
	int error, cancel_state;

	if (cache_out == NULL)
		return error_return(-EINVAL);
	if (!call_begin())
		return error_return(SHMCACHE_EDEADLK);
	error = enter_process();
	if (error == 0)
		error = read_options(options, &o);
	if (error == 0)
		error = check_options(&o);
	if (error == 0)
		error = shm_segment_path(name, path);
	if (error == 0) {
		cancel_state = take_lock();
		error = attach_or_create(path, &o, cache_out);
		drop_lock(cancel_state);
	}
	call_end();
	return error_return(error);
}

static void
unlist(struct shmcache *cache)
{
	struct shmcache **at = &handles;

	while (*at != cache)
		at = &(*at)->next;
	*at = cache->next;
}

/* Takes the handle off the list, unless an item is pinned through it. */
static int
withdraw(struct shmcache *cache)
{
	int cancel_state = take_lock();
	int error = 0;

	if (cache->mapping != NULL && shm_peer_holds(cache->mapping->segment))
		error = shm_error_note(
		    SHMCACHE_EBUSY, "an item of the cache is still pinned");
	else
		unlist(cache);
	drop_lock(cancel_state);
	return error;
}

static void
free_handle(struct shmcache *cache)
{
	struct mapping *m = cache->mapping;

	rcu_assign_pointer(cache->mapping, NULL);
	urcu_bp_synchronize_rcu();
	if (m != NULL) {
		int cancel_state = take_lock();

		while (m->segment->peers != NULL)
			shm_peer_release(m->segment->peers);
		mapping_close(m);
		drop_lock(cancel_state);
	}
	free(cache);
}

int
shmcache_close(struct shmcache *cache)
{
	int error;

	if (cache == NULL)
		return 0;
	if (!call_begin())
		return error_return(SHMCACHE_EDEADLK);
	if (shm_load32(not_forked) != NOT_FORKED)
		recover_fork();
	error = withdraw(cache);
	if (error == 0)
		free_handle(cache);
	call_end();
	return error_return(error);
}

int
shmcache_remove(const char *name)
{
	char path[SHM_PATH_MAX];
	int error, cancel_state;

	if (!call_begin())
		return error_return(SHMCACHE_EDEADLK);
	error = enter_process();
	if (error == 0)
		error = shm_segment_path(name, path);
	if (error == 0) {
		cancel_state = take_lock();
		error = mapping_remove(path);
		drop_lock(cancel_state);
	}
	call_end();
	return error_return(error);
}
