/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * api_update.c - public calls that write what depends on what is there
 *
 * add, replace, cas (by themselves or as options of a set), append, prepend: each
 * is the making of new content, for update.h.  An increment goes in place by a CAS of the counter's cell
 * (entry.h); where there is no counter yet, or it is frozen, by replacing.
 *
 * An increment in place of an entry that somebody has unlinked meanwhile counts
 * as done just before that: it had found the entry earlier, so it began earlier.
 */
#include "libshmcache/error.h"
#include "libshmcache/expire.h"
#include "libshmcache/invalidate.h"
#include "libshmcache/latency.h"
#include "libshmcache/record.h"
#include "libshmcache/stats.h"
#include "libshmcache/update.h"
#include "libshmcache/write.h"
#include "shm/error.h"
#include "shm/pin.h"

#include <errno.h>
#include <string.h>

/* What an update is given. */
struct given {
	struct write_given set;            /* append, prepend: data and bytes */
	uint64_t version;                  /* cas */
	char text[ENTRY_NUMBER_BYTES + 1]; /* append, prepend to a counter */
};

/* How an update is counted: done, key not as it must be, another version. */
struct counts {
	enum counter done;
	enum counter refused;
	enum counter changed;
};

static int
update(const struct call *call, const struct key *key, update_make *make,
    struct given *given, const struct counts *counts)
{
	bool timed = latency_count(call) && latency_is_timed(call);
	uint64_t began_ns = timed ? latency_begin() : 0;
	int error = update_entry(call, key, SHMCACHE_REQUEST_SET, make, given);

	if (timed)
		latency_end(call, SHMCACHE_LATENCY_SET, began_ns, NULL);
	stats_count(
	    call->peer, error == 0 ? counts->done
			: error == SHMCACHE_ENOENT || error == SHMCACHE_EPRESENT
			    ? counts->refused
			: error == SHMCACHE_ECHANGED ? counts->changed
			: error == SHMCACHE_ESTALE   ? COUNT_stale_sets
						     : COUNT_set_failures);
	return error;
}

/* One call that goes by update.h. */
static int
update_key(struct shmcache *cache, const void *key_data, size_t key_bytes,
    update_make *make, struct given *given, const struct counts *counts)
{
	struct call call;
	struct key key;
	int error = given->set.data == NULL && given->set.bytes > 0
			? -EINVAL
			: index_enter(cache, CALL_WRITES, key_data, key_bytes,
			      &call, &key);

	if (error != 0)
		return error_return(error);
	error = update(&call, &key, make, given, counts);
	call_leave();
	return error_return(error);
}

/* The content of a set. */
static int
make_set(const struct update *u, struct entry_content *content)
{
	const struct given *given = u->context;

	return write_content(u->call->m, u->key, &given->set, u->seq, content);
}

static int
make_added(const struct update *u, const struct entry *old,
    struct entry_content *content)
{
	return old != NULL ? SHMCACHE_EPRESENT : make_set(u, content);
}

static int
make_replaced(const struct update *u, const struct entry *old,
    struct entry_content *content)
{
	return old == NULL ? SHMCACHE_ENOENT : make_set(u, content);
}

static int
make_swapped(const struct update *u, const struct entry *old,
    struct entry_content *content)
{
	const struct given *given = u->context;

	if (old == NULL)
		return SHMCACHE_ENOENT;
	if (entry_version(u->call->m, old) != given->version)
		return SHMCACHE_ECHANGED;
	return make_set(u, content);
}

/* The old value as bytes, in `content`; a counter becomes text. */
static void
make_bytes(struct given *given, struct entry_content *content)
{
	if (content->counter) {
		content->value_bytes = entry_number_text(
		    (int64_t)content->cell.value, given->text);
		content->value = given->text;
		content->counter = false;
	}
	content->birth = 0; /* a new version */
}

static int
make_appended(const struct update *u, const struct entry *old,
    struct entry_content *content)
{
	struct given *given = u->context;

	if (old == NULL)
		return SHMCACHE_ENOENT;
	make_bytes(given, content);
	content->tail = given->set.data;
	content->tail_bytes = (uint32_t)given->set.bytes;
	return write_check_size(u->call->m, content->key_bytes,
	    content->value_bytes + (uint64_t)given->set.bytes);
}

static int
make_prepended(const struct update *u, const struct entry *old,
    struct entry_content *content)
{
	struct given *given = u->context;

	if (old == NULL)
		return SHMCACHE_ENOENT;
	make_bytes(given, content);
	content->tail = content->value;
	content->tail_bytes = content->value_bytes;
	content->value = given->set.data;
	content->value_bytes = (uint32_t)given->set.bytes;
	return write_check_size(u->call->m, content->key_bytes,
	    content->tail_bytes + (uint64_t)given->set.bytes);
}

static const struct counts add_counts = { COUNT_add_hits, COUNT_add_misses,
	COUNT_set_failures };
