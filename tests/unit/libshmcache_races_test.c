/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libshmcache_races_test.c - two changes of one word, in every order (race.h)
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "libshmcache/filter.h"
#include "libshmcache/ghost.h"
#include "libshmcache/invalidate.h"
#include "libshmcache/lease.h"
#include "libshmcache/place.h"
#include "libshmcache/token.h"
#include "tests/unit/cache_support.h"
#include "tests/unit/race.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static struct shmcache *cache;
static struct mapping *m;
static struct shm_segment *segment;
static struct shm_peer *own; /* the stepped thread's */

static void
do_nothing(void)
{
}

static struct call
enter(void)
{
	struct call call = { .m = NULL };

	(void)call_enter(cache, CALL_WRITES, &call);
	return call;
}

/* Bytes of an extent. */

static void
count_no_bytes(void)
{
	shm_extent_table(segment)[0].live = 0;
}

static void
count_32(void)
{
	shm_arena_account(segment, 0, 7, 32);
}

static void
count_64(void)
{
	shm_arena_account(segment, 0, 7, 64);
}

static bool
are_96_counted(void)
{
	return shm_arena_live(segment, 0, 7) == 96;
}

static void
bytes_are_counted(void **state)
{
	(void)state;
	run_race(&(struct race){
	    count_no_bytes, count_32, count_64, are_96_counted });
}

/* An extent's hint. */

static uint64_t cleaned;

static void
set_no_hint(void)
{
	shm_extent_table(segment)[0].hint = 0;
	shm_arena_lower_hint(segment, 0, 7, 500);
}

static void
hint_100(void)
{
	shm_arena_lower_hint(segment, 0, 7, 100);
}

static void
hint_50(void)
{
	shm_arena_lower_hint(segment, 0, 7, 50);
}

static bool
is_hint_50(void)
{
	return shm_arena_hint(segment, 0, 7) <= 50;
}

static void
clean_alone(void)
{
	cleaned = shm_arena_clean_hint(segment, 0, 7);
}

static bool
is_hint_50_if_marked(void)
{
	uint64_t word = shm_extent_table(segment)[0].hint;

	return shm_arena_hint(segment, 0, 7) <= 50 && word != 0;
}

static void
hints_are_lowered(void **state)
{
	(void)state;
	run_race(&(struct race){ set_no_hint, hint_100, hint_50, is_hint_50 });
	run_race(&(struct race){
	    set_no_hint, clean_alone, hint_50, is_hint_50_if_marked });
}

/* Pins that callers hold. */

static int held[2];

static void
hold_nothing(void)
{
	own->handles = 0;
}

static void
hold_first(void)
{
	held[0] = shm_peer_hold(own);
}

static void
hold_second(void)
{
	held[1] = shm_peer_hold(own);
}

static bool
are_two_held(void)
{
	bool right = held[0] != held[1] && own->handles == 3;

	own->handles = 0;
	return right;
}

static void
hold_both(void)
{
	own->handles = 0;
	hold_first();
	hold_second();
}

static void
unhold_first(void)
{
	(void)shm_peer_unhold(own, (uint32_t)held[0]);
}

static void
unhold_second(void)
{
	(void)shm_peer_unhold(own, (uint32_t)held[1]);
}

static bool
is_nothing_held(void)
{
	return own->handles == 0;
}

static void
handles_are_held_and_given_back(void **state)
{
	(void)state;
	run_race(&(struct race){
	    hold_nothing, hold_first, hold_second, are_two_held });
	run_race(&(struct race){
	    hold_both, unhold_first, unhold_second, is_nothing_held });
}

/* Peer slots, claimed by two processes. */

static struct shm_segment *attached[2];
static struct shm_peer *claimed[2];
static int claim_result[2];

static void
unclaim(void)
{
	segment->header->peer_high = 0;
}

static void
claim_first(void)
{
	claim_result[0] = shm_peer_claim(attached[0], &claimed[0]);
}

static void
claim_second(void)
{
	claim_result[1] = shm_peer_claim(attached[1], &claimed[1]);
}

static bool
are_slots_two(void)
{
	uint64_t high = segment->header->peer_high;
	bool right = claim_result[0] == 0 && claim_result[1] == 0 &&
		     shm_peer_slot(claimed[0]) != shm_peer_slot(claimed[1]) &&
		     high > shm_peer_slot(claimed[0]) &&
		     high > shm_peer_slot(claimed[1]);

	shm_peer_release(claimed[0]);
	shm_peer_release(claimed[1]);
	return right;
}

