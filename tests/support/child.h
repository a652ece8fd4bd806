/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * child.h - processes of a test case, and memory that they share
 */
#ifndef TESTS_SUPPORT_CHILD_H
#define TESTS_SUPPORT_CHILD_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Fork; the child calls run(argument) and ends with code 0. */
pid_t child_start(void (*run)(void *), void *argument);

/* Wait for its end: its exit code, or 128 + the signal that killed it. */
int child_wait(pid_t pid);

/* Wait, and check the result; a child that skipped makes the case skip. */
void child_expect(pid_t pid, int code);

/* child_start() and child_expect(0). */
void child_run(void (*run)(void *), void *argument);

/* SIGKILL it and wait until it is gone. */
void child_kill(pid_t pid);

/* Stop it, and wait until it is stopped; false if it ended before. */
int child_stop(pid_t pid);

/* Memory full of zeros that children share; it lives as long as they do. */
void *shared_alloc(size_t bytes);

/* Sleep until *word is at least `least`. */
void await_at_least(_Atomic uint32_t *word, uint32_t least);

void sleep_us(unsigned microseconds);

/*
 * From now on a timer interrupts this process again and again, anywhere, and
 * lets it sleep for up to `most_us`: what comes between two instructions once
 * in a million runs comes thousands of times.  Not inherited by children.
 */
void interrupt_often(unsigned most_us);

/* How often that was done. */
uint32_t interruptions(void);

/* Nanoseconds of a clock. */
uint64_t clock_ns(int clock);

#endif /* TESTS_SUPPORT_CHILD_H */
