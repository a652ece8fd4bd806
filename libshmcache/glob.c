/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* glob.c - matching patterns of keys */
#include "libshmcache/glob.h"

/* Reads one byte of a set or of the pattern, `\` taken off; false at its end. */
static bool
read_byte(const uint8_t *glob, size_t glob_bytes, size_t *at, uint8_t *byte_out)
{
	if (*at < glob_bytes && glob[*at] == '\\')
		++*at;
	if (*at >= glob_bytes)
		return false;
	*byte_out = glob[(*at)++];
	return true;
}

/*
 * Reads the set that begins behind a `[` and leaves *at behind its `]`.  A `]`
 * that comes first is one of its bytes.  Is `byte` in it?
 */
static bool
match_set(const uint8_t *glob, size_t glob_bytes, size_t *at, uint8_t byte,
    bool *valid_out)
{
	bool negated =
	    *at < glob_bytes && (glob[*at] == '^' || glob[*at] == '!');
	bool in_set = false, valid = true;
	size_t first;

	*at += negated;
	first = *at;
	while (
	    valid && *at < glob_bytes && (glob[*at] != ']' || *at == first)) {
		uint8_t low = 0, high;

		valid = read_byte(glob, glob_bytes, at, &low);
		high = low;
		if (*at + 1 < glob_bytes && glob[*at] == '-' &&
		    glob[*at + 1] != ']') {
			++*at;
			valid &= read_byte(glob, glob_bytes, at, &high);
		}
		valid &= low <= high;
		in_set |= byte >= low && byte <= high;
	}
	valid &= *at < glob_bytes;
	++*at;
	*valid_out = valid;
	return in_set != negated;
}

/* Matches one byte with the part of the pattern at *at, and goes behind it. */
static bool
match_byte(const uint8_t *glob, size_t glob_bytes, size_t *at, uint8_t byte,
    bool *valid_out)
{
	uint8_t wanted = 0;

	*valid_out = true;
	if (glob[*at] == '?') {
		++*at;
		return true;
	}
	if (glob[*at] == '[') {
		++*at;
		return match_set(glob, glob_bytes, at, byte, valid_out);
	}
	*valid_out = read_byte(glob, glob_bytes, at, &wanted);
	return wanted == byte;
}

bool
glob_valid(const uint8_t *glob, size_t glob_bytes)
{
	bool valid = true;

	for (size_t at = 0; valid && at < glob_bytes;) {
		if (glob[at] == '*')
			at++;
		else
			(void)match_byte(glob, glob_bytes, &at, 0, &valid);
	}
	return valid;
}

bool
glob_match(const uint8_t *glob, size_t glob_bytes, const uint8_t *text,
    size_t text_bytes)
{
	size_t at = 0, i = 0;
	size_t star = SIZE_MAX, star_i = 0; /* behind the last star; its end */

	while (i < text_bytes || (at < glob_bytes && glob[at] == '*')) {
		size_t next = at;
		bool valid;

		if (at < glob_bytes && glob[at] == '*') {
			star = ++at;
			star_i = i;
		} else if (at < glob_bytes && match_byte(glob, glob_bytes,
						  &next, text[i], &valid)) {
			at = next;
			i++;
		} else if (star != SIZE_MAX) {
			at = star;
			i = ++star_i;
		} else {
			return false;
		}
	}
	return at >= glob_bytes;
}
