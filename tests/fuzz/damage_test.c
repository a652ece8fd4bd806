/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * damage_test.c - whatever the bytes of a segment are, no call crashes, leaves
 * the mapping or hangs
 *
 * Every bit of the header and of all tables is turned, one at a time, and every
 * call made; then bytes and words of the index and of the extents get random
 * and chosen values; then another thread changes them while calls run, so that
 * what was checked is not what is read next.  Nothing is expected of the
 * results but that they are listed.
 */
#include "tests/fuzz/hostile.h"
#include "tests/support/prng.h"
#include "tests/support/run.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static uint64_t rounds = TEST_ASAN ? 500 : 2000;
static uint64_t every = TEST_ASAN ? 151 : 37;

static struct hostile hostile;

static void
begin(void)
{
	hostile_open(&hostile, test_path("damage"));
}

static void
end_of_case(void)
{
	hostile_close(&hostile);
}

/* Step between the bits that are tried: larger in the arena and the counters,
   where one is like another.  Each run begins at another bit. */
static size_t
step_at(size_t bit)
{
	enum hostile_part part = hostile_part_of(&hostile, bit / 8);

	return every * (part == PART_ARENA         ? 61
			   : part == PART_COUNTERS ? 17
						   : 1);
}

static void
every_bit_turned(void)
{
	uint64_t flips[PARTS] = { 0 };

	begin();
	for (size_t bit = run_seed() % every; bit < 8 * hostile.length;
	     bit += step_at(bit)) {
		enum hostile_part part = hostile_part_of(&hostile, bit / 8);

		hostile_announce("turning bit", bit / 8, bit % 8);
		hostile.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		hostile_all_calls(&hostile);
		hostile_restore(&hostile);
		flips[part]++;
	}
	for (unsigned i = 0; i < PARTS; i++)
		printf("  %s: %" PRIu64 " bits turned\n",
		    hostile_part_name((enum hostile_part)i), flips[i]);
	end_of_case();
}

/* Who attaches to it must see, or get along. */
static void
attaching_with_a_bit_turned(void)
{
	uint64_t refused = 0, taken = 0;

	begin();
	for (size_t bit = run_seed() % every;
	     bit < 8 * hostile.part[PART_INDEX]; bit += every) {
		size_t offset = bit / 8;
		enum hostile_part part = hostile_part_of(&hostile, offset);

		if (part != PART_HEADER && part != PART_CACHE)
			continue;
		hostile_announce("attaching with bit", offset, bit % 8);
		hostile.bytes[offset] ^= (uint8_t)(1u << bit % 8);
		if (hostile_attach(&hostile, hostile_all_calls) == 0)
			taken++;
		else
			refused++;
		hostile_restore(&hostile);
	}
	printf("  %" PRIu64 " refused, %" PRIu64 " taken\n", refused, taken);
	CHECK(refused > 0 && taken > 0);
	end_of_case();
}

static uint64_t
awkward(struct prng *prng)
{
	static const uint64_t edges[] = { 0, 1, 2, 0xff, 0x7fff, 0xffff,
		0x7fffffff, 0x80000000, 0xffffffff, INT64_MAX,
		(uint64_t)INT64_MAX + 1, UINT64_MAX };
	uint64_t value = prng_next(prng) >> prng_below(prng, 64);

	if (prng_below(prng, 2) == 0)
		value = edges[prng_below(prng, TEST_COUNT_OF(edges))] -
			prng_below(prng, 2);
	return value;
}

/* Another value somewhere in the part: of a word, or of its half, or bytes. */
static void
damage(struct prng *prng, enum hostile_part part)
{
	size_t from = hostile.part[part];
	size_t words = (hostile.part[part + 1] - from) / 8;
	uint8_t *at = hostile.bytes + from + 8 * prng_below(prng, words);
	uint64_t value = awkward(prng);
	uint64_t old;

	switch (prng_below(prng, 4)) {
	case 0:
		memcpy(at, &value, 8);
		break;
	case 1:
		memcpy(at + 4 * prng_below(prng, 2), &value, 4);
		break;
	case 2:
		memcpy(at + 2 * prng_below(prng, 4), &value, 2);
		break;
	default: /* another's word */
		memcpy(&old, hostile.bytes + from + 8 * prng_below(prng, words),
		    8);
		old ^= UINT64_C(1) << prng_below(prng, 64);
		memcpy(at, &old, 8);
	}
}

