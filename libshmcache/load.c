/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* load.c - looking, taking, filling */
#include "libshmcache/load.h"

#include "libshmcache/expire.h"
#include "libshmcache/filter.h"
#include "libshmcache/invalidate.h"
#include "libshmcache/latency.h"
#include "libshmcache/rate.h"
#include "libshmcache/record.h"
#include "libshmcache/refresh.h"
#include "libshmcache/sink.h"
#include "libshmcache/stats.h"
#include "libshmcache/write.h"
#include "shm/error.h"
#include "shm/pin.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_TIMEOUT_MS 5000u
#define NS_PER_S           1000000000u

/* What a failed lease tells those who wait: what was loaded could not be stored,
   so let each load for itself.  No loader's result: those are negative. */
#define LET_EACH_LOAD 1

/* What is there of the key. */
enum view {
	VIEW_NOTHING,
	VIEW_FRESH,
	VIEW_DUE,    /* fresh, but to be refreshed */
	VIEW_WINDOW, /* stale, and returned while somebody refreshes it */
	VIEW_STALE,  /* stale, and returned if that fails */
	VIEW_NEGATIVE
};

static int
check_options(const struct shmcache_load_options *o)
{
	const uint32_t times[] = { o->stale_ms, o->stale_if_error_ms,
		o->negative_ttl_ms, o->error_ttl_ms, o->timeout_ms,
		o->lease_ms };

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		if (times[i] > INT32_MAX)
			return shm_error_note(
			    -EINVAL, "a time of the load's is above 2^31 ms");
	if (o->jitter_percent > 100 || o->refresh_percent > 100)
		return shm_error_note(
		    -EINVAL, "jitter_percent and refresh_percent are 0 to 100");
	if (o->ttl_ms < SHMCACHE_TTL_NONE || !(o->beta >= 0) ||
	    o->on_timeout > SHMCACHE_TIMEOUT_STALE ||
	    o->on_limit > SHMCACHE_LIMIT_NEGATIVE || o->use_filter > 1)
		return shm_error_note(-EINVAL,
		    "ttl_ms, beta, on_timeout, on_limit or use_filter is out of "
		    "range");
	if (o->max_key_loads_per_s > 1000)
		return shm_error_note(
		    -EINVAL, "max_key_loads_per_s is 1,000 at the most");
	return 0;
}

int
load_options(
    const struct shmcache_load_options *given, struct shmcache_load_options *o)
{
	memset(o, 0, sizeof(*o));
	if (given != NULL) {
		if (given->struct_bytes < sizeof(given->struct_bytes) ||
		    given->struct_bytes > sizeof(*o))
			return shm_error_note(-EINVAL,
			    "struct_bytes is not set: start from "
			    "SHMCACHE_LOAD_OPTIONS_INIT");
		memcpy(o, given, given->struct_bytes);
	}
	if (o->timeout_ms == 0)
		o->timeout_ms = DEFAULT_TIMEOUT_MS;
	if (o->lease_ms == 0)
		o->lease_ms = LEASE_MS;
	return check_options(o);
}

int
load_check(int result, const struct shmcache_loaded *loaded)
{
	if (result > 0)
		return shm_error_note(-EINVAL,
		    "the loader returned %d: it must be 0 or negative", result);
	if (result == 0 &&
	    (loaded->value_bytes > PTRDIFF_MAX ||
		(loaded->value == NULL && loaded->value_bytes > 0)))
		return shm_error_note(-EINVAL,
		    "the loader returned %zu bytes at %p", loaded->value_bytes,
		    loaded->value);
	if (result == 0 && loaded->ttl_ms < SHMCACHE_TTL_NONE)
		return shm_error_note(-EINVAL,
		    "the loader returned a time to live of %lld ms",
		    (long long)loaded->ttl_ms);
	if ((result == 0 || result == SHMCACHE_ENOENT) && loaded != NULL &&
	    invalidate_check_tags(loaded->tags, loaded->tag_count) != 0)
		return -EINVAL;
	return result;
}

/* The time to live of what is loaded if the loader says none. */
static int64_t
usual_ttl_ms(const struct call *call, const struct shmcache_load_options *o)
{
	return o->ttl_ms != 0 ? o->ttl_ms : call->m->default_ttl_ms;
}

