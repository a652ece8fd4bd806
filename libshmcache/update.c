/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* update.c - look, reserve, make, link */
#include "libshmcache/update.h"

#include "libshmcache/evict.h"
#include "libshmcache/expire.h"
#include "libshmcache/invalidate.h"
#include "libshmcache/place.h"
#include "libshmcache/record.h"
#include "libshmcache/stats.h"
#include "libshmcache/write.h"
#include "shm/pin.h"

/* Not an error: something has changed, try again. */
#define AGAIN 1

/* Finds the key's entry if it may be returned; then it is pinned. */
static bool
find_old(const struct call *call, const struct key *key, struct found *old)
{
	if (!index_find(call, key, SHM_PIN_ENTRY, old))
		return false;
	if (!expire_found(call, old, COUNT_expired_on_read) &&
	    entry_visible(call->m, &old->entry))
		return true;
	shm_pin_clear(call->peer, SHM_PIN_ENTRY);
	return false;
}

/* The content to store; `old` is NULL if there is none. */
static int
make_content(const struct update *u, const struct found *old, bool freeze,
    struct entry_content *content)
{
	const struct entry *entry = old != NULL ? &old->entry : NULL;
	int error;

	if (entry == NULL)
		*content = (struct entry_content){ .key = u->key->data,
			.key_bytes = u->key->bytes,
			.seq = u->seq };
	else if (freeze)
		entry_carry(u->call->m, entry, content);
	else
		entry_content(u->call->m, entry, content);
	error = u->make(u, entry, content);
	if (error == 0)
		error = write_check_size(
		    u->call->m, content->key_bytes, entry_value_bytes(content));
	return error;
}

/* Where what is made will go (place.h), and what it takes. */
static void
choose_home(const struct update *u, const struct found *old,
    const struct entry_content *content, struct entry_content *home,
    uint32_t *bytes_out)
{
	home->expires_ms = content->expires_ms;
	*bytes_out = entry_bytes(content);
	place_choose(u->call, u->key, old, *bytes_out, home);
}

/* Step 1. */
static int
look(const struct update *u, struct entry_content *home, uint32_t *bytes_out)
{
	struct entry_content content;
	struct found found;
	bool is_old = find_old(u->call, u->key, &found);
	const struct found *old = is_old ? &found : NULL;
	int error = make_content(u, old, false, &content);

	if (error == 0)
		choose_home(u, old, &content, home, bytes_out);
	if (is_old)
		shm_pin_clear(u->call->peer, SHM_PIN_ENTRY);
	return error;
}

/* Step 4: 0, SHMCACHE_EFULL, or AGAIN. */
static int
link_entry(const struct update *u, const struct found *old,
    const struct entry_content *content, const struct shm_place *place)
{
	const struct call *call = u->call;
	const struct put_rule rule = { .only_new = true };
	uint64_t word = index_word(u->key, place);
	enum index_put put;

	entry_write(call->m, place, content);
	if (old != NULL)
		put = index_swap(call, old, word) ? PUT_NEW : PUT_REFUSED;
	else
		put = index_put(call, u->key, word, &rule);
	if (put == PUT_FULL)
		return write_window_full(call, place);
	if (put != PUT_NEW) {
		shm_arena_account(call->m->segment, place->extent,
		    place->generation, -(int64_t)place->bytes);
		return AGAIN;
	}
	stats_count(call->peer, old != NULL ? COUNT_replaces : COUNT_inserts);
	stats_add(call->peer, COUNT_written_bytes, place->bytes);
	record_stored(call, u->key, u->op, content);
	return 0;
}

/* Steps 3 and 4; 0, an error, or AGAIN with the bytes that are needed. */
static int
make_and_link(const struct update *u, struct entry_content *home,
    const struct shm_place *place, uint32_t *bytes_out)
{
	struct entry_content content;
	struct found found;
	bool is_old = find_old(u->call, u->key, &found);
	const struct found *old = is_old ? &found : NULL;
	int error = make_content(u, old, true, &content);

	if (error == 0) {
		content.ref = home->ref;
		content.stamp = home->stamp;
		error =
		    entry_bytes(&content) != place->bytes ||
			    (home->expires_ms == 0) != (content.expires_ms == 0)
			? AGAIN
			: link_entry(u, old, &content, place);
	}
	if (error == AGAIN)
		choose_home(u, old, &content, home, bytes_out);
	if (is_old)
		shm_pin_clear(u->call->peer, SHM_PIN_ENTRY);
	return error;
}

int
update_entry(const struct call *call, const struct key *key,
    enum shmcache_request_op op, update_make *make, void *context)
{
	const struct update update = { .call = call,
		.key = key,
		.op = op,
		.seq = invalidate_now(call->m),
		.make = make,
		.context = context };
	struct entry_content home = { .ref = 0 };
	uint32_t bytes = 0;
	int error = look(&update, &home, &bytes);

	if (error != 0)
		return error;
	do {
		struct shm_place place;

		error = evict_reserve(call, home.log, bytes, &place);
		if (error != 0)
			return error;
		token_bump(call->m, key->hash); /* W1: the target's pin */
		error = make_and_link(&update, &home, &place, &bytes);
		write_finish(call, &place);
	} while (error == AGAIN);
	return error;
}
