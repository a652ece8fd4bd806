/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* report.c - what came out */
#include "tools/replay/report.h"

#include "tools/common.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

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
	if (w->unit)
		tool_say(path,
		    "all objects alike: keys of %u bytes, values of "
		    "%u, %u for metadata",
		    w->key_bytes, w->unit_bytes, w->overhead_bytes);
}

static double
miss_ratio(const struct point *p)
{
	return p->gets > 0 ? (double)p->misses / (double)p->gets : 0;
}

static double
byte_miss_ratio(const struct point *p)
{
	return p->wanted_bytes > 0
		   ? (double)p->missed_bytes / (double)p->wanted_bytes
		   : 0;
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
	    p->capacity_bytes, p->objects, p->policy);
	if (p->note[0] != '\0') {
		printf("   -  (%s)\n", p->note);
		return;
	}
	printf("%7.4f %7.4f %7.0f", miss_ratio(p), byte_miss_ratio(p),
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
	if (p->index_evictions > p->gets / 1000)
		printf("  displaced=%" PRIu64, p->index_evictions);
	printf("\n");
}

void
report_table(const struct report *r)
{
	printf("%8s %12s %9s  %-12s %7s %7s %7s  %5s %6s %7s\n", "size %",
	    "bytes", "objects", "policy", "miss", "bytes", "ns", "live",
	    "copied", "extents");
	for (size_t i = 0; i < r->points; i++)
		print_point(r, &r->point[i]);
}

static json_t *
point_json(const struct report *r, const struct point *p)
{
	json_t *o = json_pack("{s:s, s:b, s:f, s:I, s:I}", "policy", p->policy,
	    "library", p->library, "share", p->share, "capacity_bytes",
	    (json_int_t)p->capacity_bytes, "objects", (json_int_t)p->objects);

	if (o == NULL || p->note[0] != '\0') {
		if (o != NULL)
			(void)json_object_set_new(
			    o, "note", json_string(p->note));
		return o;
	}
	(void)json_object_update_new(o,
	    json_pack("{s:I, s:I, s:f, s:f, s:I, s:I, s:I, s:f}", "gets",
		(json_int_t)p->gets, "misses", (json_int_t)p->misses,
		"miss_ratio", miss_ratio(p), "byte_miss_ratio",
		byte_miss_ratio(p), "refused", (json_int_t)p->refused, "failed",
		(json_int_t)p->failed, "wrong", (json_int_t)p->wrong,
		"ns_per_request", ns_per_request(r, p)));
	if (p->library)
		(void)json_object_update_new(
		    o, json_pack("{s:I, s:I, s:I, s:I, s:f, s:f}",
			   "segment_bytes", (json_int_t)p->segment_bytes,
			   "extent_bytes", (json_int_t)p->extent_bytes,
			   "extents", (json_int_t)p->extents, "index_evictions",
			   (json_int_t)p->index_evictions, "live", p->live,
			   "copied_per_written", p->copied));
	return o;
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
	    "s:o}",
	    "trace", r->path, "format", trace_format_name(r->trace->format),
	    "requests", (json_int_t)r->trace->count, "gets",
	    (json_int_t)r->trace->gets, "keys", (json_int_t)r->trace->keys,
	    "sizes_unknown", (json_int_t)r->trace->sizes_unknown, "sizes_cut",
	    (json_int_t)r->trace->sizes_cut, "out_of_order",
	    (json_int_t)r->trace->out_of_order, "unit", r->weights->unit,
	    "key_bytes", (int)r->weights->key_bytes, "overhead_bytes",
	    (int)r->weights->overhead_bytes, "processes", (int)r->processes,
	    "points", points);
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
				    miss_ratio(&r->point[i]));
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