static enum view
judge_fresh(const struct call *call, const struct entry *entry,
    const struct shmcache_load_options *o, int64_t left_ms)
{
	struct refresh refresh;
	int64_t ttl_ms;
	bool due;

	if (left_ms == SHMCACHE_TTL_NONE)
		return VIEW_FRESH;
	refresh = entry_refresh(entry);
	ttl_ms = refresh.ttl_ms != 0 ? refresh.ttl_ms : usual_ttl_ms(call, o);
	due = refresh_ahead(left_ms, ttl_ms, o->refresh_percent) ||
	      (o->beta > 0 && refresh_by_chance(left_ms, refresh.cost_us,
				  o->beta, shm_peer_random(call->peer)));
	return due ? VIEW_DUE : VIEW_FRESH;
}

/* Of a valid entry. */
static enum view
judge(const struct call *call, const struct entry *entry,
    const struct shmcache_load_options *o)
{
	int64_t left_ms = entry_ttl_ms(call->m, entry);
	uint64_t fresh_until, stale_for;

	if (entry_is_negative(entry))
		return VIEW_NEGATIVE;
	if (left_ms != 0)
		return judge_fresh(call, entry, o, left_ms);
	fresh_until = entry_expires_ms(entry) - entry_refresh(entry).stale_ms;
	stale_for = mapping_now_ms(call->m) - fresh_until;
	return stale_for < o->stale_ms            ? VIEW_WINDOW
	       : stale_for < o->stale_if_error_ms ? VIEW_STALE
						  : VIEW_NOTHING;
}

static void
forget_old(struct load *load)
{
	free(load->old.value);
	load->old = (struct shmcache_value){ .value = NULL };
}

static int
copy_old(const struct call *call, const struct entry *entry, enum view view,
    struct load *load)
{
	const struct sink sink = { .buffer = NULL };
	struct facts facts;
	uint8_t *copy;

	sink_learn(call->m, entry, &sink, &facts);
	copy = malloc((size_t)facts.value_bytes + 1);
	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, facts.value, facts.value_bytes);
	copy[facts.value_bytes] = 0;
	load->old = (struct shmcache_value){ .value = copy,
		.value_bytes = facts.value_bytes,
		.client_flags = facts.client_flags,
		.source = view == VIEW_FRESH || view == VIEW_DUE
			      ? SHMCACHE_FROM_CACHE
			      : SHMCACHE_FROM_STALE };
	entry_mark(call->m, entry->shared);
	return 0;
}

/* Copies what there is to `old`, and notes its version. */
static int
look(const struct call *call, const struct key *key, struct load *load,
    enum view *view_out)
{
	struct found found;
	int error = 0;

	forget_old(load);
	load->version = 0;
	*view_out = VIEW_NOTHING;
	if (!index_find(call, key, SHM_PIN_ENTRY, &found))
		return 0;
	if (!expire_found(call, &found, COUNT_expired_on_read)) {
		*view_out = judge(call, &found.entry, &load->options);
		load->version = entry_version(call->m, &found.entry);
		if (*view_out != VIEW_NOTHING && *view_out != VIEW_NEGATIVE)
			error = copy_old(call, &found.entry, *view_out, load);
	}
	shm_pin_clear(call->peer, SHM_PIN_ENTRY);
	return error;
}

/* Is there one token in the cache's bucket? */
static bool
has_rate(const struct call *call, uint32_t per_second)
{
	uint64_t next = shm_load64(&call->m->shared->next_load_ns);

	return rate_allows(per_second, NS_PER_S,
	    rate_ahead(next - latency_now_ns(call->m), NS_PER_S));
}

/* Takes it. */
static bool
may_by_rate(const struct call *call, uint32_t per_second)
{
	uint64_t *at = &call->m->shared->next_load_ns;
	uint64_t now = latency_now_ns(call->m);
	uint64_t interval =
	    rate_interval(per_second, NS_PER_S, shm_peer_random(call->peer));

	for (;;) {
		uint64_t next = shm_load64(at);
		uint64_t ahead = rate_ahead(next - now, NS_PER_S);

		if (!rate_allows(per_second, NS_PER_S, ahead))
			return false;
		if (shm_cas64(at, next, now + ahead + interval))
			return true;
	}
}

/* Are there too many at once, with the one that begins?  One that has no word
   nobody can count. */
static bool
are_too_many(const struct call *call, const struct load *load)
{
	uint32_t most = load->options.max_loads;

	return most > 0 &&
	       (load->lease.place == LEASE_NONE || lease_count(call) > most);
}

/* The cache's bucket is looked at before the key's is taken from, lest the key pays
   for loads that the cache forbids. */
