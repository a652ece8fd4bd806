/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* report.c - what came out */
#include "tools/replay/report.h"

#include "tools/common.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

const double report_multiples[REPORT_MULTIPLES] = { 0.125, 0.25, 0.5, 0.75, 1,
	1.5, 2, 3, 4, 8 };

/* Below so many objects in the cache that is played, chance shows. */
#define OBJECTS_MIN 1280u

static void
report_recorded(const char *path, const struct trace *t)
{
	const struct recorded *r = &t->recorded;

	if (r->stored > 0)
		tool_say(path,
		    "%" PRIu64 " sets were of what had just missed: the "
		    "replay stores that itself",
		    r->stored);
	if (r->lost + r->torn > 0)
		tool_say(path,
		    "%" PRIu64 " requests are missing, as they came too fast "
		    "or their process was stopped or killed",
		    r->lost + r->torn);
	if (r->unknown > 0)
		tool_say(path,
		    "%" PRIu64 " requests are missing, as they were of kinds "
		    "that the recorder did not know",
		    r->unknown);
	if (r->gaps > 0)
		tool_say(path,
		    "the recorder stood still %" PRIu64
		    " times, and nothing was recorded meanwhile",
		    r->gaps);
	if (r->gets == 0)
		tool_say(path,
		    "it is not said how many gets there were in all (was the "
		    "recorder killed?): miss ratios are those of the sample");
}

void
report_trace(const char *path, const struct trace *t, const struct weights *w)
{
	tool_say(path,
	    "%zu requests (%" PRIu64 " gets) of %" PRIu32 " keys, format %s",
	    t->count, t->gets, t->keys, trace_format_name(t->format));
	if (t->sizes_unknown > 0)
		tool_say(path,
		    "%" PRIu64 " requests without a size: drawn for each key, "
		    "32 to 2048 bytes",
		    t->sizes_unknown);
	if (t->sizes_cut > 0)
		tool_say(path,
		    "%" PRIu64 " requests with a size above the limit: cut to "
		    "it (--max-value)",
		    t->sizes_cut);
	if (t->out_of_order > 0)
		tool_say(path,
		    "%" PRIu64 " requests with a time before the one before: "
		    "that one's was taken",
		    t->out_of_order);
	if (trace_share(t) < 1)
		tool_say(path,
		    "%.3g %% of the keys: a cache of that share of the size is "
		    "played, and the whole size shown",
		    trace_share(t) * 100);
	if (t->recorded.share > 0)
		report_recorded(path, t);
	if (w->unit)
		tool_say(path,
		    "all objects alike: keys of %u bytes, values of "
		    "%u, %u for metadata",
		    w->key_bytes, w->unit_bytes, w->overhead_bytes);
}

/* Of the gets that a sample of this share should have (recorded.h). */
static double
miss_ratio(const struct report *r, const struct point *p)
{
	double gets = recorded_expected_gets(r->trace);

	if (!(gets > 0))
		return 0;
	return (double)p->misses < gets ? (double)p->misses / gets : 1;
}

static double
byte_miss_ratio(const struct point *p)
{
	return p->wanted_bytes > 0
		   ? (double)p->missed_bytes / (double)p->wanted_bytes
		   : 0;
}

/* So many in the cache of the whole size. */
static uint64_t
whole(const struct report *r, uint64_t objects)
{
	return (uint64_t)((double)objects / trace_share(r->trace) + 0.5);
}

static double
ns_per_request(const struct report *r, const struct point *p)
{
	return p->seconds * 1e9 / (double)r->trace->count;
}

