/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* report.c - settings in, tables out */
#include "bench/report.h"

#include <getopt.h>
#include <inttypes.h>
#include <shmcache.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

struct report {
	const char *name;
	FILE *json;
	FILE *tsv;
	const char *ratios[2];
	unsigned lines;
};

static void
usage(const char *program)
{
	fprintf(stderr,
	    "usage: %s [--quick | --large] [--alone] [--items N] [--rounds N]\n"
	    "       [--ms N] [--out FOLDER]\n",
	    program);
	exit(2);
}

static double
number(const char *text, double most, const char *program)
{
	char *end;
	double value = strtod(text, &end);

	if (*end != '\0' || !(value >= 1 && value <= most))
		usage(program);
	return value;
}

struct settings
settings_read(int argc, char **argv)
{
	static const struct option options[] = {
		{ "quick", no_argument, NULL, 'q' },
		{ "large", no_argument, NULL, 'l' },
		{ "alone", no_argument, NULL, 'a' },
		{ "items", required_argument, NULL, 'i' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "ms", required_argument, NULL, 'm' },
		{ "out", required_argument, NULL, 'o' },
		{ NULL, 0, NULL, 0 },
	};
	struct settings s = { .rounds = 0 };
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'q':
			s.quick = true;
			break;
		case 'l':
			s.large = true;
			break;
		case 'a':
			s.alone = true;
			break;
		case 'i':
			s.items = (uint64_t)number(optarg, 1e9, argv[0]);
			break;
		case 'r':
			s.rounds =
			    (unsigned)number(optarg, ROUNDS_MAX, argv[0]);
			break;
		case 'm':
			s.milliseconds = number(optarg, 1e5, argv[0]);
			break;
		case 'o':
			s.out = optarg;
			break;
		default:
			usage(argv[0]);
		}
	}
	if (optind != argc)
		usage(argv[0]);
	if (s.rounds == 0)
		s.rounds = s.quick ? 5 : 9;
	if (s.milliseconds <= 0)
		s.milliseconds = s.quick ? 30 : 100;
	return s;
}