static void
slots_are_claimed(void **state)
{
	uint64_t high = segment->header->peer_high;

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
		    shm_segment_attach(segment->path, mapping_signature(), NULL,
			NULL, &attached[i]),
		    0);
	run_race(&(struct race){
	    unclaim, claim_first, claim_second, are_slots_two });
	for (unsigned i = 0; i < 2; i++)
		shm_segment_detach(attached[i]);
	segment->header->peer_high = high + 2;
}

/* Tokens of fills. */

#define HASH_ONE 0x1234u
#define HASH_TWO 0x4321u

static uint64_t token_before;
static bool bumped;

static void
prepare_token(void)
{
	*token_at(m, HASH_ONE) = token_before =
	    token_fingerprint(HASH_TWO) | 1000;
}

static void
install_one(void)
{
	(void)token_install(m, HASH_ONE);
}

static void
bump_two(void)
{
	uint64_t word = *token_at(m, HASH_ONE);

	token_bump(m, HASH_TWO);
	bumped = *token_at(m, HASH_ONE) != word;
}

static bool
has_count_grown(void)
{
	return *token_at(m, HASH_ONE) ==
	       (token_fingerprint(HASH_ONE) | (1001 + bumped));
}

static void
prepare_own_token(void)
{
	*token_at(m, HASH_ONE) = token_before =
	    token_fingerprint(HASH_ONE) | 1000;
}

static void
bump_one(void)
{
	token_bump(m, HASH_ONE);
}

static void
bump_twice(void)
{
	token_bump(m, HASH_ONE);
	token_bump(m, HASH_ONE);
}

static void
spend_one(void)
{
	(void)token_spend(m, HASH_ONE, token_before);
}

static bool
are_two_counted(void)
{
	return *token_at(m, HASH_ONE) == token_before + 2;
}

static bool
are_two_counted_at_least(void)
{
	return *token_at(m, HASH_ONE) >= token_before + 2;
}

static void
tokens_count(void **state)
{
	(void)state;
	run_race(&(struct race){
	    prepare_token, install_one, bump_two, has_count_grown });
	run_race(&(struct race){
	    prepare_own_token, bump_one, bump_one, are_two_counted });
	run_race(&(struct race){ prepare_own_token, spend_one, bump_twice,
	    are_two_counted_at_least });
}

/* Deadlines of words that count loads. */

static struct lease taken;

static void
take_word(void)
{
	struct call call = enter();

	lease_take_alone(&call, 600000, &taken);
	call_leave();
}

/* Whoever counts gives a word that has no deadline one of its own. */
static void
count_words(void)
{
	struct call call = enter();

	(void)lease_count(&call);
	call_leave();
}

static bool
is_deadline_its_own(void)
{
	struct call call = enter();
	uint64_t until_ms =
	    m->leases[taken.place & ~LEASE_ALONE].alone_deadline &
	    ((1ull << 42) - 1);

	(void)lease_release(&call, &taken);
	call_leave();
	return until_ms > mapping_now_ms(m) + 500000;
}

static void
words_have_their_own_deadline(void **state)
{
	(void)state;
	run_race(&(struct race){
	    do_nothing, take_word, count_words, is_deadline_its_own });
}

/* Builds of a filter. */

static uint32_t generations[2];

static void
begin_first(void)
{
	(void)filter_begin(m, 1, &generations[0]);
}

static void
begin_second(void)
{
	(void)filter_begin(m, 2, &generations[1]);
}

static bool
is_one_build_left(void)
{
	return generations[0] != generations[1] &&
	       (filter_publish(m, generations[0]) == 0) !=
		   (filter_publish(m, generations[1]) == 0);
}

static void
builds_are_told_apart(void **state)
{
	(void)state;
	run_race(&(struct race){
	    do_nothing, begin_first, begin_second, is_one_build_left });
}

/* Keys that are added to one: some are in the same words. */

#define FILTER_KEYS 40u

static void
begin_build(void)
{
	(void)filter_begin(m, 1, &generations[0]);
}

static void
add_one(void)
{
	(void)filter_add(m, 0, "one", 3);
}

static void
add_many(void)
{
	char name[32];

	for (unsigned i = 0; i < FILTER_KEYS; i++) {
		test_key(name, "many", i);
		(void)filter_add(m, 0, name, strlen(name));
	}
}

static bool
are_all_added(void)
{
	struct call call = enter();
	bool all = filter_publish(m, generations[0]) == 0 &&
		   filter_may_have(&call, "one", 3);
	char name[32];

	for (unsigned i = 0; i < FILTER_KEYS; i++) {
		test_key(name, "many", i);
		all = all && filter_may_have(&call, name, strlen(name));
	}
	call_leave();
	return all;
}

static void
keys_are_added(void **state)
{
	(void)state;
	run_race(
	    &(struct race){ begin_build, add_one, add_many, are_all_added });
}

/* A filter is copied while the next ones are built over it. */

