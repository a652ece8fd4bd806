/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shm_faults_test.c - a system call fails, and what that is called; and what
 * others do at that very moment
 *
 * This program's own open(), mmap(), fcntl() and so on stand before libc's, and
 * fail when told to.  (faults_test lets every call fail, and looks whether
 * anybody is harmed; here it matters which error comes of it.)
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "shm/error.h"
#include "shm/pin.h"
#include "tests/unit/support.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Sanitizers have functions of these names. */
#if !TEST_SANITIZED && defined(__GLIBC__)

/* The bytes of the file that locks are on. */
#define PROCESS_LOCK (1ll << 60)
#define REMOVAL_LOCK (PROCESS_LOCK - 1)

/* Errors that calls fail with; 0: they don't.  And what they say that is not so;
   0: as it is. */
static struct {
	int of_tmpfile;
	int of_open; /* with a name */
	int of_fallocate;
	unsigned fallocations; /* that fail */
	int of_fchmod;
	int of_getrandom;
	int of_fstat;
	int of_stat;
	int of_faccessat;
	int of_madvise;
	int of_unlink;
	int of_probe;
	int of_key_create;
	int of_setspecific;
	int of_mmap;
	int of_fstatfs;
	int of_linkat;
	int of_access;
	int of_process_lock;
	int of_removal_lock;
	void (*at_removal)(void); /* what others do before it */
	void (*at_probe)(void);   /* the same, of a lock */
	long page_bytes;          /* of the file system */
	long file_system;         /* its type */
	uid_t user;               /* the caller */
	uid_t owner;              /* of the file */
	uid_t folder_owner;
	bool on_another_device; /* what has the name */
} faults;

static bool
fails_with(int error)
{
	if (error != 0)
		errno = error;
	return error != 0;
}

int
open(const char *path, int flags, ...)
{
	va_list arguments;
	unsigned mode = 0;

	if ((flags & (O_CREAT | O_TMPFILE)) != 0) {
		va_start(arguments, flags);
		mode = va_arg(arguments, unsigned);
		va_end(arguments);
	}
	if ((flags & O_TMPFILE) == O_TMPFILE && fails_with(faults.of_tmpfile))
		return -1;
	if ((flags & (O_TMPFILE | O_CREAT)) == 0 && fails_with(faults.of_open))
		return -1;
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int
fallocate(int fd, int mode, off_t from, off_t bytes)
{
	if (faults.fallocations > 0) {
		faults.fallocations--;
		errno = faults.of_fallocate;
		return -1;
	}
	return (int)syscall(SYS_fallocate, fd, mode, from, bytes);
}

int
fchmod(int fd, mode_t mode)
{
	return fails_with(faults.of_fchmod)
		   ? -1
		   : (int)syscall(SYS_fchmod, fd, mode);
}

ssize_t
getrandom(void *buffer, size_t bytes, unsigned flags)
{
	return fails_with(faults.of_getrandom)
		   ? -1
		   : syscall(SYS_getrandom, buffer, bytes, flags);
}

int
madvise(void *at, size_t bytes, int advice)
{
	return fails_with(faults.of_madvise)
		   ? -1
		   : (int)syscall(SYS_madvise, at, bytes, advice);
}

uid_t
geteuid(void)
{
	return faults.user != 0 ? faults.user : (uid_t)syscall(SYS_geteuid);
}

int
fstat(int fd, struct stat *status)
{
	int result = fails_with(faults.of_fstat)
			 ? -1
			 : fstatat(fd, "", status, AT_EMPTY_PATH);

	if (result == 0 && faults.owner != 0)
		status->st_uid = faults.owner;
	return result;
}

int
stat(const char *path, struct stat *status)
{
	int result = fails_with(faults.of_stat)
			 ? -1
			 : fstatat(AT_FDCWD, path, status, 0);

	if (result == 0 && faults.folder_owner != 0)
		status->st_uid = faults.folder_owner;
	return result;
}

int
lstat(const char *path, struct stat *status)
{
	int result = fstatat(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);

	if (result == 0 && faults.on_another_device)
		status->st_dev++;
	return result;
}

int
faccessat(int fd, const char *path, int mode, int flags)
{
	(void)fd;
	(void)flags;
	return fails_with(faults.of_faccessat) ? -1 : eaccess(path, mode);
}

int
unlink(const char *path)
{
	return fails_with(faults.of_unlink) ? -1 : unlinkat(AT_FDCWD, path, 0);
}

int
pthread_key_create(pthread_key_t *key, void (*destroy)(void *))
{
	int (*create)(pthread_key_t *, void (*)(void *));

	*(void **)&create = dlsym(RTLD_NEXT, "pthread_key_create");
	return faults.of_key_create != 0 ? faults.of_key_create
					 : create(key, destroy);
}

int
pthread_setspecific(pthread_key_t key, const void *value)
{
	int (*set)(pthread_key_t, const void *);

	*(void **)&set = dlsym(RTLD_NEXT, "pthread_setspecific");
	return faults.of_setspecific != 0 ? faults.of_setspecific
					  : set(key, value);
}

void *
mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
	if (fd >= 0 && fails_with(faults.of_mmap))
		return MAP_FAILED;
	return (void *)syscall(
	    SYS_mmap, at, bytes, protection, flags, fd, offset);
}

