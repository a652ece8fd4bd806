/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* api_load.c - public calls that load: waiting, running the loader, tokens */
#include "libshmcache/error.h"
#include "libshmcache/latency.h"
#include "libshmcache/load.h"
#include "libshmcache/loading.h"
#include "libshmcache/wait.h"
#include "shm/clock.h"
#include "shm/error.h"

#include <errno.h>
#include <stdlib.h>

/* What a call is about. */
struct job {
	struct shmcache *cache;
	const void *key;
	size_t key_bytes;
	shmcache_loader *loader;
	void *context;
};

static struct loading_key
loading_key(const struct job *job, const void *frame)
{
	return (struct loading_key){ .cache = job->cache,
		.data = job->key,
		.bytes = job->key_bytes,
		.frame = (uintptr_t)frame };
}

/* Calls the loader; the value is the caller's to free whatever the result.  Its
   frame lies above the loader's calls, and below all others from where this one
   came. */
static __attribute__((noinline)) int
run_loader(
    const struct job *job, uint32_t lease_ms, struct shmcache_loaded *loaded)
{
	const struct loading_key key =
	    loading_key(job, __builtin_frame_address(0));
	struct loading *loading = loading_begin(&key, lease_ms);
	int result;

	*loaded = (struct shmcache_loaded){ .value = NULL };
	if (loading == NULL)
		return -ENOMEM;
	result = job->loader(job->context, job->key, job->key_bytes, loaded);
	loading_end(loading);
	return load_check(result, loaded);
}

/* The value that was loaded becomes the caller's. */
static int
hand_over(struct shmcache_loaded *loaded, bool stored,
    struct shmcache_value *value_out)
{
	uint8_t *value = realloc(loaded->value, loaded->value_bytes + 1);

	if (value == NULL)
		return -ENOMEM;
	value[loaded->value_bytes] = 0;
	loaded->value = NULL;
	*value_out = (struct shmcache_value){ .value = value,
		.value_bytes = loaded->value_bytes,
		.client_flags = loaded->client_flags,
		.source =
		    stored ? SHMCACHE_FROM_LOAD : SHMCACHE_FROM_LOAD_ONLY };
	return 0;
}

static int
enter(const struct job *job, struct call *call, struct key *key)
{
	return index_enter(
	    job->cache, CALL_WRITES, job->key, job->key_bytes, call, key);
}

static int
end_load(const struct job *job, const struct load *load, int result,
    const struct shmcache_loaded *loaded)
{
	struct call call;
	struct key key;
	int error = enter(job, &call, &key);

	if (error != 0)
		return error;
	error = load_fill(
	    &call, &key, &load->token, result, loaded, &load->options);
	call_leave();
	return error;
}

static void
take_old(struct load *load, struct shmcache_value *value_out)
{
	*value_out = load->old;
	load->old.value = NULL;
}

/* The key is ours to load; without a cache to store it in, `load` has no
   token. */
static int
load_now(
    const struct job *job, struct load *load, struct shmcache_value *value_out)
{
	struct shmcache_loaded loaded;
	int result = run_loader(job, load->options.lease_ms, &loaded);
	bool stored = load->token.segment_id != 0 &&
		      end_load(job, load, result, &loaded) == 0;

	if (result == 0) {
		result = hand_over(&loaded, stored, value_out);
	} else if (result != SHMCACHE_ENOENT && load->old.value != NULL) {
		take_old(load, value_out);
		result = 0;
	}
	free(loaded.value);
	return result;
}

/* Gives the refresh to the application's refresher, if there is one and a value
   that may be returned meanwhile. */
static bool
give_away(const struct job *job, const struct load *load)
{
	const struct shmcache_load_options *o = &load->options;

	return o->refresher != NULL && load->may_return_old &&
	       o->refresher(o->refresher_context, job->key, job->key_bytes,
		   &load->token) == 0;
}

static int
try_once(const struct job *job, struct load *load, enum load_step *step_out)
{
	struct call call;
	struct key key;
	int error = enter(job, &call, &key);

	if (error != 0)
		return error;
	*step_out = load_try(&call, &key, load, &error);
	call_leave();
	return error;
}

static int
begin_alone(const struct job *job, struct load *load)
{
	struct call call;
	struct key key;
	int error = enter(job, &call, &key);

	if (error != 0)
		return error;
	error = load_begin_alone(&call, &key, load);
	call_leave();
	return error;
}

