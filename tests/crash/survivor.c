/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * survivor.c - see survivor.h
 */
#include "survivor.h"

#include "jobs.h"

#include <inttypes.h>
#include <poll.h>
#include <shmcache_admin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHURN_TURNS 2u /* times all memory */
#define STOP_TURNS  3u
#define SLOTS_MAX   8u /* newcomers */

static bool
succeeded(const char *call, const struct record *record, int result)
{
	char key[RECORD_KEY_BYTES] = "";

	if (result == 0)
		return true;
	if (record != NULL)
		(void)record_key(record, key);
	return job_fail("%s%s%s: %s", call, record == NULL ? "" : " of ", key,
	    shmcache_strerror(result));
}

static void
keep_violation(void *first, const char *violation)
{
	char *text = first;

	if (text[0] == '\0')
		(void)snprintf(text, 200, "%s", violation);
}

static bool
verify(struct shmcache *cache, enum shmcache_verify_mode mode, const char *when)
{
	char first[200] = "";
	int result = shmcache_verify(cache, mode, keep_violation, first);

	if (result == 0)
		return true;
	if (result < 0)
		return succeeded("verify", NULL, result);
	return job_fail("verify (%s) %s: %d violations, first: %s",
	    mode == SHMCACHE_VERIFY_LIVE ? "live" : "strict", when, result,
	    first);
}

static bool
sweep(struct shmcache *cache)
{
	struct shmcache_sweep_result result;

	return succeeded("sweep", NULL, shmcache_sweep(cache, &result));
}

static bool
read_stats(struct shmcache *cache, struct shmcache_stats *stats)
{
	return succeeded(
	    "stats", NULL, shmcache_stats(cache, stats, sizeof(*stats)));
}

static bool
expect_fate(const struct record *record, enum record_fate fate, int result,
    enum record_fate wanted, const char *what)
{
	char key[RECORD_KEY_BYTES];

	if (fate == wanted)
		return true;
	(void)record_key(record, key);
	switch (fate) {
	case RECORD_FAILED:
		return succeeded("get", record, result);
	case RECORD_MISSING:
		return job_fail("%s: %s is missing", what, key);
	case RECORD_WRONG:
		return job_fail("%s: %s has a wrong value", what, key);
	case RECORD_EXACT:
		break;
	}
	return job_fail("%s: %s is there, and should not be", what, key);
}

/* The record must be there with its own value, or must not be there. */
static bool
expect(struct shmcache *cache, const struct record *record,
    enum record_fate wanted, const char *what)
{
	int result = 0;
	enum record_fate fate = record_look(cache, record, RECORD_GET, &result);

	return expect_fate(record, fate, result, wanted, what);
}

/* Which of its values has the victim's key? */
static enum seen
look_at_value(
    struct shmcache *cache, const struct operation *operation, bool quiet)
{
	struct record old = operation_old(operation);
	struct record new = operation_new(operation);
	enum record_how how = quiet ? RECORD_PEEK : RECORD_GET;
	enum record_fate fate;
	int result = 0;

	fate = record_look(cache, &old, how, &result);
	if (fate == RECORD_EXACT)
		return SEEN_OLD;
	if (fate == RECORD_MISSING)
		return SEEN_NOTHING;
	if (fate == RECORD_WRONG &&
	    record_look(cache, &new, how, &result) == RECORD_EXACT)
		return SEEN_NEW;
	if (fate == RECORD_FAILED)
		(void)succeeded("get", &old, result);
	else
		(void)job_fail("the victim's key has neither its old nor its "
			       "new value");
	return SEEN_UNKNOWN;
}

static enum seen
look_at_ttl(struct shmcache *cache, const struct operation *operation)
{
	struct record record = operation_old(operation);
	char key[RECORD_KEY_BYTES];
	size_t key_bytes = record_key(&record, key);
	int64_t left = 0;
	int result = shmcache_ttl(cache, key, key_bytes, &left);

	if (!succeeded("ttl", &record, result))
		return SEEN_UNKNOWN;
	if (left <= 0 || left > TTL_NEW_MS ||
	    (left > TTL_OLD_MS && left < TTL_BORDER_MS)) {
		(void)job_fail("the victim's key has %" PRId64 " ms to live, "
			       "neither its old nor its new time",
		    left);
		return SEEN_UNKNOWN;
	}
	return left > TTL_BORDER_MS ? SEEN_NEW : SEEN_OLD;
}