static bool
is_limited(
    const struct call *call, const struct key *key, const struct load *load)
{
	const struct shmcache_load_options *o = &load->options;
	bool limited =
	    are_too_many(call, load) ||
	    (o->max_loads_per_s > 0 && !has_rate(call, o->max_loads_per_s)) ||
	    (o->max_key_loads_per_s > 0 &&
		!lease_may_by_rate(call, key, o->max_key_loads_per_s)) ||
	    (o->max_loads_per_s > 0 && !may_by_rate(call, o->max_loads_per_s));

	if (limited)
		stats_count(call->peer, COUNT_load_limited);
	return limited;
}

int
load_limited(const struct load *load)
{
	uint32_t on = load->options.on_limit;

	if (load->old.value != NULL && on != SHMCACHE_LIMIT_FAIL)
		return 0;
	return on == SHMCACHE_LIMIT_NEGATIVE ? SHMCACHE_ENOENT
					     : SHMCACHE_ELIMIT;
}

/* K1; `lease` is what it leads by.  The caller looks after this. */
static void
begin(const struct call *call, const struct key *key, struct load *load)
{
	load->token = (struct shmcache_token){
		.segment_id = call->m->segment->segment_id,
		.hash = key->hash,
		.token = token_install(call->m, key->hash),
		.seq = shm_load64_acquire(&call->m->shared->seq),
		.lease_word = load->lease.word,
		.lease = load->lease.place,
	};
}

int
load_begin_alone(
    const struct call *call, const struct key *key, struct load *load)
{
	enum view view;
	int error;

	lease_take_alone(call, load->options.lease_ms, &load->lease);
	begin(call, key, load);
	error = look(call, key, load, &view);
	if (error == 0 && is_limited(call, key, load))
		error = SHMCACHE_ELIMIT;
	if (error != 0) {
		(void)lease_release(call, &load->lease);
		return error;
	}
	load->token.version = load->version;
	load->token.began_ns = latency_begin();
	stats_count(call->peer, COUNT_load_alone);
	record_get(call, key, NULL);
	return 0;
}

/* A hit; for how long, is not known. */
static void
record_old(
    const struct call *call, const struct key *key, const struct load *load)
{
	record(call, key, SHMCACHE_REQUEST_GET, load->old.value_bytes, 0);
}

/* The answer that needs no load, if there is one: in `old`, or an error. */
static enum load_step
answer(const struct call *call, const struct key *key, const struct load *load,
    enum view view, int *error_out)
{
	if (view != VIEW_NOTHING)
		record_old(call, key, load);
	switch (view) {
	case VIEW_FRESH:
	case VIEW_DUE:
		stats_count(call->peer, COUNT_get_hits);
		return LOAD_DONE;
	case VIEW_WINDOW:
	case VIEW_STALE:
		return LOAD_DONE; /* counted by load_count_stale() */
	case VIEW_NEGATIVE:
		stats_count(call->peer, COUNT_load_negatives);
		*error_out = SHMCACHE_ENOENT;
		return LOAD_ERROR;
	case VIEW_NOTHING:
		break;
	}
	return LOAD_WAIT;
}

/* The lease is ours. */
static enum load_step
lead(const struct call *call, const struct key *key, struct load *load,
    int *error_out)
{
	enum view view;

	begin(call, key, load);
	*error_out = look(call, key, load, &view);
	if (*error_out == 0 && view != VIEW_FRESH && view != VIEW_NEGATIVE) {
		if (!is_limited(call, key, load)) {
			load->token.version = load->version;
			load->token.began_ns = latency_begin();
			load->may_return_old =
			    view == VIEW_DUE || view == VIEW_WINDOW;
			stats_count(call->peer, COUNT_load_leaders);
			if (view == VIEW_NOTHING)
				record_get(call, key, NULL);
			else
				record_old(call, key, load);
			if (view == VIEW_DUE)
				stats_count(call->peer, COUNT_load_early);
			return LOAD_LEAD;
		}
		*error_out = view == VIEW_DUE ? 0 : load_limited(load);
	}
	(void)lease_release(call, &load->lease);
	return *error_out != 0 ? LOAD_ERROR
			       : answer(call, key, load, view, error_out);
}

/* Another's load has failed.  Or what it has loaded could not be stored: then the
   value that is kept for failures is no answer. */
static enum load_step
share_failure(const struct call *call, const struct key *key,
    const struct load *load, enum view view, int *error_out)
{
	int error = *error_out;

	*error_out = 0;
	if (error == LET_EACH_LOAD &&
	    (view == VIEW_NOTHING || view == VIEW_STALE))
		return LOAD_ALONE;
	if (view != VIEW_NOTHING)
		return answer(call, key, load, view, error_out);
	*error_out = error;
	return LOAD_ERROR;
}

