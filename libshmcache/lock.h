/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lock.h - named locks for applications
 *
 * A table of words (owner.h), each with the full name of what it locks:
 *
 *   FREE --> WRITING --> TENTATIVE --> HELD --> FREE
 *     CAS      the name,    look for      unlock, wake all
 *              then CAS     rivals, CAS
 *
 * The name is written by the owner of a WRITING word alone, and stays the same
 * until the word is FREE; who reads it looks at the word again.
 *
 * No name is HELD twice, as no key has two final words (index.h): whoever wants
 * it has its own TENTATIVE word in before it looks at all others; a HELD one of
 * the name: it withdraws, and waits for that; another TENTATIVE one further up: it
 * takes that away; one lower down: it withdraws and tries again, and after some
 * rounds takes that away too.  A word that was taken away cannot become HELD, as
 * that is a CAS.  tests/models/lock.pml.
 *
 * A HELD word whose owner has gone (owner.h) is taken over by one CAS, with its
 * name; WRITING and TENTATIVE words of the dead are freed when no other is.  A
 * lock has no deadline: one whose owner is stopped stays locked.
 *
 * Each acquisition gets a number that grows, so that what is guarded can refuse
 * whoever comes late, having been taken for dead.
 *
 * Killed anywhere: the word is its own until it is found to be gone.  Progress:
 * obstruction-free with bounded waits among those who want one name.
 */
#ifndef LIBSHMCACHE_LOCK_H
#define LIBSHMCACHE_LOCK_H

#include "libshmcache/cache.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

struct lock_shared {
	uint64_t word;
	uint32_t name_bytes;
	uint32_t looked; /* when a waiter asked for the owner (owner.h) */
	uint8_t name[SHMCACHE_LOCK_NAME_MAX];
};

static_assert(offsetof(struct lock_shared, name_bytes) == 8, "layout");
static_assert(offsetof(struct lock_shared, name) == 16, "layout");
static_assert(sizeof(struct lock_shared) == 256, "layout");

struct lock_name {
	const void *data;
	uint32_t bytes;
	uint64_t print; /* in its place in a word */
};

struct lock_name lock_name(
    const struct mapping *m, const void *data, size_t bytes);

enum lock_take {
	LOCK_TAKEN,
	LOCK_BUSY, /* *place_out, *word_out: what to wait for */
	LOCK_OWN,  /* this thread has it */
	LOCK_FULL
};

enum lock_take lock_take(const struct call *call, const struct lock_name *name,
    bool fresh, uint32_t *place_out, uint64_t *word_out);

/* False if it is not held any more. */
bool lock_release(const struct call *call, uint32_t place, uint64_t word);

#endif /* LIBSHMCACHE_LOCK_H */
