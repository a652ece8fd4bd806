/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* filter.c - see filter.h */
#define XXH_INLINE_ALL /* for xxhash.h */
#include "libshmcache/filter.h"

#include "libshmcache/stats.h"
#include "shm/error.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

#define BITS ((1ull << FILTER_WORD_BITS) - 1)
#define OFF  (1u << 31)

/* A state that changes at each of so many looks is taken for none. */
#define LOOKS_MAX 1000u

/* Any load above this has more than half false positives. */
#define ITEMS_PER_LINE_MAX 200.0

/* The state, taken apart. */
struct state {
	uint64_t words[2];
	uint32_t used; /* generation in use; OFF set: switched off */
	uint32_t built;
	uint32_t used_seed;
	uint32_t built_seed;
};

static struct state
state_of(uint32_t used, uint32_t used_seed, uint32_t built, uint32_t built_seed)
{
	return (struct state){ .words = { (uint64_t)built << 32 | used,
				   (uint64_t)built_seed << 32 | used_seed },
		.used = used,
		.built = built,
		.used_seed = used_seed,
		.built_seed = built_seed };
}

/* Both words of one moment: the first never comes back. */
static struct state
load_state(const struct mapping *m)
{
	const uint64_t *words = m->filter->state;

	for (unsigned look = 0; look < LOOKS_MAX; look++) {
		uint64_t first = shm_load64_acquire(&words[0]);
		uint64_t second = shm_load64_acquire(&words[1]);

		if (shm_load64_acquire(&words[0]) == first)
			return state_of((uint32_t)first, (uint32_t)second,
			    (uint32_t)(first >> 32), (uint32_t)(second >> 32));
	}
	return state_of(0, 0, 0, 0);
}

static bool
swap_state(const struct mapping *m, const struct state *from, struct state to)
{
	return shm_cas128(m->filter->state, from->words, to.words);
}

static bool
in_use(const struct state *s)
{
	return s->used != 0 && (s->used & OFF) == 0;
}

static uint64_t *
half_of(const struct mapping *m, uint32_t generation)
{
	uint64_t *words = (uint64_t *)(m->filter + 1);

	return words + (generation & 1) * m->filter_lines * FILTER_LINE_WORDS;
}

static uint16_t
tag_of(uint32_t generation)
{
	return (uint16_t)(generation >> 1);
}

/* Neither in use (be it switched off) nor being built any more. */
static bool
is_over(const struct mapping *m, uint32_t generation)
{
	uint64_t state = shm_load64(&m->filter->state[0]);

	return generation != (uint32_t)(state >> 32) &&
	       generation != ((uint32_t)state & ~OFF);
}

/* A word with the bits of this generation.  Where its tag is another, that is an
   older one's unless the generation is over: a newer one's is written after the
   state names that, and the state is looked at after the word. */
static void
set_bits(
    const struct mapping *m, uint64_t *word, uint32_t generation, uint64_t bits)
{
	uint64_t tag = tag_of(generation);

	for (;;) {
		uint64_t old = shm_load64_acquire(word);
		bool own = old >> FILTER_WORD_BITS == tag;
		uint64_t now = (own ? old & BITS : 0) | bits;

		if ((own ? (old & BITS) == now : is_over(m, generation)) ||
		    shm_cas64(word, old, tag << FILTER_WORD_BITS | now))
			return;
	}
}

/* A key's line, and its bit in each word of it. */
struct spot {
	uint64_t line;
	uint64_t bits[FILTER_LINE_WORDS];
};

static struct spot
spot_of(
    const struct mapping *m, uint32_t seed, const void *key, size_t key_bytes)
{
	/* Of the split block filter of Parquet. */
	static const uint32_t salts[FILTER_LINE_WORDS] = { 0x47b6137bu,
		0x44974d91u, 0x8824ad5bu, 0xa2b7289du, 0x705495c7u, 0x2df1424bu,
		0x9efc4947u, 0x5c6bfb31u };
	uint64_t hash = XXH3_64bits_withSeed(
	    key, key_bytes, seed * UINT64_C(0x9e3779b97f4a7c15));
	struct spot spot = { .line = ((hash >> 32) * m->filter_lines) >> 32 };

	for (unsigned i = 0; i < FILTER_LINE_WORDS; i++) {
		uint32_t part = ((uint32_t)hash * salts[i]) >> 16;

		spot.bits[i] = 1ull << (part * FILTER_WORD_BITS >> 16);
	}
	return spot;
}