/* Sleeps until the lease changes, or it is time to look. */
static void
sleep_on(const struct job *job, const struct lease *lease, uint64_t most_ms)
{
	struct call call;
	const uint64_t *word = NULL;
	uint32_t look_ms;

	if (call_enter(job->cache, CALL_WRITES, &call) != 0)
		return;
	look_ms = wait_look_ms(shm_peer_random(call.peer));
	if (lease->place <= call.m->lease_mask)
		word = &call.m->leases[lease->place].word;
	call_leave();
	if (word != NULL)
		wait_for_change(word, lease->word, look_ms, most_ms);
}

/* Tries, and waits as long as another loads, until `deadline_ms`. */
static int
try_until(const struct job *job, struct load *load, uint64_t deadline_ms,
    enum load_step *step_out)
{
	uint64_t began_ns = 0;
	int error;

	for (;;) {
		uint64_t now_ms;

		error = try_once(job, load, step_out);
		now_ms = shm_clock_ms();
		if (error != 0 || *step_out != LOAD_WAIT ||
		    now_ms >= deadline_ms)
			break;
		if (began_ns == 0)
			began_ns = latency_begin();
		sleep_on(job, &load->lease, deadline_ms - now_ms);
		load->fresh = true;
	}
	if (began_ns != 0)
		load_count_wait(job->cache, began_ns);
	return error;
}

/* Another's load has taken longer than the caller wants to wait. */
static int
timed_out(
    const struct job *job, struct load *load, struct shmcache_value *value_out)
{
	uint32_t on = load->options.on_timeout;

	if (on == SHMCACHE_TIMEOUT_STALE && load->old.value != NULL) {
		take_old(load, value_out);
		return 0;
	}
	if (on != SHMCACHE_TIMEOUT_LOAD)
		return -ETIMEDOUT;
	return load_now(job, load, value_out);
}

/* The key has to be loaded without its lease. */
static int
go_alone(const struct job *job, struct load *load, bool is_late,
    struct shmcache_value *value_out)
{
	int error = is_late && load->options.on_timeout != SHMCACHE_TIMEOUT_LOAD
			? 0
			: begin_alone(job, load);

	if (error == SHMCACHE_ELIMIT) {
		error = load_limited(load);
		if (error == 0)
			take_old(load, value_out);
		return error;
	}
	if (error != 0)
		return error;
	return is_late ? timed_out(job, load, value_out)
		       : load_now(job, load, value_out);
}

/* There is no cache to coordinate by, or to store in. */
static bool
is_unusable(int error)
{
	return error == SHMCACHE_EREMOVED || error == SHMCACHE_EREADONLY ||
	       error == SHMCACHE_EPEERS;
}

static int
get_without_peer(
    const struct job *job, struct load *load, struct shmcache_value *value_out)
{
	struct shmcache_value value = { .source = SHMCACHE_FROM_CACHE };
	int error = shmcache_get_alloc(job->cache, job->key, job->key_bytes,
	    &value.value, &value.value_bytes, &value.client_flags);

	if (error == 0)
		*value_out = value;
	else if (error == SHMCACHE_ENOENT && load->options.use_filter != 0 &&
		 shmcache_filter_check(job->cache, job->key, job->key_bytes) ==
		     0)
		return error;
	else if (error == SHMCACHE_ENOENT || is_unusable(error))
		error = load_now(job, load, value_out);
	return error;
}

static int
get_or_load(
    const struct job *job, struct load *load, struct shmcache_value *value_out)
{
	enum load_step step = LOAD_ERROR;
	int error = try_until(
	    job, load, shm_clock_ms() + load->options.timeout_ms, &step);

	if (is_unusable(error))
		return get_without_peer(job, load, value_out);
	if (error != 0)
		return error;
	if (step == LOAD_WAIT || step == LOAD_ALONE)
		return go_alone(job, load, step == LOAD_WAIT, value_out);
	if (step == LOAD_LEAD && !give_away(job, load))
		return load_now(job, load, value_out);
	take_old(load, value_out);
	return 0;
}

int
shmcache_get_or_load(struct shmcache *cache, const void *key, size_t key_bytes,
    shmcache_loader *loader, void *context,
    const struct shmcache_load_options *options,
    struct shmcache_value *value_out)
{
	const struct job job = { cache, key, key_bytes, loader, context };
	const struct loading_key wanted =
	    loading_key(&job, __builtin_frame_address(0));
	struct load load = { .lease.place = LEASE_NONE };
	int error = loader == NULL || value_out == NULL
			? -EINVAL
			: load_options(options, &load.options);

