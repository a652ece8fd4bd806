/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* entry.c - writing entries, and taking them apart */
#include "libshmcache/entry.h"

#include "libshmcache/sink.h"

#include <inttypes.h>
#include <stdio.h>

#define OPTION_BYTES 8u

/* A cell whose version changes at each of so many looks is taken as it is: the
   segment is damaged, or an increment has succeeded between any two. */
#define CELL_LOOKS_MAX 1000u

static uint32_t
round_to_unit(uint64_t bytes)
{
	return (uint32_t)((bytes + SHM_UNIT_BYTES - 1) / SHM_UNIT_BYTES *
			  SHM_UNIT_BYTES);
}

static uint8_t
content_flags(const struct entry_content *content)
{
	return (uint8_t)((content->client_flags != 0 ? ENTRY_CLIENT_FLAGS : 0) |
			 (content->birth != 0 ? ENTRY_BIRTH : 0) |
			 (content->counter ? ENTRY_COUNTER : 0));
}

static uint32_t
options_bytes(uint8_t flags)
{
	return OPTION_BYTES * (((flags & ENTRY_CLIENT_FLAGS) != 0) +
				  ((flags & ENTRY_BIRTH) != 0));
}

/* Where the option of this bit lies, if the entry has it. */
static uint32_t
option_offset(uint8_t flags, uint8_t bit)
{
	return (uint32_t)sizeof(struct entry_shared) +
	       options_bytes(flags & (uint8_t)(bit - 1));
}

/* Where the value begins: behind the key; a counter's cell at a unit. */
static uint32_t
value_offset(uint8_t flags, uint32_t key_bytes)
{
	uint32_t at = (uint32_t)sizeof(struct entry_shared) +
		      options_bytes(flags) + key_bytes;

	return (flags & ENTRY_COUNTER) != 0 ? round_to_unit(at) : at;
}

uint32_t
entry_bytes(const struct entry_content *content)
{
	return round_to_unit(
	    value_offset(content_flags(content), content->key_bytes) +
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

/* {generation 27, 1 + unit 36} of the place where an entry was born. */
static uint64_t
birth_address(const struct mapping *m, uint64_t offset, uint32_t generation)
{
	uint64_t unit = (offset - m->segment->geometry.arena) / SHM_UNIT_BYTES;

	return (uint64_t)(generation & 0x7ffffff) << 36 | (unit + 1);
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
		    birth_address(m, place->offset, place->generation));
	shm_write_bytes(at, &cell, sizeof(cell));
}

void
entry_write(const struct mapping *m, const struct shm_place *place,
    const struct entry_content *content)
{
	uint8_t *at = m->segment->base + place->offset;
	uint8_t flags = content_flags(content);
	struct entry_shared header = { .expiry = content->expires_ms << 1,
		.seq_low = (uint32_t)content->seq,
		.seq_high = (uint16_t)(content->seq >> 32),
		.flags = flags,
		.ref = content->ref,
		.value_bytes = (uint32_t)entry_value_bytes(content),
		.key_bytes = (uint16_t)content->key_bytes };
	uint64_t client_flags = content->client_flags;
	uint8_t *body = at + sizeof(header) + options_bytes(flags);

	shm_write_bytes(at, &header, sizeof(header));
	if ((flags & ENTRY_CLIENT_FLAGS) != 0)
		shm_write_bytes(at + option_offset(flags, ENTRY_CLIENT_FLAGS),
		    &client_flags, OPTION_BYTES);
	if ((flags & ENTRY_BIRTH) != 0)
		shm_write_bytes(at + option_offset(flags, ENTRY_BIRTH),
		    &content->birth, OPTION_BYTES);
	shm_write_bytes(body, content->key, content->key_bytes);
	write_value(
	    m, place, content, at + value_offset(flags, content->key_bytes));
	shm_arena_account(
	    m->segment, place->extent, place->generation, place->bytes);
	shm_arena_start(m->segment, place);
	if (content->expires_ms != 0)
		shm_arena_lower_hint(m->segment, place->extent,
		    place->generation, content->expires_ms);
}

bool
entry_open(const struct mapping *m, uint64_t offset, struct entry *entry_out)
{
	uint64_t in_arena = offset - m->segment->geometry.arena;
	uint64_t room = m->extent_bytes - (in_arena & (m->extent_bytes - 1));
	struct entry_shared *shared = shm_at(m->segment, offset);
	uint64_t payload;
	uint32_t value_at;

	if (room < sizeof(*shared) + 1)
		return false;
	entry_out->shared = shared;
	entry_out->offset = offset;
	entry_out->extent = (uint32_t)(in_arena >> m->extent_shift);
	entry_out->flags = shm_load8(&shared->flags);
	entry_out->value_bytes = shm_load32(&shared->value_bytes);
	entry_out->key_bytes = shm_load16(&shared->key_bytes);
	value_at = value_offset(entry_out->flags, entry_out->key_bytes);
	entry_out->key = (const uint8_t *)shared + sizeof(*shared) +
			 options_bytes(entry_out->flags);
	entry_out->value = (const uint8_t *)shared + value_at;
	payload = (uint64_t)entry_out->key_bytes + entry_out->value_bytes;
	if (entry_out->key_bytes == 0 ||
	    value_at + (uint64_t)entry_out->value_bytes > room ||
	    payload > m->max_entry_bytes ||
	    (entry_is_counter(entry_out) &&
		entry_out->value_bytes != sizeof(struct cell_shared)))
		return false;
	entry_out->bytes =
	    round_to_unit(value_at + (uint64_t)entry_out->value_bytes);
	return true;
}

static uint64_t
read_option(const struct entry *entry, uint8_t bit)
{
	uint64_t value = 0;

	if ((entry->flags & bit) != 0)
		shm_read_bytes(&value,
		    (const uint8_t *)entry->shared +
			option_offset(entry->flags, bit),
		    OPTION_BYTES);
	return value;
}

uint32_t
entry_client_flags(const struct entry *entry)
{
	return (uint32_t)read_option(entry, ENTRY_CLIENT_FLAGS);
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
entry_version(const struct mapping *m, const struct entry *entry)
{
	if (entry_is_counter(entry))
		return ENTRY_COUNTER_VERSION | entry_cell(entry).version >> 1;
	if ((entry->flags & ENTRY_BIRTH) != 0)
		return read_option(entry, ENTRY_BIRTH);
	return birth_address(m, entry->offset,
	    shm_arena_state(m->segment, entry->extent).generation);
}

void
entry_content(const struct mapping *m, const struct entry *entry,
    struct entry_content *content_out)
{
	bool counter = entry_is_counter(entry);

	*content_out = (struct entry_content){
		.expires_ms = shm_load64(&entry->shared->expiry) >> 1,
		.key = entry->key,
		.value = entry->value,
		.key_bytes = entry->key_bytes,
		.value_bytes = entry->value_bytes,
		.client_flags = entry_client_flags(entry),
		.birth = counter ? 0 : entry_version(m, entry),
		.seq = entry_seq(entry),
		.ref = shm_load8(&entry->shared->ref),
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
