/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * run.c - see run.h
 */
#include "run.h"

#include "jobs.h"
#include "seed.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define COPY_LIMIT_S   15u
#define BUILD_LIMIT_S  60u
#define KILL_LIMIT_S   60u
#define SECOND_LIMIT_S 60u

static void *
checked(void *memory)
{
	if (memory == NULL) {
		perror("step_test");
		exit(1);
	}
	return memory;
}

static void *
shared_memory(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return checked(memory == MAP_FAILED ? NULL : memory);
}

static bool
complain(struct run *run, const char *what, const char *why)
{
	if (job_running())
		return job_fail("%s: %s", what, why);
	(void)printf("    VIOLATION %s: %s%s%s\n", run->operation->name, what,
	    why[0] == '\0' ? "" : ": ", why);
	run->violations++;
	return false;
}

/* Build */

static void
build_job(void *context, size_t job)
{
	const struct run *run = context;
	char path[SCRATCH_PATH_BYTES];

	(void)job;
	scratch_path(path, "segment");
	(void)operation_build(run->operation, path);
}

static bool
inherit(struct run *run, const struct run *donor)
{
	size_t found = 0;
	size_t at = 0;

	for (unsigned pass = 0; pass < 2; pass++) {
		size_t wanted =
		    run->operation->inherits_last ? found - 1 : found / 2;

		found = 0;
		for (size_t i = 0; i < donor->trace.count; i++) {
			const struct observation *seen =
			    &donor->observations[donor->trace.changes[i].twin];

			if (seen->seen == SEEN_UNKNOWN ||
			    !run->operation->inherits(seen))
				continue;
			if (found++ == wanted)
				at = i;
		}
	}
	if (found == 0)
		return complain(run, "no state to begin with was found in",
		    donor->operation->name);
	run->initial = run_state(donor, at);
	return true;
}

bool
run_build(struct run *run, const struct run *donor)
{
	struct job_set build = { .title = run->operation->name,
		.context = run,
		.count = 1,
		.limit_s = BUILD_LIMIT_S,
		.run = build_job };
	char path[SCRATCH_PATH_BYTES];
	bool built;

	if ((run->operation->flags & OPERATION_CREATES) != 0)
		return true;
	if (donor != NULL)
		return inherit(run, donor);
	scratch_path(path, "segment");
	run->violations += jobs_run(&build);
	built = run->violations == 0 && scratch_read(path, &run->initial);
	(void)unlink(path);
	return built;
}

/* The bystander */

struct bystander {
	pid_t pid;
	int go_fd;
	int ready_fd;
};

/* What it is told. */
#define SAY_EXAMINE 'g'
#define SAY_CHURN   'c'

static void
close_cache(struct shmcache *cache)
{
	int result = shmcache_close(cache);

	if (result != 0)
		(void)job_fail("close: %s", shmcache_strerror(result));
}

static void
bystander_live(const struct run *run, const char *path, int ready_fd, int go_fd)
{
	struct record record = record_of(RECORD_FRESH, 0);
	struct inquest inquest = {
		.operation = run->operation, .path = path, .before = run->before
	};
	struct operation resumed = *run->operation;
	struct shmcache *cache;
	char go;
	int result;

	if (shmcache_open(path, NULL, &cache) != 0 ||
	    ((run->operation->flags & OPERATION_IDLE) == 0 &&
		record_look(cache, &record, RECORD_PEEK, &result) ==
		    RECORD_FAILED))
		_exit(1);
	if (write(ready_fd, "r", 1) != 1 || read(go_fd, &go, 1) != 1)
		_exit(1);
	if (go == SAY_CHURN) {
		if (!survivor_churns(cache, run->operation))
			_exit(0);
		/* What was there before is evicted by now. */
		resumed.flags |= OPERATION_FULL;
		inquest.operation = &resumed;
		if (write(ready_fd, "r", 1) != 1 || read(go_fd, &go, 1) != 1)
			_exit(1);
	}
	if ((run->operation->flags & OPERATION_REMOVES) != 0
		? survivor_is_not_split(cache, run->operation, path)
		: survivor_verifies_and_works(cache, &inquest))
		close_cache(cache);
	_exit(0);
}

