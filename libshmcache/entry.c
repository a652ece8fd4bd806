/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* entry.c - writing entries, and taking them apart */
#include "libshmcache/entry.h"

#define OPTION_BYTES 8u

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
			 (content->birth != 0 ? ENTRY_BIRTH : 0));
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

uint32_t
entry_bytes(const struct entry_content *content)
{
	return round_to_unit(sizeof(struct entry_shared) +
			     options_bytes(content_flags(content)) +
			     (uint64_t)content->key_bytes +
			     content->value_bytes);
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
		.value_bytes = content->value_bytes,
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
	shm_write_bytes(
	    body + content->key_bytes, content->value, content->value_bytes);
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
	uint32_t body;

	if (room < sizeof(*shared) + 1)
		return false;
	entry_out->shared = shared;
	entry_out->offset = offset;
	entry_out->extent = (uint32_t)(in_arena >> m->extent_shift);
	entry_out->flags = shm_load8(&shared->flags);
	entry_out->value_bytes = shm_load32(&shared->value_bytes);
	entry_out->key_bytes = shm_load16(&shared->key_bytes);
	body = (uint32_t)sizeof(*shared) + options_bytes(entry_out->flags);
	entry_out->key = (const uint8_t *)shared + body;
	entry_out->value = entry_out->key + entry_out->key_bytes;
	payload = (uint64_t)entry_out->key_bytes + entry_out->value_bytes;
	if (entry_out->key_bytes == 0 || body + payload > room ||
	    payload > m->max_entry_bytes)
		return false;
	entry_out->bytes = round_to_unit(body + payload);
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

uint64_t
entry_version(const struct mapping *m, const struct entry *entry)
{
	uint64_t unit =
	    (entry->offset - m->segment->geometry.arena) / SHM_UNIT_BYTES;

	if ((entry->flags & ENTRY_BIRTH) != 0)
		return read_option(entry, ENTRY_BIRTH);
	/* A unit takes up to 36 bits; the generation has the other 28. */
	return (uint64_t)shm_arena_state(m->segment, entry->extent).generation
		   << 36 |
	       (unit + 1);
}

void
entry_carry(const struct mapping *m, const struct entry *entry,
    struct entry_content *content_out)
{
	*content_out = (struct entry_content){
		.expires_ms = entry_freeze(entry),
		.key = entry->key,
		.value = entry->value,
		.key_bytes = entry->key_bytes,
		.value_bytes = entry->value_bytes,
		.client_flags = entry_client_flags(entry),
		.birth = entry_version(m, entry),
		.seq = entry_seq(entry),
		.ref = shm_load8(&entry->shared->ref),
	};
}
