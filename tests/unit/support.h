/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * support.h - what the unit tests share: names, children, seeds, segments
 *
 * Every test file is a program of its own.  Its segments are called
 * shmcache.test-PID-N; they are unlinked after the last test, and also if the
 * program ends before (exit, a signal, its alarm).
 *
 * cmocka's assertions longjmp, so they never run in a forked child: a child
 * returns a code, and the parent asserts about it.
 *
 * Random tests print the seed; TEST_SEED=N in the environment repeats them.
 */
#ifndef TESTS_UNIT_SUPPORT_H
#define TESTS_UNIT_SUPPORT_H

#include "shm/segment.h"
#include "tests/support/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

/* Sanitizers are slow: loops take fewer rounds. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define TEST_SANITIZED 1
#endif
#endif
#ifndef TEST_SANITIZED
#define TEST_SANITIZED 0
#endif

#define TEST_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Of the group of a program's tests. */
int test_group_setup(void **state);
/* The same, and stay on one CPU, hence with one lane of each log. */
int test_group_setup_one_cpu(void **state);
int test_group_teardown(void **state);

/* A name that no test has used yet, and the path of its file. */
const char *test_name(void);
const char *test_path(const char *name);

/* In a child: a signal ends it when it has computed for so many seconds more,
   however long a busy machine takes for them; or has slept for many minutes.
   TEST_PATIENCE=N in the environment: N times that (under valgrind, with
   coverage). */
void test_limit(unsigned seconds);

/* A stream of random numbers; `salt` tells the program's streams apart. */
void test_random(struct prng *prng, uint64_t salt);

/* What a child does; 0 is success. */
typedef int test_child_body(void *context);

/* Ends a child that the test has forked by itself. */
_Noreturn void test_child_exit(int code);

/* Forks; the child ends with the body's result (0 to 255).  Returns that, or
   1000 + the signal that killed it; it is given 60 seconds
   of a processor. */
int test_child_run(test_child_body *body, void *context);

/* Forks; returns when the child has done the body and waits to be killed.
   Fails the test if the body did not return 0. */
pid_t test_child_pause(test_child_body *body, void *context);

/* Kills it, and returns when it has let go of all it had; the zombie stays
   until test_child_reap(). */
void test_child_kill(pid_t pid);
void test_child_reap(pid_t pid);

/* Stops it (SIGSTOP), and returns when it stands still. */
void test_child_stop(pid_t pid);

/* A small request: 16 extents of 4 KiB, 8 peers, 8 processes, 2 logs. */
struct shm_request test_request(void);

/* A new segment of that request (or of a given one), attached. */
struct shm_segment *test_segment(void);
struct shm_segment *test_segment_of(const struct shm_request *request);
struct shm_segment *test_attach(const char *path);

/* The layer above's part of their signature. */
#define TEST_SIGNATURE 0x7e57u

#endif /* TESTS_UNIT_SUPPORT_H */
