/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shmcache-invalidate.c - turn messages into invalidations
 *
 * Lines of standard input, or messages of PostgreSQL or Redis, each delete keys,
 * invalidate tags, or flush (tools/invalidate/bridge.h).
 *
 * A connection that is lost may have cost messages, and so may the time before
 * this program was started.  So everything in the cache is treated as possibly
 * stale (--on-loss) when the connection is lost, and again when it is back and
 * listening: what was stored in between may have missed a message, what is stored
 * from then on has not.  In between, `expire` does it again with each attempt, so
 * that nothing gets much older than its limit.
 *
 * Signals are blocked but while it waits, so one that ends it does so between
 * two messages.
 */
#include "tools/common.h"
#include "tools/invalidate/bridge.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RETRY_MS_FIRST 100
#define SECONDS_MAX    86400.0

static char *postgres_address;
static char *redis_address;
static char **channels;
static const char *on_loss_name = "flush";
static double loss_ttl_s = 10.0;
static double retry_s = 10.0;
static int verbose;
static enum on_loss on_loss;

static const struct poptOption option_table[] = {
	{ "postgres", 'p', POPT_ARG_STRING, &postgres_address, 0,
	    "listen to the notifications of this PostgreSQL server",
	    "CONNINFO" },
	{ "redis", 'r', POPT_ARG_STRING, &redis_address, 0,
	    "subscribe at this Redis server: HOST:PORT, or a socket's path",
	    "ADDRESS" },
	{ "channel", 'c', POPT_ARG_ARGV, &channels, 0,
	    "channel to listen to; may be repeated (default: shmcache)",
	    "CHANNEL" },
	{ "on-loss", 'l', POPT_ARG_STRING | POPT_ARGFLAG_SHOW_DEFAULT,
	    &on_loss_name, 0,
	    "as messages may be missing: flush; expire: let all entries live "
	    "for --loss-ttl at most; or ignore",
	    "ACTION" },
	{ "loss-ttl", 't', POPT_ARG_DOUBLE | POPT_ARGFLAG_SHOW_DEFAULT,
	    &loss_ttl_s, 0, "time to live for --on-loss expire", "SECONDS" },
	{ "retry", 'i', POPT_ARG_DOUBLE | POPT_ARGFLAG_SHOW_DEFAULT, &retry_s,
	    0, "longest time between two attempts to connect", "SECONDS" },
	{ "verbose", 'v', POPT_ARG_NONE, &verbose, 0,
	    "report each line that is applied", NULL },
	TOOL_COMMON_OPTIONS, POPT_TABLEEND
};

static volatile sig_atomic_t ended_by;

static void
note_signal(int number)
{
	ended_by = number;
}

/* SIGTERM and SIGINT come while we wait only; *waiting is the mask for that. */
static void
block_signals(sigset_t *waiting)
{
	struct sigaction action = { .sa_handler = note_signal };
	sigset_t blocked;

	(void)sigemptyset(&blocked);
	(void)sigaddset(&blocked, SIGTERM);
	(void)sigaddset(&blocked, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &blocked, waiting);
	(void)sigdelset(waiting, SIGTERM);
	(void)sigdelset(waiting, SIGINT);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGINT, &action, NULL);
}

/* Wait until the descriptor (-1: none) is readable, or for so long. */
static void
wait_for(int fd, long long ms, const sigset_t *waiting)
{
	struct timespec limit = { (time_t)(ms / 1000),
		(long)(ms % 1000) * 1000000 };
	struct pollfd polled = { .fd = fd, .events = POLLIN };

	(void)ppoll(&polled, 1, ms < 0 ? NULL : &limit, waiting);
}

static int
lose(struct bridge *bridge)
{
	int error =
	    bridge_lose(bridge, on_loss, (long long)(loss_ttl_s * 1000));

	return error == 0 ? TOOL_GO_ON : tool_fail(bridge->name, error);
}

/* Takes messages until the connection is lost (TOOL_GO_ON). */
static int
take_messages(struct source *source, struct bridge *bridge,
    const sigset_t *waiting, char why[WHY_BYTES])
{
	int receiving = 1;

	while (receiving && ended_by == 0 && bridge->error == 0) {
		wait_for(source->descriptor(source), -1, waiting);
		if (ended_by == 0) {
			receiving = source->receive(source, bridge, why);
		}
	}
	if (bridge->error != 0) {
		return tool_fail(bridge->name, bridge->error);
	}
	return TOOL_GO_ON;
}

/* One connection, from its beginning to its loss; *retry_ms is how long to wait
   for the next. */
