/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* text.c - see text.h */
#include "tools/text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/*
 * Bytes of the UTF-8 character at `data` that may be shown as it is; 0 if
 * there is none.  Of the forms that UTF-8 forbids (too long, surrogates, above
 * U+10FFFF) none passes, and no control character.
 */
static size_t
printable_bytes(const unsigned char *data, size_t bytes)
{
	static const struct {
		unsigned char mask, lead, bytes;
		uint32_t least;
	} forms[] = {
		{ 0x80, 0x00, 1, 0x20 },
		{ 0xe0, 0xc0, 2, 0xa0 },
		{ 0xf0, 0xe0, 3, 0x800 },
		{ 0xf8, 0xf0, 4, 0x10000 },
	};
	uint32_t character;
	size_t form, i;

	for (form = 0; form < 4; form++) {
		if ((data[0] & forms[form].mask) == forms[form].lead) {
			break;
		}
	}
	if (form == 4 || forms[form].bytes > bytes) {
		return 0;
	}
	character = data[0] & (unsigned char)~forms[form].mask;
	for (i = 1; i < forms[form].bytes; i++) {
		if ((data[i] & 0xc0) != 0x80) {
			return 0;
		}
		character = character << 6 | (data[i] & 0x3f);
	}
	if (character < forms[form].least || character > 0x10ffff ||
	    character == 0x7f || (character >= 0xd800 && character < 0xe000)) {
		return 0;
	}
	return forms[form].bytes;
}

static const struct {
	char byte, letter;
} short_escapes[] = { { '\n', 'n' }, { '\r', 'r' }, { '\t', 't' },
	{ '\\', '\\' } };

#define SHORT_ESCAPE_COUNT (sizeof(short_escapes) / sizeof(short_escapes[0]))

static void
print_escape(FILE *stream, unsigned char byte)
{
	size_t i;

	for (i = 0; i < SHORT_ESCAPE_COUNT; i++) {
		if (short_escapes[i].byte == (char)byte) {
			(void)fprintf(stream, "\\%c", short_escapes[i].letter);
			return;
		}
	}
	(void)fprintf(stream, "\\x%02x", byte);
}

void
text_print(FILE *stream, const void *data, size_t bytes)
{
	const unsigned char *next = data;
	const unsigned char *end = next + bytes;
	size_t printable;

	while (next < end) {
		printable = printable_bytes(next, (size_t)(end - next));
		if (printable && *next != '\\') {
			(void)fwrite(next, 1, printable, stream);
			next += printable;
		} else {
			print_escape(stream, *next++);
		}
	}
}

char *
text_escape(const void *data, size_t bytes)
{
	char *text = NULL;
	size_t text_bytes;
	FILE *stream = open_memstream(&text, &text_bytes);

	if (!stream) {
		return NULL;
	}
	text_print(stream, data, bytes);
	if (fclose(stream)) {
		free(text);
		return NULL;
	}
	return text;
}

static int
hex_digit(char digit)
{
	const char *digits = "0123456789abcdef0123456789ABCDEF";
	const char *found = digit ? strchr(digits, digit) : NULL;

	return found ? (int)(found - digits) % 16 : -1;
}

/*
 * The byte that the escape at `text` (behind the backslash) stands for, or -1;
 * *length_out is the escape's length.
 */
static int
read_escape(const char *text, size_t *length_out)
{
	size_t i;

	if (text[0] == 'x' && hex_digit(text[1]) >= 0 &&
	    hex_digit(text[2]) >= 0) {
		*length_out = 3;
		return hex_digit(text[1]) * 16 + hex_digit(text[2]);
	}
	*length_out = 1;
	for (i = 0; i < SHORT_ESCAPE_COUNT; i++) {
		if (short_escapes[i].letter == text[0]) {
			return (unsigned char)short_escapes[i].byte;
		}
	}
	return -1;
}

int
text_unescape(char *text, size_t *bytes_out)
{
	const char *next = text;
	char *end = text;
	size_t length;
	int byte;

	while (*next) {
		if (*next != '\\') {
			*end++ = *next++;
			continue;
		}
		byte = read_escape(next + 1, &length);
		if (byte < 0) {
			return 0;
		}
		*end++ = (char)byte;
		next += 1 + length;
	}
	*end = '\0';
	*bytes_out = (size_t)(end - text);
	return 1;
}
