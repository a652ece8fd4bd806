/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * follow.c - see follow.h
 *
 * The handler of a signal notes it and makes a descriptor readable, so none is lost
 * between a look at the note and the wait.  The note is looked at between two lines
 * of a message, too.  But some steps take what time they like: a report that nobody
 * reads, a prefix among very many entries.  So the handler sets an alarm, which ends
 * the process wherever it is; a cache bears that anywhere.
 */
#include "tools/invalidate/follow.h"

#include "tools/common.h"
#include "tools/text.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PAUSE_MS_FIRST 100

/* How long what is under way may take after a signal. */
#define END_S 1

/* How often a cache is looked for that was removed. */
#define GONE_MS 100

static volatile sig_atomic_t ended_by;
static int signal_fd;

static void
note_signal(int number)
{
	int before = errno;

	ended_by = number;
	(void)eventfd_write(signal_fd, 1);
	(void)alarm(END_S);
	errno = before;
}

static void
end_now(int number)
{
	(void)number;
	_exit(TOOL_OK);
}

static int
catch_signals(void)
{
	struct sigaction action = { .sa_handler = note_signal,
		.sa_flags = SA_RESTART };
	struct sigaction end = { .sa_handler = end_now };
	sigset_t set;

	signal_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (signal_fd < 0) {
		return errno;
	}
	(void)sigaction(SIGALRM, &end, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGINT, &action, NULL);
	/* Whoever started the program may have blocked them. */
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGALRM);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	return 0;
}

/* The exit code for a result of loss.h. */
static int
result_code(const struct follow *f, int error)
{
	return error == 0 ? TOOL_GO_ON : tool_fail(f->bridge->name, error);
}

static void
pause_for_a_while(struct follow *f, const char *why)
{
	char *text = text_escape(why, strlen(why)); /* a server's, maybe */

	tool_say(f->bridge->name, "%s: %s; trying again", f->source->name,
	    text != NULL ? text : "");
	free(text);
	f->state = FOLLOW_PAUSES;
	f->due_ms = time_ms() + f->pause_ms;
	f->pause_ms *= 2;
	if (f->pause_ms > f->retry_ms) {
		f->pause_ms = f->retry_ms;
	}
}

static void
connect_now(struct follow *f)
{
	int error = connector_start(&f->connector, f->source);

	if (error == 0) {
		f->state = FOLLOW_CONNECTS;
	} else {
		pause_for_a_while(f, strerrordesc_np(error));
	}
}

/* Something has come from the server. */
static void
note_life(struct follow *f)
{
	f->asked = 0;
	f->due_ms = time_ms() + f->ping_ms;
}

static int
end_connecting(struct follow *f)
{
	if (!connector_end(&f->connector)) {
		f->source->disconnect(f->source);
		pause_for_a_while(f, f->connector.why);
		return TOOL_GO_ON;
	}
	tool_say(f->bridge->name, "listening to %s", f->source->name);
	f->state = FOLLOW_LISTENS;
	f->pause_ms = PAUSE_MS_FIRST;
	note_life(f);
	return result_code(f, loss_note(f->loss, f->bridge, time_ms()));
}

static int
lose(struct follow *f, const char *why)
{
	f->source->disconnect(f->source);
	pause_for_a_while(f, why);
	return result_code(f, loss_note(f->loss, f->bridge, time_ms()));
}

/* Nothing has come from the server until `due_ms`. */
static int
mind_silence(struct follow *f)
{
	char why[WHY_BYTES];

	if (f->asked) {
		return lose(f, "it gives no sign of life");
	}
	f->asked = 1;
	f->due_ms = time_ms() + f->ping_ms;
	return f->source->ping(f->source, why) ? TOOL_GO_ON : lose(f, why);
}

/* What the state says, once its time has come or its descriptor is readable. */
static int
act(struct follow *f, int readable)
{
	int is_due = f->due_ms <= time_ms();
	char why[WHY_BYTES];

	switch (f->state) {
	case FOLLOW_PAUSES:
		if (is_due) {
			connect_now(f);
		}
		break;
	case FOLLOW_CONNECTS:
		return readable ? end_connecting(f) : TOOL_GO_ON;
	case FOLLOW_LISTENS:
		if (!readable) {
			return is_due ? mind_silence(f) : TOOL_GO_ON;
		}
		note_life(f);
		if (!f->source->receive(f->source, why)) {
			return lose(f, why);
		}
		break;
	}
	return TOOL_GO_ON;
}

