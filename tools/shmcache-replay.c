/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shmcache-replay.c - how big must my cache be, and which policy?
 *
 * Plays a recorded trace of requests against the library, in a cache of its
 * own, and against published policies at the same number of bytes; for one
 * size, several, or a whole curve.
 */
#include "tools/common.h"
#include "tools/replay/report.h"
#include "tools/replay/run.h"
#include "tools/replay/trace.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZES_MAX    64u
#define POLICIES_MAX 32u
#define CURVE_POINTS 10u
#define CURVE_LEAST  0.001 /* of all keys' objects */
#define KEY_BYTES    16
#define UNIT_BYTES   200
#define MAX_VALUE    2048
#define OVERHEAD     40

static char *format_name, *sizes_text, *library_text, *reference_text, *plot,
    *into;
static int curve, only_gets, unit, as_json, key_bytes,
    unit_bytes = UNIT_BYTES, overhead = OVERHEAD, processes = 1, sweep_s,
    per_second;
static long long max_value, extent_bytes;
static double sample = 1;

enum { OPTION_HELP = 1, OPTION_VERSION };

static const struct poptOption options[] = {
	{ "format", 'f', POPT_ARG_STRING, &format_name, 0,
	    "auto, shmcache, oracle, csv, lis or keys", "NAME" },
	{ "sizes", 's', POPT_ARG_STRING, &sizes_text, 0,
	    "sizes of the cache: percents of all objects, or bytes with K, M "
	    "or G; 1%,10% unless given",
	    "LIST" },
	{ "curve", 'c', POPT_ARG_NONE, &curve, 0,
	    "ten sizes from 0.1 % to 100 %; of a recorded trace, from an "
	    "eighth of its cache to eight times",
	    NULL },
	{ "policies", 'p', POPT_ARG_STRING, &library_text, 0,
	    "policies of the library, or none; its default unless given, or "
	    "that of the cache that was recorded",
	    "LIST" },
	{ "references", 'r', POPT_ARG_STRING, &reference_text, 0,
	    "policies to compare with, all or none; lru and s3fifo unless "
	    "given",
	    "LIST" },
	{ "processes", 'n', POPT_ARG_INT, &processes, 0,
	    "processes that share the library's cache; 1 unless given",
	    "COUNT" },
	{ "unit", 'u', POPT_ARG_NONE, &unit, 0,
	    "take all objects to be of one size", NULL },
	{ "unit-bytes", '\0', POPT_ARG_INT, &unit_bytes, 0,
	    "that size; 200 unless given", "BYTES" },
	{ "max-value", '\0', POPT_ARG_LONGLONG, &max_value, 0,
	    "cut larger values to this; 2048 unless given, or what suits the "
	    "cache that was recorded",
	    "BYTES" },
	{ "key-bytes", '\0', POPT_ARG_INT, &key_bytes, 0,
	    "length of the keys; 16 unless given or recorded", "BYTES" },
	{ "overhead", '\0', POPT_ARG_INT, &overhead, 0,
	    "what an object's metadata cost a reference; 40 unless given",
	    "BYTES" },
	{ "only-gets", 'g', POPT_ARG_NONE, &only_gets, 0,
	    "take every request for a key to be a get, and nothing to expire",
	    NULL },
	{ "sample", '\0', POPT_ARG_DOUBLE, &sample, 0,
	    "keep this share of the keys, for a cache of that share of the size",
	    "SHARE" },
	{ "extent-bytes", '\0', POPT_ARG_LONGLONG, &extent_bytes, 0,
	    "extents of the library's cache; chosen unless given", "BYTES" },
	{ "sweep", '\0', POPT_ARG_INT, &sweep_s, 0,
	    "sweep the library's cache every so many seconds of the trace",
	    "SECONDS" },
	{ "into", '\0', POPT_ARG_STRING, &into, 0,
	    "play it into this cache, which is there, as a load on it",
	    "NAME" },
	{ "rate", '\0', POPT_ARG_INT, &per_second, 0,
	    "requests per second, at the most", "COUNT" },
	{ "json", 'j', POPT_ARG_NONE, &as_json, 0, "print JSON", NULL },
	{ "plot", '\0', POPT_ARG_STRING, &plot, 0,
	    "write a gnuplot script, with its data", "FILE" },
	{ "help", 'h', POPT_ARG_NONE, NULL, OPTION_HELP, "print this and exit",
	    NULL },
	{ "version", 'V', POPT_ARG_NONE, NULL, OPTION_VERSION,
	    "print the version and exit", NULL },
	POPT_TABLEEND
};