/* The first line of the file that begins with `key`, behind the colon. */
static void
read_fact(const char *path, const char *key, char *to, size_t room)
{
	FILE *file = fopen(path, "re");
	char line[256];

	(void)snprintf(to, room, "unknown");
	if (file == NULL)
		return;
	while (fgets(line, sizeof(line), file) != NULL) {
		const char *colon = strchr(line, ':');

		if (strncmp(line, key, strlen(key)) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		(void)snprintf(to, room, "%.120s",
		    key[0] != '\0' && colon != NULL ? colon + 2 : line);
		break;
	}
	(void)fclose(file);
}

static FILE *
open_output(const char *folder, const char *name, const char *suffix)
{
	char path[512];
	FILE *file;

	if (folder == NULL)
		return NULL;
	(void)snprintf(path, sizeof(path), "%s/%s.%s", folder, name, suffix);
	file = fopen(path, "we");
	if (file == NULL) {
		perror(path);
		exit(1);
	}
	return file;
}

static void
print_load(const char *when)
{
	double load[3] = { 0, 0, 0 };

	(void)getloadavg(load, 3);
	printf("load %s: %.2f %.2f %.2f\n", when, load[0], load[1], load[2]);
}

#ifndef BENCH_FLAGS
#define BENCH_FLAGS "unknown"
#endif

struct report *
report_begin(
    const char *name, const char *question, const struct settings *settings)
{
	return report_begin_with(
	    name, question, settings, "x floor", "x cache");
}

struct report *
report_begin_with(const char *name, const char *question,
    const struct settings *settings, const char *first_ratio,
    const char *second_ratio)
{
	struct report *r = calloc(1, sizeof(*r));
	char model[128], huge[128];
	struct utsname u;

	(void)uname(&u);
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	read_fact("/proc/cpuinfo", "model name", model, sizeof(model));
	read_fact("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "", huge,
	    sizeof(huge));
	printf("%s\n", question);
	printf("%s, %ld processors, %s %s %s\n", model,
	    sysconf(_SC_NPROCESSORS_ONLN), u.sysname, u.release, u.machine);
	printf("huge pages of shared memory: %s\n", huge);
	printf("shmcache %s, compiler %s, %s\n", shmcache_version(),
	    __VERSION__, BENCH_FLAGS);
	printf("%u-byte keys; medians of %u rounds of %.0f ms, in which all "
	       "take turns\n",
	    KEY_BYTES, settings->rounds, settings->milliseconds);
	print_load("before");
	r->name = name;
	r->ratios[0] = first_ratio;
	r->ratios[1] = second_ratio;
	r->json = open_output(settings->out, name, "json");
	r->tsv = open_output(settings->out, name, "tsv");
	if (r->json != NULL)
		fprintf(r->json,
		    "{\"bench\": \"%s\", \"machine\": \"%s\", \"processors\": "
		    "%ld,\n \"kernel\": \"%s\", \"huge_pages\": \"%s\",\n "
		    "\"version\": \"%s\", \"compiler\": \"%s\", \"flags\": "
		    "\"%s\",\n \"rounds\": %u, \"milliseconds\": %.0f,\n "
		    "\"lines\": [",
		    name, model, sysconf(_SC_NPROCESSORS_ONLN), u.release, huge,
		    shmcache_version(), __VERSION__, BENCH_FLAGS,
		    settings->rounds, settings->milliseconds);
	if (r->tsv != NULL)
		fprintf(r->tsv, "#what\tengine\torder\titems\tvalue\tprocesses"
				"\tmedian\tleast\tmost\tto_floor\tto_cache\n");
	return r;
}

static void
print_heading(const struct report *r)
{
	printf("\n%-18s %-16s %9s %6s %-10s %2s %11s %21s %9s %9s\n", "what",
	    "who", "items", "value", "order", "n", "median", "least to most",
	    r->ratios[0], r->ratios[1]);
}

static void
write_files(const struct report *r, const struct line *l)
{
	double median = sample_median(&l->figure);
	double least = sample_least(&l->figure), most = sample_most(&l->figure);
	double floor = sample_median(&l->to_floor);
	double cache = sample_median(&l->to_cache);

	if (r->json != NULL)
		fprintf(r->json,
		    "%s\n  {\"what\": \"%s\", \"engine\": \"%s\", \"order\": "
		    "\"%s\", \"items\": %" PRIu64 ", \"value_bytes\": %zu, "
		    "\"processes\": %u, \"unit\": \"%s\", \"median\": %.4g, "
		    "\"least\": %.4g, \"most\": %.4g, \"%s\": %.4g, "
		    "\"%s\": %.4g}",
		    r->lines > 1 ? "," : "", l->what, l->engine, l->order,
		    l->items, l->value_bytes, l->processes, l->unit, median,
		    least, most, r->ratios[0], floor, r->ratios[1], cache);
	if (r->tsv != NULL)
		fprintf(r->tsv,
		    "%s\t%s\t%s\t%" PRIu64
		    "\t%zu\t%u\t%.6g\t%.6g\t%.6g\t%.4g\t%.4g\n",
		    l->what, l->engine, l->order, l->items, l->value_bytes,
		    l->processes, median, least, most, floor, cache);
}

static void
print_ratio(const struct sample *ratio)
{
	if (ratio->count == 0)
		printf(" %9s", "-");
	else
		printf(" %9.3f", sample_median(ratio));
}

void
report_line(struct report *r, const struct line *l)
{
	char spread[40];

	if (r->lines++ == 0)
		print_heading(r);
	(void)snprintf(spread, sizeof(spread), "%.4g to %.4g",
	    sample_least(&l->figure), sample_most(&l->figure));
	printf("%-18s %-16s %9" PRIu64 " %6zu %-10s %2u %8.4g %-2s %21s",
	    l->what, l->engine, l->items, l->value_bytes, l->order,
	    l->processes, sample_median(&l->figure), l->unit, spread);
	print_ratio(&l->to_floor);
	print_ratio(&l->to_cache);
	printf("\n");
	write_files(r, l);
}

void
report_end(struct report *r)
{
	printf("\n");
	print_load("after");
	if (r->json != NULL) {
		fprintf(r->json, "\n]}\n");
		(void)fclose(r->json);
	}
	if (r->tsv != NULL)
		(void)fclose(r->tsv);
	free(r);
}