/* The value before or the value after; between them none only where the call
   may evict what it is about to replace. */
static bool
may_see(const struct operation *operation, enum seen seen)
{
	return seen == operation->before || seen == operation->after ||
	       (seen == SEEN_NOTHING &&
		   (operation->flags & OPERATION_FULL) != 0);
}

static enum seen
look_at_victim(
    struct shmcache *cache, const struct operation *operation, bool quiet)
{
	enum seen seen = look_at_value(cache, operation, quiet);

	if (seen == SEEN_OLD && (operation->flags & OPERATION_TTL) != 0)
		seen = look_at_ttl(cache, operation);
	if (seen == SEEN_UNKNOWN)
		return seen;
	if (!may_see(operation, seen)) {
		static const char *const names[] = { "its old value",
			"no value", "its new value" };

		(void)job_fail("the victim's key has %s", names[seen]);
		return SEEN_UNKNOWN;
	}
	return seen;
}

/* Must the entry be there, given what the victim's key has come to? */
static bool
other_fits(
    const struct inquest *inquest, unsigned id, bool present, enum seen seen)
{
	bool may_come = inquest->before->present[id];
	bool must_stay;

	if ((inquest->operation->flags & OPERATION_FLUSHES) != 0)
		return present == (may_come && seen == SEEN_OLD);
	if ((inquest->operation->flags & OPERATION_FULL) == 0)
		must_stay = may_come;
	else
		must_stay =
		    inquest->after != NULL && inquest->after->present[id];
	return present ? may_come : !must_stay;
}

static bool
is_victims(const struct operation *operation, const struct record *record)
{
	return operation->record.kind == record->kind &&
	       operation->record.id == record->id;
}

static bool
check_others(struct shmcache *cache, const struct inquest *inquest,
    enum seen seen, bool quiet)
{
	for (unsigned i = 0; i < inquest->operation->others; i++) {
		struct record record = record_of(RECORD_OTHER, i);
		int result = 0;
		enum record_fate fate = record_look(
		    cache, &record, quiet ? RECORD_PEEK : RECORD_GET, &result);

		if (fate == RECORD_FAILED)
			return succeeded("get", &record, result);
		if (fate == RECORD_WRONG)
			return job_fail("other-%05u has a wrong value", i);
		if (!other_fits(inquest, i, fate == RECORD_EXACT, seen))
			return job_fail("other-%05u %s", i,
			    fate == RECORD_EXACT
				? "is there, and should have gone"
				: "is lost");
	}
	for (unsigned i = 0;
	     (inquest->operation->flags & OPERATION_EXPIRED) != 0 &&
	     i < EXPIRED_RECORDS;
	     i++) {
		struct record record = record_of(RECORD_EXPIRED, i);

		if (is_victims(inquest->operation, &record))
			continue;
		if (!expect(cache, &record, RECORD_MISSING, "expired"))
			return false;
	}
	return true;
}

/* No filter that is in use denies a key that was in the last one. */
static bool
check_filter(struct shmcache *cache, const struct operation *operation)
{
	for (unsigned i = 0; (operation->flags & OPERATION_FILTERED) != 0 &&
			     i <= operation->others;
	     i++) {
		struct record record = i < operation->others
					   ? record_of(RECORD_OTHER, i)
					   : operation_old(operation);
		char key[RECORD_KEY_BYTES];
		size_t key_bytes = record_key(&record, key);
		int result = shmcache_filter_check(cache, key, key_bytes);

		if (result < 0)
			return succeeded("filter_check", &record, result);
		if (result == 0)
			return job_fail("the filter denies %s", key);
	}
	return true;
}