static struct filter_file file;
static uint64_t *bits; /* of the copy */
static int copying;

static void
use_one(void)
{
	begin_build();
	add_one();
	(void)filter_publish(m, generations[0]);
}

static void
copy_filter(void)
{
	copying = filter_copy(m, &file, bits);
}

static void
build_two_more(void)
{
	use_one();
	begin_build();
}

static bool
is_copy_of_one(void)
{
	unsigned count = 0;

	if (copying != 0)
		return copying == -EAGAIN;
	for (uint64_t i = 0; i < m->filter_lines * FILTER_LINE_WORDS; i++)
		count += (unsigned)__builtin_popcountll(bits[i]);
	return count == FILTER_LINE_WORDS;
}

static void
filters_are_copied_whole(void **state)
{
	(void)state;
	bits = calloc(m->filter_lines * FILTER_LINE_WORDS, sizeof(*bits));
	assert_non_null(bits);
	run_race(&(struct race){
	    use_one, copy_filter, build_two_more, is_copy_of_one });
	free(bits);
}

/* A build is published, or the filter dropped, while others begin or publish
   theirs. */

static int published;

static void
build_one(void)
{
	begin_build();
	add_one();
}

static void
publish_first(void)
{
	published = filter_publish(m, generations[0]);
}

static bool
is_published_or_refused(void)
{
	struct call call = enter();
	bool right = published == 0 ? filter_may_have(&call, "one", 3) &&
					  !filter_may_have(&call, "another", 7)
				    : published == SHMCACHE_ESTALE;

	call_leave();
	return right && filter_publish(m, generations[1]) == 0;
}

static void
builds_are_published_once(void **state)
{
	(void)state;
	run_race(&(struct race){
	    build_one, publish_first, begin_second, is_published_or_refused });
}

static void
use_one_and_build(void)
{
	use_one();
	build_one();
}

static void
drop_filter(void)
{
	(void)filter_drop(m);
}

/* Dropped before it: the new one is in use. */
static bool
is_dropped_or_new(void)
{
	uint32_t used = (uint32_t)shm_load64(&m->filter->state[0]);
	struct call call = enter();
	bool in_use = !filter_may_have(&call, "another", 7);

	call_leave();
	return published == 0 && (used & ~(1u << 31)) == generations[0] &&
	       in_use == (used == generations[0]);
}

static void
filters_are_dropped_whole(void **state)
{
	(void)state;
	run_race(&(struct race){
	    use_one_and_build, drop_filter, publish_first, is_dropped_or_new });
}

/* A key that is in this filter and in the next two. */

static bool may_have;

static void
ask_for_one(void)
{
	struct call call = enter();

	may_have = filter_may_have(&call, "one", 3);
	call_leave();
}

static void
use_two_more(void)
{
	use_one();
	use_one();
}

static bool
is_there(void)
{
	return may_have;
}

static void
keys_stay_while_filters_change(void **state)
{
	(void)state;
	run_race(
	    &(struct race){ use_one, ask_for_one, use_two_more, is_there });
}

/* Others publish and begin again and again: nobody waits for them.  (At each step,
   so that no look sees one moment; or more seldom than a look takes, and more often
   than a copy.) */

static bool
change_now_and_then(void *between, uint64_t step)
{
	if (step % *(const uint64_t *)between == 0)
		let_other(
		    *(const uint64_t *)between == 1 ? begin_second : use_one);
	return true;
}

static void
ask_for_another(void *unused)
{
	struct call call = enter();

	(void)unused;
	may_have = filter_may_have(&call, "another", 7);
	call_leave();
}

static void
save_filter(void *path)
{
	copying = shmcache_filter_save(cache, path);
}

static void
filters_that_never_rest_are_given_up(void **state)
{
	uint64_t each = 1, some = 150;
	char path[] = "/tmp/shmcache-races-XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	(void)close(fd);
	use_one();
	ask_for_another(NULL);
	assert_false(may_have);
	(void)steps_run(change_now_and_then, &each, ask_for_another, NULL);
	assert_true(may_have); /* nobody knows */
	(void)steps_run(change_now_and_then, &some, save_filter, path);
	assert_int_equal(copying, -EAGAIN);
	save_filter(path);
	assert_int_equal(copying, 0);
	assert_int_equal(unlink(path), 0);
}

/* Invalidations. */

static void
flush(void)
{
	(void)shmcache_flush(cache);
}

static bool
is_all_flushed(void)
{
	return m->shared->flush == m->shared->seq;
}

static void
flushes_are_in_order(void **state)
{
	(void)state;
	run_race(&(struct race){ do_nothing, flush, flush, is_all_flushed });
}

/* The bit of the flush word that says that somebody records. */

static struct shmcache_recorder recorders[2];
static int recording[2];