static bool
bystander_start(
    struct bystander *bystander, const struct run *run, const char *path)
{
	int ready[2];
	int go[2];
	char byte;
	bool is_ready;

	if (pipe(ready) != 0)
		return false;
	if (pipe(go) != 0) {
		(void)close(ready[0]);
		(void)close(ready[1]);
		return false;
	}
	bystander->pid = job_fork();
	if (bystander->pid == 0) {
		(void)close(ready[0]);
		(void)close(go[1]);
		bystander_live(run, path, ready[1], go[0]);
	}
	(void)close(ready[1]);
	(void)close(go[0]);
	is_ready = bystander->pid > 0 && read(ready[0], &byte, 1) == 1;
	bystander->ready_fd = ready[0];
	bystander->go_fd = go[1];
	return is_ready;
}

/* Let it write all memory over; false if it could not, and has failed the
   job. */
static bool
bystander_churn(struct bystander *bystander)
{
	const char say = SAY_CHURN;
	char byte;

	return write(bystander->go_fd, &say, 1) == 1 &&
	       read(bystander->ready_fd, &byte, 1) == 1;
}

static void
bystander_forget(struct bystander *bystander)
{
	(void)close(bystander->go_fd);
	(void)close(bystander->ready_fd);
	bystander->pid = 0;
}

