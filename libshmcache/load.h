/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * load.h - loading through the cache: the steps within a call
 *
 *   look     what is there: a fresh value, one that is due to be refreshed, a
 *            stale one, a negative entry, nothing
 *   ask      the filter, if that is wanted, whether the key exists at all
 *   take     the key's lease (lease.h), the token (token.h); look once more, for
 *            the last leader may have stored it since; then the limits
 *   load     outside of any call, with nothing pinned (api_load.c)
 *   fill     store it if the token is still good; spend that; give the lease back
 *
 * Limits.  Loads at once: who has taken the lease, or a word of its own where it
 * loads without, counts the words that are held, and gives its own back if these
 * are too many (lease.h).  Loads per second: a token bucket in one word of the
 * segment (rate.h; CAS), whose depth is a tenth of a second's loads.  Killed after
 * the CAS: one load less.  Those of one key: the same, in a word beside its lease.
 *
 * Killed as a leader: the lease is taken over; anywhere else: nothing is left.
 */
#ifndef LIBSHMCACHE_LOAD_H
#define LIBSHMCACHE_LOAD_H

#include "libshmcache/index.h"
#include "libshmcache/lease.h"
#include "libshmcache/shmcache.h"

/* A load under way, or a call that may come to it. */
struct load {
	struct shmcache_load_options options; /* defaults filled in */
	struct shmcache_token token;          /* once it leads */
	struct lease lease;                   /* what it holds or waits for */
	struct shmcache_value old;            /* what was there, copied */
	uint64_t version;                     /* of the entry that is there */
	bool may_return_old;                  /* though no load has failed */
	bool fresh;                           /* ask the kernel for owners */
};

enum load_step {
	LOAD_DONE,  /* `old` is the answer */
	LOAD_LEAD,  /* load it */
	LOAD_WAIT,  /* another does; `lease` is what to wait for */
	LOAD_ALONE, /* load it, without lease or token to be had */
	LOAD_ERROR  /* *error_out is the answer */
};

/* Takes options of any version's struct, or NULL.  -EINVAL. */
int load_options(const struct shmcache_load_options *given,
    struct shmcache_load_options *options_out);

/* One try: look, and take what has to be taken. */
enum load_step load_try(const struct call *call, const struct key *key,
    struct load *load, int *error_out);

/* Begin without the key's lease (another's is not waited for any more), but with
   a word that counts as a load.  0, or an error if a limit forbids it. */
int load_begin_alone(
    const struct call *call, const struct key *key, struct load *load);

/* End a load, as shmcache_fill(). */
int load_fill(const struct call *call, const struct key *key,
    const struct shmcache_token *token, int result,
    const struct shmcache_loaded *loaded,
    const struct shmcache_load_options *options);

/* The same as shmcache_abandon(). */
int load_abandon(const struct call *call, const struct shmcache_token *token);

/* What a call gets that the limits keep from loading: 0, `old` is the answer. */
int load_limited(const struct load *load);

/* Bytes that a loader may give: -EINVAL if not. */
int load_check(int result, const struct shmcache_loaded *loaded);

/* Count one who has waited since then (latency_begin()).  Not within a call. */
void load_count_wait(struct shmcache *cache, uint64_t began_ns);

/* Count a stale value that is returned, whatever led to it.  As above. */
void load_count_stale(struct shmcache *cache);

#endif /* LIBSHMCACHE_LOAD_H */