int
fstatfs(int fd, struct statfs *fs)
{
	int result = fails_with(faults.of_fstatfs)
			 ? -1
			 : (int)syscall(SYS_fstatfs, fd, fs);

	if (result == 0 && faults.page_bytes != 0)
		fs->f_bsize = faults.page_bytes;
	if (result == 0 && faults.file_system != 0)
		fs->f_type = faults.file_system;
	return result;
}

int
linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
	return fails_with(faults.of_linkat)
		   ? -1
		   : (int)syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
}

int
access(const char *path, int mode)
{
	return fails_with(faults.of_access)
		   ? -1
		   : (int)syscall(SYS_faccessat, AT_FDCWD, path, mode);
}

int
fcntl(int fd, int command, ...)
{
	struct flock *lock;
	va_list arguments;
	bool sets = command == F_OFD_SETLK;

	va_start(arguments, command);
	lock = va_arg(arguments, struct flock *);
	va_end(arguments);
	if (sets && lock->l_start == REMOVAL_LOCK) {
		if (faults.at_removal != NULL)
			faults.at_removal();
		if (fails_with(faults.of_removal_lock))
			return -1;
	} else if (sets && fails_with(faults.of_process_lock)) {
		return -1;
	} else if (command == F_OFD_GETLK) {
		if (faults.at_probe != NULL)
			faults.at_probe();
		if (fails_with(faults.of_probe))
			return -1;
	}
	return (int)syscall(SYS_fcntl, fd, command, lock);
}

static const char *path;

static int
create(void)
{
	struct shm_request r = test_request();

	return shm_segment_create(path, &r, TEST_SIGNATURE, 0600, NULL, NULL);
}

static int
attach_with(const struct shm_access *rights)
{
	struct shm_segment *s = NULL;
	int error = shm_segment_attach(path, TEST_SIGNATURE, rights, NULL, &s);

	if (error == 0)
		shm_segment_detach(s);
	return error;
}

static int
attach(void)
{
	return attach_with(NULL);
}

static int
retire_with(const struct shm_access *rights)
{
	return shm_segment_retire(path, TEST_SIGNATURE, rights, NULL);
}

static int
retire(void)
{
	return retire_with(NULL);
}

static int first_free;

/* The descriptor that would be next. */
static int
free_descriptor(void)
{
	int fd = dup(2);

	(void)close(fd);
	return fd;
}

static unsigned
mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned count = 0;
	char line[512];

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps) != NULL)
		count += strstr(line, path) != NULL;
	(void)fclose(maps);
	return count;
}

static int
setup(void **state)
{
	(void)state;
	path = test_path(test_name());
	first_free = free_descriptor();
	return 0;
}

static int
setup_created(void **state)
{
	return setup(state) != 0 || create() != 0;
}

static int
teardown(void **state)
{
	(void)state;
	memset(&faults, 0, sizeof(faults));
	return free_descriptor() != first_free || mappings() != 0;
}

static bool
is_there(void)
{
	struct stat status;

	return stat(path, &status) == 0;
}

