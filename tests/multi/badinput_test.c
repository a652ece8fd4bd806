/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * badinput_test.c - whatever is wrong has an error of its own that says so
 *
 * Keys, values, times to live, options, names, files, permissions, kernels,
 * and calls from signal handlers.  After each refusal nothing is left behind
 * and what was there is as it was.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/run.h"
#include "tests/support/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <unistd.h>

#define CAPACITY (4 << 20)

static struct shmcache *cache;

static struct shmcache_options
options_with_capacity(uint64_t capacity)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;

	options.capacity_bytes = capacity;
	return options;
}

/* last_error() says more than the name of the error. */
static void
check_told(int error, const char *word)
{
	const char *text = shmcache_last_error();

	CHECK_SAY(text[0] != '\0' && strstr(text, word) != NULL,
	    "\"%s\" (%s) does not say \"%s\"", text, shmcache_strerror(error),
	    word);
}

#define CHECK_TOLD(call, wanted, word)                                         \
	do {                                                                   \
		CHECK_RESULT(call, wanted);                                    \
		check_told(wanted, word);                                      \
	} while (0)

static int
try_open(const char *name, const struct shmcache_options *options)
{
	struct shmcache *opened = NULL;
	int result = shmcache_open(name, options, &opened);

	CHECK((result == 0) == (opened != NULL));
	if (opened != NULL) {
		CHECK_RESULT(shmcache_close(opened), 0);
	}
	return result;
}

static int
try_create(const char *name)
{
	struct shmcache_options options = options_with_capacity(CAPACITY);

	return try_open(name, &options);
}

static void
begin(void)
{
	cache = cache_create_plain("bad", CAPACITY);
}

static void
end(void)
{
	cache_finish(cache);
}

/* --- keys, values, times */

static void
check_every_call_refuses(const void *key, size_t bytes)
{
	struct shmcache_item item;
	char buffer[8];
	int64_t ttl;
	void *copy;

	CHECK_RESULT(shmcache_get(cache, key, bytes, buffer, 8, NULL, NULL),
	    SHMCACHE_EKEY);
	CHECK_RESULT(shmcache_peek(cache, key, bytes, buffer, 8, NULL, NULL),
	    SHMCACHE_EKEY);
	CHECK_RESULT(shmcache_get_alloc(cache, key, bytes, &copy, NULL, NULL),
	    SHMCACHE_EKEY);
	CHECK_RESULT(
	    shmcache_get_pinned(cache, key, bytes, &item), SHMCACHE_EKEY);
	CHECK_RESULT(shmcache_exists(cache, key, bytes), SHMCACHE_EKEY);
	CHECK_RESULT(
	    shmcache_set(cache, key, bytes, "v", 1, 0, 0), SHMCACHE_EKEY);
	CHECK_RESULT(shmcache_delete(cache, key, bytes), SHMCACHE_EKEY);
	CHECK_RESULT(shmcache_touch(cache, key, bytes, 0), SHMCACHE_EKEY);
	CHECK_RESULT(shmcache_ttl(cache, key, bytes, &ttl), SHMCACHE_EKEY);
}

static void
key_empty_or_too_long(void)
{
	struct shmcache_options options = options_with_capacity(CAPACITY);
	char *key = calloc(1, SHMCACHE_KEY_BYTES_MAX + 1);
	size_t bytes = 0;
	char value;

	CHECK(key != NULL);
	options.max_entry_bytes = SHMCACHE_KEY_BYTES_MAX + 1;
	options.capacity_bytes = 64 << 20;
	cache = cache_create("bad", &options);
	check_every_call_refuses(key, 0);
	check_every_call_refuses(key, SHMCACHE_KEY_BYTES_MAX + 1);
	check_every_call_refuses(key, SIZE_MAX);
	CHECK_RESULT(
	    shmcache_set(cache, key, SHMCACHE_KEY_BYTES_MAX, "v", 1, 0, 0), 0);
	CHECK_RESULT(shmcache_get(cache, key, SHMCACHE_KEY_BYTES_MAX, &value, 1,
			 &bytes, NULL),
	    0);
	CHECK(bytes == 1 && value == 'v');
	CHECK_RESULT(shmcache_get(cache, key, SHMCACHE_KEY_BYTES_MAX - 1,
			 &value, 1, &bytes, NULL),
	    SHMCACHE_ENOENT);
	end();
	free(key);
}

