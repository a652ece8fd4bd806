/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * record.c - see record.h
 *
 * Values are drawn from splitmix64, started with the record's name; so no
 * 8 bytes of one value stand anywhere in another.
 */
#include "record.h"

#include <stdio.h>
#include <string.h>

static const char *const kind_names[] = { "other", "expired", "series",
	"victim", "fresh", "churn", "fill" };

static uint64_t
mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static uint64_t
name_of_version(const struct record *record, unsigned version)
{
	return mix(((uint64_t)record->kind << 56) | ((uint64_t)version << 32) |
		   record->id);
}

/* What was appended to keeps its flags and its beginning. */
static uint64_t
name_of(const struct record *record)
{
	return name_of_version(record, record->added > 0 ? 1 : record->version);
}

struct record
record_of(enum record_kind kind, unsigned id)
{
	struct record record = { .kind = kind, .id = id, .version = 1 };

	switch (kind) {
	case RECORD_CHURN:
		record.bytes = id % 8 == 7 ? 900 : 40 + id * 37 % 160;
		break;
	case RECORD_FILL:
		record.bytes = 180;
		break;
	case RECORD_SERIES:
		record.bytes = 200;
		break;
	case RECORD_OTHER:
	case RECORD_EXPIRED:
	case RECORD_VICTIM:
	case RECORD_FRESH:
		record.bytes = 40 + id * 29 % 150;
		break;
	}
	return record;
}

size_t
record_key(const struct record *record, char key[RECORD_KEY_BYTES])
{
	return (size_t)snprintf(key, RECORD_KEY_BYTES, "%s-%05u",
	    kind_names[record->kind], record->id);
}

static uint32_t
client_flags_of(const struct record *record)
{
	return record->number ? 0 : (uint32_t)(name_of(record) >> 32);
}

static void
fill(uint64_t name, uint8_t *value, size_t bytes)
{
	size_t done = 0;

	while (done < bytes) {
		uint64_t word = mix(name + done);
		size_t part = bytes - done;

		if (part > sizeof(word))
			part = sizeof(word);
		memcpy(value + done, &word, part);
		done += part;
	}
}

static void
value_of(const struct record *record, uint8_t value[RECORD_VALUE_BYTES])
{
	size_t first = record->bytes - record->added;

	if (record->number) {
		value[0] = '4';
		value[1] = (uint8_t)('0' + record->version);
		return;
	}
	fill(name_of(record), value, first);
	fill(name_of_version(record, record->version), value + first,
	    record->added);
}

void
record_write_out(
    const struct record *record, struct written_record *written_out)
{
	written_out->key_bytes = record_key(record, written_out->key);
	value_of(record, written_out->value);
	written_out->value_bytes = record->bytes;
	written_out->client_flags = client_flags_of(record);
}

int
record_set(struct shmcache *cache, const struct record *record, int64_t ttl_ms)
{
	struct written_record w;

	record_write_out(record, &w);
	return shmcache_set(cache, w.key, w.key_bytes, w.value, w.value_bytes,
	    ttl_ms, w.client_flags);
}

int
record_delete(struct shmcache *cache, const struct record *record)
{
	char key[RECORD_KEY_BYTES];
	size_t key_bytes = record_key(record, key);

	return shmcache_delete(cache, key, key_bytes);
}

int
record_touch(
    struct shmcache *cache, const struct record *record, int64_t ttl_ms)
{
	char key[RECORD_KEY_BYTES];
	size_t key_bytes = record_key(record, key);

	return shmcache_touch(cache, key, key_bytes, ttl_ms);
}

static bool
is_value(const struct record *record, const void *bytes, size_t length,
    uint32_t client_flags)
{
	uint8_t value[RECORD_VALUE_BYTES];

	if (length != record->bytes || client_flags != client_flags_of(record))
		return false;
	value_of(record, value);
	return memcmp(value, bytes, length) == 0;
}

static enum record_fate
fate_of_failure(int result)
{
	if (result == SHMCACHE_ENOENT)
		return RECORD_MISSING;
	if (result == SHMCACHE_EBUFFER)
		return RECORD_WRONG;
	return RECORD_FAILED;
}

static enum record_fate
look_pinned(struct shmcache *cache, const struct record *record,
    const char *key, size_t key_bytes, int *result_out)
{
	struct shmcache_item item;
	bool same;

	*result_out = shmcache_get_pinned(cache, key, key_bytes, &item);
	if (*result_out != 0)
		return fate_of_failure(*result_out);
	same =
	    is_value(record, item.value, item.value_bytes, item.client_flags);
	*result_out = shmcache_unpin(cache, &item);
	if (*result_out != 0)
		return RECORD_FAILED;
	return same ? RECORD_EXACT : RECORD_WRONG;
}

enum record_fate
record_look(struct shmcache *cache, const struct record *record,
    enum record_how how, int *result_out)
{
	char key[RECORD_KEY_BYTES];
	uint8_t bytes[RECORD_VALUE_BYTES];
	size_t key_bytes = record_key(record, key);
	size_t length = 0;
	uint32_t flags = 0;

	if (how == RECORD_PINNED)
		return look_pinned(cache, record, key, key_bytes, result_out);
	if (how == RECORD_GET)
		*result_out = shmcache_get(cache, key, key_bytes, bytes,
		    sizeof(bytes), &length, &flags);
	else
		*result_out = shmcache_peek(cache, key, key_bytes, bytes,
		    sizeof(bytes), &length, &flags);
	if (*result_out != 0)
		return fate_of_failure(*result_out);
	return is_value(record, bytes, length, flags) ? RECORD_EXACT
						      : RECORD_WRONG;
}