/* Apply what has been read, before it is waited for more. */
static int
apply(struct follow *f)
{
	char why[WHY_BYTES];
	int connected;

	if (f->state != FOLLOW_LISTENS) {
		return TOOL_GO_ON;
	}
	connected = f->source->apply(f->source, f->bridge, why);
	if (f->bridge->error != 0) {
		return tool_fail(f->bridge->name, f->bridge->error);
	}
	return connected ? TOOL_GO_ON : lose(f, why);
}

/* Milliseconds until something is due, for poll(). */
static int
time_to_wait(const struct follow *f)
{
	long long at_ms = f->state != FOLLOW_CONNECTS ? f->due_ms : -1;
	long long loss_ms = loss_due_ms(f->loss, f->state == FOLLOW_LISTENS);
	long long left_ms;

	if (at_ms < 0 || (loss_ms >= 0 && loss_ms < at_ms)) {
		at_ms = loss_ms;
	}
	left_ms = at_ms < 0 ? LLONG_MAX : at_ms - time_ms();
	if (f->bridge->gone && left_ms > GONE_MS) {
		left_ms = GONE_MS;
	}
	if (left_ms == LLONG_MAX) {
		return -1;
	}
	return left_ms <= 0 ? 0 : left_ms < INT_MAX ? (int)left_ms : INT_MAX;
}

/* Wait for whatever comes first; is the state's descriptor readable? */
static int
wait_for_anything(const struct follow *f)
{
	struct pollfd polled[] = {
		{ .fd = signal_fd, .events = POLLIN },
		{ .fd = -1, .events = POLLIN },
	};

	if (f->state == FOLLOW_CONNECTS) {
		polled[1].fd = f->connector.fd;
	} else if (f->state == FOLLOW_LISTENS) {
		polled[1].fd = f->source->descriptor(f->source);
	}
	return poll(polled, 2, time_to_wait(f)) > 0 && polled[1].revents != 0;
}

/*
 * A cache that was removed has nothing stale, but between the moment at which the
 * next of its name is made and the one at which our handle has it, messages may have
 * come that could not be applied.
 */
static int
mind_cache(struct follow *f)
{
	if (!f->bridge->gone || shmcache_is_available(f->bridge->cache) == 0) {
		return TOOL_GO_ON;
	}
	f->bridge->gone = 0;
	return result_code(f, loss_note(f->loss, f->bridge, time_ms()));
}

/* What is due for the cache, whatever the server does. */
static int
look_after_cache(struct follow *f)
{
	int error = loss_look(
	    f->loss, f->bridge, f->state == FOLLOW_LISTENS, time_ms());

	return error == 0 ? mind_cache(f) : result_code(f, error);
}

static int
step(struct follow *f)
{
	int code = apply(f);
	int readable = 0;

	if (code == TOOL_GO_ON) {
		readable = wait_for_anything(f);
	}
	if (code == TOOL_GO_ON && ended_by == 0) {
		code = act(f, readable);
	}
	return code == TOOL_GO_ON ? look_after_cache(f) : code;
}

int
follow_run(struct follow *f)
{
	int code = TOOL_GO_ON, error = catch_signals();

	if (error != 0) {
		tool_say(f->bridge->name, "%s", strerrordesc_np(error));
		return TOOL_FAILED;
	}
	f->bridge->ended = &ended_by;
	f->pause_ms = PAUSE_MS_FIRST;
	f->state = FOLLOW_PAUSES; /* which is over */
	while (code == TOOL_GO_ON && ended_by == 0) {
		code = step(f);
	}
	if (f->state == FOLLOW_LISTENS) {
		f->source->disconnect(f->source);
	} else if (f->state == FOLLOW_CONNECTS) {
		connector_leave(&f->connector);
	}
	tool_say(f->bridge->name, "%llu lines applied, %llu passed over",
	    f->bridge->applied, f->bridge->refused);
	return code == TOOL_GO_ON ? TOOL_OK : code;
}