static void
value_above_the_limit(void)
{
	char number[32];
	uint64_t limit;
	char *value;

	begin();
	limit = cache_stats(cache).max_entry_bytes;
	snprintf(number, sizeof(number), "%" PRIu64, limit);
	value = calloc(1, limit);
	CHECK(value != NULL);
	CHECK_TOLD(shmcache_set(cache, "key", 3, value, limit - 2, 0, 0),
	    SHMCACHE_ETOOBIG, number);
	CHECK_RESULT(shmcache_set(cache, "key", 3, value, SIZE_MAX, 0, 0),
	    SHMCACHE_ETOOBIG);
	CHECK_RESULT(shmcache_exists(cache, "key", 3), 0);
	CHECK_RESULT(shmcache_set(cache, "key", 3, value, limit - 3, 0, 0), 0);
	CHECK_RESULT(shmcache_exists(cache, "key", 3), 1);
	free(value);
	end();
}

static void
bad_ttl(void)
{
	static const int64_t bad[] = { -2, -1000, INT64_MIN };
	int64_t left = 0;

	begin();
	cache_set_text(cache, "key", "value");
	for (unsigned i = 0; i < TEST_COUNT_OF(bad); i++) {
		CHECK_RESULT(shmcache_set(cache, "key", 3, "new", 3, bad[i], 0),
		    -EINVAL);
		CHECK_RESULT(shmcache_touch(cache, "key", 3, bad[i]), -EINVAL);
	}
	cache_check_text(cache, "key", "value");
	CHECK_RESULT(shmcache_ttl(cache, "key", 3, &left), 0);
	CHECK(left == SHMCACHE_TTL_NONE);
	/* The longest there is must not wrap. */
	CHECK_RESULT(shmcache_set(cache, "key", 3, "long", 4, INT64_MAX, 0), 0);
	cache_check_text(cache, "key", "long");
	CHECK_RESULT(shmcache_touch(cache, "key", 3, INT64_MAX), 0);
	cache_check_text(cache, "key", "long");
	end();
}

static void
buffers_and_null_outputs(void)
{
	char buffer[8] = "-------";
	size_t bytes = 99;
	uint32_t flags = 0;
	void *copy = NULL;

	begin();
	CHECK_RESULT(shmcache_set(cache, "key", 3, "value", 5, 0, 42), 0);
	CHECK_RESULT(shmcache_get(cache, "key", 3, buffer, 4, &bytes, &flags),
	    SHMCACHE_EBUFFER);
	CHECK(bytes == 5);
	CHECK_RESULT(shmcache_get(cache, "key", 3, NULL, 0, &bytes, NULL),
	    SHMCACHE_EBUFFER);
	CHECK(bytes == 5);
	bytes = 99;
	CHECK_RESULT(shmcache_peek(cache, "key", 3, NULL, 0, &bytes, NULL),
	    SHMCACHE_EBUFFER);
	CHECK(bytes == 5);
	CHECK_RESULT(shmcache_get(cache, "key", 3, buffer, 5, NULL, NULL), 0);
	CHECK(memcmp(buffer, "value--", 7) == 0);
	bytes = 99;
	CHECK_RESULT(shmcache_get(cache, "none", 4, buffer, 8, &bytes, &flags),
	    SHMCACHE_ENOENT);
	CHECK(bytes == 99 && flags == 0); /* untouched */
	CHECK_RESULT(
	    shmcache_get_alloc(cache, "key", 3, &copy, NULL, &flags), 0);
	CHECK(flags == 42 && strcmp(copy, "value") == 0);
	free(copy);
	CHECK_RESULT(shmcache_set(cache, "key", 3, NULL, 5, 0, 0), -EINVAL);
	cache_check_text(cache, "key", "value");
	CHECK_RESULT(shmcache_set(cache, "key", 3, NULL, 0, 0, 0), 0);
	CHECK_RESULT(shmcache_get(cache, "key", 3, NULL, 0, &bytes, NULL), 0);
	CHECK(bytes == 0);
	CHECK_RESULT(
	    shmcache_get_alloc(cache, "key", 3, &copy, &bytes, NULL), 0);
	CHECK(bytes == 0 && *(char *)copy == '\0');
	free(copy);
	end();
}

