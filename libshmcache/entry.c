/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* entry.c - writing entries, and taking them apart */
#include "libshmcache/entry.h"

#include "libshmcache/sink.h"

#include <inttypes.h>
#include <stdio.h>

/* A cell whose version changes at each of so many looks is taken as it is: the
   segment is damaged, or an increment has succeeded between any two. */
#define CELL_LOOKS_MAX 1000u

static inline uint8_t
content_flags(const struct entry_content *content)
{
	/* Most have none. */
	if ((content->client_flags | content->birth | content->expires_ms |
		content->refresh | content->negative | content->counter) == 0)
		return 0;
	return (uint8_t)((content->client_flags != 0 ? ENTRY_CLIENT_FLAGS : 0) |
			 (content->birth != 0 ? ENTRY_BIRTH : 0) |
			 (content->expires_ms != 0 ? ENTRY_EXPIRY : 0) |
			 (content->refresh != 0 ? ENTRY_REFRESH : 0) |
			 (content->negative ? ENTRY_NEGATIVE : 0) |
			 (content->counter ? ENTRY_COUNTER : 0));
}

/* Where the option of this bit lies, if the entry has it. */
static uint32_t
option_offset(uint8_t flags, uint8_t bit)
{
	return (uint32_t)sizeof(struct entry_shared) +
	       entry_options_bytes(flags & (uint8_t)(bit - 1));
}

uint32_t
entry_bytes(const struct entry_content *content)
{
	return entry_round(entry_value_offset(content_flags(content),
			       content->tag_count, content->key_bytes) +
			   entry_value_bytes(content));
}

/* A new counter's first version: its birth address, scrambled (splitmix64,
   Steele, Lea and Flood 2014), so that two begin far apart. */
static uint64_t
first_version(uint64_t birth)
{
	birth = (birth ^ birth >> 30) * 0xbf58476d1ce4e5b9u;
	birth = (birth ^ birth >> 27) * 0x94d049bb133111ebu;
	return (birth ^ birth >> 31) & ~ENTRY_FROZEN;
}

static void
write_value(const struct mapping *m, const struct shm_place *place,
    const struct entry_content *content, uint8_t *at)
{
	struct cell_shared cell = content->cell;

	if (!content->counter) {
		shm_write_bytes(at, content->value, content->value_bytes);
		shm_write_bytes(at + content->value_bytes, content->tail,
		    content->tail_bytes);
		return;
	}
	if (cell.version == 0)
		cell.version = first_version(
		    entry_birth_address(m, place->offset, place->generation));
	shm_write_bytes(at, &cell, sizeof(cell));
}

void
entry_write(const struct mapping *m, const struct shm_place *place,
    const struct entry_content *content)
{
	uint8_t *at = m->segment->base + place->offset;
	uint8_t flags = content_flags(content);
	struct entry_shared header = { .seq_low = (uint32_t)content->seq,
		.seq_high = (uint16_t)(content->seq >> 32),
		.flags = (uint8_t)((flags & ENTRY_FLAGS_LOW) |
				   content->tag_count << ENTRY_TAGS_SHIFT),
		/* Taken over from an entry that died meanwhile? */
		.ref = content->ref != ENTRY_DEAD ? content->ref : 0,
		.value_bytes = (uint32_t)entry_value_bytes(content) |
			       (uint32_t)(flags & ENTRY_FLAGS_HIGH) << 26,
		.key_bytes = (uint16_t)content->key_bytes,
		.stamp = content->stamp };
	uint64_t client_flags = content->client_flags;
	uint64_t expiry = content->expires_ms << 1;

	shm_write_bytes(at, &header, sizeof(header));
	if ((flags & ENTRY_CLIENT_FLAGS) != 0)
		shm_write_bytes(at + option_offset(flags, ENTRY_CLIENT_FLAGS),
		    &client_flags, ENTRY_OPTION_BYTES);
	if ((flags & ENTRY_BIRTH) != 0)
		shm_write_bytes(at + option_offset(flags, ENTRY_BIRTH),
		    &content->birth, ENTRY_OPTION_BYTES);
	if ((flags & ENTRY_EXPIRY) != 0)
		shm_write_bytes(at + option_offset(flags, ENTRY_EXPIRY),
		    &expiry, ENTRY_OPTION_BYTES);
	if ((flags & ENTRY_REFRESH) != 0)
		shm_write_bytes(at + option_offset(flags, ENTRY_REFRESH),
		    &content->refresh, ENTRY_OPTION_BYTES);
	shm_write_bytes(at + entry_tags_offset(flags), content->tags,
	    content->tag_count * ENTRY_TAG_BYTES);
	shm_write_bytes(at + entry_key_offset(flags, content->tag_count),
	    content->key, content->key_bytes);
	write_value(m, place, content,
	    at + entry_value_offset(
		     flags, content->tag_count, content->key_bytes));
	shm_arena_account(
	    m->segment, place->extent, place->generation, place->bytes);
	shm_arena_start(m->segment, place);
	if (content->expires_ms != 0)
		shm_arena_lower_hint(m->segment, place->extent,
		    place->generation, content->expires_ms);
}

