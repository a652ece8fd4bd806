/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* input.c - reading and unpacking a file */
#include "tools/replay/input.h"

#include <errno.h>
#include <lzma.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES (1u << 20)

/* How what is packed begins, and what unpacks it; xz is unpacked here. */
static const struct {
	const char *magic;
	size_t bytes;
	const char *advice; /* NULL: none is needed */
} packings[] = {
	{ "\xfd"
	  "7zXZ",
	    6, NULL },
	{ "\x1f\x8b\x08", 3, "gzip packed it: zcat FILE | shmcache-replay -" },
	{ "\x28\xb5\x2f\xfd", 4,
	    "zstd packed it: zstdcat FILE | shmcache-replay -" },
};

#define PACKINGS (sizeof(packings) / sizeof(packings[0]))

static int
fail(const char *path, const char *reason, char *why, size_t why_bytes)
{
	(void)snprintf(why, why_bytes, "%.200s: %s", path, reason);
	return -1;
}

/* Makes room for a chunk more. */
static int
grow(struct input *input, size_t *room)
{
	char *more;

	if (input->count + CHUNK_BYTES + 1 <= *room)
		return 0;
	*room = 2 * *room + CHUNK_BYTES + 1;
	more = realloc(input->bytes, *room);
	if (more == NULL)
		return -1;
	input->bytes = more;
	return 0;
}

static int
read_all(FILE *file, struct input *input)
{
	size_t room = 0, got;

	do {
		if (grow(input, &room) != 0)
			return ENOMEM;
		got = fread(input->bytes + input->count, 1, CHUNK_BYTES, file);
		input->count += got;
	} while (got > 0);
	input->bytes[input->count] = 0;
	return ferror(file) ? errno : 0;
}

/* NULL, or what is wrong. */
static const char *
unpack(struct input *packed, struct input *input)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	lzma_ret result =
	    lzma_stream_decoder(&stream, UINT64_MAX, LZMA_CONCATENATED);
	size_t room = 0;

	stream.next_in = (const uint8_t *)packed->bytes;
	stream.avail_in = packed->count;
	while (result == LZMA_OK) {
		if (grow(input, &room) != 0) {
			result = LZMA_MEM_ERROR;
			break;
		}
		stream.next_out = (uint8_t *)input->bytes + input->count;
		stream.avail_out = CHUNK_BYTES;
		result = lzma_code(&stream, LZMA_FINISH);
		input->count += CHUNK_BYTES - stream.avail_out;
	}
	lzma_end(&stream);
	if (result != LZMA_STREAM_END)
		return result == LZMA_MEM_ERROR
			   ? "not enough memory to unpack it"
			   : "the xz data are damaged or cut short";
	input->bytes[input->count] = 0;
	return NULL;
}

/* Which it is; PACKINGS: none. */
static size_t
find_packing(const struct input *input)
{
	size_t at = 0;

	while (at < PACKINGS && (input->count < packings[at].bytes ||
				    memcmp(input->bytes, packings[at].magic,
					packings[at].bytes) != 0))
		at++;
	return at;
}

int
input_read(struct input *input, const char *path, char *why, size_t why_bytes)
{
	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rbe");
	struct input packed = { NULL, 0 };
	const char *wrong;
	size_t at;
	int error;

	*input = (struct input){ NULL, 0 };
	if (file == NULL)
		return fail(path, strerror(errno), why, why_bytes);
	error = read_all(file, input);
	if (file != stdin)
		(void)fclose(file);
	if (error != 0) {
		input_free(input);
		return fail(path, strerror(error), why, why_bytes);
	}
	at = find_packing(input);
	if (at == PACKINGS)
		return 0;
	if (packings[at].advice != NULL) {
		input_free(input);
		return fail(path, packings[at].advice, why, why_bytes);
	}
	packed = *input;
	*input = (struct input){ NULL, 0 };
	wrong = unpack(&packed, input);
	input_free(&packed);
	if (wrong == NULL)
		return 0;
	input_free(input);
	return fail(path, wrong, why, why_bytes);
}

void
input_free(struct input *input)
{
	free(input->bytes);
	*input = (struct input){ NULL, 0 };
}
