/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* show_csv.c - reports, and the list of caches, as RFC 4180 has it */
#include "tools/stat/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* With quotes if it needs them. */
static void
put_text(const char *text)
{
	if (!strpbrk(text, ",\"\r\n")) {
		fputs(text, stdout);
		return;
	}
	putchar('"');
	for (; *text; text++) {
		if (*text == '"') {
			putchar('"');
		}
		putchar(*text);
	}
	putchar('"');
}

void
show_csv_heading(const struct selection *selection)
{
	size_t i;

	printf("time,cache");
	for (i = 0; i < selection->count; i++) {
		printf(",%s", selection->fields[i]->name);
	}
	putchar('\n');
}

static void
put_value(const struct report *report, const struct field *field)
{
	struct value value = field_value(report, field);
	char exact[NUMBER_BYTES_MAX];

	field_format_exact(exact, &value);
	printf(",%s", exact);
}

void
show_csv_row(const struct report *report, const struct selection *selection)
{
	char time[TIME_BYTES_MAX];
	size_t i;

	report_format_time(time, report);
	printf("%s,", time);
	put_text(report->name);
	for (i = 0; i < selection->count; i++) {
		put_value(report, selection->fields[i]);
	}
	putchar('\n');
}

void
show_list_csv(const struct listing *listing)
{
	static const char *const names[] = { "items", "hit_ratio" };
	size_t i, j;

	printf("cache,bytes,uid,owner,state,why,items,hit_ratio\n");
	for (i = 0; i < listing->count; i++) {
		const struct listed *cache = &listing->caches[i];

		put_text(cache->name);
		printf(",%" PRIu64 ",%ju,", cache->file_bytes,
		    (uintmax_t)cache->uid);
		put_text(cache->owner);
		printf(",%s,", cache->state);
		put_text(cache->why ? cache->why : "");
		for (j = 0; j < sizeof(names) / sizeof(names[0]); j++) {
			if (cache->why) {
				putchar(',');
			} else {
				put_value(&cache->report,
				    field_find(names[j], strlen(names[j])));
			}
		}
		putchar('\n');
	}
}
