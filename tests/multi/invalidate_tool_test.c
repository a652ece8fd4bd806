/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * invalidate_tool_test.c - shmcache-invalidate, with real servers and mute ones
 *
 * PostgreSQL and Redis are started by the cases that need them, in a folder of
 * their own and on sockets in it; PostgreSQL as nobody where we are root, as it
 * insists.  A mute server is a socket on which nobody answers, or says as much of
 * Redis's protocol as a case wants.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/run.h"
#include "tests/support/tool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TOOL     "shmcache-invalidate"
#define WAITS    600 /* of 50 ms */
#define TEXT_MAX 4096

/* How long the tool may take to end, which it does within a fraction of a second; a
   busy machine takes its time.  What it must not wait for takes longer. */
#define END_MS 60000

static struct shmcache *cache;
static char folder[64]; /* of the servers */

static void
need_tool(void)
{
	const char *build = getenv("SHMCACHE_BUILD");
	char path[2048], self[1024] = "";
	struct stat st;

	if (build == NULL) {
		CHECK_SYS(readlink("/proc/self/exe", self, sizeof(self) - 1));
		*strrchr(self, '/') = '\0';
	}
	(void)snprintf(path, sizeof(path), "%s%s/tools/%s",
	    build != NULL ? build : self, build != NULL ? "" : "/../..", TOOL);
	if (stat(path, &st) != 0) {
		skip("%s is not built: libpq or hiredis is missing", TOOL);
	}
	cache = cache_create_plain("bridge", 4 << 20);
}

