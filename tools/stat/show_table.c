/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* show_table.c - a report, and the list of caches, for people */
#include "tools/stat/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void
show_field(const struct report *report, const struct field *field, int explain)
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
		printf("  %-18s  %18s  %-9s  %s\n", field->name, exact, human,
		    field->text);
	} else if (*human) {
		printf("  %-18s  %18s  %s\n", field->name, exact, human);
	} else {
		printf("  %-18s  %18s\n", field->name, exact);
	}
}

static void
show_processes(const struct report *report)
{
	const struct shmcache_process_info *process;
	size_t i;

	printf("\nProcesses\n");
	printf("  %6s  %10s  %-5s  %6s  %6s\n", "slot", "pid", "state", "peers",
	    "pins");
	for (i = 0; i < report->process_count; i++) {
		process = &report->processes[i];
		printf("  %6" PRIu32 "  %10" PRId32 "  %-5s  %6" PRIu32
		       "  %6" PRIu32 "\n",
		    process->slot, process->pid,
		    process->alive ? "alive" : "dead", process->peers,
		    process->pins);
	}
}

void
show_table(
    const struct report *report, const struct selection *selection, int explain)
{
	const char *group;
	size_t i;

	if (selection->is_all) {
		printf("Cache %s\n", report->name);
	}
	for (i = 0; i < selection->count; i++) {
		group = field_group(selection->fields[i]);
		if (group && selection->is_all) {
			printf("\n%s\n", group);
		}
		show_field(report, selection->fields[i], explain);
	}
	if (!selection->is_all) {
		return;
	}
	show_processes(report);
	if (report->advice_count) {
		printf("\nAdvice\n");
	}
	for (i = 0; i < report->advice_count; i++) {
		printf("  %s\n", report->advice[i]);
	}
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