/* Everything stored before; tells what the victim's key has. */
static bool
check_entries(struct shmcache *cache, const struct inquest *inquest, bool quiet,
    enum seen *seen_out)
{
	*seen_out = look_at_victim(cache, inquest->operation, quiet);
	return *seen_out != SEEN_UNKNOWN &&
	       check_others(cache, inquest, *seen_out, quiet) &&
	       check_filter(cache, inquest->operation);
}

/* One key from whatever it has to nothing, by way of two values. */
static bool
work_on(struct shmcache *cache, const struct record *record)
{
	struct record first = *record;
	struct record second = *record;

	first.version = 8;
	first.bytes = record->bytes / 2 + 17;
	first.number = false;
	second.version = 9;
	second.number = false;
	return succeeded("set", &first,
		   record_set(cache, &first, SHMCACHE_TTL_NONE)) &&
	       expect(cache, &first, RECORD_EXACT, "after a set") &&
	       succeeded("set", &second, record_set(cache, &second, 3600000)) &&
	       expect(cache, &second, RECORD_EXACT, "after a replace") &&
	       succeeded(
		   "touch", &second, record_touch(cache, &second, 7200000)) &&
	       expect(cache, &second, RECORD_EXACT, "after a touch") &&
	       succeeded("delete", &second, record_delete(cache, &second)) &&
	       expect(cache, &second, RECORD_MISSING, "after a delete");
}

static bool
work_on_fresh_key(struct shmcache *cache)
{
	struct record fresh = record_of(RECORD_FRESH, 1);

	return work_on(cache, &fresh);
}

static bool
work_on_victims_key(struct shmcache *cache, const struct operation *operation)
{
	struct record victim = operation_old(operation);

	return work_on(cache, &victim);
}

/* Another build of the filter, which must know all of its keys. */
static bool
work_on_filter(struct shmcache *cache, const struct operation *operation)
{
	return (operation->flags & OPERATION_FILTERED) == 0 ||
	       (succeeded("filter", NULL, operation_filter(cache, operation)) &&
		   check_filter(cache, operation));
}

/* Waits for the load of another, as an event loop does, until it may lead. */
static bool
lead_after(struct shmcache *cache, const char *key, size_t key_bytes,
    struct shmcache_token *token)
{
	struct pollfd poll_fd = { .events = POLLIN };
	struct shmcache_watched watched;
	struct shmcache_value value;

	poll_fd.fd = shmcache_watch_fd(cache);
	for (unsigned i = 0; i < 10; i++) {
		if (!succeeded("begin_load", NULL,
			shmcache_begin_load(
			    cache, key, key_bytes, NULL, &value, token)))
			return false;
		free(value.value);
		if (value.source == SHMCACHE_LEAD)
			return true;
		if (!succeeded("watch_load", NULL,
			shmcache_watch_load(
			    cache, key, key_bytes, 60000, NULL, NULL)))
			return false;
		if (poll(&poll_fd, 1, 60000) != 1)
			return job_fail("a watch of %s is not told", key);
		if (!succeeded("watch_next", NULL,
			shmcache_watch_next(cache, &watched)) ||
		    !succeeded("the watch", NULL, watched.result))
			return false;
	}
	return job_fail("%s: a watch is told, and the load goes on", key);
}

/* What the dead held goes to others: the key's lease, and the lock. */
static bool
work_on_leases(struct shmcache *cache, const struct operation *operation)
{
	struct record record = operation_old(operation);
	const struct shmcache_loaded loaded = { .value = NULL };
	char key[RECORD_KEY_BYTES];
	size_t key_bytes = record_key(&record, key);
	struct shmcache_token token;
	struct shmcache_lock lock;

	return (operation->flags & OPERATION_LEASES) == 0 ||
	       (succeeded("lock", NULL,
		    shmcache_lock(cache, OPERATION_LOCK, sizeof(OPERATION_LOCK),
			60000, &lock)) &&
		   succeeded("unlock", NULL, shmcache_unlock(cache, &lock)) &&
		   lead_after(cache, key, key_bytes, &token) &&
		   succeeded("fill", &record,
		       shmcache_fill(
			   cache, key, key_bytes, &token, 0, &loaded, NULL)) &&
		   succeeded("delete of what was loaded", &record,
		       shmcache_delete(cache, key, key_bytes)));
}

