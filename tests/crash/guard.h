/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * guard.h - stop a victim only where it writes to a file that it maps
 *
 * The mapping is made unwritable in the victim, which then runs until it faults;
 * the instruction that wants to write is executed as one step, with the mapping
 * writable for as long.  So it passes through the same states of the file as one
 * that is stepped, at the price of a few stops for each write in place of one
 * for each instruction.
 *
 * What the kernel writes into the file during a system call would fail, so this
 * is for calls that have none of that kind.
 */
#ifndef CRASH_GUARD_H
#define CRASH_GUARD_H

#include "tracer.h"

struct guard {
	uintptr_t start; /* of the mapping, in the victim */
	size_t bytes;
};

/* Guard the mapping of `path`; false if the victim has none, or it can't be. */
bool guard_open(
    struct guard *guard, struct victim_process *victim, const char *path);

/*
 * Run to the next instruction that wants to write: STEP_DONE, with its address
 * in victim->ip.  STEP_MARK: there was none before the second mark.
 */
enum step_result guard_run(
    const struct guard *guard, struct victim_process *victim);

/* Execute that instruction, or one round of it if it repeats itself. */
enum step_result guard_step(
    const struct guard *guard, struct victim_process *victim);

/* Let the victim write again. */
bool guard_close(const struct guard *guard, struct victim_process *victim);

#endif /* CRASH_GUARD_H */