/* --- options */

static void
refuse_options(const struct shmcache_options *options)
{
	CHECK_RESULT(try_open(test_name("bad"), options), -EINVAL);
	CHECK(shmcache_last_error()[0] != '\0');
	CHECK_RESULT(try_open(test_name("bad"), NULL), SHMCACHE_ENOCACHE);
}

#define REFUSE_OPTION(field, number)                                           \
	do {                                                                   \
		struct shmcache_options options_ =                             \
		    options_with_capacity(CAPACITY);                           \
		options_.field = (number);                                     \
		refuse_options(&options_);                                     \
	} while (0)

static void
bad_options(void)
{
	struct shmcache_stats stats;

	REFUSE_OPTION(struct_bytes, 0);
	REFUSE_OPTION(struct_bytes, 7);
	REFUSE_OPTION(open_mode, 3);
	REFUSE_OPTION(open_mode, UINT32_MAX);
	REFUSE_OPTION(extent_bytes, 100000); /* not a power of two */
	REFUSE_OPTION(extent_bytes, 1024);
	REFUSE_OPTION(extent_bytes, UINT64_C(1) << 60);
	REFUSE_OPTION(mode, 01777);
	REFUSE_OPTION(mode, 0700);
	REFUSE_OPTION(any_owner, 2);
	REFUSE_OPTION(reserved, 1);
	REFUSE_OPTION(default_ttl_ms, -2);
	REFUSE_OPTION(peer_slots, UINT32_MAX);
	REFUSE_OPTION(process_slots, UINT32_MAX);
	REFUSE_OPTION(max_entry_bytes, UINT64_MAX);
	REFUSE_OPTION(expected_items, UINT64_MAX);
	begin();
	CHECK_RESULT(shmcache_stats(cache, &stats, 0), -EINVAL);
	end();
}

static void
capacity_missing_or_too_small(void)
{
	struct shmcache_options options = options_with_capacity(0);
	static const uint64_t extents[] = { 0, 4096, 65536, 1 << 20 };

	CHECK_RESULT(try_open(test_name("bad"), &options), SHMCACHE_ECAPACITY);
	for (unsigned i = 0; i < TEST_COUNT_OF(extents); i++) {
		uint64_t least;

		options = options_with_capacity(1);
		options.extent_bytes = extents[i];
		CHECK_RESULT(
		    try_open(test_name("bad"), &options), SHMCACHE_ECAPACITY);
		least = cache_least_told();
		options.capacity_bytes = least;
		cache = cache_create("bad", &options);
		CHECK(cache_stats(cache).capacity_bytes <= least);
		CHECK(cache_stats(cache).extents >= 16);
		cache_churn(cache, i, cache_stats(cache).arena_bytes * 2);
		end();
		CHECK_RESULT(shmcache_remove(test_name("bad")), 0);
		options.capacity_bytes = least - 4096;
		CHECK_RESULT(
		    try_open(test_name("bad"), &options), SHMCACHE_ECAPACITY);
	}
}

/* Who attaches gets the cache as it is. */
static void
other_options_than_it_has(void)
{
	struct shmcache_options options = options_with_capacity(64 << 20);
	struct shmcache *second;

	begin();
	options.extent_bytes = 1 << 20;
	options.peer_slots = 3;
	CHECK_RESULT(shmcache_open(test_name("bad"), &options, &second), 0);
	CHECK(cache_stats(second).capacity_bytes <= CAPACITY);
	CHECK(cache_stats(second).peer_slots == 512);
	CHECK(cache_stats(second).segment_id == cache_stats(cache).segment_id);
	CHECK_RESULT(shmcache_close(second), 0);
	end();
}

/* --- names and files */