static void
record_nothing(void)
{
	m->shared->record = 0;
	m->shared->flush &= ~CACHE_RECORDING;
}

static void
record_first(void)
{
	recording[0] = shmcache_record_begin(cache, 1, &recorders[0]);
}

static void
record_second(void)
{
	recording[1] = shmcache_record_begin(cache, 1, &recorders[1]);
}

static bool
does_one_record(void)
{
	return (recording[0] == 0) != (recording[1] == 0) &&
	       mapping_recording(m);
}

static void
record_alone(void)
{
	record_nothing();
	record_first();
}

static void
end_recording(void)
{
	(void)shmcache_record_end(cache, &recorders[0]);
}

static bool
is_the_flush_kept(void)
{
	return mapping_flushed(m) == m->shared->seq;
}

static void
recorders_lose_no_flush(void **state)
{
	(void)state;
	run_race(&(struct race){
	    record_nothing, record_first, record_second, does_one_record });
	run_race(&(struct race){
	    record_nothing, record_first, flush, is_the_flush_kept });
	run_race(&(struct race){
	    record_alone, end_recording, flush, is_the_flush_kept });
	record_nothing();
}

/* Words of the index. */

static struct found found;
static bool removed[2];
static struct key key;
static uint64_t words[2];
static int put[2];

static void
set_one(void)
{
	test_set_ok(cache, "key", "value");
	found = test_find(cache, "key");
}

static void
remove_first(void)
{
	struct call call = enter();

	removed[0] = index_swap(&call, &found, 0);
	call_leave();
}

static void
remove_second(void)
{
	struct call call = enter();

	removed[1] = index_swap(&call, &found, 0);
	call_leave();
}

static bool
is_removed_once(void)
{
	return removed[0] != removed[1];
}

static void
write_two(void)
{
	struct call call = test_enter(cache);

	(void)index_remove(&call, &key);
	test_hash(&call, "key", &key);
	words[0] = test_write_unlinked(&call, "key", "one");
	words[1] = test_write_unlinked(&call, "key", "two");
	call_leave();
}

static void
put_by(unsigned who)
{
	static const struct put_rule rule = { .only_new = true };
	struct call call = enter();

	put[who] = (int)index_put(&call, &key, words[who], &rule);
	call_leave();
}

static void
put_first(void)
{
	put_by(0);
}

static void
put_second(void)
{
	put_by(1);
}

/* As an add: one of them is refused. */
static bool
is_one_put(void)
{
	return (put[0] == PUT_NEW) != (put[1] == PUT_NEW) &&
	       test_has(cache, "key", put[0] == PUT_NEW ? "one" : "two") &&
	       shmcache_delete(cache, "key", 3) == 0 &&
	       test_lacks(cache, "key");
}

static void
words_change_once(void **state)
{
	(void)state;
	run_race(&(struct race){
	    set_one, remove_first, remove_second, is_removed_once });
	test_set_ok(cache, "key", "value");
	{
		struct call call = test_enter(cache);

		test_hash(&call, "key", &key);
		call_leave();
	}
	run_race(
	    &(struct race){ write_two, put_first, put_second, is_one_put });
}

/* A word that was taken away, and whose slot was given to another key, is not
   taken back. */

static struct shmcache *narrow; /* all keys have the same window */
static const char *const neighbours[] = { "a", "b", "c" };

static void
write_two_in_narrow(void)
{
	struct call call = { .m = NULL };

	for (size_t i = 0; i < TEST_COUNT_OF(neighbours); i++)
		(void)shmcache_delete(narrow, neighbours[i], 1);
	(void)shmcache_delete(narrow, "key", 3);
	(void)call_enter(narrow, CALL_WRITES, &call);
	test_hash(&call, "key", &key);
	words[0] = test_write_unlinked(&call, "key", "one");
	words[1] = test_write_unlinked(&call, "key", "two");
	call_leave();
}

static void
put_in_narrow(unsigned who)
{
	static const struct put_rule rule = { .only_new = true };
	struct call call = { .m = NULL };

	(void)call_enter(narrow, CALL_WRITES, &call);
	put[who] = (int)index_put(&call, &key, words[who], &rule);
	call_leave();
}

static void
put_first_in_narrow(void)
{
	put_in_narrow(0);
}

static void
put_second_and_neighbours(void)
{
	put_in_narrow(1);
	for (size_t i = 0; i < TEST_COUNT_OF(neighbours); i++)
		(void)test_set(narrow, neighbours[i], "value");
}

static bool
are_neighbours_there(void)
{
	for (size_t i = 0; i < TEST_COUNT_OF(neighbours); i++)
		if (!test_has(narrow, neighbours[i], "value"))
			return false;
	return (put[0] == PUT_NEW) != (put[1] == PUT_NEW);
}

