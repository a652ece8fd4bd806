/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sandbox.h - a worse world for one process: other mounts, other users, system
 * calls that fail or kill
 *
 * Each call changes the calling process for good, so it is made in a child.
 * Where the machine forbids it, the case is skipped.
 */
#ifndef TESTS_SUPPORT_SANDBOX_H
#define TESTS_SUPPORT_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A mount namespace of its own: what is mounted from now on is seen by none. */
void sandbox_private_mounts(void);

/* Mount a tmpfs of `bytes` on the directory. */
void sandbox_mount_tmpfs(const char *directory, uint64_t bytes);

/* Become another user than root, with no way back. */
void sandbox_drop_root(void);

#define SANDBOX_NOBODY 65534

/*
 * Let the system call `number` fail with `error` if its argument `argument`
 * (0 to 5), masked by `mask`, is `value`.
 */
void sandbox_fail_call(
    int number, unsigned argument, uint32_t mask, uint32_t value, int error);

/* From now on every system call but _exit (the one of a thread) kills. */
void sandbox_no_calls(void);

/* End the process after sandbox_no_calls(). */
_Noreturn void sandbox_exit(int code);

/* Makes the marker call: it does nothing but be seen by count_calls(). */
void count_marker(void);

/*
 * Run `run(argument)` in a traced child, which must call count_marker() twice,
 * and return how many system calls it made between.  The commonest of them are
 * printed.
 */
uint64_t count_calls(void (*run)(void *), void *argument);

/* How run_with_fault() went. */
struct fault {
	uint64_t calls;  /* system calls between the markers */
	uint64_t number; /* of the one that failed */
	bool hit;        /* it came to that call */
	int code;        /* exit code, or 128 + the signal that killed it */
};

/*
 * Run `run(argument)` in a traced child, which must call count_marker() twice,
 * and let the n-th system call between (from 0) fail with `error` without being
 * executed; and those behind it of the same number too, if `from_then_on`.
 * Calls that nobody can do without (of locks and signals, to end) are passed
 * over.
 */
struct fault run_with_fault(void (*run)(void *), void *argument, uint64_t n,
    int error, bool from_then_on);

#endif /* TESTS_SUPPORT_SANDBOX_H */
