/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The filter: no key that was added is denied, however often it is rebuilt; few
 * that were not are let through; files that are damaged are refused.
 */
#include "libshmcache/filter.h"
#include "tests/unit/cache_support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static struct shmcache *
cache_with_filter(uint64_t items, uint32_t error_ppm)
{
	struct shmcache_options o = test_options();

	o.capacity_bytes = 2u << 20;
	o.filter_items = items;
	o.filter_error_ppm = error_ppm;
	return test_cache_of(&o);
}

static void
add(struct shmcache *cache, uint64_t build, const char *prefix, unsigned n)
{
	char key[32];

	test_key(key, prefix, n);
	assert_int_equal(
	    shmcache_filter_add(cache, build, key, strlen(key)), 0);
}

static bool
may_have(struct shmcache *cache, const char *prefix, unsigned n)
{
	char key[32];
	int result;

	test_key(key, prefix, n);
	result = shmcache_filter_check(cache, key, strlen(key));
	assert_in_range(result, 0, 1);
	return result == 1;
}

static uint64_t
begin(struct shmcache *cache)
{
	uint64_t build = 0;

	assert_int_equal(shmcache_filter_begin(cache, &build), 0);
	return build;
}

static void
publish_list(struct shmcache *cache, const char *prefix, unsigned count)
{
	uint64_t build = begin(cache);

	for (unsigned i = 0; i < count; i++)
		add(cache, build, prefix, i);
	assert_int_equal(shmcache_filter_publish(cache, build), 0);
}

static void
without_one_everything_may_exist(void **state)
{
	struct shmcache *cache = test_cache();
	uint64_t build = 0;

	(void)state;
	assert_true(may_have(cache, "k", 1));
	assert_int_equal(shmcache_filter_begin(cache, &build), -ENOTSUP);
	assert_int_equal(shmcache_filter_add(cache, 0, "k", 1), -ENOTSUP);
	assert_int_equal(shmcache_filter_drop(cache), -ENOTSUP);
	assert_int_equal(
	    shmcache_filter_save(cache, "/nonexistent/f"), SHMCACHE_ENOENT);
	assert_int_equal(shmcache_close(cache), 0);
	cache = cache_with_filter(100, 0);
	assert_true(may_have(cache, "k", 1));
	assert_int_equal(shmcache_filter_add(cache, 0, "k", 1), 0);
	assert_int_equal(
	    shmcache_filter_save(cache, "/nonexistent/f"), SHMCACHE_ENOENT);
	assert_int_equal(shmcache_filter_drop(cache), 0);
	assert_true(may_have(cache, "k", 1));
	assert_int_equal(test_stats(cache).filter_rejects, 0);
	assert_int_equal(shmcache_filter_check(cache, "", 0), SHMCACHE_EKEY);
	assert_int_equal(shmcache_filter_begin(cache, NULL), -EINVAL);
	assert_int_equal(shmcache_close(cache), 0);
}

/* With as many keys as it was made for, the share of false positives is what was
   asked for, and what stats tells. */
static void
error_is_as_asked(void **state)
{
	static const uint32_t asked_ppm[] = { 1000, 10000, 100000 };

	(void)state;
	for (size_t a = 0; a < TEST_COUNT_OF(asked_ppm); a++) {
		struct shmcache *cache = cache_with_filter(20000, asked_ppm[a]);
		unsigned wrong = 0, asked = 100000;
		struct shmcache_stats stats;
		double share;

		publish_list(cache, "in", 20000);
		for (unsigned i = 0; i < 20000; i++)
			assert_true(may_have(cache, "in", i));
		for (unsigned i = 0; i < asked; i++)
			wrong += may_have(cache, "out", i);
		stats = test_stats(cache);
		share = (double)wrong / asked * 1e6;
		print_message("asked %u ppm, got %.0f, stats say %u; %u bits "
			      "a key\n",
		    asked_ppm[a], share, (unsigned)stats.filter_error_ppm,
		    (unsigned)(stats.filter_bytes / 2 * 8 / 20000));
		/* 5 standard deviations at 1000 ppm are half of it. */
		assert_true(share > asked_ppm[a] * 0.5);
		assert_true(share < asked_ppm[a] * 1.5);
		assert_true(stats.filter_error_ppm > asked_ppm[a] * 0.8);
		assert_true(stats.filter_error_ppm < asked_ppm[a] * 1.2);
		assert_int_equal(stats.filter_items, 20000);
		assert_int_equal(stats.filter_rejects, asked - wrong);
		assert_int_equal(stats.filter_passes, 20000 + wrong);
		assert_int_equal(shmcache_close(cache), 0);
	}
}

