/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * demo.c - a database behind a cache, under load, with a worker killed
 *
 * The driver makes the database, learns what it holds, lets the workers serve
 * for some seconds without and then with the cache, and reports.
 *
 * It leaves nothing behind.  Everything it makes belongs to a folder of its
 * own, shmcache-demo-PID in TMPDIR, which it keeps locked (flock); the cache is
 * named after it, demo-PID.  On the signals that ask it to end it cleans up
 * first. When it is killed its children are, too, and the next run finds a folder
 * that nobody has locked, and cleans up for it.
 */
#include "demo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <popt.h>
#include <shmcache_admin.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FOLDER_PREFIX "shmcache-demo-"
#define CACHE_PREFIX  "demo-"
#define USAGE_ERROR   2

#define MIB UINT64_C(1048576)

/* The phase with the cache takes so long, or less so that all ends in time. */
#define CACHED_S_DEFAULT 18
#define CACHED_S_MIN     8
#define ALL_S            55

volatile sig_atomic_t interrupted;

static int64_t start_of_demo_ns;

int
complain(const char *format, ...)
{
	char text[2 * VALUE_BYTES_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	fprintf(stderr, "demo: %s\n", text);
	return -1;
}

int64_t
now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

int64_t
now_ms(const struct shared *shared)
{
	return (now_ns() - shared->epoch_ns) / 1000000;
}

static void step(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A line that begins with the time since the start. */
static void
step(const char *format, ...)
{
	va_list arguments;

	printf("[%4.1f s] ", (double)(now_ns() - start_of_demo_ns) / 1e9);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
}

/* --- what the demo makes outside its processes --- */

static int
remove_folder(const char *path, int folder)
{
	DIR *stream = fdopendir(dup(folder));
	struct dirent *entry;

	while (stream && (entry = readdir(stream))) {
		if (entry->d_name[0] != '.') {
			unlinkat(folder, entry->d_name, 0);
		}
	}
	if (stream) {
		closedir(stream);
	}
	return rmdir(path) ? complain("cannot remove %s: %s", path,
				 shmcache_strerror(-errno))
			   : 0;
}

static int
remove_cache(const char *name)
{
	int result = shmcache_remove(name);

	return result && result != SHMCACHE_ENOCACHE
		   ? complain("cannot remove the cache %s: %s", name,
			 shmcache_last_error())
		   : 0;
}

/* A descriptor of the folder if it is ours and nobody has locked it, or -1. */
static int
lock_folder(const char *path)
{
	struct stat status;
	int folder =
	    open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (folder >= 0 &&
	    (fstat(folder, &status) || status.st_uid != geteuid() ||
		flock(folder, LOCK_EX | LOCK_NB))) {
		close(folder);
		return -1;
	}
	return folder;
}

/* Clean up after a demo that was killed. */
static void
remove_leftover(const char *parent, const char *folder_name)
{
	char path[sizeof(((struct demo *)NULL)->folder)];
	char cache[sizeof(((struct demo *)NULL)->cache_name)];
	long pid = strtol(folder_name + strlen(FOLDER_PREFIX), NULL, 10);
	int folder;

	snprintf(path, sizeof(path), "%s/%s%ld", parent, FOLDER_PREFIX, pid);
	snprintf(cache, sizeof(cache), "%s%ld", CACHE_PREFIX, pid);
	folder = lock_folder(path);
	if (folder < 0) {
		return;
	}
	step("cleaning up after a demo that was killed (pid %ld)", pid);
	remove_cache(cache);
	remove_folder(path, folder);
	close(folder);
}

static void
remove_leftovers(const char *parent)
{
	DIR *stream = opendir(parent);
	struct dirent *entry;

	while (stream && (entry = readdir(stream))) {
		if (!strncmp(
			entry->d_name, FOLDER_PREFIX, strlen(FOLDER_PREFIX))) {
			remove_leftover(parent, entry->d_name);
		}
	}
	if (stream) {
		closedir(stream);
	}
}

static int
make_folder(struct demo *demo)
{
	const char *parent = getenv("TMPDIR");
	int folder;

	parent = parent && parent[0] == '/' ? parent : "/tmp";
	if (strlen(parent) > sizeof(demo->folder) / 2) {
		return complain("TMPDIR is too long");
	}
	remove_leftovers(parent);
	snprintf(demo->folder, sizeof(demo->folder), "%s/%s%d", parent,
	    FOLDER_PREFIX, (int)getpid());
	snprintf(demo->database, sizeof(demo->database), "%s/cities.db",
	    demo->folder);
	snprintf(demo->cache_name, sizeof(demo->cache_name), "%s%d",
	    CACHE_PREFIX, (int)getpid());
	if (mkdir(demo->folder, 0700)) {
		return complain("cannot make %s: %s; set TMPDIR to a directory "
				"where you may",
		    demo->folder, shmcache_strerror(-errno));
	}
	folder = lock_folder(demo->folder);
	if (folder < 0) {
		rmdir(demo->folder);
		return complain("cannot lock %s", demo->folder);
	}
	return folder;
}

/* --- the parts of the demo, in their order --- */

static int
load_trace(struct demo *demo)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/orm-busy.csv.xz", demo->data_path);
	if (trace_load(&demo->trace, path)) {
		return -1;
	}
	step("trace: %zu requests for %u different rows, from %s",
	    demo->trace.count, demo->trace.key_max, path);
	return 0;
}

static int
make_database(struct demo *demo)
{
	char path[512];
	struct stat status = { .st_size = 0 };

	snprintf(path, sizeof(path), "%s/cities.tsv.xz", demo->data_path);
	if (origin_build(demo->database, path, &demo->row_count)) {
		return -1;
	}
	if (demo->row_count < demo->trace.key_max) {
		return complain("%s has %u rows, the trace asks for %u", path,
		    demo->row_count, demo->trace.key_max);
	}
	stat(demo->database, &status);
	step("origin: %u rows from %s in SQLite, %.0f MiB on disk",
	    demo->row_count, path, (double)status.st_size / (double)MIB);
	printf("  a query is " ORIGIN_DESCRIPTION "\n");
	return 0;
}

static int
share_memory(struct demo *demo)
{
	demo->shared_bytes =
	    sizeof(struct shared) + (demo->row_count + 1) * sizeof(struct row);
	demo->shared = mmap(NULL, demo->shared_bytes, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (demo->shared == MAP_FAILED) {
		demo->shared = NULL;
		return complain("no memory");
	}
	demo->shared->epoch_ns = start_of_demo_ns;
	return 0;
}

static int
open_cache(struct demo *demo)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	int result;

	options.capacity_bytes = (uint64_t)demo->capacity_mib * MIB;
	options.expected_items = options.capacity_bytes / 512;
	options.open_mode = SHMCACHE_CREATE_EXCLUSIVE;
	result = shmcache_open(demo->cache_name, &options, &demo->cache);
	if (!result) {
		return 0;
	}
	complain("cannot create a cache of %d MiB: %s", demo->capacity_mib,
	    shmcache_last_error());
	if (result == -ENOSPC) {
		complain("enlarge /dev/shm (docker run --shm-size=64m) or use "
			 "a smaller --capacity-mib");
	}
	return -1;
}

/* Fail now rather than in half a minute. */
static int
try_cache(struct demo *demo)
{
	if (open_cache(demo) || shmcache_close(demo->cache)) {
		return -1;
	}
	demo->cache = NULL;
	return remove_cache(demo->cache_name);
}

static void
report_violation(void *unused, const char *text)
{
	(void)unused;
	complain("shmcache_verify: %s", text);
}

static int
verify_cache(struct demo *demo)
{
	int violations = shmcache_verify(
	    demo->cache, SHMCACHE_VERIFY_STRICT, report_violation, NULL);

	if (violations < 0) {
		return complain("shmcache_verify: %s", shmcache_last_error());
	}
	step("the segment, after the kill: %d violations of its invariants",
	    violations);
	return violations ? -1 : 0;
}

static void
choose_time(struct demo *demo)
{
	int left_s = ALL_S - demo->plain_s -
		     (int)((now_ns() - start_of_demo_ns) / 1000000000);

	if (demo->cached_s) {
		return;
	}
	demo->cached_s = CACHED_S_DEFAULT;
	if (left_s < demo->cached_s) {
		demo->cached_s = left_s < CACHED_S_MIN ? CACHED_S_MIN : left_s;
		step(
		    "this machine is slow or busy: %d s with the cache must do",
		    demo->cached_s);
	}
}

static int
run(struct demo *demo, struct phase_result *plain, struct phase_result *cached)
{
	struct shmcache_stats stats;

	if (try_cache(demo) || load_trace(demo) || make_database(demo) ||
	    share_memory(demo) || phase_learn(demo)) {
		return -1;
	}
	choose_time(demo);
	step("digests of the %u rows taken; %d workers, no cache:",
	    demo->trace.key_max, WORKERS);
	if (phase_serve(demo, demo->plain_s, plain) || open_cache(demo)) {
		return -1;
	}
	step("%d workers and the janitor, cache \"%s\" of %d MiB, times to "
	     "live %d-%d s:",
	    WORKERS, demo->cache_name, demo->capacity_mib, TTL_MS_MIN / 1000,
	    TTL_MS_MAX / 1000);
	if (phase_serve(demo, demo->cached_s, cached) || verify_cache(demo)) {
		return -1;
	}
	if (shmcache_stats(demo->cache, &stats, sizeof(stats))) {
		return complain("shmcache_stats: %s", shmcache_last_error());
	}
	report_summary(demo, plain, cached, &stats);
	return 0;
}

/* Returns -1 if something is left behind. */
static int
clean_up(struct demo *demo, int folder)
{
	int result = shmcache_close(demo->cache);

	if (result) {
		complain("shmcache_close: %s", shmcache_last_error());
	}
	result |= remove_cache(demo->cache_name);
	result |= remove_folder(demo->folder, folder);
	close(folder);
	free(demo->trace.key);
	if (demo->shared) {
		munmap(demo->shared, demo->shared_bytes);
	}
	return result ? -1 : 0;
}

/* --- the command line, signals --- */

static void
on_signal(int number)
{
	interrupted = number;
}

static void
catch_signals(void)
{
	static const int caught[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction action = { .sa_handler = on_signal };

	for (size_t i = 0; i < sizeof(caught) / sizeof(int); i++) {
		sigaction(caught[i], &action, NULL);
	}
	/* A reader of the output that goes away: clean up, then fail. */
	signal(SIGPIPE, SIG_IGN);
}

/* End as the signal would have ended us, so that callers see it. */
static void
die_of_signal(void)
{
	int number = interrupted;

	complain("ended by signal %d (%s)", number, strsignal(number));
	prctl(PR_SET_DUMPABLE, 0); /* no core of SIGQUIT */
	signal(number, SIG_DFL);
	raise(number);
}

static int
check_options(const struct demo *demo, const char *left_over)
{
	if (left_over) {
		return complain("unknown argument \"%s\"", left_over);
	}
	if (!demo->data_path || !demo->janitor_path) {
		return complain("--data and --janitor must be given");
	}
	if (access(demo->janitor_path, X_OK)) {
		return complain("--janitor: %s: %s", demo->janitor_path,
		    shmcache_strerror(-errno));
	}
	if (demo->plain_s < 1 || demo->plain_s > 600 ||
	    (demo->cached_s && demo->cached_s < 3) || demo->cached_s > 600) {
		return complain("--plain-seconds must be 1 to 600, "
				"--cached-seconds 3 to 600");
	}
	if (demo->capacity_mib < 1) {
		return complain("--capacity-mib must be 1 or more");
	}
	return 0;
}

static int
parse_options(struct demo *demo, int argc, const char **argv)
{
	struct poptOption table[] = {
		{ "data", 0, POPT_ARG_STRING, &demo->data_path, 0,
		    "where the input files are", "FOLDER" },
		{ "janitor", 0, POPT_ARG_STRING, &demo->janitor_path, 0,
		    "the program shmcache-janitor", "FILE" },
		{ "plain-seconds", 0, POPT_ARG_INT | POPT_ARGFLAG_SHOW_DEFAULT,
		    &demo->plain_s, 0, "time without the cache", "N" },
		{ "cached-seconds", 0, POPT_ARG_INT, &demo->cached_s, 0,
		    "time with the cache (18, less on a slow machine)", "N" },
		{ "capacity-mib", 0, POPT_ARG_INT | POPT_ARGFLAG_SHOW_DEFAULT,
		    &demo->capacity_mib, 0, "size of the cache", "N" },
		{ "seed", 0, POPT_ARG_LONG, &demo->seed, 0,
		    "repeat the choice of whom to kill, and when", "N" },
		POPT_AUTOHELP POPT_TABLEEND
	};
	poptContext context = poptGetContext("demo", argc, argv, table, 0);
	int code = poptGetNextOpt(context);
	int result = code < -1 ? complain("%s: %s", poptBadOption(context, 0),
				     poptStrerror(code))
			       : check_options(demo, poptGetArg(context));

	poptFreeContext(context);
	return result;
}

int
main(int argc, char **argv)
{
	static struct phase_result plain;
	static struct phase_result cached;
	static struct demo demo = { .plain_s = 5, .capacity_mib = 24 };
	int folder;
	int result;

	start_of_demo_ns = now_ns();
	if (getrandom(&demo.seed, 3, 0) != 3 ||
	    parse_options(&demo, argc, (void *)argv)) {
		return USAGE_ERROR;
	}
	catch_signals();
	step("seed %ld, %ld CPUs", demo.seed, sysconf(_SC_NPROCESSORS_ONLN));
	folder = make_folder(&demo);
	if (folder < 0) {
		return EXIT_FAILURE;
	}
	result = run(&demo, &plain, &cached);
	result |= clean_up(&demo, folder);
	if (interrupted) {
		die_of_signal();
	}
	if (result) {
		return EXIT_FAILURE;
	}
	putchar('\n');
	report_result(&plain, &cached);
	return plain.counter[WRONG] || cached.counter[WRONG] ||
		       cached.killed != 1 || cached.restarted != 1 ||
		       fflush(stdout)
		   ? EXIT_FAILURE
		   : EXIT_SUCCESS;
}
