/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * value.h - keys and values of which every byte can be checked
 *
 * A value says its key, its writer, the writer's sequence number and its own
 * length; the rest of its bytes, and its client flags, follow from these.  One
 * shorter than that header is filled from key and length alone.  So a byte of
 * another value, of another version of the value, or of reused memory shows.
 */
#ifndef TESTS_SUPPORT_VALUE_H
#define TESTS_SUPPORT_VALUE_H

#include <stddef.h>
#include <stdint.h>

#define KEY_ROOM           256
#define VALUE_HEADER_BYTES 32

struct value_id {
	uint64_t key;
	uint64_t sequence; /* 0 if the value is too short to tell */
	uint32_t writer;
	uint32_t bytes;
};

/* Write key number `key` into `buffer` of KEY_ROOM bytes; returns its length,
   8 to 200 bytes. */
size_t key_make(void *buffer, uint64_t key);

/* Fill `buffer` with id->bytes bytes; returns the client flags. */
uint32_t value_make(void *buffer, const struct value_id *id);

/*
 * Check a value got for `key`.  Returns NULL and fills *id_out, or says in a
 * static text (of this thread) what is wrong.
 */
const char *value_check(const void *value, size_t bytes, uint32_t client_flags,
    uint64_t key, struct value_id *id_out);

/* The same for a header and the last word only, which takes no time. */
const char *value_check_ends(const void *value, size_t bytes,
    uint32_t client_flags, uint64_t key, struct value_id *id_out);

#endif /* TESTS_SUPPORT_VALUE_H */