static const struct counts replace_counts = { COUNT_replace_hits,
	COUNT_replace_misses, COUNT_set_failures };
static const struct counts cas_counts = { COUNT_cas_hits, COUNT_cas_misses,
	COUNT_cas_changed };

int
shmcache_add(struct shmcache *cache, const void *key, size_t key_bytes,
    const void *value, size_t value_bytes, int64_t ttl_ms,
    uint32_t client_flags)
{
	struct given given = { .set = { .data = value,
				   .bytes = value_bytes,
				   .ttl_ms = ttl_ms,
				   .client_flags = client_flags } };

	return update_key(
	    cache, key, key_bytes, make_added, &given, &add_counts);
}

int
shmcache_replace(struct shmcache *cache, const void *key, size_t key_bytes,
    const void *value, size_t value_bytes, int64_t ttl_ms,
    uint32_t client_flags)
{
	struct given given = { .set = { .data = value,
				   .bytes = value_bytes,
				   .ttl_ms = ttl_ms,
				   .client_flags = client_flags } };

	return update_key(
	    cache, key, key_bytes, make_replaced, &given, &replace_counts);
}

int
shmcache_cas(struct shmcache *cache, const void *key, size_t key_bytes,
    const void *value, size_t value_bytes, int64_t ttl_ms,
    uint32_t client_flags, uint64_t version)
{
	struct given given = { .set = { .data = value,
				   .bytes = value_bytes,
				   .ttl_ms = ttl_ms,
				   .client_flags = client_flags },
		.version = version };

	return update_key(
	    cache, key, key_bytes, make_swapped, &given, &cas_counts);
}

static const struct counts append_counts = { COUNT_append_hits,
	COUNT_append_misses, COUNT_set_failures };

int
shmcache_append(struct shmcache *cache, const void *key, size_t key_bytes,
    const void *data, size_t data_bytes)
{
	struct given given = { .set = { .data = data, .bytes = data_bytes } };

	return update_key(
	    cache, key, key_bytes, make_appended, &given, &append_counts);
}

int
shmcache_prepend(struct shmcache *cache, const void *key, size_t key_bytes,
    const void *data, size_t data_bytes)
{
	struct given given = { .set = { .data = data, .bytes = data_bytes } };

	return update_key(
	    cache, key, key_bytes, make_prepended, &given, &append_counts);
}

/* Takes the options of any version's struct, and checks what needs no cache. */
static int
read_set_options(
    const struct shmcache_set_options *given, struct shmcache_set_options *o)
{
	*o = (struct shmcache_set_options){ .struct_bytes = sizeof(*o) };
	if (given != NULL) {
		if (given->struct_bytes < sizeof(given->struct_bytes) ||
		    given->struct_bytes > sizeof(*o))
			return shm_error_note(-EINVAL,
			    "struct_bytes is not set: start from "
			    "SHMCACHE_SET_OPTIONS_INIT");
		memcpy(o, given, given->struct_bytes);
	}
	if (o->only_if > SHMCACHE_SET_IF_VERSION)
		return shm_error_note(-EINVAL, "only_if is none of its values");
	return invalidate_check_tags(o->tags, o->tag_count);
}

static int
set_with(const struct call *call, const struct key *key,
    const struct shmcache_set_options *o, struct given *given)
{
	uint32_t hashes[SHMCACHE_TAGS_MAX];

	invalidate_hash_tags(call->m, o->tags, o->tag_count, hashes);
	given->set.tags = hashes;
	given->set.tag_count = (uint32_t)o->tag_count;
	switch (o->only_if) {
	case SHMCACHE_SET_IF_ABSENT:
		return update(call, key, make_added, given, &add_counts);
	case SHMCACHE_SET_IF_PRESENT:
		return update(call, key, make_replaced, given, &replace_counts);
	case SHMCACHE_SET_IF_VERSION:
		return update(call, key, make_swapped, given, &cas_counts);
	default:
		return write_set(call, key, &given->set);
	}
}

int
shmcache_set_with(struct shmcache *cache, const void *key_data,
    size_t key_bytes, const void *value, size_t value_bytes,
    const struct shmcache_set_options *options)
{
	struct shmcache_set_options o;
	struct call call;
	struct key key;
	struct given given;
	int error = read_set_options(options, &o);

	if (error == 0)
		error = index_enter(
		    cache, CALL_WRITES, key_data, key_bytes, &call, &key);
	if (error != 0)
		return error_return(error);
	given = (struct given){ .set = { .data = value,
				    .bytes = value_bytes,
				    .ttl_ms = o.ttl_ms,
				    .client_flags = o.client_flags,
				    .snapshot = o.snapshot },
		.version = o.version };
	error = set_with(&call, &key, &o, &given);
	call_leave();
	return error_return(error);
}

/* An increment. */
struct step {
	int64_t delta;
	bool minus;
	const int64_t *initial;
	int64_t ttl_ms;
	int64_t value; /* out */
};