static void
creation_fails_as_the_system_does(void **state)
{
	(void)state;
	faults.of_tmpfile = EOPNOTSUPP;
	assert_int_equal(create(), SHM_EKERNEL);
	faults.of_tmpfile = EISDIR;
	assert_int_equal(create(), SHM_EKERNEL);
	faults.of_tmpfile = EINVAL;
	assert_int_equal(create(), SHM_EKERNEL);
	faults.of_tmpfile = EMFILE;
	assert_int_equal(create(), -EMFILE);
	faults.of_tmpfile = 0;
	faults.of_fstatfs = EIO;
	assert_int_equal(create(), -EIO);
	faults.of_fstatfs = 0;
	faults.of_mmap = ENOMEM;
	assert_int_equal(create(), -ENOMEM);
	faults.of_mmap = 0;
	faults.of_linkat = ENOENT;
	assert_int_equal(create(), -ENOENT);
	faults.of_access = ENOENT;
	assert_int_equal(create(), SHM_ENOPROC);
	faults.of_linkat = EPERM;
	assert_int_equal(create(), -EPERM);
	faults.of_linkat = faults.of_access = 0;
	faults.of_fchmod = EPERM;
	assert_int_equal(create(), -EPERM);
	faults.of_fchmod = 0;
	faults.of_getrandom = ENOSYS;
	assert_int_equal(create(), -EIO);
	faults.of_getrandom = 0;
	assert_false(is_there());
	assert_int_equal(create(), 0);
}

/* What is reserved is there, in however many pieces; not a byte of it else. */
static void
reserving_goes_on_when_interrupted(void **state)
{
	struct stat status;

	(void)state;
	faults.of_fallocate = ENOSPC;
	faults.fallocations = 1;
	assert_int_equal(create(), -ENOSPC);
	assert_non_null(strstr(shm_error_take(-ENOSPC), "cannot reserve"));
	assert_false(is_there());
	faults.of_fallocate = EINTR;
	faults.fallocations = 1001;
	assert_int_equal(create(), -EINTR);
	assert_int_equal(faults.fallocations, 0);
	assert_false(is_there());
	faults.fallocations = 1000;
	assert_int_equal(create(), 0);
	assert_int_equal(faults.fallocations, 0);
	assert_int_equal(stat(path, &status), 0);
	assert_true(status.st_blocks * 512 >= status.st_size);
	assert_int_equal(attach(), 0);
}

/* As on a hugetlbfs: files and mappings are whole pages of it. */
static void
file_is_whole_pages_of_its_file_system(void **state)
{
	struct shm_segment *s;
	struct stat status;

	(void)state;
	faults.page_bytes = 2 << 20;
	faults.file_system = HUGETLBFS_MAGIC;
	assert_int_equal(create(), 0);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_size, 2 << 20);
	s = test_attach(path);
	assert_int_equal(s->mapped_bytes, 2 << 20);
	assert_true(s->geometry.total_bytes < s->mapped_bytes);
	shm_segment_detach(s);
	assert_int_equal(truncate(path, (2 << 20) - 4096), 0);
	assert_int_equal(attach(), SHM_ECORRUPT);
	faults.file_system = RAMFS_MAGIC;
	assert_int_equal(attach(), SHM_EFILESYSTEM);
}

static void
attaching_fails_as_the_system_does(void **state)
{
	(void)state;
	faults.of_process_lock = EINVAL;
	assert_int_equal(attach(), SHM_EKERNEL);
	faults.of_process_lock = ENOLCK;
	assert_int_equal(attach(), -ENOLCK);
	faults.of_process_lock = EAGAIN;
	assert_int_equal(attach(), SHM_EPROCESSES);
	faults.of_process_lock = EACCES;
	assert_int_equal(attach(), SHM_EPROCESSES);
	faults.of_process_lock = 0;
	faults.of_mmap = ENOMEM;
	assert_int_equal(attach(), -ENOMEM);
	faults.of_mmap = 0;
	faults.of_fstatfs = EIO;
	assert_int_equal(attach(), -EIO);
	faults.of_fstatfs = 0;
	faults.of_fstat = EIO;
	assert_int_equal(attach(), -EIO);
	faults.of_fstat = 0;
	faults.of_madvise = EINVAL; /* it must not come over a fork() */
	assert_int_equal(attach(), -EINVAL);
	faults.of_madvise = 0;
	assert_int_equal(attach(), 0);
}

static void
opening_fails_as_the_system_does(void **state)
{
	static const struct {
		int of_open, error;
	} cases[] = {
		{ ENOENT, SHM_ENOSEGMENT },
		{ ELOOP, SHM_EFILETYPE },
		{ EISDIR, SHM_EFILETYPE },
		{ ENXIO, SHM_EFILETYPE },
		{ ENODEV, SHM_EFILETYPE },
		{ EACCES, -EACCES },
		{ EMFILE, -EMFILE },
	};

	(void)state;
	for (size_t i = 0; i < TEST_COUNT_OF(cases); i++) {
		faults.of_open = cases[i].of_open;
		assert_int_equal(attach(), cases[i].error);
		assert_non_null(shm_error_take(cases[i].error));
		assert_int_equal(retire(), cases[i].error);
	}
	faults.of_open = 0;
	assert_int_equal(attach(), 0);
}

