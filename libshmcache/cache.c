/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cache.c - handles: open, close, remove, enter, leave, fork, thread exit */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "libshmcache/cache.h"

#include "libshmcache/entry.h"
#include "libshmcache/error.h"
#include "libshmcache/owner.h"
#include "libshmcache/policy.h"
#include "libshmcache/record.h"
#include "libshmcache/watch.h"
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

/* A handle that could not attach (a forked child's, or one whose cache was
   removed) tries again after so long. */
#define ATTACH_RETRY_MS 10

static void
publish_mapping(struct shmcache *cache, struct mapping *m)
{
#if SHM_ATOMIC_BUILTINS
	shm_store_pointer_release((void *)&cache->mapping, m);
#else
	rcu_assign_pointer(cache->mapping, m);
#endif
}

static void
await_sections(void)
{
	urcu_bp_synchronize_rcu();
#if SHM_ATOMIC_BUILTINS
	shm_fence();
#endif
}

/* A peer of this thread, for one segment. */
struct thread_peer {
	uint64_t segment_id;
	struct shm_peer *peer;
	struct thread_peer *next;
};

__thread struct thread cache_thread;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_key;
static struct shmcache *handles;
static int once_error;

/* (It opens files, and must not be cancelled there.) */
int
cache_take_lock(void)
{
	int cancel_state;

	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	(void)pthread_mutex_lock(&lock);
	return cancel_state;
}

void
cache_drop_lock(int cancel_state)
{
	(void)pthread_mutex_unlock(&lock);
	(void)pthread_setcancelstate(cancel_state, NULL);
}

/* fork() is under way, and its handlers take care of everything. */
static bool fork_prepared;

uint32_t *cache_not_forked;

/* The handle's mapping of this attachment, be it that of a removed cache. */
static struct mapping *
mapping_of(const struct shmcache *cache, uint64_t attachment_id)
{
	struct mapping *m = cache->mapping;

	if (m != NULL && m->segment->id == attachment_id)
		return m;
	for (m = cache->left; m != NULL; m = m->next_left)
		if (m->segment->id == attachment_id)
			return m;
	return NULL;
}

static bool
is_attached(uint64_t attachment_id)
{
	for (const struct shmcache *c = handles; c != NULL; c = c->next)
		if (mapping_of(c, attachment_id) != NULL)
			return true;
	return false;
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
	if (shm_load32(cache_not_forked) == NOT_FORKED) {
		int cancel_state = cache_take_lock();

		for (struct thread_peer *tp = peers; tp != NULL; tp = tp->next)
			if (is_attached(tp->segment_id))
				shm_peer_release(tp->peer);
		cache_drop_lock(cancel_state);
	}
	free_thread_peers(peers);
	cache_thread = (struct thread){ .inside = false };
}

static void
prepare_fork(void)
{
	urcu_bp_before_fork();
	(void)pthread_mutex_lock(&lock);
	for (struct shmcache *c = handles; c != NULL; c = c->next)
		watch_before_fork(c->watcher);
	fork_prepared = true;
}

static void
parent_forked(void)
{
	fork_prepared = false;
	for (struct shmcache *c = handles; c != NULL; c = c->next)
		watch_after_fork(c->watcher);
	(void)pthread_mutex_unlock(&lock);
	urcu_bp_after_fork_parent();
}

/* Frees what came of a mapping over fork(). */
static void
forget(struct mapping *m)
{
	struct shm_peer *peer = m->segment->peers;

	while (peer != NULL) {
		struct shm_peer *next = peer->next;

		free(peer);
		peer = next;
	}
	mapping_forget(m);
}

/* Attaches anew; the handle has no mapping.  Under the lock. */
static void
reopen(struct shmcache *cache)
{
	struct mapping *m = NULL;
	int error = mapping_open(cache->path, &cache->access, &m);

	if (error == SHMCACHE_ENOCACHE)
		error = SHMCACHE_EREMOVED;
	if (error != 0)
		shm_store32(&cache->error, (uint32_t)-error);
	publish_mapping(cache, m);
}

/* In the child: its handle's mappings and watcher are the parent's.  (Where no
   handler was run, the watcher may be in the middle of something: it is let
   lie.) */
