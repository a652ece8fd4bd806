/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shmcache-invalidate.c - turn messages into invalidations
 *
 * Lines of standard input, or messages of PostgreSQL or Redis, each delete keys,
 * invalidate tags, or flush (tools/invalidate/bridge.h).  Messages can be missing,
 * before this program was started too: tools/invalidate/loss.h.
 */
#include "tools/common.h"
#include "tools/invalidate/follow.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SECONDS_MAX 86400.0

static char *postgres_address;
static char *redis_address;
static char **channels;
static const char *on_loss_name = "flush";
static double loss_ttl_s = 10.0;
static double retry_s = 10.0;
static double connect_timeout_s = 10.0;
static double ping_s = 10.0;
static int verbose;

static const struct poptOption option_table[] = {
	{ "postgres", 'p', POPT_ARG_STRING, &postgres_address, 0,
	    "listen to the notifications of this PostgreSQL server",
	    "CONNINFO" },
	{ "redis", 'r', POPT_ARG_STRING, &redis_address, 0,
	    "subscribe at this Redis server: HOST, HOST:PORT, [IPV6]:PORT or "
	    "a socket's path",
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
	{ "connect-timeout", 'T', POPT_ARG_DOUBLE | POPT_ARGFLAG_SHOW_DEFAULT,
	    &connect_timeout_s, 0,
	    "time that a server has to answer when it is connected to",
	    "SECONDS" },
	{ "ping", 'P', POPT_ARG_DOUBLE | POPT_ARGFLAG_SHOW_DEFAULT, &ping_s, 0,
	    "ask a server that is silent for so long for a sign of life, and "
	    "wait as long for it",
	    "SECONDS" },
	{ "verbose", 'v', POPT_ARG_NONE, &verbose, 0,
	    "report each line that is applied", NULL },
	TOOL_COMMON_OPTIONS, POPT_TABLEEND
};

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
check_times(void)
{
	const struct {
		const char *option;
		double seconds;
	} times[] = {
		{ "loss-ttl", loss_ttl_s },
		{ "retry", retry_s },
		{ "connect-timeout", connect_timeout_s },
		{ "ping", ping_s },
	};
	int code = TOOL_GO_ON;

	for (size_t i = 0;
	     code == TOOL_GO_ON && i < sizeof(times) / sizeof(times[0]); i++) {
		code = check_seconds(times[i].option, times[i].seconds);
	}
	return code;
}

static int
read_on_loss(enum on_loss *on_loss_out)
{
	static const char *const names[] = { "flush", "expire", "ignore" };

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(on_loss_name, names[i]) == 0) {
			*on_loss_out = (enum on_loss)i;
			return TOOL_GO_ON;
		}
	}
	return tool_usage(
	    "--on-loss must be flush, expire or ignore, not %s", on_loss_name);
}

static int
read_channels(struct source *source)
{
	source->channels[0] = "shmcache";
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

/* No source, as the lines are those of standard input: its name stays NULL. */
static int
read_source(struct source *source)
{
	int is_postgres = postgres_address != NULL;
	char why[WHY_BYTES];

	if (!is_postgres && redis_address == NULL) {
		return channels == NULL
			   ? TOOL_GO_ON
			   : tool_usage(
				 "--channel needs --postgres or --redis");
	}
	if (is_postgres && redis_address != NULL) {
		return tool_usage("give --postgres or --redis, not both: run "
				  "two of these programs");
	}
	*source = is_postgres ? postgres_source : redis_source;
	source->address = is_postgres ? postgres_address : redis_address;
	source->timeout_ms = (long long)(connect_timeout_s * 1000);
	if (!source->check(source->address, why)) {
		return tool_usage(
		    "--%s: %s", is_postgres ? "postgres" : "redis", why);
	}
	return read_channels(source);
}

static int
read_options(struct source *source, struct loss *loss)
{
	int code = check_times();

	if (code == TOOL_GO_ON) {
		code = read_on_loss(&loss->action);
	}
	loss->limit_ms = (long long)(loss_ttl_s * 1000);
	return code == TOOL_GO_ON ? read_source(source) : code;
}

int
main(int argc, char **argv)
{
	struct source source = { .name = NULL };
	struct bridge bridge = { .verbose = 0 };
	struct loss loss = { .next_ms = 0 };
	struct follow follow = {
		.source = &source, .bridge = &bridge, .loss = &loss
	};
	const char *const *arguments;
	int code;

	tool_start("shmcache-invalidate");
	code = tool_parse(
	    argc, argv, option_table, "[OPTION]... NAME", &arguments);
	if (code == TOOL_GO_ON && (!arguments[0] || arguments[1])) {
		code = tool_usage("give the name of one cache");
	}
	if (code == TOOL_GO_ON) {
		code = read_options(&source, &loss);
	}
	if (code != TOOL_GO_ON) {
		return tool_finish(code);
	}
	bridge.name = arguments[0];
	bridge.verbose = verbose;
	follow.retry_ms = (long long)(retry_s * 1000);
	follow.ping_ms = (long long)(ping_s * 1000);
	code = tool_attach(bridge.name, &bridge.cache);
	if (code == TOOL_OK) {
		code = source.name != NULL ? follow_run(&follow)
					   : read_lines(&bridge);
	}
	shmcache_close(bridge.cache);
	code = tool_finish(code);
	if (follow.state == FOLLOW_CONNECTS) {
		_exit(code);
	}
	return code;
}