static void
bad_names(void)
{
	char name[8192];

	CHECK_TOLD(try_create(""), SHMCACHE_ENAME, "name");
	CHECK_TOLD(try_create(NULL), SHMCACHE_ENAME, "name");
	CHECK_TOLD(try_create("dir/name"), SHMCACHE_ENAME, "slash");
	CHECK_TOLD(try_create("../name"), SHMCACHE_ENAME, "slash");
	CHECK_TOLD(try_create("a\nb"), SHMCACHE_ENAME, "control");
	CHECK_TOLD(try_create("a\x7f"), SHMCACHE_ENAME, "control");
	CHECK_TOLD(try_create("/dev/shm/a\tb"), SHMCACHE_ENAME, "control");
	CHECK_RESULT(try_create("/dev/shm/"), SHMCACHE_ENAME);
	CHECK_RESULT(try_create("/"), SHMCACHE_ENAME);
	memset(name, 'n', sizeof(name));
	name[201] = '\0';
	CHECK_TOLD(try_create(name), SHMCACHE_ENAME, "200");
	name[201] = 'n';
	name[0] = '/';
	name[sizeof(name) - 1] = '\0';
	CHECK_RESULT(try_create(name), SHMCACHE_ENAME);
	CHECK_RESULT(try_create("/dev/shm/shmcache.no-such-dir/x"), -ENOENT);
	CHECK_RESULT(shmcache_remove(""), SHMCACHE_ENAME);
	CHECK_RESULT(shmcache_remove("a/b"), SHMCACHE_ENAME);
}

/* 200 bytes of any other content are a name. */
static void
longest_name(void)
{
	char name[201];
	size_t used = strlen(test_name(""));

	memset(name, 0xe4, 200);
	memcpy(name, test_name(""), used);
	name[used] = ' ';
	name[200] = '\0';
	CHECK_RESULT(try_create(name), 0);
	CHECK_RESULT(try_open(name, NULL), 0);
	CHECK_RESULT(shmcache_remove(name), 0);
	CHECK_RESULT(try_open(name, NULL), SHMCACHE_ENOCACHE);
}

static void
exclusive_create_and_attach_only(void)
{
	struct shmcache_options options = options_with_capacity(CAPACITY);

	options.open_mode = SHMCACHE_ATTACH;
	CHECK_RESULT(try_open(test_name("bad"), &options), SHMCACHE_ENOCACHE);
	CHECK_RESULT(try_open(test_name("bad"), NULL), SHMCACHE_ENOCACHE);
	check_told(SHMCACHE_ENOCACHE, test_name("bad"));
	CHECK_RESULT(shmcache_remove(test_name("bad")), SHMCACHE_ENOCACHE);
	options.open_mode = SHMCACHE_CREATE_EXCLUSIVE;
	CHECK_RESULT(try_open(test_name("bad"), &options), 0);
	CHECK_RESULT(try_open(test_name("bad"), &options), SHMCACHE_EEXIST);
	check_told(SHMCACHE_EEXIST, test_name("bad"));
	options.open_mode = SHMCACHE_ATTACH;
	options.capacity_bytes = 0;
	CHECK_RESULT(try_open(test_name("bad"), &options), 0);
	options.open_mode = SHMCACHE_OPEN_OR_CREATE;
	CHECK_RESULT(try_open(test_name("bad"), &options), 0);
}

static void
check_file_refused(int error)
{
	struct shmcache_options options = options_with_capacity(CAPACITY);

	for (uint32_t mode = SHMCACHE_OPEN_OR_CREATE; mode <= SHMCACHE_ATTACH;
	     mode++) {
		options.open_mode = mode;
		CHECK_RESULT(try_open(test_name("bad"), &options), error);
		check_told(error, test_name("bad"));
		CHECK_RESULT(try_open(test_path("bad"), &options), error);
	}
	CHECK_RESULT(shmcache_remove(test_name("bad")), error);
}

static void
not_a_regular_file(void)
{
	char path[256];

	snprintf(path, sizeof(path), "%s", test_path("bad"));
	/* A symlink to a sound cache is not followed either. */
	CHECK_RESULT(try_create(test_name("target")), 0);
	CHECK_SYS(symlink(test_path("target"), path));
	check_file_refused(SHMCACHE_EFILETYPE);
	CHECK_SYS(unlink(path));
	CHECK_SYS(symlink("nowhere", path));
	check_file_refused(SHMCACHE_EFILETYPE);
	CHECK_SYS(unlink(path));
	CHECK_SYS(mkfifo(path, 0600));
	check_file_refused(SHMCACHE_EFILETYPE);
	CHECK_SYS(unlink(path));
	CHECK_SYS(mkdir(path, 0700));
	check_file_refused(SHMCACHE_EFILETYPE);
	CHECK_SYS(rmdir(path));
	CHECK_RESULT(try_open(test_name("target"), NULL), 0);
}

