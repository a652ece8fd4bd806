/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * scratch.c - see scratch.h
 *
 * Only the process that made the folder removes it: children leave by _exit()
 * or by a signal whose handler knows the maker's pid.
 */
#include "scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
static int folder_fd = -1;
static pid_t maker;

static bool
is_entry(const struct dirent *entry)
{
	return strcmp(entry->d_name, ".") != 0 &&
	       strcmp(entry->d_name, "..") != 0;
}

void
scratch_close(void)
{
	DIR *stream;
	struct dirent *entry;

	if (folder_fd < 0 || getpid() != maker)
		return;
	stream = opendir(folder);
	while (stream != NULL && (entry = readdir(stream)) != NULL) {
		if (is_entry(entry))
			(void)unlinkat(folder_fd, entry->d_name, 0);
	}
	if (stream != NULL)
		(void)closedir(stream);
	(void)close(folder_fd);
	folder_fd = -1;
	(void)rmdir(folder);
}

/* opendir() may allocate; a test that is being ended takes that risk. */
static void
end_on_signal(int signal_number)
{
	scratch_close();
	(void)signal(signal_number, SIG_DFL);
	(void)raise(signal_number);
}

bool
scratch_open(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT,
		SIGPIPE, SIGSEGV, SIGBUS, SIGABRT };

	maker = getpid();
	(void)snprintf(folder, sizeof(folder),
	    "/dev/shm/shmcache.test-%ld-step", (long)maker);
	if (mkdir(folder, 0700) != 0)
		return false;
	folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder_fd < 0) {
		(void)rmdir(folder);
		return false;
	}
	(void)atexit(scratch_close);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)signal(signals[i], end_on_signal);
	return true;
}

void
scratch_path(char path[SCRATCH_PATH_BYTES], const char *format, ...)
{
	va_list arguments;
	int length = snprintf(path, SCRATCH_PATH_BYTES, "%s/", folder);

	va_start(arguments, format);
	(void)vsnprintf(path + length, SCRATCH_PATH_BYTES - (size_t)length,
	    format, arguments);
	va_end(arguments);
}

bool
scratch_write(const char *path, const uint8_t *bytes, size_t length)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	size_t done = 0;

	if (fd < 0)
		return false;
	while (done < length) {
		ssize_t part = write(fd, bytes + done, length - done);

		if (part < 0 && errno == EINTR)
			continue;
		if (part <= 0) {
			(void)close(fd);
			(void)unlink(path);
			return false;
		}
		done += (size_t)part;
	}
	return close(fd) == 0;
}

bool
scratch_read(const char *path, struct snapshot *snapshot_out)
{
	struct stat status;
	struct snapshot snapshot = { 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool whole;

	if (fd < 0)
		return false;
	if (fstat(fd, &status) != 0) {
		(void)close(fd);
		return false;
	}
	snapshot.length = (size_t)status.st_size;
	snapshot.bytes = malloc(snapshot.length);
	whole = snapshot.bytes != NULL &&
		read(fd, snapshot.bytes, snapshot.length) ==
		    (ssize_t)snapshot.length;
	(void)close(fd);
	if (!whole) {
		snapshot_free(&snapshot);
		return false;
	}
	*snapshot_out = snapshot;
	return true;
}

struct snapshot
snapshot_copy(const struct snapshot *snapshot)
{
	struct snapshot copy = { malloc(snapshot->length), snapshot->length };

	if (copy.bytes == NULL) {
		perror("step_test");
		exit(1);
	}
	memcpy(copy.bytes, snapshot->bytes, copy.length);
	return copy;
}

void
snapshot_free(struct snapshot *snapshot)
{
	free(snapshot->bytes);
	snapshot->bytes = NULL;
	snapshot->length = 0;
}
