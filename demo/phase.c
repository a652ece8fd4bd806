/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * phase.c - the driver's side of the workers: start, kill, replace, stop
 *
 * Children never outlive the driver: the kernel kills them when it ends
 * (PR_SET_PDEATHSIG).  They ignore the signals that end the demo, which are the
 * driver's to handle.  A child that ends before it was told to, but for the one
 * that the driver kills, makes the demo fail.
 */
#include "demo.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S INT64_C(1000000000)
#define TICK_NS  10000000L
#define STOP_NS  (10 * NS_PER_S)

#define JANITOR_INTERVAL_S "0.2"

/* The places of the children in a crew, after the workers. */
#define EDITOR   WORKERS
#define JANITOR  (WORKERS + 1)
#define CHILDREN (WORKERS + 2)

struct crew {
	struct demo *demo;
	struct phase_result *result;
	pid_t child[CHILDREN]; /* 0: none */
	uint64_t resumed_at;   /* where the killed worker's slice went on */
	int victim;
};

static void
describe(char *text, size_t text_bytes, int child)
{
	if (child < WORKERS) {
		snprintf(text, text_bytes, "worker %d", child + 1);
	} else {
		snprintf(text, text_bytes, "the %s",
		    child == EDITOR ? "editor" : "janitor");
	}
}

static pid_t
fork_child(void)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	pid_t driver = getpid();
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child < 0) {
		return complain("fork: %s", shmcache_strerror(-errno));
	}
	if (!child) {
		for (size_t i = 0; i < sizeof(ignored) / sizeof(int); i++) {
			signal(ignored[i], SIG_IGN);
		}
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != driver) {
			_exit(EXIT_FAILURE);
		}
	}
	return child;
}

typedef int child_main(struct demo *demo, uint32_t index);

static int
start_child(struct crew *crew, int index, child_main *body)
{
	pid_t child = fork_child();
	int code;

	if (!child) {
		code = body(crew->demo, (uint32_t)index);
		shmcache_close(crew->demo->cache);
		_exit(code);
	}
	crew->child[index] = child < 0 ? 0 : child;
	return child < 0 ? -1 : 0;
}

static int
editor_body(struct demo *demo, uint32_t unused)
{
	(void)unused;
	return editor_main(demo);
}

static int
janitor_body(struct demo *demo, uint32_t unused)
{
	(void)unused;
	signal(SIGTERM, SIG_DFL);
	execl(demo->janitor_path, "shmcache-janitor", demo->cache_name,
	    "--interval", JANITOR_INTERVAL_S, (char *)NULL);
	complain("%s: %s", demo->janitor_path, shmcache_strerror(-errno));
	return EXIT_FAILURE;
}

static int
judge(const char *who, int status)
{
	if (WIFSIGNALED(status)) {
		return complain("%s was killed by signal %d (%s), and not by "
				"the demo",
		    who, WTERMSIG(status), strsignal(WTERMSIG(status)));
	}
	return WEXITSTATUS(status) ? complain("%s failed, exit code %d", who,
					 WEXITSTATUS(status))
				   : 0;
}

/*
 * Look for children that have ended.  Returns the number that still run, or -1
 * if one failed or, with `all_must_run`, ended at all.
 */
static int
look_after(struct crew *crew, int all_must_run)
{
	char who[32];
	int running = 0;
	int result = 0;
	int status;

	for (int i = 0; i < CHILDREN; i++) {
		if (!crew->child[i]) {
			continue;
		}
		if (!waitpid(crew->child[i], &status, WNOHANG)) {
			running++;
			continue;
		}
		crew->child[i] = 0;
		describe(who, sizeof(who), i);
		if (judge(who, status)) {
			result = -1;
		} else if (all_must_run) {
			result = complain("%s ended too early", who);
		}
	}
	return result ? result : running;
}

static void
kill_crew(struct crew *crew)
{
	for (int i = 0; i < CHILDREN; i++) {
		if (crew->child[i]) {
			kill(crew->child[i], SIGKILL);
			waitpid(crew->child[i], NULL, 0);
			crew->child[i] = 0;
		}
	}
}

static void
tick(void)
{
	struct timespec time = { .tv_nsec = TICK_NS };

	nanosleep(&time, NULL);
}

/* Wait until all children have ended by themselves. */
static int
wait_for_all(struct crew *crew, int64_t until_ns)
{
	int running;

	while ((running = look_after(crew, 0)) > 0 && !interrupted) {
		if (now_ns() > until_ns) {
			return complain("%d children do not end", running);
		}
		tick();
	}
	return interrupted ? -1 : running;
}