/*
 * Sets of new keys, some large, until all memory was written so many times.  Each
 * can be read at once, but for one in a hundred: the room that a set makes for
 * the next may be that of the extent it was the last to fill.
 */
static bool
churn(struct shmcache *cache, unsigned turns)
{
	struct shmcache_stats stats;
	unsigned evicted = 0;
	uint64_t bytes = 0;

	if (!read_stats(cache, &stats))
		return false;
	for (unsigned i = 0; bytes < turns * stats.arena_bytes; i++) {
		struct record record = record_of(RECORD_CHURN, i);

		int result = 0;
		enum record_fate fate;

		if (!succeeded("set", &record,
			record_set(cache, &record, SHMCACHE_TTL_NONE)))
			return false;
		fate = record_look(cache, &record, RECORD_GET, &result);
		if (fate == RECORD_MISSING && evicted <= i / 100)
			evicted++;
		else if (!expect_fate(&record, fate, result, RECORD_EXACT,
			     "after a set"))
			return false;
		bytes += record.bytes;
	}
	return true;
}

/* A get pins one extent, a write three. */
#define PINS_OF_CALL 3u

bool
survivor_churns(struct shmcache *cache, const struct operation *operation)
{
	struct shmcache_stats stats;
	uint64_t unused;

	if (!churn(cache, STOP_TURNS) || !read_stats(cache, &stats))
		return false;
	unused = stats.extents_evicting + stats.extents_limbo;
	if (stats.extents_pinned > PINS_OF_CALL || unused > PINS_OF_CALL)
		return job_fail("%" PRIu64 " extents are pinned and %" PRIu64
				" out of use while a victim stands still in %s",
		    stats.extents_pinned, unused, operation->name);
	return verify(cache, SHMCACHE_VERIFY_LIVE, "while one stands still");
}

static bool
is_number(const char *what, uint64_t got, uint64_t wanted)
{
	if (got == wanted)
		return true;
	return job_fail(
	    "%s: %" PRIu64 " instead of %" PRIu64, what, got, wanted);
}

/* Nobody but ourselves has anything in the cache. */
static bool
check_left_over(
    const struct shmcache_stats *stats, uint64_t active, const char *when)
{
	char text[64];

	if (!is_number("peers", stats->peers, 1) ||
	    !is_number("processes", stats->processes, 1) ||
	    !is_number("pinned extents", stats->extents_pinned, 0) ||
	    !is_number("evicting extents", stats->extents_evicting, 0) ||
	    !is_number("limbo extents", stats->extents_limbo, 0))
		return false;
	(void)snprintf(text, sizeof(text), "%s: extents of any state", when);
	if (!is_number(text,
		stats->extents_free + stats->extents_active +
		    stats->extents_sealed,
		stats->extents))
		return false;
	if (stats->extents_active > active)
		return job_fail("%s: %" PRIu64 " active extents, at most "
				"%" PRIu64 " are right",
		    when, stats->extents_active, active);
	return true;
}

/* What the sets themselves must have cleared up, without anybody's sweep. */
static bool
check_unswept(struct shmcache *cache)
{
	struct shmcache_stats stats;

	return read_stats(cache, &stats) &&
	       is_number("evicting extents after the churn, without a sweep",
		   stats.extents_evicting, 0) &&
	       is_number("limbo extents after the churn, without a sweep",
		   stats.extents_limbo, 0);
}

/* Turn the memory over, empty it, fill it. */
static bool
use_up(struct shmcache *cache, struct shmcache_stats *churned,
    struct shmcache_stats *emptied, struct shmcache_stats *filled)
{
	uint64_t bytes = 0;

