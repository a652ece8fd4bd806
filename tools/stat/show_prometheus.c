/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * show_prometheus.c - reports in the text format of Prometheus, 0.0.4
 *
 * Each metric comes once, with one sample for each cache, as the format wants.
 * Names follow the conventions that `promtool check metrics` looks for:
 * counters end with _total, and what is a time is in seconds.
 */
#include "tools/stat/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* How a field is called, and by what it is divided. */
struct metric {
	char name[96];
	const char *type;
	double divisor;
};

static void
name_metric(struct metric *metric, const struct field *field)
{
	static const struct {
		const char *unit;
		const char *end;
		double divisor;
	} times[] = { { "_ns", "_seconds", 1e9 }, { "_ms", "_seconds", 1e3 } };
	size_t stem_bytes = strlen(field->name);
	const char *end = "";
	size_t i;

	metric->divisor = 1;
	for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		if (field_has_unit(field, times[i].unit)) {
			stem_bytes -= strlen(times[i].unit);
			end = times[i].end;
			metric->divisor = times[i].divisor;
		}
	}
	metric->type = field->grows ? "counter" : "gauge";
	(void)snprintf(metric->name, sizeof(metric->name), "shmcache_%.*s%s%s",
	    (int)stem_bytes, field->name, end, field->grows ? "_total" : "");
}

/* Length of the UTF-8 sequence at `text`; 0 if there is none. */
static size_t
utf8_bytes(const char *text)
{
	const unsigned char *t = (const unsigned char *)text;
	size_t bytes = t[0] < 0x80   ? 1
		       : t[0] < 0xc2 ? 0
		       : t[0] < 0xe0 ? 2
		       : t[0] < 0xf0 ? 3
		       : t[0] < 0xf5 ? 4
				     : 0;
	size_t i;

	for (i = 1; i < bytes; i++) {
		if ((t[i] & 0xc0) != 0x80) {
			return 0;
		}
	}
	/* Overlong forms, surrogates, above U+10FFFF. */
	if ((t[0] == 0xe0 && t[1] < 0xa0) || (t[0] == 0xed && t[1] > 0x9f) ||
	    (t[0] == 0xf0 && t[1] < 0x90) || (t[0] == 0xf4 && t[1] > 0x8f)) {
		return 0;
	}
	return bytes;
}

/* A label's value is UTF-8; other bytes are shown as \xHH. */
static void
put_label(const char *text)
{
	while (*text) {
		size_t bytes = utf8_bytes(text);

		if (!bytes) {
			printf("\\\\x%02x", (unsigned)(unsigned char)*text++);
			continue;
		}
		if (*text == '\\' || *text == '"') {
			putchar('\\');
		}
		if (*text == '\n') {
			printf("\\n");
		} else {
			(void)fwrite(text, 1, bytes, stdout);
		}
		text += bytes;
	}
}

static void
put_heading(const char *name, const char *type, const char *help)
{
	printf("# HELP %s %s.\n# TYPE %s %s\n", name, help, name, type);
}

static void
put_series(const char *name, const char *cache)
{
	printf("%s{cache=\"", name);
	put_label(cache);
	printf("\"} ");
}

static void
put_sample(const struct metric *metric, const struct report *report,
    const struct field *field)
{
	struct value value = field_value(report, field);

	if (value.kind == VALUE_NONE) {
		return;
	}
	put_series(metric->name, report->name);
	if (value.kind == VALUE_COUNT && metric->divisor == 1) {
		printf("%" PRIu64 "\n", value.count);
	} else {
		printf("%.12g\n", value.real / metric->divisor);
	}
}

/* Ids are labels of one metric; sums of what is there anyway are left out. */
static int
is_metric(const struct field *field)
{
	return !field_has_unit(field, "_id") &&
	       !(field->kind == FIELD_DERIVED && field->grows);
}

static void
put_up(const struct listing *listing)
{
	size_t i;

	put_heading("shmcache_up", "gauge",
	    "1 if the cache could be looked into, 0 if not");
	for (i = 0; i < listing->count; i++) {
		put_series("shmcache_up", listing->caches[i].name);
		printf("%d\n", !listing->caches[i].why);
	}
}

static void
put_info(const struct listing *listing)
{
	size_t i;

	put_heading("shmcache_info", "gauge",
	    "identity of the cache, which changes when it is created anew");
	for (i = 0; i < listing->count; i++) {
		if (listing->caches[i].why) {
			continue;
		}
		printf("shmcache_info{cache=\"");
		put_label(listing->caches[i].name);
		printf("\",segment_id=\"0x%016" PRIx64 "\",version=\"%s\"} 1\n",
		    listing->caches[i].report.stats.segment_id,
		    shmcache_version());
	}
}

void
show_prometheus(
    const struct listing *listing, const struct selection *selection)
{
	struct metric metric;
	size_t i, j;

	put_up(listing);
	put_info(listing);
	for (i = 0; i < selection->count; i++) {
		const struct field *field = selection->fields[i];

		if (!is_metric(field)) {
			continue;
		}
		name_metric(&metric, field);
		put_heading(metric.name, metric.type, field->text);
		for (j = 0; j < listing->count; j++) {
			if (!listing->caches[j].why) {
				put_sample(
				    &metric, &listing->caches[j].report, field);
			}
		}
	}
}
