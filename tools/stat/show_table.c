/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* show_table.c - a report, and the list of caches, for people */
#include "tools/stat/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void
show_field(FILE *out, const struct report *report, const struct field *field,
    int explain)
{
	struct value value = field_value(report, field);
	char exact[NUMBER_BYTES_MAX];
	char human[NUMBER_BYTES_MAX];

	field_format_exact(exact, &value);
	field_format_human(human, field, &value);
	if (value.kind == VALUE_NONE) {
		(void)snprintf(exact, sizeof(exact), "-");
	}
	/* What only says the same once more is left out. */
	if (!strncmp(exact, human, strlen(exact))) {
		human[0] = '\0';
	}
	if (explain) {
		(void)fprintf(out, "  %-18s  %18s  %-9s  %s\n", field->name,
		    exact, human, field->text);
	} else if (*human) {
		(void)fprintf(
		    out, "  %-18s  %18s  %s\n", field->name, exact, human);
	} else {
		(void)fprintf(out, "  %-18s  %18s\n", field->name, exact);
	}
}

void
show_processes(FILE *out, const struct report *report)
{
	const struct shmcache_process_info *process;
	size_t i;

	(void)fprintf(out, "\nProcesses\n");
	(void)fprintf(out, "  %6s  %10s  %-5s  %6s  %6s\n", "slot", "pid",
	    "state", "peers", "pins");
	for (i = 0; i < report->process_count; i++) {
		process = &report->processes[i];
		(void)fprintf(out,
		    "  %6" PRIu32 "  %10" PRId32 "  %-5s  %6" PRIu32
		    "  %6" PRIu32 "\n",
		    process->slot, process->pid,
		    process->alive ? "alive" : "dead", process->peers,
		    process->pins);
	}
}

static const char *
idle_text(char *text, int64_t idle_ms)
{
	if (idle_ms < 0) {
		return "-";
	}
	(void)snprintf(
	    text, NUMBER_BYTES_MAX, "%.1f s", (double)idle_ms / 1000);
	return text;
}

void
show_peers(FILE *out, const struct report *report)
{
	char idle[NUMBER_BYTES_MAX];
	size_t i;

	(void)fprintf(out, "\nThreads\n");
	(void)fprintf(out, "  %6s  %10s  %-8s  %9s  %12s  %6s\n", "slot", "pid",
	    "state", "idle", "operations", "pins");
	for (i = 0; i < report->peer_count; i++) {
		const struct shmcache_peer_info *peer = &report->peers[i];

		(void)fprintf(out,
		    "  %6" PRIu32 "  %10" PRId32 "  %-8s  %9s  %12" PRIu64
		    "  %6" PRIu32 "\n",
		    peer->slot, peer->pid,
		    !peer->alive     ? "dead"
		    : peer->orphaned ? "orphaned"
				     : "alive",
		    idle_text(idle, peer->idle_ms), peer->operations,
		    peer->pins);
	}
}

/* Which extents may not be reused now, and because of whom. */
void
show_pins(FILE *out, const struct report *report)
{
	const size_t pin_count = sizeof(report->peers->pinned_extents) /
				 sizeof(report->peers->pinned_extents[0]);
	char idle[NUMBER_BYTES_MAX];
	int is_first = 1;
	size_t i, j;

	for (i = 0; i < report->peer_count; i++) {
		const struct shmcache_peer_info *peer = &report->peers[i];

		for (j = 0; j < pin_count; j++) {
			uint32_t extent = peer->pinned_extents[j];

			if (extent >= report->extent_count) {
				continue;
			}
			if (is_first) {
				(void)fprintf(out, "\nPinned extents\n");
				(void)fprintf(out,
				    "  %7s  %-8s  %6s  %10s  %9s\n", "extent",
				    "state", "slot", "pid", "idle");
				is_first = 0;
			}
			(void)fprintf(out,
			    "  %7" PRIu32 "  %-8s  %6" PRIu32 "  %10" PRId32
			    "  %9s\n",
			    extent,
			    report_extent_state(report->extents[extent].state),
			    peer->slot, peer->pid,
			    idle_text(idle, peer->idle_ms));
		}
	}
}

