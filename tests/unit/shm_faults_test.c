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

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Sanitizers have functions of these names. */
#if !TEST_SANITIZED && defined(__GLIBC__)

/* The bytes of the file that locks are on. */
#define PROCESS_LOCK (1ll << 60)
#define REMOVAL_LOCK (PROCESS_LOCK - 1)

/* Errors that calls fail with; 0: they don't. */
static struct {
	int of_tmpfile;
	int of_mmap;
	int of_fstatfs;
	int of_linkat;
	int of_access;
	int of_process_lock;
	int of_removal_lock;
	void (*at_removal)(void); /* what others do before it */
	void (*at_probe)(void);   /* the same, of a lock */
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
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
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
	return fails_with(faults.of_fstatfs)
		   ? -1
		   : (int)syscall(SYS_fstatfs, fd, fs);
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
	} else if (command == F_OFD_GETLK && faults.at_probe != NULL) {
		faults.at_probe();
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
attach(void)
{
	struct shm_segment *s = NULL;
	int error = shm_segment_attach(path, TEST_SIGNATURE, NULL, NULL, &s);

	if (error == 0)
		shm_segment_detach(s);
	return error;
}

static int
retire(void)
{
	return shm_segment_retire(path, TEST_SIGNATURE, NULL, NULL);
}

static int
setup(void **state)
{
	(void)state;
	path = test_path(test_name());
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
	return 0;
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
	assert_false(is_there());
	assert_int_equal(create(), 0);
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
	assert_int_equal(attach(), 0);
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
	faults.of_removal_lock = EIO;
	assert_int_equal(retire(), -EIO);
	faults.of_removal_lock = 0;
	assert_true(is_there());
	assert_int_equal(retire(), 0);
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

#define FAULT(name, up) cmocka_unit_test_setup_teardown(name, up, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FAULT(creation_fails_as_the_system_does, setup),
		FAULT(attaching_fails_as_the_system_does, setup_created),
		FAULT(removal_fails_as_the_system_does, setup_created),
		FAULT(removal_takes_only_what_it_has_marked, setup_created),
		FAULT(claims_that_change_meanwhile_are_kept, setup_created),
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
