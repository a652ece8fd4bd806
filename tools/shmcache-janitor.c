/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shmcache-janitor.c - look after a cache, from a process of its own
 *
 * All the work is shmcache_sweep(); this is the loop around it.  It sweeps,
 * then sleeps until the next entry can expire, `--interval` at the longest.
 * After a sweep that had to empty extents to refill the reserve it sleeps the
 * shortest time, as writers are using the reserve up.
 *
 * The loop is one thread, and sleeps in sigtimedwait() with SIGTERM and SIGINT
 * blocked: a signal ends it between two sweeps, never within one, and none can
 * be missed.  Being killed, or a second janitor on the same cache, does no
 * harm either: a sweep holds nothing that others wait for.
 */
#include "tools/common.h"

#include <errno.h>
#include <inttypes.h>
#include <shmcache_admin.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Sweeping an idle cache takes well under a millisecond, so this is cheap. */
#define SLEEP_MS_MIN     50
#define INTERVAL_S_MAX   86400.0
#define SWEEP_LINE_BYTES 256

static int once;
static int verbose;
static double interval_s = 1.0;

static const struct poptOption option_table[] = {
	{ "once", '1', POPT_ARG_NONE, &once, 0,
	    "sweep once, print what was done, and exit", NULL },
	{ "interval", 'i', POPT_ARG_DOUBLE | POPT_ARGFLAG_SHOW_DEFAULT,
	    &interval_s, 0, "longest time between two sweeps", "SECONDS" },
	{ "verbose", 'v', POPT_ARG_NONE, &verbose, 0,
	    "report each sweep that did something", NULL },
	TOOL_COMMON_OPTIONS, POPT_TABLEEND
};

static void
format_sweep(
    char *line, size_t line_bytes, const struct shmcache_sweep_result *sweep)
{
	(void)snprintf(line, line_bytes,
	    "extents_visited=%" PRIu64 " expired_entries=%" PRIu64
	    " recycled_extents=%" PRIu64 " evicted_extents=%" PRIu64
	    " freed_peers=%" PRIu64 " next_expiry_ms=%" PRId64,
	    sweep->extents_visited, sweep->expired_entries,
	    sweep->recycled_extents, sweep->evicted_extents, sweep->freed_peers,
	    sweep->next_expiry_ms);
}

static int
did_something(const struct shmcache_sweep_result *sweep)
{
	return sweep->expired_entries || sweep->recycled_extents ||
	       sweep->evicted_extents || sweep->freed_peers;
}

static int
sweep_once(struct shmcache *cache, const char *name)
{
	struct shmcache_sweep_result sweep;
	char line[SWEEP_LINE_BYTES];
	int error;

	error = shmcache_sweep(cache, &sweep);
	if (error) {
		return tool_fail(name, error);
	}
	format_sweep(line, sizeof(line), &sweep);
	puts(line);
	return TOOL_OK;
}

/* Errors that pass by themselves when others end or let go of something. */
static int
is_passing(int error)
{
	return error == SHMCACHE_EPEERS || error == SHMCACHE_EBUSY ||
	       error == -ENOMEM || error == -EMFILE || error == -ENFILE;
}

static int64_t
sleep_ms_after(const struct shmcache_sweep_result *sweep)
{
	int64_t sleep_ms = (int64_t)(interval_s * 1000.0);

	if (sweep->next_expiry_ms >= 0 && sweep->next_expiry_ms < sleep_ms) {
		sleep_ms = sweep->next_expiry_ms;
	}
	if (sleep_ms < SLEEP_MS_MIN || sweep->evicted_extents) {
		sleep_ms = SLEEP_MS_MIN;
	}
	return sleep_ms;
}

/* Returns the signal that ended the sleep, or 0 when the time is over. */
static int
sleep_unless_signalled(const sigset_t *signals, int64_t sleep_ms)
{
	struct timespec timeout = {
		.tv_sec = (time_t)(sleep_ms / 1000),
		.tv_nsec = (long)(sleep_ms % 1000) * 1000000,
	};
	int signal_number = sigtimedwait(signals, NULL, &timeout);

	/* An early return (EINTR: stopped and continued) sweeps early. */
	return signal_number > 0 ? signal_number : 0;
}

/*
 * One turn of the loop: sweep, and say what an operator should know.  An error
 * that lasts is reported when it begins and when it ends, not each time.
 * Returns TOOL_GO_ON, or the exit code.
 */
static int
sweep_and_report(struct shmcache *cache, const char *name,
    struct shmcache_sweep_result *sweep, int *last_error)
{
	char line[SWEEP_LINE_BYTES];
	int error;

	memset(sweep, 0, sizeof(*sweep));
	sweep->next_expiry_ms = -1;
	error = shmcache_sweep(cache, sweep);

	if (error == SHMCACHE_EREMOVED) {
		tool_say(name, "the cache was removed: stopping; start again "
			       "when it has been created anew");
		return TOOL_OK;
	}
	if (error) {
		if (error != *last_error || !is_passing(error)) {
			tool_fail(name, error);
		}
		*last_error = error;
		return is_passing(error) ? TOOL_GO_ON : tool_exit_code(error);
	}
	if (*last_error) {
		*last_error = 0;
		tool_say(name, "sweeping again");
	}
	if (verbose && did_something(sweep)) {
		format_sweep(line, sizeof(line), sweep);
		tool_say(name, "%s", line);
	}
	return TOOL_GO_ON;
}

static int
sweep_until_stopped(
    struct shmcache *cache, const char *name, const sigset_t *signals)
{
	struct shmcache_sweep_result sweep;
	uint64_t sweeps = 0;
	int last_error = 0;
	int signal_number;
	int code;

	tool_say(name, "started, sweeping every %g s or sooner", interval_s);
	do {
		code = sweep_and_report(cache, name, &sweep, &last_error);
		if (code != TOOL_GO_ON) {
			return code;
		}
		sweeps++;
		signal_number =
		    sleep_unless_signalled(signals, sleep_ms_after(&sweep));
	} while (!signal_number);

	tool_say(name, "stopped by %s after %" PRIu64 " sweeps",
	    signal_number == SIGTERM ? "SIGTERM" : "SIGINT", sweeps);
	return TOOL_OK;
}

static int
check_interval(void)
{
	/* Written so that "nan", too, is out of range. */
	if (interval_s >= SLEEP_MS_MIN / 1000.0 &&
	    interval_s <= INTERVAL_S_MAX) {
		return TOOL_GO_ON;
	}
	return tool_usage("--interval must be from %g to %g seconds, not %g",
	    SLEEP_MS_MIN / 1000.0, INTERVAL_S_MAX, interval_s);
}

int
main(int argc, char **argv)
{
	struct shmcache *cache;
	const char *name;
	sigset_t signals;
	int code;

	tool_start("shmcache-janitor");
	code = tool_parse(argc, argv, option_table, &name);
	if (code == TOOL_GO_ON) {
		code = check_interval();
	}
	if (code != TOOL_GO_ON) {
		return tool_finish(code);
	}

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	if (!once) {
		(void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
	}

	code = tool_attach(name, &cache);
	if (code == TOOL_OK) {
		code = once ? sweep_once(cache, name)
			    : sweep_until_stopped(cache, name, &signals);
	}
	shmcache_close(cache);
	return tool_finish(code);
}