static void
damaged_by_chance(const enum hostile_part *parts, size_t count)
{
	struct prng prng;

	begin();
	prng_init(&prng, run_seed(), parts[0]);
	for (uint64_t i = 0; i < rounds; i++) {
		uint64_t changes = 1 + prng_below(&prng, 40);

		hostile_announce("round", i, run_seed());
		for (uint64_t n = 0; n < changes; n++)
			damage(&prng, parts[prng_below(&prng, count)]);
		hostile_all_calls(&hostile);
		hostile_restore(&hostile);
	}
	printf("  %" PRIu64 " rounds of up to 40 changes\n", rounds);
	end_of_case();
}

static void
index_and_extents_damaged(void)
{
	static const enum hostile_part parts[] = { PART_INDEX, PART_ARENA,
		PART_EXTENTS, PART_MAPS };

	damaged_by_chance(parts, TEST_COUNT_OF(parts));
}

static void
all_parts_damaged(void)
{
	static const enum hostile_part parts[] = { PART_HEADER, PART_PROCESSES,
		PART_PEERS, PART_LANES, PART_CACHE, PART_INDEX, PART_EXTENTS,
		PART_MAPS, PART_ARENA };

	damaged_by_chance(parts, TEST_COUNT_OF(parts));
}

/* Header of an entry: where its fields lie (struct entry_shared). */
enum { VALUE_BYTES_AT = 0, KEY_BYTES_AT = 4 };

static const struct {
	unsigned offset, bytes;
} fields[] = { { VALUE_BYTES_AT, 4 }, { KEY_BYTES_AT, 2 }, { 6, 1 }, { 7, 1 },
	{ 8, 4 }, { 12, 2 }, { 14, 2 } };

/* A sound entry has its lengths there: else this test would try nothing. */
static void
check_layout(size_t entry)
{
	uint32_t value_bytes;
	uint16_t key_bytes;

	memcpy(&value_bytes, hostile.sound + entry + VALUE_BYTES_AT,
	    sizeof(value_bytes));
	memcpy(&key_bytes, hostile.sound + entry + KEY_BYTES_AT,
	    sizeof(key_bytes));
	CHECK((value_bytes & 0x3fffffff) <= 1000);
	CHECK(key_bytes >= 6 && key_bytes <= 64);
}

/* Offset of the entry that an index word names, or 0. */
static size_t
entry_of(size_t slot)
{
	uint64_t word;
	size_t offset;

	memcpy(&word, hostile.sound + hostile.part[PART_INDEX] + 8 * slot, 8);
	offset = (size_t)(word & ((UINT64_C(1) << 36) - 1)) * 16;
	return offset < hostile.length ? offset : 0;
}

/* Entries that the index names, from slot 0 on, before slot `end`. */
static uint64_t
entries_before(size_t end)
{
	uint64_t count = 0;

	for (size_t slot = 0; slot < end; slot++)
		count += entry_of(slot) >= hostile.part[PART_ARENA];
	return count;
}

/* Lengths around every border there is, of every so many entries. */
static void
entries_too_short_or_too_long(void)
{
	static const int64_t borders[] = { 0, 1, 24, 216, 255, 256, 984, 1000,
		4040, 4072, 4096, 8192, 65535, INT32_MAX, UINT32_MAX };
	uint64_t tried = 0, step;
	size_t slots;

	begin();
	slots = (hostile.part[PART_EXTENTS] - hostile.part[PART_INDEX]) / 8;
	step = entries_before(slots);
	CHECK(step > 0);
	if (step > every)
		step = every;
	for (size_t slot = 0; slot < slots; slot++) {
		size_t entry = entry_of(slot);

		if (entry < hostile.part[PART_ARENA] ||
		    (entries_before(slot) + run_seed()) % step != 0)
			continue;
		for (size_t f = 0; f < TEST_COUNT_OF(fields); f++)
			for (size_t b = 0; b < 3 * TEST_COUNT_OF(borders);
			     b++) {
				int64_t value =
				    borders[b / 3] - 1 + (int64_t)(b % 3);

				hostile_announce("entry and field", entry, f);
				memcpy(hostile.bytes + entry + fields[f].offset,
				    &value, fields[f].bytes);
				hostile_all_calls(&hostile);
				hostile_restore(&hostile);
				tried++;
			}
	}
	printf("  %" PRIu64 " values of fields of entries\n", tried);
	CHECK(tried > 0);
	end_of_case();
}

