/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* segment.c - files of shared memory */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "shm/segment.h"

#include "shm/atomic.h"
#include "shm/error.h"
#include "shm/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#if SHM_ATOMIC_BUILTINS
uint64_t shm_tsan_fence_word;
#endif

/* Reserve this much at a time.  A kernel may undo the chunk that a signal interrupts
   (a GiB takes half a second), so the next is half as large: where a timer ticks,
   chunks come to fit between two ticks.  Who is interrupted so often in the least
   of them gets nothing else done either. */
#define RESERVE_CHUNK_BYTES   (64ll << 20)
#define RESERVE_LEAST_BYTES   (64ll << 10)
#define RESERVE_INTERRUPTIONS 1000u

static uint64_t attachments; /* ids given out */

int
shm_segment_path(const char *name, char path_out[SHM_PATH_MAX])
{
	size_t bytes = name == NULL ? 0 : strnlen(name, SHM_PATH_MAX);
	bool absolute = bytes > 0 && name[0] == '/';

	if (bytes == 0)
		return shm_error_note(SHM_ENAME, "a cache needs a name");
	if (bytes >= (absolute ? SHM_PATH_MAX : SHM_NAME_MAX + 1))
		return shm_error_note(SHM_ENAME,
		    "the name is longer than %u bytes",
		    absolute ? SHM_PATH_MAX - 1 : SHM_NAME_MAX);
	for (size_t i = 0; i < bytes; i++) {
		unsigned char c = (unsigned char)name[i];

		if (c < 0x20 || c == 0x7f)
			return shm_error_note(SHM_ENAME,
			    "the name has a control character at byte %zu", i);
		if (c == '/' && !absolute)
			return shm_error_note(SHM_ENAME,
			    "'%.100s' has a slash: a path must be absolute",
			    name);
	}
	if (absolute && name[bytes - 1] == '/')
		return shm_error_note(
		    SHM_ENAME, "'%.200s' names a directory", name);
	(void)snprintf(path_out, SHM_PATH_MAX, "%s%s",
	    absolute ? "" : "/dev/shm/shmcache.", name);
	return 0;
}

/* A file that may hold a segment, or be made one. */
struct file {
	int fd;
	struct stat status;
	uint64_t
	    page_bytes; /* of its file system: files and mappings are whole */
};

/* The bytes that the segment takes there. */
static uint64_t
whole_bytes(const struct file *file, const struct shm_geometry *g)
{
	uint64_t rest = g->total_bytes % file->page_bytes;

	return g->total_bytes + (rest == 0 ? 0 : file->page_bytes - rest);
}

static int
check_file_system(struct file *file, const char *path)
{
	struct statfs fs;

	if (fstatfs(file->fd, &fs) != 0)
		return -errno;
	if (fs.f_type != TMPFS_MAGIC && fs.f_type != HUGETLBFS_MAGIC)
		return shm_error_note(SHM_EFILESYSTEM,
		    "%.200s is not on a tmpfs or hugetlbfs; use a name, or a "
		    "path under /dev/shm or /run",
		    path);
	file->page_bytes = (uint64_t)fs.f_bsize;
	return 0;
}

static void
directory_of(const char *path, char directory[SHM_PATH_MAX])
{
	const char *slash = strrchr(path, '/');
	size_t bytes = slash == path ? 1 : (size_t)(slash - path);

	memcpy(directory, path, bytes);
	directory[bytes] = '\0';
}

/* Why no unnamed file could be made in the directory: the wrong file system
   comes before everything else. */
static int
unnamed_error(int reason, const char *directory, const char *path)
{
	struct file folder = { .fd = open(directory, O_DIRECTORY | O_CLOEXEC) };
	int error = folder.fd < 0 ? 0 : check_file_system(&folder, path);

	if (folder.fd >= 0)
		(void)close(folder.fd);
	if (error != 0)
		return error;
	if (reason == EISDIR || reason == EOPNOTSUPP || reason == EINVAL)
		return shm_error_note(SHM_EKERNEL,
		    "the kernel has no O_TMPFILE in %.200s", directory);
	return shm_error_note(-reason, "cannot create a file in %.200s: %s",
	    directory, shm_errno_text(reason));
}

/* An unnamed file in the directory of `path`. */
static int
open_unnamed(const char *path)
{
	char directory[SHM_PATH_MAX];
	int fd;

	directory_of(path, directory);
	fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd >= 0 ? fd : unnamed_error(errno, directory, path);
}