static void
reopen_forked(struct shmcache *cache, bool prepared)
{
	if (prepared)
		watch_forget(cache->watcher);
	cache->watcher = NULL;
	if (cache->mapping != NULL)
		forget(cache->mapping);
	while (cache->left != NULL) {
		struct mapping *m = cache->left;

		cache->left = m->next_left;
		forget(m);
	}
	reopen(cache);
}

/* In the child, alone: its peers and mappings are the parent's. */
static void
start_anew(bool prepared)
{
	free_thread_peers(cache_thread.peers);
	(void)pthread_setspecific(thread_key, NULL);
	cache_thread = (struct thread){ .inside = cache_thread.inside };
	for (struct shmcache *c = handles; c != NULL; c = c->next)
		reopen_forked(c, prepared);
	shm_store32(cache_not_forked, NOT_FORKED);
}

/* May have been done already, by a call from another's handler. */
static void
child_forked(void)
{
	if (!fork_prepared)
		return;
	fork_prepared = false;
	urcu_bp_after_fork_child();
	start_anew(true);
	(void)pthread_mutex_unlock(&lock);
}

/* A child that no fork handler prepared (clone(2), _Fork(3)), or one whose
   handlers have not come to ours yet. */
static void
recover_fork(void)
{
	if (!shm_cas32(cache_not_forked, FORKED, RECOVERING)) {
		while (shm_load32(cache_not_forked) == RECOVERING)
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
	start_anew(false);
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
	cache_not_forked = page;
	shm_store32(cache_not_forked, NOT_FORKED);
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
	if (once_error == 0 && shm_load32(cache_not_forked) != NOT_FORKED)
		recover_fork();
	return once_error;
}

/* Forgets this thread's peers of segments that were closed. */
static void
prune_peers(void)
{
	struct thread_peer **at = &cache_thread.peers;

	while (*at != NULL) {
		struct thread_peer *tp = *at;

		if (is_attached(tp->segment_id)) {
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
	cancel_state = cache_take_lock();
	prune_peers();
	(void)pthread_setspecific(thread_key, cache_thread.peers);
	error = shm_peer_claim(m->segment, &tp->peer);
	if (error == 0 && pthread_setspecific(thread_key, tp) != 0) {
		shm_peer_release(tp->peer);
		error = -ENOMEM;
	}
	cache_drop_lock(cancel_state);
	if (error != 0) {
		free(tp);
		return error;
	}
	tp->segment_id = m->segment->id;
	tp->next = cache_thread.peers;
	cache_thread.peers = tp;
	cache_thread.attachment_id = tp->segment_id;
	cache_thread.peer = tp->peer;
	return 0;
}

/* The thread's peer for a segment that is not the last one it used. */
static int
find_peer(struct mapping *m)
{
	uint64_t id = m->segment->id;
	int error;

	for (struct thread_peer *tp = cache_thread.peers; tp != NULL;
	     tp = tp->next)
		if (tp->segment_id == id) {
			cache_thread.attachment_id = id;
			cache_thread.peer = tp->peer;
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

/* (The peers of handles that were closed may be gone.) */
bool
cache_is_own_peer(const struct call *call, uint64_t owner)
{
	uint64_t segment_id = call->m->segment->segment_id;
	const struct thread_peer *tp = cache_thread.peers;
	bool is_own = false;
	int cancel_state;

	if (tp == NULL || tp->next == NULL)
		return false;
	cancel_state = cache_take_lock();
	for (; tp != NULL && !is_own; tp = tp->next)
		is_own = is_attached(tp->segment_id) &&
			 tp->peer->segment->segment_id == segment_id &&
			 owner_of(tp->peer) == owner;
	cache_drop_lock(cancel_state);
	return is_own;
}

static int
enter_mapping(struct shmcache *cache, enum call_needs needs, struct call *call)
{
	struct mapping *m = call_mapping(cache);
	int error = 0;

	call->m = m;
	if (m == NULL)
		return -(int)shm_load32(&cache->error);
	call->peer = NULL;
	if (__builtin_expect(mapping_removed(m), 0))
		return SHMCACHE_EREMOVED;
	if (__builtin_expect(m->segment->read_only, 0))
		return needs == CALL_WRITES ? SHMCACHE_EREADONLY : 0;
	if (needs == CALL_LOOKS)
		return 0;
	if (__builtin_expect(cache_thread.attachment_id != m->segment->id, 0))
		error = find_peer(m);
	if (error == 0) {
		call->peer = cache_thread.peer;
		if (mapping_recording(m))
			record_arm(call);
	}
	return error == SHMCACHE_EPEERS && needs != CALL_WRITES ? 0 : error;
}

/* Detaches from a mapping that the handle has left.  Under the lock. */
static void
close_left(struct shmcache *cache, struct mapping *m)
{
	struct mapping **at = &cache->left;

	while (*at != m)
		at = &(*at)->next_left;
	*at = m->next_left;
	while (m->segment->peers != NULL)
		shm_peer_release(m->segment->peers);
	mapping_close(m);
}

/* The same once no call is in it and no item is pinned in it. */
static void
close_unused(struct shmcache *cache, struct mapping *m)
{
	if (m->drained && !shm_peer_holds(m->segment))
		close_left(cache, m);
}

/* Takes the mapping of a removed cache from the handle; returns it, or NULL. */
static struct mapping *
leave_removed(struct shmcache *cache)
{
	struct mapping *m = cache->mapping;

	if (m == NULL || !mapping_removed(m))
		return NULL;
	shm_store32(&cache->error, (uint32_t)-SHMCACHE_EREMOVED);
	shm_store64(&cache->retry_at_ms, 0);
	publish_mapping(cache, NULL);
	m->next_left = cache->left;
	cache->left = m;
	return m;
}

/*
 * Leaves a cache that was removed, and attaches (now and then) where there is no
 * mapping: a child that could not when it was born, a cache that is there again.
 * True if there is a mapping.  Not within a read section.
 */
static bool
revive(struct shmcache *cache)
{
	struct mapping *left;
	bool attached;
	int cancel_state;

	if (call_mapping(cache) == NULL &&
	    shm_clock_ms() < shm_load64(&cache->retry_at_ms))
		return false;
	cancel_state = cache_take_lock();
	left = leave_removed(cache);
	if (cache->mapping == NULL && shm_clock_ms() >= cache->retry_at_ms) {
		shm_store64(
		    &cache->retry_at_ms, shm_clock_ms() + ATTACH_RETRY_MS);
		reopen(cache);
	}
	attached = cache->mapping != NULL;
	cache_drop_lock(cancel_state);
	if (left != NULL) {
		await_sections();
		cancel_state = cache_take_lock();
		left->drained = true;
		close_unused(cache, left);
		cache_drop_lock(cancel_state);
	}
	return attached;
}

static int
enter(struct shmcache *cache, enum call_needs needs, struct call *call)
{
	int error;

	call_lock();
	error = enter_mapping(cache, needs, call);
	if (__builtin_expect(error != 0, 0))
		call_unlock();
	return error;
}

int
call_enter_slowly(
    struct shmcache *cache, enum call_needs needs, struct call *call)
{
	int error;

	if (__builtin_expect(shm_load32(cache_not_forked) != NOT_FORKED, 0))
		recover_fork();
	error = enter(cache, needs, call);
	if (__builtin_expect(error != 0, 0)) {
		if ((call->m == NULL || error == SHMCACHE_EREMOVED) &&
		    revive(cache))
			error = enter(cache, needs, call);
		if (error == SHMCACHE_EREMOVED && needs == CALL_READS)
			error = SHMCACHE_ENOENT;
		if (error != 0)
			call_end();
	}
	return error;
}

/* Of the mapping that the handle has now; it stays while we are in a section.
   False if the item is of another. */
static bool
unhold_current(struct shmcache *cache, uint64_t attachment_id,
    struct shm_peer *peer, uint32_t pin)
{
	struct mapping *m;
	bool is_current;

	call_lock();
	m = call_mapping(cache);
	is_current = m != NULL && m->segment->id == attachment_id;
	if (is_current && shm_peer_unhold(peer, pin)) {
		int cancel_state = cache_take_lock();

		shm_peer_release(peer);
		cache_drop_lock(cancel_state);
	}
	call_unlock();
	return is_current;
}

int
cache_unhold(struct shmcache *cache, uint64_t attachment_id,
    struct shm_peer *peer, uint32_t pin)
{
	struct mapping *m;
	int error, cancel_state;

	if (shm_load32(cache_not_forked) != NOT_FORKED)
		recover_fork();
	if (unhold_current(cache, attachment_id, peer, pin))
		return 0;
	cancel_state = cache_take_lock();
	m = mapping_of(cache, attachment_id);
	error = m == NULL ? SHMCACHE_ESTALE : 0;
	if (m != NULL) {
		if (shm_peer_unhold(peer, pin))
			shm_peer_release(peer);
		if (m != cache->mapping)
			close_unused(cache, m);
	}
	cache_drop_lock(cancel_state);
	return error;
}

static struct shmcache *
new_handle(const char *path, const struct shmcache_options *options)
{
	size_t owners_bytes = options->owner_count * sizeof(uint32_t);
	size_t path_bytes = strlen(path) + 1;
	struct shmcache *cache = calloc(1, sizeof(*cache) + path_bytes);
	uint32_t *owners = malloc(owners_bytes + 1);

	if (cache == NULL || owners == NULL) {
		free(cache);
		free(owners);
		return NULL;
	}
	if (owners_bytes > 0)
		memcpy(owners, options->owners, owners_bytes);
	memcpy(cache->path, path, path_bytes);
	cache->error = (uint32_t)-SHMCACHE_EREMOVED;
	cache->access =
	    (struct shm_access){ .any_owner = options->any_owner != 0,
		    .read_only = options->read_only != 0,
		    .owner_count = options->owner_count,
		    .owners = owners };
	return cache;
}

static void
free_handle(struct shmcache *cache)
{
	union {
		const uint32_t *constant;
		void *memory;
	} owners = { .constant = cache->access.owners };

	free(owners.memory);
	free(cache);
}

/* Attach to `path`, and put the handle on the list.  Under the lock. */
static int
attach(const char *path, const struct shmcache_options *options,
    struct shmcache **cache_out)
{
	struct shmcache *cache = new_handle(path, options);
	struct mapping *m = NULL;
	int error;

	if (cache == NULL)
		return -ENOMEM;
	error = mapping_open(path, &cache->access, &m);
	if (error == 0 && options->strict != 0)
		error = mapping_compare(m, options);
	if (error != 0) {
		if (m != NULL)
			mapping_close(m);
		free_handle(cache);
		return error;
	}
	publish_mapping(cache, m);
	cache->next = handles;
	handles = cache;
	*cache_out = cache;
	return 0;
}

/* Others create and remove the cache of this name, each time in between. */
#define OVERTAKEN_MAX 1000u

/* Attach, or create, as the mode says; until neither was overtaken. */
static int
attach_or_create(const char *path, const struct shmcache_options *options,
    struct shmcache **cache_out)
{
	unsigned overtaken = 0;
	int error;

	if (options->open_mode == SHMCACHE_ATTACH || options->read_only != 0)
		return attach(path, options, cache_out);
	do {
		if (options->open_mode != SHMCACHE_CREATE_EXCLUSIVE) {
			error = attach(path, options, cache_out);
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
			error = attach(path, options, cache_out);
	} while ((error == SHMCACHE_EEXIST || error == SHMCACHE_ENOCACHE) &&
		 options->open_mode == SHMCACHE_OPEN_OR_CREATE &&
		 overtaken++ < OVERTAKEN_MAX);
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
		{ "expected_tags", o->expected_tags, 1ull << 31 },
		{ "filter_items", o->filter_items, 1ull << 34 },
		{ "filter_error_ppm", o->filter_error_ppm, 500000 },
		{ "reserved2", o->reserved2, 0 },
		{ "max_entry_bytes", o->max_entry_bytes, SHM_EXTENT_MAX / 8 },
		{ "extent_bytes", o->extent_bytes, SHM_EXTENT_MAX },
		{ "peer_slots", o->peer_slots, SHM_PEERS_MAX },
		{ "process_slots", o->process_slots, SHM_PROCESSES_MAX },
		{ "open_mode", o->open_mode, SHMCACHE_CREATE_EXCLUSIVE },
		{ "any_owner", o->any_owner, 1 },
		{ "read_only", o->read_only, 1 },
		{ "strict", o->strict, 1 },
		{ "max_items", o->max_items, 1ull << 34 },
		{ "latency_sample",
		    o->latency_sample == SHMCACHE_SAMPLE_OFF
			? 0
			: o->latency_sample,
		    1u << 30 },
		{ "owner_count", o->owner_count,
		    o->owners != NULL ? 65536 : 0 },
		{ "reserved", o->reserved, 0 },
		{ "volatile_only", o->volatile_only, 1 },
	};

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		if (limits[i].value > limits[i].most)
			return shm_error_note(-EINVAL, "%s is above %llu",
			    limits[i].name, (unsigned long long)limits[i].most);
	if (policy_named(o->policy) == NULL)
		return shm_error_note(-EINVAL,
		    "there is no policy \"%.40s\"; there are: %s", o->policy,
		    policy_names());
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
	    o->max_entry_bytes > o->extent_bytes / 4 - ENTRY_OVERHEAD)
		return shm_error_note(-EINVAL,
		    "max_entry_bytes does not fit a quarter of extent_bytes");
	if (o->read_only != 0 && o->open_mode == SHMCACHE_CREATE_EXCLUSIVE)
		return shm_error_note(
		    -EINVAL, "read_only attaches, and does not create");
	return 0;
}

/* What opening and removing begin with. */
static int
prepare(const char *name, const struct shmcache_options *given,
    struct shmcache_options *o, char path[SHM_PATH_MAX])
{
	int error = enter_process();

	if (error == 0)
		error = read_options(given, o);
	if (error == 0)
		error = check_options(o);
	if (error == 0)
		error = shm_segment_path(name, path);
	return error;
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
	error = prepare(name, options, &o, path);
	if (error == 0) {
		cancel_state = cache_take_lock();
		error = attach_or_create(path, &o, cache_out);
		cache_drop_lock(cancel_state);
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

static bool
has_items_pinned(const struct shmcache *cache)
{
	const struct mapping *m = cache->left;

	while (m != NULL && !shm_peer_holds(m->segment))
		m = m->next_left;
	return m != NULL || (cache->mapping != NULL &&
				shm_peer_holds(cache->mapping->segment));
}

/* Takes the handle off the list, unless an item is pinned through it. */
static int
withdraw(struct shmcache *cache)
{
	int cancel_state = cache_take_lock();
	int error = 0;

	if (has_items_pinned(cache))
		error = shm_error_note(
		    SHMCACHE_EBUSY, "an item of the cache is still pinned");
	else
		unlist(cache);
	cache_drop_lock(cancel_state);
	return error;
}

/* Detaches from everything, once no call is in it. */
static void
detach(struct shmcache *cache)
{
	struct mapping *m = cache->mapping;
	int cancel_state;

	publish_mapping(cache, NULL);
	await_sections();
	cancel_state = cache_take_lock();
	if (m != NULL) {
		m->next_left = cache->left;
		cache->left = m;
	}
	while (cache->left != NULL)
		close_left(cache, cache->left);
	cache_drop_lock(cancel_state);
}

int
cache_begin(void)
{
	if (!call_begin())
		return SHMCACHE_EDEADLK;
	if (shm_load32(cache_not_forked) != NOT_FORKED)
		recover_fork();
	return 0;
}

int
shmcache_close(struct shmcache *cache)
{
	int error;

	if (cache == NULL)
		return 0;
	error = cache_begin();
	if (error != 0)
		return error_return(error);
	error = withdraw(cache);
	if (error == 0) {
		watch_stop(cache->watcher);
		detach(cache);
		free_handle(cache);
	}
	call_end();
	return error_return(error);
}

int
shmcache_is_available(struct shmcache *cache)
{
	struct call call;
	int error = call_enter(cache, CALL_LOOKS, &call);

	if (error == SHMCACHE_EREMOVED)
		return 0;
	if (error != 0)
		return error_return(error);
	call_leave();
	return 1;
}

int
shmcache_remove_with(const char *name, const struct shmcache_options *options)
{
	struct shmcache_options o;
	char path[SHM_PATH_MAX];
	int error, cancel_state;

	if (!call_begin())
		return error_return(SHMCACHE_EDEADLK);
	error = prepare(name, options, &o, path);
	if (error == 0) {
		const struct shm_access access = { .any_owner =
						       o.any_owner != 0,
			.owner_count = o.owner_count,
			.owners = o.owners };

		cancel_state = cache_take_lock();
		error = mapping_remove(path, &access);
		cache_drop_lock(cancel_state);
	}
	call_end();
	return error_return(error);
}

int
shmcache_remove(const char *name)
{
	return shmcache_remove_with(name, NULL);
}