/* Root's, one's own, and those of whom the caller trusts. */
static void
owner_must_be_trusted(void **state)
{
	static const uint32_t friends[] = { 1003, 1002 };
	const struct shm_access of_friends = { .owner_count = 2,
		.owners = friends };
	const struct shm_access of_one = { .owner_count = 1,
		.owners = friends };
	const struct shm_access of_all = { .any_owner = true };

	(void)state;
	faults.user = 1001;
	faults.owner = 1001;
	assert_int_equal(attach(), 0);
	faults.owner = 1002;
	assert_int_equal(attach(), SHM_EOWNER);
	assert_int_equal(retire(), SHM_EOWNER);
	assert_int_equal(attach_with(&of_one), SHM_EOWNER);
	assert_int_equal(attach_with(&of_friends), 0);
	assert_int_equal(attach_with(&of_all), 0);
}

/* Asked before anything is marked: of a directory that is sticky, as /dev/shm. */
static void
who_may_not_unlink_marks_nothing(void **state)
{
	const struct shm_access of_all = { .any_owner = true };

	(void)state;
	faults.of_stat = EACCES;
	assert_int_equal(retire(), -EACCES);
	faults.of_stat = 0;
	faults.of_faccessat = EROFS;
	assert_int_equal(retire(), -EROFS);
	faults.of_faccessat = 0;
	faults.user = 1001;
	faults.owner = 1002;
	assert_int_equal(retire_with(&of_all), -EPERM);
	assert_int_equal(attach_with(&of_all), 0); /* not marked */
	faults.folder_owner = 1001;
	assert_int_equal(retire_with(&of_all), 0);
	faults.folder_owner = 0;
	assert_false(is_there());
	assert_int_equal(create(), 0);
	faults.owner = 1001;
	assert_int_equal(retire_with(&of_all), 0);
	assert_false(is_there());
}

static void
removal_fails_as_the_system_does(void **state)
{
	(void)state;
	faults.of_mmap = ENOMEM;
	assert_int_equal(retire(), -ENOMEM);
	assert_int_equal(attach(), -ENOMEM);
	faults.of_mmap = 0;
	assert_int_equal(attach(), 0); /* nothing was done */
	faults.of_removal_lock = EAGAIN;
	assert_int_equal(retire(), SHM_EREMOVED);
	faults.of_removal_lock = EACCES;
	assert_int_equal(retire(), SHM_EREMOVED);
	faults.of_removal_lock = EIO;
	assert_int_equal(retire(), -EIO);
	faults.of_removal_lock = 0;
	faults.of_unlink = EBUSY;
	assert_int_equal(retire(), -EBUSY);
	assert_true(is_there());
	faults.of_unlink = ENOENT; /* another has, just now */
	assert_int_equal(retire(), 0);
	faults.of_unlink = 0;
	assert_int_equal(retire(), 0);
	assert_false(is_there());
}

/* Of one that is marked: whoever attaches ends it, if he can. */
static void
half_removed_is_finished_or_left(void **state)
{
	const struct shm_access reader = { .read_only = true };
	struct shm_segment *s = test_attach(path);

	(void)state;
	s->header->state = SHM_STATE_RETIRED;
	shm_segment_detach(s);
	assert_int_equal(attach_with(&reader), SHM_ENOSEGMENT);
	assert_true(is_there());
	faults.of_removal_lock = EAGAIN;
	assert_int_equal(attach(), SHM_EREMOVED);
	assert_true(is_there());
	faults.of_removal_lock = 0;
	assert_int_equal(attach(), SHM_ENOSEGMENT);
	assert_false(is_there());
}

/* Another has removed it meanwhile, and perhaps made the next. */

static void
unlink_it(void)
{
	(void)unlink(path);
}

static void
replace_it(void)
{
	(void)unlink(path);
	(void)create();
}

/* Left by a call that has nothing to do with it. */
static void
leave_an_error(void)
{
	errno = EIO;
}

static void
removal_takes_only_what_it_has_marked(void **state)
{
	(void)state;
	faults.at_removal = unlink_it;
	assert_int_equal(retire(), 0);
	assert_false(is_there());
	assert_int_equal(create(), 0);
	faults.at_removal = replace_it;
	assert_int_equal(retire(), 0);
	faults.at_removal = NULL;
	assert_int_equal(attach(), 0);
	faults.on_another_device = true; /* mounted over it */
	assert_int_equal(retire(), 0);
	assert_true(is_there());
	(void)unlink(path);
	faults.on_another_device = false;
	assert_int_equal(create(), 0);
	faults.at_removal = leave_an_error;
	assert_int_equal(retire(), 0);
	assert_false(is_there());
}

