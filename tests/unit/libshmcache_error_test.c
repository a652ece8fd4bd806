/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libshmcache_error_test.c - every result has words, and they are its own */
#include "libshmcache/error.h"
#include "tests/unit/cache_support.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>

static const int results[] = { SHMCACHE_ENOENT, SHMCACHE_EBUFFER, SHMCACHE_EKEY,
	SHMCACHE_ETOOBIG, SHMCACHE_EBUSY, SHMCACHE_EPEERS, SHMCACHE_EPROCESSES,
	SHMCACHE_EPINS, SHMCACHE_EDEADLK, SHMCACHE_ESTALE, SHMCACHE_EREMOVED,
	SHMCACHE_ECORRUPT, SHMCACHE_ENOCACHE, SHMCACHE_EEXIST, SHMCACHE_ENAME,
	SHMCACHE_EFILETYPE, SHMCACHE_EOWNER, SHMCACHE_EFILESYSTEM,
	SHMCACHE_ENOTCACHE, SHMCACHE_EVERSION, SHMCACHE_ELAYOUT,
	SHMCACHE_ECAPACITY, SHMCACHE_EKERNEL, SHMCACHE_ENOPROC };

static void
each_result_has_a_text_of_its_own(void **state)
{
	const char *unknown = shmcache_strerror(-4999);

	(void)state;
	for (size_t i = 0; i < TEST_COUNT_OF(results); i++) {
		const char *text = shmcache_strerror(results[i]);

		assert_true(strlen(text) > 3);
		assert_string_not_equal(text, unknown);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(
			    text, shmcache_strerror(results[j]));
	}
}

static void
errno_values_have_the_systems_text(void **state)
{
	(void)state;
	assert_string_equal(
	    shmcache_strerror(-ENOSPC), strerrordesc_np(ENOSPC));
	assert_string_equal(
	    shmcache_strerror(-EACCES), strerrordesc_np(EACCES));
}

static void
any_number_has_a_text(void **state)
{
	static const int numbers[] = { 0, 1, INT_MAX, INT_MIN, -4096, -4095,
		-5000, -5099 };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT_OF(numbers); i++) {
		assert_non_null(shmcache_strerror(numbers[i]));
		assert_true(*shmcache_strerror(numbers[i]) != '\0');
	}
}

static void
last_error_names_what_is_behind_it(void **state)
{
	struct shmcache *cache = NULL;
	const char *name = test_name();

	(void)state;
	assert_int_equal(shmcache_open(name, NULL, &cache), SHMCACHE_ENOCACHE);
	assert_null(cache);
	assert_non_null(strstr(shmcache_last_error(), name));
	assert_int_equal(shmcache_open("a/b", NULL, &cache), SHMCACHE_ENAME);
	assert_non_null(strstr(shmcache_last_error(), "a/b"));
}

static void
last_error_is_the_plain_text_where_there_is_no_more_to_say(void **state)
{
	struct shmcache *cache = test_cache();

	(void)state;
	assert_int_equal(shmcache_delete(cache, "k", 1), SHMCACHE_ENOENT);
	assert_string_equal(
	    shmcache_last_error(), shmcache_strerror(SHMCACHE_ENOENT));
	assert_int_equal(shmcache_close(cache), 0);
}

static void
note_of_an_earlier_failure_does_not_come_back(void **state)
{
	struct shmcache_options bad = SHMCACHE_OPTIONS_INIT;
	struct shmcache *cache = test_cache(), *other = NULL;

	(void)state;
	bad.mode = 0111;
	assert_int_equal(shmcache_open(test_name(), &bad, &other), -EINVAL);
	assert_non_null(strstr(shmcache_last_error(), "mode"));
	assert_int_equal(shmcache_set(cache, "k", 1, "v", 1, -7, 0), -EINVAL);
	assert_null(strstr(shmcache_last_error(), "mode"));
	assert_int_equal(shmcache_close(cache), 0);
}

static void
success_leaves_the_last_error(void **state)
{
	struct shmcache *cache = test_cache();

	(void)state;
	assert_int_equal(
	    shmcache_set(cache, "", 0, "v", 1, 0, 0), SHMCACHE_EKEY);
	test_set_ok(cache, "k", "v");
	assert_string_equal(
	    shmcache_last_error(), shmcache_strerror(SHMCACHE_EKEY));
	assert_int_equal(shmcache_close(cache), 0);
}

static void *
fail_elsewhere(void *context)
{
	(void)context;
	(void)error_return(SHMCACHE_EPINS);
	return NULL;
}

static void
threads_do_not_see_each_others_errors(void **state)
{
	pthread_t thread;

	(void)state;
	assert_int_equal(error_return(SHMCACHE_ENOPROC), SHMCACHE_ENOPROC);
	assert_int_equal(
	    pthread_create(&thread, NULL, fail_elsewhere, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_string_equal(
	    shmcache_last_error(), shmcache_strerror(SHMCACHE_ENOPROC));
}

static void
version_is_three_numbers(void **state)
{
	unsigned major, minor, patch;
	char rest;

	(void)state;
	assert_int_equal(sscanf(shmcache_version(), "%u.%u.%u%c", &major,
			     &minor, &patch, &rest),
	    3);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(each_result_has_a_text_of_its_own),
	cmocka_unit_test(errno_values_have_the_systems_text),
	cmocka_unit_test(any_number_has_a_text),
	cmocka_unit_test(last_error_names_what_is_behind_it),
	cmocka_unit_test(
	    last_error_is_the_plain_text_where_there_is_no_more_to_say),
	cmocka_unit_test(note_of_an_earlier_failure_does_not_come_back),
	cmocka_unit_test(success_leaves_the_last_error),
	cmocka_unit_test(threads_do_not_see_each_others_errors),
	cmocka_unit_test(version_is_three_numbers),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