	if (error == 0 && !index_is_key(key, key_bytes))
		error = SHMCACHE_EKEY;
	if (error == 0 && loading_is(&wanted))
		error = shm_error_note(
		    SHMCACHE_EDEADLK, "the loader of a key asks for that key");
	if (error == 0)
		error = get_or_load(&job, &load, value_out);
	if (error == 0 && value_out->source == SHMCACHE_FROM_STALE)
		load_count_stale(cache);
	free(load.old.value);
	return error_return(error);
}

int
shmcache_begin_load(struct shmcache *cache, const void *key, size_t key_bytes,
    const struct shmcache_load_options *options,
    struct shmcache_value *value_out, struct shmcache_token *token_out)
{
	const struct job job = { cache, key, key_bytes, NULL, NULL };
	struct load load = { .lease.place = LEASE_NONE };
	enum load_step step = LOAD_ERROR;
	int error = value_out == NULL || token_out == NULL
			? -EINVAL
			: load_options(options, &load.options);

	if (error == 0)
		error = try_once(&job, &load, &step);
	/* The thread's own load, of another request: it is not done yet. */
	if (step == LOAD_ALONE && load.lease.place != LEASE_NONE)
		step = LOAD_WAIT;
	if (error == 0 && step == LOAD_ALONE)
		error = begin_alone(&job, &load);
	if (error == SHMCACHE_ELIMIT && step == LOAD_ALONE) {
		error = load_limited(&load);
		step = LOAD_DONE;
	}
	if (error == 0) {
		if (step == LOAD_WAIT)
			load.old.source = SHMCACHE_BUSY;
		else if (step != LOAD_DONE)
			load.old.source = SHMCACHE_LEAD;
		if (load.old.source == SHMCACHE_LEAD)
			*token_out = load.token;
		if (load.old.source == SHMCACHE_FROM_STALE)
			load_count_stale(cache);
		take_old(&load, value_out);
	}
	free(load.old.value);
	return error_return(error);
}

int
shmcache_fill(struct shmcache *cache, const void *key_data, size_t key_bytes,
    const struct shmcache_token *token, int result,
    const struct shmcache_loaded *loaded,
    const struct shmcache_load_options *options)
{
	struct shmcache_load_options o;
	struct call call;
	struct key key;
	int error = token == NULL || (loaded == NULL && result == 0)
			? -EINVAL
			: load_options(options, &o);

	if (error == 0 && load_check(result, loaded) != result)
		error = -EINVAL;
	if (error == 0)
		error = index_enter(
		    cache, CALL_WRITES, key_data, key_bytes, &call, &key);
	if (error != 0)
		return error_return(error);
	error = load_fill(&call, &key, token, result, loaded, &o);
	call_leave();
	return error_return(error);
}

int
shmcache_abandon(struct shmcache *cache, const struct shmcache_token *token)
{
	struct call call;
	int error =
	    token == NULL ? -EINVAL : call_enter(cache, CALL_WRITES, &call);

	if (error != 0)
		return error_return(error);
	error = load_abandon(&call, token);
	call_leave();
	return error_return(error);
}

/* Sleeps while another loads the key; *began_ns says since when, 0 if not at
   all. */
static int
wait_for_load(const struct job *job, uint64_t deadline_ms, uint64_t *began_ns)
{
	for (;;) {
		struct lease lease;
		struct call call;
		struct key key;
		uint64_t now_ms = shm_clock_ms();
		bool held;
		int error = enter(job, &call, &key);

		if (error != 0)
			return error;
		held = lease_is_held(&call, &key, true, &lease);
		call_leave();
		if (!held)
			return 0;
		if (now_ms >= deadline_ms)
			return -ETIMEDOUT;
		if (*began_ns == 0)
			*began_ns = latency_begin();
		sleep_on(job, &lease, deadline_ms - now_ms);
	}
}

int
shmcache_wait_load(struct shmcache *cache, const void *key, size_t key_bytes,
    uint32_t timeout_ms)
{
	const struct job job = { cache, key, key_bytes, NULL, NULL };
	uint64_t began_ns = 0;
	int error = wait_for_load(&job, shm_clock_ms() + timeout_ms, &began_ns);

	if (began_ns != 0)
		load_count_wait(cache, began_ns);
	return error_return(error);
}