bool
entry_tag_invalidated(const struct mapping *m, const struct entry *entry)
{
	const uint32_t *tags = entry_tags(entry);

	for (unsigned i = 0; i < entry->tag_count; i++)
		if (shm_load64_acquire(
			&m->tags[shm_load32(&tags[i]) & m->tag_mask]) >
		    entry->seq)
			return true;
	return false;
}

uint64_t
entry_option(const struct entry_shared *shared, uint8_t flags, uint8_t bit)
{
	uint64_t value = 0;

	if ((flags & bit) != 0)
		shm_read_bytes(&value,
		    (const uint8_t *)shared + option_offset(flags, bit),
		    ENTRY_OPTION_BYTES);
	return value;
}

struct refresh
entry_refresh(const struct entry *entry)
{
	return refresh_unpack(
	    entry_option(entry->shared, entry->flags, ENTRY_REFRESH));
}

bool
entry_hidden(const struct mapping *m, const struct entry *entry)
{
	return entry_is_negative(entry) || entry_ttl_ms(m, entry) == 0;
}

struct cell_shared
entry_cell(const struct entry *entry)
{
	const struct cell_shared *at = (const void *)entry->value;
	struct cell_shared cell = { 0, shm_load64_acquire(&at->version) };

	for (unsigned look = 0; look < CELL_LOOKS_MAX; look++) {
		uint64_t version = cell.version;

		cell.value = shm_load64_acquire(&at->value);
		cell.version = shm_load64_acquire(&at->version);
		if (cell.version == version)
			break;
	}
	return cell;
}

bool
entry_cell_swap(const struct entry *entry, const struct cell_shared *from,
    const struct cell_shared *to)
{
	const uint64_t expected[2] = { from->value, from->version };
	const uint64_t desired[2] = { to->value, to->version };
	uint64_t offset =
	    (uint64_t)(entry->value - (const uint8_t *)entry->shared);

	return shm_cas128(
	    (void *)((uint8_t *)entry->shared + offset), expected, desired);
}

uint64_t
entry_kept_version(
    const struct entry_shared *shared, uint8_t flags, const uint8_t *value)
{
	const struct entry entry = { .value = value };

	if ((flags & ENTRY_COUNTER) != 0)
		return ENTRY_COUNTER_VERSION | entry_cell(&entry).version >> 1;
	return entry_option(shared, flags, ENTRY_BIRTH);
}

void
entry_content(const struct mapping *m, const struct entry *entry,
    struct entry_content *content_out)
{
	bool counter = entry_is_counter(entry);

	*content_out = (struct entry_content){
		.expires_ms = entry_expires_ms(entry),
		.key = entry->key,
		.value = entry->value,
		.key_bytes = entry->key_bytes,
		.value_bytes = entry->value_bytes,
		.client_flags = entry_client_flags(entry),
		.tag_count = entry->tag_count,
		.tags = entry_tags(entry),
		.birth = counter ? 0 : entry_version(m, entry),
		.seq = entry->seq,
		.stamp = shm_load16(&entry->shared->stamp),
		.refresh =
		    entry_option(entry->shared, entry->flags, ENTRY_REFRESH),
		.ref = shm_load8(&entry->shared->ref),
		.negative = entry_is_negative(entry),
		.counter = counter,
	};
	if (counter) {
		content_out->cell = entry_cell(entry);
		content_out->cell.version &= ~ENTRY_FROZEN;
	}
}

/* Stop all further increments in place. */
static void
freeze_cell(const struct entry *entry)
{
	for (;;) {
		struct cell_shared old = entry_cell(entry), frozen = old;

		frozen.version |= ENTRY_FROZEN;
		if ((old.version & ENTRY_FROZEN) != 0 ||
		    entry_cell_swap(entry, &old, &frozen))
			return;
	}
}

void
entry_carry(const struct mapping *m, const struct entry *entry,
    struct entry_content *content_out)
{
	(void)entry_freeze(entry);
	if (entry_is_counter(entry))
		freeze_cell(entry);
	entry_content(m, entry, content_out);
}

uint32_t
entry_number_text(int64_t value, char text[ENTRY_NUMBER_BYTES + 1])
{
	return (uint32_t)snprintf(
	    text, ENTRY_NUMBER_BYTES + 1, "%" PRId64, value);
}

/* A version and a value of one moment: read before the value is copied. */
void
facts_of_counter(const struct entry *entry, struct facts *facts)
{
	struct cell_shared cell = entry_cell(entry);

	facts->version = ENTRY_COUNTER_VERSION | cell.version >> 1;
	facts->value_bytes =
	    entry_number_text((int64_t)cell.value, facts->text);
	facts->value = facts->text;
}
