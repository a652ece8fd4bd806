/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * input.c - the compressed files in data/, line by line
 */
#include "demo.h"

#include <errno.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_BYTES 65536
#define TEXT_BYTES  262144 /* of which a line may take half */

/* Decompressed text that no line has been made of yet. */
struct text {
	size_t used;
	char bytes[TEXT_BYTES];
};

/* Hand out the whole lines in `text`; keep the rest. */
static int
hand_out(struct text *text, line_function *line, void *context)
{
	char *start = text->bytes;
	char *end = text->bytes + text->used;
	char *newline;
	int result;

	while ((newline = memchr(start, '\n', (size_t)(end - start)))) {
		*newline = '\0';
		result = line(context, start);
		if (result) {
			return result;
		}
		start = newline + 1;
	}
	text->used = (size_t)(end - start);
	memmove(text->bytes, start, text->used);
	return text->used > TEXT_BYTES / 2
		   ? complain("a line is longer than %d bytes", TEXT_BYTES / 2)
		   : 0;
}

static int
decode(FILE *file, lzma_stream *stream, line_function *line, void *context,
    struct text *text)
{
	uint8_t input[INPUT_BYTES];
	lzma_ret result = LZMA_OK;

	while (result == LZMA_OK && !interrupted) {
		if (!stream->avail_in) {
			stream->next_in = input;
			stream->avail_in = fread(input, 1, INPUT_BYTES, file);
		}
		stream->next_out = (uint8_t *)text->bytes + text->used;
		stream->avail_out = TEXT_BYTES - text->used;
		result = lzma_code(
		    stream, stream->avail_in ? LZMA_RUN : LZMA_FINISH);
		text->used = TEXT_BYTES - stream->avail_out;
		if (hand_out(text, line, context)) {
			return -1;
		}
	}
	if (interrupted) {
		return -1;
	}
	return result == LZMA_STREAM_END && !text->used && !ferror(file)
		   ? 0
		   : complain(
			 "damaged or cut short (lzma result %d)", (int)result);
}

int
read_xz_lines(const char *path, line_function *line, void *context)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	struct text *text = calloc(1, sizeof(*text));
	FILE *file = fopen(path, "rbe");
	int result = -1;

	if (!text || !file) {
		complain("%s: %s", path, shmcache_strerror(-errno));
	} else if (lzma_stream_decoder(&stream, UINT64_MAX, 0) != LZMA_OK) {
		complain("liblzma: no memory");
	} else {
		result = decode(file, &stream, line, context, text);
		if (result && !interrupted) {
			complain("cannot read %s", path);
		}
	}
	lzma_end(&stream);
	if (file) {
		fclose(file);
	}
	free(text);
	return result;
}

static int
trace_line(void *context, char *line)
{
	struct trace *trace = context;
	char *comma = strchr(line, ',');
	unsigned long key = comma ? strtoul(comma + 1, NULL, 10) : 0;
	uint32_t *more;

	if (!key || key > UINT32_MAX) {
		return complain("no key of 1 or more in \"%s\"", line);
	}
	/* Doubled at each power of two. */
	if (!(trace->count & (trace->count - 1))) {
		more = realloc(trace->key,
		    (trace->count ? 2 * trace->count : 1) * sizeof(*more));
		if (!more) {
			return complain("no memory for the trace");
		}
		trace->key = more;
	}
	trace->key[trace->count++] = (uint32_t)key;
	if (key > trace->key_max) {
		trace->key_max = (uint32_t)key;
	}
	return 0;
}

int
trace_load(struct trace *trace, const char *path)
{
	if (read_xz_lines(path, trace_line, trace)) {
		return -1;
	}
	return trace->count ? 0 : complain("%s is empty", path);
}
