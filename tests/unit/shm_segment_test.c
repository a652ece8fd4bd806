/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shm_segment_test.c - files: made whole or not at all, refused if not ours
 */
#include "shm/error.h"
#include "shm/peer.h"
#include "shm/segment.h"
#include "tests/unit/support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void
names_are_turned_into_paths(void **state)
{
	char path[SHM_PATH_MAX], longest[SHM_NAME_MAX + 1];

	(void)state;
	assert_int_equal(shm_segment_path("a", path), 0);
	assert_string_equal(path, "/dev/shm/shmcache.a");
	assert_int_equal(shm_segment_path("/run/x y", path), 0);
	assert_string_equal(path, "/run/x y");
	memset(longest, 'n', SHM_NAME_MAX);
	longest[SHM_NAME_MAX] = '\0';
	assert_int_equal(shm_segment_path(longest, path), 0);
}

static void
bad_names_are_refused(void **state)
{
	static const char *const bad[] = { NULL, "", "a/b", "../a", "a\n",
		"\x7f", "/run/", "/", "a\tb" };
	char path[SHM_PATH_MAX], long_name[SHM_PATH_MAX + 2];

	(void)state;
	for (size_t i = 0; i < TEST_COUNT_OF(bad); i++)
		assert_int_equal(shm_segment_path(bad[i], path), SHM_ENAME);
	memset(long_name, 'n', sizeof(long_name));
	long_name[SHM_NAME_MAX + 1] = '\0';
	assert_int_equal(shm_segment_path(long_name, path), SHM_ENAME);
	memset(long_name, 'n', sizeof(long_name));
	long_name[0] = '/';
	long_name[SHM_PATH_MAX] = '\0';
	assert_int_equal(shm_segment_path(long_name, path), SHM_ENAME);
	long_name[SHM_PATH_MAX - 1] = '\0';
	assert_int_equal(shm_segment_path(long_name, path), 0);
}

static void
new_segment_is_all_zero_but_for_its_header(void **state)
{
	struct shm_segment *s = test_segment();
	const struct shm_geometry *g = &s->geometry;

	(void)state;
	assert_memory_equal(s->header->magic, SHM_MAGIC, 8);
	assert_int_equal(s->header->version, SHM_VERSION);
	assert_false(shm_segment_retired(s));
	for (uint64_t at = g->peers; at < g->total_bytes; at++)
		assert_int_equal(s->base[at], 0);
	shm_segment_detach(s);
}

static int
fill_region(void *context, void *base, const struct shm_geometry *g)
{
	memcpy((uint8_t *)base + g->region[0], context, 5);
	return 0;
}

static void
regions_are_written_before_the_name_exists(void **state)
{
	struct shm_request r = test_request();
	const char *path = test_path(test_name());
	char text[] = "hello";
	struct shm_segment *s;

	(void)state;
	assert_int_equal(shm_segment_create(
			     path, &r, TEST_SIGNATURE, 0600, fill_region, text),
	    0);
	s = test_attach(path);
	assert_memory_equal(s->base + s->geometry.region[0], "hello", 5);
	shm_segment_detach(s);
}

static int
fail_to_fill(void *context, void *base, const struct shm_geometry *g)
{
	(void)context;
	(void)base;
	(void)g;
	return -EIO;
}

static void
failed_creation_leaves_nothing(void **state)
{
	struct shm_request r = test_request();
	const char *path = test_path(test_name());

	(void)state;
	assert_int_equal(shm_segment_create(path, &r, TEST_SIGNATURE, 0600,
			     fail_to_fill, NULL),
	    -EIO);
	assert_int_equal(access(path, F_OK), -1);
	r.peer_count = 0;
	assert_int_equal(
	    shm_segment_create(path, &r, TEST_SIGNATURE, 0600, NULL, NULL),
	    -EINVAL);
	assert_int_equal(access(path, F_OK), -1);
}

static void
existing_segment_is_not_overwritten(void **state)
{
	struct shm_request r = test_request();
	struct shm_segment *s = test_segment();

	(void)state;
	s->base[s->geometry.region[0]] = 77;
	assert_int_equal(
	    shm_segment_create(s->path, &r, TEST_SIGNATURE, 0600, NULL, NULL),
	    SHM_EEXIST);
	assert_int_equal(s->base[s->geometry.region[0]], 77);
	shm_segment_detach(s);
}