/* Slot of a linked entry of one of the keys that hostile_all_keys() reads. */
static size_t
slot_in_use(void)
{
	unsigned number = HOSTILE_KEYS;
	size_t slot = 0;

	while (number >= HOSTILE_KEYS) {
		size_t entry = entry_of(++slot);
		const char *key =
		    entry < hostile.part[PART_ARENA]
			? NULL
			: memmem(hostile.sound + entry, 40, "key-", 4);

		if (key != NULL)
			number = (unsigned)strtoul(key + 4, NULL, 10);
	}
	return slot;
}

/* An entry with the greatest lengths there are, at every place of the last
   extent: what passes its end is outside the mapping. */
static void
entries_at_the_end(void)
{
	const uint32_t lengths[] = { 0, 16, 500, 960, 984 };
	size_t slot, entry, end;

	begin();
	slot = slot_in_use();
	entry = entry_of(slot);
	check_layout(entry);
	end = hostile.length;
	for (size_t at = end - 4096; at < end; at += 16) {
		for (size_t i = 0; i < TEST_COUNT_OF(lengths); i++) {
			uint8_t *word =
			    hostile.bytes + hostile.part[PART_INDEX] + 8 * slot;
			size_t room = end - at < 100 ? end - at : 100;
			uint64_t w;

			hostile_announce("an entry at", at, lengths[i]);
			memcpy(hostile.bytes + at, hostile.sound + entry, room);
			memcpy(hostile.bytes + at + VALUE_BYTES_AT, &lengths[i],
			    4);
			memcpy(&w, word, 8);
			w = (w >> 36 << 36) | at / 16;
			memcpy(word, &w, 8);
			hostile_all_keys(&hostile);
			hostile_restore(&hostile);
		}
	}
	end_of_case();
}

/* No extent is of use; every state, and what is none. */
static void
every_extent_in_one_state(void)
{
	size_t count;

	begin();
	count = (hostile.part[PART_MAPS] - hostile.part[PART_EXTENTS]) / 64;
	for (uint64_t state = 0; state < 512; state++) {
		for (size_t i = 0; i < count; i++)
			memcpy(
			    hostile.bytes + hostile.part[PART_EXTENTS] + 64 * i,
			    &state, 2);
		hostile_announce("all extents in state", state, 0);
		hostile_all_calls(&hostile);
		hostile_restore(&hostile);
	}
	end_of_case();
}

static _Atomic bool over;
static _Atomic uint64_t changes;

/* Its lengths and flags have two values, in turn, as fast as can be. */
static void *
toggle_till_over(void *argument)
{
	volatile uint8_t *entry;
	size_t offset;

	memcpy(&offset, argument, sizeof(offset));
	entry = hostile.bytes + offset;
	for (uint8_t n = 0; !atomic_load(&over); n++) {
		/* Length of the value, of the key, and the flags: entry.h. */
		entry[1] = hostile.sound[offset + 1] ^ (n >> 3 & 0x7f);
		entry[3] = n % 4 == 0 ? 0x3f : 0;
		entry[4] = hostile.sound[offset + 4] ^ (n % 64 == 0);
		entry[6] = hostile.sound[offset + 6] ^ (n >> 2 & 3);
		atomic_fetch_add(&changes, 1);
	}
	return NULL;
}