static void
put_no_neighbour(void)
{
	(void)test_set(narrow, "a", "value");
}

static void
slots_of_others_are_left_alone(void **state)
{
	(void)state;
	narrow = test_cache_of_one_window();
	let_other(put_no_neighbour); /* it has its slot */
	run_race(&(struct race){ write_two_in_narrow, put_first_in_narrow,
	    put_second_and_neighbours, are_neighbours_there });
	assert_int_equal(shmcache_close(narrow), 0);
}

/* Counters and times to live, in place. */

static void
set_counter(void)
{
	static const int64_t seven = 7;

	(void)shmcache_delete(cache, "n", 1);
	(void)shmcache_incr(cache, "n", 1, 0, &seven, SHMCACHE_TTL_NONE, NULL);
}

static void
add_1(void)
{
	(void)shmcache_incr(cache, "n", 1, 1, NULL, 0, NULL);
}

static void
add_10(void)
{
	(void)shmcache_incr(cache, "n", 1, 10, NULL, 0, NULL);
}

static bool
is_it_18(void)
{
	return test_has(cache, "n", "18");
}

static void
set_mortal(void)
{
	test_set_mortal(cache, "mortal", "value");
	found = test_find(cache, "mortal");
}

static void
freeze(void)
{
	(void)entry_freeze(&found.entry);
}

static void
touch(void)
{
	(void)shmcache_touch(cache, "mortal", 6, 7200000);
}

/* Touched in place before it was frozen, or replaced: and frozen it stays. */
static bool
is_touched(void)
{
	int64_t ttl_ms = 0;

	return shmcache_ttl(cache, "mortal", 6, &ttl_ms) == 0 &&
	       ttl_ms > 7000000 && (*found.entry.expiry & 1) != 0;
}

/* It is carried on to another entry: what changes it in place meanwhile is in what
   is carried, or goes by replacing. */

static struct entry_content carried;

static void
find_counter(void)
{
	set_counter();
	found = test_find(cache, "n");
}

static void
carry(void)
{
	entry_carry(cache->mapping, &found.entry, &carried);
}

static bool
is_it_counted(void)
{
	return test_find(cache, "n").word != found.word
		   ? test_has(cache, "n", "8")
		   : carried.cell.value == 8;
}

static bool
is_its_time_carried(void)
{
	return test_find(cache, "mortal").word != found.word
		   ? is_touched()
		   : carried.expires_ms >
			 mapping_now_ms(cache->mapping) + 7000000;
}

/* Its length is damaged while it is opened: what was checked is what is taken. */

static struct entry opened;
static bool is_opened;

static void
mend_length(void)
{
	found.entry.shared->value_bytes = found.entry.value_bytes;
}

static void
open_entry(void)
{
	is_opened = entry_open(cache->mapping, found.entry.offset, &opened);
}

static void
damage_length(void)
{
	found.entry.shared->value_bytes = ENTRY_VALUE_BYTES;
}

static bool
is_length_sound(void)
{
	bool sound =
	    !is_opened || opened.value_bytes == found.entry.value_bytes;

	mend_length();
	return sound;
}

/* It is deleted while it is written anew. */

static void
set_frozen(void)
{
	set_mortal();
	freeze();
}

static void
delete_mortal(void)
{
	(void)shmcache_delete(cache, "mortal", 6);
}

static bool
is_it_deleted(void)
{
	return test_lacks(cache, "mortal");
}

/* A touch that looked before the entry expired, and changes it after that. */

static bool touched_late;

static void
set_expired(void)
{
	set_mortal();
	*found.entry.expiry = 1u << 1;
	touched_late = false;
}

static void
get_mortal(void)
{
	char buffer[16];

	(void)shmcache_get(
	    cache, "mortal", 6, buffer, sizeof(buffer), NULL, NULL);
}

static void
touch_late(void)
{
	touched_late = shm_cas64(found.entry.expiry, 1u << 1, 1ull << 50);
}

static bool
is_touch_kept(void)
{
	return !touched_late || test_has(cache, "mortal", "value");
}

static void
entries_change_in_place(void **state)
{
	(void)state;
	run_race(&(struct race){
	    set_expired, get_mortal, touch_late, is_touch_kept });
	run_race(
	    &(struct race){ set_frozen, touch, delete_mortal, is_it_deleted });
	run_race(&(struct race){ set_counter, add_1, add_10, is_it_18 });
	run_race(&(struct race){ find_counter, carry, add_1, is_it_counted });
	set_mortal();
	run_race(&(struct race){
	    mend_length, open_entry, damage_length, is_length_sound });
	run_race(
	    &(struct race){ set_mortal, carry, touch, is_its_time_carried });
	run_race(&(struct race){ set_mortal, freeze, touch, is_touched });
	run_race(&(struct race){ set_mortal, touch, freeze, is_touched });
}

