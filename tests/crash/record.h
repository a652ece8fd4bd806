/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * record.h - the entries that the crash test stores, and how to tell them
 *
 * A record names an entry; its key and every byte of its value follow from the
 * name.  So a value that is torn, mixed or another entry's is seen at once,
 * whoever reads it, and nobody has to remember what was stored.
 */
#ifndef CRASH_RECORD_H
#define CRASH_RECORD_H

#include <shmcache.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum record_kind {
	RECORD_OTHER,   /* stored before the victim's operation */
	RECORD_EXPIRED, /* the same, and expired before it began */
	RECORD_SERIES,  /* stored to bring the cache to a certain point */
	RECORD_VICTIM,  /* what the victim's operation is about */
	RECORD_FRESH,   /* a survivor's */
	RECORD_CHURN,   /* a survivor's, to turn the memory over */
	RECORD_FILL     /* a survivor's, to fill an empty cache */
};

#define RECORD_KEY_BYTES   24
#define RECORD_VALUE_BYTES 1024

struct record {
	enum record_kind kind;
	unsigned id;
	unsigned version; /* another version is another value */
	size_t bytes;     /* of the value */
	size_t added;     /* the last of them, appended to version 1 */
	bool number;      /* decimal text instead: 40 + version, of 2 bytes */
};

/* What became of a record. */
enum record_fate {
	RECORD_EXACT,
	RECORD_MISSING,
	RECORD_WRONG, /* some other bytes, length or flags */
	RECORD_FAILED /* the call failed: see *result_out */
};

enum record_how { RECORD_GET, RECORD_PEEK, RECORD_PINNED };

/* A record written out, for who mustn't do that on the way. */
struct written_record {
	char key[RECORD_KEY_BYTES];
	size_t key_bytes;
	uint8_t value[RECORD_VALUE_BYTES];
	size_t value_bytes;
	uint32_t client_flags;
};

/* The record of this kind and number, with a length that suits its kind. */
struct record record_of(enum record_kind kind, unsigned id);

/* Write the key, return its length. */
size_t record_key(const struct record *record, char key[RECORD_KEY_BYTES]);

void record_write_out(
    const struct record *record, struct written_record *written_out);

int record_set(
    struct shmcache *cache, const struct record *record, int64_t ttl_ms);
int record_delete(struct shmcache *cache, const struct record *record);
int record_touch(
    struct shmcache *cache, const struct record *record, int64_t ttl_ms);

enum record_fate record_look(struct shmcache *cache,
    const struct record *record, enum record_how how, int *result_out);

#endif /* CRASH_RECORD_H */
