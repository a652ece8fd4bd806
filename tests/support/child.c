/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * child.c - see child.h
 */
#include "tests/support/child.h"

#include "tests/support/prng.h"
#include "tests/support/run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

pid_t
child_start(void (*run)(void *), void *argument)
{
	pid_t pid;

	fflush(stdout);
	fflush(stderr);
	pid = fork();
	CHECK_SYS(pid);
	if (pid == 0) {
		run(argument);
		test_exit(0);
	}
	return pid;
}

int
child_wait(pid_t pid)
{
	int status = 0;
	pid_t got;

	do {
		got = waitpid(pid, &status, 0);
	} while (got < 0 && errno == EINTR);
	CHECK_SYS(got);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status)
				   : WEXITSTATUS(status);
}

void
child_expect(pid_t pid, int code)
{
	int got = child_wait(pid);

	if (got == TEST_SKIP_CODE) {
		test_exit(TEST_SKIP_CODE);
	}
	CHECK_SAY(got == code, "child %d ended with code %d, not %d", (int)pid,
	    got, code);
}

void
child_run(void (*run)(void *), void *argument)
{
	child_expect(child_start(run, argument), 0);
}

void
child_kill(pid_t pid)
{
	int got;

	CHECK_SYS(kill(pid, SIGKILL));
	got = child_wait(pid);
	CHECK_SAY(got == 128 + SIGKILL,
	    "child %d ended with code %d before it was killed", (int)pid, got);
}

int
child_stop(pid_t pid)
{
	siginfo_t info = { .si_pid = 0 };
	int got;

	CHECK_SYS(kill(pid, SIGSTOP));
	do {
		got = waitid(
		    P_PID, (id_t)pid, &info, WSTOPPED | WEXITED | WNOWAIT);
	} while (got < 0 && errno == EINTR);
	CHECK_SYS(got);
	return info.si_code == CLD_STOPPED;
}

void *
shared_alloc(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK_SAY(memory != MAP_FAILED, "mmap: %s", test_errno_text());
	return memory;
}

void
sleep_us(unsigned microseconds)
{
	struct timespec wait = {
		.tv_sec = microseconds / 1000000,
		.tv_nsec = (long)(microseconds % 1000000) * 1000,
	};

	while (nanosleep(&wait, &wait) != 0 && errno == EINTR) {
	}
}

static volatile sig_atomic_t interrupted;
static volatile sig_atomic_t interrupt_most_us;

static void
arm_timer(unsigned microseconds)
{
	const struct itimerval once = {
		.it_value = { 0, (suseconds_t)microseconds },
	};

	(void)setitimer(ITIMER_REAL, &once, NULL);
}

static void
on_timer(int number)
{
	int saved = errno;
	uint64_t random;

	(void)number;
	interrupted = interrupted + 1;
	random = prng_mix((uint64_t)interrupted * 3 + (uint64_t)getpid());
	sleep_us(1 + (unsigned)(random % (uint64_t)interrupt_most_us));
	arm_timer(20 + (unsigned)(random >> 32) % 80);
	errno = saved;
}

void
interrupt_often(unsigned most_us)
{
	struct sigaction action = {
		.sa_handler = on_timer,
		.sa_flags = SA_RESTART,
	};

	interrupt_most_us = (sig_atomic_t)most_us;
	CHECK_SYS(sigaction(SIGALRM, &action, NULL));
	arm_timer(50);
}

uint32_t
interruptions(void)
{
	return (uint32_t)interrupted;
}

void
await_at_least(_Atomic uint32_t *word, uint32_t least)
{
	while (atomic_load(word) < least) {
		sleep_us(500);
	}
}

uint64_t
clock_ns(int clock)
{
	struct timespec now;

	CHECK_SYS(clock_gettime(clock, &now));
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