/* What is to be run. */
struct plan {
	struct point size[SIZES_MAX]; /* share or capacity_bytes is set */
	size_t sizes;
	const char *library[POLICIES_MAX];
	size_t libraries;
	const struct reference *reference[POLICIES_MAX];
	size_t references;
	struct weights weights;
};

volatile sig_atomic_t interrupted;

static void
interrupt(int signal_number)
{
	interrupted = signal_number;
}

static int
add_size(struct plan *plan, const char *text)
{
	char *end;
	double number = strtod(text, &end);
	double factor = 1;
	struct point point = { 0 };

	if (end == text || !(number > 0) || plan->sizes == SIZES_MAX)
		return tool_usage("--sizes: '%s' is no size", text);
	if (strcmp(end, "%") == 0) {
		point.share = number / 100;
	} else {
		factor = strcmp(end, "K") == 0   ? 1024.0
			 : strcmp(end, "M") == 0 ? 1048576.0
			 : strcmp(end, "G") == 0 ? 1073741824.0
			 : *end == '\0'          ? 1.0
						 : 0.0;
		point.capacity_bytes = (uint64_t)(number * factor);
		if (point.capacity_bytes == 0)
			return tool_usage(
			    "--sizes: '%s': use %%, K, M or G", text);
	}
	plan->size[plan->sizes++] = point;
	return TOOL_GO_ON;
}

static int
add_library(struct plan *plan, const char *text)
{
	if (plan->libraries == POLICIES_MAX)
		return tool_usage("--policies: too many");
	plan->library[plan->libraries++] = text;
	return TOOL_GO_ON;
}

static int
add_reference(struct plan *plan, const char *text)
{
	const struct reference *reference = reference_named(text);

	if (reference == NULL || plan->references == POLICIES_MAX) {
		(void)fputs("references:", stderr);
		for (unsigned i = 0; i < reference_count; i++)
			(void)fprintf(stderr, " %s", references[i]->name);
		(void)fputc('\n', stderr);
		return tool_usage("--references: '%s' is none of them", text);
	}
	plan->reference[plan->references++] = reference;
	return TOOL_GO_ON;
}

static int
add_each(struct plan *plan, char *list,
    int (*add)(struct plan *plan, const char *text))
{
	int code = TOOL_GO_ON;

	for (char *text = strtok(list, ","); text != NULL && code == TOOL_GO_ON;
	     text = strtok(NULL, ","))
		code = add(plan, text);
	return code;
}

static int
plan_sizes(struct plan *plan)
{
	static char usual[] = "1%,10%";

	if (into != NULL) {
		plan->size[plan->sizes++].share = 1;
		return TOOL_GO_ON;
	}
	if (!curve)
		return add_each(
		    plan, sizes_text != NULL ? sizes_text : usual, add_size);
	for (unsigned i = 0; i < CURVE_POINTS; i++) {
		double share = CURVE_LEAST;

		for (unsigned n = 0; n < i; n++)
			share *= 2.1544347; /* 1000 to the power of 1/9 */
		plan->size[plan->sizes++].share = share;
	}
	return TOOL_GO_ON;
}

static int
plan_policies(struct plan *plan)
{
	static char usual[] = "lru,s3fifo";
	int code = TOOL_GO_ON;

	if (library_text == NULL)
		plan->library[plan->libraries++] = NULL;
	else if (strcmp(library_text, "none") != 0)
		code = add_each(plan, library_text, add_library);
	if (code != TOOL_GO_ON)
		return code;
	if (reference_text != NULL && strcmp(reference_text, "all") == 0)
		for (unsigned i = 0; i < reference_count; i++)
			plan->reference[plan->references++] = references[i];
	else if (into == NULL && (reference_text == NULL ||
				     strcmp(reference_text, "none") != 0))
		code = add_each(plan,
		    reference_text != NULL ? reference_text : usual,
		    add_reference);
	if (code == TOOL_GO_ON && plan->libraries + plan->references == 0)
		return tool_usage("there is no policy to run");
	return code;
}

