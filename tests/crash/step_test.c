/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * step_test.c - kill a process at every instruction of every operation
 *
 * A victim is stepped, one instruction at a time, through an operation on a
 * small cache.  Every state that a step left in the segment is given to a
 * survivor, as if the victim had been killed there; and victims are really
 * killed, at edges of system calls, after changes of the segment, and at
 * random.  The survivor must get on at once, find every entry that it may count
 * on with its exact value, and in the end have lost no memory and no slot.
 * README.md says how, and what is checked.
 *
 * Prints a row for each operation and, last, "N passed, N failed".  Leaves with
 * 77 if the machine does not allow to trace.
 */
#include "jobs.h"
#include "operation.h"
#include "run.h"
#include "scratch.h"
#include "seed.h"
#include "self_test.h"
#include "tracer.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <popt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <time.h>
#include <unistd.h>

#define OPERATIONS_MAX 80
#define EXIT_SKIPPED   77

struct options {
	char *operation; /* popt's, to be freed */
	char *seed_text;
	uint64_t seed;
	int kills;
	int stops;
	int seconds;
	int all;
	int self_test_only;
	int list;
};

struct tally {
	unsigned passed;
	unsigned failed;
};

static double
seconds_now(void)
{
	struct timespec now = { 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void
print_heading(void)
{
	(void)printf("%-24s %7s %5s %7s %7s %7s %5s %5s %7s %5s %6s\n",
	    "operation", "steps", "calls", "changes", "states", "copies",
	    "kills", "stops", "seconds", "bad", "s");
}

static void
print_notes(const struct run *run)
{
	if (run->picked_count != 0 && run->picked_count < run->trace.distinct)
		(void)printf("    a sample: %zu of %zu states; --all for all\n",
		    run->picked_count, run->trace.distinct);
	if (run->counts == NULL)
		return;
	if (run->first_count != 0 && (run->first_count < run->trace.distinct ||
					 run->counts->left_out != 0))
		(void)printf("    seconds: a sample: after %zu of %zu states, "
			     "and %zu of %zu of theirs\n",
		    run->first_count, run->trace.distinct, run->counts->seconds,
		    run->counts->seconds + run->counts->left_out);
	if (run->counts->astray != 0)
		(void)printf("    %zu of the victims that were killed or "
			     "stopped were elsewhere than meant\n",
		    run->counts->astray);
}

static void
print_row(const struct run *run)
{
	const struct trace *trace = &run->trace;

	(void)printf("%-24s %7" PRIu64 " %5" PRIu64
		     " %7zu %7zu %7zu %5zu %5zu %7zu %5zu %6.1f\n",
	    run->operation->name, trace->steps, trace->system_calls,
	    trace->count == 0 ? 0 : trace->count - 1, trace->distinct,
	    run->picked_count, run->kill_count, run->stop_count,
	    run->counts == NULL ? 0 : run->counts->seconds, run->violations,
	    run->seconds);
	print_notes(run);
	(void)fflush(stdout);
}

/* All edges of system calls, and some, or all, of the changes. */
static void
kill_some(struct run *run, const struct options *options)
{
	size_t changes = options->all != 0 ? SIZE_MAX : 16;
	size_t random = options->all != 0 ? 200 : 16;

	if (options->kills >= 0) {
		random = (size_t)options->kills;
		if (options->all == 0)
			changes = random;
	}
	run_kills(run, SIZE_MAX, changes, random);
}

/* In full, a short operation is stopped after each of its instructions, a long
   one after each of its changes and at many other points. */
static void
stop_some(struct run *run, const struct options *options)
{
	const bool is_short = run->trace.steps < 4000;

	if (options->stops >= 0)
		run_stops(run, (size_t)options->stops, (size_t)options->stops);
	else if (options->all != 0)
		run_stops(run, is_short ? SIZE_MAX : 1000, SIZE_MAX);
	else
		run_stops(run, 12, 12);
}

/* In full, each state of two repairs of each state. */
static void
kill_twice(struct run *run, const struct options *options)
{
	if (options->seconds >= 0)
		run_seconds(run, (size_t)options->seconds, SIZE_MAX);
	else if (options->all != 0)
		run_seconds(run, SIZE_MAX, SIZE_MAX);
	else if (run->operation->twice)
		run_seconds(run, 3, 10);
}

static void
kill_and_stop(struct run *run, const struct options *options)
{
	if (!jobs_gave_up())
		kill_some(run, options);
	if (!jobs_gave_up())
		stop_some(run, options);
	if (!jobs_gave_up())
		kill_twice(run, options);
}

static bool
is_wanted(const struct operation *operation, const char *name)
{
	return name == NULL || strcmp(operation->name, name) == 0;
}

/* An heir needs its donor's states. */
static bool
is_donor(const struct operation *operation, const char *name)
{
	const struct operation *wanted =
	    name == NULL ? NULL : operation_find(name);

	return wanted != NULL && wanted->heir_of != NULL &&
	       strcmp(wanted->heir_of, operation->name) == 0;
}

static void
run_operation(
    struct run *run, const struct run *donor, const struct options *options)
{
	const size_t copies = options->all != 0 ? SIZE_MAX : 1500;
	double start = seconds_now();

	seed_random(
	    options->seed + 1000 * (uint64_t)(run->operation - operations + 1));
	if (run_build(run, donor) && run_trace(run) && run_surveys(run)) {
		run_copies(run, copies);
		if (is_wanted(run->operation, options->operation))
			kill_and_stop(run, options);
	}
	run->seconds = seconds_now() - start;
	print_row(run);
}

static const struct run *
donor_of(const struct operation *operation, const struct run *runs)
{
	if (operation->heir_of == NULL)
		return NULL;
	return &runs[operation_find(operation->heir_of) - operations];
}

static struct tally
run_operations(const struct options *options)
{
	static struct run runs[OPERATIONS_MAX];
	struct tally tally = { 0 };

	if (jobs_gave_up())
		return tally; /* the self-test hung */
	print_heading();
	for (unsigned i = 0; i < operation_count && i < OPERATIONS_MAX; i++) {
		if (!is_wanted(&operations[i], options->operation) &&
		    !is_donor(&operations[i], options->operation))
			continue;
		runs[i].operation = &operations[i];
		run_operation(
		    &runs[i], donor_of(&operations[i], runs), options);
		if (runs[i].violations == 0)
			tally.passed++;
		else
			tally.failed++;
		if (jobs_gave_up()) {
			(void)printf("survivors hang or crash: the operations "
				     "after %s are not run\n",
			    operations[i].name);
			break;
		}
	}
	for (unsigned i = 0; i < OPERATIONS_MAX; i++)
		run_free(&runs[i]);
	return tally;
}

static int
usage_error(poptContext context, const char *what, const char *which)
{
	(void)fprintf(stderr, "step_test: %s%s; try --help\n", what, which);
	(void)poptFreeContext(context);
	return 2;
}

static int
check_options(poptContext context, struct options *options)
{
	char *end = NULL;
	const char *argument = poptGetArg(context);

	if (argument != NULL)
		return usage_error(context, "unexpected argument ", argument);
	if (options->operation != NULL &&
	    operation_find(options->operation) == NULL)
		return usage_error(context,
		    "no such operation (--list shows them): ",
		    options->operation);
	options->seed = (uint64_t)time(NULL) * 1000 + (uint64_t)getpid();
	if (options->seed_text != NULL)
		options->seed = strtoull(options->seed_text, &end, 0);
	if (end != NULL && (*end != '\0' || end == options->seed_text))
		return usage_error(
		    context, "not a number: --seed ", options->seed_text);
	return 0;
}

/* Returns 0, or the exit status of a usage error. */
static int
read_options(int argc, char **argv, struct options *options)
{
	struct poptOption table[] = { { "op", 'o', POPT_ARG_STRING,
					  &options->operation, 0,
					  "this operation only", "NAME" },
		{ "seed", 's', POPT_ARG_STRING, &options->seed_text, 0,
		    "repeat the run that printed this seed", "NUMBER" },
		{ "kills", 'k', POPT_ARG_INT, &options->kills, 0,
		    "real kills of each sort per operation", "COUNT" },
		{ "stops", 0, POPT_ARG_INT, &options->stops, 0,
		    "stops per operation", "COUNT" },
		{ "seconds", 0, POPT_ARG_INT, &options->seconds, 0,
		    "states after which a second victim is killed", "COUNT" },
		{ "all", 'a', POPT_ARG_NONE, &options->all, 0,
		    "check all states, kill after each change", NULL },
		{ "self-test", 't', POPT_ARG_NONE, &options->self_test_only, 0,
		    "only see whether the test can fail", NULL },
		{ "list", 'l', POPT_ARG_NONE, &options->list, 0,
		    "list the operations", NULL },
		POPT_AUTOHELP POPT_TABLEEND };
	const char **arguments = malloc(((size_t)argc + 1) * sizeof(char *));
	poptContext context;
	int code;

	if (arguments == NULL)
		return 1;
	for (int i = 0; i <= argc; i++)
		arguments[i] = argv[i];
	context = poptGetContext("step_test", argc, arguments, table, 0);
	code = poptGetNextOpt(context);
	if (code < -1)
		code = usage_error(context, poptStrerror(code), "");
	else
		code = check_options(context, options);
	if (code == 0)
		(void)poptFreeContext(context);
	free(arguments);
	return code;
}

static void
list_operations(void)
{
	for (unsigned i = 0; i < operation_count; i++)
		(void)puts(operations[i].name);
}

/*
 * Start again with fixed addresses and all symbols bound, so that runs of one
 * seed are alike and the loader is not traced; what pthread_exit() would load is
 * there too, so that all victims have it at one address.  What can't be had is
 * done without.
 */
static void
settle(char **argv)
{
	if (getenv("LD_BIND_NOW") != NULL) {
		(void)dlopen("libgcc_s.so.1", RTLD_NOW);
		return;
	}
	(void)personality(ADDR_NO_RANDOMIZE);
	if (setenv("LD_BIND_NOW", "1", 1) == 0)
		(void)execv("/proc/self/exe", argv);
}

int
main(int argc, char **argv)
{
	struct options options = { .kills = -1, .stops = -1, .seconds = -1 };
	struct self_test_result self;
	struct tally tally = { 0 };
	const char *forbidden;
	int code = read_options(argc, argv, &options);

	if (code != 0)
		return code;
	if (options.list != 0) {
		list_operations();
		return 0;
	}
	settle(argv);
	forbidden = tracer_forbidden();
	if (forbidden == NULL && !scratch_open())
		forbidden = "cannot make a folder in /dev/shm";
	if (forbidden != NULL) {
		(void)printf("skipped: %s\n", forbidden);
		return EXIT_SKIPPED;
	}
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	jobs_pin(0);
	(void)printf("seed %" PRIu64 "\n", options.seed);
	if (!tracer_breaks())
		(void)printf("no breakpoints of the processor: victims are "
			     "stepped to their points\n");
	self = self_test(options.seed);
	if (options.self_test_only == 0)
		tally = run_operations(&options);
	(void)printf("%u passed, %u failed\n", self.passed + tally.passed,
	    self.failed + tally.failed);
	free(options.operation);
	free(options.seed_text);
	return self.failed + tally.failed == 0 ? 0 : 1;
}
