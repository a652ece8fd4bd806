/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * demo.h - what the parts of the demo share
 *
 *	demo.c    the driver: command line, clean-up, the order of events
 *	phase.c   runs the workers for a while; kills and replaces one of them
 *	worker.c  serves requests cache-aside, checks every value; the editor
 *	origin.c  the database that is cached
 *	input.c   reads the files in data/
 *	report.c  live rows, latencies, the summary
 *
 * The processes are the driver, four workers, the editor (who changes rows) and
 * shmcache-janitor.  All but the janitor share one anonymous mapping, struct
 * shared, made before any of them starts.  A field of it has one writer: the
 * worker of its slice, or the editor for `changed...`, or the driver for
 * `stop`; so a worker that is killed loses one request of its counts at most.
 */
#ifndef DEMO_H
#define DEMO_H

#include <shmcache.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define WORKERS 4

/* The longest value has 1,173 bytes; the largest key "city:4294967295". */
#define VALUE_BYTES_MAX 4096
#define KEY_BYTES_MAX   16

/* The time to live of a row, drawn from this range by its number. */
#define TTL_MS_MIN 2000
#define TTL_MS_MAX 20000

enum counter {
	HITS,
	MISSES,
	WRONG,
	OUTDATED, /* right, but changed since: read before the change */
	COUNTERS
};

enum timer {
	TIMER_GET,
	TIMER_SET,
	TIMER_ORIGIN,
	TIMER_REQUEST, /* get, and after a miss origin and set */
	TIMER_CHECK,   /* of the value served, in no other timer */
	TIMERS
};

/* 32 steps for each power of two, so 3 % fine; up to 2^40 ns. */
#define LATENCY_STEP_BITS 5
#define LATENCY_BITS_MAX  40
#define LATENCY_BUCKETS                                                        \
	((LATENCY_BITS_MAX - LATENCY_STEP_BITS + 1) << LATENCY_STEP_BITS)

/* One worker's place in the stream, and what it counted. */
struct slice {
	_Atomic uint64_t position; /* requests answered */
	_Atomic uint64_t counter[COUNTERS];
	_Atomic uint64_t latency[TIMERS][LATENCY_BUCKETS];
};

/*
 * What the database holds in a row: the digest of the value that the origin
 * makes of it.  A row is changed at most once.  The editor writes
 * `changed_digest` before it commits the change, `changed_ms` after that, and
 * `deleted_ms` when the row is no longer in the cache.  0: not yet.
 */
struct row {
	_Atomic uint64_t digest;
	_Atomic uint64_t changed_digest;
	_Atomic int64_t changed_ms;
	_Atomic int64_t deleted_ms;
};

struct shared {
	int64_t epoch_ns; /* times in ms are counted from here */
	_Atomic uint32_t stop;
	_Atomic uint64_t changes;
	struct slice slice[WORKERS];
	struct row row[]; /* by its number in the database */
};

/* The stream of requests: keys from 1 to key_max. */
struct trace {
	uint32_t *key;
	size_t count;
	uint32_t key_max;
};

struct demo {
	/* The command line. */
	const char *data_path;
	const char *janitor_path;
	int plain_s;
	int cached_s;
	int capacity_mib;
	long seed;

	char folder[256];
	char database[300];
	char cache_name[32];
	struct trace trace;
	uint32_t row_count;
	struct shared *shared;
	size_t shared_bytes;
	struct shmcache *cache; /* NULL: the phase without it */
};

/* --- demo.c --- */

/* The signal that asked the demo to end, or 0. */
extern volatile sig_atomic_t interrupted;

/* Print "demo: text" on standard error; returns -1. */
int complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

int64_t now_ns(void);
int64_t now_ms(const struct shared *shared);

/* --- phase.c --- */

struct phase_result {
	double seconds;
	uint64_t counter[COUNTERS];
	uint64_t latency[TIMERS][LATENCY_BUCKETS];
	uint32_t killed;
	uint32_t restarted;
};

/* Ask the origin for every row once, for the digests.  0 or -1. */
int phase_learn(struct demo *demo);

/*
 * Serve the stream for `seconds`.  With the cache, if demo->cache is set: then
 * the editor and the janitor work, too, and a worker is killed and replaced.
 * 0 or -1; no child is left.
 */
int phase_serve(struct demo *demo, int seconds, struct phase_result *result);

/* --- worker.c --- */

/* The body of a child each; the result is its exit code. */
int learn_main(struct demo *demo, uint32_t index);
int worker_main(struct demo *demo, uint32_t index);
int editor_main(struct demo *demo);

/* --- origin.c --- */

struct origin {
	struct sqlite3 *database;
	struct sqlite3_stmt *read;
};

#define ORIGIN_DESCRIPTION                                                     \
	"one prepared SELECT by primary key: a city joined with the names\n"   \
	"             of its region and district, the number of cities in "    \
	"that region\n"                                                        \
	"             and the 8 nearest cities (an R*Tree query), made into "  \
	"JSON by SQLite"

/* Make the database from `cities_path`.  0 or -1. */
int origin_build(
    const char *path, const char *cities_path, uint32_t *row_count_out);

/* A connection must not be carried over fork(): each process opens its own. */
int origin_open(struct origin *origin, const char *path, int writable);
void origin_close(struct origin *origin);

/* The value of a row, at most VALUE_BYTES_MAX.  Its length or -1. */
int origin_read(struct origin *origin, uint32_t row, char *value);

int origin_execute(struct origin *origin, const char *sql);

/* --- input.c --- */

/* Call `line` for each line of an .xz file, until it returns not 0. */
typedef int line_function(void *context, char *line);
int read_xz_lines(const char *path, line_function *line, void *context);

/* Read the keys of a trace of the form timestamp,key,size,ttl,op.  0 or -1. */
int trace_load(struct trace *trace, const char *path);

/* --- report.c --- */

void latency_add(struct slice *slice, enum timer timer, int64_t ns);

void report_header(const struct demo *demo);
int report_row(struct demo *demo, int second); /* 0 or -1 */
void report_summary(const struct demo *demo, const struct phase_result *plain,
    const struct phase_result *cached, const struct shmcache_stats *stats);

/* The last line of the output. */
void report_result(
    const struct phase_result *plain, const struct phase_result *cached);

#endif /* DEMO_H */