static void
mode_is_as_asked_whatever_the_umask(void **state)
{
	struct shm_request r = test_request();
	const char *path = test_path(test_name());
	mode_t before = umask(077);
	struct stat status;
	int error =
	    shm_segment_create(path, &r, TEST_SIGNATURE, 0664, NULL, NULL);

	(void)state;
	(void)umask(before);
	assert_int_equal(error, 0);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0664);
}

static void
places_that_cannot_hold_a_segment_are_named(void **state)
{
	struct shm_request r = test_request();

	(void)state;
	assert_int_equal(shm_segment_create("/proc/shmcache.test", &r,
			     TEST_SIGNATURE, 0600, NULL, NULL),
	    SHM_EFILESYSTEM);
	assert_int_equal(shm_segment_create("/shmcache.test", &r,
			     TEST_SIGNATURE, 0600, NULL, NULL),
	    SHM_EFILESYSTEM);
	assert_int_equal(shm_segment_create("/dev/shm/shmcache.no/such", &r,
			     TEST_SIGNATURE, 0600, NULL, NULL),
	    -ENOENT);
	assert_non_null(shm_error_take(-ENOENT));
}

static int
try_attach(const char *path, uint64_t signature)
{
	struct shm_segment *s = NULL;
	int error = shm_segment_attach(path, signature, NULL, NULL, &s);

	if (error == 0)
		shm_segment_detach(s);
	else
		assert_null(s);
	return error;
}

static void
what_is_no_regular_file_is_refused(void **state)
{
	const char *real = test_path(test_name());
	const char *link = test_path(test_name());
	const char *fifo = test_path(test_name());
	struct shm_request r = test_request();

	(void)state;
	assert_int_equal(try_attach(real, TEST_SIGNATURE), SHM_ENOSEGMENT);
	assert_int_equal(
	    shm_segment_create(real, &r, TEST_SIGNATURE, 0600, NULL, NULL), 0);
	assert_int_equal(symlink(real, link), 0);
	assert_int_equal(try_attach(link, TEST_SIGNATURE), SHM_EFILETYPE);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(try_attach(fifo, TEST_SIGNATURE), SHM_EFILETYPE);
	assert_int_equal(try_attach("/dev/shm", TEST_SIGNATURE), SHM_EFILETYPE);
	assert_int_equal(
	    try_attach("/dev/null", TEST_SIGNATURE), SHM_EFILETYPE);
	assert_int_equal(try_attach(real, TEST_SIGNATURE), 0);
}

/* Writes bytes into the file of a segment that nobody has mapped. */
static void
damage(const char *path, size_t at, const void *bytes, size_t count)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, count, (off_t)at), count);
	assert_int_equal(close(fd), 0);
}

static const char *
detached_segment(void)
{
	struct shm_request r = test_request();
	const char *path = test_path(test_name());

	assert_int_equal(
	    shm_segment_create(path, &r, TEST_SIGNATURE, 0600, NULL, NULL), 0);
	return path;
}

