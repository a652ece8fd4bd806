/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* index.c - finding, putting and removing words of the index */
#include "libshmcache/index.h"

#include "libshmcache/key.h"
#include "libshmcache/stats.h"

/* Rounds that an inserter gives way to a rival lower down.  A rival that runs
   is done within one; after these it is taken to stand still. */
#define ROUNDS_MAX 8u

/* Longest wait of a round, in pauses of the processor: longer than an insert
   takes. */
#define PAUSES_MAX 256u

uint64_t
key_hash(const struct mapping *m, const void *data, size_t bytes)
{
	return XXH3_64bits_withSecret(
	    data, bytes, m->secret, CACHE_SECRET_BYTES);
}

void
index_key(const struct mapping *m, const void *data, size_t bytes,
    struct key *key_out)
{
	key_make(m, data, bytes, key_out);
}

int
index_enter(struct shmcache *cache, enum call_needs needs, const void *data,
    size_t bytes, struct call *call, struct key *key_out)
{
	int error;

	if (!index_is_key(data, bytes))
		return SHMCACHE_EKEY;
	error = call_enter(cache, needs, call);
	if (error == 0)
		key_make(call->m, data, bytes, key_out);
	return error;
}

uint64_t
index_word(const struct key *key, const struct shm_place *place)
{
	return key->tag |
	       (place->generation & INDEX_GENERATION) << INDEX_ADDRESS_BITS |
	       place->offset / SHM_UNIT_BYTES;
}

static inline bool
has_tag(uint64_t word, const struct key *key)
{
	return ((word ^ key->tag) & ~INDEX_TENTATIVE) >> INDEX_TAG_SHIFT == 0 &&
	       word != 0;
}

/*
 * Looks at a slot until it holds still: true if it names the key, finally or
 * (where `tentative` says so) tentatively; what it names is pinned then.
 */
SHM_INLINE bool
slot_is_key(const struct call *call, const struct key *key, uint64_t slot,
    unsigned pin, bool tentative, struct found *found)
{
	uint64_t *at = &call->m->slots[slot];

	for (;;) {
		uint64_t word = shm_load64_acquire(at); /* L */

		if (!has_tag(word, key) ||
		    (!tentative && (word & INDEX_TENTATIVE) != 0))
			return false;
		if (index_pin(call, slot, word, pin, &found->entry)) {
			found->slot = slot;
			found->word = word;
			if (index_same_key(&found->entry, key))
				return true;
			shm_pin_clear(call->peer, pin);
			return false;
		}
		if (shm_load64_acquire(at) == word)
			return false; /* damaged */
	}
}

/* By looking at slot after slot. */
static bool
search(const struct call *call, const struct key *key, unsigned pin,
    struct found *found_out)
{
	for (unsigned n = 0; n < INDEX_WINDOW; n++) {
		uint64_t slot = index_slot(key, n);

		if (has_tag(shm_load64(&call->m->slots[slot]), key) &&
		    slot_is_key(call, key, slot, pin, false, found_out))
			return true;
	}
	return false;
}

/* Most keys are where their tag shows first. */
bool
index_find(const struct call *call, const struct key *key, unsigned pin,
    struct found *found_out)
{
	uint64_t slot = index_look(call->m, key);

	return slot != UINT64_MAX &&
	       (slot_is_key(call, key, slot, pin, false, found_out) ||
		   search(call, key, pin, found_out));
}

bool
index_swap(const struct call *call, const struct found *found, uint64_t word)
{
	struct shm_segment *segment = call->m->segment;
	const struct entry *e = &found->entry;

	if (!shm_cas64(&call->m->slots[found->slot], found->word, word))
		return false;
	shm_store8(&e->shared->ref, ENTRY_DEAD);
	shm_arena_account(segment, e->extent,
	    shm_arena_generation(segment, e->extent), -(int64_t)e->bytes);
	return true;
}

bool
index_holds(const struct call *call, const struct key *key, uint64_t word,
    uint64_t *slot_out, uint64_t *seen_out)
{
	for (unsigned n = 0; n < INDEX_WINDOW; n++) {
		*slot_out = index_slot(key, n);
		*seen_out = shm_load64_acquire(&call->m->slots[*slot_out]);
		if ((*seen_out & ~INDEX_TENTATIVE) == word)
			return true;
	}
	return false;
}

bool
index_abort(const struct call *call, uint64_t slot, uint64_t word)
{
	if (!shm_cas64(&call->m->slots[slot], word, 0))
		return false;
	stats_count(call->peer, COUNT_tentative_aborts);
	return true;
}

/* An empty slot of the bucket, or UINT64_MAX; *used is how many are not. */
static uint64_t
empty_slot(const struct mapping *m, uint64_t first, unsigned *used)
{
	uint64_t empty = UINT64_MAX;

	*used = 0;
	for (unsigned i = INDEX_BUCKET_SLOTS; i-- > 0;) {
		if (shm_load64(&m->slots[first + i]) != 0)
			++*used;
		else
			empty = first + i;
	}
	return empty;
}

/* At home as long as it has room to spare, so that most look-ups touch one
   line; else in the emptier of the two. */
