/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * watch_test.c - an event loop among processes that load
 *
 * Leaders take keys, and fill, fail, give up, or are killed in the midst of it.
 * A loop has hundreds of requests for these keys open, and watches what others
 * load, with no other time limit: each request must come to an end, each watch be
 * told once.  Leaders that are killed are noticed by liveness alone.
 */
#include "tests/support/cache.h"
#include "tests/support/child.h"
#include "tests/support/prng.h"
#include "tests/support/run.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#define CAPACITY (16 << 20)
#define LEADERS  5u
#define KEYS     200u
#define OPEN     300u
#define AT_ONCE  16u /* loads of one leader */
#define LONG_MS  600000u

static uint64_t request_count = 20000;
static struct shmcache *cache;

struct stage {
	_Atomic uint32_t over;
	_Atomic uint32_t deaths;
};

static struct stage *stage;

struct request {
	uint32_t key;
	uint64_t watch; /* 0: none */
};

struct loop {
	int events;
	struct prng random;
	struct request requests[OPEN];
	uint64_t begun, ended, told, led;
	unsigned open;
};

static struct shmcache_load_options
patient(void)
{
	struct shmcache_load_options o = SHMCACHE_LOAD_OPTIONS_INIT;

	o.lease_ms = LONG_MS;
	return o;
}

/* 0 if the call has left something to be done. */
static int
begin_load(uint32_t key, struct shmcache_token *token)
{
	const struct shmcache_load_options o = patient();
	struct shmcache_value value = { .value = NULL };

	CHECK_RESULT(
	    shmcache_begin_load(cache, &key, sizeof(key), &o, &value, token),
	    0);
	if (value.value != NULL)
		CHECK(value.value_bytes == sizeof(key) &&
		      memcmp(value.value, &key, sizeof(key)) == 0);
	free(value.value);
	return (int)value.source;
}

static void
end_load(uint32_t key, const struct shmcache_token *token, int result)
{
	const struct shmcache_load_options o = patient();
	const struct shmcache_loaded loaded = { .value = &key,
		.value_bytes = sizeof(key) };
	int error =
	    shmcache_fill(cache, &key, sizeof(key), token, result, &loaded, &o);

	CHECK_SAY(error == 0 || error == SHMCACHE_ESTALE, "fill: %s",
	    shmcache_strerror(error));
}

/* In one of all ways. */
static void
end_somehow(uint32_t key, const struct shmcache_token *token, uint64_t how)
{
	switch (how) {
	case 0:
		CHECK_RESULT(shmcache_abandon(cache, token), 0);
		break;
	case 1:
		end_load(key, token, -EIO);
		break;
	case 2:
		end_load(key, token, SHMCACHE_ENOENT);
		break;
	case 3:
		stage->deaths++;
		CHECK_SYS(kill(getpid(), SIGKILL));
		break;
	default:
		end_load(key, token, 0);
	}
}

/* Leads several keys, then ends them one after the other. */
static void
lead_some(struct prng *random)
{
	struct shmcache_token tokens[AT_ONCE];
	uint32_t keys[AT_ONCE];
	unsigned count = 0;

	while (count < AT_ONCE && stage->over == 0) {
		keys[count] = (uint32_t)prng_below(random, KEYS);
		switch (begin_load(keys[count], &tokens[count])) {
		case SHMCACHE_LEAD:
			count++;
			break;
		case SHMCACHE_FROM_CACHE:
			(void)shmcache_delete(
			    cache, &keys[count], sizeof(keys[count]));
			break;
		default:
			sleep_us(50);
		}
	}
	while (count-- > 0) {
		sleep_us((unsigned)prng_below(random, 300));
		end_somehow(
		    keys[count], &tokens[count], prng_below(random, 40));
	}
}

static void
lead(void *argument)
{
	struct prng random;

	(void)argument;
	prng_init(&random, run_seed(), (uint64_t)getpid());
	while (stage->over == 0)
		lead_some(&random);
}

/* One that is killed is followed by another. */
static void
replace_dead(pid_t leaders[LEADERS])
{
	for (unsigned i = 0; i < LEADERS; i++) {
		int status = 0;

		if (waitpid(leaders[i], &status, WNOHANG) == 0)
			continue;
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		leaders[i] = child_start(lead, NULL);
	}
}