static int
check_numbers(void)
{
	if (key_bytes != 0 && (key_bytes < 8 || key_bytes > 250))
		return tool_usage("--key-bytes: from 8 to 250");
	if (unit_bytes < 1 || max_value < 0 || max_value > 1 << 28)
		return tool_usage("--unit-bytes, --max-value: at least 1");
	if (overhead < 0)
		return tool_usage("--overhead: 0 or more");
	if (processes < 1 || processes > 200)
		return tool_usage("--processes: from 1 to 200");
	if (!(sample > 0 && sample <= 1))
		return tool_usage("--sample: above 0, 1 at the most");
	if (format_name != NULL && trace_format_named(format_name) < 0)
		return tool_usage("--format: auto, shmcache, oracle, csv, lis "
				  "or keys");
	if (extent_bytes < 0 || sweep_s < 0)
		return tool_usage("--extent-bytes, --sweep: 0 or more");
	if (per_second < 0)
		return tool_usage("--rate: 1 or more");
	if (into != NULL && (curve || sizes_text != NULL ||
				library_text != NULL || reference_text != NULL))
		return tool_usage("--into: the cache has its size and its "
				  "policy");
	return TOOL_GO_ON;
}

/* What was recorded says how long keys are, but for what can't be played. */
static uint32_t
choose_key_bytes(const struct recorded *recorded)
{
	uint64_t bytes = key_bytes != 0             ? (uint64_t)key_bytes
			 : recorded->key_bytes != 0 ? recorded->key_bytes
						    : KEY_BYTES;

	return bytes < 8 ? 8 : bytes > 250 ? 250 : (uint32_t)bytes;
}

/* A curve's smallest cache still has 16 extents, of 4 such values each. */
static uint32_t
choose_max_value(const struct trace *trace)
{
	uint64_t bytes = (uint64_t)((double)trace->recorded.capacity_bytes *
				    trace_share(trace) / 1024);

	return max_value != 0      ? (uint32_t)max_value
	       : bytes > 1 << 20   ? 1u << 20
	       : bytes > MAX_VALUE ? (uint32_t)bytes
				   : MAX_VALUE;
}

/* What the trace itself says: the curve is around the size that the recorded
   cache has, of its policy. */
static void
adapt_plan(struct plan *plan, const struct recorded *recorded)
{
	plan->weights.key_bytes = choose_key_bytes(recorded);
	if (library_text == NULL && recorded->policy[0] != '\0')
		plan->library[0] = recorded->policy;
	if (!curve || recorded->capacity_bytes == 0)
		return;
	plan->sizes = REPORT_MULTIPLES;
	for (unsigned i = 0; i < REPORT_MULTIPLES; i++)
		plan->size[i] = (struct point){
			.capacity_bytes =
			    (uint64_t)((double)recorded->capacity_bytes *
				       report_multiples[i])
		};
}

static int
make_plan(struct plan *plan)
{
	int code = check_numbers();

	plan->weights = (struct weights){ .key_bytes = KEY_BYTES,
		.overhead_bytes = (uint32_t)overhead,
		.unit = unit != 0,
		.unit_bytes = (uint32_t)unit_bytes };
	if (code == TOOL_GO_ON)
		code = plan_sizes(plan);
	return code == TOOL_GO_ON ? plan_policies(plan) : code;
}

/* Every policy at one size. */
static int
run_size(const struct plan *plan, const struct trace *trace, struct point size,
    const uint32_t *next, struct point *out)
{
	struct library_options library = { .processes = (unsigned)processes,
		.extent_bytes = (uint64_t)extent_bytes,
		.sweep_s = (uint32_t)sweep_s,
		.into = into,
		.per_second = (uint32_t)per_second };

	point_set_capacity(&size, trace, &plan->weights);
	for (size_t i = 0; i < plan->references && !interrupted; i++) {
		*out = size;
		if (!run_reference(out++, plan->reference[i], trace,
			&plan->weights, next)) {
			tool_say(plan->reference[i]->name, "out of memory");
			return TOOL_FAILED;
		}
	}
	for (size_t i = 0; i < plan->libraries && !interrupted; i++) {
		*out = size;
		run_library(
		    out++, plan->library[i], trace, &plan->weights, &library);
	}
	return interrupted ? TOOL_FAILED : TOOL_OK;
}

