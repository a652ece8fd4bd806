/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* verify.c - walking the invariants */
#include "libshmcache/verify.h"

#include "libshmcache/index.h"
#include "libshmcache/invalidate.h"
#include "shm/arena.h"
#include "shm/pin.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check {
	const struct call *call;
	const struct mapping *m;
	struct shm_segment *segment;
	struct verify_texts *texts; /* or NULL */
	uint64_t *linked; /* strict: bytes of linked entries, by extent */
	int violations;
};

static void violation(struct check *check, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void
violation(struct check *check, const char *format, ...)
{
	char(*text)[VERIFY_TEXT_BYTES];
	va_list arguments;

	if (check->violations < INT_MAX)
		check->violations++;
	if (check->texts == NULL || check->texts->count == VERIFY_TEXTS_MAX)
		return;
	text = realloc(
	    check->texts->text, (check->texts->count + 1) * sizeof(*text));
	if (text == NULL)
		return;
	check->texts->text = text;
	va_start(arguments, format);
	(void)vsnprintf(
	    text[check->texts->count++], sizeof(*text), format, arguments);
	va_end(arguments);
}

static bool
still(const struct check *check, uint64_t slot, uint64_t word)
{
	return shm_load64_acquire(&check->m->slots[slot]) == word;
}

/* V4: while the entry of `slot` stays pinned and linked. */
static void
check_twin(struct check *check, const struct key *key, uint64_t slot,
    uint64_t word, uint64_t other)
{
	uint64_t seen = shm_load64_acquire(&check->m->slots[other]);
	struct entry entry;

	if (seen == 0 || (seen & INDEX_TENTATIVE) != 0 || other == slot ||
	    !index_pin(check->call, other, seen, SHM_PIN_RIVAL, &entry))
		return;
	if (entry.key_bytes == key->bytes &&
	    memcmp(entry.key, key->data, key->bytes) == 0 &&
	    still(check, slot, word))
		violation(check, "V4: slots %llu and %llu hold the same key",
		    (unsigned long long)slot, (unsigned long long)other);
	shm_pin_clear(check->call->peer, SHM_PIN_RIVAL);
}

/* V10; `from` was loaded before. */
static bool
is_from_later(const struct check *check, uint64_t from)
{
	return from > invalidate_now(check->m) && from != CACHE_SEQ_MAX;
}

/* V3, V4, V10 for an entry that is pinned. */
static void
check_key(struct check *check, uint64_t slot, uint64_t word,
    const struct entry *entry)
{
	struct shm_place place = { .generation = shm_arena_generation(
				       check->segment, entry->extent),
		.offset = entry->offset };
	struct key key;
	bool in_window = false;

	if (is_from_later(check, entry->seq))
		violation(check,
		    "V10: the entry of slot %llu was loaded after all that "
		    "was counted",
		    (unsigned long long)slot);
	index_entry_key(check->m, entry, &key);
	for (unsigned n = 0; n < INDEX_WINDOW; n++)
		in_window |= index_slot(&key, n) == slot;
	if (!in_window || index_word(&key, &place) != (word & ~INDEX_TENTATIVE))
		violation(check,
		    "V3: slot %llu holds a word of another key's hash",
		    (unsigned long long)slot);
	if ((word & INDEX_TENTATIVE) == 0)
		for (unsigned n = 0; n < INDEX_WINDOW; n++)
			check_twin(
			    check, &key, slot, word, index_slot(&key, n));
}

/* V1, V2 for a word whose extent is pinned and that was there after that. */
static void
check_pinned(struct check *check, uint64_t slot, uint64_t word, uint64_t offset,
    uint32_t number)
{
	struct shm_extent e = shm_arena_state(check->segment, number);
	uint32_t at =
	    (uint32_t)(offset - shm_arena_offset(check->segment, number));
	struct entry entry;

	if ((e.state != SHM_ACTIVE && e.state != SHM_SEALED &&
		e.state != SHM_EVICTING) ||
	    (e.generation & INDEX_GENERATION) !=
		(word >> INDEX_ADDRESS_BITS & INDEX_GENERATION)) {
		/* Unlinked since, perhaps: then it says nothing. */
		if (still(check, slot, word))
			violation(check,
			    "V1: slot %llu names extent %u, state %u, "
			    "generation %u",
			    (unsigned long long)slot, number, (unsigned)e.state,
			    e.generation);
		return;
	}
	if (!shm_arena_started(check->segment, number, e.generation, at) ||
	    !entry_open(check->m, offset, &entry)) {
		if (still(check, slot, word))
			violation(check,
			    "V2: slot %llu names no entry at %u of extent %u",
			    (unsigned long long)slot, at, number);
		return;
	}
	check_key(check, slot, word, &entry);
	if (check->linked != NULL && (word & INDEX_TENTATIVE) == 0)
		check->linked[number] += entry.bytes;
}

static void
check_slot(struct check *check, uint64_t slot)
{
	uint64_t offset, word = shm_load64_acquire(&check->m->slots[slot]);
	uint32_t number;

	if (word == 0 || word == INDEX_BLOCKED)
		return;
	if (!index_place(check->m, word, &offset, &number)) {
		violation(check, "V1: slot %llu names no place in the arena",
		    (unsigned long long)slot);
		return;
	}
	shm_pin_set(check->call->peer, SHM_PIN_ENTRY, number);
	if (still(check, slot, word))
		check_pinned(check, slot, word, offset, number);
	shm_pin_clear(check->call->peer, SHM_PIN_ENTRY);
}

/* V5. */
static void
check_extent(struct check *check, const struct shm_extent *e)
{
	const struct shm_request *r = &check->segment->geometry.request;

	if (e->state >= SHM_EXTENT_STATES || e->log >= r->log_count)
		violation(check, "V5: extent %u has state %u of log %u",
		    e->number, (unsigned)e->state, e->log);
	if (shm_arena_tail(check->segment, e->number, e->generation) >
	    r->extent_bytes)
		violation(check, "V5: extent %u has more bytes than it can",
		    e->number);
}

/* V6. */
static void
check_starts(struct check *check, const struct shm_extent *e)
{
	uint32_t tail =
	    shm_arena_tail(check->segment, e->number, e->generation);
	uint64_t base = shm_arena_offset(check->segment, e->number);
	uint32_t end = 0, at = 0;

	while ((at = shm_arena_next_start(check->segment, e->number,
		    e->generation, at, false)) != UINT32_MAX) {
		struct entry entry;

		if (at < end || !entry_open(check->m, base + at, &entry) ||
		    at + entry.bytes > tail) {
			violation(check,
			    "V6: the entry at %u of extent %u overlaps, or "
			    "passes the %u bytes reserved",
			    at, e->number, tail);
			return;
		}
		end = at + entry.bytes;
		at += SHM_UNIT_BYTES;
	}
}

/* V6 to V8. */
static void
check_extent_strict(struct check *check, const struct shm_extent *e)
{
	uint64_t linked = check->linked[e->number];
	uint32_t live =
	    shm_arena_live(check->segment, e->number, e->generation);
	uint32_t tail =
	    shm_arena_tail(check->segment, e->number, e->generation);

	if (e->state == SHM_FREE || e->state == SHM_LIMBO)
		return;
	check_starts(check, e);
	if (live < linked || live > tail)
		violation(check,
		    "V7: extent %u says %u live bytes; %llu are linked, %u "
		    "were reserved",
		    e->number, live, (unsigned long long)linked, tail);
	if (e->state == SHM_ACTIVE && !shm_arena_is_hinted(check->segment, e))
		violation(
		    check, "V8: no lane names the active extent %u", e->number);
}

/* V9. */
static void
check_peer(struct check *check, uint32_t slot)
{
	struct shm_peer_shared *peer = &shm_peer_table(check->segment)[slot];
	uint64_t claim = shm_load64_acquire(&peer->claim);

	if (shm_claim_state(claim) != SHM_CLAIM_FREE &&
	    shm_claim_process(claim) >=
		check->segment->geometry.request.process_count)
		violation(
		    check, "V9: peer slot %u is claimed by no process", slot);
}

/* V10. */
static void
check_words(struct check *check)
{
	const struct mapping *m = check->m;

	if (is_from_later(check, mapping_flushed(m)))
		violation(check, "V10: the flush word is above seq");
	for (uint64_t i = 0; i <= m->tag_mask; i++)
		if (is_from_later(check, shm_load64_acquire(&m->tags[i])))
			violation(check,
			    "V10: word %llu of the tags is above "
			    "seq",
			    (unsigned long long)i);
}

static void
check_all(struct check *check)
{
	const struct shm_request *r = &check->segment->geometry.request;
	uint64_t slots = check->m->bucket_count * INDEX_BUCKET_SLOTS;

	for (uint32_t i = 0; i < r->peer_count; i++)
		check_peer(check, i);
	check_words(check);
	for (uint64_t slot = 0; slot < slots; slot++)
		check_slot(check, slot);
	for (uint32_t i = 0; i < r->extent_count; i++) {
		struct shm_extent e = shm_arena_state(check->segment, i);

		check_extent(check, &e);
		if (check->linked != NULL)
			check_extent_strict(check, &e);
	}
}

int
verify(const struct call *call, enum shmcache_verify_mode mode,
    struct verify_texts *texts)
{
	struct check check = { .call = call,
		.m = call->m,
		.segment = call->m->segment,
		.texts = texts };

	if (mode == SHMCACHE_VERIFY_STRICT) {
		check.linked =
		    calloc(check.segment->geometry.request.extent_count,
			sizeof(uint64_t));
		if (check.linked == NULL)
			return -ENOMEM;
	}
	check_all(&check);
	free(check.linked);
	return check.violations;
}