/* A dead peer's slot is freed and claimed by another, just when it is looked
   whether it is dead. */

static struct shm_segment *segment;
static uint64_t claimed;

static void
claim_slot_3(void)
{
	shm_peer_table(segment)[3].claim = claimed;
}

static void
leave_dead(void)
{
	struct shm_peer_shared *slot = &shm_peer_table(segment)[3];

	shm_process_table(segment)[5].generation = 1;
	slot->claim = SHM_CLAIM_LIVE | 1u << 2 | 5ull << 28 | 1ull << 40;
	slot->pins[SHM_PIN_ENTRY] = 9 + 1;
	segment->header->peer_high = 4;
	claimed = SHM_CLAIM_LIVE | 2u << 2 | (uint64_t)segment->process << 28 |
		  (uint64_t)segment->process_generation << 40;
}

static void
claims_that_change_meanwhile_are_kept(void **state)
{
	(void)state;
	segment = test_attach(path);
	leave_dead();
	assert_int_equal(shm_peer_sweep(segment), 1);
	leave_dead();
	assert_false(shm_pin_scan(segment, 9, SHM_PINS_ALL, true));
	assert_int_equal(
	    shm_claim_state(shm_peer_table(segment)[3].claim), SHM_CLAIM_FREE);
	faults.at_probe = claim_slot_3;
	leave_dead();
	assert_int_equal(shm_peer_sweep(segment), 0);
	assert_true(shm_peer_table(segment)[3].claim == claimed);
	leave_dead();
	(void)shm_pin_scan(segment, 9, SHM_PINS_ALL, true);
	assert_true(shm_peer_table(segment)[3].claim == claimed);
	shm_segment_detach(segment);
}

/* Who can't be asked about may be alive. */
static void
unknown_is_alive(void **state)
{
	(void)state;
	segment = test_attach(path);
	leave_dead();
	faults.of_probe = EIO;
	assert_int_equal(shm_peer_sweep(segment), 0);
	faults.of_probe = 0;
	faults.of_fstat = EIO;
	assert_int_equal(shm_peer_sweep(segment), 0);
	faults.of_fstat = 0;
	faults.of_open = EMFILE;
	assert_int_equal(shm_peer_sweep(segment), 0);
	faults.of_open = 0;
	assert_int_equal(shm_peer_sweep(segment), 1);
	shm_segment_detach(segment);
}

/* Without words an error is the same. */

static int
fail_without_words(void *unused)
{
	char out[SHM_PATH_MAX];

	(void)unused;
	return shm_segment_path("", out) != SHM_ENAME ? 1
	       : shm_error_take(SHM_ENAME) != NULL    ? 2
						      : 0;
}

static int
fail_without_words_at_first(void *unused)
{
	int result;
	char out[SHM_PATH_MAX];

	faults.of_setspecific = ENOMEM;
	result = fail_without_words(unused);
	faults.of_setspecific = 0;
	return result != 0 || shm_segment_path("", out) != SHM_ENAME ||
	       shm_error_take(SHM_ENAME) == NULL;
}

static void
words_are_not_needed(void **state)
{
	(void)state;
	faults.of_key_create = EAGAIN; /* once for each process */
	assert_int_equal(test_child_run(fail_without_words, NULL), 0);
	faults.of_key_create = 0;
	assert_int_equal(test_child_run(fail_without_words_at_first, NULL), 0);
}

#define FAULT(name, up) cmocka_unit_test_setup_teardown(name, up, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FAULT(words_are_not_needed, setup), /* the first to fail */
		FAULT(creation_fails_as_the_system_does, setup),
		FAULT(reserving_goes_on_when_interrupted, setup),
		FAULT(file_is_whole_pages_of_its_file_system, setup),
		FAULT(attaching_fails_as_the_system_does, setup_created),
		FAULT(opening_fails_as_the_system_does, setup_created),
		FAULT(owner_must_be_trusted, setup_created),
		FAULT(who_may_not_unlink_marks_nothing, setup_created),
		FAULT(removal_fails_as_the_system_does, setup_created),
		FAULT(half_removed_is_finished_or_left, setup_created),
		FAULT(removal_takes_only_what_it_has_marked, setup_created),
		FAULT(claims_that_change_meanwhile_are_kept, setup_created),
		FAULT(unknown_is_alive, setup_created),
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