static int
tell(const struct report *report)
{
	int failed = 0;

	if (as_json)
		failed = report_json(report);
	else
		report_table(report);
	if (failed) {
		tool_say(report->path, "out of memory");
		return TOOL_FAILED;
	}
	if (plot != NULL) {
		failed = report_plot(report, plot);
		if (failed)
			return tool_fail(plot, failed);
	}
	return TOOL_OK;
}

static int
run_plan(const struct plan *plan, const char *path, const struct trace *trace)
{
	size_t per_size = plan->references + plan->libraries;
	struct point *point = calloc(plan->sizes * per_size, sizeof(*point));
	uint32_t *next = run_next_uses(trace);
	struct report report = { path, trace, &plan->weights, point,
		plan->sizes * per_size, per_size, (unsigned)processes };
	int code = TOOL_OK;

	if (point == NULL || next == NULL) {
		tool_say(path, "out of memory");
		code = TOOL_FAILED;
	}
	for (size_t i = 0; i < plan->sizes && code == TOOL_OK; i++)
		code = run_size(
		    plan, trace, plan->size[i], next, &point[i * per_size]);
	if (code == TOOL_OK)
		code = tell(&report);
	free(point);
	free(next);
	return code;
}

static int
replay(struct plan *plan, const char *path)
{
	enum trace_format format =
	    format_name != NULL
		? (enum trace_format)trace_format_named(format_name)
		: TRACE_AUTO;
	struct trace trace;
	char why[512];
	int code;

	if (trace_read(&trace, path, format, why, sizeof(why)) != 0) {
		(void)fprintf(stderr, "shmcache-replay: %s\n", why);
		return TOOL_FAILED;
	}
	if (only_gets)
		trace_only_gets(&trace);
	if (sample < 1 && trace_sample(&trace, sample) != 0) {
		tool_say(path, "out of memory");
		code = TOOL_FAILED;
	} else if (trace.gets == 0) {
		tool_say(path, "there is no get in it, so nothing can miss");
		code = TOOL_FAILED;
	} else {
		adapt_plan(plan, &trace.recorded);
		trace_settle_sizes(&trace,
		    plan->weights.unit ? plan->weights.unit_bytes : 0,
		    choose_max_value(&trace));
		report_trace(path, &trace, &plan->weights);
		if (into != NULL && trace.flushes > 0)
			tool_say(path,
			    "%llu flushes are not played: they would empty %s",
			    (unsigned long long)trace.flushes, into);
		code = run_plan(plan, path, &trace);
	}
	trace_free(&trace);
	return code;
}

/* TOOL_GO_ON with *path_out, or an exit code. */
static int
parse(poptContext context, const char **path_out)
{
	int option;

	poptSetOtherOptionHelp(context, "[OPTION...] TRACE");
	while ((option = poptGetNextOpt(context)) > 0) {
		if (option == OPTION_HELP) {
			poptPrintHelp(context, stdout, 0);
			return TOOL_OK;
		}
		printf("shmcache-replay %s\n", shmcache_version());
		return TOOL_OK;
	}
	if (option < -1)
		return tool_usage("%s: %s",
		    poptBadOption(context, POPT_BADOPTION_NOALIAS),
		    poptStrerror(option));
	*path_out = poptGetArg(context);
	if (*path_out == NULL)
		return tool_usage("the TRACE is missing (- is standard input)");
	if (poptPeekArg(context) != NULL)
		return tool_usage("one TRACE only, please: '%s' is too much",
		    poptPeekArg(context));
	return TOOL_GO_ON;
}

int
main(int argc, char **argv)
{
	static struct plan plan;
	const struct sigaction action = { .sa_handler = interrupt };
	const char *path = NULL;
	poptContext context;
	int code;

	tool_start("shmcache-replay");
	/* It ends a wait, too: there is no SA_RESTART. */
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	/* popt wants `const char **`, and leaves the strings alone. */
	context = poptGetContext(NULL, argc, (void *)argv, options, 0);
	code = context != NULL ? parse(context, &path) : TOOL_FAILED;
	if (code == TOOL_GO_ON)
		code = make_plan(&plan);
	if (code == TOOL_GO_ON)
		code = replay(&plan, path);
	(void)poptFreeContext(context);
	return tool_finish(code);
}
