/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libshmcache_reuse_test.c - a reader stands still while its extent is reused
 *
 * The interleaving that the re-check after a pin is for, and that takes minutes to
 * come by itself.  A thread executes a get instruction by instruction (steps.h).
 * Between having read the slot word and publishing its pin, the others evict the
 * entry, until its extent is free: the bytes are still those of the entry.  Some
 * instructions later they write all memory over.  The get may miss, or return
 * the value; never anything else.
 */
#include "tests/support/other.h"
#include "tests/support/steps.h"
#include "tests/unit/cache_support.h"

#define KEY         "the key"
#define VALUE_BYTES 200u
#define SETS_MAX    2000u /* several times all memory */
#define BEFORE_PIN  16u   /* instructions */

static struct shmcache *cache;
static char value[VALUE_BYTES];

/* What the stepped thread does. */
typedef int reader(char out[VALUE_BYTES]);

/* The other's tasks.  (No assertions: it is not the test's thread.) */

static unsigned others_set;
static struct shm_extent home; /* the entry's extent, before */

static void
set_another(void)
{
	char key[32], bytes[VALUE_BYTES];

	memset(bytes, 'x', sizeof(bytes));
	(void)snprintf(key, sizeof(key), "other-%u", others_set++);
	(void)shmcache_set(cache, key, strlen(key), bytes, sizeof(bytes), 0, 0);
}

static bool
is_home_free(void)
{
	struct shm_extent now =
	    shm_arena_state(cache->mapping->segment, home.number);

	return now.state == SHM_FREE && now.generation != home.generation;
}

/* Until the entry's extent is free, if it comes to that. */
static void
evict_it(void)
{
	for (unsigned i = 0; i < SETS_MAX && !is_home_free(); i++)
		set_another();
}

static void
write_all_over(void)
{
	for (unsigned i = 0; i < SETS_MAX / 4; i++)
		set_another();
}

/* A run: the others come after two instructions. */
struct run {
	reader *by;
	uint64_t evict_at, write_at;
	uint64_t pinned_at; /* seen */
	bool freed;
	int result;
	char out[VALUE_BYTES];
};

static bool
look_for_pin(void *context, uint64_t step)
{
	struct run *run = context;
	const uint64_t *pins = cache_thread.peer->shared->pins;

	for (unsigned i = 0; i < SHM_PIN_END && run->pinned_at == 0; i++)
		if (pins[i] != 0)
			run->pinned_at = step;
	return true;
}

static bool
come_between(void *context, uint64_t step)
{
	struct run *run = context;

	if (step == run->evict_at) {
		let_other(evict_it);
		run->freed = is_home_free();
	}
	if (step < run->write_at)
		return run->freed || step < run->evict_at;
	let_other(write_all_over);
	return false;
}

static void
read_it(void *argument)
{
	struct run *run = argument;

	run->result = run->by(run->out);
}

static void
prepare(void)
{
	assert_int_equal(
	    shmcache_set(cache, KEY, strlen(KEY), value, VALUE_BYTES, 0, 0), 0);
	home = test_extent_of(cache, KEY);
}

static void
check(const struct run *run)
{
	if (run->result == SHMCACHE_ENOENT)
		return;
	assert_int_equal(run->result, 0);
	assert_memory_equal(run->out, value, VALUE_BYTES);
}

/* Evict after an instruction before the pin, write over after one behind it:
   every `write_every`th, from `write_from` on. */
static void
try_all(reader *by, uint64_t write_from, uint64_t write_every)
{
	struct run whole = { .by = by };
	unsigned freed = 0;
	uint64_t steps;

	prepare();
	steps = steps_run(look_for_pin, &whole, read_it, &whole);
	assert_int_equal(whole.result, 0);
	assert_true(whole.pinned_at > BEFORE_PIN && whole.pinned_at < steps);
	for (uint64_t evict = 1; evict < BEFORE_PIN; evict += 4)
		for (uint64_t write = write_from;
		     write == write_from || whole.pinned_at + write < steps;
		     write += write_every) {
			struct run run = { .by = by,
				.evict_at = whole.pinned_at - evict,
				.write_at = whole.pinned_at + write };

			prepare();
			(void)steps_run(come_between, &run, read_it, &run);
			check(&run);
			freed += run.freed;
		}
	assert_true(freed > 0);
}

static int
get_copied(char out[VALUE_BYTES])
{
	size_t bytes;

	return shmcache_get(
	    cache, KEY, strlen(KEY), out, VALUE_BYTES, &bytes, NULL);
}

static int
get_pinned(char out[VALUE_BYTES])
{
	struct shmcache_item item;
	int result = shmcache_get_pinned(cache, KEY, strlen(KEY), &item);

	if (result != 0)
		return result;
	let_other(write_all_over);
	memcpy(out, item.value, VALUE_BYTES);
	return shmcache_unpin(cache, &item);
}

static int
setup(void **state)
{
	struct shmcache_options o = test_options();

	(void)state;
	memset(value, 'v', sizeof(value));
	cache = test_cache_of(&o);
	if (!other_begin())
		return -1;
	let_other(set_another);
	prepare(); /* this thread has its peer */
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	(void)other_end();
	return shmcache_close(cache);
}

static void
test_copied(void **state)
{
	(void)state;
	try_all(get_copied, 0, 11);
	test_assert_sound(cache);
}

/* (Here the bytes are written over when the call is done.) */
static void
test_in_place(void **state)
{
	(void)state;
	try_all(get_pinned, UINT32_MAX, 1);
	test_assert_sound(cache);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_copied, setup, teardown),
		cmocka_unit_test_setup_teardown(test_in_place, setup, teardown),
	};

	if (!steps_possible())
		return steps_skip();
	return cmocka_run_group_tests(
	    tests, test_group_setup_one_cpu, test_group_teardown);
}
