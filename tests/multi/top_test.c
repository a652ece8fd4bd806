/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * top_test.c - `shmcache-stat top` on a terminal, which tmux provides
 *
 * What a person would see is what `tmux capture-pane` prints.  The server of
 * tmux is one of this case's processes, so that it ends with it.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/run.h"
#include "tests/support/tool.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SCREEN_BYTES 65536
#define WAIT_NS      UINT64_C(60000000000)

static char screen[SCREEN_BYTES];

/*
 * The output of `tmux ...`, into `screen`; its exit status.  -N: a server that
 * it started by itself would leave this process group.
 */
static int __attribute__((format(printf, 1, 2))) tmux(const char *format, ...)
{
	char arguments[2048];
	char command[4096];
	va_list list;
	FILE *output;
	size_t bytes;

	va_start(list, format);
	(void)vsnprintf(arguments, sizeof(arguments), format, list);
	va_end(list);
	(void)snprintf(command, sizeof(command), "tmux -N -S %s %s 2>&1",
	    test_path("tmux"), arguments);
	output = popen(command, "r");
	CHECK(output != NULL);
	bytes = fread(screen, 1, sizeof(screen) - 1, output);
	screen[bytes] = '\0';
	return pclose(output);
}

/* The first of the parts that `screen` lacks, or NULL. */
static const char *
missing(const char *const *parts)
{
	while (*parts && strstr(screen, *parts)) {
		parts++;
	}
	return *parts;
}

/* Repeat `tmux COMMAND` until it prints all of these at once; a vain wait ends
   with what it does print. */
static void
await_output(const char *command, const char *const *parts)
{
	uint64_t end_ns = clock_ns(CLOCK_MONOTONIC) + WAIT_NS;

	while (tmux("%s", command) || missing(parts)) {
		CHECK_SAY(clock_ns(CLOCK_MONOTONIC) < end_ns,
		    "\"%s\" never came, but: %s",
		    missing(parts) ? missing(parts) : command, screen);
		sleep_us(50000);
	}
}

#define PARTS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/*
 * Wait until the terminal shows all of these.  A capture may come when tmux has
 * read a half of what the tool has drawn: what is there says nothing of what
 * else is, or is no more.
 */
#define AWAIT_SCREEN(...)                                                      \
	await_output("capture-pane -p -t top", PARTS(__VA_ARGS__))

/* Rows are drawn from the first to the last: wait until that is not empty, and
   with it the frame complete. */
static void
await_last_row(void)
{
	while (tmux("capture-pane -p -t top -S 29 -E 29") ||
	       !screen[strspn(screen, " \n")]) {
		sleep_us(50000);
	}
}

static void
start_tmux(void)
{
	static char words[][12] = { "tmux", "-S", "-f", "/dev/null", "-D" };
	char *argv[] = { words[0], words[1], strdup(test_path("tmux")),
		words[2], words[3], words[4], NULL };
	pid_t pid;
	int error;

	CHECK_SYS(setenv("LC_ALL", "C.UTF-8", 1));
	CHECK_SYS(unsetenv("TMUX"));
	CHECK_SYS(unsetenv("NO_COLOR"));
	error = posix_spawnp(&pid, "tmux", NULL, NULL, argv, environ);
	if (error == ENOENT) {
		skip("tmux is missing: install the package tmux");
	}
	CHECK(error == 0);
	free(argv[2]);
	await_output("list-commands", PARTS("list-commands"));
}

/* A terminal in which this command runs; what it said stays when it ends. */
static void
start_terminal(const char *before, const char *options, const char *suffix)
{
	start_tmux();
	CHECK_SAY(tmux("new-session -d -s top -x 100 -y 30 "
		       "\"%s %s top %s %s; echo rc \\$?; sleep 1000\"",
		      before, tool_path("shmcache-stat"), options,
		      test_name(suffix)) == 0,
	    "tmux: %s", screen);
}

/* Entries, of which one is read often and one is large. */
static struct shmcache *
create_busy_cache(const char *suffix)
{
	struct shmcache *cache = cache_create_used(suffix);
	char value[5000];

	memset(value, 'x', sizeof(value));
	CHECK_RESULT(shmcache_set(cache, "b\x01g\n", 4, value, sizeof(value),
			 SHMCACHE_TTL_NONE, 0),
	    0);
	for (int i = 0; i < 20000; i++) {
		cache_check_text(cache, "kept", "a value");
	}
	return cache;
}

static void
shows_keys_and_panels(void)
{
	struct shmcache *cache = create_busy_cache("panels");
	char name[128];

	(void)snprintf(name, sizeof(name), "%s", test_name("panels"));
	start_terminal("", "-i 0.5", "panels");
	AWAIT_SCREEN("Big keys, of 3 entries\n", name, "Hot keys", "  100.0 %",
	    "  kept\n", "  b\\x01g\\n\n", "items: 3 ", "janitor: not seen");
	CHECK(tmux("send-keys -t top n") == 0);
	await_last_row();
	AWAIT_SCREEN("gets that returned a value");
	CHECK(!strstr(screen, "segment_id"));
	CHECK(tmux("send-keys -t top NPage") == 0);
	AWAIT_SCREEN("Eviction\n");
	CHECK(tmux("send-keys -t top End") == 0);
	AWAIT_SCREEN("advices ");
	CHECK(tmux("send-keys -t top Home") == 0);
	AWAIT_SCREEN("gets that returned a value");
	CHECK(tmux("send-keys -t top t") == 0);
	AWAIT_SCREEN("Threads\n");
	CHECK(tmux("send-keys -t top e") == 0);
	AWAIT_SCREEN("Entries by size\n");
	CHECK(tmux("send-keys -t top a") == 0);
	AWAIT_SCREEN("all is well");
	CHECK(tmux("send-keys -t top '?'") == 0);
	AWAIT_SCREEN("q  quit");
	CHECK(tmux("send-keys -t top q") == 0);
	AWAIT_SCREEN("rc 0\n");
	CHECK_RESULT(shmcache_close(cache), 0);
}

