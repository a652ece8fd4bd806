/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ghost.c - the table of fingerprints */
#include "libshmcache/ghost.h"

/* The lowest bit of a ghost says which log it left, the others are its print, or
   that it was taken; 0 is an empty place. */
#define GHOST_BITS (GHOST_PRINT_BITS + 1)
#define GHOST_MASK ((1ull << GHOST_BITS) - 1)
#define OF_MAIN    1u
#define TAKEN      ((1ull << GHOST_PRINT_BITS) - 1)
#define PRINTS     (TAKEN - 1) /* but for 0 and TAKEN */
#define WORD_BITS  (GHOST_BITS * GHOSTS_PER_WORD)
#define WORD_MASK  ((1ull << WORD_BITS) - 1)

static uint64_t *
word_of(const struct mapping *m, const struct key *key)
{
	return &m->ghosts[((key->hash >> 32) * m->ghost_words) >> 32];
}

static uint64_t
print_of(const struct key *key)
{
	return 1 + key->hash % PRINTS;
}

/* The place of the print in the word, as a shift; or WORD_BITS. */
static unsigned
find(uint64_t word, uint64_t print)
{
	unsigned shift = 0;

	while (shift < WORD_BITS && (word >> shift & GHOST_MASK) >> 1 != print)
		shift += GHOST_BITS;
	return shift;
}

void
ghost_add(const struct mapping *m, const struct key *key, bool of_main)
{
	uint64_t *word = word_of(m, key);
	uint64_t old = shm_load64(word), print = print_of(key);
	uint64_t ghost = print << 1 | (of_main ? OF_MAIN : 0);

	if (find(old, print) == WORD_BITS)
		(void)shm_cas64(
		    word, old, (old << GHOST_BITS | ghost) & WORD_MASK);
}

/* How far its newest pulls. */
static int
pull_of(uint64_t word)
{
	bool of_main = (word & OF_MAIN) != 0;
	int others = 0;

	while ((word >>= GHOST_BITS) != 0)
		others += ((word & OF_MAIN) != 0) != of_main;
	return of_main ? -others : others;
}

struct ghost
ghost_take(const struct mapping *m, const struct key *key)
{
	uint64_t *word = word_of(m, key);
	uint64_t old = shm_load64(word);
	unsigned shift = find(old, print_of(key));
	struct ghost ghost = { .there = shift < WORD_BITS };

	if (!ghost.there)
		return ghost;
	ghost.of_main = (old >> shift & OF_MAIN) != 0;
	ghost.pull = shift == 0 ? pull_of(old & WORD_MASK) : 0;
	(void)shm_cas64(word, old, old | TAKEN << (shift + 1));
	return ghost;
}
