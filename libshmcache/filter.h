/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * filter.h - what surely does not exist: a Bloom filter in the segment
 *
 * Asked before a load, it spares the source look-ups of keys that the source
 * does not have.  A split block filter (Putze, Sanders and Singler 2007, as in
 * Parquet): a key is one bit in each of the 8 words of one cache line, so a
 * look-up touches one line.
 *
 * A word is {tag 16, bits 48}.  There are two halves: that of the filter in use,
 * and that of the one being built; a generation's half is its lowest bit, its
 * tag the next 16.  A word with another tag has no bits for this generation, so
 * nobody ever clears anything that somebody else may have come to use: who is
 * killed leaves bits, and who was stopped and goes on finds newer tags.
 *
 *   state  {generation being built 32, in use 32 (top bit: switched off)}
 *          {seed 32, seed 32}, changed by one CAS of both words
 *   begin    {a, n} -> {a, g}: g above both, of the half that is not a's; then
 *            every word of that half that is older becomes {g, 0}, by CAS, so
 *            that none is left whose tag would come to mean another
 *   add      fence; look at the state; set the bits, by CAS, in each generation
 *            that it names: if the word has another tag, look at the state again:
 *            if it still names the generation, the tag is older, and is
 *            replaced; else the generation is over, and nothing is to be done.
 *            (Tags are not compared: a half in use keeps its own, however many
 *            builds of the other are begun.)
 *   publish  {a, g} -> {g, 0}; refused if another build has begun meanwhile
 *   check    look at the state; the bits of its generation; if one is missing,
 *            [F] acquire fence, look at the state again: if it is another, begin
 *            anew.  For the words of a generation in use can only be overwritten
 *            by those of a later one of its half, which begins when it is not in
 *            use any more.
 *
 * No key is lost when filters are swapped.  The builder begins, then reads its
 * list; an adder has made its key part of the list, then looks at the state.
 * Both have a full fence in between: either the list has the key, or the adder
 * sees the build and adds to it too.
 *
 * Killed: begin, a build that nobody finishes, and that the next one replaces;
 * add, some bits of a key; publish: done or not.  Nobody waits for anybody.
 *
 * Assumed: nobody stops in the middle of an add while the filter is rebuilt
 * 65,536 times.
 */
#ifndef LIBSHMCACHE_FILTER_H
#define LIBSHMCACHE_FILTER_H

#include "libshmcache/cache.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FILTER_LINE_WORDS 8u
#define FILTER_WORD_BITS  48u
#define FILTER_LINES_MAX  (1ull << 31)

struct filter_shared {
	uint64_t state[2];
	uint64_t items;     /* what it was sized for; constants */
	uint64_t error_ppm; /* false positives then, of a million */
	uint64_t pad[4];
	/* two halves of lines */
};

static_assert(sizeof(struct filter_shared) == 64, "layout");

/* Lines of one half for so many items, with at most that share of false
   positives; 0: none. */
uint64_t filter_lines(uint64_t items, uint32_t error_ppm);

static inline uint64_t
filter_bytes(uint64_t lines)
{
	return lines == 0 ? 0
			  : sizeof(struct filter_shared) +
				2 * lines * FILTER_LINE_WORDS * 8;
}

/* May the source have the key?  True also where there is no filter in use. */
bool filter_may_have(const struct call *call, const void *key, size_t bytes);

/* False positives of a million, by the bits that are set now; 0 if no filter is in
   use.  The cache has room for one. */
uint64_t filter_error_ppm(const struct mapping *m);

/* The file that a filter is saved to: this header, then the words without tags,
   in the byte order of the machine. */
struct filter_file {
	char magic[8];
	uint32_t version;
	uint32_t seed;
	uint64_t lines;
	uint64_t items;
	uint64_t checksum; /* of the rest of the header, and the words */
	uint8_t reserved[24];
};

static_assert(sizeof(struct filter_file) == 64, "layout");

/* XXH3 of the words, its seed that of the header without a checksum. */
uint64_t filter_checksum(
    const struct filter_file *header, const uint64_t *words);

#define FILTER_MAGIC   "SHMBLOOM"
#define FILTER_VERSION 1u

/* Errors of these: -ENOTSUP (the cache has no room for a filter). */

/* Begin a build.  */
int filter_begin(
    const struct mapping *m, uint32_t seed, uint32_t *generation_out);

/* `generation` 0: to what is in use and what is being built.  Else to that one:
   SHMCACHE_ESTALE if another has begun. */
int filter_add(const struct mapping *m, uint32_t generation, const void *key,
    size_t bytes);

/* SHMCACHE_ESTALE if another has begun. */
int filter_publish(const struct mapping *m, uint32_t generation);

/* Switch off the one in use. */
int filter_drop(const struct mapping *m);

/* Copy the one in use into `words`, of `lines` lines; SHMCACHE_ENOENT if there is
   none, -EAGAIN if it was swapped meanwhile. */
int filter_copy(
    const struct mapping *m, struct filter_file *header, uint64_t *words);

/* Add such words to a build. */
void filter_fill(
    const struct mapping *m, uint32_t generation, const uint64_t *words);

#endif /* LIBSHMCACHE_FILTER_H */
