/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tracer.h - run a process one instruction at a time, and log a file it maps
 *
 * A victim is a forked child that executes a breakpoint (tracer_mark()) before
 * and after the code in question.  Between the two it is stepped by ptrace().
 * A system call is one step, and so is each round of a `rep` instruction.
 *
 * A victim that forks dies there, and its child is the victim from then on.
 *
 * A trace is the file's bytes at the first mark and a log of every step that
 * changed them: any state the file ever had between two instructions can be
 * laid out again.  That is all there is to know, because a process that is
 * killed leaves exactly the bytes that its last instruction left.
 */
#ifndef CRASH_TRACER_H
#define CRASH_TRACER_H

#include "scratch.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The victim's code between two marks is traced. */
void tracer_mark(void);

/* NULL if this machine lets us single-step, else the reason why not. */
const char *tracer_forbidden(void);

/* Does the processor stop a victim where we say?  Some virtual ones don't. */
bool tracer_breaks(void);

struct victim_process {
	pid_t pid;
	uint64_t steps;
	uint64_t system_calls;
	uintptr_t ip;       /* of the next instruction */
	uintptr_t break_at; /* 0: nowhere */
	int status; /* of waitpid(), when it is gone or hit by a signal */
};

enum step_result {
	STEP_DONE,        /* one instruction went by */
	STEP_SYSTEM_CALL, /* the same, and it was a system call */
	STEP_MARK,        /* at the second mark; nothing was executed */
	STEP_LOST         /* it has ended, or a signal came: see `status` */
};

/* Fork a victim and run it to its first mark; false if it doesn't get there. */
bool victim_start(
    struct victim_process *victim, void (*run)(void *), void *argument);
enum step_result victim_step(struct victim_process *victim);

/* Let it go on by a request of ptrace(), and wait until it stops by this
   signal; false if by another, or at all: see `status`. */
bool victim_resume(
    struct victim_process *victim, int request, int signal_number);

/*
 * Run without stepping to system call number `call` (from 0): to the point
 * before it is executed, or after it.  False if the second mark comes first, or
 * the victim is lost: see `status`.
 */
bool victim_run_to_call(
    struct victim_process *victim, uint64_t call, bool after);

/*
 * Bring a victim from its first mark to the point after `steps` steps of the
 * trace of another: by a breakpoint of the processor to a point before it, which
 * is chosen so that it takes the fewest stops, and by steps from there.  Where
 * that can't be had, or with `slowly`, by steps alone.  STEP_MARK: this one was
 * done before.  The victim's numbers of steps are those of the trace; its system
 * calls are not counted.
 */
struct trace;
enum step_result victim_walk(struct victim_process *victim,
    const struct trace *trace, uint64_t steps, bool slowly);

/* SIGKILL, and wait until it is gone. */
void victim_kill(struct victim_process *victim);

/* Let it run on from the second mark; returns its exit code, or -1. */
int victim_finish(struct victim_process *victim);

/* The file's bytes now, and as they were when last looked at. */
struct image {
	const uint8_t *now;
	uint8_t *last;
	size_t length;
};

bool image_open(struct image *image, const char *path);
void image_close(struct image *image);

/*
 * Does the file differ from `last`?  Then the range of bytes, in whole words of
 * 8, is given; image_accept() brings that range of `last` up to date.
 */
bool image_look(
    const struct image *image, size_t *offset_out, size_t *bytes_out);
void image_accept(struct image *image, size_t offset, size_t bytes);

/* One step that changed the file.  Number 0 stands for the state before. */
struct change {
	uint64_t step;
	uint64_t system_call; /* how many were done by then */
	uintptr_t ip;         /* of the instruction that did it */
	size_t offset;
	size_t bytes;
	size_t data;    /* where the new bytes are in struct trace's `data` */
	uint64_t state; /* hash of the whole file after it */
	size_t twin;    /* the first change that led to this very state */
};

struct trace {
	struct snapshot initial;
	struct change *changes;
	size_t count;
	uint8_t *data;
	size_t data_bytes;
	size_t distinct; /* states */
	/* The instruction after each number of steps, from 0, and how often the
	   victim had come to it by then; 0 within its repetitions. */
	struct place {
		uintptr_t ip;
		uint64_t visits;
	} * places;
	uint64_t steps;
	uint64_t system_calls;
	int exit_code; /* of the victim, after its second mark */
};

/* Why a trace could not be had. */
#define TRACE_REASON_BYTES 160

enum trace_how {
	TRACE_STEPS,   /* instruction by instruction */
	TRACE_CREATES, /* the same; the file is made by the victim, and the log
			  starts when it has got its name */
	TRACE_WRITES /* the same changes, but steps are counted that write only,
			  and nobody can be brought to them (guard.h) */
};

/* Trace a victim that works on the file at `path`. */
bool trace_run(struct trace *trace, const char *path, enum trace_how how,
    void (*run)(void *), void *argument, char reason[TRACE_REASON_BYTES]);
void trace_free(struct trace *trace);

/*
 * `state` holds what change `from` left; make it what change `to` left.
 * Going back starts from the initial state.
 */
void trace_replay(
    const struct trace *trace, uint8_t *state, size_t from, size_t to);

/* Did the same instructions change the same bytes in the same order?  (What they
   wrote may be clock or pid.) */
bool trace_is_alike(const struct trace *a, const struct trace *b);

/* Is the instruction at `ip` the next after `steps` steps? */
bool trace_is_at(const struct trace *trace, uint64_t steps, uintptr_t ip);

/* Name the function and line at `ip`, for a report. */
void tracer_place(uintptr_t ip, char *text, size_t text_bytes);

#endif /* CRASH_TRACER_H */
