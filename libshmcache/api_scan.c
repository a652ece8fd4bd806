/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* api_scan.c - public calls that walk the index */
#include "libshmcache/error.h"
#include "libshmcache/glob.h"
#include "libshmcache/latency.h"
#include "libshmcache/record.h"
#include "libshmcache/scan.h"
#include "libshmcache/stats.h"
#include "shm/error.h"
#include "shm/pin.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Slots that are looked at in one read section: about 10 us. */
#define SLOTS_AT_ONCE 4096u

#define CURSOR_SLOT_BITS 36u
#define CURSOR_SLOT      ((1ull << CURSOR_SLOT_BITS) - 1)

static uint64_t
slot_count(const struct mapping *m)
{
	return m->bucket_count * INDEX_BUCKET_SLOTS;
}

static uint64_t
make_cursor(const struct mapping *m, uint64_t slot)
{
	return m->segment->segment_id << CURSOR_SLOT_BITS | slot;
}

static int
read_cursor(const struct mapping *m, uint64_t cursor, uint64_t *slot_out)
{
	if (cursor == 0) {
		*slot_out = 0;
		return 0;
	}
	*slot_out = cursor & CURSOR_SLOT;
	if (cursor != make_cursor(m, *slot_out))
		return shm_error_note(
		    SHMCACHE_ESTALE, "the cursor is of another cache");
	if (*slot_out == 0 || *slot_out >= slot_count(m))
		return shm_error_note(
		    -EINVAL, "the cursor is none that a scan gave out");
	return 0;
}

/* A scan under way. */
struct scan {
	struct shmcache *cache;
	struct scan_filter filter;
	struct scan_copy copy;
	uint64_t cursor;
	uint64_t slots_left;
	bool values;
};

/*
 * Walks on from the cursor: 1 at an entry that matches, copied; 0 when it has
 * looked at what it may for now, be it at the end (the cursor is 0 then).
 */
static int
walk(struct scan *scan, const struct call *call)
{
	uint64_t slot, end = slot_count(call->m);
	unsigned looked = 0;
	int result = read_cursor(call->m, scan->cursor, &slot);

	if (result != 0)
		return result;
	while (slot < end && scan->slots_left > 0 && looked < SLOTS_AT_ONCE &&
	       result == 0) {
		result = scan_copy_slot(call, slot, scan->values, &scan->copy);
		if (result == 1 &&
		    !scan_matches(&scan->filter, scan->copy.entry.key,
			scan->copy.entry.key_bytes))
			result = 0;
		slot++;
		looked++;
		scan->slots_left--;
	}
	scan->cursor = slot < end ? make_cursor(call->m, slot) : 0;
	return result;
}

static int
run(struct scan *scan, shmcache_visit *visit, void *context)
{
	int visits = 0;

	do {
		struct call call;
		int result = call_enter(scan->cache, CALL_SCANS, &call);

		if (result == 0) {
			result = walk(scan, &call);
			call_leave();
		}
		if (result < 0)
			return result;
		if (result == 1) {
			visits += visits < INT_MAX;
			if (visit(context, &scan->copy.entry) != 0)
				break;
		}
	} while (scan->cursor != 0 && scan->slots_left > 0);
	return visits;
}

/* Takes the options of any version's struct. */
static int
read_options(const struct shmcache_scan_options *given, struct scan *scan)
{
	struct shmcache_scan_options o = { 0 };

	if (given != NULL) {
		if (given->struct_bytes < sizeof(given->struct_bytes) ||
		    given->struct_bytes > sizeof(o))
			return shm_error_note(-EINVAL,
			    "struct_bytes is not set: start from "
			    "SHMCACHE_SCAN_OPTIONS_INIT");
		memcpy(&o, given, given->struct_bytes);
	}
	if ((o.prefix == NULL && o.prefix_bytes > 0) || o.values > 1 ||
	    o.reserved != 0 || (o.glob == NULL && o.glob_bytes > 0))
		return -EINVAL;
	if (o.glob != NULL && !glob_valid(o.glob, o.glob_bytes))
		return shm_error_note(-EINVAL,
		    "the glob has an open [, a range backwards, or a \\ at "
		    "its end");
	scan->filter = (struct scan_filter){ .prefix = o.prefix,
		.prefix_bytes = o.prefix_bytes,
		.glob = o.glob,
		.glob_bytes = o.glob_bytes };
	scan->slots_left = o.max_slots != 0 ? o.max_slots : UINT64_MAX;
	scan->values = o.values != 0;
	return 0;
}

int
shmcache_scan(struct shmcache *cache, uint64_t *cursor,
    const struct shmcache_scan_options *options, shmcache_visit *visit,
    void *context)
{
	struct scan scan = { .cache = cache };
	int result = cursor == NULL || visit == NULL
			 ? -EINVAL
			 : read_options(options, &scan);

	if (result != 0)
		return error_return(result);
	scan.cursor = *cursor;
	result = run(&scan, visit, context);
	free(scan.copy.buffer);
	if (result >= 0)
		*cursor = scan.cursor;
	return error_return(result);
}

