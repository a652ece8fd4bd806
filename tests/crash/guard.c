/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * guard.c - see guard.h
 *
 * The victim has to call mprotect() itself: it is given the registers of the
 * call and the address of a system call instruction, which it executes as one
 * step, and then its own registers again.
 */
#include "guard.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#ifdef __x86_64__

void guard_system_call(void);
__asm__(".pushsection .text\n"
	".type guard_system_call, @function\n"
	"guard_system_call:\n"
	"	syscall\n"
	"	ret\n"
	".size guard_system_call, . - guard_system_call\n"
	".popsection\n");

static bool
protect(
    const struct guard *guard, struct victim_process *victim, int protection)
{
	const uintptr_t ip = victim->ip;
	struct user_regs_struct own;
	struct user_regs_struct call;
	bool done;

	if (ptrace(PTRACE_GETREGS, victim->pid, NULL, &own) != 0)
		return false;
	call = own;
	call.rip = (uintptr_t)guard_system_call;
	call.rax = SYS_mprotect;
	call.rdi = guard->start;
	call.rsi = guard->bytes;
	call.rdx = (unsigned)protection;
	done = ptrace(PTRACE_SETREGS, victim->pid, NULL, &call) == 0 &&
	       victim_resume(victim, PTRACE_SINGLESTEP, SIGTRAP) &&
	       ptrace(PTRACE_GETREGS, victim->pid, NULL, &call) == 0 &&
	       call.rax == 0 &&
	       ptrace(PTRACE_SETREGS, victim->pid, NULL, &own) == 0;
	victim->ip = ip;
	return done;
}

#else

static bool
protect(
    const struct guard *guard, struct victim_process *victim, int protection)
{
	(void)guard;
	(void)victim;
	(void)protection;
	return false;
}

#endif

/* All of the file must be writable, in one piece. */
static bool
find_mapping(
    struct guard *guard, const struct victim_process *victim, const char *path)
{
	char name[64];
	char line[512];
	unsigned found = 0;
	FILE *maps;

	(void)snprintf(name, sizeof(name), "/proc/%d/maps", (int)victim->pid);
	maps = fopen(name, "re");
	if (maps == NULL)
		return false;
	while (fgets(line, sizeof(line), maps) != NULL) {
		uintptr_t end = 0;
		char access[5] = "";

		line[strcspn(line, "\n")] = '\0';
		if (strstr(line, path) == NULL)
			continue;
		found++;
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &guard->start,
			&end, access) != 3 ||
		    strcmp(access, "rw-s") != 0)
			found++;
		guard->bytes = end - guard->start;
	}
	(void)fclose(maps);
	return found == 1;
}

bool
guard_open(struct guard *guard, struct victim_process *victim, const char *path)
{
	return find_mapping(guard, victim, path) &&
	       protect(guard, victim, PROT_READ);
}

static bool
is_write(const struct guard *guard, const struct victim_process *victim)
{
	siginfo_t info;

	return WIFSTOPPED(victim->status) &&
	       WSTOPSIG(victim->status) == SIGSEGV &&
	       ptrace(PTRACE_GETSIGINFO, victim->pid, NULL, &info) == 0 &&
	       (uintptr_t)info.si_addr - guard->start < guard->bytes;
}

enum step_result
guard_run(const struct guard *guard, struct victim_process *victim)
{
	if (victim_resume(victim, PTRACE_CONT, SIGSEGV))
		return is_write(guard, victim) ? STEP_DONE : STEP_LOST;
	if (WIFSTOPPED(victim->status) && WSTOPSIG(victim->status) == SIGTRAP)
		return STEP_MARK;
	return STEP_LOST;
}

enum step_result
guard_step(const struct guard *guard, struct victim_process *victim)
{
	enum step_result result;

	if (!protect(guard, victim, PROT_READ | PROT_WRITE))
		return STEP_LOST;
	result = victim_step(victim);
	if (result == STEP_DONE && !protect(guard, victim, PROT_READ))
		return STEP_LOST;
	return result;
}

bool
guard_close(const struct guard *guard, struct victim_process *victim)
{
	return protect(guard, victim, PROT_READ | PROT_WRITE);
}