static int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int
shell(const char *format, ...)
{
	char command[TEXT_MAX];
	va_list arguments;
	int status;

	va_start(arguments, format);
	(void)vsnprintf(command, sizeof(command), format, arguments);
	va_end(arguments);
	status = system(command);
	CHECK(status != -1 && WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void
set_tagged(const char *key, const char *tag)
{
	struct shmcache_set_options options = SHMCACHE_SET_OPTIONS_INIT;
	const struct shmcache_tag tags[] = { { tag, strlen(tag) } };

	options.tags = tags;
	options.tag_count = 1;
	CHECK_RESULT(
	    shmcache_set_with(cache, key, strlen(key), "value", 5, &options),
	    0);
}

static void
check_there(const char *key, int there)
{
	int result = shmcache_exists(cache, key, strlen(key));

	CHECK_SAY(result == there, "%s: %d", key, result);
}

static void
await_gone(const char *key)
{
	unsigned waits = 0;

	while (shmcache_exists(cache, key, strlen(key)) != 0) {
		CHECK_SAY(++waits < WAITS, "%s is still there", key);
		sleep_us(50000);
	}
}

/* The tool with this input; its errors go to a file. */
static int
feed_from(int in, char err[OUTPUT_BYTES])
{
	int out = scratch_file(), status;
	pid_t pid = fork();

	CHECK_SYS(pid);
	if (pid == 0) {
		const char *path = tool_path(TOOL);

		(void)dup2(in, STDIN_FILENO);
		(void)dup2(out, STDERR_FILENO);
		(void)execl(path, TOOL, test_name("bridge"), (char *)NULL);
		_exit(127);
	}
	CHECK_SYS(waitpid(pid, &status, 0));
	CHECK(WIFEXITED(status));
	CHECK_SYS(close(in));
	read_and_close(out, err);
	return WEXITSTATUS(status);
}

static int
feed(const char *lines, size_t bytes, char err[OUTPUT_BYTES])
{
	int in = scratch_file();

	CHECK(write(in, lines, bytes) == (ssize_t)bytes);
	CHECK_SYS(lseek(in, 0, SEEK_SET));
	return feed_from(in, err);
}

static void
lines_do_what_they_say(void)
{
	static const char lines[] = "# a comment\n\n"
				    "delete gone\ndelete missing\n"
				    "tag t one\r\nprefix user:\n"
				    "delete a\\x20b\\n\\\\\ndelete end";
	static char err[OUTPUT_BYTES];

	need_tool();
	cache_set_text(cache, "gone", "x");
	cache_set_text(cache, "stays", "x");
	cache_set_text(cache, "user:1", "x");
	cache_set_text(cache, "user:2", "x");
	cache_set_text(cache, "a b\n\\", "x");
	cache_set_text(cache, "end", "x");
	set_tagged("tagged", "t one");
	set_tagged("other", "t");
	CHECK(feed(lines, sizeof(lines) - 1, err) == EXIT_OK);
	CHECK_SAY(err[0] == '\0', "%s", err);
	check_there("gone", 0);
	check_there("user:1", 0);
	check_there("user:2", 0);
	check_there("a b\n\\", 0);
	check_there("end", 0);
	check_there("tagged", 0);
	check_there("other", 1);
	check_there("stays", 1);
	CHECK(feed("flush\n", 6, err) == EXIT_OK);
	check_there("stays", 0);
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* What can't be meant is reported and passed over; what follows is applied. */
static void
bad_lines_are_passed_over(void)
{
	static const char *const bad[] = { "delet k", "delete", "delete ",
		"tag", "prefix ", "flush now", "delete \\q", "delete \\x4",
		"delete\tk", "tag x\\", "DELETE k" };
	static char err[OUTPUT_BYTES], lines[700000];
	size_t bytes = 0;
	unsigned reports = 0;

	need_tool();
	for (size_t i = 0; i < TEST_COUNT_OF(bad); i++) {
		bytes += (size_t)snprintf(lines + bytes, 100, "%s\n", bad[i]);
	}
	memcpy(lines + bytes, "delete a\0b\n", 11);
	bytes += 11;
	memcpy(lines + bytes, "delete ", 7); /* a key of 65,536 bytes */
	memset(lines + bytes + 7, 'k', 65536);
	bytes += 7 + 65536;
	lines[bytes++] = '\n';
	memset(lines + bytes, 'h', 600000); /* a line that is never a key */
	bytes += 600000;
	memcpy(lines + bytes, "\ndelete k\n", 10);
	bytes += 10;
	cache_set_text(cache, "k", "x");
	cache_set_text(cache, "a", "x");
	CHECK(feed(lines, bytes, err) == EXIT_FAILED);
	check_there("k", 0);
	check_there("a", 1);
	for (const char *at = err; (at = strchr(at, '\n')) != NULL; at++) {
		reports++;
	}
	CHECK_SAY(reports == TEST_COUNT_OF(bad) + 4, "%u: %s", reports, err);
	CHECK_HAS(err, "the line is too long: hhh");
	CHECK_HAS(err, "1 lines applied, 14 passed over");
	CHECK_RESULT(shmcache_close(cache), 0);
}

#define HUGE_BYTES ((size_t)16 << 20)

static void
write_all(int fd, const char *bytes, size_t count)
{
	while (count > 0) {
		ssize_t n = write(fd, bytes, count);

		CHECK(n > 0);
		bytes += n;
		count -= (size_t)n;
	}
}

/* `before`, then so many bytes of `fill`. */
static void
write_huge(int fd, const char *before, char fill)
{
	static char piece[99991]; /* no divisor of any buffer */
	size_t left = HUGE_BYTES;

	memset(piece, fill, sizeof(piece));
	write_all(fd, before, strlen(before));
	while (left > 0) {
		size_t bytes = left < sizeof(piece) ? left : sizeof(piece);

		write_all(fd, piece, bytes);
		left -= bytes;
	}
}

/* Through a pipe: a line of many MB before each of three that count, one of them
   of NULs; the last line is huge, and has no end. */
static void
write_huge_lines(void *argument)
{
	const int *ends = argument;

	CHECK_SYS(close(ends[0]));
	write_huge(ends[1], "delete a\ndelete ", 'h');
	write_huge(ends[1], "\ndelete b\n", '\0');
	write_huge(ends[1], "\ndelete c\ntag ", 'e');
	write_all(ends[1], "\ndelete d\ndelete ", 17);
	write_huge(ends[1], "stays", 's');
}

static void
huge_lines_are_passed_over(void)
{
	static const char *const keys[] = { "a", "b", "c", "d", "stays" };
	static char err[OUTPUT_BYTES];
	int ends[2];
	pid_t writer;

	need_tool();
	for (size_t i = 0; i < TEST_COUNT_OF(keys); i++) {
		cache_set_text(cache, keys[i], "x");
	}
	CHECK_SYS(pipe(ends));
	writer = child_start(write_huge_lines, ends);
	CHECK_SYS(close(ends[1]));
	CHECK(feed_from(ends[0], err) == EXIT_FAILED);
	child_expect(writer, 0);
	for (size_t i = 0; i < TEST_COUNT_OF(keys); i++) {
		check_there(keys[i], keys[i][0] == 's');
	}
	CHECK_HAS(err, "the line is too long: delete hhh");
	CHECK_HAS(err, "the line is too long: \\x00");
	CHECK_HAS(err, "the line is too long: tag eee");
	CHECK_HAS(err, "the line is too long: delete stayssss");
	CHECK_HAS(err, "4 lines applied, 4 passed over");
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* A last line without an end counts, unless there is a NUL in it. */
static void
last_line_needs_no_end(void)
{
	static char err[OUTPUT_BYTES];

	need_tool();
	cache_set_text(cache, "k", "x");
	CHECK(feed("delete k\0", 9, err) == EXIT_FAILED);
	CHECK_HAS(err, "not a line of delete, tag, prefix or flush: "
		       "delete k\\x00");
	check_there("k", 1);
	CHECK(feed("\0", 1, err) == EXIT_FAILED);
	CHECK(feed("", 0, err) == EXIT_OK);
	CHECK(feed("\n\n\r\n#", 5, err) == EXIT_OK);
	CHECK(feed("delete k", 8, err) == EXIT_OK);
	check_there("k", 0);
	CHECK_RESULT(shmcache_close(cache), 0);
}

static void
wrong_options_are_refused(void)
{
	static struct outcome outcome;

	need_tool();
	run_arguments(&outcome, TOOL, (const char *const[]){ NULL });
	check_refusal(&outcome, TOOL, EXIT_USAGE, "one cache");
	RUN(&outcome, TOOL, "--on-loss", "x", test_name("bridge"));
	check_refusal(&outcome, TOOL, EXIT_USAGE, "flush, expire or ignore");
	RUN(&outcome, TOOL, "--retry", "0", test_name("bridge"));
	check_refusal(&outcome, TOOL, EXIT_USAGE, "--retry must be");
	RUN(&outcome, TOOL, "--ping", "nan", test_name("bridge"));
	check_refusal(&outcome, TOOL, EXIT_USAGE, "--ping must be");
	RUN(&outcome, TOOL, "--connect-timeout", "1e9", test_name("bridge"));
	check_refusal(&outcome, TOOL, EXIT_USAGE, "--connect-timeout must be");
	RUN(&outcome, TOOL, "--channel", "x", test_name("bridge"));
	check_refusal(&outcome, TOOL, EXIT_USAGE, "needs --postgres");
	RUN(&outcome, TOOL, "--redis", "/x", "--postgres", "",
	    test_name("bridge"));
	check_refusal(&outcome, TOOL, EXIT_USAGE, "not both");
	RUN(&outcome, TOOL, "--redis", "/x", test_name("none"));
	check_refusal(&outcome, TOOL, EXIT_NO_ATTACH, "no cache of that name");
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* What is no address is refused, before the cache is looked for; what is one is
   not. */
static void
addresses_are_checked(void)
{
	static const char *const bad_redis[] = { "", "host:notaport",
		"host:", ":6379", "host:0", "host:65536", "host:-1", "host: 1",
		"host:6379x", "a b", "a:b:1", "::1:x", "[::1", "::1]", "[]",
		"[]:1", "[::1]x:1", "[::1]:", "[::1]:70000", "[host]:1",
		"[127.0.0.1]:1", "fe80::1%", "redis://host:6379",
		"user@host:6379" };
	static const char *const good_redis[] = { "host", "host:6379",
		"127.0.0.1:1", "::1", "[::1]", "[::1]:65535", "fe80::1%lo",
		"[fe80::1%lo]:6379", "::ffff:127.0.0.1", "a-b_c.d:1", "/s" };
	static const char *const bad_postgres[] = { "nonsense", "=", "wrong=1",
		"host=a port=b", "host=a port=0", "host=a,b port=1,70000",
		"postgresql://h:x/d" };
	static const char *const good_postgres[] = { "", "host=a port=1",
		"host=a,b port=,5432", "postgresql://u:p@[::1]:5432/d" };
	static struct outcome outcome;
	static char longest[400];

	need_tool();
	for (size_t i = 0; i < TEST_COUNT_OF(bad_redis); i++) {
		RUN(&outcome, TOOL, "--redis", bad_redis[i], test_name("none"));
		check_refusal(&outcome, TOOL, EXIT_USAGE, "--redis: ");
	}
	for (size_t i = 0; i < TEST_COUNT_OF(good_redis); i++) {
		RUN(&outcome, TOOL, "--redis", good_redis[i],
		    test_name("none"));
		check_refusal(
		    &outcome, TOOL, EXIT_NO_ATTACH, "no cache of that name");
	}
	for (size_t i = 0; i < TEST_COUNT_OF(bad_postgres); i++) {
		RUN(&outcome, TOOL, "--postgres", bad_postgres[i],
		    test_name("none"));
		check_refusal(&outcome, TOOL, EXIT_USAGE, "--postgres: ");
	}
	for (size_t i = 0; i < TEST_COUNT_OF(good_postgres); i++) {
		RUN(&outcome, TOOL, "--postgres", good_postgres[i],
		    test_name("none"));
		check_refusal(
		    &outcome, TOOL, EXIT_NO_ATTACH, "no cache of that name");
	}
	memset(longest, 'x', sizeof(longest) - 1);
	RUN(&outcome, TOOL, "--redis", longest, test_name("none"));
	check_refusal(&outcome, TOOL, EXIT_USAGE, "host is too long");
	longest[0] = '/';
	RUN(&outcome, TOOL, "--redis", longest, test_name("none"));
	check_refusal(&outcome, TOOL, EXIT_USAGE, "path of a socket");
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* --- servers ------------------------------------------------------------- */

struct server {
	const char *name;
	char start[TEXT_MAX];   /* commands, of a shell */
	char ready[TEXT_MAX];   /* succeeds when it answers */
	char publish[TEXT_MAX]; /* with %s for the message */
	char option[16];
	char address[256];
	int stop_signal;
	pid_t pid;
};

static void
make_folder(void)
{
	(void)snprintf(folder, sizeof(folder), "/tmp/shmcache-bridge-XXXXXX");
	CHECK(mkdtemp(folder) != NULL);
	CHECK_SYS(chmod(folder, 0777));
}

static void
remove_folder(void)
{
	CHECK(shell("rm -rf %s", folder) == 0);
}

static void
server_start(struct server *server)
{
	unsigned waits = 0;

	server->pid = fork();
	CHECK_SYS(server->pid);
	if (server->pid == 0) {
		char command[TEXT_MAX + 16];

		(void)snprintf(
		    command, sizeof(command), "exec %s", server->start);
		(void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	while (shell("%s >/dev/null 2>&1", server->ready) != 0) {
		CHECK_SAY(++waits < WAITS, "%s does not answer", server->name);
		CHECK_SAY(waitpid(server->pid, NULL, WNOHANG) == 0,
		    "%s has ended", server->name);
		sleep_us(50000);
	}
}

static void
server_stop(struct server *server)
{
	CHECK_SYS(kill(server->pid, server->stop_signal));
	CHECK_SYS(waitpid(server->pid, NULL, 0));
}

static void
publish(const struct server *server, const char *message)
{
	char command[TEXT_MAX];

	(void)snprintf(command, sizeof(command), "%s", server->publish);
	CHECK(shell("MESSAGE='%s'; %s >/dev/null", message, command) == 0);
}

static void
make_redis(struct server *server)
{
	if (shell("command -v redis-server redis-cli >/dev/null") != 0) {
		skip("redis-server is not installed");
	}
	make_folder();
	*server = (struct server){
		.name = "Redis", .option = "--redis", .stop_signal = SIGTERM
	};
	(void)snprintf(
	    server->address, sizeof(server->address), "%s/socket", folder);
	(void)snprintf(server->start, TEXT_MAX,
	    "redis-server --port 0 --unixsocket %s/socket --save '' --dir %s "
	    ">%s/log 2>&1",
	    folder, folder, folder);
	(void)snprintf(
	    server->ready, TEXT_MAX, "redis-cli -s %s/socket ping", folder);
	(void)snprintf(server->publish, TEXT_MAX,
	    "redis-cli -s %s/socket publish two \"$MESSAGE\"", folder);
	server_start(server);
}

/* The folder of PostgreSQL's programs. */
static void
find_postgres(char bin[256])
{
	glob_t found;

	bin[0] = '\0';
	if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) == 0) {
		(void)snprintf(
		    bin, 256, "%s", found.gl_pathv[found.gl_pathc - 1]);
		*strrchr(bin, '/') = '\0';
		globfree(&found);
	} else if (shell("command -v initdb postgres psql >/dev/null") != 0) {
		skip("PostgreSQL's server is not installed");
	}
}

static void
make_postgres(struct server *server)
{
	const char *as = geteuid() == 0 ? "setpriv --reuid=65534 --regid=65534 "
					  "--clear-groups"
					: "";
	char bin[256], path[300] = "";

	find_postgres(bin);
	if (bin[0] != '\0') {
		(void)snprintf(path, sizeof(path), "%s/", bin);
	}
	make_folder();
	CHECK(shell("cd %s && %s %sinitdb -D %s/data -A trust -U tester "
		    "--no-sync >%s/log 2>&1",
		  folder, as, path, folder, folder) == 0);
	*server = (struct server){ .name = "PostgreSQL",
		.option = "--postgres",
		.stop_signal = SIGINT };
	(void)snprintf(server->address, sizeof(server->address),
	    "host=%s user=tester dbname=postgres", folder);
	(void)snprintf(server->start, TEXT_MAX,
	    "%s %spostgres -D %s/data -k %s -c listen_addresses= -c fsync=off "
	    "-c dynamic_shared_memory_type=mmap >>%s/log 2>&1",
	    as, path, folder, folder, folder);
	(void)snprintf(server->ready, TEXT_MAX, "%spsql '%s' -c 'select 1'",
	    path, server->address);
	(void)snprintf(server->publish, TEXT_MAX,
	    "%spsql '%s' -c \"select pg_notify('two', E'$MESSAGE')\"", path,
	    server->address);
	server_start(server);
}

static pid_t
start_bridge(const struct server *server, const char *on_loss, int err)
{
	const char *arguments[] = { server->option, server->address,
		"--channel", "one", "--channel", "two", "--on-loss", on_loss,
		"--loss-ttl", "30", "--retry", "0.2", test_name("bridge"),
		NULL };

	return tool_start(TOOL, arguments, err, err);
}

static void
text_of(int fd, char text[OUTPUT_BYTES])
{
	ssize_t n = pread(fd, text, OUTPUT_BYTES - 1, 0);

	text[n > 0 ? n : 0] = '\0';
}

static void
await_text(int fd, const char *text)
{
	static char seen[OUTPUT_BYTES];
	unsigned waits = 0;

	do {
		text_of(fd, seen);
		CHECK_SAY(
		    ++waits < WAITS, "\"%s\" is missing in: %s", text, seen);
		sleep_us(50000);
	} while (strstr(seen, text) == NULL);
}

/* SIGTERM ends it at once, whatever it is at. */
static void
end_bridge(pid_t pid, int err)
{
	uint64_t until_ns = clock_ns(CLOCK_MONOTONIC) + END_MS * 1000000ull;
	int status;
	pid_t ended;

	CHECK_SYS(kill(pid, SIGTERM));
	while ((ended = waitpid(pid, &status, WNOHANG)) == 0) {
		CHECK_SAY(clock_ns(CLOCK_MONOTONIC) < until_ns,
		    "it goes on for %d ms after SIGTERM", END_MS);
		sleep_us(5000);
	}
	CHECK_SYS(ended);
	CHECK_SAY(status == 0, "it ended with status %d", status);
	CHECK_SYS(close(err));
}

static void
check_messages(const struct server *server)
{
	set_tagged("tagged", "t");
	cache_set_text(cache, "one", "x");
	cache_set_text(cache, "two", "x");
	cache_set_text(cache, "stays", "x");
	publish(server, "tag t");
	await_gone("tagged");
	publish(server, "nonsense");
	publish(server, "delete one\ndelete two");
	await_gone("two");
	check_there("one", 0);
	check_there("stays", 1);
	publish(server, "flush");
	await_gone("stays");
}

static void
follow_server(struct server *server)
{
	int err = scratch_file();
	pid_t pid;

	cache_set_text(cache, "before", "x");
	pid = start_bridge(server, "flush", err);
	await_text(err, "listening to");
	await_gone("before"); /* messages may have come before it was started */
	check_messages(server);
	await_text(err, "not a line of delete, tag, prefix or flush: nonsense");
	cache_set_text(cache, "before", "x");
	server_stop(server);
	await_gone("before");
	await_text(err, "trying again");
	cache_set_text(cache, "meanwhile", "x");
	server_start(server);
	await_gone("meanwhile");
	check_messages(server);
	end_bridge(pid, err);
}

/* With `expire` nothing is lost at once, and nothing stays for long. */
static void
follow_and_expire(struct server *server)
{
	int err = scratch_file();
	unsigned waits = 0;
	int64_t ttl_ms;
	pid_t pid;

	cache_set_text(cache, "long", "x");
	CHECK_RESULT(shmcache_set(cache, "short", 5, "x", 1, 1000000, 0), 0);
	CHECK_RESULT(shmcache_touch(cache, "short", 5, 20000), 0);
	pid = start_bridge(server, "expire", err);
	await_text(err, "listening to");
	do {
		CHECK(++waits < WAITS);
		sleep_us(50000);
		CHECK_RESULT(shmcache_ttl(cache, "long", 4, &ttl_ms), 0);
	} while (ttl_ms == SHMCACHE_TTL_NONE);
	CHECK(ttl_ms <= 30000 && ttl_ms > 0);
	CHECK_RESULT(shmcache_ttl(cache, "short", 5, &ttl_ms), 0);
	CHECK(ttl_ms <= 20000);
	server_stop(server);
	cache_set_text(cache, "meanwhile", "x");
	do {
		CHECK(++waits < WAITS);
		sleep_us(50000);
		CHECK_RESULT(shmcache_ttl(cache, "meanwhile", 9, &ttl_ms), 0);
	} while (ttl_ms == SHMCACHE_TTL_NONE);
	end_bridge(pid, err);
}

/* A message may have lines, and one of them many MB. */
static void
check_huge_message(const struct server *server)
{
	const char *arguments[] = { "--redis", server->address, "--channel",
		"two", "--on-loss", "ignore", test_name("bridge"), NULL };
	int err = scratch_file();
	pid_t pid = tool_start(TOOL, arguments, err, err);

	cache_set_text(cache, "after", "x");
	await_text(err, "listening to");
	CHECK(shell("{ head -c 8000000 /dev/zero | tr '\\0' h; "
		    "printf '\\ndelete after\\n'; } | "
		    "redis-cli -s %s -x publish two >/dev/null",
		  server->address) == 0);
	await_gone("after");
	await_text(err, "the line is too long: hhh");
	end_bridge(pid, err);
}

/* A message of very many lines does not keep it from ending. */
static void
end_within_a_message(const struct server *server)
{
	int err = scratch_file();
	pid_t pid = start_bridge(server, "ignore", err);

	cache_set_text(cache, "first", "x");
	await_text(err, "listening to");
	CHECK(shell("{ echo delete first; yes prefix x | head -n 3000000; } | "
		    "redis-cli -s %s -x publish two >/dev/null",
		  server->address) == 0);
	await_gone("first");
	end_bridge(pid, err);
}

/* A server that answers its pings is listened to for as long as it has nothing to
   say. */
static void
silence_is_no_loss(const struct server *server)
{
	static char text[OUTPUT_BYTES];
	/* (Long enough for a server on a busy machine.) */
	const char *arguments[] = { server->option, server->address,
		"--channel", "two", "--ping", "2", test_name("bridge"), NULL };
	int err = scratch_file();
	pid_t pid = tool_start(TOOL, arguments, err, err);

	await_text(err, "listening to");
	sleep_us(6000000);
	cache_set_text(cache, "stays", "x");
	cache_set_text(cache, "goes", "x");
	publish(server, "delete goes");
	await_gone("goes");
	check_there("stays", 1);
	text_of(err, text);
	CHECK_SAY(strstr(text, "trying again") == NULL, "%s", text);
	end_bridge(pid, err);
}

/* One that stands still, though its kernel answers for it, is not. */
static void
standstill_is_a_loss(
    const struct server *server, const char *stop, const char *go_on)
{
	const char *arguments[] = { server->option, server->address,
		"--channel", "two", "--ping", "0.5", "--connect-timeout", "1",
		"--retry", "0.2", test_name("bridge"), NULL };
	int err = scratch_file();
	pid_t pid = tool_start(TOOL, arguments, err, err);

	await_text(err, "listening to");
	cache_set_text(cache, "before", "x");
	CHECK(shell("%s", stop) == 0);
	await_text(err, "it gives no sign of life; trying again");
	await_gone("before");
	CHECK(shell("%s", go_on) == 0);
	cache_set_text(cache, "goes", "x");
	do {
		sleep_us(100000);
		publish(server, "delete goes");
	} while (shmcache_exists(cache, "goes", 4) != 0);
	end_bridge(pid, err);
}

static void
redis_messages_are_applied(void)
{
	char stop[64], go_on[64];
	struct server server;

	need_tool();
	make_redis(&server);
	check_huge_message(&server);
	end_within_a_message(&server);
	silence_is_no_loss(&server);
	(void)snprintf(stop, sizeof(stop), "kill -STOP %d", (int)server.pid);
	(void)snprintf(go_on, sizeof(go_on), "kill -CONT %d", (int)server.pid);
	standstill_is_a_loss(&server, stop, go_on);
	follow_server(&server);
	follow_and_expire(&server);
	remove_folder();
	CHECK_RESULT(shmcache_close(cache), 0);
}

static void
postgres_messages_are_applied(void)
{
	char stop[128], go_on[128];
	struct server server;

	need_tool();
	make_postgres(&server);
	silence_is_no_loss(&server);
	(void)snprintf(stop, sizeof(stop),
	    "pkill -STOP -P %d -f 'postgres: tester'", (int)server.pid);
	(void)snprintf(go_on, sizeof(go_on),
	    "pkill -CONT -P %d -f 'postgres: tester'", (int)server.pid);
	standstill_is_a_loss(&server, stop, go_on);
	follow_server(&server);
	server_stop(&server);
	remove_folder();
	CHECK_RESULT(shmcache_close(cache), 0);
}

static void
it_waits_for_a_server(void)
{
	struct server server = { .option = "--redis",
		.address = "/nonexistent/socket" };
	int err = scratch_file();
	pid_t pid;

	need_tool();
	cache_set_text(cache, "stays", "x");
	pid = start_bridge(&server, "flush", err);
	await_text(err, "trying again");
	check_there("stays", 1); /* nothing was lost yet */
	end_bridge(pid, err);
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* --- mute servers -------------------------------------------------------- */

/* A socket to which one can connect, and nobody answers; its port. */
static int
listen_at(int family, in_port_t *port)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} address;
	socklen_t bytes = sizeof(address);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(&address, 0, sizeof(address));
	address.any.sa_family = (sa_family_t)family;
	if (family == AF_INET6) {
		address.v6.sin6_addr = in6addr_loopback;
	} else {
		address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	}
	if (fd < 0 || bind(fd, &address.any,
			  family == AF_INET6 ? sizeof(address.v6)
					     : sizeof(address.v4)) != 0) {
		skip("no address of this machine itself");
	}
	CHECK_SYS(listen(fd, 8));
	CHECK_SYS(getsockname(fd, &address.any, &bytes));
	*port = ntohs(
	    family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
	return fd;
}

static int
accept_one(int listener)
{
	struct pollfd polled = { .fd = listener, .events = POLLIN };
	int fd;

	CHECK_SAY(poll(&polled, 1, WAITS * 50) == 1, "nobody connects");
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	CHECK_SYS(fd);
	return fd;
}

/* Reads what is asked, and says this. */
static void
answer(int fd, const char *text)
{
	char asked[512];

	CHECK(read(fd, asked, sizeof(asked)) > 0);
	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

#define SUBSCRIBED "*3\r\n$9\r\nsubscribe\r\n$8\r\nshmcache\r\n:1\r\n"

static pid_t
start_mute(const char *option, const char *address, const char *timeout_s,
    const char *on_loss, int err)
{
	const char *arguments[] = { option, address, "--connect-timeout",
		timeout_s, "--ping", "0.5", "--retry", "0.2", "--on-loss",
		on_loss, test_name("bridge"), NULL };

	return tool_start(TOOL, arguments, err, err);
}

/* Who does not answer is given up; who is waited for does not delay the end. */
static void
check_mute(const char *option, const char *address, int listener,
    const char *complaint)
{
	int err = scratch_file(), connection;
	pid_t pid = start_mute(option, address, "1", "flush", err);

	CHECK_SYS(
	    close(accept_one(listener))); /* at once: a loss like others */
	connection = accept_one(listener);
	await_text(err, complaint);
	CHECK_SYS(close(accept_one(listener)));
	end_bridge(pid, err);
	CHECK_SYS(close(connection));

	err = scratch_file();
	pid = start_mute(option, address, "1000", "flush", err);
	connection = accept_one(listener);
	sleep_us(200000);
	end_bridge(pid, err);
	CHECK_SYS(close(connection));
}

static void
mute_servers_are_given_up(void)
{
	char address[128];
	in_port_t port;
	int listener = listen_at(AF_INET, &port);

	need_tool();
	cache_set_text(cache, "stays", "x");
	(void)snprintf(address, sizeof(address), "127.0.0.1:%u", port);
	check_mute("--redis", address, listener,
	    "Redis: no answer to the subscription in time; trying again");
	(void)snprintf(address, sizeof(address),
	    "host=127.0.0.1 port=%u user=x dbname=x sslmode=disable", port);
	check_mute("--postgres", address, listener, "timeout expired");
	check_there("stays", 1); /* nothing was lost yet */
	CHECK_SYS(close(listener));
	CHECK_RESULT(shmcache_close(cache), 0);
}

static void
ipv6_addresses_are_understood(void)
{
	char address[64];
	in_port_t port;
	int listener = listen_at(AF_INET6, &port), err = scratch_file();
	int connection;
	pid_t pid;

	need_tool();
	(void)snprintf(address, sizeof(address), "[::1]:%u", port);
	pid = start_mute("--redis", address, "10", "flush", err);
	connection = accept_one(listener);
	answer(connection, SUBSCRIBED);
	await_text(err, "listening to Redis");
	end_bridge(pid, err);
	CHECK_SYS(close(connection));
	CHECK_SYS(close(listener));
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* A message that comes in one piece with the confirmation is applied at once, not
   with what comes next; who then is silent is lost. */
static void
what_is_read_is_applied_at_once(void)
{
	char address[64];
	in_port_t port;
	int listener = listen_at(AF_INET, &port), err = scratch_file();
	int connection;
	pid_t pid;

	need_tool();
	cache_set_text(cache, "goes", "x");
	cache_set_text(cache, "stays", "x");
	(void)snprintf(address, sizeof(address), "127.0.0.1:%u", port);
	pid = start_mute("--redis", address, "10", "ignore", err);
	connection = accept_one(listener);
	answer(connection,
	    SUBSCRIBED "*3\r\n$7\r\nmessage\r\n$8\r\nshmcache\r\n"
		       "$11\r\ndelete goes\r\n");
	await_gone("goes");
	check_there("stays", 1);
	await_text(err, "it gives no sign of life; trying again");
	end_bridge(pid, err);
	CHECK_SYS(close(connection));
	CHECK_SYS(close(listener));
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* A mute server that has confirmed the subscription, and the bridge that listens. */
struct mute {
	int listener;
	int connection;
	int err;
	pid_t pid;
};

static void
mute_begin_at(struct mute *mute, const char *on_loss, int err)
{
	const char *arguments[] = { "--redis", NULL, "--ping", "100",
		"--verbose", "--loss-ttl", "1", "--on-loss", on_loss,
		test_name("bridge"), NULL };
	char address[64];
	in_port_t port;

	mute->listener = listen_at(AF_INET, &port);
	mute->err = err;
	(void)snprintf(address, sizeof(address), "127.0.0.1:%u", port);
	arguments[1] = address;
	mute->pid = tool_start(TOOL, arguments, mute->err, mute->err);
	mute->connection = accept_one(mute->listener);
	answer(mute->connection, SUBSCRIBED);
}

static void
mute_begin(struct mute *mute, const char *on_loss)
{
	mute_begin_at(mute, on_loss, scratch_file());
	await_text(mute->err, "listening to Redis");
}

static void
mute_send(const struct mute *mute, const char *message, size_t bytes)
{
	char head[64];

	(void)snprintf(head, sizeof(head),
	    "*3\r\n$7\r\nmessage\r\n$8\r\nshmcache\r\n$%zu\r\n", bytes);
	write_all(mute->connection, head, strlen(head));
	write_all(mute->connection, message, bytes);
	write_all(mute->connection, "\r\n", 2);
}

static void
mute_end(struct mute *mute)
{
	end_bridge(mute->pid, mute->err);
	CHECK_SYS(close(mute->connection));
	CHECK_SYS(close(mute->listener));
}

/* A message that came while there was no cache may be about what is in the next: it
   may have been stored before the bridge has that one open. */
static void
a_cache_that_is_made_anew_is_not_trusted(void)
{
	struct mute mute;

	need_tool();
	mute_begin(&mute, "flush");
	cache_remove("bridge");
	CHECK_RESULT(shmcache_close(cache), 0);
	mute_send(&mute, "delete k\ndelete l", 17);
	/* It says a line before it applies it, but after the line before.  It stands
	   still lest it find the cache before k is there. */
	await_text(mute.err, ": delete l\n");
	CHECK(child_stop(mute.pid));
	cache = cache_create_plain("bridge", 4 << 20);
	cache_set_text(cache, "k", "x");
	CHECK_SYS(kill(mute.pid, SIGCONT));
	await_gone("k");
	cache_set_text(cache, "k", "x");
	cache_set_text(cache, "stays", "x");
	mute_send(&mute, "delete k", 8);
	await_gone("k");
	check_there("stays", 1);
	mute_end(&mute);
	CHECK_RESULT(shmcache_close(cache), 0);
}

static unsigned
count_of(const char *text, const char *part)
{
	unsigned count = 0;

	while ((text = strstr(text, part)) != NULL) {
		text += strlen(part);
		count++;
	}
	return count;
}

/* Bytes of any sort, in a key, a line or a message, reach the terminal as escapes;
   and a message of very many bad lines is a few reports. */
static void
what_anybody_sends_does_no_harm(void)
{
	static const char bytes[] = "\0\n\x1b[2J\n\xc3\ndelete \xe2\x82\n"
				    "delete \x1b]0;x\x07\ndelete a\\nb\r\n"
				    "flush\0\n\n\n\xff\xfe delete stays\n";
	static char lines[400000], text[OUTPUT_BYTES];
	struct mute mute;

	need_tool();
	cache_set_text(cache, "stays", "x");
	cache_set_text(cache, "a\nb", "x");
	cache_set_text(cache, "\xe2\x82", "x");
	cache_set_text(cache, "last", "x");
	mute_begin(&mute, "ignore");
	mute_send(&mute, "", 0);
	mute_send(&mute, bytes, sizeof(bytes) - 1);
	for (size_t i = 0; i < sizeof(lines); i++) {
		lines[i] = i % 2 == 0 ? 'x' : '\n';
	}
	mute_send(&mute, lines, sizeof(lines));
	mute_send(&mute, "delete last", 11);
	await_gone("last");
	check_there("stays", 1);
	check_there("a\nb", 0);
	check_there("\xe2\x82", 0);
	await_text(mute.err, ": delete a\\nb\n");
	await_text(mute.err, ": delete \\x1b]0;x\\x07\n");
	await_text(
	    mute.err, "199990 more lines of this message are passed over\n");
	text_of(mute.err, text);
	CHECK(count_of(text, "prefix or flush: x\n") == 10);
	CHECK_HAS(text, "prefix or flush: \\x1b[2J\n");
	for (const char *at = text; *at != '\0'; at++) {
		CHECK_SAY(*at == '\n' || (*at >= ' ' && *at <= '~'),
		    "a byte %d", *at);
	}
	mute_end(&mute);
	CHECK_RESULT(shmcache_close(cache), 0);
}

static void
await_full(int fd)
{
	struct pollfd polled = { .fd = fd, .events = POLLOUT };
	unsigned waits = 0;

	while (poll(&polled, 1, 0) != 0) {
		CHECK_SAY(++waits < WAITS, "there is still room in the pipe");
		sleep_us(50000);
	}
}

/* A signal ends it also as it waits for who is to read its reports. */
static void
nobody_has_to_read_its_reports(void)
{
	static char lines[60000];
	struct mute mute;
	int reports[2];

	need_tool();
	CHECK_SYS(pipe2(reports, O_CLOEXEC));
	for (size_t i = 0; i < sizeof(lines); i++) {
		lines[i] = "flush\n"[i % 6];
	}
	mute_begin_at(&mute, "ignore", reports[1]);
	mute_send(&mute, lines, sizeof(lines));
	await_full(reports[1]);
	mute_end(&mute);
	CHECK_SYS(close(reports[0]));
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* As by a thread of a program that leaves signals to another of its threads. */
static void
signals_that_were_blocked_are_heard(void)
{
	struct mute mute;
	sigset_t set, before;

	need_tool();
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGALRM);
	(void)sigaddset(&set, SIGTERM);
	CHECK_SYS(sigprocmask(SIG_BLOCK, &set, &before));
	mute_begin(&mute, "ignore");
	CHECK_SYS(sigprocmask(SIG_SETMASK, &before, NULL));
	mute_end(&mute);
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* --- expire -------------------------------------------------------------- */

/* A quarter is for a machine that is busy. */
#define LIMIT_MS 8000

static uint64_t
now_ms(void)
{
	return clock_ns(CLOCK_MONOTONIC) / 1000000;
}

/* What a loading call finds, which takes stale values too: SHMCACHE_LEAD if nothing,
   else a value's source, or an error. */
static int
begin_load(const char *key, struct shmcache_token *token)
{
	struct shmcache_load_options options = SHMCACHE_LOAD_OPTIONS_INIT;
	struct shmcache_value value = { .value = NULL };
	int result;

	options.stale_ms = 600000;
	result = shmcache_begin_load(
	    cache, key, strlen(key), &options, &value, token);
	if (result == 0) {
		result = (int)value.source;
	}
	if (result == SHMCACHE_LEAD && value.value != NULL) {
		CHECK_RESULT(shmcache_abandon(cache, token), 0);
		result = SHMCACHE_FROM_STALE;
	}
	free(value.value);
	return result;
}

static int
end_load(const char *key, const struct shmcache_token *token, int result,
    uint32_t stale_ms)
{
	struct shmcache_load_options options = SHMCACHE_LOAD_OPTIONS_INIT;
	struct shmcache_loaded loaded = { .value = NULL };

	options.ttl_ms = 600000;
	options.stale_ms = stale_ms;
	options.negative_ttl_ms = 600000;
	return shmcache_fill(
	    cache, key, strlen(key), token, result, &loaded, &options);
}

/* The source has no such key, as the cache knows for ten minutes. */
static void
store_negative(const char *key)
{
	struct shmcache_token token;

	CHECK(begin_load(key, &token) == SHMCACHE_LEAD);
	CHECK_RESULT(end_load(key, &token, SHMCACHE_ENOENT, 0), 0);
	CHECK(begin_load(key, &token) == SHMCACHE_ENOENT);
}

/* Nothing of the key is there any more at that time, for loading calls too. */
static void
check_gone_by(const char *key, uint64_t until_ms)
{
	struct shmcache_token token;

	for (;;) {
		uint64_t at_ms = now_ms();
		int found = begin_load(key, &token);

		if (found == SHMCACHE_LEAD) {
			break;
		}
		CHECK_SAY(
		    at_ms <= until_ms, "%s is still there: %d", key, found);
		sleep_us(10000);
	}
	CHECK_RESULT(shmcache_abandon(cache, &token), 0);
}

/* An outage: what was there before, of whatever sort, and what is stored meanwhile,
   lives no longer than the limit; and loads that began before end in vain. */
static void
nothing_outlives_the_limit(void)
{
	const char *arguments[] = { "--redis", "/nonexistent/socket",
		"--on-loss", "expire", "--loss-ttl", "8", test_name("bridge"),
		NULL };
	int err = scratch_file();
	struct shmcache_token late, stale;
	uint64_t since_ms;
	pid_t pid;

	need_tool();
	cache_set_text(cache, "plain", "x");
	store_negative("negative");
	CHECK(begin_load("stale", &stale) == SHMCACHE_LEAD);
	CHECK_RESULT(end_load("stale", &stale, 0, 600000), 0);
	CHECK(begin_load("late", &late) == SHMCACHE_LEAD);
	pid = tool_start(TOOL, arguments, err, err);
	await_text(err, "trying again");
	since_ms = now_ms();
	check_there("plain", 1);
	check_gone_by("plain", since_ms + LIMIT_MS);
	check_gone_by("negative", since_ms + LIMIT_MS);
	check_gone_by("stale", since_ms + LIMIT_MS);
	CHECK_RESULT(end_load("late", &late, 0, 0), SHMCACHE_ESTALE);
	since_ms = now_ms();
	store_negative("negative");
	cache_set_text(cache, "plain", "x");
	check_gone_by("plain", since_ms + LIMIT_MS);
	check_gone_by("negative", since_ms + LIMIT_MS);
	end_bridge(pid, err);
	CHECK_RESULT(shmcache_close(cache), 0);
}

/* What is loaded while messages come stays. */
static void
what_is_loaded_after_a_loss_stays(void)
{
	struct mute mute;
	int64_t ttl_ms;

	need_tool();
	cache_set_text(cache, "before", "x");
	cache_set_text(cache, "goes", "x");
	mute_begin(&mute, "expire");
	mute_send(&mute, "delete goes", 11); /* when all is noted */
	await_gone("goes");
	cache_set_text(cache, "after", "x");
	store_negative("negative");
	await_gone("before");
	sleep_us(2000000);
	CHECK_RESULT(shmcache_ttl(cache, "after", 5, &ttl_ms), 0);
	CHECK(ttl_ms == SHMCACHE_TTL_NONE);
	CHECK(begin_load("negative", &(struct shmcache_token){ 0 }) ==
	      SHMCACHE_ENOENT);
	mute_end(&mute);
	CHECK_RESULT(shmcache_close(cache), 0);
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(lines_do_what_they_say),
		CASE(bad_lines_are_passed_over),
		CASE(huge_lines_are_passed_over),
		CASE(last_line_needs_no_end),
		CASE(wrong_options_are_refused),
		CASE(addresses_are_checked),
		CASE(it_waits_for_a_server),
		CASE(mute_servers_are_given_up),
		CASE(ipv6_addresses_are_understood),
		CASE(what_is_read_is_applied_at_once),
		CASE(a_cache_that_is_made_anew_is_not_trusted),
		CASE(what_anybody_sends_does_no_harm),
		CASE(nobody_has_to_read_its_reports),
		CASE(signals_that_were_blocked_are_heard),
		CASE(nothing_outlives_the_limit),
		CASE(what_is_loaded_after_a_loss_stays),
		CASE(redis_messages_are_applied),
		CASE(postgres_messages_are_applied),
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
	};

	return run_suite(argc, argv, &suite);
}