/* Deletes what the slot names, if it is meant: whatever it is replaced by
   meanwhile too, for that may be a copy; and tentative words, whose setters start
   again (token.h).  1 if it did. */
static int
delete_slot(
    const struct call *call, uint64_t slot, const struct scan_filter *filter)
{
	for (;;) {
		struct found found = { .slot = slot,
			.word = shm_load64_acquire(&call->m->slots[slot]) };
		bool tentative = (found.word & INDEX_TENTATIVE) != 0;
		bool meant, readable, won;

		if (found.word == 0 || found.word == INDEX_BLOCKED)
			return 0;
		if (!index_pin(
			call, slot, found.word, SHM_PIN_ENTRY, &found.entry)) {
			if (shm_load64_acquire(&call->m->slots[slot]) ==
			    found.word)
				return 0; /* damaged */
			continue;
		}
		meant = scan_matches(
		    filter, found.entry.key, found.entry.key_bytes);
		readable = entry_visible(call->m, &found.entry);
		won = meant && (tentative ? index_abort(call, slot, found.word)
					  : index_swap(call, &found, 0));
		if (won && !tentative)
			record_dropped(call, &found.entry);
		shm_pin_clear(call->peer, SHM_PIN_ENTRY);
		if ((won && !tentative) || !meant)
			return won && readable;
	}
}

/* Deletes in a few slots from *slot on; *slot is where to go on, or the end. */
static int
delete_some(struct shmcache *cache, const struct scan_filter *filter,
    uint64_t *cursor, uint64_t *deleted)
{
	struct call call;
	uint64_t slot, stop, end;
	int error = call_enter(cache, CALL_WRITES, &call);

	if (error != 0)
		return error;
	if (*cursor == 0)
		token_bump_all(call.m); /* W1 too */
	error = read_cursor(call.m, *cursor, &slot);
	end = slot_count(call.m);
	stop = end - slot < SLOTS_AT_ONCE ? end : slot + SLOTS_AT_ONCE;
	for (; error == 0 && slot < stop; slot++) {
		uint64_t one = (uint64_t)delete_slot(&call, slot, filter);

		stats_add(call.peer, COUNT_deletes, one);
		*deleted += one;
	}
	*cursor = slot < end ? make_cursor(call.m, slot) : 0;
	call_leave();
	return error;
}

static int
delete_matching(struct shmcache *cache, const struct scan_filter *filter,
    uint64_t *deleted_out)
{
	uint64_t cursor = 0, deleted = 0;
	int error;

	do {
		error = delete_some(cache, filter, &cursor, &deleted);
	} while (error == 0 && cursor != 0);
	if (error == 0 && deleted_out != NULL)
		*deleted_out = deleted;
	return error_return(error);
}

int
shmcache_delete_prefix(struct shmcache *cache, const void *prefix,
    size_t prefix_bytes, uint64_t *deleted_out)
{
	const struct scan_filter filter = { .prefix = prefix,
		.prefix_bytes = prefix_bytes };

	if (prefix == NULL && prefix_bytes > 0)
		return error_return(-EINVAL);
	return delete_matching(cache, &filter, deleted_out);
}

int
shmcache_glob_check(const void *glob, size_t glob_bytes)
{
	return error_return(
	    glob != NULL && glob_valid(glob, glob_bytes) ? 0 : -EINVAL);
}

int
shmcache_delete_glob(struct shmcache *cache, const void *glob,
    size_t glob_bytes, uint64_t *deleted_out)
{
	const struct scan_filter filter = { .glob = glob,
		.glob_bytes = glob_bytes };
	int error = shmcache_glob_check(glob, glob_bytes);

	return error != 0 ? error
			  : delete_matching(cache, &filter, deleted_out);
}

/* Visits what is in the ring of one thread slot; *go_on becomes false at the last
   slot, or when the visitor has had enough. */
static int
visit_hot(struct shmcache *cache, uint32_t peer_slot, shmcache_visit *visit,
    void *context, struct scan_copy *copy, bool *go_on)
{
	int visits = 0, result = 0;

	for (unsigned h = 0; h < LATENCY_HOT && *go_on; h++) {
		struct call call;

		result = call_enter(cache, CALL_SCANS, &call);
		if (result < 0)
			return result;
		*go_on =
		    peer_slot < call.m->segment->geometry.request.peer_count;
		if (*go_on)
			result = latency_copy_hot(&call, peer_slot, h, copy);
		call_leave();
		if (result < 0)
			return result;
		visits += result;
		if (result == 1)
			*go_on = visit(context, &copy->entry) == 0;
	}
	return visits;
}

int
shmcache_hot_keys(struct shmcache *cache, shmcache_visit *visit, void *context)
{
	struct scan_copy copy = { .buffer = NULL };
	int visits = 0, result = visit == NULL ? -EINVAL : 0;
	bool go_on = result == 0;

	for (uint32_t i = 0; go_on && result >= 0; i++) {
		result = visit_hot(cache, i, visit, context, &copy, &go_on);
		visits += result > 0 ? result : 0;
	}
	free(copy.buffer);
	return result < 0 ? error_return(result) : visits;
}
