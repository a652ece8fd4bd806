/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * token.h - nothing that was loaded before a key was written is stored after it
 *
 * A table of words {fingerprint 24, count 40}, found by the key's hash.  Counts
 * only grow, so a word that is the same has not changed.
 *
 *   leader (load.h)                       delete, set, and all that stores
 *   K1: install: the word has the key's   W1: full fence (what the caller did to
 *       fingerprint: note it; else            the source comes before)
 *       CAS {own, count + 1}              W2: the word has the key's fingerprint:
 *   look the key up: its version              CAS count + 1
 *   load the value                        W3: unlink or replace, by CAS; a delete
 *   fill, by index_put():                     also takes the key's tentative
 *     a final word: of that version,          words away
 *       the token as noted? CAS to ours
 *     none: a tentative word by CAS
 *   K2: the token as noted? CAS to final
 *   stored: CAS count + 1
 *
 * K1 with W2: a writer that finds another's fingerprint came before the install,
 * so the load that follows sees what it did to the source.  K2 with W3: the
 * tentative word is in (CAS, full fence) before K2 looks, and the writer has
 * changed the token before it looks at the window: either the fill sees the
 * change and withdraws, or the writer sees the word and takes it away, or finds
 * it final and unlinks or replaces that.  A word that was taken away cannot
 * become final, and the fill looks at the token again each time it starts again.
 *
 * (A set may have found the final word before W1.  Its CAS succeeds only if that
 * is still there: then no fill has come in between, and a tentative word cannot
 * become final beside it.)
 *
 * Only the key's own fingerprint is bumped, so sets of other keys refuse no slow
 * load.  Another leader's install in the same word does: a fill that is refused
 * for it costs a value that is not stored.  A fill bumps too, so that of two
 * leaders (one was taken for dead) the older cannot follow the newer; so does a
 * leader that ends without one, so that no token is filled twice.
 *
 * tests/models/token.pml has all of it, with mutants.  Killed anywhere: the word
 * was changed, or not; nothing is held.
 *
 * Whole groups of keys (delete by prefix) bump every word first.  A flush does
 * not come here: what a fill stores carries the seq of its beginning (entry.h).
 */
#ifndef LIBSHMCACHE_TOKEN_H
#define LIBSHMCACHE_TOKEN_H

#include "libshmcache/mapping.h"
#include "shm/atomic.h"

#include <stdbool.h>
#include <stdint.h>

#define TOKEN_FINGERPRINT (~0ull << 40)

/* What a leader notes of a key when it begins. */
struct token {
	uint64_t word;
	uint64_t version; /* of the entry that the key had; 0: none */
};

static inline uint64_t
token_fingerprint(uint64_t hash)
{
	return hash << 40;
}

static inline uint64_t *
token_at(const struct mapping *m, uint64_t hash)
{
	return &m->tokens[(hash >> 24) & m->token_mask];
}

/* K1. */
static inline uint64_t
token_install(const struct mapping *m, uint64_t hash)
{
	uint64_t *at = token_at(m, hash);

	for (;;) {
		uint64_t word = shm_load64_acquire(at), own;

		if (((word ^ token_fingerprint(hash)) & TOKEN_FINGERPRINT) == 0)
			return word;
		own =
		    token_fingerprint(hash) | ((word + 1) & ~TOKEN_FINGERPRINT);
		if (shm_cas64(at, word, own))
			return own;
	}
}

/* W2.  After a full fence, before the key's word changes. */
static inline void
token_bump(const struct mapping *m, uint64_t hash)
{
	uint64_t *at = token_at(m, hash);

	for (;;) {
		uint64_t word = shm_load64(at);

		if (((word ^ token_fingerprint(hash)) & TOKEN_FINGERPRINT) !=
			0 ||
		    shm_cas64(at, word, word + 1))
			return;
	}
}

/* The same for every key, with W1: each fetch-and-add is a full fence. */
static inline void
token_bump_all(const struct mapping *m)
{
	for (uint64_t i = 0; i <= m->token_mask; i++)
		(void)shm_faa64(&m->tokens[i], 1);
}

/* K2. */
static inline bool
token_is_current(
    const struct mapping *m, uint64_t hash, const struct token *token)
{
	return shm_load64_acquire(token_at(m, hash)) == token->word;
}

/* After the fill, or what ends a load without one; another's change is as good.
   Returns what the word is then, or what it was. */
static inline uint64_t
token_spend(const struct mapping *m, uint64_t hash, uint64_t word)
{
	return shm_cas64(token_at(m, hash), word, word + 1) ? word + 1 : word;
}

#endif /* LIBSHMCACHE_TOKEN_H */
