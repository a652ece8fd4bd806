/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libshmcache_order_test.c - writes that come late
 *
 * A processor may load what follows a store before others see the store: where
 * that matters there is a full fence, which stepping cannot show the need of.
 * Here two threads on two processors meet, round after round; each writes, and
 * then looks for what the other writes, and at least one must see the other.
 * The one whose fence it is about writes to a row of lines that are in no cache,
 * so that its last write is seen by the other some hundred nanoseconds later.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "libshmcache/filter.h"
#include "libshmcache/token.h"
#include "tests/unit/cache_support.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#define ROUNDS     (TEST_SANITIZED ? 500u : 4000u)
#define LATE_LINES 40u /* a processor holds some more stores back */
#define DELAY_LOG  12u /* each begins a little later than the other, or sooner */

struct line {
	uint64_t word;
	uint8_t pad[SHM_CACHE_LINE - 8];
} __attribute__((aligned(SHM_CACHE_LINE)));

/* What the two do in a round, and how it is judged. */
struct order {
	void (*prepare)(void);
	void (*write)(void); /* by the test's thread, within a call */
	void (*look)(void);  /* by the other */
	bool (*is_right)(void);
};

static struct shmcache *cache;
static struct call call;
static struct key key;
static struct line late[LATE_LINES], source;
static uint64_t round_now, seen;
static uint64_t arrivals;
static const struct order *order;

/* Returns when the other has come here as often; *times counts. */
static void
meet(uint64_t *times)
{
	uint64_t wanted = 2 * ++*times;

	(void)shm_faa64(&arrivals, 1);
	for (unsigned i = 1; shm_load64_acquire(&arrivals) < wanted; i++)
		if (i % 1024 == 0)
			(void)sched_yield();
		else
			shm_pause();
}

static void
delay(struct prng *prng)
{
	uint64_t most = 1ull << prng_below(prng, DELAY_LOG);

	for (uint64_t i = prng_below(prng, most); i > 0; i--)
		shm_barrier();
}

static cpu_set_t processors; /* that the test may run on */

/* Stay on the n-th of them. */
static void
stay_on(unsigned n)
{
	cpu_set_t one;
	size_t cpu = 0;

	while (!CPU_ISSET(cpu, &processors) || n-- > 0)
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	(void)sched_setaffinity(0, sizeof(one), &one);
}

static void
forget_lines(void)
{
#if defined(__x86_64__)
	for (unsigned i = 0; i < LATE_LINES; i++)
		__builtin_ia32_clflush(&late[i]);
#endif
	shm_fence();
}

/* The source has the round's number from now on. */
static void
write_late(void)
{
	for (unsigned i = 0; i < LATE_LINES; i++)
		shm_store64(&late[i].word, round_now);
	shm_store64(&source.word, round_now);
}

static void *
look_in_rounds(void *unused)
{
	uint64_t times = 0;
	struct prng prng;

	(void)unused;
	stay_on(1);
	test_random(&prng, 2);
	for (unsigned i = 0; i < ROUNDS; i++) {
		meet(&times);
		delay(&prng);
		order->look();
		seen = shm_load64(&source.word);
		meet(&times);
	}
	return NULL;
}

/* How many rounds were wrong. */
static unsigned
run_rounds(void)
{
	uint64_t times = 0;
	unsigned wrong = 0;
	struct prng prng;

	stay_on(0);
	test_random(&prng, 1);
	for (unsigned i = 0; i < ROUNDS; i++) {
		round_now++;
		order->prepare();
		forget_lines();
		meet(&times);
		delay(&prng);
		write_late();
		order->write();
		meet(&times);
		wrong += !order->is_right();
	}
	(void)sched_setaffinity(0, sizeof(processors), &processors);
	return wrong;
}

static void
run_order(const struct order *given)
{
	struct shmcache_options o = test_options();
	pthread_t thread;
	unsigned wrong;

	o.filter_items = 1;
	cache = test_cache_of(&o);
	order = given;
	arrivals = 0;
	call = test_enter(cache);
	test_hash(&call, "key", &key);
	if (pthread_create(&thread, NULL, look_in_rounds, NULL) != 0)
		fail();
	wrong = run_rounds();
	call_leave();
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(wrong, 0);
	assert_int_equal(shmcache_close(cache), 0);
}

/* A delete, after the source has changed, and a load that begins (token.h). */

static uint64_t installed;

static void
forget_token(void)
{
	shm_store64(token_at(call.m, key.hash),
	    token_fingerprint(~key.hash) | round_now);
}

static void
delete_key(void)
{
	(void)index_remove(&call, &key);
}

static void
begin_load(void)
{
	installed = token_install(call.m, key.hash);
}

/* The loader has loaded what is new, or its fill will be refused. */
static bool
is_load_new_or_refused(void)
{
	return seen == round_now ||
	       shm_load64(token_at(call.m, key.hash)) != installed;
}

static void
loads_see_what_was_written_before_a_delete(void **state)
{
	(void)state;
	run_order(&(struct order){
	    forget_token, delete_key, begin_load, is_load_new_or_refused });
}

/* A key that has become part of the source is added, and a builder begins. */

static uint32_t generation;

static void
prepare_nothing(void)
{
}

static void
add_key(void)
{
	(void)filter_add(call.m, 0, "key", 3);
}

static void
begin_build(void)
{
	(void)filter_begin(call.m, 1, &generation);
}

static bool
is_key_seen_or_added(void)
{
	return filter_publish(call.m, generation) == 0 &&
	       (seen == round_now || filter_may_have(&call, "key", 3));
}

static void
builders_see_what_was_written_before_an_add(void **state)
{
	(void)state;
	run_order(&(struct order){
	    prepare_nothing, add_key, begin_build, is_key_seen_or_added });
}

/* A reader pins an extent and looks at the word again, a reclaimer takes the word
   away and scans the pins (pin.h). */

static uint64_t word;
static bool is_there, is_pinned;

static void
unpin_and_link(void)
{
	shm_pin_clear(call.peer, SHM_PIN_ENTRY);
	shm_store64(&word, 1);
}

static void
pin_and_look(void)
{
	shm_pin_set(call.peer, SHM_PIN_ENTRY, 9);
	is_there = shm_load64_acquire(&word) != 0;
}

static void
unlink_and_scan(void)
{
	(void)shm_cas64(&word, 1, 0);
	is_pinned =
	    shm_pin_scan(call.m->segment, 9, 1u << SHM_PIN_ENTRY, false);
}

static bool
is_reader_seen_or_warned(void)
{
	return is_pinned || !is_there;
}

static void
reclaimers_see_pins_or_readers_that_the_word_is_gone(void **state)
{
	(void)state;
	run_order(&(struct order){ unpin_and_link, pin_and_look,
	    unlink_and_scan, is_reader_seen_or_warned });
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(loads_see_what_was_written_before_a_delete),
	cmocka_unit_test(builders_see_what_was_written_before_an_add),
	cmocka_unit_test(reclaimers_see_pins_or_readers_that_the_word_is_gone),
};

int
main(void)
{
	if (sched_getaffinity(0, sizeof(processors), &processors) != 0 ||
	    CPU_COUNT(&processors) < 2) {
		(void)puts("skipped: it needs two processors");
		return 77;
	}
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
