/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * segment_fuzzer.c - a fuzzer's bytes as damage and calls
 *
 * The input is a list of steps, so that what is found can be read:
 *
 *   1nnn.... o o o b...   write n + 1 bytes at offset o (24 bits, modulo the
 *                         length of the segment)
 *   0..ccccc k            call number c (hostile.h) on key number k
 *
 * Of the calls that walk through everything, only the first is made: they take
 * as long as hundreds of others.
 *
 * tests/fuzz/run.sh builds it with libFuzzer and runs it.
 */
#include "hostile.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STEPS_MAX 16

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct hostile hostile;
static pid_t owner;

static void
clean_up(void)
{
	if (getpid() == owner)
		hostile_unlink(&hostile);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char path[100];

	(void)argc;
	(void)argv;
	owner = getpid();
	(void)snprintf(
	    path, sizeof(path), "/dev/shm/shmcache.test-%d-fuzz", (int)owner);
	hostile_open(&hostile, path);
	(void)atexit(clean_up);
	return 0;
}

static size_t
write_bytes(const uint8_t *data, size_t size)
{
	size_t count = (size_t)(data[0] >> 4 & 7) + 1;
	size_t offset;

	if (size < 4 + count)
		return size;
	offset = (size_t)data[1] << 16 | (size_t)data[2] << 8 | data[3];
	offset %= hostile.length - 8;
	memcpy(hostile.bytes + offset, data + 4, count);
	return 4 + count;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t at = 0;
	bool walked = false;

	hostile_limit(5);
	for (unsigned step = 0; step < STEPS_MAX && at + 1 < size; step++) {
		if ((data[at] & 0x80) != 0) {
			at += write_bytes(data + at, size - at);
		} else {
			unsigned call = data[at] & 0x1f;

			if (!walked || !hostile_walks(call))
				hostile_call(&hostile, call, data[at + 1]);
			walked |= hostile_walks(call);
			at += 2;
		}
	}
	hostile_limit(0);
	hostile_restore(&hostile);
	return 0;
}
