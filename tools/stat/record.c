/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* record.c - the requests for a sample of the keys, into a file */
#include "tools/stat/record.h"

#include "tools/common.h"

#include <errno.h>
#include <inttypes.h>
#include <shmcache_admin.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define KEYS_WANTED  20000.0
#define BATCH        512
#define PAUSE_NS     2000000
#define LOSS_PERCENT 1 /* from which on there is advice */

struct recording {
	struct shmcache *cache;
	const char *name;
	FILE *file;
	struct shmcache_recorder recorder;
	struct shmcache_stats before;
	double share;
	struct timespec began;
	uint64_t began_ms; /* the time of the first request */
	uint64_t requests;
	uint64_t flushes; /* of these: they have no key */
	uint64_t key_bytes;
	uint64_t unknown; /* of a later version of the library */
};

static volatile sig_atomic_t interrupted;

static void
interrupt(int signal_number)
{
	interrupted = signal_number;
}

static double
seconds_since(const struct timespec *since)
{
	struct timespec now = { 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - since->tv_sec) +
	       (double)(now.tv_nsec - since->tv_nsec) * 1e-9;
}

/* Every call that counts as a get, whichever way it found something or not. */
static uint64_t
count_gets(const struct shmcache_stats *stats)
{
	return stats->get_hits + stats->get_misses + stats->load_leaders +
	       stats->load_alone + stats->load_stale + stats->load_negatives;
}

static uint64_t
count_hits(const struct shmcache_stats *stats)
{
	return stats->get_hits + stats->load_stale + stats->load_negatives;
}

static void
write_head(const struct recording *r)
{
	fprintf(r->file,
	    "# recorded by shmcache-stat %s\n"
	    "# share %.9g\n"
	    "# capacity_bytes %" PRIu64 "\n"
	    "# fixed_bytes %" PRIu64 "\n"
	    "# policy %s\n",
	    shmcache_version(), r->share, r->before.capacity_bytes,
	    r->before.fixed_bytes, shmcache_policy_name(r->before.policy));
}

static void
write_request(struct recording *r, const struct shmcache_request *request)
{
	static const char *const ops[] = { "get", "miss", "set", "delete",
		"touch", "incr", "flush" };
	bool sized = request->op == SHMCACHE_REQUEST_GET ||
		     request->op == SHMCACHE_REQUEST_SET ||
		     request->op == SHMCACHE_REQUEST_INCR;
	char key[17] = "";
	uint64_t ms;

	if (request->op >= sizeof(ops) / sizeof(ops[0])) {
		r->unknown++;
		return;
	}
	if (request->op == SHMCACHE_REQUEST_FLUSH) {
		r->flushes++;
	} else {
		(void)snprintf(
		    key, sizeof(key), "%016" PRIx64, request->key_hash);
	}
	if (r->requests == 0) {
		r->began_ms = request->time_ms;
	}
	ms =
	    request->time_ms > r->began_ms ? request->time_ms - r->began_ms : 0;
	r->requests++;
	r->key_bytes += request->key_bytes;
	/* A size of 0 is an unknown one there. */
	fprintf(r->file, "%" PRIu64 ".%03u,%s,%" PRIu32 ",%" PRIu32 ",%s\n",
	    ms / 1000, (unsigned)(ms % 1000), key,
	    sized && request->value_bytes == 0 ? 1 : request->value_bytes,
	    request->ttl_s, ops[request->op]);
}

static void
write_tail(const struct recording *r)
{
	uint64_t keys = r->requests - r->flushes;
	struct shmcache_stats after;

	fprintf(r->file, "# seconds %.3f\n", seconds_since(&r->began));
	if (keys > 0) {
		fprintf(r->file, "# key_bytes %" PRIu64 "\n",
		    (r->key_bytes + keys / 2) / keys);
	}
	if (shmcache_stats(r->cache, &after, sizeof(after)) == 0 &&
	    after.segment_id == r->before.segment_id) {
		fprintf(r->file, "# gets %" PRIu64 "\n# hits %" PRIu64 "\n",
		    count_gets(&after) - count_gets(&r->before),
		    count_hits(&after) - count_hits(&r->before));
	}
	fprintf(r->file,
	    "# unknown %" PRIu64 "\n# lost %" PRIu64 "\n# torn %" PRIu64
	    "\n# gaps %" PRIu64 "\n",
	    r->unknown, r->recorder.lost, r->recorder.torn, r->recorder.gaps);
}