static bool
has_bits(const struct mapping *m, const struct state *s, const void *key,
    size_t bytes)
{
	struct spot spot = spot_of(m, s->used_seed, key, bytes);
	const uint64_t *line =
	    half_of(m, s->used) + spot.line * FILTER_LINE_WORDS;
	uint64_t tag = tag_of(s->used);
	bool has = true;

	for (unsigned i = 0; i < FILTER_LINE_WORDS; i++) {
		uint64_t word = shm_load64(&line[i]);

		has &= word >> FILTER_WORD_BITS == tag &&
		       (word & spot.bits[i]) != 0;
	}
	return has;
}

bool
filter_may_have(const struct call *call, const void *key, size_t bytes)
{
	const struct mapping *m = call->m;
	bool may_have = true;

	if (m->filter == NULL)
		return true;
	for (;;) {
		struct state s = load_state(m);

		if (!in_use(&s))
			return true;
		may_have = has_bits(m, &s, key, bytes);
		shm_fence_acquire(); /* F */
		if (may_have ||
		    (uint32_t)shm_load64(&m->filter->state[0]) == s.used)
			break;
	}
	if (call->peer != NULL)
		stats_count(call->peer,
		    may_have ? COUNT_filter_passes : COUNT_filter_rejects);
	return may_have;
}

static int
check_room(const struct mapping *m)
{
	return m->filter != NULL
		   ? 0
		   : shm_error_note(-ENOTSUP,
			 "the cache has no room for a filter: create it with "
			 "filter_items");
}

static int
refuse_build(void)
{
	return shm_error_note(
	    SHMCACHE_ESTALE, "another build of the filter has begun since");
}

int
filter_begin(const struct mapping *m, uint32_t seed, uint32_t *generation_out)
{
	int error = check_room(m);
	struct state s;
	uint32_t next;

	if (error != 0)
		return error;
	do {
		uint32_t used;

		s = load_state(m);
		used = s.used & ~OFF;
		next = (s.built > used ? s.built : used) + 1;
		next += ((next ^ used) & 1) == 0;
	} while (!swap_state(m, &s, state_of(s.used, s.used_seed, next, seed)));
	for (uint64_t i = 0; i < m->filter_lines * FILTER_LINE_WORDS; i++)
		set_bits(m, half_of(m, next) + i, next, 0);
	*generation_out = next;
	return 0;
}

static void
add_to(const struct mapping *m, uint32_t generation, uint32_t seed,
    const void *key, size_t bytes)
{
	struct spot spot = spot_of(m, seed, key, bytes);
	uint64_t *line = half_of(m, generation) + spot.line * FILTER_LINE_WORDS;

	for (unsigned i = 0; i < FILTER_LINE_WORDS; i++)
		set_bits(m, &line[i], generation, spot.bits[i]);
}

int
filter_add(
    const struct mapping *m, uint32_t generation, const void *key, size_t bytes)
{
	int error = check_room(m);
	struct state s;

	if (error != 0)
		return error;
	shm_fence();
	s = load_state(m);
	if (generation != 0 && generation != s.built && generation != s.used)
		return refuse_build();
	if (s.built != 0 && (generation == 0 || generation == s.built))
		add_to(m, s.built, s.built_seed, key, bytes);
	if (in_use(&s) && (generation == 0 || generation == s.used))
		add_to(m, s.used, s.used_seed, key, bytes);
	return 0;
}

int
filter_publish(const struct mapping *m, uint32_t generation)
{
	int error = check_room(m);
	struct state s;

	if (error != 0)
		return error;
	do {
		s = load_state(m);
		if (s.built != generation)
			return refuse_build();
	} while (!swap_state(m, &s, state_of(generation, s.built_seed, 0, 0)));
	return 0;
}