static void
not_on_a_tmpfs(void)
{
	static const char *const directories[] = { "/var/tmp", "/tmp", "." };
	char path[4096];
	struct statfs fs;

	for (unsigned i = 0; i < TEST_COUNT_OF(directories); i++) {
		char *full = realpath(directories[i], NULL);

		if (full != NULL && statfs(full, &fs) == 0 &&
		    fs.f_type != TMPFS_MAGIC && access(full, W_OK) == 0) {
			snprintf(path, sizeof(path), "%s/%s", full,
			    test_name("bad"));
			CHECK_RESULT(try_create(path), SHMCACHE_EFILESYSTEM);
			check_told(SHMCACHE_EFILESYSTEM, "tmpfs");
			CHECK(access(path, F_OK) != 0);
			free(full);
			return;
		}
		free(full);
	}
	skip("every place to write to is a tmpfs");
}

static void
write_file(const char *path, const void *bytes, size_t count)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK_SYS(fd);
	CHECK(write(fd, bytes, count) == (ssize_t)count);
	CHECK_SYS(close(fd));
}

static void
not_a_cache(void)
{
	unsigned char noise[65536];

	for (size_t i = 0; i < sizeof(noise); i++) {
		noise[i] = (unsigned char)(i * 7 + (i >> 8) * 13);
	}
	write_file(test_path("bad"), noise, 0);
	check_file_refused(SHMCACHE_ENOTCACHE);
	write_file(test_path("bad"), noise, 3);
	check_file_refused(SHMCACHE_ENOTCACHE);
	write_file(test_path("bad"), noise, sizeof(noise));
	check_file_refused(SHMCACHE_ENOTCACHE);
	memset(noise, 0, sizeof(noise));
	write_file(test_path("bad"), noise, sizeof(noise));
	check_file_refused(SHMCACHE_ENOTCACHE);
}

/* The bytes of a cache's file; *count_out is their number. */
static unsigned char *
read_cache_file(size_t *count_out)
{
	unsigned char *bytes = calloc(1, CAPACITY);
	int fd;
	ssize_t got;

	cache = cache_create_plain("whole", CAPACITY);
	cache_set_text(cache, "key", "value");
	CHECK_RESULT(shmcache_close(cache), 0);
	fd = open(test_path("whole"), O_RDONLY | O_CLOEXEC);
	CHECK_SYS(fd);
	CHECK(bytes != NULL);
	got = read(fd, bytes, CAPACITY);
	CHECK(got > 65536);
	CHECK_SYS(close(fd));
	*count_out = (size_t)got;
	return bytes;
}

/* A copy works, so what is changed in it is what is refused. */
static void
copied_and_truncated_files(void)
{
	size_t count;
	unsigned char *bytes = read_cache_file(&count);
	static const size_t lengths[] = { 4096, 65536, 5000 };

	write_file(test_path("bad"), bytes, count);
	cache = cache_attach("bad");
	cache_check_text(cache, "key", "value");
	end();
	CHECK_RESULT(shmcache_remove(test_name("bad")), 0);
	for (unsigned i = 0; i < TEST_COUNT_OF(lengths); i++) {
		write_file(test_path("bad"), bytes, lengths[i]);
		check_file_refused(SHMCACHE_ECORRUPT);
		check_told(SHMCACHE_ECORRUPT, "truncated");
	}
	write_file(test_path("bad"), bytes, count - 1);
	check_file_refused(SHMCACHE_ECORRUPT);
	free(bytes);
}