#define BAR_WIDTH 30

static void
show_histogram(FILE *out, const struct census *census, enum census_kind kind)
{
	static const char bar[BAR_WIDTH + 1] = "##############################";
	char bytes[NUMBER_BYTES_MAX];
	unsigned i;

	(void)fprintf(out, "\nEntries by %s\n", census_name(kind));
	for (i = 0; census_label(kind, i); i++) {
		const struct census_bucket *bucket = &census->buckets[kind][i];
		double share = census->entries ? (double)bucket->entries /
						     (double)census->entries
					       : 0;

		if (!bucket->entries) {
			continue;
		}
		field_format_bytes(bytes, bucket->bytes);
		(void)fprintf(out,
		    "  %-10s  %12" PRIu64 "  %9s  %5.1f %%  %.*s\n",
		    census_label(kind, i), bucket->entries, bytes, share * 100,
		    (int)(share * BAR_WIDTH + 0.5), bar);
	}
}

void
show_census(FILE *out, const struct census *census)
{
	int kind;

	for (kind = 0; census->entries && kind < CENSUS_KINDS; kind++) {
		show_histogram(out, census, (enum census_kind)kind);
	}
	if (census->entries && !census->is_complete) {
		(void)fprintf(out,
		    "  (of %" PRIu64 " entries, for want of time: see "
		    "--scan-time)\n",
		    census->entries);
	}
}

void
show_fields(FILE *out, const struct report *report,
    const struct selection *selection, int explain)
{
	const char *group;
	size_t i;

	for (i = 0; i < selection->count; i++) {
		group = field_group(selection->fields[i]);
		if (group && selection->is_all) {
			(void)fprintf(out, "\n%s\n", group);
		}
		show_field(out, report, selection->fields[i], explain);
	}
}

void
show_advice(FILE *out, const struct report *report)
{
	size_t i;

	if (report->advice_count) {
		(void)fprintf(out, "\nAdvice\n");
	}
	for (i = 0; i < report->advice_count; i++) {
		(void)fprintf(out, "  %s\n", report->advice[i]);
	}
}

void
show_table(
    const struct report *report, const struct selection *selection, int explain)
{
	if (!selection->is_all) {
		show_fields(stdout, report, selection, explain);
		return;
	}
	printf("Cache %s\n", report->name);
	show_fields(stdout, report, selection, explain);
	show_processes(stdout, report);
	show_peers(stdout, report);
	show_pins(stdout, report);
	show_census(stdout, &report->census);
	show_advice(stdout, report);
}

/* --- the caches of the host --------------------------------------------- */

static void
format_field(char *text, const struct report *report, const char *name)
{
	const struct field *field = field_find(name, strlen(name));
	struct value value = field_value(report, field);

	field_format_human(text, field, &value);
}

static int
name_width(const struct listing *listing)
{
	size_t width = strlen("NAME");
	size_t i;

	for (i = 0; i < listing->count; i++) {
		size_t length = strlen(listing->caches[i].name);

		width = length > width ? length : width;
	}
	return width < 40 ? (int)width : 40;
}

void
show_list_table(const struct listing *listing)
{
	int width = name_width(listing);
	char size[NUMBER_BYTES_MAX];
	char items[NUMBER_BYTES_MAX];
	char hits[NUMBER_BYTES_MAX];
	size_t i;

	printf("%-*s  %9s  %8s  %7s  %-10s  %s\n", width, "NAME", "SIZE",
	    "ITEMS", "HITS", "OWNER", "STATE");
	for (i = 0; i < listing->count; i++) {
		const struct listed *cache = &listing->caches[i];

		field_format_bytes(size, cache->file_bytes);
		(void)snprintf(items, sizeof(items), "-");
		(void)snprintf(hits, sizeof(hits), "-");
		if (!cache->why) {
			format_field(items, &cache->report, "items");
			format_field(hits, &cache->report, "hit_ratio");
		}
		printf("%-*s  %9s  %8s  %7s  %-10s  %s%s%s\n", width,
		    cache->name, size, items, hits, cache->owner, cache->state,
		    cache->why ? ": " : "", cache->why ? cache->why : "");
	}
}