/* An extent is emptied while its entry is replaced. */

static struct shm_extent emptied;

static void
seal_one_entry(void)
{
	emptied = test_extent_of(cache, "key");
	(void)shm_arena_seal(segment, &emptied);
	set_one();
	emptied = test_extent_of(cache, "key");
	(void)shm_arena_seal(segment, &emptied);
	emptied.state = SHM_SEALED;
}

static void
seal_one_that_was_read(void)
{
	seal_one_entry();
	found.entry.shared->ref = 1;
}

static void
empty_extent(void)
{
	struct call call = enter();

	(void)evict_extent(&call, &emptied, EVICT_CLEAN, true);
	call_leave();
}

static void
empty_extent_of_the_unread(void)
{
	struct call call = enter();

	(void)evict_extent(&call, &emptied, EVICT_DROP, true);
	call_leave();
}

static void
set_newer(void)
{
	(void)test_set(cache, "key", "newer");
}

static bool
is_newer_there(void)
{
	return test_has(cache, "key", "newer");
}

static void
replacements_outlive_an_eviction(void **state)
{
	(void)state;
	run_race(&(struct race){
	    seal_one_that_was_read, empty_extent, set_newer, is_newer_there });
	run_race(&(struct race){ seal_one_entry, empty_extent_of_the_unread,
	    set_newer, is_newer_there });
}

/* An item is unpinned while its pin is given to the next. */

static struct shmcache_item items[2];

static void
pin_by_other(void)
{
	(void)shmcache_get_pinned(cache, "key", 3, &items[0]);
}

static void
pin_one(void)
{
	let_other(pin_by_other);
}

static void
unpin_one(void)
{
	(void)shmcache_unpin(cache, &items[0]);
}

static void
pin_next(void)
{
	(void)shmcache_get_pinned(cache, "key", 3, &items[1]);
}

static bool
is_next_pinned(void)
{
	const struct shm_peer *peer = items[1].owner;
	uint32_t bit = 1u << (items[1].pin - SHM_PIN_HANDLES);
	bool right =
	    (peer->handles & bit) != 0 && peer->shared->pins[items[1].pin] != 0;

	(void)shmcache_unpin(cache, &items[1]);
	return right;
}

static void
items_are_unpinned_once(void **state)
{
	(void)state;
	run_race(
	    &(struct race){ pin_one, unpin_one, pin_next, is_next_pinned });
}

/* Leases and locks. */

static struct shmcache_token tokens[2];
static struct shmcache_lock locks[2];
static bool has[2];

static void
begin_load(unsigned who)
{
	struct shmcache_value value = { .value = NULL };

	has[who] = shmcache_begin_load(
		       cache, "load", 4, NULL, &value, &tokens[who]) == 0 &&
		   value.source == SHMCACHE_LEAD;
	free(value.value);
}

static void
load_first(void)
{
	begin_load(0);
}

static void
load_second(void)
{
	begin_load(1);
}

static bool
does_one_lead(void)
{
	bool right = has[0] != has[1];

	for (unsigned i = 0; i < 2; i++)
		if (has[i])
			(void)shmcache_abandon(cache, &tokens[i]);
	return right;
}

/* A load that begins while a key is being set, and ends afterwards, may not
   follow the set. */
static void
forget_key(void)
{
	(void)shmcache_delete(cache, "load", 4);
	has[1] = false;
}

/* What is there is stale, so that the load is a refresh. */
static void
age_key(void)
{
	char bytes[] = "stale";
	struct shmcache_loaded loaded = {
		.value = bytes, .value_bytes = 5, .ttl_ms = 1
	};
	struct shmcache_load_options options = SHMCACHE_LOAD_OPTIONS_INIT;
	struct shmcache_value value = { .value = NULL };

	options.stale_ms = 3600000;
	forget_key();
	(void)shmcache_begin_load(
	    cache, "load", 4, &options, &value, &tokens[1]);
	(void)shmcache_fill(cache, "load", 4, &tokens[1], 0, &loaded, &options);
	while (shmcache_exists(cache, "load", 4) == 1)
		(void)usleep(200);
}

static void
set_loaded(void)
{
	(void)test_set(cache, "load", "set");
}

static bool
is_fill_refused(void)
{
	char bytes[] = "loaded";
	struct shmcache_loaded loaded = { .value = bytes, .value_bytes = 6 };

	return (!has[1] || shmcache_fill(cache, "load", 4, &tokens[1], 0,
			       &loaded, NULL) == SHMCACHE_ESTALE) &&
	       test_has(cache, "load", "set");
}