static void
other_files_and_versions_are_told_apart(void **state)
{
	const char *path = detached_segment();
	const char *empty = test_path(test_name());
	uint32_t version = SHM_VERSION + 1;
	int fd = open(empty, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(try_attach(empty, TEST_SIGNATURE), SHM_ENOTSEGMENT);
	assert_int_equal(try_attach(path, TEST_SIGNATURE + 1), SHM_ELAYOUT);
	damage(path, offsetof(struct shm_header_shared, version), &version, 4);
	assert_int_equal(try_attach(path, TEST_SIGNATURE), SHM_EVERSION);
	damage(path, 0, "X", 1);
	assert_int_equal(try_attach(path, TEST_SIGNATURE), SHM_ENOTSEGMENT);
}

static void
truncated_segment_is_corrupt(void **state)
{
	const char *path = detached_segment();
	struct stat status;

	(void)state;
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(truncate(path, status.st_size - 1), 0);
	assert_int_equal(try_attach(path, TEST_SIGNATURE), SHM_ECORRUPT);
	assert_int_equal(truncate(path, 1000), 0);
	assert_int_equal(try_attach(path, TEST_SIGNATURE), SHM_ECORRUPT);
	assert_int_equal(truncate(path, 8), 0);
	assert_int_equal(try_attach(path, TEST_SIGNATURE), SHM_ENOTSEGMENT);
}

static void
every_damaged_offset_is_corrupt(void **state)
{
	const char *path = detached_segment();
	size_t first = offsetof(struct shm_header_shared, geometry);
	uint8_t before[sizeof(struct shm_geometry)];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	(void)state;
	damage(path, offsetof(struct shm_header_shared, header_bytes),
	    &(uint32_t){ SHM_HEADER_BYTES + 1 }, 4);
	assert_int_equal(try_attach(path, TEST_SIGNATURE), SHM_ECORRUPT);
	damage(path, offsetof(struct shm_header_shared, header_bytes),
	    &(uint32_t){ SHM_HEADER_BYTES }, 4);
	assert_int_equal(
	    pread(fd, before, sizeof(before), (off_t)first), sizeof(before));
	assert_int_equal(close(fd), 0);
	for (size_t i = sizeof(struct shm_request); i < sizeof(before); i++) {
		uint8_t bad = before[i] ^ 0x40;

		damage(path, first + i, &bad, 1);
		assert_int_equal(
		    try_attach(path, TEST_SIGNATURE), SHM_ECORRUPT);
		damage(path, first + i, &before[i], 1);
	}
	assert_int_equal(try_attach(path, TEST_SIGNATURE), 0);
}

static void
random_headers_are_refused_or_fit_the_file(void **state)
{
	const char *path = detached_segment();
	size_t first = offsetof(struct shm_header_shared, geometry);
	struct prng prng;

	(void)state;
	test_random(&prng, 1);
	for (unsigned i = 0; i < 2000; i++) {
		size_t at =
		    first + prng_below(&prng, sizeof(struct shm_request));
		uint8_t bad = (uint8_t)prng_next(&prng);
		struct shm_segment *s = NULL;
		struct stat status;

		damage(path, at, &bad, 1);
		assert_int_equal(stat(path, &status), 0);
		if (shm_segment_attach(path, TEST_SIGNATURE, NULL, NULL, &s) !=
		    0)
			continue;
		assert_true(
		    s->geometry.total_bytes <= (uint64_t)status.st_size);
		shm_segment_detach(s);
	}
}

static void
each_attachment_takes_a_process_slot_and_gives_it_back(void **state)
{
	struct shm_request r = test_request();
	struct shm_segment *all[8] = { NULL }, *one = NULL;
	const char *path = detached_segment();

	(void)state;
	for (unsigned i = 0; i < r.process_count; i++) {
		all[i] = test_attach(path);
		assert_int_equal(all[i]->process, i);
		for (unsigned j = 0; j < i; j++)
			assert_true(all[i]->id != all[j]->id);
	}
	assert_int_equal(
	    shm_segment_attach(path, TEST_SIGNATURE, NULL, NULL, &one),
	    SHM_EPROCESSES);
	shm_segment_detach(all[3]);
	all[3] = test_attach(path);
	assert_int_equal(all[3]->process, 3);
	for (unsigned i = 0; i < r.process_count; i++)
		shm_segment_detach(all[i]);
}

static unsigned hooks_called;

static void
note_hook(void *base, const struct shm_geometry *g)
{
	((uint8_t *)base)[g->region[0]] = 99;
	hooks_called++;
}

static void
retiring_unlinks_and_marks(void **state)
{
	struct shm_segment *s = test_segment();

	(void)state;
	hooks_called = 0;
	assert_int_equal(
	    shm_segment_retire(s->path, TEST_SIGNATURE, NULL, note_hook), 0);
	assert_int_equal(hooks_called, 1);
	assert_true(shm_segment_retired(s));
	assert_int_equal(s->base[s->geometry.region[0]], 99);
	assert_int_equal(try_attach(s->path, TEST_SIGNATURE), SHM_ENOSEGMENT);
	assert_int_equal(
	    shm_segment_retire(s->path, TEST_SIGNATURE, NULL, note_hook),
	    SHM_ENOSEGMENT);
	assert_int_equal(hooks_called, 1);
	shm_segment_detach(s);
}

static void
successor_of_a_retired_segment_is_live(void **state)
{
	struct shm_request r = test_request();
	struct shm_segment *old = test_segment(), *new;

	(void)state;
	assert_int_equal(
	    shm_segment_retire(old->path, TEST_SIGNATURE, NULL, note_hook), 0);
	assert_int_equal(
	    shm_segment_create(old->path, &r, TEST_SIGNATURE, 0600, NULL, NULL),
	    0);
	new = test_attach(old->path);
	assert_false(shm_segment_retired(new));
	assert_true(shm_segment_retired(old));
	assert_true(new->segment_id != old->segment_id);
	assert_int_equal(shm_segment_reopen(old), -1);
	shm_segment_detach(old);
	shm_segment_detach(new);
}

static void
half_removed_segment_is_finished_by_who_attaches(void **state)
{
	struct shm_segment *s = test_segment(), *other;
	struct stat status;

	(void)state;
	/* Whoever removed it was killed before the name was gone. */
	s->header->state = SHM_STATE_RETIRED;
	hooks_called = 0;
	assert_int_equal(shm_segment_attach(
			     s->path, TEST_SIGNATURE, false, note_hook, &other),
	    SHM_ENOSEGMENT);
	assert_int_equal(hooks_called, 1);
	assert_int_equal(stat(s->path, &status), -1);
	shm_segment_detach(s);
}

static void
what_is_not_ours_is_not_retired(void **state)
{
	const char *path = detached_segment();

	(void)state;
	hooks_called = 0;
	assert_int_equal(
	    shm_segment_retire(path, TEST_SIGNATURE + 1, NULL, note_hook),
	    SHM_ELAYOUT);
	damage(path, 0, "X", 1);
	assert_int_equal(
	    shm_segment_retire(path, TEST_SIGNATURE, NULL, note_hook),
	    SHM_ENOTSEGMENT);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(hooks_called, 0);
}

static void
reopening_takes_only_the_file_that_is_mapped(void **state)
{
	struct shm_segment *s = test_segment();
	int fd = shm_segment_reopen(s);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(unlink(s->path), 0);
	assert_int_equal(shm_segment_reopen(s), -1);
	fd = open(s->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(shm_segment_reopen(s), -1);
	shm_segment_detach(s);
}

static void
attaching_leaves_no_descriptor_open(void **state)
{
	const char *path = detached_segment();
	struct shm_segment *s;
	int before = dup(2), after;

	(void)state;
	assert_int_equal(close(before), 0);
	s = test_attach(path);
	assert_int_equal(try_attach(path, TEST_SIGNATURE + 1), SHM_ELAYOUT);
	after = dup(2);
	assert_int_equal(close(after), 0);
	assert_int_equal(before, after);
	shm_segment_detach(s);
}

/* (Of a valid size, as another machine may have it.) */
static void
segment_of_other_pages_is_refused(void **state)
{
	struct shm_request r = test_request();
	const char *path = test_path(test_name());

	(void)state;
	r.page_bytes = r.page_bytes == 4096 ? 16384 : 4096;
	assert_int_equal(
	    shm_segment_create(path, &r, TEST_SIGNATURE, 0600, NULL, NULL), 0);
	assert_int_equal(try_attach(path, TEST_SIGNATURE), SHM_ELAYOUT);
	assert_non_null(strstr(shm_error_take(SHM_ELAYOUT), "pages of"));
}

#define SOMEBODY 54321

static int
attach_as_somebody(void *path)
{
	struct shm_segment *s = NULL;
	int error;

	/* Of this thread alone, and in the child anyway. */
	if (syscall(SYS_setresuid, SOMEBODY, SOMEBODY, SOMEBODY) != 0)
		return 77;
	error = shm_segment_attach(path, TEST_SIGNATURE, NULL, NULL, &s);
	return error == SHM_EOWNER ? 0 : 1;
}

static int
attach_to_anybodys(void *path)
{
	struct shm_segment *s = NULL;

	if (syscall(SYS_setresuid, SOMEBODY, SOMEBODY, SOMEBODY) != 0)
		return 77;
	return shm_segment_attach(path, TEST_SIGNATURE,
		   &(struct shm_access){ .any_owner = true }, NULL, &s) != 0;
}

static void
segment_of_another_user_needs_leave(void **state)
{
	struct shm_request r = test_request();
	char *path = strdup(test_path(test_name()));
	int error =
	    shm_segment_create(path, &r, TEST_SIGNATURE, 0666, NULL, NULL);
	int refused, allowed;

	(void)state;
	assert_int_equal(error, 0);
	if (geteuid() != 0 || chown(path, SOMEBODY + 1, (gid_t)-1) != 0) {
		free(path);
		skip();
	}
	refused = test_child_run(attach_as_somebody, path);
	allowed = test_child_run(attach_to_anybodys, path);
	free(path);
	assert_int_equal(refused, 0);
	assert_int_equal(allowed, 0);
}

static int
retire_as_somebody(void *path)
{
	int error;

	if (syscall(SYS_setresuid, SOMEBODY, SOMEBODY, SOMEBODY) != 0)
		return 77;
	error = shm_segment_retire(path, TEST_SIGNATURE,
	    &(struct shm_access){ .any_owner = true }, NULL);
	return error == -EPERM || error == -EACCES ? 0 : 1;
}

/* Nothing is marked that cannot be unlinked then: in /dev/shm, which is sticky,
   and in a directory that somebody else may not write. */
static void
who_may_not_unlink_does_not_mark(void **state)
{
	struct shm_segment *s = test_segment();
	char directory[128], *inside = NULL;
	struct shm_segment *hidden;
	int results[2];

	(void)state;
	if (geteuid() != 0 || chmod(s->path, 0666) != 0 ||
	    chown(s->path, SOMEBODY + 1, (gid_t)-1) != 0)
		skip();
	(void)snprintf(directory, sizeof(directory), "%s.d", s->path);
	assert_int_equal(mkdir(directory, 0755), 0);
	assert_true(asprintf(&inside, "%s/segment", directory) > 0);
	{
		struct shm_request r = test_request();

		assert_int_equal(shm_segment_create(inside, &r, TEST_SIGNATURE,
				     0666, NULL, NULL),
		    0);
	}
	hidden = test_attach(inside);
	results[0] = test_child_run(retire_as_somebody, s->path);
	results[1] = test_child_run(retire_as_somebody, inside);
	assert_int_equal(unlink(inside), 0);
	assert_int_equal(rmdir(directory), 0);
	free(inside);
	assert_int_equal(results[0], 0);
	assert_int_equal(results[1], 0);
	assert_false(shm_segment_retired(s));
	assert_false(shm_segment_retired(hidden));
	shm_segment_detach(hidden);
	shm_segment_detach(s);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(names_are_turned_into_paths),
	cmocka_unit_test(bad_names_are_refused),
	cmocka_unit_test(new_segment_is_all_zero_but_for_its_header),
	cmocka_unit_test(regions_are_written_before_the_name_exists),
	cmocka_unit_test(failed_creation_leaves_nothing),
	cmocka_unit_test(existing_segment_is_not_overwritten),
	cmocka_unit_test(mode_is_as_asked_whatever_the_umask),
	cmocka_unit_test(places_that_cannot_hold_a_segment_are_named),
	cmocka_unit_test(what_is_no_regular_file_is_refused),
	cmocka_unit_test(other_files_and_versions_are_told_apart),
	cmocka_unit_test(truncated_segment_is_corrupt),
	cmocka_unit_test(every_damaged_offset_is_corrupt),
	cmocka_unit_test(random_headers_are_refused_or_fit_the_file),
	cmocka_unit_test(
	    each_attachment_takes_a_process_slot_and_gives_it_back),
	cmocka_unit_test(retiring_unlinks_and_marks),
	cmocka_unit_test(successor_of_a_retired_segment_is_live),
	cmocka_unit_test(half_removed_segment_is_finished_by_who_attaches),
	cmocka_unit_test(what_is_not_ours_is_not_retired),
	cmocka_unit_test(reopening_takes_only_the_file_that_is_mapped),
	cmocka_unit_test(attaching_leaves_no_descriptor_open),
	cmocka_unit_test(segment_of_other_pages_is_refused),
	cmocka_unit_test(segment_of_another_user_needs_leave),
	cmocka_unit_test(who_may_not_unlink_does_not_mark),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
