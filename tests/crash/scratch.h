/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * scratch.h - the test's own folder below /dev/shm
 *
 * Segments and copies of them are files in one folder, which goes when the test
 * ends, by whatever signal but SIGKILL.
 */
#ifndef CRASH_SCRATCH_H
#define CRASH_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCRATCH_PATH_BYTES 128

/* Bytes of a segment that was read from its file. */
struct snapshot {
	uint8_t *bytes;
	size_t length;
};

/* Make the folder; false if /dev/shm won't have it (errno tells why). */
bool scratch_open(void);

/* Remove the folder and all that is in it. */
void scratch_close(void);

/* The path of the file `name` in the folder. */
void scratch_path(char path[SCRATCH_PATH_BYTES], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A new file (hence a new inode) with these bytes; it must not exist. */
bool scratch_write(const char *path, const uint8_t *bytes, size_t length);
bool scratch_read(const char *path, struct snapshot *snapshot_out);
struct snapshot snapshot_copy(const struct snapshot *snapshot);
void snapshot_free(struct snapshot *snapshot);

#endif /* CRASH_SCRATCH_H */