static void
swaps_forget_what_is_gone(void **state)
{
	struct shmcache *cache = cache_with_filter(1000, 0);
	unsigned left = 0;

	(void)state;
	publish_list(cache, "old", 500);
	publish_list(cache, "new", 500);
	for (unsigned i = 0; i < 500; i++) {
		assert_true(may_have(cache, "new", i));
		left += may_have(cache, "old", i);
	}
	assert_true(left < 25);
	assert_true(test_stats(cache).filter_error_ppm > 0);
	assert_int_equal(shmcache_filter_drop(cache), 0);
	assert_true(may_have(cache, "old", 1) && may_have(cache, "old", 2));
	assert_int_equal(test_stats(cache).filter_error_ppm, 0);
	publish_list(cache, "old", 500);
	for (unsigned i = 0; i < 500; i++)
		assert_true(may_have(cache, "old", i));
	assert_int_equal(shmcache_close(cache), 0);
}

static void
adds_go_to_both(void **state)
{
	struct shmcache *cache = cache_with_filter(1000, 0);
	uint64_t first, second;

	(void)state;
	publish_list(cache, "in", 10);
	first = begin(cache);
	add(cache, 0, "late", 1);
	assert_true(may_have(cache, "late", 1));
	second = begin(cache); /* the first is nobody's any more */
	add(cache, 0, "late", 2);
	assert_int_equal(
	    shmcache_filter_add(cache, first, "k", 1), SHMCACHE_ESTALE);
	assert_int_equal(
	    shmcache_filter_publish(cache, first), SHMCACHE_ESTALE);
	assert_true(may_have(cache, "late", 1));
	assert_int_equal(shmcache_filter_drop(cache), 0);
	assert_int_equal(shmcache_filter_publish(cache, second), 0);
	assert_false(may_have(cache, "late", 1));
	assert_true(may_have(cache, "late", 2));
	assert_int_equal(
	    shmcache_filter_publish(cache, second), SHMCACHE_ESTALE);
	assert_int_equal(shmcache_filter_publish(cache, second + (1ull << 32)),
	    SHMCACHE_ESTALE);
	assert_int_equal(shmcache_close(cache), 0);
}

/* More than the tags of a word can tell apart. */
static void
any_number_of_builds(void **state)
{
	struct shmcache *cache = cache_with_filter(10, 0);

	(void)state;
	publish_list(cache, "first", 1);
	for (unsigned i = 0; i < 140000; i++) {
		uint64_t build = begin(cache);

		if (i % 7 == 0)
			continue; /* never finished */
		add(cache, build, "k", i);
		assert_int_equal(shmcache_filter_publish(cache, build), 0);
		assert_true(may_have(cache, "k", i));
		assert_false(may_have(cache, "k", i + 1) &&
			     may_have(cache, "k", i + 2) &&
			     may_have(cache, "k", i + 3));
	}
	assert_int_equal(shmcache_close(cache), 0);
}

/* The half in use keeps its tag meanwhile, and is then built anew. */
static void
builds_that_nobody_finishes_are_forgotten(void **state)
{
	struct shmcache *cache = cache_with_filter(10, 0);

	(void)state;
	publish_list(cache, "first", 1);
	for (unsigned i = 0; i < 33000; i++)
		(void)begin(cache);
	publish_list(cache, "second", 1);
	assert_true(may_have(cache, "second", 0));
	publish_list(cache, "third", 1);
	assert_true(may_have(cache, "third", 0));
	assert_int_equal(shmcache_close(cache), 0);
}