static void
print_point(const struct report *r, const struct point *p)
{
	printf("%8.3f %12" PRIu64 " %9" PRIu64 "  %-12s ", p->share * 100,
	    p->capacity_bytes, whole(r, p->objects), p->policy);
	if (p->note[0] != '\0') {
		printf("   -  (%s)\n", p->note);
		return;
	}
	printf("%7.4f %7.4f %7.0f", miss_ratio(r, p), byte_miss_ratio(p),
	    ns_per_request(r, p));
	if (p->library)
		printf(
		    "  %5.3f %6.3f %7" PRIu64, p->live, p->copied, p->extents);
	if (p->refused > 0)
		printf("  refused=%" PRIu64, p->refused);
	if (p->failed > 0)
		printf("  failed=%" PRIu64, p->failed);
	if (p->wrong > 0)
		printf("  WRONG=%" PRIu64, p->wrong);
	if (p->shared_misses > 0)
		printf("  shared=%" PRIu64, p->shared_misses);
	if (p->expected_items > p->objects * 2)
		printf("  items=%" PRIu64, whole(r, p->expected_items));
	if (p->index_evictions > p->gets / 1000)
		printf("  displaced=%" PRIu64, p->index_evictions);
	printf("\n");
}

/* The library's point at that multiple of the recorded cache's size. */
static const struct point *
find_multiple(const struct report *r, double multiple)
{
	uint64_t bytes =
	    (uint64_t)((double)r->trace->recorded.capacity_bytes * multiple);

	for (size_t i = 0; i < r->points; i++)
		if (r->point[i].library && r->point[i].note[0] == '\0' &&
		    r->point[i].capacity_bytes == bytes)
			return &r->point[i];
	return NULL;
}

static double
mebibytes(const struct point *p)
{
	return (double)p->capacity_bytes / 1048576;
}

/* "What would twice the memory bring?" */
static void
print_other(const struct report *r, const struct point *is,
    const struct point *other, const char *what)
{
	double before = miss_ratio(r, is), after = miss_ratio(r, other);

	printf("%s the memory, %.1f MiB: %.1f %%, ", what, mebibytes(other),
	    (1 - after) * 100);
	if (after > before * 1.005)
		printf("%.0f %% more misses.\n", (after / before - 1) * 100);
	else if (after < before * 0.995)
		printf("%.0f %% fewer misses.\n", (1 - after / before) * 100);
	else
		printf("as many misses.\n");
}

static void
print_answer(const struct report *r)
{
	const struct recorded *recorded = &r->trace->recorded;
	const struct point *is = find_multiple(r, 1),
			   *half = find_multiple(r, 0.5),
			   *twice = find_multiple(r, 2);

	if (is == NULL || recorded->capacity_bytes == 0)
		return;
	printf("\nWith the %.1f MiB that it has, %.1f %% of the gets hit",
	    mebibytes(is), (1 - miss_ratio(r, is)) * 100);
	if (recorded->gets > 0 && recorded->hits > 0)
		printf(" (%.1f %% did while it was recorded)",
		    (double)recorded->hits / (double)recorded->gets * 100);
	printf(".\n");
	if (twice != NULL)
		print_other(r, is, twice, "Twice");
	if (half != NULL)
		print_other(r, is, half, "Half");
	if (is->objects < OBJECTS_MIN)
		printf("The sample is small (%" PRIu64
		       " objects in the cache that was played): record a "
		       "larger share of the keys.\n",
		    is->objects);
}

void
report_table(const struct report *r)
{
	printf("%8s %12s %9s  %-12s %7s %7s %7s  %5s %6s %7s\n", "size %",
	    "bytes", "objects", "policy", "miss", "bytes", "ns", "live",
	    "copied", "extents");
	for (size_t i = 0; i < r->points; i++)
		print_point(r, &r->point[i]);
	print_answer(r);
}