	if (!churn(cache, CHURN_TURNS) || !check_unswept(cache) ||
	    !sweep(cache) ||
	    !verify(cache, SHMCACHE_VERIFY_STRICT, "after the churn") ||
	    !read_stats(cache, churned) ||
	    !succeeded("flush", NULL, shmcache_flush(cache)) || !sweep(cache) ||
	    !sweep(cache) || !read_stats(cache, emptied))
		return false;
	for (unsigned i = 0; bytes < churned->arena_bytes * 5 / 4; i++) {
		struct record record = record_of(RECORD_FILL, i);

		if (!succeeded("set", &record,
			record_set(cache, &record, SHMCACHE_TTL_NONE)))
			return false;
		bytes += record.bytes;
	}
	return read_stats(cache, filled);
}

/*
 * One extent for each death may stay sealed after a flush: a death between
 * unlinking an entry and counting it leaves the extent's count of live bytes
 * too high until the extent is evicted in its turn.  (Two, where a slot was taken
 * from an entry of another extent.)
 */
static unsigned
deaths_of(const struct operation *operation)
{
	return 1 + operation->displaces + (operation->heir_of != NULL) +
	       operation->earlier_deaths;
}

static bool
check_leaks(struct shmcache *cache, const struct inquest *inquest)
{
	const struct survey *before = inquest->before;
	unsigned deaths = deaths_of(inquest->operation);
	struct shmcache_stats churned, emptied, filled;
	uint64_t active;

	if (!use_up(cache, &churned, &emptied, &filled))
		return false;
	active = churned.extents / 8 > before->active ? churned.extents / 8
						      : before->active;
	if (!check_left_over(&churned, active, "after the churn") ||
	    !check_left_over(&emptied, active, "after a flush") ||
	    !is_number("entries after a flush", emptied.items, 0))
		return false;
	if (emptied.extents_sealed > deaths)
		return job_fail("%" PRIu64 " extents were not freed after a "
				"flush, at most %u may stay for later",
		    emptied.extents_sealed, deaths);
	/* (One more: the last set may have emptied an extent beforehand.) */
	if (filled.live_bytes + (deaths + 1) * filled.extent_bytes <
	    before->live_bytes)
		return job_fail("%" PRIu64 " bytes live when filled, "
				"%" PRIu64 " undisturbed",
		    filled.live_bytes, before->live_bytes);
	return true;
}

bool
survivor_survey(struct shmcache *cache, const struct operation *operation,
    struct survey *survey)
{
	struct shmcache_stats churned, emptied, filled;

	for (unsigned i = 0; i < operation->others; i++) {
		struct record record = record_of(RECORD_OTHER, i);
		int result = 0;

		survey->present[i] = record_look(cache, &record, RECORD_PEEK,
					 &result) == RECORD_EXACT;
	}
	if (!use_up(cache, &churned, &emptied, &filled))
		return false;
	survey->active = churned.extents_active;
	survey->live_bytes = filled.live_bytes;
	survey->done = true;
	return true;
}

/* A sweep may evict, from a full cache; else it changes nothing. */
static bool
check_after_sweep(
    struct shmcache *cache, const struct inquest *inquest, enum seen before)
{
	struct inquest swept = *inquest;
	enum seen after;
	bool may_evict = (inquest->operation->flags & OPERATION_FULL) != 0;

	if (may_evict)
		swept.after = NULL;
	if (!check_entries(cache, &swept, true, &after))
		return false;
	if (after == before || (may_evict && after == SEEN_NOTHING))
		return true;
	return job_fail("a sweep changed the victim's key");
}

bool
survivor_repairs(struct shmcache *cache, const struct inquest *inquest)
{
	struct shmcache_stats stats;
	enum seen seen;

	if (!verify(cache, SHMCACHE_VERIFY_LIVE, "before any repair") ||
	    !read_stats(cache, &stats) ||
	    !check_entries(cache, inquest, true, &seen))
		return false;
	if (inquest->observation != NULL)
		*inquest->observation = (struct observation){ .seen = seen,
			.evicting = stats.extents_evicting,
			.limbo = stats.extents_limbo };
	return sweep(cache) &&
	       verify(cache, SHMCACHE_VERIFY_STRICT, "after a sweep") &&
	       check_after_sweep(cache, inquest, seen);
}