/* Takes what there is; 0 or an error of the library. */
static int
take(struct recording *r)
{
	struct shmcache_request batch[BATCH];
	int count;

	do {
		count =
		    shmcache_record_read(r->cache, &r->recorder, batch, BATCH);
		for (int i = 0; i < count; i++) {
			write_request(r, &batch[i]);
		}
	} while (count == BATCH && !ferror(r->file));
	return count < 0 ? count : 0;
}

static int
take_until(struct recording *r, double seconds)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	int error;

	/* Written out at once: a recorder that is killed leaves a good file. */
	while ((error = take(r)) == 0 && !interrupted && !fflush(r->file) &&
	       (seconds == 0 || seconds_since(&r->began) < seconds)) {
		(void)nanosleep(&pause, NULL);
	}
	return error;
}

static void
tell(const struct recording *r, const char *path)
{
	uint64_t missing = r->recorder.lost + r->recorder.torn;

	tool_say(path,
	    "%" PRIu64 " requests for %.3g %% of the keys in %.1f s, %" PRIu64
	    " lost, %" PRIu64 " torn",
	    r->requests, r->share * 100, seconds_since(&r->began),
	    r->recorder.lost, r->recorder.torn);
	if (missing * 100 > r->requests * LOSS_PERCENT) {
		tool_say(path, "too much is lost: give a smaller --sample");
	}
	if (r->unknown > 0) {
		tool_say(path,
		    "%" PRIu64 " requests were of kinds that this version does "
		    "not know, and are left out",
		    r->unknown);
	}
	if (r->recorder.gaps > 0) {
		tool_say(path,
		    "for some time nothing was recorded, %" PRIu64
		    " times, as this process was stopped or the machine busy",
		    r->recorder.gaps);
	}
	if (r->requests > 0) {
		tool_say(path, "now: shmcache-replay --curve %s", path);
	}
}

static int
fail_output(const char *path)
{
	int error = errno;

	tool_say(path, "%s", strerrordesc_np(error));
	return error == ENOSPC || error == EDQUOT ? TOOL_NO_SPACE : TOOL_FAILED;
}

/* The share that about as many keys as are wanted are. */
static double
choose_share(const struct shmcache_stats *stats)
{
	return (double)stats->items <= KEYS_WANTED
		   ? 1
		   : KEYS_WANTED / (double)stats->items;
}

static int
record(struct recording *r, const char *path, double seconds)
{
	int error = shmcache_stats(r->cache, &r->before, sizeof(r->before));
	int code = TOOL_OK;

	if (!error) {
		if (r->share == 0) {
			r->share = choose_share(&r->before);
		}
		error = shmcache_record_begin(r->cache, r->share, &r->recorder);
	}
	if (error) {
		return tool_fail(r->name, error);
	}
	(void)clock_gettime(CLOCK_MONOTONIC, &r->began);
	r->file = strcmp(path, "-") ? fopen(path, "we") : stdout;
	if (!r->file) {
		code = fail_output(path);
		(void)shmcache_record_end(r->cache, &r->recorder);
		return code;
	}
	write_head(r);
	error = take_until(r, seconds);
	if (error) {
		code = tool_fail(r->name, error);
	} else {
		(void)shmcache_record_end(r->cache, &r->recorder);
	}
	write_tail(r);
	if (fflush(r->file) || ferror(r->file)) {
		return fail_output(path);
	}
	tell(r, path);
	return code;
}

int
record_run(struct shmcache *cache, const char *name, const char *path,
    double share, double seconds)
{
	struct recording r = { .cache = cache, .name = name, .share = share };
	int code;

	(void)signal(SIGINT, interrupt);
	(void)signal(SIGTERM, interrupt);
	code = record(&r, path, seconds);
	if (r.file && r.file != stdout && fclose(r.file) && code == TOOL_OK) {
		code = fail_output(path);
	}
	return code;
}
