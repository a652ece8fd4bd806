/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Loaders that ask for their own key, that are left by longjmp(), that yield to
 * each other on stacks of their own, and that return in another thread.
 */
#include "libshmcache/loading.h"
#include "tests/unit/cache_support.h"

#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <time.h>
#include <ucontext.h>

/* ThreadSanitizer is not told of stacks. */
#if defined(__SANITIZE_THREAD__)
#define HAS_STACKS 0
#else
#define HAS_STACKS 1
#endif

#define STACK_BYTES (256u << 10)
#define ROUTINES    3u

static struct shmcache *cache;
static struct shmcache_load_options options;

static void
begin(void)
{
	options = (struct shmcache_load_options)SHMCACHE_LOAD_OPTIONS_INIT;
	cache = test_cache();
}

static void
end(void)
{
	test_assert_sound(cache);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
sleep_ms(unsigned ms)
{
	const struct timespec time = { .tv_nsec = (long)ms * 1000000 };

	(void)nanosleep(&time, NULL);
}

typedef void during(void *context);

/* What a loader does before it gives "value". */
struct source {
	during *during;
	void *context;
};

static int
load(void *context, const void *key, size_t key_bytes,
    struct shmcache_loaded *loaded)
{
	struct source *s = context;

	(void)key;
	(void)key_bytes;
	if (s->during != NULL)
		s->during(s->context);
	loaded->value = strdup("value");
	loaded->value_bytes = 5;
	return 0;
}

/* The result if it is an error, else the source. */
static int
get_by(struct shmcache *by, const char *key, struct source *s)
{
	struct shmcache_value v;
	int error =
	    shmcache_get_or_load(by, key, strlen(key), load, s, &options, &v);

	if (error != 0)
		return error;
	assert_string_equal(v.value, "value");
	free(v.value);
	return (int)v.source;
}

static int
get(const char *key)
{
	struct source plain = { .during = NULL };

	return get_by(cache, key, &plain);
}

/* By another handle of the same cache. */
struct by_other {
	struct shmcache *other;
	int get, get_another, begun;
};

static void
ask_by_other(void *context)
{
	struct source plain = { .during = NULL };
	struct by_other *b = context;
	struct shmcache_token token;
	struct shmcache_value v;

	b->get = get_by(b->other, "key", &plain);
	b->get_another = get_by(b->other, "another", &plain);
	assert_int_equal(
	    shmcache_begin_load(b->other, "key", 3, NULL, &v, &token), 0);
	b->begun = (int)v.source;
}

static void
own_key_by_another_handle_is_told_at_once(void **state)
{
	struct by_other b = { .other = NULL };
	struct source s = { .during = ask_by_other, .context = &b };

	(void)state;
	begin();
	options.lease_ms = options.timeout_ms = 100000000; /* else hangs */
	assert_int_equal(shmcache_open(cache->path, NULL, &b.other), 0);
	assert_true(get_by(cache, "key", &s) >= SHMCACHE_FROM_LOAD);
	assert_int_equal(b.get, SHMCACHE_EDEADLK);
	assert_true(b.get_another >= SHMCACHE_FROM_LOAD);
	assert_int_equal(b.begun, SHMCACHE_BUSY);
	assert_int_equal(shmcache_close(b.other), 0);
	end();
}

/* A token is no loader: it may be ended while this thread loads by itself. */
static void
own_token_by_another_handle_is_not_waited_for(void **state)
{
	struct source plain = { .during = NULL };
	struct shmcache *other;
	struct shmcache_token token, second;
	struct shmcache_value v;

	(void)state;
	begin();
	options.lease_ms = 600000;
	options.timeout_ms = 5000;
	options.on_timeout = SHMCACHE_TIMEOUT_FAIL;
	assert_int_equal(shmcache_open(cache->path, NULL, &other), 0);
	assert_int_equal(
	    shmcache_begin_load(cache, "key", 3, &options, &v, &token), 0);
	assert_int_equal(v.source, SHMCACHE_LEAD);
	assert_int_equal(
	    shmcache_begin_load(other, "key", 3, NULL, &v, &second), 0);
	assert_int_equal(v.source, SHMCACHE_BUSY);
	assert_int_equal(get_by(other, "key", &plain), SHMCACHE_FROM_LOAD);
	assert_int_equal(shmcache_abandon(cache, &token), 0);
	assert_int_equal(shmcache_close(other), 0);
	end();
}

static struct shmcache *reopened;

static void
ask_by_both(void *context)
{
	struct source plain = { .during = NULL };
	int *results = context;

	results[0] = get_by(reopened, "key", &plain);
	assert_int_equal(shmcache_remove(cache->path), 0);
	results[1] = get_by(cache, "key", &plain);
}

/* The cache goes while its loader runs; the handle is the same. */
static void
own_key_of_a_removed_cache_is_told(void **state)
{
	int results[2] = { 0, 0 };
	struct source s = { .during = ask_by_both, .context = results };

	(void)state;
	begin();
	assert_int_equal(shmcache_open(cache->path, NULL, &reopened), 0);
	assert_int_equal(get_by(cache, "key", &s), SHMCACHE_FROM_LOAD_ONLY);
	assert_int_equal(results[0], SHMCACHE_EDEADLK);
	assert_int_equal(results[1], SHMCACHE_EDEADLK);
	assert_int_equal(get("key"), SHMCACHE_FROM_LOAD_ONLY);
	assert_int_equal(shmcache_close(reopened), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

/* Only the first is slow. */
static void
be_late_and_ask(void *context)
{
	int *result = context;

	sleep_ms(30);
	*result = get("key");
}

static void
late_loader_is_told_no_more(void **state)
{
	int result = 0;
	struct source s = { .during = be_late_and_ask, .context = &result };

	(void)state;
	begin();
	options.lease_ms = 1;
	assert_int_equal(get_by(cache, "key", &s), SHMCACHE_FROM_LOAD_ONLY);
	assert_int_equal(result, SHMCACHE_FROM_LOAD);
	end();
}

static void
leave(void *context)
{
	longjmp(*(jmp_buf *)context, 1);
}

static void
load_and_leave(void)
{
	jmp_buf back;
	struct source s = { .during = leave, .context = &back };

	if (setjmp(back) == 0) {
		(void)get_by(cache, "key", &s);
		fail();
	}
}

/* Far below any call that was made before. */
static __attribute__((noinline)) int
get_from_below(void)
{
	char room[16384];
	int result;

	__asm__ volatile("" : : "r"(room) : "memory");
	result = get("key");
	__asm__ volatile("" : : "r"(room) : "memory");
	return result;
}

/* What such a loader leaves is the same thread's to load at once where it can be
   seen that it was left, and else when its time is over, as for all others. */
static void
left_by_longjmp_until_it_is_late(void **state)
{
	(void)state;
#if defined(__SANITIZE_ADDRESS__)
	skip(); /* what such a loader loses is a leak, as documented */
#endif
	begin();
	options.lease_ms = 600000;
	load_and_leave();
	assert_int_equal(get_from_below(), SHMCACHE_EDEADLK);
	assert_int_equal(get("key"), SHMCACHE_FROM_LOAD);
	assert_int_equal(shmcache_delete(cache, "key", 3), 0);
	end();
	begin();
	options.lease_ms = 50;
	load_and_leave();
	sleep_ms(80);
	assert_int_equal(get_from_below(), SHMCACHE_FROM_LOAD);
	end();
}

/* Coroutines. */
struct routine {
	ucontext_t here, *back;
	const char *key;
	int result;
	bool is_done;
};

static struct routine *current;
static char *stacks;

static void
yield(void *context)
{
	struct routine *r = context;

	assert_int_equal(swapcontext(&r->here, r->back), 0);
}

static void
run_routine(void)
{
	struct routine *r = current;
	struct source s = { .during = yield, .context = r };

	r->result = get_by(cache, r->key, &s);
	r->is_done = true;
	(void)setcontext(r->back);
}

/* Until it yields, or ends. */
static void
resume(struct routine *r)
{
	ucontext_t back;

	current = r;
	r->back = &back;
	assert_int_equal(swapcontext(&back, &r->here), 0);
}

static void
start(struct routine *r, unsigned stack, const char *key)
{
	*r = (struct routine){ .key = key };
	assert_int_equal(getcontext(&r->here), 0);
	r->here.uc_stack.ss_sp = stacks + (size_t)stack * STACK_BYTES;
	r->here.uc_stack.ss_size = STACK_BYTES;
	makecontext(&r->here, run_routine, 0);
	resume(r);
}

static bool
begin_with_stacks(void)
{
	if (!HAS_STACKS)
		return false;
	stacks = malloc((size_t)ROUTINES * STACK_BYTES);
	assert_non_null(stacks);
	begin();
	return true;
}

static void
end_with_stacks(void)
{
	free(stacks);
	end();
}

/* On stacks above and below the other's, and on the thread's. */
static void
others_ask_meanwhile(unsigned loader, unsigned asker)
{
	struct shmcache_token token;
	struct shmcache_value v;
	struct routine first, second, third;

	(void)shmcache_delete(cache, "key", 3);
	(void)shmcache_delete(cache, "another", 7);
	start(&first, loader, "key");
	assert_false(first.is_done);
	assert_int_equal(get("key"), SHMCACHE_EDEADLK);
	assert_int_equal(get_from_below(), SHMCACHE_EDEADLK);
	start(&second, asker, "key");
	assert_true(second.is_done);
	assert_int_equal(second.result, SHMCACHE_EDEADLK);
	assert_int_equal(
	    shmcache_begin_load(cache, "key", 3, NULL, &v, &token), 0);
	assert_int_equal(v.source, SHMCACHE_BUSY);
	/* They end in another order than that of their beginning. */
	start(&third, asker, "another");
	assert_false(third.is_done);
	resume(&first);
	assert_true(first.is_done);
	assert_true(first.result >= SHMCACHE_FROM_LOAD);
	assert_true(get("key") >= SHMCACHE_FROM_CACHE);
	assert_int_equal(get("another"), SHMCACHE_EDEADLK);
	resume(&third);
	assert_true(third.is_done);
	assert_true(third.result >= SHMCACHE_FROM_LOAD);
	assert_true(get("another") >= SHMCACHE_FROM_CACHE);
}

static void
coroutines_yield_to_each_other(void **state)
{
	(void)state;
	if (!begin_with_stacks())
		skip();
	others_ask_meanwhile(0, 2);
	others_ask_meanwhile(2, 0);
	end_with_stacks();
}

/* Notes of what another coroutine ends first, and of the late. */
static void
late_coroutine_may_be_followed(void **state)
{
	struct routine first, second;

	(void)state;
	if (!begin_with_stacks())
		skip();
	options.lease_ms = 20;
	start(&first, 0, "key");
	sleep_ms(50);
	start(&second, 2, "key");
	assert_false(second.is_done);
	resume(&second);
	assert_int_equal(second.result, SHMCACHE_FROM_LOAD);
	resume(&first);
	assert_int_equal(first.result, SHMCACHE_FROM_LOAD_ONLY);
	end_with_stacks();
}

static void *
resume_in_thread(void *context)
{
	resume(context);
	return NULL;
}

static void
finish_in_thread(struct routine *r)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, resume_in_thread, r), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(r->is_done);
}

static void
loader_returns_in_another_thread(void **state)
{
	struct routine first, second;

	(void)state;
	if (!begin_with_stacks())
		skip();
	start(&first, 0, "key");
	start(&second, 1, "another");
	finish_in_thread(&first);
	assert_true(first.result >= SHMCACHE_FROM_LOAD);
	(void)shmcache_delete(cache, "key", 3);
	assert_true(get("key") >= SHMCACHE_FROM_CACHE);
	assert_int_equal(get("another"), SHMCACHE_EDEADLK);
	/* And one that this thread has forgotten, as it was late. */
	finish_in_thread(&second);
	options.lease_ms = 1;
	start(&first, 0, "late");
	sleep_ms(20);
	options.lease_ms = 0;
	assert_true(get("late") >= SHMCACHE_FROM_CACHE);
	finish_in_thread(&first);
	assert_true(first.result >= SHMCACHE_FROM_LOAD);
	end_with_stacks();
}

/* What a load took is given back by its thread or by who ends it, whoever comes
   last. */

#define ENDINGS 200u

static void *
end_it(void *l)
{
	loading_end(l);
	return NULL;
}

static void
end_in_other_thread(struct loading *l)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, end_it, l), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void
begin_and_end(bool is_late)
{
	struct loading_key key = {
		.cache = cache, .data = "key", .bytes = 3, .frame = UINTPTR_MAX
	};
	struct loading_key none = key;
	struct loading *l = loading_begin(&key, is_late ? 0 : 600000);

	none.data = "not";
	assert_non_null(l);
	if (is_late)
		assert_false(loading_is(&none)); /* which tidies */
	end_in_other_thread(l);
	assert_false(loading_is(&none));
	assert_false(loading_is(&key));
}

static void
who_comes_last_frees(void **state)
{
	size_t before;

	(void)state;
	begin();
	for (unsigned late = 0; late < 2; late++) {
		begin_and_end(late);
		before = mallinfo2().uordblks;
		for (unsigned i = 0; i < ENDINGS; i++)
			begin_and_end(late);
		assert_true(mallinfo2().uordblks < before + ENDINGS * 16);
	}
	end();
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(who_comes_last_frees),
	cmocka_unit_test(own_key_by_another_handle_is_told_at_once),
	cmocka_unit_test(own_token_by_another_handle_is_not_waited_for),
	cmocka_unit_test(own_key_of_a_removed_cache_is_told),
	cmocka_unit_test(late_loader_is_told_no_more),
	cmocka_unit_test(left_by_longjmp_until_it_is_late),
	cmocka_unit_test(coroutines_yield_to_each_other),
	cmocka_unit_test(late_coroutine_may_be_followed),
	cmocka_unit_test(loader_returns_in_another_thread),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