/* Reserve the memory now: a full tmpfs is an error here and no SIGBUS later. */
static int
reserve_memory(int fd, uint64_t bytes, const char *path)
{
	off_t done = 0, most = RESERVE_CHUNK_BYTES;
	unsigned interruptions = 0;

	while ((uint64_t)done < bytes) {
		off_t chunk = (off_t)bytes - done;

		if (chunk > most)
			chunk = most;
		if (fallocate(fd, 0, done, chunk) == 0) {
			done += chunk;
			interruptions = 0;
		} else if (errno != EINTR ||
			   interruptions++ == RESERVE_INTERRUPTIONS) {
			return shm_error_note(-errno,
			    "cannot reserve %llu bytes for %.200s: %s",
			    (unsigned long long)bytes, path,
			    shm_errno_text(errno));
		} else if (most > RESERVE_LEAST_BYTES) {
			most /= 2;
		}
	}
	return 0;
}

static int
write_tables(const struct file *file, const struct shm_geometry *g,
    uint64_t signature, shm_segment_init *init, void *context)
{
	struct shm_header_shared *header = mmap(NULL, whole_bytes(file, g),
	    PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
	int error;

	if (header == MAP_FAILED)
		return -errno;
	memcpy(header->magic, SHM_MAGIC, sizeof(header->magic));
	header->version = SHM_VERSION;
	header->header_bytes = SHM_HEADER_BYTES;
	header->signature = shm_layout_signature(signature);
	header->geometry = *g;
	if (getrandom(&header->segment_id, sizeof(header->segment_id), 0) !=
	    (ssize_t)sizeof(header->segment_id))
		error = -EIO;
	else
		error = init == NULL ? 0 : init(context, header, g);
	(void)munmap(header, whole_bytes(file, g));
	return error;
}

static int
link_to_name(int fd, const char *path)
{
	char self[64];

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	if (errno == EEXIST)
		return shm_error_note(SHM_EEXIST, "%.200s exists", path);
	if (errno == ENOENT && access("/proc/self/fd", F_OK) != 0)
		return shm_error_note(
		    SHM_ENOPROC, "creating a cache needs /proc; mount it");
	return shm_error_note(
	    -errno, "cannot link %.200s: %s", path, shm_errno_text(errno));
}

int
shm_segment_create(const char *path, const struct shm_request *request,
    uint64_t signature, mode_t mode, shm_segment_init *init, void *context)
{
	struct shm_geometry geometry;
	struct file file;
	int error = shm_geometry_init(&geometry, request);

	if (error != 0)
		return error;
	file.fd = open_unnamed(path);
	if (file.fd < 0)
		return file.fd;
	error = check_file_system(&file, path);
	if (error == 0)
		error = reserve_memory(
		    file.fd, whole_bytes(&file, &geometry), path);
	if (error == 0 && fchmod(file.fd, mode) != 0)
		error = -errno;
	if (error == 0)
		error =
		    write_tables(&file, &geometry, signature, init, context);
	if (error == 0)
		error = link_to_name(file.fd, path);
	(void)close(file.fd);
	return error;
}

static int
open_error(int error, const char *path)
{
	switch (error) {
	case ENOENT:
		return shm_error_note(
		    SHM_ENOSEGMENT, "%.200s does not exist", path);
	case ELOOP:
	case EISDIR:
	case ENXIO:
	case ENODEV:
		return shm_error_note(
		    SHM_EFILETYPE, "%.200s is not a regular file", path);
	default:
		return shm_error_note(-error, "cannot open %.200s: %s", path,
		    shm_errno_text(error));
	}
}

/* Nobody else's, for writing. */
static const struct shm_access plain_access;

static bool
is_trusted(uid_t owner, const struct shm_access *access)
{
	if (access->any_owner || owner == 0 || owner == geteuid())
		return true;
	for (uint32_t i = 0; i < access->owner_count; i++)
		if (access->owners[i] == owner)
			return true;
	return false;
}

/* Never follows a link, never blocks.  0: the file is open. */
static int
open_file(const char *path, const struct shm_access *access, struct file *file)
{
	int error = 0;

	file->fd =
	    open(path, (access->read_only ? O_RDONLY : O_RDWR) | O_NOFOLLOW |
			   O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (file->fd < 0)
		return open_error(errno, path);
	if (fstat(file->fd, &file->status) != 0)
		error = -errno;
	else if (!S_ISREG(file->status.st_mode))
		error = open_error(ELOOP, path);
	else if (!is_trusted(file->status.st_uid, access))
		error = shm_error_note(SHM_EOWNER, "%.200s belongs to user %ju",
		    path, (uintmax_t)file->status.st_uid);
	else
		error = check_file_system(file, path);
	if (error != 0)
		(void)close(file->fd);
	return error;
}

/* Checks the header; copies the geometry, which is then known to fit. */
static int
read_header(const struct file *file, uint64_t signature, const char *path,
    struct shm_geometry *geometry)
{
	struct shm_header_shared header;
	ssize_t got = pread(file->fd, &header, sizeof(header), 0);
	uint64_t file_bytes = (uint64_t)file->status.st_size;

	if (got < (ssize_t)offsetof(struct shm_header_shared, segment_id) ||
	    memcmp(header.magic, SHM_MAGIC, sizeof(header.magic)) != 0)
		return shm_error_note(
		    SHM_ENOTSEGMENT, "%.200s is not a cache", path);
	if (header.version != SHM_VERSION)
		return shm_error_note(SHM_EVERSION,
		    "%.200s has layout version %u, this library has %u; remove "
		    "it, or use the library that made it",
		    path, header.version, SHM_VERSION);
	if (header.signature != shm_layout_signature(signature))
		return shm_error_note(SHM_ELAYOUT,
		    "%.200s was made by another build of the library, with "
		    "another layout",
		    path);
	if (got < (ssize_t)sizeof(header) ||
	    header.header_bytes != SHM_HEADER_BYTES ||
	    shm_geometry_init(geometry, &header.geometry.request) != 0 ||
	    memcmp(geometry, &header.geometry, sizeof(*geometry)) != 0)
		return shm_error_note(
		    SHM_ECORRUPT, "%.200s has a damaged header", path);
	if (file_bytes < whole_bytes(file, geometry))
		return shm_error_note(SHM_ECORRUPT,
		    "%.200s is truncated: %llu bytes of %llu", path,
		    (unsigned long long)file_bytes,
		    (unsigned long long)whole_bytes(file, geometry));
	if (geometry->request.page_bytes != (uint32_t)sysconf(_SC_PAGESIZE))
		return shm_error_note(SHM_ELAYOUT,
		    "%.200s was made with pages of %u bytes", path,
		    geometry->request.page_bytes);
	return 0;
}

/* Maps the file through the descriptor that carries the process's lock. */
static int
map_file(const struct file *file, struct shm_segment *segment)
{
	size_t bytes = whole_bytes(file, &segment->geometry);
	int protection = PROT_READ | (segment->read_only ? 0 : PROT_WRITE);
	void *base = mmap(NULL, bytes, protection, MAP_SHARED, file->fd, 0);

	if (base == MAP_FAILED)
		return -errno;
	if (madvise(base, bytes, MADV_DONTFORK) != 0) {
		int error = -errno;

		(void)munmap(base, bytes);
		return error;
	}
	(void)madvise(base, bytes, MADV_HUGEPAGE); /* where it can be had */
	segment->base = base;
	segment->mapped_bytes = bytes;
	segment->header = base;
	segment->segment_id = segment->header->segment_id;
	return 0;
}

/* Who unlinks holds a lock on this byte, lest two remove one after the other
   and the second hits what was created in between. */
#define REMOVAL_LOCK ((1ll << 60) - 1)

/* Unlinks `path` if it is still the file that is open. */
static int
unlink_same(const struct file *file, const char *path)
{
	struct flock lock = { .l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = REMOVAL_LOCK,
		.l_len = 1 };
	struct stat now;

	if (fcntl(file->fd, F_OFD_SETLK, &lock) != 0)
		return errno != EAGAIN && errno != EACCES
			   ? -errno
			   : shm_error_note(SHM_EREMOVED,
				 "%.200s is being removed by another", path);
	if (lstat(path, &now) == 0) {
		if (now.st_dev != file->status.st_dev ||
		    now.st_ino != file->status.st_ino)
			return 0; /* somebody else has */
		if (unlink(path) == 0)
			return 0;
	}
	if (errno == ENOENT)
		return 0;
	return shm_error_note(
	    -errno, "cannot unlink %.200s: %s", path, shm_errno_text(errno));
}

/* Marks what is open as retired: first, so that a removal that is killed half
   way is finished by whoever opens it next. */
static int
mark_retired(const struct file *file, const struct shm_geometry *geometry,
    shm_segment_retired_hook *hook)
{
	uint64_t bytes = whole_bytes(file, geometry);
	struct shm_header_shared *header =
	    mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);

	if (header == MAP_FAILED)
		return -errno;
	(void)shm_cas64(&header->state, SHM_STATE_LIVE, SHM_STATE_RETIRED);
	if (hook != NULL)
		hook(header, geometry);
	(void)munmap(header, bytes);
	return 0;
}

/* Mark, then unlink, what is open. */
static int
retire(const struct file *file, const char *path,
    const struct shm_geometry *geometry, shm_segment_retired_hook *hook)
{
	int error = mark_retired(file, geometry, hook);

	return error != 0 ? error : unlink_same(file, path);
}

static int
attach_file(const struct file *file, uint64_t signature,
    shm_segment_retired_hook *hook, struct shm_segment *segment)
{
	int error =
	    read_header(file, signature, segment->path, &segment->geometry);

	if (error != 0)
		return error;
	segment->lane_extents = shm_lane_extents(&segment->geometry.request);
	segment->device = file->status.st_dev;
	segment->inode = file->status.st_ino;
	segment->alive_until_ms =
	    calloc(segment->geometry.request.process_count, sizeof(uint64_t));
	if (segment->alive_until_ms == NULL)
		return -ENOMEM;
	segment->process = SHM_PROCESS_NONE;
	if (!segment->read_only)
		error = shm_process_lock(file->fd, segment);
	if (error == 0)
		error = map_file(file, segment);
	if (error == 0 && shm_segment_retired(segment)) {
		if (!segment->read_only)
			error = retire(
			    file, segment->path, &segment->geometry, hook);
		(void)munmap(segment->base, segment->mapped_bytes);
		if (error == 0)
			error = open_error(ENOENT, segment->path);
	}
	if (error != 0) {
		free(segment->alive_until_ms);
		return error;
	}
	segment->id = shm_faa64(&attachments, 1) + 1;
	if (!segment->read_only)
		shm_process_enroll(segment);
	return 0;
}

int
shm_segment_attach(const char *path, uint64_t signature,
    const struct shm_access *access, shm_segment_retired_hook *hook,
    struct shm_segment **segment_out)
{
	size_t path_bytes = strlen(path) + 1;
	struct shm_segment *segment;
	struct file file;
	int error;

	if (access == NULL)
		access = &plain_access;
	error = open_file(path, access, &file);
	if (error != 0)
		return error;
	segment = calloc(1, sizeof(*segment) + path_bytes);
	if (segment == NULL) {
		error = -ENOMEM;
	} else {
		memcpy(segment->path, path, path_bytes);
		segment->read_only = access->read_only;
		error = attach_file(&file, signature, hook, segment);
	}
	(void)close(file.fd); /* the lock lives on with the mapping */
	if (error != 0) {
		free(segment);
		return error;
	}
	*segment_out = segment;
	return 0;
}

void
shm_segment_detach(struct shm_segment *segment)
{
	(void)munmap(segment->base, segment->mapped_bytes);
	shm_segment_forget(segment);
}

void
shm_segment_forget(struct shm_segment *segment)
{
	free(segment->alive_until_ms);
	free(segment);
}

int
shm_segment_reopen(const struct shm_segment *segment)
{
	struct stat status;
	int fd = open(segment->path,
	    O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return -1;
	if (fstat(fd, &status) == 0 && status.st_dev == segment->device &&
	    status.st_ino == segment->inode)
		return fd;
	(void)close(fd);
	return -1;
}

/* Would the directory let the caller unlink it?  Asked before it is marked. */
static int
check_unlink(const char *path, const struct stat *status)
{
	char directory[SHM_PATH_MAX];
	struct stat folder;
	uid_t user = geteuid();

	directory_of(path, directory);
	if (stat(directory, &folder) != 0 ||
	    faccessat(AT_FDCWD, directory, W_OK, AT_EACCESS) != 0)
		return shm_error_note(-errno, "cannot unlink %.200s: %s", path,
		    shm_errno_text(errno));
	if ((folder.st_mode & S_ISVTX) != 0 && user != 0 &&
	    user != status->st_uid && user != folder.st_uid)
		return shm_error_note(
		    -EPERM, "only its owner may remove %.200s", path);
	return 0;
}

int
shm_segment_retire(const char *path, uint64_t signature,
    const struct shm_access *access, shm_segment_retired_hook *hook)
{
	struct shm_geometry geometry;
	struct file file;
	int error =
	    open_file(path, access != NULL ? access : &plain_access, &file);

	if (error != 0)
		return error;
	error = read_header(&file, signature, path, &geometry);
	if (error == 0)
		error = check_unlink(path, &file.status);
	if (error == 0)
		error = retire(&file, path, &geometry, hook);
	(void)close(file.fd);
	return error;
}

bool
shm_segment_retired(const struct shm_segment *segment)
{
	return shm_load64(&segment->header->state) != SHM_STATE_LIVE;
}
