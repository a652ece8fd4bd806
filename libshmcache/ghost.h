/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ghost.h - fingerprints of keys that left probation unread
 *
 * A table of words, each a queue of five fingerprints of 12 bits: the newest is
 * shifted in, the oldest falls out.  A key's hash names its word and its
 * fingerprint, so a stranger is taken for a ghost once in 800 times, which only
 * spares it the probation.
 *
 * A word stands for itself and is changed by one CAS, tried once: what is lost
 * to a race or a kill is a ghost.  Nothing is freed and nothing can leak.
 *
 * Five to a word: their lives then differ by 45 % (Erlang), and a ghost takes
 * 1.6 bytes.
 */
#ifndef LIBSHMCACHE_GHOST_H
#define LIBSHMCACHE_GHOST_H

#include "libshmcache/index.h"

#define GHOSTS_PER_WORD 5u

void ghost_add(const struct mapping *m, const struct key *key);

/* Was it there?  It is no more. */
bool ghost_take(const struct mapping *m, const struct key *key);

#endif /* LIBSHMCACHE_GHOST_H */
