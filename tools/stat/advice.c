/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * advice.c - what an operator should change, in plain words
 *
 * A line says what is wrong, by its numbers, and what to do about it.  A cache
 * that is set well and looked after gets none.
 */
#include "tools/stat/report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* Held for so long, a pin was forgotten or its thread stopped. */
#define PIN_IDLE_MS 120000

/* A janitor sweeps every second or so; who is younger may wait for one. */
#define SWEPT_MS_MAX 60000

/* Below this, all of a cache is in the TLB's reach or nearly so. */
#define HUGE_PAGES_MATTER_BYTES (UINT64_C(256) << 20)

static void __attribute__((format(printf, 2, 3)))
advise(struct report *report, const char *format, ...)
{
	va_list arguments;

	if (report->advice_count == ADVICE_COUNT_MAX) {
		return;
	}
	va_start(arguments, format);
	(void)vsnprintf(report->advice[report->advice_count], ADVICE_BYTES_MAX,
	    format, arguments);
	va_end(arguments);
	report->advice_count++;
}

static int
nearly_all(uint64_t taken, uint64_t slots)
{
	return taken >= slots - slots / 10;
}

/* What was chosen when the cache was created, and does not fit its use. */
static void
advise_on_options(struct report *report)
{
	const struct shmcache_stats *stats = &report->stats;

	if (stats->index_evictions) {
		advise(report,
		    "the index is too small: %" PRIu64 " entries were dropped "
		    "because their index window was full; create the cache "
		    "anew with expected_items of %" PRIu64 " or more",
		    stats->index_evictions, stats->items * 2);
	}
	if (stats->set_failures) {
		advise(report,
		    "%" PRIu64 " sets stored nothing: look at their results; "
		    "if it is SHMCACHE_ETOOBIG, create the cache anew with "
		    "max_entry_bytes above %" PRIu64,
		    stats->set_failures, stats->max_entry_bytes);
	}
	if (nearly_all(stats->peers, stats->peer_slots)) {
		advise(report,
		    "%" PRIu64 " of %" PRIu64 " peer slots are taken; at the "
		    "last one writes fail with SHMCACHE_EPEERS: create the "
		    "cache anew with more peer_slots",
		    stats->peers, stats->peer_slots);
	}
	if (nearly_all(stats->processes, stats->process_slots)) {
		advise(report,
		    "%" PRIu64 " of %" PRIu64 " process slots are taken; at "
		    "the last one opening fails with SHMCACHE_EPROCESSES: "
		    "create the cache anew with more process_slots",
		    stats->processes, stats->process_slots);
	}
}

static void
advise_on_pages(struct report *report)
{
	if (report->pages.known && !report->pages.huge_bytes &&
	    report->stats.capacity_bytes >= HUGE_PAGES_MATTER_BYTES) {
		advise(report,
		    "no huge pages are in use, which makes a cache of this "
		    "size slower: mount its file system with huge=within_size "
		    "(/sys/kernel/mm/transparent_hugepage/shmem_enabled must "
		    "not be 'deny') and create the cache anew");
	}
}

static size_t
count_dead(const struct report *report)
{
	size_t count = 0;
	size_t i;

	for (i = 0; i < report->process_count; i++) {
		count += !report->processes[i].alive;
	}
	return count;
}

int
report_is_swept(const struct report *report)
{
	return report->stats.swept_age_ms &&
	       report->stats.swept_age_ms <= SWEPT_MS_MAX;
}

static void
advise_on_janitor(struct report *report)
{
	const struct shmcache_stats *stats = &report->stats;

	if (stats->created_age_ms < SWEPT_MS_MAX || report_is_swept(report)) {
		return;
	}
	if (!stats->swept_age_ms) {
		advise(report,
		    "no janitor has ever swept this cache: run "
		    "shmcache-janitor, which frees what has expired or died");
	} else {
		advise(report,
		    "no janitor is at work, the last sweep was %" PRIu64
		    " s ago: run shmcache-janitor, which frees what has "
		    "expired or died",
		    stats->swept_age_ms / 1000);
	}
}

static void
advise_on_pins(struct report *report)
{
	size_t i;

	for (i = 0; i < report->peer_count; i++) {
		const struct shmcache_peer_info *peer = &report->peers[i];

		if (peer->pins && peer->alive && peer->idle_ms > PIN_IDLE_MS) {
			advise(report,
			    "a thread of process %" PRId32 " (slot %" PRIu32
			    ") keeps %" PRIu32 " extent%s pinned and has not "
			    "been seen calling for %" PRId64 " s: see whether "
			    "it is stopped, or holds items that it should "
			    "unpin",
			    peer->pid, peer->slot, peer->pins,
			    peer->pins == 1 ? "" : "s", peer->idle_ms / 1000);
		}
	}
}

/* What a janitor, or an end to somebody's standing still, would mend. */
static void
advise_on_upkeep(struct report *report)
{
	const struct shmcache_stats *stats = &report->stats;
	size_t dead = count_dead(report);

	if (dead) {
		advise(report,
		    "%zu dead %s still listed: shmcache-janitor --once frees "
		    "what they held",
		    dead, dead == 1 ? "process is" : "processes are");
	}
	if (stats->extents_evicted && !stats->extents_free) {
		advise(report,
		    "none of %" PRIu64 " extents is free, so sets evict on "
		    "their own way: run shmcache-janitor",
		    stats->extents);
	}
	advise_on_janitor(report);
	advise_on_pins(report);
	if (stats->extents_pinned > stats->extents / 4) {
		advise(report,
		    "%" PRIu64 " of %" PRIu64 " extents are pinned and can't "
		    "be reused: look above for processes with many pins that "
		    "are stopped or hold items too long",
		    stats->extents_pinned, stats->extents);
	}
}

void
report_advise(struct report *report)
{
	report->advice_count = 0;
	advise_on_options(report);
	advise_on_pages(report);
	advise_on_upkeep(report);
}
