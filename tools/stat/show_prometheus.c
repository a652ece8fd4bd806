/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * show_prometheus.c - reports in the text format of Prometheus, 0.0.4
 *
 * Each metric comes once, with one sample for each cache, as the format wants.
 * Names follow the conventions that `promtool check metrics` looks for:
 * counters end with _total, and what is a time is in seconds.
 */
#include "tools/stat/latency.h"
#include "tools/stat/show.h"
#include "tools/text.h"

#include <inttypes.h>
#include <shmcache_admin.h>
#include <stdio.h>
#include <stdlib.h>
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
	} times[] = { { "_ns", "_seconds", 1e9 }, { "_us", "_seconds", 1e6 },
		{ "_ms", "_seconds", 1e3 } };
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

/* A label's value is UTF-8; other bytes are shown as \xHH. */
static void
put_label(const char *text)
{
	char *escaped = text_escape(text, strlen(text));
	const char *next;

	for (next = escaped ? escaped : ""; *next; next++) {
		if (*next == '\\' || *next == '"') {
			putchar('\\');
		}
		putchar(*next);
	}
	free(escaped);
}

static void
put_heading(const char *name, const char *type, const char *help)
{
	printf("# HELP %s %s.\n# TYPE %s %s\n", name, help, name, type);
}

/* All but the other labels and the closing brace. */
static void
put_series_begin(const char *name, const char *suffix, const char *cache)
{
	printf("%s%s{cache=\"", name, suffix);
	put_label(cache);
	putchar('"');
}

static void
put_series(const char *name, const char *cache)
{
	put_series_begin(name, "", cache);
	printf("} ");
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

/* Buckets whose bounds double, so that there are not too many. */
static void
put_buckets(
    const char *name, const char *cache, const struct shmcache_latency *latency)
{
	uint64_t next_ns = 0;
	uint64_t count = 0;
	unsigned i;

	for (i = 0; i < SHMCACHE_LATENCY_BUCKETS; i++) {
		uint64_t bound_ns = shmcache_latency_bound_ns(i);

		count += latency->count[i];
		if (bound_ns != UINT64_MAX && bound_ns >= next_ns) {
			next_ns = bound_ns * 2;
			put_series_begin(name, "_bucket", cache);
			printf(",le=\"%.9g\"} %" PRIu64 "\n",
			    (double)bound_ns / 1e9, count);
		}
	}
	put_series_begin(name, "_bucket", cache);
	printf(",le=\"+Inf\"} %" PRIu64 "\n", count);
	put_series_begin(name, "_sum", cache);
	printf("} %.9g\n", latency_sum_ns(latency) / 1e9);
	put_series_begin(name, "_count", cache);
	printf("} %" PRIu64 "\n", count);
}

static void
put_latency(const struct listing *listing, enum shmcache_latency_kind kind,
    const char *name, const char *help)
{
	size_t i;

	put_heading(name, "histogram", help);
	for (i = 0; i < listing->count; i++) {
		if (!listing->caches[i].why) {
			put_buckets(name, listing->caches[i].name,
			    &listing->caches[i].report.latency[kind]);
		}
	}
}

/* Ids are labels of one metric; sums and quantiles are left to Prometheus. */
static int
is_metric(const struct field *field)
{
	return !field_has_unit(field, "_id") &&
	       !(field->kind == FIELD_DERIVED &&
		   (field->grows || field_has_unit(field, "_ns")));
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
		put_series_begin("shmcache_info", "", listing->caches[i].name);
		printf(",segment_id=\"0x%016" PRIx64
		       "\",version=\"%s\",policy=\"%s\"} 1\n",
		    listing->caches[i].report.stats.segment_id,
		    shmcache_version(),
		    shmcache_policy_name(
			listing->caches[i].report.stats.policy));
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
	if (selection->is_all) {
		put_latency(listing, SHMCACHE_LATENCY_GET,
		    "shmcache_get_duration_seconds",
		    "time of sampled gets; the sum is estimated");
		put_latency(listing, SHMCACHE_LATENCY_SET,
		    "shmcache_set_duration_seconds",
		    "time of sampled calls that store; the sum is estimated");
	}
}