static void
fills_do_not_follow_sets(void **state)
{
	(void)state;
	run_race(&(struct race){
	    forget_key, set_loaded, load_second, is_fill_refused });
	run_race(&(struct race){
	    age_key, set_loaded, load_second, is_fill_refused });
}

/* A reader without a slot copies while the value is replaced. */

static struct shmcache *reader;
static char copied[200];
static int copy_result;

static void
set_old(void)
{
	char bytes[sizeof(copied)];

	memset(bytes, 'o', sizeof(bytes));
	(void)shmcache_set(cache, "copied", 6, bytes, sizeof(bytes), 0, 0);
}

static void
set_new(void)
{
	char bytes[sizeof(copied)];

	memset(bytes, 'n', sizeof(bytes));
	(void)shmcache_set(cache, "copied", 6, bytes, sizeof(bytes), 0, 0);
	for (unsigned i = 0; i < 800; i++) {
		char name[32];

		(void)shmcache_set(cache, test_key(name, "more", i),
		    strlen(name), bytes, sizeof(bytes), 0, 0);
	}
}

static void
copy_unpinned(void)
{
	copy_result = shmcache_get(
	    reader, "copied", 6, copied, sizeof(copied), NULL, NULL);
}

static bool
is_copy_whole(void)
{
	if (copy_result == SHMCACHE_ENOENT)
		return true; /* evicted */
	for (size_t i = 1; i < sizeof(copied); i++)
		if (copied[i] != copied[0])
			return false;
	return copy_result == 0;
}

static void
copies_without_a_pin_are_whole(void **state)
{
	struct shmcache_options o = SHMCACHE_OPTIONS_INIT;

	(void)state;
	o.open_mode = SHMCACHE_ATTACH;
	o.read_only = 1;
	assert_int_equal(shmcache_open(segment->path, &o, &reader), 0);
	run_race(
	    &(struct race){ set_old, copy_unpinned, set_new, is_copy_whole });
	assert_int_equal(shmcache_close(reader), 0);
}

static void
lock_first(void)
{
	has[0] = shmcache_lock(cache, "lock", 4, 0, &locks[0]) == 0;
}

static void
lock_second(void)
{
	has[1] = shmcache_lock(cache, "lock", 4, 0, &locks[1]) == 0;
}

static bool
does_one_have_it(void)
{
	bool right = !(has[0] && has[1]);

	for (unsigned i = 0; i < 2; i++)
		if (has[i])
			(void)shmcache_unlock(cache, &locks[i]);
	return right;
}

static void
one_leads_and_one_locks(void **state)
{
	(void)state;
	run_race(&(struct race){
	    do_nothing, load_first, load_second, does_one_lead });
	run_race(&(struct race){
	    do_nothing, lock_first, lock_second, does_one_have_it });
}

/* What was evicted is noted. */

static struct key ghosts[2];

static void
forget_ghosts(void)
{
	for (unsigned i = 0; i < 2; i++)
		(void)ghost_take(m, &ghosts[i]);
}

static void
add_ghost_first(void)
{
	ghost_add(m, &ghosts[0], false);
}

static void
add_ghost_second(void)
{
	ghost_add(m, &ghosts[1], true);
}

/* One may have been in the other's way, but for good. */
static bool
is_a_ghost_there(void)
{
	return ghost_take(m, &ghosts[1]).there;
}

static void
add_ghost_of_first_only(void)
{
	forget_ghosts();
	add_ghost_first();
}

static void
take_ghost_first(void)
{
	(void)ghost_take(m, &ghosts[0]);
}

static void
ghosts_are_not_overwritten(void **state)
{
	(void)state;
	ghosts[0] = (struct key){ .hash = 0x1111222233334444u };
	ghosts[1] = (struct key){ .hash = 0x1111222233334444u ^ (5ull << 20) };
	add_ghost_first();
	add_ghost_second();
	if (!ghost_take(m, &ghosts[0]).there ||
	    !ghost_take(m, &ghosts[1]).there)
		skip();
	run_race(&(struct race){ forget_ghosts, add_ghost_first,
	    add_ghost_second, is_a_ghost_there });
	run_race(&(struct race){ add_ghost_of_first_only, take_ghost_first,
	    add_ghost_second, is_a_ghost_there });
}

/* Keys come back and move the border.  Who is late may lose his own step, and not
   the others'. */

#define RETURNS 4u

static struct key returning[RETURNS];
static uint64_t border;
static uint64_t border_step;