static json_t *
point_json(const struct report *r, const struct point *p)
{
	json_t *o = json_pack("{s:s, s:b, s:f, s:I, s:I}", "policy", p->policy,
	    "library", p->library, "share", p->share, "capacity_bytes",
	    (json_int_t)p->capacity_bytes, "objects",
	    (json_int_t)whole(r, p->objects));

	if (o == NULL || p->note[0] != '\0') {
		if (o != NULL)
			(void)json_object_set_new(
			    o, "note", json_string(p->note));
		return o;
	}
	(void)json_object_update_new(o,
	    json_pack("{s:I, s:I, s:f, s:f, s:I, s:I, s:I, s:f}", "gets",
		(json_int_t)p->gets, "misses", (json_int_t)p->misses,
		"miss_ratio", miss_ratio(r, p), "byte_miss_ratio",
		byte_miss_ratio(p), "refused", (json_int_t)p->refused, "failed",
		(json_int_t)p->failed, "wrong", (json_int_t)p->wrong,
		"ns_per_request", ns_per_request(r, p)));
	if (p->library)
		(void)json_object_update_new(
		    o, json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f}",
			   "expected_items",
			   (json_int_t)whole(r, p->expected_items),
			   "shared_misses", (json_int_t)p->shared_misses,
			   "segment_bytes", (json_int_t)p->segment_bytes,
			   "extent_bytes", (json_int_t)p->extent_bytes,
			   "extents", (json_int_t)p->extents, "index_evictions",
			   (json_int_t)p->index_evictions, "live", p->live,
			   "copied_per_written", p->copied));
	return o;
}

/* NULL: the trace is no sample. */
static json_t *
recorded_json(const struct trace *t)
{
	const struct recorded *r = &t->recorded;

	return r->share == 0
		   ? NULL
		   : json_pack("{s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:f}",
			 "share", r->share, "gets", (json_int_t)r->gets, "hits",
			 (json_int_t)r->hits, "capacity_bytes",
			 (json_int_t)r->capacity_bytes, "lost",
			 (json_int_t)r->lost, "torn", (json_int_t)r->torn,
			 "gaps", (json_int_t)r->gaps, "expected_gets",
			 recorded_expected_gets(t));
}

int
report_json(const struct report *r)
{
	json_t *points = json_array();
	json_t *all;
	int result;

	for (size_t i = 0; i < r->points; i++)
		(void)json_array_append_new(
		    points, point_json(r, &r->point[i]));
	all = json_pack(
	    "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:i, s:i, s:i, "
	    "s:o*, s:o}",
	    "trace", r->path, "format", trace_format_name(r->trace->format),
	    "requests", (json_int_t)r->trace->count, "gets",
	    (json_int_t)r->trace->gets, "keys", (json_int_t)r->trace->keys,
	    "sizes_unknown", (json_int_t)r->trace->sizes_unknown, "sizes_cut",
	    (json_int_t)r->trace->sizes_cut, "out_of_order",
	    (json_int_t)r->trace->out_of_order, "unit", r->weights->unit,
	    "key_bytes", (int)r->weights->key_bytes, "overhead_bytes",
	    (int)r->weights->overhead_bytes, "processes", (int)r->processes,
	    "recorded", recorded_json(r->trace), "points", points);
	if (all == NULL)
		return -1;
	result =
	    json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
	json_decref(all);
	printf("\n");
	return result;
}

int
report_plot(const struct report *r, const char *path)
{
	FILE *file = fopen(path, "we");
	int failed;

	if (file == NULL)
		return -errno;
	fprintf(file,
	    "# gnuplot -persist THIS_FILE\n"
	    "set title \"%s\" noenhanced\n"
	    "set logscale x\nset grid\nset key outside right\n"
	    "set xlabel \"cache size, MiB\"\nset ylabel \"miss ratio\"\n"
	    "set yrange [0:]\n",
	    r->path);
	for (size_t k = 0; k < r->per_size; k++) {
		fprintf(file, "$p%zu << END\n", k);
		for (size_t i = k; i < r->points; i += r->per_size)
			if (r->point[i].note[0] == '\0')
				fprintf(file, "%.6f %.6f\n",
				    (double)r->point[i].capacity_bytes /
					1048576,
				    miss_ratio(r, &r->point[i]));
		fprintf(file, "END\n");
	}
	fprintf(file, "plot ");
	for (size_t k = 0; k < r->per_size; k++)
		fprintf(file, "%s$p%zu with linespoints lw %d title \"%s%s\"",
		    k > 0 ? ", " : "", k, r->point[k].library ? 3 : 1,
		    r->point[k].library ? "libshmcache " : "",
		    r->point[k].policy);
	fprintf(file, "\n");
	failed = ferror(file) ? -EIO : 0;
	return fclose(file) != 0 && failed == 0 ? -errno : failed;
}