/* A builder that was stopped goes on when its half has come to other uses. */
static void
who_was_stopped_spoils_nothing(void **state)
{
	struct shmcache *cache = cache_with_filter(200, 0);
	uint64_t words[8 * 64];
	struct call call;
	uint32_t stopped = (uint32_t)begin(cache);

	(void)state;
	memset(words, 0xff, sizeof(words));
	publish_list(cache, "a", 100);
	publish_list(cache, "b", 100);
	publish_list(cache, "c", 100); /* in the half of the first */
	call = test_enter(cache);
	assert_true(call.m->filter_lines <= 64);
	filter_fill(call.m, stopped, words);
	call_leave();
	for (unsigned i = 0; i < 100; i++)
		assert_true(may_have(cache, "c", i));
	assert_true(test_stats(cache).filter_error_ppm < 10000);
	assert_int_equal(shmcache_close(cache), 0);
}

static const char *
file_path(void)
{
	static char path[64];

	if (path[0] == 0)
		(void)snprintf(path, sizeof(path), "/tmp/shmcache-filter-%d",
		    (int)getpid());
	return path;
}

static void
saved_filters_come_back(void **state)
{
	struct shmcache *cache = cache_with_filter(1000, 0);
	struct shmcache *other = cache_with_filter(1000, 0);
	struct shmcache *larger = cache_with_filter(5000, 0);
	uint64_t build = 0;
	unsigned wrong = 0;

	(void)state;
	publish_list(cache, "in", 1000);
	assert_int_equal(shmcache_filter_save(cache, file_path()), 0);
	assert_int_equal(shmcache_filter_save(cache, file_path()), 0);
	assert_int_equal(shmcache_filter_load(other, file_path(), &build), 0);
	assert_true(may_have(other, "out", 1) && may_have(other, "out", 2));
	add(other, build, "since", 1);
	assert_int_equal(shmcache_filter_publish(other, build), 0);
	assert_true(may_have(other, "since", 1));
	for (unsigned i = 0; i < 1000; i++) {
		assert_true(may_have(other, "in", i));
		wrong += may_have(other, "out", i);
	}
	assert_true(wrong < 50);
	assert_int_equal(
	    shmcache_filter_load(larger, file_path(), &build), -EINVAL);
	assert_non_null(strstr(shmcache_last_error(), "for 1000 items"));
	assert_int_equal(
	    shmcache_filter_load(larger, "/nonexistent/f", &build), -ENOENT);
	assert_int_equal(
	    shmcache_filter_save(cache, "/nonexistent/f"), -ENOENT);
	assert_int_equal(unlink(file_path()), 0);
	assert_int_equal(shmcache_close(cache), 0);
	assert_int_equal(shmcache_close(other), 0);
	assert_int_equal(shmcache_close(larger), 0);
}