static void
set_border(void)
{
	m->shared->mean_bytes = 100;
	m->shared->probation_bytes = border = m->arena_bytes / 2;
	memset(m->ghosts, 0, m->ghost_words * sizeof(*m->ghosts));
	for (unsigned i = 0; i < RETURNS; i++) {
		for (unsigned n = 1; n < GHOSTS_PER_WORD; n++)
			ghost_add(m,
			    &(struct key){ .hash = returning[i].hash ^ n },
			    true);
		ghost_add(m, &returning[i], false);
	}
}

static void
come_back(unsigned who)
{
	struct call call = enter();
	struct entry_content content = { .key = NULL };

	place_choose(&call, &returning[who], NULL, 100, &content);
	call_leave();
}

static void
come_back_first(void)
{
	come_back(0);
}

static void
come_back_others(void)
{
	for (unsigned i = 1; i < RETURNS; i++)
		come_back(i);
}

static bool
has_moved_for_others(void)
{
	return place_probation_bytes(m) >= border + (RETURNS - 1) * border_step;
}

static void
borders_are_not_moved_back(void **state)
{
	char name[32];

	(void)state;
	for (unsigned i = 0; i < RETURNS; i++) {
		test_key(name, "back", i);
		index_key(m, name, strlen(name), &returning[i]);
	}
	set_border();
	come_back_first();
	border_step = place_probation_bytes(m) - border;
	assert_in_range(border_step, 1, m->arena_bytes / 20);
	run_race(&(struct race){ set_border, come_back_first, come_back_others,
	    has_moved_for_others });
}

/* In a child of _Fork(), another thread finds its handles anew, just when this
   one is about to. */

static struct mapping *found_anew;

static void
get_as_other(void)
{
	(void)shmcache_exists(cache, "key", 3);
	found_anew = cache->mapping;
}

static bool
let_other_recover(void *context, uint64_t step)
{
	if (*cache_not_forked != FORKED)
		return false; /* too late */
	if (step < *(uint64_t *)context)
		return true;
	let_other(get_as_other);
	return false;
}

static void
exists_stepped(void *context)
{
	*(int *)context = shmcache_exists(cache, "key", 3);
}

/* 0: all is well; 1: the other came too late; else what was wrong. */
static int
recover_with_other(uint64_t at)
{
	struct mapping *before = cache->mapping;
	int result = -1;

	if (!other_begin())
		return 2;
	found_anew = NULL;
	(void)steps_run(let_other_recover, &at, exists_stepped, &result);
	if (!other_end() || result != 1)
		return 3;
	if (found_anew == NULL)
		return 1;
	return found_anew != before && cache->mapping == found_anew ? 0 : 4;
}

static void
threads_of_a_child_find_its_handles_once(void **state)
{
	int result = 0;

	(void)state;
	for (uint64_t at = 1; result == 0; at += 2) {
		int status = 0;
		pid_t pid = _Fork();

		if (pid == 0) {
			test_limit(10);
			test_child_exit(recover_with_other(at));
		}
		assert_true(pid > 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		result = WEXITSTATUS(status);
	}
	assert_int_equal(result, 1);
}

static int
setup(void **state)
{
	struct shmcache_options o = test_options();

	(void)state;
	o.filter_items = 100;
	o.policy = "s3fifo";
	o.latency_sample = SHMCACHE_SAMPLE_OFF;
	cache = test_cache_of(&o);
	m = cache->mapping;
	segment = m->segment;
	if (!race_begin(1))
		return -1;
	let_other(add_1); /* both have their slots */
	test_set_ok(cache, "key", "value");
	own = cache_thread.peer;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	(void)other_end();
	return shmcache_close(cache);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		RACE(bytes_are_counted),
		RACE(hints_are_lowered),
		RACE(handles_are_held_and_given_back),
		RACE(slots_are_claimed),
		RACE(tokens_count),
		RACE(words_have_their_own_deadline),
		RACE(builds_are_told_apart),
		RACE(keys_are_added),
		RACE(filters_are_copied_whole),
		RACE(builds_are_published_once),
		RACE(filters_are_dropped_whole),
		RACE(keys_stay_while_filters_change),
		RACE(filters_that_never_rest_are_given_up),
		RACE(flushes_are_in_order),
		RACE(recorders_lose_no_flush),
		RACE(words_change_once),
		RACE(slots_of_others_are_left_alone),
		RACE(entries_change_in_place),
		RACE(replacements_outlive_an_eviction),
		RACE(items_are_unpinned_once),
		RACE(one_leads_and_one_locks),
		RACE(fills_do_not_follow_sets),
		RACE(copies_without_a_pin_are_whole),
		RACE(ghosts_are_not_overwritten),
		RACE(borders_are_not_moved_back),
		RACE(threads_of_a_child_find_its_handles_once),
	};

	if (!steps_possible())
		return steps_skip();
	return cmocka_run_group_tests(
	    tests, test_group_setup_one_cpu, test_group_teardown);
}