#define HOME_FULL 6u

static uint64_t
choose_slot(const struct mapping *m, const struct key *key)
{
	unsigned used_home, used_other;
	uint64_t home = empty_slot(m, key->first[0], &used_home);
	uint64_t other;

	if (used_home < HOME_FULL)
		return home;
	other = empty_slot(m, key->first[1], &used_other);
	return used_other < used_home ? other : home;
}

/* How dear an entry is: 0 can't be read any more, else 1 + its marks. */
static unsigned
entry_worth(const struct mapping *m, const struct entry *entry)
{
	return entry_valid(m, entry) ? 1u + shm_load8(&entry->shared->ref) : 0;
}

/* Every word of the window is being inserted, or is damaged: whatever this slot
   holds goes, so that there is room.  (No pin is needed: taking a word away is
   an eviction, whatever it means by then.) */
static void
take_away(const struct call *call, uint64_t slot)
{
	uint64_t word = shm_load64(&call->m->slots[slot]);

	if (word != 0 && word != INDEX_BLOCKED)
		(void)index_abort(call, slot, word);
}

/* What came of looking for a slot. */
enum claim {
	CLAIM_AGAIN, /* things have moved: start again */
	CLAIM_WON,
	CLAIM_FULL /* of what may not be evicted */
};

/* May it be displaced? */
static bool
is_lasting(const struct mapping *m, const struct entry *entry)
{
	return m->volatile_only && entry->expiry == NULL &&
	       entry_valid(m, entry);
}

/*
 * The window is full: finds the word to displace, one that names what cannot be
 * read any more, else what was read least; it is pinned.
 */
static enum claim
choose_victim(
    const struct call *call, const struct key *key, struct found *victim)
{
	unsigned start = shm_peer_random(call->peer) % INDEX_WINDOW;
	unsigned least = UINT32_MAX, lasting = 0;
	bool moved = false;

	for (unsigned i = 0; i < INDEX_WINDOW && least > 0 && !moved; i++) {
		uint64_t slot = index_slot(key, (start + i) % INDEX_WINDOW);
		uint64_t word = shm_load64_acquire(&call->m->slots[slot]);
		struct entry entry;
		unsigned worth;

		moved = word == 0;
		if (moved || (word & INDEX_TENTATIVE) != 0 ||
		    !index_pin(call, slot, word, SHM_PIN_RIVAL, &entry))
			continue;
		worth = entry_worth(call->m, &entry);
		if (is_lasting(call->m, &entry)) {
			lasting++;
		} else if (worth < least) {
			least = worth;
			victim->slot = slot;
			victim->word = word;
		}
	}
	shm_pin_clear(call->peer, SHM_PIN_RIVAL);
	if (moved)
		return CLAIM_AGAIN;
	if (least == UINT32_MAX && lasting > 0)
		return CLAIM_FULL;
	if (least == UINT32_MAX) {
		take_away(call, index_slot(key, start));
		return CLAIM_AGAIN;
	}
	return index_pin(call, victim->slot, victim->word, SHM_PIN_RIVAL,
		   &victim->entry)
		   ? CLAIM_WON
		   : CLAIM_AGAIN;
}

/* Step 2 where no slot is empty: take one from the least dear. */
static enum claim
displace(const struct call *call, const struct key *key, uint64_t word,
    uint64_t *slot_out)
{
	struct found victim;
	enum claim claim = choose_victim(call, key, &victim);
	bool readable, won;

	if (claim != CLAIM_WON)
		return claim;
	readable = entry_valid(call->m, &victim.entry);
	won = index_swap(call, &victim, word);
	shm_pin_clear(call->peer, SHM_PIN_RIVAL);
	if (won)
		stats_count(call->peer, !readable ? COUNT_evicted_expired
					: call->m->max_items != 0
					    ? COUNT_limit_evictions
					    : COUNT_index_evictions);
	*slot_out = victim.slot;
	return won ? CLAIM_WON : CLAIM_AGAIN;
}

/* Step 2. */
static enum claim
claim_slot(const struct call *call, const struct key *key, uint64_t word,
    uint64_t *slot_out)
{
	*slot_out = choose_slot(call->m, key);
	if (*slot_out == UINT64_MAX)
		return displace(call, key, word, slot_out);
	return shm_cas64(&call->m->slots[*slot_out], 0, word) ? CLAIM_WON
							      : CLAIM_AGAIN;
}

/* What step 3 says about the own tentative word. */
enum verdict {
	GO_ON,    /* no rival is left */
	WITHDRAW, /* the key has a final word */
	GIVE_WAY  /* a rival lower down comes first */
};

/* Step 3 for one other slot. */
static enum verdict
judge_rival(const struct call *call, const struct key *key, uint64_t own,
    uint64_t slot, bool patient)
{
	struct found rival;
	enum verdict verdict = GO_ON;

	while (verdict == GO_ON &&
	       slot_is_key(call, key, slot, SHM_PIN_RIVAL, true, &rival)) {
		if ((rival.word & INDEX_TENTATIVE) == 0)
			verdict = WITHDRAW;
		else if (slot < own && patient)
			verdict = GIVE_WAY;
		else
			(void)index_abort(call, slot, rival.word);
		shm_pin_clear(call->peer, SHM_PIN_RIVAL);
	}
	return verdict;
}