enum load_step
load_try(const struct call *call, const struct key *key, struct load *load,
    int *error_out)
{
	enum view view;
	enum lease_take take;

	*error_out = look(call, key, load, &view);
	if (*error_out != 0)
		return LOAD_ERROR;
	if (view == VIEW_FRESH || view == VIEW_NEGATIVE)
		return answer(call, key, load, view, error_out);
	if (load->options.use_filter != 0 && view != VIEW_DUE &&
	    !filter_may_have(call, key->data, key->bytes)) {
		*error_out = SHMCACHE_ENOENT;
		return LOAD_ERROR;
	}
	take = lease_take(call, key, load->options.lease_ms, load->fresh,
	    &load->lease, error_out);
	switch (take) {
	case LEASE_TAKEN_OVER:
		stats_count(call->peer, COUNT_load_takeovers);
		break;
	case LEASE_TAKEN:
		break;
	case LEASE_FAILED:
		return share_failure(call, key, load, view, error_out);
	case LEASE_BUSY:
	case LEASE_NOWHERE:
		if (view == VIEW_DUE || view == VIEW_WINDOW)
			return answer(call, key, load, view, error_out);
		return take == LEASE_BUSY ? LOAD_WAIT : LOAD_ALONE;
	}
	return lead(call, key, load, error_out);
}

static uint64_t
cost_us(const struct shmcache_token *token)
{
	uint64_t us = (latency_begin() - token->began_ns) / 1000;

	return us < UINT32_MAX ? us : UINT32_MAX;
}

/* How what was loaded with this time to live is to be refreshed.  That is all in
   one option, which an entry has only if it says what the next call's options do
   not. */
static struct refresh
make_refresh(const struct call *call, const struct shmcache_token *token,
    int64_t ttl_ms, const struct shmcache_load_options *o)
{
	struct refresh refresh = {
		.stale_ms = o->stale_ms > o->stale_if_error_ms
				? o->stale_ms
				: o->stale_if_error_ms,
		.cost_us = o->beta > 0 ? (uint32_t)cost_us(token) : 0,
	};

	if (refresh.stale_ms != 0 || refresh.cost_us != 0 ||
	    (o->refresh_percent > 0 && ttl_ms != usual_ttl_ms(call, o)))
		refresh.ttl_ms = ttl_ms;
	return refresh;
}

/* When what was loaded expires, and how it is to be refreshed. */
static int
make_times(const struct call *call, const struct shmcache_token *token,
    int64_t ttl_ms, const struct shmcache_load_options *o,
    struct entry_content *content)
{
	uint32_t random = shm_peer_random(call->peer);
	struct refresh refresh = { .stale_ms = 0 };

	if (ttl_ms == 0)
		ttl_ms = usual_ttl_ms(call, o);
	if (ttl_ms == SHMCACHE_TTL_NONE)
		return 0;
	if (!content->negative)
		refresh = make_refresh(call, token, ttl_ms, o);
	ttl_ms = refresh_jitter(ttl_ms, o->jitter_percent, random);
	content->refresh = refresh_pack(refresh);
	return write_expiry(call->m,
	    ttl_ms > INT64_MAX - refresh.stale_ms ? ttl_ms
						  : ttl_ms + refresh.stale_ms,
	    &content->expires_ms);
}

/* The source has no such key, and that is not to be kept: what there was goes. */
static void
drop(const struct call *call, const struct key *key, uint64_t version)
{
	struct found found;

	while (index_find(call, key, SHM_PIN_ENTRY, &found)) {
		bool same = entry_version(call->m, &found.entry) == version;
		bool gone = !same || index_swap(call, &found, 0);

		shm_pin_clear(call->peer, SHM_PIN_ENTRY);
		if (gone)
			break;
	}
}

static int
store(const struct call *call, const struct key *key,
    const struct shmcache_token *t, bool negative,
    const struct shmcache_loaded *loaded, const struct shmcache_load_options *o)
{
	const struct token token = { .word = t->token, .version = t->version };
	const struct shmcache_snapshot began = { t->segment_id, t->seq };
	uint32_t tags[SHMCACHE_TAGS_MAX];
	struct entry_content content = { .key = key->data,
		.key_bytes = key->bytes,
		.seq = t->seq,
		.negative = negative };
	int error = 0;

	if (loaded != NULL) {
		invalidate_hash_tags(
		    call->m, loaded->tags, loaded->tag_count, tags);
		content.tags = tags;
		content.tag_count = loaded->tag_count;
	}
	if (!negative) {
		error =
		    write_check_size(call->m, key->bytes, loaded->value_bytes);
		content.value = loaded->value;
		content.value_bytes = (uint32_t)loaded->value_bytes;
		content.client_flags = loaded->client_flags;
	}
	if (error == 0)
		error = make_times(call, t,
		    negative ? o->negative_ttl_ms : loaded->ttl_ms, o,
		    &content);
	if (error == 0)
		error =
		    invalidate_check(call->m, &began, tags, content.tag_count);
	if (error == 0)
		error = write_store(call, key, &content, &token);
	if (error == 0)
		(void)token_spend(call->m, key->hash, token.word);
	if (error == SHMCACHE_ESTALE) {
		stats_count(call->peer, COUNT_load_refused);
		return shm_error_note(error,
		    "the key was written, deleted or invalidated since the "
		    "load began");
	}
	return error;
}