static void
lengths_that_change_between_two_reads(void)
{
	pthread_t thread;
	size_t offset;

	begin();
	offset = entry_of(slot_in_use());
	CHECK(pthread_create(&thread, NULL, toggle_till_over, &offset) == 0);
	for (uint64_t i = 0; i < rounds / 2; i++) {
		hostile_announce("another's lengths, round", i, run_seed());
		/* A copy without a pin is begun a thousand times where words
		   and extents disagree: that is slow, but ends. */
		if (i % 50 == 0)
			hostile_limit(120);
		hostile_all_keys(&hostile);
		if (i % 16 == 0)
			memcpy(hostile.bytes + hostile.part[PART_INDEX],
			    hostile.sound + hostile.part[PART_INDEX],
			    hostile.part[PART_EXTENTS] -
				hostile.part[PART_INDEX]);
	}
	atomic_store(&over, true);
	CHECK(pthread_join(thread, NULL) == 0);
	printf("  %" PRIu64 " rounds, %" PRIu64 " changes meanwhile\n",
	    rounds / 2, atomic_load(&changes));
	end_of_case();
}

/* Other values of what calls check, again and again. */
static void *
change_till_over(void *argument)
{
	static const enum hostile_part parts[] = { PART_INDEX, PART_ARENA,
		PART_ARENA, PART_EXTENTS, PART_MAPS, PART_PEERS, PART_LANES };
	struct prng prng;

	(void)argument;
	prng_init(&prng, run_seed(), 77);
	while (!atomic_load(&over)) {
		damage(&prng, parts[prng_below(&prng, TEST_COUNT_OF(parts))]);
		if (atomic_fetch_add(&changes, 1) % 256 == 0)
			memcpy(hostile.bytes, hostile.sound, hostile.length);
	}
	return NULL;
}

static void
changed_between_two_reads(void)
{
	pthread_t thread;
	uint64_t calls = 0;
	struct prng prng;

	begin();
	prng_init(&prng, run_seed(), 78);
	CHECK(pthread_create(&thread, NULL, change_till_over, NULL) == 0);
	for (uint64_t i = 0; i < 20 * rounds; i++) {
		hostile_announce("another's changes, call", i, run_seed());
		if (i % 100 == 0)
			hostile_limit(120);
		hostile_call(&hostile, (unsigned)prng_below(&prng, 16),
		    (unsigned)prng_below(&prng, HOSTILE_KEYS + 4));
		calls++;
	}
	atomic_store(&over, true);
	CHECK(pthread_join(thread, NULL) == 0);
	printf("  %" PRIu64 " calls, %" PRIu64 " changes meanwhile\n", calls,
	    atomic_load(&changes));
	end_of_case();
}

/* Files that are shorter or longer than they say. */
static void
files_of_every_length(void)
{
	uint64_t refused = 0, taken = 0;

	begin();
	for (size_t length = hostile.length + 8192; length > 0;
	     length -= length < 4096 ? 1 : 511) {
		const char *path = test_path("short");
		struct shmcache *cache;
		int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
		size_t bytes =
		    length < hostile.length ? length : hostile.length;

		CHECK(fd >= 0);
		CHECK(write(fd, hostile.sound, bytes) == (ssize_t)bytes);
		CHECK(ftruncate(fd, (off_t)length) == 0);
		CHECK(close(fd) == 0);
		hostile_announce("a file of bytes", length, 0);
		if (shmcache_open(path, NULL, &cache) == 0) {
			CHECK(length >= hostile.length);
			CHECK(shmcache_close(cache) == 0);
			taken++;
		} else {
			CHECK(length < hostile.length);
			refused++;
		}
		CHECK(unlink(path) == 0);
	}
	printf("  %" PRIu64 " refused, %" PRIu64 " taken\n", refused, taken);
	end_of_case();
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(every_bit_turned),
		CASE(attaching_with_a_bit_turned),
		CASE(index_and_extents_damaged),
		CASE(all_parts_damaged),
		CASE(entries_too_short_or_too_long),
		CASE(entries_at_the_end),
		CASE(every_extent_in_one_state),
		CASE(lengths_that_change_between_two_reads),
		CASE(changed_between_two_reads),
		CASE(files_of_every_length),
	};
	static const struct test_option options[] = {
		{ "rounds", &rounds, "random damages of each sort" },
		{ "every", &every, "turn each Nth bit" },
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
		.options = options,
		.option_count = TEST_COUNT_OF(options),
	};

	return run_suite(argc, argv, &suite);
}
