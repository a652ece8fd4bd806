/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shmcache-janitor.c - look after caches, from a process of its own
 *
 * All the work is shmcache_sweep(); this is the loop around it.  Each cache is
 * swept when its next entry can expire, every `--interval` at the latest, and
 * soon after a sweep that had to empty extents to refill the reserve, as then
 * writers are using it up.  One sweep is done at a time, that of the cache that
 * has waited longest, and after it there is a rest: the time that the sweep
 * took of a processor is `--cpu` percent of both at the most.
 *
 *	      opened               removed
 *	wait --------> swept when due -----> wait
 *	                    | an error that lasts
 *	                    v
 *	                 given up; when all are, the janitor ends
 *
 * The loop is one thread, and sleeps in sigtimedwait() with SIGTERM and SIGINT
 * blocked: a signal ends it between two sweeps, never within one, and none can
 * be missed.  Being killed, or a second janitor on the same cache, does no
 * harm either: a sweep holds nothing that others wait for.
 */
#include "tools/common.h"
#include "tools/janitor/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <shmcache_admin.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Sweeping an idle cache takes well under a millisecond, so this is cheap. */
#define SLEEP_MS_MIN     50
#define RETRY_MS         1000
#define INTERVAL_S_MAX   86400.0
#define CPU_PERCENT_MIN  0.1
#define SWEEP_LINE_BYTES 320
#define NS_PER_MS        1000000

static int once;
static int wait_for_caches;
static int verbose;
static double interval_s = 1.0;
static double cpu_percent = 20.0;

static const struct poptOption option_table[] = {
	{ "once", '1', POPT_ARG_NONE, &once, 0,
	    "sweep once, print what was done, and exit", NULL },
	{ "interval", 'i', POPT_ARG_DOUBLE | POPT_ARGFLAG_SHOW_DEFAULT,
	    &interval_s, 0, "longest time between two sweeps of a cache",
	    "SECONDS" },
	{ "cpu", 'c', POPT_ARG_DOUBLE | POPT_ARGFLAG_SHOW_DEFAULT, &cpu_percent,
	    0, "most that is taken of one processor, on average", "PERCENT" },
	{ "wait", 'w', POPT_ARG_NONE, &wait_for_caches, 0,
	    "wait for caches that are not there at the start", NULL },
	{ "verbose", 'v', POPT_ARG_NONE, &verbose, 0,
	    "report each sweep that did something", NULL },
	TOOL_COMMON_OPTIONS, POPT_TABLEEND
};

/* A cache that is looked after. */
struct charge {
	const char *name;
	struct shmcache *cache; /* NULL: waited for, or given up */
	int given_up;
	int told_error; /* that was said last, and lasts; 0: none */
	int64_t due_ns; /* when to sweep, or to try to open, next */
	uint64_t sweeps;
	struct shmcache_sweep_result total;
};

struct janitor {
	struct charge *charges;
	size_t count;
	int64_t rest_until_ns; /* no sweep before, for the sake of --cpu */
	int64_t busy_ns;       /* taken of a processor by sweeps */
	int64_t watchdog_ms;
	sigset_t signals;
	int last_code; /* why the last one was given up */
};

static int64_t
now_ns(clockid_t clock)
{
	struct timespec now;

	(void)clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000 * NS_PER_MS + now.tv_nsec;
}

/* --- one sweep --------------------------------------------------------- */

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

static void
add_up(struct charge *charge, const struct shmcache_sweep_result *sweep)
{
	charge->sweeps++;
	charge->total.extents_visited += sweep->extents_visited;
	charge->total.expired_entries += sweep->expired_entries;
	charge->total.recycled_extents += sweep->recycled_extents;
	charge->total.evicted_extents += sweep->evicted_extents;
	charge->total.freed_peers += sweep->freed_peers;
	charge->total.next_expiry_ms = sweep->next_expiry_ms;
}

