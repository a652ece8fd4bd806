/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* record.c - see record.h */
#include "tools/cli/record.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <resolv.h> /* b64_ntop(), b64_pton(): the C library's base64 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES_MAX   32
#define NUMBER_BYTES_MAX 32

static void
base64_name(char *text, const char *name)
{
	(void)snprintf(text, NAME_BYTES_MAX, "%s_base64", name);
}

/* Three bytes are four letters; and a 0 at the end. */
static json_t *
base64_string(const void *data, size_t bytes)
{
	size_t room = (bytes + 2) / 3 * 4 + 1;
	char *text = malloc(room);
	json_t *string = NULL;

	if (text && b64_ntop(data, bytes, text, room) >= 0) {
		string = json_string(text);
	}
	free(text);
	return string;
}

/* Jansson's setters free their value, and fail when it is NULL. */
static int
set_bytes(json_t *object, const char *name, const void *data, size_t bytes)
{
	char other_name[NAME_BYTES_MAX];
	json_t *string = json_stringn(bytes ? data : "", bytes);

	if (string) {
		return json_object_set_new(object, name, string);
	}
	base64_name(other_name, name);
	return json_object_set_new(
	    object, other_name, base64_string(data, bytes));
}

static int
set_version(json_t *object, uint64_t version)
{
	char text[NUMBER_BYTES_MAX];

	(void)snprintf(text, sizeof(text), "%" PRIu64, version);
	return json_object_set_new(object, "version", json_string(text));
}

int
record_print(const struct shmcache_entry *entry, unsigned members)
{
	json_t *object = json_object();
	int failed = set_bytes(object, "key", entry->key, entry->key_bytes);

	if (members & RECORD_VALUE) {
		failed |= set_bytes(
		    object, "value", entry->value, entry->value_bytes);
	}
	if (members & RECORD_SIZE) {
		failed |= json_object_set_new(object, "bytes",
		    json_integer(
			(json_int_t)(entry->key_bytes + entry->value_bytes)));
	}
	failed |= json_object_set_new(
	    object, "flags", json_integer((json_int_t)entry->client_flags));
	failed |= json_object_set_new(object, "ttl_ms",
	    entry->ttl_ms == SHMCACHE_TTL_NONE ? json_null()
					       : json_integer(entry->ttl_ms));
	if (members & RECORD_VERSION) {
		failed |= set_version(object, entry->version);
	}
	if (failed) {
		json_decref(object);
		return -ENOMEM;
	}
	return record_print_object(object);
}

int
record_print_object(json_t *object)
{
	if (!object) {
		return -ENOMEM;
	}
	json_dumpf(object, stdout, 0);
	putchar('\n');
	json_decref(object);
	return 0;
}

static int
copy_bytes(const json_t *string, struct bytes *bytes_out)
{
	size_t bytes = json_string_length(string);
	char *data = malloc(bytes + 1);

	if (!data) {
		return -ENOMEM;
	}
	memcpy(data, json_string_value(string), bytes + 1);
	bytes_out->data = data;
	bytes_out->bytes = bytes;
	return 0;
}

static int
decode_base64(const json_t *string, struct bytes *bytes_out)
{
	const char *text = json_string_value(string);
	size_t room = json_string_length(string) / 4 * 3 + 1;
	unsigned char *data = malloc(room);
	int bytes;

	if (!data) {
		return -ENOMEM;
	}
	bytes = b64_pton(text, data, room);
	if (bytes < 0 || strlen(text) != json_string_length(string)) {
		free(data);
		return -EINVAL;
	}
	data[bytes] = 0;
	bytes_out->data = (char *)data;
	bytes_out->bytes = (size_t)bytes;
	return 0;
}

int
record_bytes(const json_t *object, const char *name, struct bytes *bytes_out)
{
	char other_name[NAME_BYTES_MAX];
	const json_t *plain = json_object_get(object, name);
	const json_t *base64;

	base64_name(other_name, name);
	base64 = json_object_get(object, other_name);
	if (json_is_string(plain) && !base64) {
		return copy_bytes(plain, bytes_out);
	}
	if (json_is_string(base64) && !plain) {
		return decode_base64(base64, bytes_out);
	}
	return -EINVAL;
}