static int
add_step(int64_t value, struct step *step)
{
	bool over =
	    step->minus
		? __builtin_sub_overflow(value, step->delta, &step->value)
		: __builtin_add_overflow(value, step->delta, &step->value);

	return over ? -ERANGE : 0;
}

/* A whole decimal number of 64 bits, as it would be printed, or with leading
   zeroes. */
static bool
read_number(const uint8_t *text, uint32_t bytes, int64_t *value_out)
{
	bool minus = bytes > 0 && text[0] == '-';
	uint32_t i = minus;
	int64_t value = 0;

	if (i == bytes || bytes > ENTRY_NUMBER_BYTES)
		return false;
	for (; i < bytes; i++) {
		int digit = text[i] - '0';

		if (digit < 0 || digit > 9 ||
		    __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_sub_overflow(value, digit, &value))
			return false;
	}
	if (!minus && __builtin_sub_overflow(0, value, &value))
		return false;
	*value_out = value;
	return true;
}

/* By replacing: a new counter, or one that begins from a value or from a frozen
   cell. */
static int
make_stepped(const struct update *u, const struct entry *old,
    struct entry_content *content)
{
	struct step *step = u->context;
	int64_t value = 0;
	int error = 0;

	if (old == NULL) {
		if (step->initial == NULL)
			return SHMCACHE_ENOENT;
		step->value = *step->initial;
		error = write_expiry(
		    u->call->m, step->ttl_ms, &content->expires_ms);
	} else if (content->counter) {
		error = add_step((int64_t)content->cell.value, step);
		content->cell.version += 2;
	} else if (read_number(old->value, old->value_bytes, &value)) {
		error = add_step(value, step);
		content->cell.version = 0;
	} else {
		error = SHMCACHE_ENOTNUMBER;
	}
	content->counter = true;
	content->birth = 0;
	content->cell.value = (uint64_t)step->value;
	content->value_bytes = 0;
	return error;
}

/* Not an error: there is no counter that can be changed in place. */
#define STEP_BY_REPLACING 1

static int
step_found(const struct entry *entry, struct step *step)
{
	for (;;) {
		struct cell_shared old = entry_cell(entry), new = old;
		int error;

		if ((old.version & ENTRY_FROZEN) != 0)
			return STEP_BY_REPLACING;
		error = add_step((int64_t)old.value, step);
		if (error != 0)
			return error;
		new.value = (uint64_t)step->value;
		new.version += 2;
		if (entry_cell_swap(entry, &old, &new))
			return 0;
	}
}

static int
step_in_place(const struct call *call, const struct key *key, struct step *step)
{
	struct found found;
	int error = STEP_BY_REPLACING;

	if (!index_find(call, key, SHM_PIN_ENTRY, &found))
		return STEP_BY_REPLACING;
	if (!expire_found(call, &found, COUNT_expired_on_read) &&
	    entry_visible(call->m, &found.entry) &&
	    entry_is_counter(&found.entry)) {
		error = step_found(&found.entry, step);
		entry_mark(call->m, found.entry.shared);
		if (error == 0)
			record(call, key, SHMCACHE_REQUEST_INCR,
			    found.entry.value_bytes,
			    entry_expires_ms(&found.entry));
	}
	shm_pin_clear(call->peer, SHM_PIN_ENTRY);
	return error;
}

static int
step_key(struct shmcache *cache, const void *key_data, size_t key_bytes,
    struct step *step, int64_t *value_out)
{
	struct call call;
	struct key key;
	int error =
	    index_enter(cache, CALL_WRITES, key_data, key_bytes, &call, &key);

	if (error != 0)
		return error_return(error);
	error = step_in_place(&call, &key, step);
	if (error == STEP_BY_REPLACING)
		error = update_entry(
		    &call, &key, SHMCACHE_REQUEST_INCR, make_stepped, step);
	stats_count(call.peer, error == 0                 ? COUNT_incr_hits
			       : error == SHMCACHE_ENOENT ? COUNT_incr_misses
							  : COUNT_set_failures);
	call_leave();
	if (error == 0 && value_out != NULL)
		*value_out = step->value;
	return error_return(error);
}

int
shmcache_incr(struct shmcache *cache, const void *key, size_t key_bytes,
    int64_t delta, const int64_t *initial, int64_t ttl_ms, int64_t *value_out)
{
	struct step step = {
		.delta = delta, .initial = initial, .ttl_ms = ttl_ms
	};

	return step_key(cache, key, key_bytes, &step, value_out);
}

int
shmcache_decr(struct shmcache *cache, const void *key, size_t key_bytes,
    int64_t delta, const int64_t *initial, int64_t ttl_ms, int64_t *value_out)
{
	struct step step = { .delta = delta,
		.minus = true,
		.initial = initial,
		.ttl_ms = ttl_ms };

	return step_key(cache, key, key_bytes, &step, value_out);
}