static void
try_request(struct loop *loop, struct request *r)
{
	struct shmcache_token token;

	switch (begin_load(r->key, &token)) {
	case SHMCACHE_BUSY:
		CHECK_RESULT(shmcache_watch_load(cache, &r->key, sizeof(r->key),
				 LONG_MS, r, &r->watch),
		    0);
		return;
	case SHMCACHE_LEAD:
		loop->led++;
		end_load(r->key, &token, 0);
		break;
	default:
		if (prng_below(&loop->random, 2) == 0)
			(void)shmcache_delete(cache, &r->key, sizeof(r->key));
	}
	r->key = UINT32_MAX;
	loop->open--;
	loop->ended++;
}

static void
open_requests(struct loop *loop)
{
	for (unsigned i = 0;
	     i < OPEN && loop->open < OPEN && loop->begun < request_count; i++)
		if (loop->requests[i].key == UINT32_MAX) {
			loop->requests[i].key =
			    (uint32_t)prng_below(&loop->random, KEYS);
			loop->open++;
			loop->begun++;
			try_request(loop, &loop->requests[i]);
		}
}

/* Some change their mind first. */
static void
cancel_one(struct loop *loop)
{
	struct request *r = &loop->requests[prng_below(&loop->random, OPEN)];

	if (r->watch == 0)
		return;
	CHECK_RESULT(shmcache_watch_cancel(cache, r->watch), 0);
	r->watch = 0;
	try_request(loop, r);
}

static void
fetch_all(struct loop *loop)
{
	struct shmcache_watched watched;

	while (shmcache_watch_next(cache, &watched) == 0) {
		struct request *r = watched.context;

		CHECK_RESULT(watched.result, 0);
		CHECK(watched.watch == r->watch);
		r->watch = 0;
		loop->told++;
		try_request(loop, r);
	}
}

static void
serve(uint32_t events)
{
	struct epoll_event event = { .events = events };
	static struct loop loop;
	pid_t leaders[LEADERS];
	int ready;

	cache = cache_create_plain("watch", CAPACITY);
	stage = shared_alloc(sizeof(*stage));
	prng_init(&loop.random, run_seed(), 0);
	for (unsigned i = 0; i < OPEN; i++)
		loop.requests[i].key = UINT32_MAX;
	loop.events = epoll_create1(EPOLL_CLOEXEC);
	CHECK_SYS(epoll_ctl(
	    loop.events, EPOLL_CTL_ADD, shmcache_watch_fd(cache), &event));
	for (unsigned i = 0; i < LEADERS; i++)
		leaders[i] = child_start(lead, NULL);
	while (loop.ended < request_count) {
		open_requests(&loop);
		replace_dead(leaders);
		cancel_one(&loop);
		if (loop.open == 0)
			continue;
		do { /* a stop of this process interrupts it */
			ready = epoll_wait(loop.events, &event, 1, 60000);
		} while (ready < 0 && errno == EINTR);
		CHECK_SYS(ready);
		CHECK_SAY(ready == 1, "%u requests are forgotten", loop.open);
		fetch_all(&loop);
	}
	stage->over = 1;
	for (unsigned i = 0; i < LEADERS; i++)
		(void)child_wait(leaders[i]);
	printf(
	    "  %u leaders killed, %llu watches told, %llu loads by the loop\n",
	    stage->deaths, (unsigned long long)loop.told,
	    (unsigned long long)loop.led);
	CHECK(stage->deaths > 0 && loop.told > 0);
	CHECK_SYS(close(loop.events));
	cache_finish(cache);
}

static void
loop_hears_of_every_end(void)
{
	serve(EPOLLIN);
}

static void
loop_hears_of_it_by_edges(void)
{
	serve(EPOLLIN | EPOLLET);
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(loop_hears_of_every_end),
		CASE(loop_hears_of_it_by_edges),
	};
	static const struct test_option options[] = {
		{ "requests", &request_count, "requests of the loop" },
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
		.options = options,
		.option_count = TEST_COUNT_OF(options),
	};

	return run_suite(argc, argv, &suite);
}