/* Let it examine what the victim left; its wait status, or -1. */
static int
bystander_examine(struct bystander *bystander)
{
	const char say = SAY_EXAMINE;
	int status = -1;

	if (write(bystander->go_fd, &say, 1) != 1)
		return -1;
	while (waitpid(bystander->pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	bystander_forget(bystander);
	return status;
}

static void
bystander_end(struct bystander *bystander)
{
	if (bystander->pid <= 0)
		return;
	(void)kill(bystander->pid, SIGKILL);
	(void)waitpid(bystander->pid, NULL, 0);
	bystander_forget(bystander);
}

/* Trace */

static const char *
exit_reason(int code)
{
	switch (code) {
	case VICTIM_NO_START:
		return "the victim could not attach";
	case VICTIM_FAILED:
		return "the victim's call did not succeed";
	case VICTIM_NOT_FIRED:
		return "the victim's call did not do what its name says";
	default:
		return "the victim crashed";
	}
}

static bool
creates(const struct run *run)
{
	return (run->operation->flags & OPERATION_CREATES) != 0;
}

static bool
trace_how(struct run *run, enum trace_how how)
{
	char path[SCRATCH_PATH_BYTES];
	char reason[TRACE_REASON_BYTES] = "";
	struct victim victim = { .operation = run->operation, .path = path };
	struct bystander bystander = { 0 };
	bool traced;

	scratch_path(path, "segment-%u", job_worker());
	(void)unlink(path); /* a worker that was killed may have left one */
	if (run->seed == 0)
		run->seed = seed_next();
	seed_random(run->seed);
	traced = creates(run) || (scratch_write(path, run->initial.bytes,
				      run->initial.length) &&
				     bystander_start(&bystander, run, path));
	if (!traced)
		(void)snprintf(
		    reason, sizeof(reason), "the bystander could not attach");
	else
		traced = trace_run(
		    &run->trace, path, how, operation_run, &victim, reason);
	bystander_end(&bystander);
	(void)unlink(path);
	if (!traced)
		return complain(run, "trace", reason);
	if (run->trace.exit_code != VICTIM_DONE)
		return complain(
		    run, "trace", exit_reason(run->trace.exit_code));
	run->observations =
	    shared_memory(run->trace.count * sizeof(*run->observations));
	for (size_t i = 0; i < run->trace.count; i++)
		run->observations[i].seen = SEEN_UNKNOWN;
	run->counts = shared_memory(sizeof(*run->counts));
	return true;
}

bool
run_trace(struct run *run)
{
	return trace_how(run, creates(run) ? TRACE_CREATES : TRACE_STEPS);
}

bool
run_trace_writes(struct run *run)
{
	return trace_how(run, TRACE_WRITES);
}

struct snapshot
run_state(const struct run *run, size_t change)
{
	struct snapshot state = snapshot_copy(&run->trace.initial);

	trace_replay(&run->trace, state.bytes, 0, change);
	return state;
}

/* Surveys */

static struct shmcache *
open_copy(const uint8_t *bytes, size_t length)
{
	struct shmcache *cache = NULL;
	char path[SCRATCH_PATH_BYTES];
	int result;

	scratch_path(path, "copy-%u", job_worker());
	(void)unlink(path); /* a worker that was killed may have left one */
	if (!scratch_write(path, bytes, length)) {
		(void)job_fail("cannot write a copy: %s", strerror(errno));
		return NULL;
	}
	result = shmcache_open(path, NULL, &cache);
	if (result != 0) {
		(void)job_fail("open: %s (%s)", shmcache_strerror(result),
		    shmcache_last_error());
		cache = NULL;
	}
	return cache;
}

/* The name stays as long as the copy is open: probes of liveness need it. */
static void
close_copy(struct shmcache *cache)
{
	char path[SCRATCH_PATH_BYTES];

	close_cache(cache);
	scratch_path(path, "copy-%u", job_worker());
	(void)unlink(path);
}

static bool
removes(const struct run *run)
{
	return (run->operation->flags & OPERATION_REMOVES) != 0;
}

/* Job 0: of the cache that the victim found, 1: that it left when it was done.
   Where there is only one of them, it is taken for both. */
static void
survey_job(void *context, size_t job)
{
	struct run *run = context;
	struct survey *survey = job == 0 ? run->before : run->after;
	struct snapshot last = run_state(run, run->trace.count - 1);
	const struct snapshot *state = &last;
	struct shmcache *cache;

	if (removes(run) || (job == 0 && !creates(run)))
		state = &run->initial;
	cache = open_copy(state->bytes, state->length);
	if (cache == NULL)
		return;
	(void)survivor_survey(cache, run->operation, survey);
	close_copy(cache);
	snapshot_free(&last);
}

static void
describe_survey(void *context, size_t job, char text[JOB_TEXT_BYTES])
{
	(void)context;
	(void)snprintf(text, JOB_TEXT_BYTES, "survey of the cache %s",
	    job == 0 ? "before the operation" : "after it");
}

bool
run_surveys(struct run *run)
{
	struct job_set surveys = { .title = run->operation->name,
		.context = run,
		.count = 2,
		.limit_s = COPY_LIMIT_S,
		.run = survey_job,
		.describe = describe_survey };

	run->before = shared_memory(sizeof(*run->before));
	run->after = shared_memory(sizeof(*run->after));
	run->violations += jobs_run(&surveys);
	return run->before->done && run->after->done;
}

/* Copies */

bool
run_check_copy(const struct run *run, const uint8_t *bytes,
    struct observation *observation)
{
	bool (*const survivors[])(struct shmcache *, const struct inquest *) = {
		survivor_repairs, survivor_hurries, survivor_works
	};
	char path[SCRATCH_PATH_BYTES];
	struct inquest inquest = { .operation = run->operation,
		.path = path,
		.before = run->before,
		.after = run->after,
		.observation = observation };

	scratch_path(path, "copy-%u", job_worker());
	for (unsigned i = 0; i < 3 && !job_failed(); i++) {
		struct shmcache *cache =
		    open_copy(bytes, run->trace.initial.length);

		if (cache == NULL)
			return false;
		(void)survivors[i](cache, &inquest);
		close_copy(cache);
	}
	return !job_failed();
}

static void
copy_job(void *context, size_t job)
{
	struct run *run = context;
	size_t change = run->picked[job];

	if (run->state == NULL) {
		run->state = run_state(run, 0).bytes;
		run->state_at = 0;
	}
	trace_replay(&run->trace, run->state, run->state_at, change);
	run->state_at = change;
	(void)run_check_copy(run, run->state, &run->observations[change]);
}

static void
describe_change(
    const struct trace *trace, size_t change, char text[JOB_TEXT_BYTES])
{
	const struct change *c = &trace->changes[change];
	int used = snprintf(text, JOB_TEXT_BYTES,
	    "died after step %llu of %llu, change %zu of %zu (%zu bytes at "
	    "%zu); ",
	    (unsigned long long)c->step, (unsigned long long)trace->steps,
	    change, trace->count - 1, c->bytes, c->offset);

	tracer_place(c->ip, text + used, JOB_TEXT_BYTES - (size_t)used);
}

static void
describe_copy(void *context, size_t job, char text[JOB_TEXT_BYTES])
{
	const struct run *run = context;

	describe_change(&run->trace, run->picked[job], text);
}

static void
pick_states(struct run *run, size_t limit)
{
	const struct trace *trace = &run->trace;
	size_t number = 0;

	run->picked = checked(calloc(trace->distinct, sizeof(*run->picked)));
	for (size_t i = 0; i < trace->count; i++) {
		if (trace->changes[i].twin != i)
			continue;
		/* Of n states the k-th (from 0) is taken if it begins another
		   of `limit` equal parts; the last one always is. */
		if (limit >= trace->distinct || number == 0 ||
		    number == trace->distinct - 1 ||
		    number * limit / trace->distinct !=
			(number - 1) * limit / trace->distinct)
			run->picked[run->picked_count++] = i;
		number++;
	}
}

/* An old value goes, or a new one comes, once and for all. */
static void
check_order(struct run *run)
{
	const struct operation *operation = run->operation;
	const struct trace *trace = &run->trace;
	enum seen last = operation->before;
	char text[JOB_TEXT_BYTES];

	for (size_t i = 0; i < trace->count; i++) {
		size_t twin = trace->changes[i].twin;
		enum seen seen = run->observations[twin].seen;

		if (seen == SEEN_UNKNOWN)
			continue;
		if ((i == 0 && seen != operation->before) || seen < last ||
		    (i == trace->count - 1 && seen != operation->after)) {
			describe_change(trace, i, text);
			(void)complain(
			    run, "the victim's key goes back and forth", text);
			return;
		}
		last = seen;
	}
}

void
run_copies(struct run *run, size_t limit)
{
	struct job_set copies = { .title = run->operation->name,
		.context = run,
		.limit_s = COPY_LIMIT_S,
		.run = copy_job,
		.describe = describe_copy };
	size_t failed;

	if (removes(run))
		return; /* a file has no name in some of the states */
	pick_states(run, limit);
	copies.count = run->picked_count;
	failed = jobs_run(&copies);
	run->violations += failed;
	if (failed == 0)
		check_order(run);
}

/* Kills */

static void
count_one(size_t *count)
{
	(void)__atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
}

/* To the point after so many steps, or to the end of the operation if that comes
   first: clock and pids differ from run to run, and so do steps. */
static void
step_to(const struct run *run, uint64_t steps, struct victim_process *victim)
{
	if (victim_walk(victim, &run->trace, steps, false) == STEP_LOST)
		(void)job_fail("the victim was lost at step %llu",
		    (unsigned long long)victim->steps);
	else if (!trace_is_at(&run->trace, steps, victim->ip))
		count_one(&run->counts->astray);
}

static void
go_to(const struct run *run, const struct kill_plan *plan,
    struct victim_process *victim)
{
	bool after = plan->point == KILL_AFTER_CALL;

	if (plan->point == KILL_AFTER_CHANGE)
		step_to(run, run->trace.changes[plan->number].step, victim);
	else if (plan->point == KILL_AFTER_STEP)
		step_to(run, plan->number, victim);
	else if (!victim_run_to_call(victim, plan->number, after) &&
		 !WIFSTOPPED(victim->status))
		(void)job_fail("the victim was lost before system call %llu",
		    (unsigned long long)plan->number);
}

/* There was no cache: the survivor opens one, or makes it. */
static void
open_and_examine(const struct run *run, const char *path)
{
	struct shmcache_options options =
	    operation_options(run->operation, SHMCACHE_OPEN_OR_CREATE);
	struct inquest inquest = {
		.operation = run->operation, .path = path, .before = run->before
	};
	struct shmcache *cache;
	int result = shmcache_open(path, &options, &cache);

	if (result != 0)
		(void)job_fail("open: %s (%s)", shmcache_strerror(result),
		    shmcache_last_error());
	else if (survivor_verifies_and_works(cache, &inquest))
		close_cache(cache);
	_exit(0);
}

static int
examine_created(const struct run *run, const char *path)
{
	int status = -1;
	pid_t pid = job_fork();

	if (pid == 0)
		open_and_examine(run, path);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return status;
}

static void
examine(const struct run *run, struct bystander *bystander, const char *path)
{
	int status = creates(run) ? examine_created(run, path)
				  : bystander_examine(bystander);

	if (status == -1 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		(void)job_fail(
		    "the survivor crashed (wait status 0x%x)", status);
}

/* A bystander, and a victim at its first mark. */
struct scene {
	char path[SCRATCH_PATH_BYTES];
	struct bystander bystander;
	struct victim_process victim;
};

static void
scene_close(struct scene *scene)
{
	bystander_end(&scene->bystander);
	(void)unlink(scene->path);
}

/* NULL, or why there is none. */
static const char *
scene_open(struct scene *scene, const struct run *run, bool disturbed)
{
	struct victim argument = { .operation = run->operation,
		.path = scene->path,
		.disturbed = disturbed };
	const char *failed = NULL;

	memset(scene, 0, sizeof(*scene));
	scratch_path(scene->path, "scene-%u", job_worker());
	(void)unlink(scene->path);
	seed_random(run->seed);
	if (!creates(run) &&
	    (!scratch_write(
		 scene->path, run->initial.bytes, run->initial.length) ||
		!bystander_start(&scene->bystander, run, scene->path)))
		failed = "the bystander could not attach";
	else if (!victim_start(&scene->victim, operation_run, &argument))
		failed = "the victim did not get ready";
	if (failed != NULL)
		scene_close(scene);
	return failed;
}

bool
run_walk(const struct run *run, uint64_t steps, bool slowly, struct left *left)
{
	struct scene scene;
	bool there;

	if (scene_open(&scene, run, false) != NULL)
		return false;
	there =
	    victim_walk(&scene.victim, &run->trace, steps, slowly) != STEP_LOST;
	left->ip = scene.victim.ip;
	victim_kill(&scene.victim);
	there = there && scratch_read(scene.path, &left->segment);
	scene_close(&scene);
	return there;
}

static void
kill_job(void *context, size_t job)
{
	const struct run *run = context;
	struct scene scene;
	const char *failed = scene_open(&scene, run, false);

	if (failed != NULL) {
		(void)job_fail("%s", failed);
		return;
	}
	go_to(run, &run->kills[job], &scene.victim);
	victim_kill(&scene.victim);
	if (!job_failed())
		examine(run, &scene.bystander, scene.path);
	scene_close(&scene);
}

static void
describe_kill(void *context, size_t job, char text[JOB_TEXT_BYTES])
{
	static const char *const points[] = { "before system call",
		"after system call", "after change", "after step" };
	const struct run *run = context;
	const struct kill_plan *plan = &run->kills[job];
	int used = snprintf(text, JOB_TEXT_BYTES, "killed %s %llu",
	    points[plan->point], (unsigned long long)plan->number);

	if (plan->point == KILL_AFTER_CHANGE &&
	    plan->number < run->trace.count) {
		used +=
		    snprintf(text + used, JOB_TEXT_BYTES - (size_t)used, "; ");
		tracer_place(run->trace.changes[plan->number].ip, text + used,
		    JOB_TEXT_BYTES - (size_t)used);
	}
}

static void
add_kill(struct run *run, enum kill_point point, uint64_t number)
{
	run->kills[run->kill_count].point = point;
	run->kills[run->kill_count].number = number;
	run->kill_count++;
}

/* `wanted` of the numbers 0 to count-1, evenly spread. */
static uint64_t
spread(size_t i, size_t wanted, uint64_t count)
{
	return wanted < 2 ? 0 : i * (count - 1) / (wanted - 1);
}

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

void
run_kills(struct run *run, size_t edges, size_t changes, size_t random)
{
	struct job_set kills = { .title = run->operation->name,
		.context = run,
		.limit_s = KILL_LIMIT_S,
		.run = kill_job,
		.describe = describe_kill };
	const struct trace *trace = &run->trace;

	edges = least(edges, 2 * trace->system_calls);
	changes = least(changes, trace->count - 1);
	run->kills =
	    checked(calloc(edges + changes + random + 1, sizeof(*run->kills)));
	for (size_t i = 0; i < edges; i++) {
		uint64_t edge = spread(i, edges, 2 * trace->system_calls);

		add_kill(run,
		    edge % 2 == 0 ? KILL_BEFORE_CALL : KILL_AFTER_CALL,
		    edge / 2);
	}
	for (size_t i = 0; i < changes; i++)
		add_kill(run, KILL_AFTER_CHANGE,
		    1 + spread(i, changes, trace->count - 1));
	for (size_t i = 0; i < random; i++)
		add_kill(run, KILL_AFTER_STEP, seed_next() % trace->steps);
	kills.count = run->kill_count;
	run->violations += jobs_run(&kills);
}

/* Stops */

static void
stop_and_go(const struct run *run, uint64_t steps, struct scene *scene)
{
	int code;

	step_to(run, steps, &scene->victim);
	if (job_failed())
		return;
	if (!bystander_churn(&scene->bystander)) {
		(void)job_fail("the others did not get on");
		return;
	}
	code = victim_finish(&scene->victim);
	if (code != VICTIM_DONE)
		(void)job_fail(
		    "the victim went on, and failed (%s)", exit_reason(code));
}

static void
stop_job(void *context, size_t job)
{
	const struct run *run = context;
	struct scene scene;
	const char *failed = scene_open(&scene, run, true);

	if (failed != NULL) {
		(void)job_fail("%s", failed);
		return;
	}
	stop_and_go(run, run->stops[job], &scene);
	if (job_failed())
		victim_kill(&scene.victim);
	else
		examine(run, &scene.bystander, scene.path);
	scene_close(&scene);
}

static void
describe_stop(void *context, size_t job, char text[JOB_TEXT_BYTES])
{
	const struct run *run = context;

	(void)snprintf(text, JOB_TEXT_BYTES, "stopped after step %llu of %llu",
	    (unsigned long long)run->stops[job],
	    (unsigned long long)run->trace.steps);
}

void
run_stops(struct run *run, size_t spots, size_t changes)
{
	struct job_set stops = { .title = run->operation->name,
		.context = run,
		.limit_s = KILL_LIMIT_S,
		.run = stop_job,
		.describe = describe_stop };
	const struct trace *trace = &run->trace;

	if (creates(run) || removes(run))
		return;
	spots = least(spots, trace->steps + 1);
	changes = spots > trace->steps ? 0 : least(changes, trace->count - 1);
	run->stops = checked(calloc(spots + changes + 1, sizeof(*run->stops)));
	for (size_t i = 0; i < spots; i++)
		run->stops[run->stop_count++] =
		    spread(i, spots, trace->steps + 1);
	for (size_t i = 0; i < changes; i++)
		run->stops[run->stop_count++] =
		    trace->changes[1 + spread(i, changes, trace->count - 1)]
			.step;
	stops.count = run->stop_count;
	run->violations += jobs_run(&stops);
}

/* Second kills */

/* The repair of what a victim left, as an operation of its own, by somebody who
   is attached. */
static struct operation
repair_of(
    const struct run *run, const struct operation *template, enum seen seen)
{
	struct operation repair = *run->operation;
	bool sets = template->after == SEEN_NEW;

	repair.name = template->name;
	repair.act = template->act;
	repair.fired = NULL;
	repair.advance = false;
	repair.dead_threads = 0;
	repair.earlier_deaths++;
	repair.flags &= ~(unsigned)(OPERATION_OPENS | OPERATION_COLD |
				    OPERATION_IDLE | OPERATION_REVIVES |
				    OPERATION_FLUSHES | OPERATION_READS);
	repair.before = seen;
	repair.after = sets ? SEEN_NEW : seen;
	return repair;
}

/* All of this in one job: its parts are too many to be jobs themselves. */
static void
look_at_second(struct run *first, struct run *second)
{
	const struct trace *trace = &second->trace;
	size_t looked_at = 0;

	survey_job(second, 0);
	survey_job(second, 1);
	pick_states(second, first->second_limit);
	while (looked_at < second->picked_count && !job_failed()) {
		size_t change = second->picked[looked_at];

		job_at("the second died in %s after step %llu of %llu, change "
		       "%zu of %zu",
		    second->operation->name,
		    (unsigned long long)trace->changes[change].step,
		    (unsigned long long)trace->steps, change, trace->count - 1);
		copy_job(second, looked_at++);
		count_one(&first->counts->seconds);
	}
	(void)__atomic_fetch_add(&first->counts->left_out,
	    trace->distinct - looked_at, __ATOMIC_RELAXED);
	if (!job_failed())
		check_order(second);
}

/* The first two of each operation are traced by steps as well: both ways must
   show the same changes. */
static bool
is_alike_stepped(const struct run *second)
{
	struct run stepped = { .operation = second->operation,
		.seed = second->seed };
	bool alike;

	stepped.initial = snapshot_copy(&second->initial);
	alike = run_trace(&stepped) &&
		trace_is_alike(&second->trace, &stepped.trace);
	run_free(&stepped);
	return alike || job_fail("a second victim that was stepped made other "
				 "changes");
}

/* Two jobs for each first state: a set of the key, and a sweep. */
static void
second_job(void *context, size_t job)
{
	static const char *const names[] = { "set-new", "sweep" };
	struct run *first = context;
	size_t change = first->firsts[job / 2];
	struct operation repair = repair_of(first,
	    operation_find(names[job % 2]), first->observations[change].seen);
	struct run second = { .operation = &repair };

	job_at("the second was in %s", repair.name);
	second.initial = run_state(first, change);
	second.before = shared_memory(sizeof(*second.before));
	second.after = shared_memory(sizeof(*second.after));
	if (run_trace_writes(&second) && (job > 1 || is_alike_stepped(&second)))
		look_at_second(first, &second);
	run_free(&second);
}

static void
describe_second(void *context, size_t job, char text[JOB_TEXT_BYTES])
{
	const struct run *run = context;

	describe_change(&run->trace, run->firsts[job / 2], text);
}

void
run_seconds(struct run *run, size_t limit, size_t limit_second)
{
	struct job_set seconds = { .title = run->operation->name,
		.context = run,
		.limit_s = SECOND_LIMIT_S,
		.run = second_job,
		.describe = describe_second };
	size_t states = least(limit, run->picked_count);

	if (creates(run) || removes(run))
		return;
	run->firsts = checked(calloc(states + 1, sizeof(*run->firsts)));
	for (size_t i = 0; i < states; i++) {
		size_t change =
		    run->picked[spread(i, states, run->picked_count)];

		if (run->observations[change].seen != SEEN_UNKNOWN)
			run->firsts[run->first_count++] = change;
	}
	run->second_limit = limit_second;
	seconds.count = 2 * run->first_count;
	run->violations += jobs_run(&seconds);
}

void
run_free(struct run *run)
{
	if (run->observations != NULL)
		(void)munmap(run->observations,
		    run->trace.count * sizeof(*run->observations));
	if (run->before != NULL)
		(void)munmap(run->before, sizeof(*run->before));
	if (run->after != NULL)
		(void)munmap(run->after, sizeof(*run->after));
	snapshot_free(&run->initial);
	trace_free(&run->trace);
	if (run->counts != NULL)
		(void)munmap(run->counts, sizeof(*run->counts));
	free(run->state);
	free(run->picked);
	free(run->kills);
	free(run->stops);
	free(run->firsts);
}
