/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libshmcache_faults_test.c - a system call of the cache fails, is interrupted or
 * does half of what it was asked, and what becomes of that
 *
 * This program's own read(), write(), mmap() and so on stand before libc's, and
 * fail when told to (shm_faults_test does the same with the segment's).
 */
#include "libshmcache/filter.h"
#include "libshmcache/loading.h"
#include "tests/unit/cache_support.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Sanitizers have functions of these names. */
#if !TEST_SANITIZED && defined(__GLIBC__)

#define SYS_FUTEX_WAITV 449 /* (on every processor) */

enum call_name {
	NONE,
	READ,
	WRITE,
	FSYNC,
	CLOSE,
	RENAME,
	FSTAT,
	GETRANDOM,
	MMAP,
	MADVISE,
	KEY_CREATE,
	SETSPECIFIC,
	GETATTR,
	CREATE,
	WAITV,
	LINKAT,
};

/* `times` calls of `of`, after `passes` of them, fail with `error`; 0: they do a
   few bytes of what they are asked. */
static struct {
	enum call_name of;
	unsigned passes;
	unsigned times;
	int error;
} fault;

static off_t longer_by;          /* files are said to be */
static unsigned long processors; /* that there are; 0: as it is */

static void
let_fail(enum call_name of, unsigned passes, unsigned times, int error)
{
	fault.of = of;
	fault.passes = passes;
	fault.times = times;
	fault.error = error;
}

static bool
is_due(enum call_name of)
{
	if (fault.of != of || fault.times == 0)
		return false;
	if (fault.passes > 0) {
		fault.passes--;
		return false;
	}
	fault.times--;
	return true;
}

static bool
fails(enum call_name of)
{
	if (!is_due(of))
		return false;
	errno = fault.error;
	return true;
}

/* Also for this file's own: they all end here. */
long
syscall(long number, ...)
{
	long (*make)(long, ...);
	va_list arguments;
	long a[6];

	if (number == SYS_FUTEX_WAITV && fails(WAITV))
		return -1;
	va_start(arguments, number);
	for (unsigned i = 0; i < TEST_COUNT_OF(a); i++)
		a[i] = va_arg(arguments, long);
	va_end(arguments);
	*(void **)&make = dlsym(RTLD_NEXT, "syscall");
	return make(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

#define FEW 3u

/* A call that moves bytes fails when it is due, or moves a few only. */
static bool
may_move(enum call_name of, size_t *count)
{
	if (!is_due(of))
		return true;
	if (fault.error != 0) {
		errno = fault.error;
		return false;
	}
	*count = *count < FEW ? *count : FEW;
	return true;
}

ssize_t
read(int fd, void *bytes, size_t count)
{
	if (!may_move(READ, &count))
		return -1;
	return syscall(SYS_read, fd, bytes, count);
}

ssize_t
write(int fd, const void *bytes, size_t count)
{
	if (!may_move(WRITE, &count))
		return -1;
	return syscall(SYS_write, fd, bytes, count);
}

int
fsync(int fd)
{
	return fails(FSYNC) ? -1 : (int)syscall(SYS_fsync, fd);
}

/* (It is closed all the same, as Linux does.) */
int
close(int fd)
{
	int result = (int)syscall(SYS_close, fd);

	return fails(CLOSE) ? -1 : result;
}

int
rename(const char *from, const char *to)
{
	return fails(RENAME) ? -1 : renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int
fstat(int fd, struct stat *status)
{
	int result = fails(FSTAT) ? -1 : fstatat(fd, "", status, AT_EMPTY_PATH);

	if (result == 0)
		status->st_size += longer_by;
	return result;
}

ssize_t
getrandom(void *buffer, size_t bytes, unsigned flags)
{
	return fails(GETRANDOM) ? -1
				: syscall(SYS_getrandom, buffer, bytes, flags);
}

void *
mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
	if (fails(MMAP))
		return MAP_FAILED;
	return (void *)syscall(
	    SYS_mmap, at, bytes, protection, flags, fd, offset);
}

int
linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
	return fails(LINKAT)
		   ? -1
		   : (int)syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
}

int
madvise(void *at, size_t bytes, int advice)
{
	return fails(MADVISE) ? -1
			      : (int)syscall(SYS_madvise, at, bytes, advice);
}

int
pthread_key_create(pthread_key_t *key, void (*destroy)(void *))
{
	int (*create)(pthread_key_t *, void (*)(void *));

	*(void **)&create = dlsym(RTLD_NEXT, "pthread_key_create");
	return is_due(KEY_CREATE) ? fault.error : create(key, destroy);
}

int
pthread_setspecific(pthread_key_t key, const void *value)
{
	int (*set)(pthread_key_t, const void *);

	*(void **)&set = dlsym(RTLD_NEXT, "pthread_setspecific");
	return is_due(SETSPECIFIC) ? fault.error : set(key, value);
}

int
pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
    void *(*run)(void *), void *argument)
{
	int (*create)(
	    pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

	*(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
	return is_due(CREATE) ? fault.error
			      : create(thread, attributes, run, argument);
}

int
pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes)
{
	int (*get)(pthread_t, pthread_attr_t *);

	*(void **)&get = dlsym(RTLD_NEXT, "pthread_getattr_np");
	return is_due(GETATTR) ? fault.error : get(thread, attributes);
}

long
sysconf(int name)
{
	long (*ask)(int);

	*(void **)&ask = dlsym(RTLD_NEXT, "sysconf");
	return name == _SC_NPROCESSORS_ONLN && processors != 0
		   ? (long)processors
		   : ask(name);
}

static struct shmcache *cache;
static char folder[64], path[96];
static int first_free;

static int
free_descriptor(void)
{
	int fd = dup(2);

	(void)close(fd);
	return fd;
}

static int
setup(void **state)
{
	struct shmcache_options o = test_options();

	(void)state;
	(void)snprintf(folder, sizeof(folder), "/tmp/shmcache-faults-XXXXXX");
	if (mkdtemp(folder) == NULL)
		return 1;
	(void)snprintf(path, sizeof(path), "%s/filter", folder);
	o.filter_items = 100;
	cache = test_cache_of(&o);
	test_set_ok(cache, "first call", "of this thread");
	first_free = free_descriptor();
	return 0;
}

static unsigned
files_in_folder(void)
{
	DIR *directory = opendir(folder);
	const struct dirent *entry;
	unsigned count = 0;

	assert_non_null(directory);
	while ((entry = readdir(directory)) != NULL)
		count += entry->d_name[0] != '.';
	(void)closedir(directory);
	return count;
}

static int
teardown(void **state)
{
	bool closed;

	(void)state;
	let_fail(NONE, 0, 0, 0);
	closed = free_descriptor() == first_free;
	(void)unlink(path);
	return !closed || rmdir(folder) != 0 || shmcache_close(cache) != 0;
}

/* Publishes a filter with this one key. */
static void
use_filter_of(const char *key)
{
	uint64_t build;

	assert_int_equal(shmcache_filter_begin(cache, &build), 0);
	assert_int_equal(
	    shmcache_filter_add(cache, build, key, strlen(key)), 0);
	assert_int_equal(shmcache_filter_publish(cache, build), 0);
}

/* Loads what was saved, into use; is it the filter of that key? */
static bool
saved_is_of(const char *key)
{
	uint64_t build;

	return shmcache_filter_load(cache, path, &build) == 0 &&
	       shmcache_filter_publish(cache, build) == 0 &&
	       shmcache_filter_check(cache, key, strlen(key)) == 1 &&
	       shmcache_filter_check(cache, "neither", 7) == 0;
}

static void
saving_fails_as_the_system_does(void **state)
{
	static const struct {
		enum call_name of;
		unsigned passes;
		unsigned times;
		int error;
	} cases[] = {
		{ WRITE, 0, 1, ENOSPC },   /* the header */
		{ WRITE, 1, 1, EDQUOT },   /* the words */
		{ WRITE, 0, 1001, EINTR }, /* no signal any more */
		{ FSYNC, 0, 1, EIO },
		{ CLOSE, 0, 1, EIO },
		{ RENAME, 0, 1, EACCES },
	};

	(void)state;
	use_filter_of("old");
	assert_int_equal(shmcache_filter_save(cache, path), 0);
	use_filter_of("new");
	for (size_t i = 0; i < TEST_COUNT_OF(cases); i++) {
		let_fail(cases[i].of, cases[i].passes, cases[i].times,
		    cases[i].error);
		assert_int_equal(
		    shmcache_filter_save(cache, path), -cases[i].error);
		assert_int_equal(fault.times, 0);
		assert_int_equal(files_in_folder(), 1);
	}
	/* The first error is the one that is told. */
	let_fail(WRITE, 0, 1, ENOSPC);
	assert_int_equal(shmcache_filter_save(cache, path), -ENOSPC);
	assert_true(saved_is_of("old"));
}

static void
saving_goes_on_when_interrupted(void **state)
{
	(void)state;
	use_filter_of("new");
	let_fail(WRITE, 0, 1000, EINTR);
	assert_int_equal(shmcache_filter_save(cache, path), 0);
	assert_int_equal(fault.times, 0);
	assert_true(saved_is_of("new"));
	let_fail(WRITE, 0, 20, 0);
	assert_int_equal(shmcache_filter_save(cache, path), 0);
	assert_int_equal(fault.times, 0);
	assert_true(saved_is_of("new"));
}

static void
loading_fails_as_the_system_does(void **state)
{
	static const struct {
		enum call_name of;
		unsigned passes;
		unsigned times;
		int error;
	} cases[] = {
		{ FSTAT, 0, 1, EIO },
		{ READ, 0, 1, EIO }, /* the header */
		{ READ, 1, 1, EIO }, /* the words */
		{ READ, 0, 1001, EINTR },
	};
	uint64_t build = 12345;

	(void)state;
	use_filter_of("old");
	assert_int_equal(shmcache_filter_save(cache, path), 0);
	use_filter_of("new");
	for (size_t i = 0; i < TEST_COUNT_OF(cases); i++) {
		let_fail(cases[i].of, cases[i].passes, cases[i].times,
		    cases[i].error);
		assert_int_equal(
		    shmcache_filter_load(cache, path, &build), -cases[i].error);
		assert_int_equal(fault.times, 0);
	}
	assert_int_equal(build, 12345);
	assert_int_equal(shmcache_filter_check(cache, "new", 3), 1);
	let_fail(READ, 0, 1000, EINTR);
	assert_true(saved_is_of("old"));
	let_fail(READ, 0, 20, 0);
	assert_true(saved_is_of("old"));
	assert_int_equal(fault.times, 0);
}

/* Another cuts it off between the look at its length and the end. */
static void
file_that_shrinks_meanwhile_is_refused(void **state)
{
	uint64_t build = 12345;

	(void)state;
	use_filter_of("old");
	assert_int_equal(shmcache_filter_save(cache, path), 0);
	assert_int_equal(truncate(path, sizeof(struct filter_file)), 0);
	longer_by = FILTER_LINE_WORDS * 8 * cache->mapping->filter_lines;
	assert_int_equal(shmcache_filter_load(cache, path, &build), -EBADMSG);
	longer_by = 0;
	assert_int_equal(build, 12345);
	assert_int_equal(shmcache_filter_check(cache, "old", 3), 1);
}

static void
no_filter_begins_without_a_random_seed(void **state)
{
	uint64_t build = 12345;

	(void)state;
	use_filter_of("old");
	let_fail(GETRANDOM, 0, 1, ENOSYS);
	assert_int_equal(shmcache_filter_begin(cache, &build), -ENOSYS);
	assert_int_equal(build, 12345);
	assert_int_equal(shmcache_filter_check(cache, "old", 3), 1);
	assert_int_equal(shmcache_filter_check(cache, "neither", 7), 0);
}

static void
calls_of_filters_are_checked(void **state)
{
	struct shmcache_options o = SHMCACHE_OPTIONS_INIT;
	struct shmcache *reader = NULL, *plain = test_cache();
	uint64_t build = 12345;

	(void)state;
	use_filter_of("old");
	assert_int_equal(shmcache_filter_save(cache, NULL), -EINVAL);
	assert_int_equal(shmcache_filter_begin(cache, NULL), -EINVAL);
	assert_int_equal(shmcache_filter_load(cache, NULL, &build), -EINVAL);
	assert_int_equal(shmcache_filter_save(cache, path), 0);
	assert_int_equal(shmcache_filter_load(cache, path, NULL), -EINVAL);
	assert_int_equal(shmcache_filter_load(plain, path, &build), -ENOTSUP);
	assert_int_equal(shmcache_close(plain), 0);
	assert_int_equal(shmcache_filter_add(cache, 0, "", 0), SHMCACHE_EKEY);
	assert_int_equal(shmcache_filter_check(cache, "", 0), SHMCACHE_EKEY);
	/* Who may only read loads none, but saves. */
	o.open_mode = SHMCACHE_ATTACH;
	o.read_only = 1;
	assert_int_equal(shmcache_open(cache->path, &o, &reader), 0);
	assert_int_equal(
	    shmcache_filter_load(reader, path, &build), SHMCACHE_EREADONLY);
	assert_int_equal(shmcache_filter_check(reader, "old", 3), 1);
	assert_int_equal(shmcache_filter_check(reader, "neither", 7), 0);
	assert_int_equal(shmcache_filter_save(reader, path), 0);
	assert_int_equal(shmcache_close(reader), 0);
	assert_int_equal(build, 12345);
	assert_true(saved_is_of("old"));
	/* Of a cache that is gone, a filter is neither saved nor loaded. */
	assert_int_equal(shmcache_remove(cache->path), 0);
	assert_int_equal(shmcache_filter_save(cache, path), SHMCACHE_EREMOVED);
	assert_int_equal(
	    shmcache_filter_load(cache, path, &build), SHMCACHE_EREMOVED);
	assert_int_equal(shmcache_filter_check(cache, "neither", 7), 1);
}

/* So many processors that lanes for all of them would leave no extents: there are
   as many as the extents bear.  Where nobody knows their number, too. */
static void
lanes_are_no_more_than_extents_bear(void **state)
{
	static const unsigned long counts[] = { 1, 2, 100000, ULONG_MAX };
	struct shmcache_options o = test_options();

	(void)state;
	o.capacity_bytes = 4u << 20;
	for (size_t i = 0; i < TEST_COUNT_OF(counts); i++) {
		struct shmcache *made;
		const struct shm_request *r;

		processors = counts[i];
		made = test_cache_of(&o);
		processors = 0;
		r = &made->mapping->segment->geometry.request;
		assert_in_range(r->lane_count, 1, SHM_LANES_MAX);
		assert_true(counts[i] > 2 || r->lane_count == counts[i]);
		assert_true(r->extent_count >=
			    32 * r->log_count * (uint32_t)r->lane_count);
		test_set_ok(made, "k", "v");
		assert_true(test_has(made, "k", "v"));
		assert_int_equal(shmcache_close(made), 0);
	}
}

/* Where a thread can't tell where its stack is, a load that it has under way and
   that was left by longjmp() is not seen to be: the key is refused. */
static void
load_is_not_taken_for_left_where_stacks_are_unknown(void **state)
{
	const uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	struct loading_key key = {
		.cache = cache, .data = "k", .bytes = 1, .frame = here - 64
	};
	struct loading *l = loading_begin(&key, 60000);

	(void)state;
	assert_non_null(l);
	key.frame = here; /* further up the stack: l's call is over */
	assert_false(loading_is(&key));
	let_fail(GETATTR, 0, 1, ENOENT);
	assert_true(loading_is(&key));
	assert_int_equal(fault.times, 0);
	let_fail(GETATTR, 1, 1, ENOENT);
	assert_true(loading_is(&key));
	loading_end(l);
	assert_false(loading_is(&key));
}

/* The process can't be set up: nothing can be opened, and nothing is made.  It is
   tried once for each process, so in children of one that has not. */

static struct shmcache_options new_options;
static const char *new_name;

static int
open_new(void *error)
{
	struct shmcache *opened = NULL;
	int result = shmcache_open(new_name, &new_options, &opened);

	return result != *(const int *)error || opened != NULL ||
	       shmcache_remove(new_name) != result;
}

static void
nothing_is_opened_in_a_process_that_cannot_be_set_up(void **state)
{
	static const struct {
		enum call_name of;
		int error;
		int result;
	} cases[] = {
		{ MMAP, ENOMEM, -ENOMEM },
		{ MADVISE, EINVAL, SHMCACHE_EKERNEL },
		{ KEY_CREATE, EAGAIN, -EAGAIN },
	};

	(void)state;
	new_options = test_options();
	new_name = test_name();
	for (size_t i = 0; i < TEST_COUNT_OF(cases); i++) {
		int result = cases[i].result;

		let_fail(cases[i].of, 0, 1, cases[i].error);
		assert_int_equal(test_child_run(open_new, &result), 0);
	}
	let_fail(NONE, 0, 0, 0); /* of the children alone */
}

/* Others create the cache and remove it, each time in between: tried again, but
   not for ever. */
static void
who_is_overtaken_tries_again(void **state)
{
	struct shmcache_options o = test_options();
	struct shmcache *opened = NULL;
	const char *name = test_name();

	(void)state;
	let_fail(LINKAT, 0, 2, EEXIST);
	assert_int_equal(
	    shmcache_open(name, &o, &opened), SHMCACHE_EEXIST); /* exclusive */
	assert_int_equal(fault.times, 1);
	o.open_mode = SHMCACHE_OPEN_OR_CREATE;
	let_fail(LINKAT, 0, 1002, EEXIST);
	assert_int_equal(shmcache_open(name, &o, &opened), SHMCACHE_EEXIST);
	assert_int_equal(fault.times, 1);
	assert_null(opened);
	let_fail(LINKAT, 0, 3, EEXIST);
	assert_int_equal(shmcache_open(name, &o, &opened), 0);
	test_set_ok(opened, "k", "v");
	assert_int_equal(shmcache_remove(name), 0);
	assert_int_equal(shmcache_close(opened), 0);
}

/* A thread whose end would not be heard of gets no slot. */

static void *
set_once(void *fault_times)
{
	(void)shmcache_is_available(cache); /* liburcu has a key of its own */
	let_fail(SETSPECIFIC, 1, *(unsigned *)fault_times, ENOMEM);
	return (void *)(intptr_t)test_set(cache, "k", "v");
}

static intptr_t
set_in_new_thread(unsigned fault_times)
{
	pthread_t thread;
	void *result;

	assert_int_equal(
	    pthread_create(&thread, NULL, set_once, &fault_times), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	return (intptr_t)result;
}

static void
thread_whose_end_is_not_heard_gets_no_slot(void **state)
{
	(void)state;
	assert_int_equal(set_in_new_thread(1), -ENOMEM);
	assert_int_equal(fault.times, 0);
	assert_int_equal(test_stats(cache).peers, 1);
	assert_int_equal(set_in_new_thread(0), 0);
	assert_int_equal(test_stats(cache).peers, 1);
	assert_true(test_has(cache, "k", "v"));
	test_assert_sound(cache);
}

/* Watches. */

static void
watch_needs_a_thread(void **state)
{
	(void)state;
	let_fail(CREATE, 0, 1, EAGAIN);
	assert_int_equal(shmcache_watch_fd(cache), -EAGAIN);
	assert_int_equal(free_descriptor(), first_free);
	let_fail(CREATE, 0, 1, EAGAIN);
	assert_int_equal(
	    shmcache_watch_load(cache, "key", 3, 0, NULL, NULL), -EAGAIN);
	assert_int_equal(free_descriptor(), first_free);
}

static void
watch_a_load(unsigned lease_ms)
{
	struct shmcache_load_options o = SHMCACHE_LOAD_OPTIONS_INIT;
	struct shmcache *watching = NULL; /* its thread is a new one */
	struct pollfd p = { .events = POLLIN };
	struct shmcache_watched w;
	struct shmcache_value value;
	struct shmcache_token tokens[2];

	o.lease_ms = lease_ms;
	assert_int_equal(shmcache_open(cache->path, NULL, &watching), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(shmcache_begin_load(cache, i == 0 ? "a" : "b",
				     1, &o, &value, &tokens[i]),
		    0);
		assert_int_equal(value.source, SHMCACHE_LEAD);
		assert_int_equal(
		    shmcache_watch_load(
			watching, i == 0 ? "a" : "b", 1, lease_ms, NULL, NULL),
		    0);
	}
	p.fd = shmcache_watch_fd(watching);
	assert_int_equal(poll(&p, 1, 30), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(shmcache_abandon(cache, &tokens[i]), 0);
		assert_int_equal(poll(&p, 1, (int)lease_ms), 1);
		assert_int_equal(shmcache_watch_next(watching, &w), 0);
		assert_int_equal(w.result, 0);
	}
	assert_int_equal(shmcache_close(watching), 0);
}

/* An older kernel, or a filter of system calls, has no futex_waitv(2). */
static void
watches_do_without_waiting_for_several_words(void **state)
{
	static const int without[] = { ENOSYS, EPERM, EINVAL, EAGAIN };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT_OF(without); i++) {
		let_fail(WAITV, 0, 1, without[i]);
		watch_a_load(600000);
		assert_int_equal(fault.times, 0);
	}
}

#define FAULT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		/* The first to open a cache. */
		cmocka_unit_test(
		    nothing_is_opened_in_a_process_that_cannot_be_set_up),
		FAULT(saving_fails_as_the_system_does),
		FAULT(saving_goes_on_when_interrupted),
		FAULT(loading_fails_as_the_system_does),
		FAULT(file_that_shrinks_meanwhile_is_refused),
		FAULT(no_filter_begins_without_a_random_seed),
		FAULT(calls_of_filters_are_checked),
		FAULT(lanes_are_no_more_than_extents_bear),
		FAULT(load_is_not_taken_for_left_where_stacks_are_unknown),
		FAULT(who_is_overtaken_tries_again),
		FAULT(watch_needs_a_thread),
		FAULT(watches_do_without_waiting_for_several_words),
		FAULT(thread_whose_end_is_not_heard_gets_no_slot),
	};

	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}

#else

int
main(void)
{
	(void)puts("skipped: it stands in for libc's calls");
	return 77;
}

#endif