static void
report_sweep(
    const struct charge *charge, const struct shmcache_sweep_result *sweep)
{
	char line[SWEEP_LINE_BYTES];

	if (verbose && did_something(sweep)) {
		format_sweep(line, sizeof(line), sweep);
		tool_say(charge->name, "%s", line);
	} else if (sweep->freed_peers) {
		tool_say(charge->name,
		    "gave back the slots of %" PRIu64
		    " threads of processes that died",
		    sweep->freed_peers);
	}
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

/* --- what becomes of a cache -------------------------------------------- */

static int
is_absent(int error)
{
	return error == SHMCACHE_EREMOVED || error == SHMCACHE_ENOCACHE;
}

/* Errors that pass by themselves when others end or let go of something. */
static int
is_passing(int error)
{
	return error == SHMCACHE_EPEERS || error == SHMCACHE_EPROCESSES ||
	       error == SHMCACHE_EBUSY || error == -ENOMEM ||
	       error == -EMFILE || error == -ENFILE;
}

static void
let_go(struct charge *charge)
{
	(void)shmcache_close(charge->cache);
	charge->cache = NULL;
}

/*
 * After a failed call: wait, try again, or give up.  An error that lasts is
 * told when it begins, not each time.
 */
static void
meet_error(struct janitor *janitor, struct charge *charge, int error)
{
	int is_news = error != charge->told_error;

	charge->told_error = error;
	if (is_absent(error)) {
		if (is_news && charge->cache) {
			tool_say(charge->name, "the cache was removed: waiting "
					       "until it is created anew");
			charge->told_error = SHMCACHE_ENOCACHE;
		} else if (is_news) {
			tool_say(charge->name, "there is no such cache yet: "
					       "waiting until it is created");
		}
		let_go(charge);
		return;
	}
	if (is_news) {
		janitor->last_code = tool_fail(charge->name, error);
	}
	if (!is_passing(error)) {
		tool_say(charge->name, "given up");
		charge->given_up = 1;
		let_go(charge);
	}
}

static void
sweep(struct janitor *janitor, struct charge *charge)
{
	struct shmcache_sweep_result result = { .next_expiry_ms = -1 };
	int64_t begun_ns = now_ns(CLOCK_THREAD_CPUTIME_ID);
	int error = shmcache_sweep(charge->cache, &result);
	int64_t taken_ns = now_ns(CLOCK_THREAD_CPUTIME_ID) - begun_ns;
	int64_t end_ns = now_ns(CLOCK_MONOTONIC);

	janitor->busy_ns += taken_ns;
	janitor->rest_until_ns =
	    end_ns + (int64_t)((double)taken_ns * (100.0 / cpu_percent - 1.0));
	if (error) {
		charge->due_ns = end_ns + (int64_t)RETRY_MS * NS_PER_MS;
		meet_error(janitor, charge, error);
		return;
	}
	charge->due_ns = end_ns + sleep_ms_after(&result) * NS_PER_MS;
	if (charge->told_error) {
		charge->told_error = 0;
		tool_say(charge->name, "sweeping again");
	}
	add_up(charge, &result);
	report_sweep(charge, &result);
}

static void
find_again(struct janitor *janitor, struct charge *charge)
{
	int error = tool_open(charge->name, &charge->cache);

	charge->due_ns = now_ns(CLOCK_MONOTONIC);
	if (error) {
		charge->due_ns += (int64_t)RETRY_MS * NS_PER_MS;
		meet_error(janitor, charge, error);
	} else {
		charge->told_error = 0;
		tool_say(charge->name, "there it is: sweeping");
	}
}

/* --- the loop ----------------------------------------------------------- */

/* The one that is due first; NULL if all have been given up. */
static struct charge *
next_charge(struct janitor *janitor)
{
	struct charge *next = NULL;
	size_t i;

	for (i = 0; i < janitor->count; i++) {
		struct charge *charge = &janitor->charges[i];

		if (!charge->given_up &&
		    (!next || charge->due_ns < next->due_ns)) {
			next = charge;
		}
	}
	return next;
}

static void
tell_manager(const struct janitor *janitor)
{
	uint64_t expired = 0;
	uint64_t freed = 0;
	size_t attached = 0;
	size_t i;

	for (i = 0; i < janitor->count; i++) {
		attached += janitor->charges[i].cache != NULL;
		expired += janitor->charges[i].total.expired_entries;
		freed += janitor->charges[i].total.freed_peers;
	}
	notify_manager("WATCHDOG=1\nSTATUS=%zu of %zu caches attached, %" PRIu64
		       " entries expired, %" PRIu64 " dead threads tidied up",
	    attached, janitor->count, expired, freed);
}

/* Returns the signal that ended the sleep, or 0 when the time is over. */
static int
sleep_until(const struct janitor *janitor, int64_t until_ns)
{
	int64_t sleep_ns = until_ns - now_ns(CLOCK_MONOTONIC);
	struct timespec timeout = { 0, 0 };
	int signal_number;

	if (sleep_ns > 0) {
		timeout.tv_sec = (time_t)(sleep_ns / (1000 * NS_PER_MS));
		timeout.tv_nsec = (long)(sleep_ns % (1000 * NS_PER_MS));
	}
	signal_number = sigtimedwait(&janitor->signals, NULL, &timeout);

	/* An early return (EINTR: stopped and continued) looks around early. */
	return signal_number > 0 ? signal_number : 0;
}

/*
 * One turn: sleep until the first cache is due, and see to it.  Returns the
 * signal that ends the loop, or 0.
 */
static int
take_turn(struct janitor *janitor, struct charge *charge)
{
	int64_t until_ns = charge->due_ns;
	int64_t watch_ns;
	int signal_number;

	if (until_ns < janitor->rest_until_ns) {
		until_ns = janitor->rest_until_ns;
	}
	if (janitor->watchdog_ms > 0) {
		watch_ns = now_ns(CLOCK_MONOTONIC) +
			   janitor->watchdog_ms * NS_PER_MS / 2;
		until_ns = until_ns < watch_ns ? until_ns : watch_ns;
	}
	signal_number = sleep_until(janitor, until_ns);
	if (signal_number) {
		return signal_number;
	}
	tell_manager(janitor);
	if (now_ns(CLOCK_MONOTONIC) < charge->due_ns ||
	    now_ns(CLOCK_MONOTONIC) < janitor->rest_until_ns) {
		return 0;
	}
	if (charge->cache) {
		sweep(janitor, charge);
	} else {
		find_again(janitor, charge);
	}
	return 0;
}

static void
say_farewell(const struct janitor *janitor, int signal_number)
{
	const char *why = signal_number == SIGTERM ? "SIGTERM" : "SIGINT";
	const struct charge *charge;
	size_t i;

	notify_manager("STOPPING=1");
	for (i = 0; i < janitor->count; i++) {
		charge = &janitor->charges[i];
		tool_say(charge->name,
		    "stopped by %s after %" PRIu64 " sweeps: expired_entries="
		    "%" PRIu64 " recycled_extents=%" PRIu64
		    " evicted_extents=%" PRIu64 " freed_peers=%" PRIu64,
		    why, charge->sweeps, charge->total.expired_entries,
		    charge->total.recycled_extents,
		    charge->total.evicted_extents, charge->total.freed_peers);
	}
}

/* Returns TOOL_GO_ON, or the exit code for a cache that can't be had. */
static int
open_all(struct janitor *janitor)
{
	struct charge *charge;
	size_t i;
	int error;

	for (i = 0; i < janitor->count; i++) {
		charge = &janitor->charges[i];
		charge->due_ns = now_ns(CLOCK_MONOTONIC);
		error = tool_open(charge->name, &charge->cache);
		if (!error) {
			tool_say(charge->name,
			    "started, sweeping every %g s or sooner",
			    interval_s);
		} else if (wait_for_caches &&
			   (is_absent(error) || is_passing(error))) {
			meet_error(janitor, charge, error);
		} else {
			return tool_fail(charge->name, error);
		}
	}
	return TOOL_GO_ON;
}

static int
sweep_until_stopped(struct janitor *janitor)
{
	struct charge *charge;
	int signal_number;
	int code = open_all(janitor);

	if (code != TOOL_GO_ON) {
		return code;
	}
	janitor->watchdog_ms = notify_watchdog_ms();
	notify_manager("READY=1");
	do {
		charge = next_charge(janitor);
		if (!charge) {
			return janitor->last_code;
		}
		signal_number = take_turn(janitor, charge);
	} while (!signal_number);

	say_farewell(janitor, signal_number);
	return TOOL_OK;
}

/* Sweep each cache once; the code of the first that failed. */
static int
sweep_all_once(struct janitor *janitor)
{
	struct shmcache_sweep_result result;
	char line[SWEEP_LINE_BYTES];
	struct charge *charge;
	int first_code = TOOL_OK;
	size_t i;
	int code;
	int error;

	for (i = 0; i < janitor->count; i++) {
		charge = &janitor->charges[i];
		code = tool_attach(charge->name, &charge->cache);
		if (code == TOOL_OK) {
			error = shmcache_sweep(charge->cache, &result);
			if (error) {
				code = tool_fail(charge->name, error);
			}
		}
		if (code == TOOL_OK) {
			format_sweep(line, sizeof(line), &result);
			printf("%s: %s\n", charge->name, line);
		} else if (first_code == TOOL_OK) {
			first_code = code;
		}
	}
	return first_code;
}

/* --- the command line ----------------------------------------------------- */

static int
check_arguments(const char *const *names)
{
	if (!names[0]) {
		return tool_usage("the NAME of a cache is missing");
	}
	/* Written so that "nan", too, is out of range. */
	if (!(interval_s >= SLEEP_MS_MIN / 1000.0 &&
		interval_s <= INTERVAL_S_MAX)) {
		return tool_usage("--interval must be from %g to %g seconds, "
				  "not %g",
		    SLEEP_MS_MIN / 1000.0, INTERVAL_S_MAX, interval_s);
	}
	if (!(cpu_percent >= CPU_PERCENT_MIN && cpu_percent <= 100.0)) {
		return tool_usage("--cpu must be from %g to 100 percent, not "
				  "%g",
		    CPU_PERCENT_MIN, cpu_percent);
	}
	if (once && wait_for_caches) {
		return tool_usage("--once and --wait contradict each other");
	}
	return TOOL_GO_ON;
}

static int
take_charge(struct janitor *janitor, const char *const *names)
{
	while (names[janitor->count]) {
		janitor->count++;
	}
	janitor->charges = calloc(janitor->count, sizeof(*janitor->charges));
	if (!janitor->charges) {
		return tool_usage("too many names for the memory there is");
	}
	for (size_t i = 0; i < janitor->count; i++) {
		janitor->charges[i].name = names[i];
	}
	return TOOL_GO_ON;
}

int
main(int argc, char **argv)
{
	struct janitor janitor = { 0 };
	const char *const *names;
	int code;

	tool_start("shmcache-janitor");
	code =
	    tool_parse(argc, argv, option_table, "[OPTION...] NAME...", &names);
	if (code == TOOL_GO_ON) {
		code = check_arguments(names);
	}
	if (code == TOOL_GO_ON) {
		code = take_charge(&janitor, names);
	}
	if (code != TOOL_GO_ON) {
		return tool_finish(code);
	}
	if (once) {
		code = sweep_all_once(&janitor);
	} else {
		sigemptyset(&janitor.signals);
		sigaddset(&janitor.signals, SIGTERM);
		sigaddset(&janitor.signals, SIGINT);
		(void)pthread_sigmask(SIG_BLOCK, &janitor.signals, NULL);
		code = sweep_until_stopped(&janitor);
	}
	for (size_t i = 0; i < janitor.count; i++) {
		let_go(&janitor.charges[i]);
	}
	free(janitor.charges);
	return tool_finish(code);
}