static enum verdict
judge_window(
    const struct call *call, const struct key *key, uint64_t own, bool patient)
{
	enum verdict verdict = GO_ON;

	for (unsigned n = 0; n < INDEX_WINDOW && verdict == GO_ON; n++) {
		uint64_t slot = index_slot(key, n);

		if (slot != own)
			verdict = judge_rival(call, key, own, slot, patient);
	}
	return verdict;
}

static void
back_off(struct shm_peer *peer, unsigned round)
{
	unsigned most = 8u << (round < 5 ? round : 5);

	for (unsigned i = shm_peer_random(peer) %
			  (most < PAUSES_MAX ? most : PAUSES_MAX);
	     i > 0; i--)
		shm_pause();
}

static bool
is_refused(
    const struct call *call, const struct key *key, const struct token *token)
{
	return token != NULL && !token_is_current(call->m, key->hash, token);
}

/* Steps 2 to 4.  CLAIM_WON: the word is final. */
static enum claim
insert(const struct call *call, const struct key *key, uint64_t word,
    const struct token *token, unsigned round)
{
	uint64_t slot, tentative = word | INDEX_TENTATIVE;
	enum claim claim = claim_slot(call, key, tentative, &slot);
	enum verdict verdict;

	if (claim != CLAIM_WON)
		return claim;
	verdict = judge_window(call, key, slot, round < ROUNDS_MAX);
	if (verdict == GO_ON && is_refused(call, key, token)) /* K2 */
		verdict = WITHDRAW;
	if (verdict == GO_ON) {
		if (shm_cas64(&call->m->slots[slot], tentative, word))
			return CLAIM_WON;
		verdict = GIVE_WAY; /* a rival took it away */
	} else {
		(void)shm_cas64(&call->m->slots[slot], tentative, 0);
	}
	if (verdict == GIVE_WAY)
		back_off(call->peer, round);
	return CLAIM_AGAIN;
}

/* May the found entry still be read?  If it is to be judged for good, it is
   frozen: a touch that was acknowledged counts, a later one goes by replacing. */
static bool
is_readable(const struct call *call, const struct found *found, bool for_good)
{
	bool readable = entry_visible(call->m, &found->entry);

	if (for_good && !readable) {
		(void)entry_freeze(&found->entry);
		readable = entry_visible(call->m, &found->entry);
	}
	return readable;
}

/* May the word take the place of the found entry? */
static bool
may_replace(const struct call *call, const struct found *old, bool readable,
    const struct put_rule *rule)
{
	if (rule->token != NULL &&
	    entry_version(call->m, &old->entry) != rule->token->version)
		return false;
	return !rule->only_new || !readable;
}

enum index_put
index_put(const struct call *call, const struct key *key, uint64_t word,
    const struct put_rule *rule)
{
	const struct found *old = rule->found;
	struct found own;

	for (unsigned round = 0;; round++) {
		if (old == NULL && index_find(call, key, SHM_PIN_ENTRY, &own))
			old = &own;
		if (old != NULL) {
			bool readable = is_readable(call, old, rule->only_new);
			bool refused =
			    !may_replace(call, old, readable, rule) ||
			    is_refused(call, key, rule->token);
			bool won = !refused && index_swap(call, old, word);

			shm_pin_clear(call->peer, SHM_PIN_ENTRY);
			if (refused)
				return PUT_REFUSED;
			if (won)
				return readable ? PUT_REPLACED : PUT_NEW;
			old = NULL; /* it has changed: look again */
		} else if (is_refused(call, key, rule->token)) {
			return PUT_REFUSED;
		} else {
			enum claim claim =
			    insert(call, key, word, rule->token, round);

			if (claim != CLAIM_AGAIN)
				return claim == CLAIM_WON ? PUT_NEW : PUT_FULL;
			stats_count(call->peer, COUNT_insert_retries);
		}
	}
}

/* Takes tentative words of the key out of one slot, or a final one, which is then
   the last; 1 if that could be read, 0 if not, -1 if there was none. */
static int
clear_slot(const struct call *call, const struct key *key, uint64_t slot)
{
	struct found found;

	while (slot_is_key(call, key, slot, SHM_PIN_ENTRY, true, &found)) {
		bool tentative = (found.word & INDEX_TENTATIVE) != 0;
		bool readable = entry_visible(call->m, &found.entry);
		bool won = tentative ? index_abort(call, slot, found.word)
				     : index_swap(call, &found, 0);

		shm_pin_clear(call->peer, SHM_PIN_ENTRY);
		if (won && !tentative)
			return readable;
	}
	return -1;
}

bool
index_remove(const struct call *call, const struct key *key)
{
	int removed = -1;

	shm_fence(); /* W1 */
	token_bump(call->m, key->hash);
	for (unsigned n = 0; n < INDEX_WINDOW && removed < 0; n++)
		removed = clear_slot(call, key, index_slot(key, n));
	return removed > 0;
}
