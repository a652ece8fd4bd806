/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * steps.h - what others do between two instructions of a call
 *
 * A thread executes its own code one instruction at a time: with the trap flag
 * of x86-64 set, SIGTRAP comes after each, and its handler may let others work
 * (in another thread or process; the stepped one is in the middle of
 * something).  So an interleaving that comes once in a million runs is one of a
 * few hundred that can all be tried.
 *
 * In one file, for tests that are linked with different things.  One thread of
 * a process is stepped at a time.
 */
#ifndef TESTS_SUPPORT_STEPS_H
#define TESTS_SUPPORT_STEPS_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

/* After instruction `step` (from 1); false: run on at full speed. */
typedef bool steps_between(void *context, uint64_t step);

#if defined(__x86_64__)

#define STEPS_TRAP_FLAG 0x100

static struct {
	volatile bool on;
	volatile uint64_t step;
	steps_between *between;
	void *context;
} steps_state;

static inline void
steps_trapped(int number, siginfo_t *info, void *machine)
{
	greg_t *flags = &((ucontext_t *)machine)->uc_mcontext.gregs[REG_EFL];
	int saved = errno;

	(void)number;
	(void)info;
	if (steps_state.on && steps_state.step > 0)
		steps_state.on =
		    steps_state.between(steps_state.context, steps_state.step);
	steps_state.step++;
	if (steps_state.on)
		*flags |= STEPS_TRAP_FLAG;
	else
		*flags &= ~(greg_t)STEPS_TRAP_FLAG;
	errno = saved;
}

/* Runs body(argument), `between` after each instruction; how many there were
   (with a few of this file). */
static inline uint64_t
steps_run(
    steps_between *between, void *context, void (*body)(void *), void *argument)
{
	struct sigaction action, before;

	memset(&action, 0, sizeof(action));
	action.sa_sigaction = steps_trapped;
	action.sa_flags = SA_SIGINFO | SA_RESTART;
	(void)sigaction(SIGTRAP, &action, &before);
	steps_state.between = between;
	steps_state.context = context;
	steps_state.step = 0;
	steps_state.on = true;
	(void)raise(SIGTRAP);
	body(argument);
	steps_state.on = false;
	__asm__ volatile("nop" : : : "memory");
	(void)sigaction(SIGTRAP, &before, NULL);
	return steps_state.step;
}

#else

static inline uint64_t
steps_run(
    steps_between *between, void *context, void (*body)(void *), void *argument)
{
	(void)between;
	(void)context;
	body(argument);
	return 0;
}

#endif

static inline bool
steps_go_on(void *context, uint64_t step)
{
	(void)context;
	(void)step;
	return true;
}

static inline void
steps_nothing(void *argument)
{
	(void)argument;
}

/* False on other processors, and under valgrind. */
static inline bool
steps_possible(void)
{
#ifdef __SANITIZE_THREAD__ /* it keeps signals for later */
	return false;
#else
	return steps_run(steps_go_on, NULL, steps_nothing, NULL) > 4;
#endif
}

/* For main() of cmocka's programs, where it is false: why, and the exit code. */
static inline int
steps_skip(void)
{
	(void)puts("skipped: a process cannot step itself here");
	return 77;
}

#endif /* TESTS_SUPPORT_STEPS_H */