static int
check_token(const struct call *call, const struct key *key,
    const struct shmcache_token *token)
{
	if (token->segment_id != call->m->segment->segment_id ||
	    token->hash != key->hash ||
	    token->seq > shm_load64_acquire(&call->m->shared->seq))
		return shm_error_note(
		    SHMCACHE_ESTALE, "the token is of another cache or key");
	return 0;
}

/* Ends a load that has stored nothing.  The leader's token is spent, before others
   see that the lease is free; not one of a load without it, lest that refuses what
   the leader stores: its word tells. */
static void
give_up(const struct call *call, const struct lease *lease, int error,
    uint64_t keep_ms, const struct shmcache_token *token)
{
	struct shmcache_token spent = *token;

	if (lease_is_ours(call, lease) && !lease_is_alone(lease))
		spent.token = token_spend(call->m, token->hash, token->token);
	if (error == 0)
		(void)lease_release(call, lease);
	else
		lease_fail(call, lease, error, keep_ms, &spent);
}

/* Has the load been ended already, or another's in its stead? */
static bool
is_over(const struct call *call, const struct key *key,
    const struct lease *lease, const struct shmcache_token *t)
{
	const struct token token = { .word = t->token };

	return !lease_is_ours(call, lease) &&
	       (lease_is_alone(lease) ||
		   !token_is_current(call->m, key->hash, &token));
}

static int
refuse_spent(void)
{
	return shm_error_note(
	    SHMCACHE_ESTALE, "the load was ended, or is late");
}

static int
fill(const struct call *call, const struct key *key, const struct lease *lease,
    const struct shmcache_token *token, int result,
    const struct shmcache_loaded *loaded, const struct shmcache_load_options *o)
{
	int error = lease_is_alone(lease) && !lease_is_ours(call, lease)
			? refuse_spent()
			: store(call, key, token, result != 0, loaded, o);

	if (error == 0 || error == SHMCACHE_ESTALE)
		(void)lease_release(call, lease);
	else
		give_up(call, lease, LET_EACH_LOAD, 0, token);
	return error;
}

int
load_fill(const struct call *call, const struct key *key,
    const struct shmcache_token *token, int result,
    const struct shmcache_loaded *loaded, const struct shmcache_load_options *o)
{
	const struct lease lease = { token->lease, token->lease_word };
	int error = check_token(call, key, token);

	if (error != 0)
		return error;
	if (result == 0 ||
	    (result == SHMCACHE_ENOENT && o->negative_ttl_ms > 0))
		return fill(call, key, &lease, token, result, loaded, o);
	if (is_over(call, key, &lease, token))
		return refuse_spent();
	if (result == SHMCACHE_ENOENT && token->version != 0)
		drop(call, key, token->version);
	if (result != SHMCACHE_ENOENT)
		stats_count(call->peer, COUNT_load_errors);
	give_up(call, &lease, result,
	    result == SHMCACHE_ENOENT ? 0 : o->error_ttl_ms, token);
	return 0;
}

int
load_abandon(const struct call *call, const struct shmcache_token *token)
{
	const struct lease lease = { token->lease, token->lease_word };

	if (token->segment_id != call->m->segment->segment_id)
		return SHMCACHE_ESTALE;
	give_up(call, &lease, 0, 0, token);
	return 0;
}

void
load_count_wait(struct shmcache *cache, uint64_t began_ns)
{
	struct call call;

	if (call_enter(cache, CALL_WRITES, &call) != 0)
		return;
	stats_count(call.peer, COUNT_load_waiters);
	stats_add(
	    call.peer, COUNT_load_wait_us, (latency_begin() - began_ns) / 1000);
	call_leave();
}

void
load_count_stale(struct shmcache *cache)
{
	struct call call;

	if (call_enter(cache, CALL_WRITES, &call) != 0)
		return;
	stats_count(call.peer, COUNT_load_stale);
	call_leave();
}