int
filter_drop(const struct mapping *m)
{
	int error = check_room(m);
	struct state s;

	if (error != 0)
		return error;
	do {
		s = load_state(m);
	} while (in_use(&s) && !swap_state(m, &s,
				   state_of(s.used | OFF, s.used_seed, s.built,
				       s.built_seed)));
	return 0;
}

int
filter_copy(
    const struct mapping *m, struct filter_file *header, uint64_t *words)
{
	struct state s = load_state(m);
	const uint64_t *half = half_of(m, s.used);
	uint64_t count = m->filter_lines * FILTER_LINE_WORDS;
	uint64_t tag = tag_of(s.used);

	if (!in_use(&s))
		return shm_error_note(SHMCACHE_ENOENT, "no filter is in use");
	for (uint64_t i = 0; i < count; i++) {
		uint64_t word = shm_load64(&half[i]);

		words[i] = word >> FILTER_WORD_BITS == tag ? word & BITS : 0;
	}
	shm_fence_acquire(); /* F */
	if ((uint32_t)shm_load64(&m->filter->state[0]) != s.used)
		return -EAGAIN;
	*header = (struct filter_file){ .magic = FILTER_MAGIC,
		.version = FILTER_VERSION,
		.seed = s.used_seed,
		.lines = m->filter_lines,
		.items = m->filter->items };
	header->checksum = filter_checksum(header, words);
	return 0;
}

uint64_t
filter_checksum(const struct filter_file *header, const uint64_t *words)
{
	struct filter_file bare = *header;

	bare.checksum = 0;
	return XXH3_64bits_withSeed(words,
	    header->lines * FILTER_LINE_WORDS * sizeof(*words),
	    XXH3_64bits(&bare, sizeof(bare)));
}

void
filter_fill(const struct mapping *m, uint32_t generation, const uint64_t *words)
{
	uint64_t *half = half_of(m, generation);

	for (uint64_t i = 0; i < m->filter_lines * FILTER_LINE_WORDS; i++)
		if (words[i] != 0)
			set_bits(m, &half[i], generation, words[i] & BITS);
}

uint64_t
filter_error_ppm(const struct mapping *m)
{
	struct state s;
	const uint64_t *half;
	double sum = 0;

	s = load_state(m);
	if (!in_use(&s))
		return 0;
	half = half_of(m, s.used);
	for (uint64_t line = 0; line < m->filter_lines; line++) {
		double all = 1;

		for (unsigned i = 0; i < FILTER_LINE_WORDS; i++) {
			uint64_t word =
			    shm_load64(&half[line * FILTER_LINE_WORDS + i]);
			bool has = word >> FILTER_WORD_BITS == tag_of(s.used);

			all *= (double)__builtin_popcountll(
				   has ? word & BITS : 0) /
			       FILTER_WORD_BITS;
		}
		sum += all;
	}
	return (uint64_t)(sum / (double)m->filter_lines * 1e6 + 0.5);
}

/* Share of false positives with so many items in a line on average: lines get a
   Poisson-distributed number of them, and with i of them a word has a bit with
   1 - (1 - 1/48)^i. */
static double
expected_error(double per_line)
{
	double weight = 1, weights = 0, error = 0, clear = 1;

	for (unsigned i = 0; i < 1000; i++) {
		double set = 1 - clear;

		weights += weight;
		set *= set;
		set *= set;
		error += weight * set * set;
		weight *= per_line / (i + 1);
		clear *= 1 - 1.0 / FILTER_WORD_BITS;
	}
	return error / weights;
}

uint64_t
filter_lines(uint64_t items, uint32_t error_ppm)
{
	double low = 0, high = ITEMS_PER_LINE_MAX, lines;

	if (items == 0)
		return 0;
	for (unsigned i = 0; i < 40; i++) {
		double middle = (low + high) / 2;

		if (expected_error(middle) * 1e6 <= error_ppm)
			low = middle;
		else
			high = middle;
	}
	lines = (double)items / low + 1;
	return lines > (double)FILTER_LINES_MAX ? FILTER_LINES_MAX
						: (uint64_t)lines;
}