/* Header: magic (8), version (4), header bytes (4), signature (8), ... */
static void
other_versions_and_layouts(void)
{
	size_t count;
	unsigned char *bytes = read_cache_file(&count);
	uint32_t version;

	memcpy(&version, bytes + 8, sizeof(version));
	bytes[8] = (unsigned char)(version + 1);
	write_file(test_path("bad"), bytes, count);
	check_file_refused(SHMCACHE_EVERSION);
	bytes[8] = (unsigned char)(version - 1);
	write_file(test_path("bad"), bytes, count);
	check_file_refused(SHMCACHE_EVERSION);
	bytes[8] = (unsigned char)version;
	bytes[16] ^= 1;
	write_file(test_path("bad"), bytes, count);
	check_file_refused(SHMCACHE_ELAYOUT);
	bytes[16] ^= 1;
	bytes[0] ^= 1;
	write_file(test_path("bad"), bytes, count);
	check_file_refused(SHMCACHE_ENOTCACHE);
	bytes[0] ^= 1;
	/* What the header says of sizes and places. */
	for (size_t at = 32; at < 32 + 240; at += 8) {
		unsigned char was = bytes[at + 2];
		int result;

		bytes[at + 2] = (unsigned char)(was + 1);
		write_file(test_path("bad"), bytes, count);
		result = try_open(test_name("bad"), NULL);
		CHECK_SAY(
		    result == SHMCACHE_ECORRUPT || result == SHMCACHE_ELAYOUT,
		    "byte %zu of the header: %s", at + 2,
		    shmcache_strerror(result));
		bytes[at + 2] = was;
	}
	write_file(test_path("bad"), bytes, count);
	CHECK_RESULT(try_open(test_name("bad"), NULL), 0);
	free(bytes);
}

/* --- users and permissions */

static void
open_as_nobody(void *unused)
{
	(void)unused;
	sandbox_drop_root();
	CHECK_RESULT(try_open(test_name("bad"), NULL), -EACCES);
	check_told(-EACCES, test_name("bad"));
	CHECK_RESULT(try_create(test_name("bad")), -EACCES);
}

static void
attach_to_root_as_nobody(void *unused)
{
	(void)unused;
	sandbox_drop_root();
	cache = cache_attach("bad"); /* root is trusted */
	cache_check_text(cache, "key", "value");
	CHECK_RESULT(shmcache_close(cache), 0);
}

static void
create_as_nobody(void *unused)
{
	(void)unused;
	sandbox_drop_root();
	CHECK_RESULT(try_create(test_name("theirs")), 0);
}

static void
no_permission(void)
{
	struct stat status;

	begin();
	cache_set_text(cache, "key", "value");
	CHECK_SYS(stat(test_path("bad"), &status));
	CHECK((status.st_mode & 07777) == 0600);
	child_run(open_as_nobody, NULL);
	CHECK_SYS(chmod(test_path("bad"), 0666));
	child_run(attach_to_root_as_nobody, NULL);
	end();
}

static void
owned_by_another_user(void)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;

	child_run(create_as_nobody, NULL);
	CHECK_RESULT(try_open(test_name("theirs"), NULL), SHMCACHE_EOWNER);
	check_told(SHMCACHE_EOWNER, "65534");
	options.open_mode = SHMCACHE_ATTACH;
	CHECK_RESULT(try_open(test_name("theirs"), &options), SHMCACHE_EOWNER);
	options.any_owner = 1;
	CHECK_RESULT(try_open(test_name("theirs"), &options), 0);
	CHECK_RESULT(shmcache_remove(test_name("theirs")), SHMCACHE_EOWNER);
}

static void
mode_of_the_segment(void)
{
	struct shmcache_options options = options_with_capacity(CAPACITY);
	mode_t mask = umask(0);
	struct stat status;

	options.mode = 0660;
	CHECK_RESULT(try_open(test_name("bad"), &options), 0);
	CHECK_SYS(stat(test_path("bad"), &status));
	CHECK((status.st_mode & 07777) == 0660);
	umask(mask);
}

/* --- room */

static unsigned
entries_of(const char *path)
{
	DIR *directory = opendir(path);
	unsigned count = 0;

	CHECK(directory != NULL);
	while (readdir(directory) != NULL) {
		count++;
	}
	CHECK_SYS(closedir(directory));
	return count;
}

static void
check_no_room(const char *directory, const char *name)
{
	struct statfs before, after;

	CHECK_SYS(statfs(directory, &before));
	CHECK_RESULT(try_create(name), -ENOSPC);
	check_told(-ENOSPC, "bad");
	CHECK(entries_of(directory) == 2);
	CHECK_SYS(statfs(directory, &after));
	CHECK(before.f_bfree == after.f_bfree);
	CHECK(before.f_ffree == after.f_ffree);
}