static int
use_connection(struct source *source, struct bridge *bridge,
    const sigset_t *waiting, long long *retry_ms)
{
	char why[WHY_BYTES] = "";
	int code = TOOL_GO_ON, connected = source->connect(source, why);

	if (connected) {
		tool_say(bridge->name, "listening to %s", source->name);
		*retry_ms = RETRY_MS_FIRST;
		code = lose(bridge);
		if (code == TOOL_GO_ON) {
			code = take_messages(source, bridge, waiting, why);
		}
	}
	source->disconnect(source);
	if (code != TOOL_GO_ON || ended_by != 0) {
		return code;
	}
	tool_say(bridge->name, "%s: %s; trying again", source->name, why);
	if (connected || on_loss == ON_LOSS_EXPIRE) {
		code = lose(bridge);
	}
	if (code == TOOL_GO_ON) {
		wait_for(-1, *retry_ms, waiting);
	}
	*retry_ms *= 2;
	if (*retry_ms > (long long)(retry_s * 1000)) {
		*retry_ms = (long long)(retry_s * 1000);
	}
	return code;
}

static int
follow(struct source *source, struct bridge *bridge)
{
	long long retry_ms = RETRY_MS_FIRST;
	sigset_t waiting;
	int code = TOOL_GO_ON;

	block_signals(&waiting);
	while (code == TOOL_GO_ON && ended_by == 0) {
		code = use_connection(source, bridge, &waiting, &retry_ms);
	}
	tool_say(bridge->name, "%llu lines applied, %llu passed over",
	    bridge->applied, bridge->refused);
	return code == TOOL_GO_ON ? TOOL_OK : code;
}

static int
read_lines(struct bridge *bridge)
{
	int read = lines_read(STDIN_FILENO, bridge);

	if (!read) {
		tool_say(bridge->name, "standard input: %m");
		return TOOL_FAILED;
	}
	if (bridge->error != 0) {
		return tool_fail(bridge->name, bridge->error);
	}
	if (bridge->refused > 0) {
		tool_say(bridge->name, "%llu lines applied, %llu passed over",
		    bridge->applied, bridge->refused);
		return TOOL_FAILED;
	}
	return TOOL_OK;
}

static int
check_seconds(const char *option, double seconds)
{
	if (seconds >= 0.1 && seconds <= SECONDS_MAX) {
		return TOOL_GO_ON;
	}
	return tool_usage("--%s must be from 0.1 to %g seconds, not %g", option,
	    SECONDS_MAX, seconds);
}

static int
check_options(struct source *source)
{
	static const char *const names[] = { "flush", "expire", "ignore" };
	static const char *default_channel = "shmcache";
	int code = check_seconds("loss-ttl", loss_ttl_s);

	if (code == TOOL_GO_ON) {
		code = check_seconds("retry", retry_s);
	}
	if (code != TOOL_GO_ON) {
		return code;
	}
	while (on_loss <= ON_LOSS_IGNORE &&
	       strcmp(on_loss_name, names[on_loss]) != 0) {
		on_loss++;
	}
	if (on_loss > ON_LOSS_IGNORE) {
		return tool_usage("--on-loss must be flush, expire or ignore, "
				  "not %s",
		    on_loss_name);
	}
	if (postgres_address != NULL && redis_address != NULL) {
		return tool_usage("give --postgres or --redis, not both: run "
				  "two of these programs");
	}
	if (channels != NULL && postgres_address == NULL &&
	    redis_address == NULL) {
		return tool_usage("--channel needs --postgres or --redis");
	}
	source->channels[0] = default_channel;
	source->channel_count = 1;
	for (unsigned i = 0; channels != NULL && channels[i] != NULL; i++) {
		if (i == CHANNELS_MAX || channels[i][0] == '\0' ||
		    strlen(channels[i]) > 128) {
			return tool_usage("give up to %d channels of 1 to 128 "
					  "bytes",
			    CHANNELS_MAX);
		}
		source->channels[i] = channels[i];
		source->channel_count = i + 1;
	}
	return TOOL_GO_ON;
}

int
main(int argc, char **argv)
{
	struct source source = { .name = NULL };
	struct bridge bridge = { .cache = NULL };
	const char *const *arguments;
	int code;

	tool_start("shmcache-invalidate");
	code = tool_parse(
	    argc, argv, option_table, "[OPTION]... NAME", &arguments);
	if (code == TOOL_GO_ON && (!arguments[0] || arguments[1])) {
		code = tool_usage("give the name of one cache");
	}
	if (code == TOOL_GO_ON) {
		source =
		    postgres_address != NULL ? postgres_source : redis_source;
		source.address =
		    postgres_address != NULL ? postgres_address : redis_address;
		code = check_options(&source);
	}
	if (code != TOOL_GO_ON) {
		return tool_finish(code);
	}
	bridge.name = arguments[0];
	bridge.verbose = verbose;
	code = tool_attach(bridge.name, &bridge.cache);
	if (code == TOOL_OK) {
		code = source.address != NULL ? follow(&source, &bridge)
					      : read_lines(&bridge);
	}
	shmcache_close(bridge.cache);
	return tool_finish(code);
}
