/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* lock.c - finding, taking and giving back named locks */
#define XXH_INLINE_ALL /* for xxhash.h */
#include "libshmcache/lock.h"

#include "libshmcache/owner.h"
#include "shm/futex.h"

#include <string.h>
#include <xxhash.h>

#define FREE      (0ull << WORD_STATE_SHIFT)
#define HELD      (1ull << WORD_STATE_SHIFT)
#define WRITING   (2ull << WORD_STATE_SHIFT)
#define TENTATIVE (3ull << WORD_STATE_SHIFT)

/* Rounds that one gives way to a rival lower down; see index.c. */
#define ROUNDS_MAX 8u
#define PAUSES_MAX 256u

struct lock_name
lock_name(const struct mapping *m, const void *data, size_t bytes)
{
	uint64_t hash =
	    XXH3_64bits_withSecret(data, bytes, m->secret, CACHE_SECRET_BYTES);

	return (struct lock_name){ .data = data,
		.bytes = (uint32_t)bytes,
		.print = (hash << WORD_PRINT_SHIFT) & WORD_PRINT };
}

static uint64_t *
word_at(const struct call *call, uint32_t place)
{
	return &call->m->locks[place].word;
}

/* Does the place bear the name, finally or tentatively?  *word_out is its word
   then. */
static bool
bears(const struct call *call, const struct lock_name *name, uint32_t place,
    uint64_t *word_out)
{
	struct lock_shared *l = &call->m->locks[place];
	uint64_t word = shm_load64_acquire(&l->word);

	for (;;) {
		uint8_t bytes[SHMCACHE_LOCK_NAME_MAX];
		uint64_t state = word & WORD_STATE, again;
		uint32_t count = shm_load32(&l->name_bytes);

		*word_out = word;
		if ((state != HELD && state != TENTATIVE) ||
		    (word & WORD_PRINT) != name->print)
			return false;
		if (count == name->bytes)
			shm_read_bytes(bytes, l->name, count);
		shm_fence_acquire();
		again = shm_load64_acquire(&l->word);
		if (again == word)
			return count == name->bytes &&
			       memcmp(bytes, name->data, count) == 0;
		word = again;
	}
}

static bool
change(const struct call *call, uint32_t place, uint64_t state, uint64_t print,
    uint64_t owner, uint64_t *word)
{
	uint64_t next = word_next(*word, state, print, owner);

	if (!shm_cas64(word_at(call, place), *word, next))
		return false;
	*word = next;
	return true;
}

/* Looks for a HELD word of the name; LOCK_FULL: there is none. */
static enum lock_take
find_held(const struct call *call, const struct lock_name *name, bool fresh,
    uint32_t *place_out, uint64_t *word_out)
{
	uint64_t word;

	for (uint32_t i = 0; i < call->m->lock_count; i++) {
		while (bears(call, name, i, &word) &&
		       (word & WORD_STATE) == HELD) {
			*place_out = i;
			*word_out = word;
			if (owner_is_self(call, word_owner(word)))
				return LOCK_OWN;
			if (!owner_gone_for_waiter(call, word_owner(word),
				fresh, &call->m->locks[i].looked))
				return LOCK_BUSY;
			if (change(call, i, HELD, name->print, owner_self(call),
				word_out))
				return LOCK_TAKEN;
		}
	}
	return LOCK_FULL;
}

/* Makes a free word WRITING; of the dead too if `dead`. */
static bool
claim(
    const struct call *call, bool dead, uint32_t *place_out, uint64_t *word_out)
{
	for (uint32_t i = 0; i < call->m->lock_count; i++) {
		*place_out = i;
		*word_out = shm_load64_acquire(word_at(call, i));
		if (((*word_out & WORD_STATE) == FREE ||
			(dead &&
			    owner_gone(call, word_owner(*word_out), true))) &&
		    change(call, i, WRITING, 0, owner_self(call), word_out))
			return true;
	}
	return false;
}

/* True: no rival is left. */
static bool
judge_rivals(const struct call *call, const struct lock_name *name,
    uint32_t own, unsigned round)
{
	uint64_t word;

	for (uint32_t i = 0; i < call->m->lock_count; i++) {
		if (i == own)
			continue;
		while (bears(call, name, i, &word)) {
			if ((word & WORD_STATE) == HELD ||
			    (i < own && round < ROUNDS_MAX))
				return false;
			(void)change(call, i, FREE, 0, 0, &word);
		}
	}
	return true;
}

/* Puts the name into a place that is WRITING, and makes it HELD. */
static bool
settle(const struct call *call, const struct lock_name *name, uint32_t place,
    unsigned round, uint64_t *word)
{
	struct lock_shared *l = &call->m->locks[place];
	uint64_t self = owner_self(call);

	shm_store32(&l->name_bytes, name->bytes);
	shm_write_bytes(l->name, name->data, name->bytes);
	if (!change(call, place, TENTATIVE, name->print, self, word))
		return false;
	if (judge_rivals(call, name, place, round))
		return change(call, place, HELD, name->print, self, word);
	(void)change(call, place, FREE, 0, 0, word);
	return false;
}

static void
back_off(const struct call *call)
{
	for (unsigned i = shm_peer_random(call->peer) % PAUSES_MAX; i > 0; i--)
		shm_pause();
}

enum lock_take
lock_take(const struct call *call, const struct lock_name *name, bool fresh,
    uint32_t *place_out, uint64_t *word_out)
{
	for (unsigned round = 0;; round++) {
		enum lock_take take =
		    find_held(call, name, fresh, place_out, word_out);

		if (take != LOCK_FULL)
			return take;
		if (!claim(call, false, place_out, word_out) &&
		    !claim(call, true, place_out, word_out))
			return LOCK_FULL;
		if (settle(call, name, *place_out, round, word_out))
			return LOCK_TAKEN;
		back_off(call);
	}
}

bool
lock_release(const struct call *call, uint32_t place, uint64_t word)
{
	if (place >= call->m->lock_count || (word & WORD_STATE) != HELD ||
	    !change(call, place, FREE, 0, 0, &word))
		return false;
	shm_futex_wake_all(word_at(call, place));
	return true;
}
