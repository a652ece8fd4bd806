/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ghost.h - fingerprints of keys that were evicted
 *
 * A table of words, each a queue of five: a fingerprint of 11 bits, and whether
 * the key left probation or the main log.  The newest is shifted in, the oldest
 * falls out.  A key's hash names its word and its fingerprint, so a stranger is
 * taken for a ghost once in 400 times, which only spares it the probation.
 *
 * A word stands for itself and is changed by one CAS, tried once: what is lost
 * to a race or a kill is a ghost.  Nothing is freed and nothing can leak.
 *
 * Five to a word: their lives then differ by 45 % (Erlang), and a ghost takes
 * 1.6 bytes.
 *
 * Which log wants room?  The keys of which a larger share comes back soon after
 * they have left it.  A word tells by itself: where its newest is taken, the
 * others are a sample of what left beside it.  So a return pulls by the number
 * of those that left the other log, and over all words the pulls of the two
 * cancel where equal shares of both come back.  What is taken keeps its place
 * until it falls out: without those that came back it would be no sample.
 */
#ifndef LIBSHMCACHE_GHOST_H
#define LIBSHMCACHE_GHOST_H

#include "libshmcache/index.h"

#define GHOSTS_PER_WORD  5u
#define GHOST_PRINT_BITS 11u

struct ghost {
	bool there;
	bool of_main; /* it left the main log, not probation */
	int pull;     /* -4 to 4; above 0: probation should grow */
};

void ghost_add(const struct mapping *m, const struct key *key, bool of_main);

/* Was it there?  It is no more. */
struct ghost ghost_take(const struct mapping *m, const struct key *key);

#endif /* LIBSHMCACHE_GHOST_H */