static void
fill_small_file_systems(void *unused)
{
	char path[256];

	(void)unused;
	sandbox_private_mounts();
	CHECK_SYS(mkdir(test_path("mount"), 0700));
	sandbox_mount_tmpfs(test_path("mount"), 1 << 20);
	snprintf(path, sizeof(path), "%s/bad", test_path("mount"));
	check_no_room(test_path("mount"), path);
	CHECK_SYS(umount(test_path("mount")));
	CHECK_SYS(rmdir(test_path("mount")));
	sandbox_mount_tmpfs("/dev/shm", 1 << 20);
	check_no_room("/dev/shm", test_name("bad"));
}

static void
no_room_in_the_file_system(void)
{
	child_run(fill_small_file_systems, NULL);
	CHECK_RESULT(try_create(test_name("bad")), 0);
}

/* --- /proc and the kernel */

static void
create_without_proc(void *unused)
{
	(void)unused;
	sandbox_private_mounts();
	if (umount2("/proc", MNT_DETACH) != 0) {
		skip("cannot unmount /proc: %s", test_errno_text());
	}
	CHECK_RESULT(try_create(test_name("bad")), SHMCACHE_ENOPROC);
	check_told(SHMCACHE_ENOPROC, "/proc");
	CHECK(access(test_path("bad"), F_OK) != 0);
	CHECK_RESULT(try_open(test_name("there"), NULL), 0);
}

static void
no_proc(void)
{
	CHECK_RESULT(try_create(test_name("there")), 0);
	child_run(create_without_proc, NULL);
}

static void
create_without_tmpfile(void *error)
{
	int number;

	memcpy(&number, error, sizeof(number));
	sandbox_fail_call(SYS_openat, 2, O_TMPFILE, O_TMPFILE, number);
	CHECK_RESULT(try_create(test_name("bad")), SHMCACHE_EKERNEL);
	check_told(SHMCACHE_EKERNEL, "O_TMPFILE");
	CHECK(access(test_path("bad"), F_OK) != 0);
}

static void
open_without_ofd_locks(void *unused)
{
	(void)unused;
	sandbox_fail_call(SYS_fcntl, 1, UINT32_MAX, F_OFD_SETLK, EINVAL);
	CHECK_RESULT(try_open(test_name("there"), NULL), SHMCACHE_EKERNEL);
	check_told(SHMCACHE_EKERNEL, "lock");
}

static void
old_kernel(void)
{
	int error = EOPNOTSUPP;

	child_run(create_without_tmpfile, &error);
	error = EISDIR;
	child_run(create_without_tmpfile, &error);
	CHECK_RESULT(try_create(test_name("there")), 0);
	child_run(open_without_ofd_locks, NULL);
}

/* --- signal handlers */

static volatile sig_atomic_t handler_calls, handler_deadlocks, handler_wrong;

static void
call_in_handler(int number)
{
	char buffer[16];
	int result, saved = errno;

	(void)number;
	result =
	    shmcache_get(cache, "key", 3, buffer, sizeof(buffer), NULL, NULL);
	handler_calls = handler_calls + 1;
	if (result == SHMCACHE_EDEADLK) {
		handler_deadlocks = handler_deadlocks + 1;
		if (shmcache_set(cache, "handler", 7, "x", 1, 0, 0) != result) {
			handler_wrong = result;
		}
	} else if (result != 0 && result != SHMCACHE_ENOENT &&
		   result != SHMCACHE_EBUFFER) {
		handler_wrong = result; /* between the calls all three may be */
	}
	errno = saved;
}

static void
call_within_a_call(void)
{
	const struct itimerval often = { { 0, 100 }, { 0, 100 } };
	const struct itimerval never = { { 0, 0 }, { 0, 0 } };
	struct sigaction action = { .sa_handler = call_in_handler };
	char value[4096];

	if (TEST_TSAN) {
		skip("ThreadSanitizer puts handlers off to between the calls");
	}
	begin();
	memset(value, 'v', sizeof(value));
	CHECK_SYS(sigaction(SIGALRM, &action, NULL));
	CHECK_SYS(setitimer(ITIMER_REAL, &often, NULL));
	while (handler_deadlocks < 20) {
		CHECK_RESULT(
		    shmcache_set(cache, "key", 3, value, sizeof(value), 0, 0),
		    0);
		CHECK_RESULT(shmcache_delete(cache, "key", 3), 0);
		CHECK_RESULT(shmcache_set(cache, "key", 3, "v", 1, 0, 0), 0);
	}
	CHECK_SYS(setitimer(ITIMER_REAL, &never, NULL));
	CHECK_SAY(handler_wrong == 0, "in the handler: %s",
	    shmcache_strerror(handler_wrong));
	CHECK(handler_calls > 0);
	CHECK_RESULT(shmcache_exists(cache, "handler", 7), 0);
	end();
}