static void
refuse_with(struct shmcache *cache, int fd, off_t at, uint8_t change)
{
	uint64_t build = 0;
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= change;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	assert_int_equal(
	    shmcache_filter_load(cache, file_path(), &build), -EBADMSG);
	byte ^= change;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

static void
damaged_files_are_refused(void **state)
{
	struct shmcache *cache = cache_with_filter(300, 0);
	uint64_t build = 0;
	off_t end;
	int fd;

	(void)state;
	publish_list(cache, "in", 300);
	assert_int_equal(shmcache_filter_save(cache, file_path()), 0);
	fd = open(file_path(), O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	end = lseek(fd, 0, SEEK_END);
	for (off_t at = 0; at < 64; at++) /* the header */
		refuse_with(cache, fd, at, 0x81);
	for (off_t at = 64; at < end; at += 5)
		refuse_with(cache, fd, at, 0x10);
	assert_int_equal(ftruncate(fd, end - 1), 0);
	assert_int_equal(
	    shmcache_filter_load(cache, file_path(), &build), -EBADMSG);
	assert_int_equal(ftruncate(fd, end + 8), 0);
	assert_int_equal(
	    shmcache_filter_load(cache, file_path(), &build), -EBADMSG);
	assert_int_equal(ftruncate(fd, 10), 0);
	assert_int_equal(
	    shmcache_filter_load(cache, file_path(), &build), -EBADMSG);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(
	    shmcache_filter_load(cache, file_path(), &build), -EBADMSG);
	assert_int_equal(close(fd), 0);
	assert_int_equal(unlink(file_path()), 0);
	assert_int_equal(mkfifo(file_path(), 0600), 0); /* waits for nobody */
	assert_int_equal(
	    shmcache_filter_load(cache, file_path(), &build), -EBADMSG);
	assert_int_equal(unlink(file_path()), 0);
	assert_true(may_have(cache, "in", 7)); /* nothing was lost */
	assert_int_equal(shmcache_close(cache), 0);
}

/* In a child, with little patience: an error that is taken for an interruption
   comes again for ever. */

static int
save_without_room(void *cache)
{
	const struct rlimit little = { 100, 100 };

	test_limit(5);
	(void)signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &little) != 0)
		return 1;
	return shmcache_filter_save(cache, file_path()) != -EFBIG;
}

static int
load_directory(void *cache)
{
	uint64_t build;

	test_limit(5);
	return shmcache_filter_load(cache, "/tmp", &build) != -EBADMSG;
}

static void
files_that_cannot_be_used_are_errors(void **state)
{
	struct shmcache *cache = cache_with_filter(300, 0);

	(void)state;
	publish_list(cache, "in", 300);
	assert_int_equal(test_child_run(save_without_room, cache), 0);
	assert_int_equal(test_child_run(load_directory, cache), 0);
	assert_int_equal(access(file_path(), F_OK), -1);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
options_are_checked(void **state)
{
	const char *name = test_name();
	struct shmcache_options o = test_options();
	struct shmcache *cache, *other;

	(void)state;
	o.filter_items = 1000;
	o.filter_error_ppm = 500001;
	assert_int_equal(shmcache_open(name, &o, &cache), -EINVAL);
	o.filter_error_ppm = 1;
	o.capacity_bytes = 4096;
	assert_int_equal(shmcache_open(name, &o, &cache), SHMCACHE_ECAPACITY);
	o.capacity_bytes = 1u << 20;
	assert_int_equal(shmcache_open(name, &o, &cache), 0);
	o.open_mode = SHMCACHE_OPEN_OR_CREATE;
	o.strict = 1;
	assert_int_equal(shmcache_open(name, &o, &other), 0);
	assert_int_equal(shmcache_close(other), 0);
	o.filter_error_ppm = 2;
	assert_int_equal(shmcache_open(name, &o, &other), SHMCACHE_EOPTIONS);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
strict_minds_no_error_of_no_filter(void **state)
{
	struct shmcache_options o = test_options();
	struct shmcache *cache;

	(void)state;
	o.filter_error_ppm = 1000;
	o.strict = 1;
	cache = test_cache_of(&o);
	assert_int_equal(shmcache_close(cache), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(without_one_everything_may_exist),
	cmocka_unit_test(error_is_as_asked),
	cmocka_unit_test(swaps_forget_what_is_gone),
	cmocka_unit_test(adds_go_to_both),
	cmocka_unit_test(any_number_of_builds),
	cmocka_unit_test(builds_that_nobody_finishes_are_forgotten),
	cmocka_unit_test(who_was_stopped_spoils_nothing),
	cmocka_unit_test(saved_filters_come_back),
	cmocka_unit_test(damaged_files_are_refused),
	cmocka_unit_test(files_that_cannot_be_used_are_errors),
	cmocka_unit_test(options_are_checked),
	cmocka_unit_test(strict_minds_no_error_of_no_filter),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
