/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Application locks as one process sees them, and what the killed leave in their
 * table.
 */
#include "libshmcache/lock.h"
#include "libshmcache/owner.h"
#include "tests/unit/cache_support.h"

#include <errno.h>
#include <pthread.h>

static int
lock(struct shmcache *cache, const char *name, struct shmcache_lock *l)
{
	return shmcache_lock(cache, name, strlen(name), 0, l);
}

static void
names_are_locked_apart(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_lock a, b;

	(void)state;
	assert_int_equal(lock(cache, "a", &a), 0);
	assert_int_equal(lock(cache, "b", &b), 0);
	assert_true(b.fence > a.fence);
	assert_int_equal(lock(cache, "a", &b), SHMCACHE_EDEADLK);
	assert_int_equal(shmcache_unlock(cache, &a), 0);
	assert_int_equal(shmcache_unlock(cache, &a), SHMCACHE_ESTALE);
	assert_int_equal(lock(cache, "a", &a), 0);
	assert_true(a.fence > b.fence);
	assert_int_equal(test_stats(cache).locks, 3);
	assert_int_equal(shmcache_close(cache), 0);
}

/* A thread is the same by whatever handle. */
static void
own_lock_by_another_handle_is_told_at_once(void **state)
{
	struct shmcache *cache = test_cache(), *other;
	struct shmcache_lock l, m;

	(void)state;
	assert_int_equal(shmcache_open(cache->path, NULL, &other), 0);
	assert_int_equal(lock(cache, "a", &l), 0);
	assert_int_equal(
	    shmcache_lock(other, "a", 1, 5000, &m), SHMCACHE_EDEADLK);
	assert_int_equal(lock(other, "b", &m), 0);
	assert_int_equal(shmcache_unlock(other, &l), 0);
	assert_int_equal(lock(other, "a", &l), 0);
	assert_int_equal(
	    shmcache_lock(cache, "a", 1, 5000, &m), SHMCACHE_EDEADLK);
	assert_int_equal(shmcache_unlock(cache, &l), 0);
	assert_int_equal(shmcache_close(other), 0);
	assert_int_equal(lock(cache, "a", &l), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

/* Two names of so many bytes each, whose words look the same. */
static void
find_same_print(struct shmcache *cache, int bytes, int other_bytes,
    char one[SHMCACHE_LOCK_NAME_MAX], char other[SHMCACHE_LOCK_NAME_MAX])
{
	enum { NAMES = 4096 };
	static uint64_t prints[NAMES];

	for (unsigned base = 0;; base += NAMES) {
		for (unsigned i = 0; i < NAMES; i++) {
			(void)snprintf(one, SHMCACHE_LOCK_NAME_MAX, "%0*u",
			    bytes, base + i);
			prints[i] =
			    lock_name(cache->mapping, one, (size_t)bytes).print;
		}
		(void)snprintf(other, SHMCACHE_LOCK_NAME_MAX, "b%0*u",
		    other_bytes - 1, base);
		for (unsigned i = 0; i < NAMES; i++)
			if (prints[i] == lock_name(cache->mapping, other,
					     (size_t)other_bytes)
					     .print) {
				(void)snprintf(one, SHMCACHE_LOCK_NAME_MAX,
				    "%0*u", bytes, base + i);
				return;
			}
	}
}

static void
names_that_look_the_same_are_locked_apart(void **state)
{
	struct shmcache *cache = test_cache();
	char one[SHMCACHE_LOCK_NAME_MAX], other[SHMCACHE_LOCK_NAME_MAX];
	struct shmcache_lock a, b;

	(void)state;
	for (int longer = 0; longer < 2; longer++) {
		find_same_print(cache, 10, 10 + longer, one, other);
		assert_int_equal(lock(cache, one, &a), 0);
		assert_int_equal(lock(cache, other, &b), 0);
		assert_true(a.place != b.place);
		assert_int_equal(lock(cache, one, &b), SHMCACHE_EDEADLK);
		assert_int_equal(shmcache_unlock(cache, &a), 0);
		assert_int_equal(lock(cache, other, &a), SHMCACHE_EDEADLK);
		assert_int_equal(lock(cache, one, &a), 0);
		assert_int_equal(shmcache_unlock(cache, &a), 0);
		assert_int_equal(shmcache_unlock(cache, &b), 0);
	}
	assert_int_equal(shmcache_close(cache), 0);
}

static void
what_is_no_token_unlocks_nothing(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_lock held, wrong;

	(void)state;
	assert_int_equal(lock(cache, "a", &held), 0);
	wrong = held;
	wrong.place = UINT32_MAX;
	assert_int_equal(shmcache_unlock(cache, &wrong), SHMCACHE_ESTALE);
	wrong = held;
	wrong.word = 0;
	assert_int_equal(shmcache_unlock(cache, &wrong), SHMCACHE_ESTALE);
	wrong = held;
	wrong.segment_id++;
	assert_int_equal(shmcache_unlock(cache, &wrong), SHMCACHE_ESTALE);
	assert_int_equal(lock(cache, "a", &wrong), SHMCACHE_EDEADLK);
	assert_int_equal(shmcache_unlock(cache, &held), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
names_have_a_length(void **state)
{
	char name[SHMCACHE_LOCK_NAME_MAX + 1];
	struct shmcache *cache = test_cache();
	struct shmcache_lock l;

	(void)state;
	memset(name, 0, sizeof(name));
	assert_int_equal(
	    shmcache_lock(cache, name, sizeof(name), 0, &l), -EINVAL);
	assert_int_equal(
	    shmcache_lock(cache, name, sizeof(name) - 1, 0, &l), 0);
	assert_int_equal(shmcache_lock(cache, name, 0, 0, &l), -EINVAL);
	assert_int_equal(shmcache_lock(cache, NULL, 1, 0, &l), -EINVAL);
	assert_int_equal(shmcache_lock(cache, name, 1, 0, NULL), -EINVAL);
	assert_int_equal(shmcache_unlock(cache, NULL), -EINVAL);
	l.place = UINT32_MAX;
	assert_int_equal(shmcache_unlock(cache, &l), SHMCACHE_ESTALE);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
full_table_is_an_error(void **state)
{
	struct shmcache *cache = test_cache();
	uint32_t count = cache->mapping->lock_count;
	struct shmcache_lock l[64];
	char name[32];

	(void)state;
	assert_in_range(count, 1, 63);
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(lock(cache, test_key(name, "n", i), &l[i]), 0);
	assert_int_equal(lock(cache, "one more", &l[count]), SHMCACHE_ELOCKS);
	assert_int_equal(shmcache_unlock(cache, &l[3]), 0);
	assert_int_equal(lock(cache, "one more", &l[3]), 0);
	assert_int_equal(lock(cache, "n-5", &l[count]), SHMCACHE_EDEADLK);
	assert_int_equal(shmcache_close(cache), 0);
}

struct other {
	struct shmcache *cache;
	uint32_t timeout_ms;
	int result;
	struct shmcache_lock lock;
};

static void *
lock_in_thread(void *context)
{
	struct other *o = context;

	o->result = shmcache_lock(o->cache, "name", 4, o->timeout_ms, &o->lock);
	return NULL;
}

static void
run_thread(struct other *o)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, lock_in_thread, o), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void
others_wait_for_their_time(void **state)
{
	struct other o = { .cache = test_cache() };
	struct shmcache_lock mine;

	(void)state;
	assert_int_equal(lock(o.cache, "name", &mine), 0);
	run_thread(&o);
	assert_int_equal(o.result, -ETIMEDOUT);
	o.timeout_ms = 30;
	run_thread(&o);
	assert_int_equal(o.result, -ETIMEDOUT);
	assert_int_equal(shmcache_unlock(o.cache, &mine), 0);
	run_thread(&o);
	assert_int_equal(o.result, 0);
	/* That thread has ended, and with it its lock. */
	assert_int_equal(lock(o.cache, "name", &mine), 0);
	assert_true(mine.fence > o.lock.fence);
	assert_int_equal(shmcache_unlock(o.cache, &o.lock), SHMCACHE_ESTALE);
	assert_int_equal(shmcache_unlock(o.cache, &mine), 0);
	assert_int_equal(shmcache_close(o.cache), 0);
}

/* A place as somebody leaves it who was killed there: its owner is no peer. */
static void
plant(struct shmcache *cache, uint32_t place, uint64_t state, const char *name)
{
	struct lock_shared *l = &cache->mapping->locks[place];
	struct lock_name n = lock_name(cache->mapping, name, strlen(name));

	l->name_bytes = n.bytes;
	memcpy(l->name, name, n.bytes);
	l->word = word_next(
	    l->word, state << WORD_STATE_SHIFT, n.print, owner_make(20, 0));
}

static void
what_the_killed_leave_holds_nobody_up(void **state)
{
	struct shmcache *cache = test_cache();
	uint32_t count = cache->mapping->lock_count;
	struct shmcache_lock l;
	uint64_t word;

	(void)state;
	for (uint64_t s = 1; s <= 3; s++) { /* HELD, WRITING, TENTATIVE */
		plant(cache, 0, s, "name");
		plant(cache, count - 1, s == 1 ? 3 : s, "name");
		assert_int_equal(lock(cache, "name", &l), 0);
		assert_int_equal(shmcache_unlock(cache, &l), 0);
	}
	/* A place that was given back is none's, whatever name is in it. */
	plant(cache, count - 1, 0, "name");
	word = cache->mapping->locks[count - 1].word;
	assert_int_equal(lock(cache, "name", &l), 0);
	assert_true(cache->mapping->locks[count - 1].word == word);
	assert_int_equal(shmcache_unlock(cache, &l), 0);
	/* A table full of it. */
	for (uint32_t i = 0; i < count; i++)
		plant(cache, i, 1 + i % 3, "other");
	assert_int_equal(lock(cache, "name", &l), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

/* Of the handle that it was taken by, not of the thread. */
static void
closing_a_handle_frees_its_locks(void **state)
{
	struct shmcache *cache = test_cache(), *other;
	struct shmcache_lock l, m;

	(void)state;
	assert_int_equal(shmcache_open(cache->path, NULL, &other), 0);
	assert_int_equal(lock(other, "a", &l), 0);
	assert_int_equal(lock(cache, "b", &m), 0);
	assert_int_equal(shmcache_close(other), 0);
	assert_int_equal(lock(cache, "a", &l), 0);
	assert_int_equal(lock(cache, "b", &m), SHMCACHE_EDEADLK);
	assert_int_equal(shmcache_close(cache), 0);
}

struct shared_lock {
	struct shmcache *cache;
	struct shmcache_lock lock;
};

static int
lock_and_unlock_in_child(void *context)
{
	struct shared_lock *s = context;
	struct shmcache_lock l;

	if (lock(s->cache, "a", &l) != -ETIMEDOUT)
		return 1;
	if (shmcache_unlock(s->cache, &s->lock) != 0)
		return 2;
	return lock(s->cache, "a", &l) == 0 ? 0 : 3;
}

/* It may give back what it has got the struct of, and owns nothing. */
static void
forked_child_may_unlock_and_does_not_own(void **state)
{
	struct shared_lock s = { .cache = test_cache() };

	(void)state;
	assert_int_equal(lock(s.cache, "a", &s.lock), 0);
	assert_int_equal(test_child_run(lock_and_unlock_in_child, &s), 0);
	assert_int_equal(shmcache_unlock(s.cache, &s.lock), SHMCACHE_ESTALE);
	assert_int_equal(lock(s.cache, "a", &s.lock), 0); /* it has ended */
	assert_int_equal(shmcache_close(s.cache), 0);
}

static void
new_cache_counts_from_one(void **state)
{
	struct shmcache_options o = test_options();
	struct shmcache *cache = test_cache(), *heir;
	struct shmcache_lock l, m;

	(void)state;
	assert_int_equal(lock(cache, "a", &l), 0);
	assert_int_equal(lock(cache, "b", &l), 0);
	assert_int_equal(l.fence, 2);
	assert_int_equal(shmcache_remove(cache->path), 0);
	assert_int_equal(shmcache_open(cache->path, &o, &heir), 0);
	assert_int_equal(lock(heir, "a", &m), 0);
	assert_int_equal(m.fence, 1);
	assert_int_equal(shmcache_unlock(heir, &l), SHMCACHE_ESTALE);
	assert_int_equal(shmcache_close(heir), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static uint64_t inside;
static uint64_t total;

static void *
lock_often(void *context)
{
	struct shmcache_lock l;
	uint64_t last = 0;

	for (unsigned i = 0; i < 500; i++) {
		assert_int_equal(
		    shmcache_lock(context, "counter", 7, 60000, &l), 0);
		assert_int_equal(shm_faa64(&inside, 1), 0);
		assert_true(l.fence > last);
		last = l.fence;
		total++;
		(void)shm_faa64(&inside, UINT64_MAX);
		assert_int_equal(shmcache_unlock(context, &l), 0);
	}
	return NULL;
}

static void
one_at_a_time(void **state)
{
	struct shmcache *cache = test_cache();
	pthread_t threads[6];

	(void)state;
	inside = total = 0;
	for (size_t i = 0; i < TEST_COUNT_OF(threads); i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, lock_often, cache), 0);
	for (size_t i = 0; i < TEST_COUNT_OF(threads); i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(total, 500 * TEST_COUNT_OF(threads));
	assert_int_equal(shmcache_close(cache), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(names_are_locked_apart),
	cmocka_unit_test(names_that_look_the_same_are_locked_apart),
	cmocka_unit_test(what_is_no_token_unlocks_nothing),
	cmocka_unit_test(own_lock_by_another_handle_is_told_at_once),
	cmocka_unit_test(names_have_a_length),
	cmocka_unit_test(full_table_is_an_error),
	cmocka_unit_test(others_wait_for_their_time),
	cmocka_unit_test(what_the_killed_leave_holds_nobody_up),
	cmocka_unit_test(closing_a_handle_frees_its_locks),
	cmocka_unit_test(forked_child_may_unlock_and_does_not_own),
	cmocka_unit_test(new_cache_counts_from_one),
	cmocka_unit_test(one_at_a_time),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
