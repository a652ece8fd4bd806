/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * value.c - see value.h
 */
#include "tests/support/value.h"

#include "tests/support/prng.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ODD UINT64_C(0x9e3779b97f4a7c15)

struct header {
	uint64_t key;
	uint64_t sequence;
	uint32_t writer;
	uint32_t bytes;
	uint64_t check; /* of the four above; the pattern starts from it */
};

_Static_assert(sizeof(struct header) == VALUE_HEADER_BYTES, "header size");

static uint64_t
id_check(const struct value_id *id)
{
	uint64_t check = prng_mix(id->key + ODD);

	check = prng_mix(check ^ id->sequence);
	return prng_mix(check ^ ((uint64_t)id->writer << 32 | id->bytes));
}

static uint64_t
pattern_word(uint64_t check, uint64_t i)
{
	return (check ^ i) * ODD;
}

static void
pattern_make(unsigned char *bytes, size_t count, uint64_t check)
{
	uint64_t word, i = 0;

	for (; count >= sizeof(word); count -= sizeof(word)) {
		word = pattern_word(check, i++);
		memcpy(bytes, &word, sizeof(word));
		bytes += sizeof(word);
	}
	word = pattern_word(check, i);
	memcpy(bytes, &word, count);
}

/* Offset of the first byte that is wrong, or -1. */
static ptrdiff_t
pattern_check(const unsigned char *bytes, size_t count, uint64_t check)
{
	const unsigned char *start = bytes;
	uint64_t word, i = 0;

	for (; count >= sizeof(word); count -= sizeof(word)) {
		word = pattern_word(check, i++);
		if (memcmp(bytes, &word, sizeof(word)) != 0) {
			return bytes - start;
		}
		bytes += sizeof(word);
	}
	word = pattern_word(check, i);
	return memcmp(bytes, &word, count) != 0 ? bytes - start : -1;
}

size_t
key_make(void *buffer, uint64_t key)
{
	uint64_t check = prng_mix(key ^ ODD);
	size_t bytes = sizeof(key) + check % 25;

	if (check >> 60 == 0) { /* one in 16 is long */
		bytes = 40 + (check >> 32) % 161;
	}
	memcpy(buffer, &key, sizeof(key));
	pattern_make(
	    (unsigned char *)buffer + sizeof(key), bytes - sizeof(key), check);
	return bytes;
}

uint32_t
value_make(void *buffer, const struct value_id *id)
{
	struct value_id known = *id;
	struct header header = { .key = id->key, .sequence = id->sequence };

	if (id->bytes < sizeof(header)) {
		known.sequence = 0;
		known.writer = 0;
		pattern_make(buffer, id->bytes, id_check(&known));
		return (uint32_t)id_check(&known);
	}
	header.writer = id->writer;
	header.bytes = id->bytes;
	header.check = id_check(id);
	memcpy(buffer, &header, sizeof(header));
	pattern_make((unsigned char *)buffer + sizeof(header),
	    id->bytes - sizeof(header), header.check);
	return (uint32_t)header.check;
}

static _Thread_local char complaint[256];

static const char *
check_header(const struct header *header, size_t bytes, uint64_t key)
{
	if (header->key != key) {
		snprintf(complaint, sizeof(complaint),
		    "value of key %" PRIx64 " under key %" PRIx64, header->key,
		    key);
		return complaint;
	}
	if (header->bytes != bytes) {
		snprintf(complaint, sizeof(complaint),
		    "key %" PRIx64 ": %zu bytes, %" PRIu32 " were written", key,
		    bytes, header->bytes);
		return complaint;
	}
	return NULL;
}

const char *
value_check(const void *value, size_t bytes, uint32_t client_flags,
    uint64_t key, struct value_id *id_out)
{
	struct value_id id = { .key = key, .bytes = (uint32_t)bytes };
	const unsigned char *rest = value;
	struct header header;
	ptrdiff_t wrong;
	uint64_t check;

	if (bytes >= sizeof(header)) {
		memcpy(&header, value, sizeof(header));
		if (check_header(&header, bytes, key) != NULL) {
			return complaint;
		}
		id.sequence = header.sequence;
		id.writer = header.writer;
		rest += sizeof(header);
		bytes -= sizeof(header);
	}
	check = id_check(&id);
	wrong = pattern_check(rest, bytes, check);
	if (wrong >= 0 || (uint32_t)check != client_flags ||
	    (rest != value && header.check != check)) {
		snprintf(complaint, sizeof(complaint),
		    "key %" PRIx64 ", %" PRIu32 " bytes: %s (offset %td), "
		    "flags %" PRIx32 " for %" PRIx32,
		    key, id.bytes,
		    wrong >= 0 ? "wrong byte" : "wrong header or flags", wrong,
		    client_flags, (uint32_t)check);
		return complaint;
	}
	*id_out = id;
	return NULL;
}

const char *
value_check_ends(const void *value, size_t bytes, uint32_t client_flags,
    uint64_t key, struct value_id *id_out)
{
	size_t last = (bytes - sizeof(struct header)) / sizeof(uint64_t) - 1;
	struct value_id id = { .key = key, .bytes = (uint32_t)bytes };
	struct header header;
	uint64_t word;

	if (bytes < sizeof(header) + sizeof(word)) {
		return value_check(value, bytes, client_flags, key, id_out);
	}
	memcpy(&header, value, sizeof(header));
	if (check_header(&header, bytes, key) != NULL) {
		return complaint;
	}
	id.sequence = header.sequence;
	id.writer = header.writer;
	memcpy(&word,
	    (const unsigned char *)value + sizeof(header) + last * sizeof(word),
	    sizeof(word));
	if (header.check != id_check(&id) ||
	    (uint32_t)header.check != client_flags ||
	    word != pattern_word(header.check, last)) {
		snprintf(complaint, sizeof(complaint),
		    "key %" PRIx64 ", %zu bytes: the ends do not match", key,
		    bytes);
		return complaint;
	}
	*id_out = id;
	return NULL;
}
