/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ghost.c - the table of fingerprints */
#include "libshmcache/ghost.h"

#define PRINT_BITS 12u
#define PRINT_MASK ((1ull << PRINT_BITS) - 1)
#define WORD_MASK  ((1ull << PRINT_BITS * GHOSTS_PER_WORD) - 1)

static uint64_t *
word_of(const struct mapping *m, const struct key *key)
{
	return &m->ghosts[((key->hash >> 32) * m->ghost_words) >> 32];
}

/* Never 0, which is an empty place. */
static uint64_t
print_of(const struct key *key)
{
	return 1 + key->hash % PRINT_MASK;
}

/* The place of the print in the word, as a shift; or PRINT_BITS * 5. */
static unsigned
find(uint64_t word, uint64_t print)
{
	unsigned shift = 0;

	while (shift < PRINT_BITS * GHOSTS_PER_WORD &&
	       (word >> shift & PRINT_MASK) != print)
		shift += PRINT_BITS;
	return shift;
}

void
ghost_add(const struct mapping *m, const struct key *key)
{
	uint64_t *word = word_of(m, key);
	uint64_t old = shm_load64(word), print = print_of(key);

	if (find(old, print) == PRINT_BITS * GHOSTS_PER_WORD)
		(void)shm_cas64(
		    word, old, (old << PRINT_BITS | print) & WORD_MASK);
}

bool
ghost_take(const struct mapping *m, const struct key *key)
{
	uint64_t *word = word_of(m, key);
	uint64_t old = shm_load64(word);
	unsigned shift = find(old, print_of(key));
	uint64_t newer = old & ((1ull << shift) - 1);

	if (shift == PRINT_BITS * GHOSTS_PER_WORD)
		return false;
	(void)shm_cas64(
	    word, old, newer | old >> (shift + PRINT_BITS) << shift);
	return true;
}