static void
survives_any_size(void)
{
	struct shmcache *cache = create_busy_cache("sizes");

	start_terminal("", "", "sizes");
	AWAIT_SCREEN("Big keys");
	CHECK(tmux("resize-window -t top -x 30 -y 5") == 0);
	AWAIT_SCREEN("too small");
	CHECK(tmux("resize-window -t top -x 1 -y 1") == 0);
	sleep_us(100000);
	CHECK(tmux("resize-window -t top -x 50 -y 12") == 0);
	AWAIT_SCREEN("Hot keys");
	CHECK(tmux("resize-window -t top -x 200 -y 60") == 0);
	AWAIT_SCREEN("Big keys");
	CHECK(tmux("resize-window -t top -x 20 -y 4") == 0);
	AWAIT_SCREEN("too small");
	CHECK(tmux("send-keys -t top q") == 0);
	AWAIT_SCREEN("rc 0");
	CHECK_RESULT(shmcache_close(cache), 0);
}

static void
waits_for_a_removed_cache(void)
{
	struct shmcache *cache = create_busy_cache("removed");

	start_terminal("", "-i 0.2", "removed");
	AWAIT_SCREEN("Big keys");
	cache_remove("removed");
	CHECK_RESULT(shmcache_close(cache), 0);
	AWAIT_SCREEN("waiting until it is created anew");
	cache = cache_create_used("removed");
	AWAIT_SCREEN("Big keys, of 2 entries\n");
	CHECK(tmux("send-keys -t top q") == 0);
	AWAIT_SCREEN("rc 0\n");
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* The pid of the tool, whose parent is the shell of the terminal. */
static pid_t
tool_pid(void)
{
	char path[64];
	FILE *children;
	int pid = 0;

	CHECK(tmux("display-message -p -t top '#{pane_pid}'") == 0);
	(void)snprintf(path, sizeof(path), "/proc/%1$ld/task/%1$ld/children",
	    strtol(screen, NULL, 10));
	children = fopen(path, "re");
	CHECK_SAY(children, "%s: %s", path, test_errno_text());
	CHECK(fscanf(children, "%d", &pid) == 1);
	(void)fclose(children);
	return pid;
}

/* The terminal is given back on these, too. */
static void
ends_on_signals(void)
{
	struct shmcache *cache = create_busy_cache("signals");

	start_terminal("", "", "signals");
	AWAIT_SCREEN("Big keys");
	CHECK(tmux("send-keys -t top C-c") == 0);
	AWAIT_SCREEN("rc 0\n");
	CHECK(!strstr(screen, "Big keys"));
	CHECK(tmux("respawn-pane -k -t top \"%s top %s; echo rc \\$?; sleep "
		   "1000\"",
		  tool_path("shmcache-stat"), test_name("signals")) == 0);
	AWAIT_SCREEN("Big keys");
	CHECK_SYS(kill(tool_pid(), SIGTERM));
	AWAIT_SCREEN("rc 0\n");
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* SGR sequences that set a colour: 30 to 37 and 40 to 47, alone or not. */
static int
has_colours(const char *text)
{
	for (; (text = strstr(text, "\033[")); text += 2) {
		const char *end = text + strspn(text, "\033[0123456789;");

		for (const char *next = text; *end == 'm' && next < end;
		     next++) {
			if ((next[0] == '[' || next[0] == ';') &&
			    (next[1] == '3' || next[1] == '4') &&
			    next[2] >= '0' && next[2] <= '7') {
				return 1;
			}
		}
	}
	return 0;
}

static void
has_colours_unless_told(void)
{
	struct shmcache *cache = create_busy_cache("colours");

	start_terminal("NO_COLOR=1", "", "colours");
	AWAIT_SCREEN("Big keys");
	CHECK(tmux("capture-pane -e -p -t top") == 0);
	CHECK(!has_colours(screen));
	CHECK(tmux("respawn-pane -k -t top \"exec %s top %s\"",
		  tool_path("shmcache-stat"), test_name("colours")) == 0);
	AWAIT_SCREEN("Big keys");
	CHECK(tmux("capture-pane -e -p -t top") == 0);
	CHECK(has_colours(screen));
	CHECK_RESULT(shmcache_close(cache), 0);
}

static void
says_what_it_needs(void)
{
	static struct outcome outcome;
	struct shmcache *cache = create_busy_cache("needs");

	RUN(&outcome, "shmcache-stat", "top", test_name("needs"));
	check_refusal(
	    &outcome, "shmcache-stat", EXIT_USAGE, "needs a terminal");
	/* ncurses itself loses some memory when it refuses. */
	start_terminal(
	    "TERM=nonsense ASAN_OPTIONS=detect_leaks=0", "", "needs");
	AWAIT_SCREEN("rc 2", "set TERM");
	CHECK(tmux("respawn-pane -k -t top \"%s top %s; echo rc \\$?; sleep "
		   "1000\"",
		  tool_path("shmcache-stat"), test_name("absent")) == 0);
	AWAIT_SCREEN("rc 3", "check the name");
	CHECK_RESULT(shmcache_close(cache), 0);
}

static const struct test_case cases[] = {
	CASE(shows_keys_and_panels),
	CASE(survives_any_size),
	CASE(waits_for_a_removed_cache),
	CASE(ends_on_signals),
	CASE(has_colours_unless_told),
	CASE(says_what_it_needs),
};

int
main(int argc, char **argv)
{
	struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
		.limit_seconds = 120,
	};

	return run_suite(argc, argv, &suite);
}