/* --- removed caches, error texts */

static void
removed_while_open(void)
{
	struct shmcache *second;
	char buffer[8];
	int result;

	begin();
	cache_set_text(cache, "key", "value");
	CHECK_RESULT(shmcache_remove(test_name("bad")), 0);
	CHECK(access(test_path("bad"), F_OK) != 0);
	CHECK_RESULT(shmcache_remove(test_name("bad")), SHMCACHE_ENOCACHE);
	result = shmcache_get(cache, "key", 3, buffer, 8, NULL, NULL);
	CHECK_RESULT(result, SHMCACHE_ENOENT);
	CHECK_RESULT(
	    shmcache_set(cache, "key", 3, "new", 3, 0, 0), SHMCACHE_EREMOVED);
	CHECK_RESULT(shmcache_get(cache, "key", 3, buffer, 8, NULL, NULL),
	    SHMCACHE_ENOENT);
	CHECK_RESULT(shmcache_flush(cache), SHMCACHE_EREMOVED);
	CHECK_RESULT(shmcache_sweep(cache, NULL), SHMCACHE_EREMOVED);
	CHECK_RESULT(shmcache_verify(cache, SHMCACHE_VERIFY_LIVE, NULL, NULL),
	    SHMCACHE_EREMOVED);
	second = cache_create_plain("bad", CAPACITY);
	cache_set_text(second, "key", "another");
	cache_check_text(second, "key", "another");
	while (shmcache_is_available(cache) == 0)
		(void)sched_yield();
	CHECK_RESULT(shmcache_set(cache, "key", 3, "new", 3, 0, 0), 0);
	cache_check_text(second, "key", "new");
	CHECK_RESULT(shmcache_close(cache), 0);
	cache = second;
	end();
}

static void
every_error_has_a_text(void)
{
	const char *unknown = shmcache_strerror(-999999);

	CHECK(unknown != NULL && unknown[0] != '\0');
	for (int error = SHMCACHE_ENOENT; error >= SHMCACHE_ECORRUPT; error--) {
		if (error == SHMCACHE_ETOOBIG - 1) {
			continue; /* a number that was never given out */
		}
		CHECK(strcmp(shmcache_strerror(error), unknown) != 0);
	}
	for (int error = SHMCACHE_ENOCACHE; error >= SHMCACHE_ENOPROC;
	     error--) {
		CHECK(strcmp(shmcache_strerror(error), unknown) != 0);
	}
	CHECK(strcmp(shmcache_strerror(0), unknown) != 0);
	CHECK(strcmp(shmcache_strerror(-ENOSPC), unknown) != 0);
	CHECK(shmcache_version()[0] >= '0' && shmcache_version()[0] <= '9');
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(key_empty_or_too_long),
		CASE(value_above_the_limit),
		CASE(bad_ttl),
		CASE(buffers_and_null_outputs),
		CASE(bad_options),
		CASE(capacity_missing_or_too_small),
		CASE(other_options_than_it_has),
		CASE(bad_names),
		CASE(longest_name),
		CASE(exclusive_create_and_attach_only),
		CASE(not_a_regular_file),
		CASE(not_on_a_tmpfs),
		CASE(not_a_cache),
		CASE(copied_and_truncated_files),
		CASE(other_versions_and_layouts),
		CASE(no_permission),
		CASE(owned_by_another_user),
		CASE(mode_of_the_segment),
		CASE(no_room_in_the_file_system),
		CASE(no_proc),
		CASE(old_kernel),
		CASE(call_within_a_call),
		CASE(removed_while_open),
		CASE(every_error_has_a_text),
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
	};

	return run_suite(argc, argv, &suite);
}