static int
replace_victim(struct crew *crew, double second)
{
	int victim = crew->victim;
	struct slice *slice = &crew->demo->shared->slice[victim];
	pid_t killed = crew->child[victim];
	int status = 0;

	kill(killed, SIGKILL);
	while (waitpid(killed, &status, 0) < 0 && errno == EINTR) {
		;
	}
	crew->child[victim] = 0;
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
		return complain("worker %d could not be killed", victim + 1);
	}
	crew->result->killed++;
	crew->resumed_at = atomic_load(&slice->position);
	if (start_child(crew, victim, worker_main)) {
		return -1;
	}
	printf(
	    "  at %.2f s: worker %d (pid %d) killed by SIGKILL after %" PRIu64
	    " requests, pid %d goes on\n",
	    second, victim + 1, (int)killed, crew->resumed_at,
	    (int)crew->child[victim]);
	return 0;
}

/* Whom and when: in the second third of the phase. */
static int64_t
choose_victim(struct crew *crew, int seconds)
{
	long seed = crew->demo->seed;
	unsigned short state[3] = { (unsigned short)seed,
		(unsigned short)(seed >> 16), 1 };

	crew->victim = (int)(nrand48(state) % WORKERS);
	return (int64_t)((1 + erand48(state)) * seconds * NS_PER_S / 3);
}

static int
watch(struct crew *crew, int seconds, int64_t start_ns)
{
	int64_t kill_ns = choose_victim(crew, seconds);
	int64_t elapsed_ns;
	int row = 1;

	report_header(crew->demo);
	while (row <= seconds) {
		tick();
		if (interrupted || look_after(crew, 1) < 0) {
			return -1;
		}
		elapsed_ns = now_ns() - start_ns;
		if (crew->demo->cache && !crew->result->killed &&
		    elapsed_ns >= kill_ns &&
		    replace_victim(crew, (double)elapsed_ns / NS_PER_S)) {
			return -1;
		}
		if (elapsed_ns >= row * NS_PER_S) {
			if (report_row(crew->demo, row++)) {
				return -1;
			}
		}
	}
	return 0;
}

/* Sum up what the workers counted; -1 if one of them served nothing. */
static int
gather(struct crew *crew)
{
	struct phase_result *result = crew->result;
	int failed = 0;

	for (int i = 0; i < WORKERS; i++) {
		struct slice *slice = &crew->demo->shared->slice[i];

		for (int c = 0; c < COUNTERS; c++) {
			result->counter[c] += slice->counter[c];
		}
		for (int t = 0; t < TIMERS; t++) {
			for (int b = 0; b < LATENCY_BUCKETS; b++) {
				result->latency[t][b] += slice->latency[t][b];
			}
		}
		if (!slice->position) {
			failed = complain("worker %d served nothing", i + 1);
		}
	}
	if (result->killed && crew->demo->shared->slice[crew->victim].position >
				  crew->resumed_at) {
		result->restarted++;
	}
	return failed;
}

static int
start_crew(struct crew *crew)
{
	int result = 0;

	for (int i = 0; i < WORKERS && !result; i++) {
		result = start_child(crew, i, worker_main);
	}
	if (!result && crew->demo->cache) {
		result = start_child(crew, EDITOR, editor_body) ||
			 start_child(crew, JANITOR, janitor_body);
	}
	return result;
}

static int
stop_crew(struct crew *crew)
{
	atomic_store(&crew->demo->shared->stop, 1);
	if (crew->child[JANITOR]) {
		kill(crew->child[JANITOR], SIGTERM);
	}
	return wait_for_all(crew, now_ns() + STOP_NS);
}

int
phase_serve(struct demo *demo, int seconds, struct phase_result *result)
{
	struct crew crew = { .demo = demo, .result = result };
	int64_t start_ns = now_ns();
	int failed;

	memset(result, 0, sizeof(*result));
	memset(demo->shared->slice, 0, sizeof(demo->shared->slice));
	atomic_store(&demo->shared->stop, 0);
	failed = start_crew(&crew) || watch(&crew, seconds, start_ns);
	result->seconds = (double)(now_ns() - start_ns) / NS_PER_S;
	failed = failed || stop_crew(&crew);
	kill_crew(&crew);
	return failed ? -1 : gather(&crew);
}

int
phase_learn(struct demo *demo)
{
	struct crew crew = { .demo = demo };
	int failed = 0;

	for (int i = 0; i < WORKERS && !failed; i++) {
		failed = start_child(&crew, i, learn_main);
	}
	failed = failed || wait_for_all(&crew, INT64_MAX);
	kill_crew(&crew);
	return failed ? -1 : 0;
}