bool
survivor_hurries(struct shmcache *cache, const struct inquest *inquest)
{
	return work_on_victims_key(cache, inquest->operation) &&
	       work_on_leases(cache, inquest->operation) &&
	       work_on_fresh_key(cache) &&
	       work_on_filter(cache, inquest->operation) &&
	       verify(cache, SHMCACHE_VERIFY_LIVE, "after work") &&
	       sweep(cache) &&
	       verify(cache, SHMCACHE_VERIFY_STRICT, "after work and a sweep");
}

/* As many more as there are slots: each gets one, with nothing pinned in it. */
static bool
check_newcomers(struct shmcache *cache, const char *path)
{
	struct shmcache *more[SLOTS_MAX] = { 0 };
	struct shmcache_stats stats = { 0 };
	bool fine = read_stats(cache, &stats);
	unsigned count = 0;

	while (fine && count < SLOTS_MAX && count + 1 < stats.process_slots) {
		struct record record = record_of(RECORD_FRESH, 3 + count);

		fine = succeeded("open by a newcomer", NULL,
			   shmcache_open(path, NULL, &more[count])) &&
		       succeeded("set by a newcomer", &record,
			   record_set(more[count], &record, 0));
		count++;
	}
	fine = fine && read_stats(cache, &stats) &&
	       is_number("peers, with newcomers", stats.peers, count + 1) &&
	       is_number(
		   "processes, with newcomers", stats.processes, count + 1) &&
	       is_number(
		   "pinned extents, with newcomers", stats.extents_pinned, 0);
	while (count-- > 0)
		(void)shmcache_close(more[count]);
	return fine;
}

bool
survivor_works(struct shmcache *cache, const struct inquest *inquest)
{
	enum seen seen;

	return check_entries(cache, inquest, false, &seen) &&
	       work_on_fresh_key(cache) && check_leaks(cache, inquest) &&
	       check_newcomers(cache, inquest->path) &&
	       work_on_victims_key(cache, inquest->operation);
}

bool
survivor_verifies_and_works(
    struct shmcache *cache, const struct inquest *inquest)
{
	return verify(cache, SHMCACHE_VERIFY_LIVE, "before any repair") &&
	       survivor_works(cache, inquest);
}

/*
 * The call either has not begun for anybody, and the name leads to the cache
 * that we have open; or it is known to all: we are told that it was removed,
 * get nothing, and the name leads to another one.
 */
bool
survivor_is_not_split(
    struct shmcache *cache, const struct operation *operation, const char *path)
{
	struct shmcache_options options =
	    operation_options(operation, SHMCACHE_OPEN_OR_CREATE);
	struct record fresh = record_of(RECORD_FRESH, 2);
	struct record other = record_of(RECORD_OTHER, 0);
	struct shmcache *named;
	bool fine;
	int get_result;
	int result = shmcache_open(path, &options, &named);

	if (!succeeded("open", NULL, result))
		return false;
	result = record_set(named, &fresh, SHMCACHE_TTL_NONE);
	fine = succeeded("set", &fresh, result) &&
	       expect(named, &fresh, RECORD_EXACT, "under the name");
	result = record_set(cache, &other, SHMCACHE_TTL_NONE);
	if (fine && result == SHMCACHE_EREMOVED) {
		(void)record_look(cache, &other, RECORD_GET, &get_result);
		if (get_result != SHMCACHE_ENOENT)
			fine = job_fail("the cache was removed, and a get "
					"still finds an entry: %s",
			    shmcache_strerror(get_result));
	} else if (fine && result == 0) {
		fine = expect(named, &other, RECORD_EXACT,
		    "split from those who open the name");
	} else if (fine) {
		fine = succeeded("set", &other, result);
	}
	(void)shmcache_close(named);
	return fine;
}
