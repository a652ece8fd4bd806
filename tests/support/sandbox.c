/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sandbox.c - see sandbox.h
 */
#include "tests/support/sandbox.h"

#include "tests/support/child.h"
#include "tests/support/run.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define MARKER_FD     (-77777777)
#define CALLS_KNOWN   512
#define CALLS_PRINTED 6

void
sandbox_private_mounts(void)
{
	if (unshare(CLONE_NEWNS) != 0) {
		skip("no private mounts: %s", test_errno_text());
	}
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
		/* In a chroot the root is no mount point. */
		skip("no private mounts: %s", test_errno_text());
	}
}

void
sandbox_mount_tmpfs(const char *directory, uint64_t bytes)
{
	char options[64];

	snprintf(options, sizeof(options), "size=%" PRIu64, bytes);
	if (mount("tmpfs", directory, "tmpfs", 0, options) != 0) {
		skip("cannot mount a tmpfs: %s", test_errno_text());
	}
}

void
sandbox_drop_root(void)
{
	if (geteuid() != 0) {
		skip("only root can become another user");
	}
	CHECK_SYS(setgid(SANDBOX_NOBODY));
	CHECK_SYS(setuid(SANDBOX_NOBODY));
}

static void
install_filter(struct sock_filter *filter, unsigned short length)
{
	struct sock_fprog program = { .len = length, .filter = filter };

	CHECK_SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
		skip("no seccomp filters: %s", test_errno_text());
	}
}

void
sandbox_fail_call(
    int number, unsigned argument, uint32_t mask, uint32_t value, int error)
{
	uint32_t low = (uint32_t)offsetof(struct seccomp_data, args) +
		       8 * argument +
		       (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0);
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
		    offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1),
		BPF_STMT(BPF_RET | BPF_K,
		    SECCOMP_RET_ERRNO | ((uint32_t)error & SECCOMP_RET_DATA)),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	install_filter(filter, TEST_COUNT_OF(filter));
}

void
sandbox_no_calls(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
		    offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};

	/* Not strict mode: it forbids the time-stamp counter too, which the
	   clock is read by. */
	install_filter(filter, TEST_COUNT_OF(filter));
}

void
sandbox_exit(int code)
{
	for (;;) {
		syscall(SYS_exit, code);
	}
}

void
count_marker(void)
{
	syscall(SYS_close, MARKER_FD);
}

struct counts {
	uint64_t of[CALLS_KNOWN];
	uint64_t all;
	unsigned markers;
};

static void
print_commonest(struct counts *counts)
{
	for (unsigned i = 0; i < CALLS_PRINTED; i++) {
		unsigned most = 0;

		for (unsigned j = 1; j < CALLS_KNOWN; j++) {
			most = counts->of[j] > counts->of[most] ? j : most;
		}
		if (counts->of[most] == 0) {
			return;
		}
		printf("    system call %u: %" PRIu64 "\n", most,
		    counts->of[most]);
		counts->of[most] = 0;
	}
}

static void
count_stop(pid_t pid, struct counts *counts)
{
	struct __ptrace_syscall_info info;
	uint64_t number;

	CHECK_SYS(ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info));
	if (info.op != PTRACE_SYSCALL_INFO_ENTRY) {
		return;
	}
	number = info.entry.nr;
	if (number == SYS_close && (int32_t)info.entry.args[0] == MARKER_FD) {
		counts->markers++;
	} else if (counts->markers == 1) {
		counts->all++;
		counts->of[number < CALLS_KNOWN ? number : CALLS_KNOWN - 1]++;
	}
}

/* A child that waits to be told to run. */
static pid_t
start_traced(void (*run)(void *), void *argument)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	CHECK_SYS(pid);
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
			skip("no ptrace: %s", test_errno_text());
		}
		raise(SIGSTOP);
		run(argument);
		test_exit(0);
	}
	CHECK_SYS(waitpid(pid, &status, 0));
	if (!WIFSTOPPED(status)) {
		test_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
	}
	CHECK_SYS(ptrace(PTRACE_SETOPTIONS, pid, NULL,
	    (void *)(uintptr_t)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)));
	return pid;
}

/* Lets it go on to the next edge of a system call; false: it has ended. */
static bool
next_edge(pid_t pid, int *status)
{
	int signal_number = 0;

	for (;;) {
		CHECK_SYS(ptrace(PTRACE_SYSCALL, pid, NULL,
		    (void *)(uintptr_t)(unsigned)signal_number));
		CHECK_SYS(waitpid(pid, status, 0));
		if (!WIFSTOPPED(*status)) {
			return false;
		}
		signal_number = WSTOPSIG(*status);
		if (signal_number == (SIGTRAP | 0x80)) {
			return true;
		}
	}
}

/* A sanitizer's own system calls must not be counted as the library's. */
uint64_t
count_calls(void (*run)(void *), void *argument)
{
	static struct counts counts;
	pid_t pid = start_traced(run, argument);
	int status;

	memset(&counts, 0, sizeof(counts));
	while (next_edge(pid, &status)) {
		count_stop(pid, &counts);
	}
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(counts.markers == 2);
	print_commonest(&counts);
	return counts.all;
}

#ifdef __x86_64__

/* glibc and liburcu abort if these fail as they never do. */
static bool
is_indispensable(uint64_t number)
{
	switch (number) {
	case SYS_futex:
	case SYS_membarrier:
	case SYS_rt_sigprocmask:
	case SYS_rt_sigreturn:
	case SYS_exit:
	case SYS_exit_group:
	case SYS_write:
		return true;
	default:
		return false;
	}
}

/* The call is not made, and gives the error. */
static bool
replace_call(pid_t pid, int error, int *status)
{
	struct user_regs_struct registers;

	CHECK_SYS(ptrace(PTRACE_GETREGS, pid, NULL, &registers));
	registers.orig_rax = (unsigned long long)-1;
	CHECK_SYS(ptrace(PTRACE_SETREGS, pid, NULL, &registers));
	if (!next_edge(pid, status)) {
		return false;
	}
	CHECK_SYS(ptrace(PTRACE_GETREGS, pid, NULL, &registers));
	registers.rax = (unsigned long long)-(long long)error;
	CHECK_SYS(ptrace(PTRACE_SETREGS, pid, NULL, &registers));
	return true;
}

struct fault
run_with_fault(void (*run)(void *), void *argument, uint64_t n, int error,
    bool from_then_on)
{
	struct fault fault = { .calls = 0 };
	pid_t pid = start_traced(run, argument);
	unsigned markers = 0;
	int status;

	while (next_edge(pid, &status)) {
		struct __ptrace_syscall_info info;
		uint64_t number;

		CHECK_SYS(
		    ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info));
		if (info.op != PTRACE_SYSCALL_INFO_ENTRY) {
			continue;
		}
		number = info.entry.nr;
		if (number == SYS_close &&
		    (int32_t)info.entry.args[0] == MARKER_FD) {
			markers++;
			continue;
		}
		if (markers != 1 || is_indispensable(number)) {
			continue;
		}
		if (fault.calls++ == n) {
			fault.hit = true;
			fault.number = number;
		} else if (!fault.hit || !from_then_on ||
			   number != fault.number) {
			continue;
		}
		if (!replace_call(pid, error, &status)) {
			break;
		}
	}
	fault.code =
	    WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return fault;
}

#else

struct fault
run_with_fault(void (*run)(void *), void *argument, uint64_t n, int error,
    bool from_then_on)
{
	(void)run;
	(void)argument;
	(void)n;
	(void)error;
	(void)from_then_on;
	skip("system calls are made to fail on x86-64 only");
}

#endif
