/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tracer.c - see tracer.h
 *
 * x86-64 only.  On AArch64 stepping clears the exclusive monitor, so that no
 * LL/SC loop would ever end.
 *
 * Changes are found by comparing the whole file with a copy after each step:
 * for the small segments used here that costs less than the step itself.
 */
#include "tracer.h"

#include "guard.h"
#include "jobs.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define STEPS_MAX 1000000u /* a victim that goes on longer is in a loop */

/* With PTRACE_O_TRACESYSGOOD: no other SIGTRAP looks like this. */
#define SYSTEM_CALL_STOP (SIGTRAP | 0x80)

#ifdef __x86_64__

#define BREAKPOINT  0xccu
#define SYSTEM_CALL 0x050fu

__attribute__((noinline)) void
tracer_mark(void)
{
	__asm__ volatile("int3" ::: "memory");
}

static uintptr_t
instruction_pointer(pid_t pid)
{
	return (uintptr_t)ptrace(
	    PTRACE_PEEKUSER, pid, offsetof(struct user_regs_struct, rip), NULL);
}

/* Have the processor stop the victim before each execution of the instruction
   there; 0: nowhere. */
static bool
break_at(struct victim_process *victim, uintptr_t ip)
{
	const uintptr_t enable = ip == 0 ? 0 : 1; /* the first, for execution */

	victim->break_at = ip;
	return ptrace(PTRACE_POKEUSER, victim->pid,
		   offsetof(struct user, u_debugreg[0]), ip) == 0 &&
	       ptrace(PTRACE_POKEUSER, victim->pid,
		   offsetof(struct user, u_debugreg[7]), enable) == 0;
}

#else

#define BREAKPOINT  0u
#define SYSTEM_CALL 0u

void
tracer_mark(void)
{
}

static uintptr_t
instruction_pointer(pid_t pid)
{
	(void)pid;
	return 0;
}

static bool
break_at(struct victim_process *victim, uintptr_t ip)
{
	(void)victim;
	(void)ip;
	return false;
}

#endif

/* The code at the victim's next instruction.  No code ever changes, and all
   victims have the same, so it is kept. */
static unsigned
instruction(const struct victim_process *victim)
{
	static struct {
		uintptr_t ip;
		unsigned code;
	} kept[8192];
	const size_t i = victim->ip % (sizeof(kept) / sizeof(kept[0]));

	if (kept[i].ip != victim->ip) {
		kept[i].ip = victim->ip;
		kept[i].code = (unsigned)ptrace(PTRACE_PEEKTEXT, victim->pid,
				   victim->ip, NULL) &
			       0xffffu;
	}
	return kept[i].code;
}

static bool
wait_for(pid_t pid, int *status)
{
	pid_t got;

	do
		got = waitpid(pid, status, 0);
	while (got < 0 && errno == EINTR);
	return got == pid;
}

/* The victim has forked: its child takes its place, and it dies there and then.
   The child begins with a SIGSTOP. */
static bool
follow_child(struct victim_process *victim)
{
	unsigned long child = 0;
	int status;

	if (ptrace(PTRACE_GETEVENTMSG, victim->pid, NULL, &child) != 0)
		return false;
	(void)kill(victim->pid, SIGKILL);
	if (!wait_for(victim->pid, &status))
		return false;
	victim->pid = (pid_t)child;
	return wait_for(victim->pid, &victim->status) &&
	       WIFSTOPPED(victim->status) &&
	       WSTOPSIG(victim->status) == SIGSTOP &&
	       (victim->break_at == 0 || break_at(victim, victim->break_at));
}

/* Wait for a breakpoint or step (`signal_number` SIGTRAP), or for the edge of a
   system call (SYSTEM_CALL_STOP); a fork is both. */
static bool
wait_for_stop(struct victim_process *victim, int signal_number)
{
	if (!wait_for(victim->pid, &victim->status) ||
	    !WIFSTOPPED(victim->status))
		return false;
	if (victim->status >> 16 == PTRACE_EVENT_FORK) {
		if (!follow_child(victim))
			return false;
	} else if (WSTOPSIG(victim->status) != signal_number) {
		return false;
	}
	victim->ip = instruction_pointer(victim->pid);
	return true;
}

bool
victim_resume(struct victim_process *victim, int request, int signal_number)
{
	return ptrace((enum __ptrace_request)request, victim->pid, NULL,
		   NULL) == 0 &&
	       wait_for_stop(victim, signal_number);
}

bool
victim_start(struct victim_process *victim, void (*run)(void *), void *argument)
{
	memset(victim, 0, sizeof(*victim));
	victim->pid = job_fork();
	if (victim->pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
			_exit(111);
		run(argument);
		_exit(0);
	}
	if (victim->pid < 0)
		return false;
	if (!wait_for_stop(victim, SIGTRAP)) {
		if (WIFSTOPPED(victim->status))
			victim_kill(victim);
		return false;
	}
	(void)ptrace(PTRACE_SETOPTIONS, victim->pid, NULL,
	    (void *)(PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD |
		     PTRACE_O_TRACEFORK));
	return true;
}

enum step_result
victim_step(struct victim_process *victim)
{
	unsigned code = instruction(victim);

	if ((code & 0xffu) == BREAKPOINT)
		return STEP_MARK;
	if (!victim_resume(victim, PTRACE_SINGLESTEP, SIGTRAP))
		return STEP_LOST;
	victim->steps++;
	if (code != SYSTEM_CALL)
		return STEP_DONE;
	victim->system_calls++;
	return STEP_SYSTEM_CALL;
}

bool
victim_run_to_call(struct victim_process *victim, uint64_t call, bool after)
{
	/* Stops come in pairs, before and after. */
	uint64_t stops = 2 * call + (after ? 2 : 1);

	for (uint64_t i = 0; i < stops; i++) {
		if (!victim_resume(victim, PTRACE_SYSCALL, SYSTEM_CALL_STOP))
			return false;
	}
	return true;
}

/* Come to an instruction for the n-th time.  At the second mark the instruction
   pointer is behind it, since it was executed. */
static enum step_result
run_to(struct victim_process *victim, const struct place *place)
{
	uint64_t visits = 0;

	while (visits < place->visits) {
		if (!victim_resume(victim, PTRACE_CONT, SIGTRAP))
			return STEP_LOST;
		if (WSTOPSIG(victim->status) == SIGSTOP)
			continue; /* a child has taken its place */
		if (victim->ip != place->ip)
			return STEP_MARK;
		visits++;
	}
	return STEP_DONE;
}

void
victim_kill(struct victim_process *victim)
{
	(void)kill(victim->pid, SIGKILL);
	do {
		if (waitpid(victim->pid, &victim->status, 0) < 0 &&
		    errno != EINTR)
			break;
	} while (!WIFSIGNALED(victim->status) && !WIFEXITED(victim->status));
}

int
victim_finish(struct victim_process *victim)
{
	while (victim_resume(victim, PTRACE_CONT, SIGTRAP))
		continue;
	if (WIFEXITED(victim->status))
		return WEXITSTATUS(victim->status);
	if (WIFSTOPPED(victim->status))
		victim_kill(victim);
	return -1;
}

static void
mark_twice(void *argument)
{
	(void)argument;
	tracer_mark();
	tracer_mark();
}

/* Does a breakpoint stop a victim before its second mark? */
static bool
probe_breakpoint(void)
{
	union {
		void (*function)(void);
		uintptr_t ip;
	} mark = { .function = tracer_mark };
	const struct place place = { .ip = mark.ip, .visits = 1 };
	struct victim_process victim;
	bool works;

	if (!victim_start(&victim, mark_twice, NULL))
		return false;
	works =
	    break_at(&victim, place.ip) && run_to(&victim, &place) == STEP_DONE;
	victim_kill(&victim);
	return works;
}

bool
tracer_breaks(void)
{
	static enum { UNKNOWN, WORKS, FAILS } breakpoints;

	if (breakpoints == UNKNOWN)
		breakpoints = probe_breakpoint() ? WORKS : FAILS;
	return breakpoints == WORKS;
}

const char *
tracer_forbidden(void)
{
#ifdef __x86_64__
	struct victim_process victim;
	enum step_result result;

	if (!victim_start(&victim, mark_twice, NULL))
		return "ptrace(PTRACE_TRACEME) is not allowed here";
	result = victim_step(&victim);
	victim_kill(&victim);
	if (result != STEP_DONE)
		return "ptrace(PTRACE_SINGLESTEP) does not work here";
	return NULL;
#else
	return "single-stepping through atomic operations is implemented for "
	       "x86-64 only";
#endif
}

/* Of the points before, the one from which (and to which) the victim is stopped
   the least. */
static uint64_t
last_stretch(const struct trace *trace, uint64_t steps)
{
	uint64_t best = 0;
	uint64_t least = steps;

	for (uint64_t i = steps; i > 0 && steps - i < least; i--) {
		uint64_t stops = trace->places[i].visits + (steps - i);

		if (trace->places[i].visits != 0 && stops < least) {
			least = stops;
			best = i;
		}
	}
	return best;
}

enum step_result
victim_walk(struct victim_process *victim, const struct trace *trace,
    uint64_t steps, bool slowly)
{
	uint64_t start =
	    slowly || !tracer_breaks() ? 0 : last_stretch(trace, steps);
	enum step_result result = STEP_DONE;

	if (start != 0 && break_at(victim, trace->places[start].ip)) {
		result = run_to(victim, &trace->places[start]);
		victim->steps = start;
		if (result != STEP_LOST && !break_at(victim, 0))
			return STEP_LOST;
	}
	while (
	    victim->steps < steps && result != STEP_MARK && result != STEP_LOST)
		result = victim_step(victim);
	return result;
}

bool
image_open(struct image *image, const char *path)
{
	struct stat status;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	void *map;

	memset(image, 0, sizeof(*image));
	if (fd < 0)
		return false;
	if (fstat(fd, &status) != 0 || status.st_size % 8 != 0) {
		(void)close(fd);
		return false;
	}
	image->length = (size_t)status.st_size;
	map = mmap(NULL, image->length, PROT_READ, MAP_SHARED, fd, 0);
	(void)close(fd);
	if (map == MAP_FAILED)
		return false;
	image->now = map;
	image->last = malloc(image->length);
	if (image->last == NULL) {
		(void)munmap(map, image->length);
		return false;
	}
	memcpy(image->last, image->now, image->length);
	return true;
}

void
image_close(struct image *image)
{
	union {
		const uint8_t *bytes;
		void *map;
	} now = { .bytes = image->now };

	free(image->last);
	if (image->now != NULL)
		(void)munmap(now.map, image->length);
	memset(image, 0, sizeof(*image));
}

bool
image_look(const struct image *image, size_t *offset_out, size_t *bytes_out)
{
	size_t low = 0;
	size_t high = image->length;

	if (memcmp(image->now, image->last, image->length) == 0)
		return false;
	while (memcmp(image->now + low, image->last + low, 8) == 0)
		low += 8;
	while (memcmp(image->now + high - 8, image->last + high - 8, 8) == 0)
		high -= 8;
	*offset_out = low;
	*bytes_out = high - low;
	return true;
}

void
image_accept(struct image *image, size_t offset, size_t bytes)
{
	memcpy(image->last + offset, image->now + offset, bytes);
}

static uint64_t
word_hash(const uint8_t *bytes, size_t offset)
{
	uint64_t x;

	memcpy(&x, bytes, sizeof(x));
	x ^= offset * 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* A state's hash is the sum of its words' hashes, so a change adjusts it. */
static uint64_t
range_hash(const uint8_t *bytes, size_t offset, size_t length)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < length; i += 8)
		sum += word_hash(bytes + i, offset + i);
	return sum;
}

static void *
grow(void *array, size_t item_bytes, size_t count)
{
	/* Powers of two only: the array is full when count is one. */
	if (count != 0 && (count & (count - 1)) != 0)
		return array;
	array = reallocarray(array, count == 0 ? 1 : 2 * count, item_bytes);
	if (array == NULL) {
		perror("step_test");
		exit(1);
	}
	return array;
}

static void
log_change(
    struct trace *trace, const struct change *change, const uint8_t *bytes)
{
	struct change entry = *change;

	entry.data = trace->data_bytes;
	for (size_t i = 0; i < change->bytes; i++) {
		trace->data = grow(trace->data, 1, trace->data_bytes);
		trace->data[trace->data_bytes++] = bytes[i];
	}
	trace->changes =
	    grow(trace->changes, sizeof(*trace->changes), trace->count);
	trace->changes[trace->count++] = entry;
}

static void
log_start(struct trace *trace, const struct image *image,
    const struct victim_process *victim)
{
	struct change first = { .step = victim->steps,
		.system_call = victim->system_calls,
		.ip = victim->ip };

	trace->initial.bytes = malloc(image->length);
	if (trace->initial.bytes == NULL) {
		perror("step_test");
		exit(1);
	}
	memcpy(trace->initial.bytes, image->last, image->length);
	trace->initial.length = image->length;
	first.state = range_hash(image->last, 0, image->length);
	log_change(trace, &first, NULL);
}

/* After a step that began at `ip`: log what it changed, if anything. */
static void
log_step(struct trace *trace, struct image *image,
    const struct victim_process *victim, uintptr_t ip)
{
	struct change change = { .step = victim->steps,
		.system_call = victim->system_calls,
		.ip = ip };
	size_t offset;

	if (!image_look(image, &change.offset, &change.bytes))
		return;
	offset = change.offset;
	change.state = trace->changes[trace->count - 1].state -
		       range_hash(image->last + offset, offset, change.bytes) +
		       range_hash(image->now + offset, offset, change.bytes);
	log_change(trace, &change, image->now + offset);
	image_accept(image, offset, change.bytes);
}

static const struct change *sorted_changes;

static int
by_state(const void *a, const void *b)
{
	size_t i = *(const size_t *)a;
	size_t j = *(const size_t *)b;
	uint64_t x = sorted_changes[i].state;
	uint64_t y = sorted_changes[j].state;

	if (x != y)
		return x < y ? -1 : 1;
	return i < j ? -1 : i > j;
}

static void
find_twins(struct trace *trace)
{
	size_t *order = calloc(trace->count, sizeof(*order));

	if (order == NULL) {
		perror("step_test");
		exit(1);
	}
	for (size_t i = 0; i < trace->count; i++)
		order[i] = i;
	sorted_changes = trace->changes;
	qsort(order, trace->count, sizeof(*order), by_state);
	for (size_t i = 0; i < trace->count; i++) {
		struct change *change = &trace->changes[order[i]];
		const struct change *left =
		    i == 0 ? NULL : &trace->changes[order[i - 1]];

		if (left != NULL && left->state == change->state) {
			change->twin = left->twin;
		} else {
			change->twin = order[i];
			trace->distinct++;
		}
	}
	free(order);
}

static void
log_place(struct trace *trace, const struct victim_process *victim)
{
	trace->places =
	    grow(trace->places, sizeof(*trace->places), victim->steps);
	trace->places[victim->steps].ip = victim->ip;
}

static const struct place *sorted_places;

static int
by_ip(const void *a, const void *b)
{
	uint64_t i = *(const uint64_t *)a;
	uint64_t j = *(const uint64_t *)b;
	uintptr_t x = sorted_places[i].ip;
	uintptr_t y = sorted_places[j].ip;

	if (x != y)
		return x < y ? -1 : 1;
	return i < j ? -1 : i > j;
}

/* A breakpoint sees an instruction that repeats itself (`rep`) only once. */
static void
count_visits(struct trace *trace)
{
	const uint64_t count = trace->steps + 1;
	uint64_t *order = calloc(count, sizeof(*order));
	uint64_t visits = 0;

	if (order == NULL) {
		perror("step_test");
		exit(1);
	}
	for (uint64_t i = 0; i < count; i++)
		order[i] = i;
	sorted_places = trace->places;
	qsort(order, count, sizeof(*order), by_ip);
	for (uint64_t i = 0; i < count; i++) {
		struct place *place = &trace->places[order[i]];

		if (i == 0 || place->ip != trace->places[order[i - 1]].ip)
			visits = 0;
		if (order[i] == 0 || place[-1].ip != place->ip)
			place->visits = ++visits;
		else
			place->visits = 0;
	}
	free(order);
}

/* Why the tracing ended before the second mark. */
static void
explain(const struct victim_process *victim, enum step_result result,
    const char *path, char reason[TRACE_REASON_BYTES])
{
	if (result == STEP_LOST)
		(void)snprintf(reason, TRACE_REASON_BYTES,
		    "the victim was lost at step %llu (wait status 0x%x)",
		    (unsigned long long)victim->steps, victim->status);
	else if (result != STEP_MARK)
		(void)snprintf(reason, TRACE_REASON_BYTES,
		    "the victim was not done after %u steps", STEPS_MAX);
	else
		(void)snprintf(
		    reason, TRACE_REASON_BYTES, "there is no file %s", path);
}

/* Step to the second mark; false and a reason if it is not reached. */
static bool
step_and_log(struct trace *trace, struct victim_process *victim,
    const char *path, bool appears, char reason[TRACE_REASON_BYTES])
{
	struct image image = { 0 };
	enum step_result result = STEP_DONE;
	bool logging = false;

	while (victim->steps < STEPS_MAX) {
		uintptr_t ip = victim->ip;

		log_place(trace, victim);
		if (!logging && (!appears || result == STEP_SYSTEM_CALL)) {
			logging = image_open(&image, path);
			if (logging)
				log_start(trace, &image, victim);
		}
		result = victim_step(victim);
		if (result == STEP_MARK || result == STEP_LOST)
			break;
		if (logging)
			log_step(trace, &image, victim, ip);
	}
	image_close(&image);
	if (result == STEP_MARK && logging)
		return true;
	explain(victim, result, path, reason);
	return false;
}

/* The same, from write to write. */
static bool
guard_and_log(struct trace *trace, struct victim_process *victim,
    const char *path, char reason[TRACE_REASON_BYTES])
{
	struct image image;
	struct guard guard;
	enum step_result result = STEP_DONE;

	if (!image_open(&image, path)) {
		explain(victim, STEP_MARK, path, reason);
		return false;
	}
	log_start(trace, &image, victim);
	if (!guard_open(&guard, victim, path))
		result = STEP_LOST;
	while (result == STEP_DONE && victim->steps < STEPS_MAX) {
		uintptr_t ip;

		result = guard_run(&guard, victim);
		ip = victim->ip;
		if (result == STEP_DONE)
			result = guard_step(&guard, victim);
		if (result == STEP_DONE)
			log_step(trace, &image, victim, ip);
	}
	image_close(&image);
	if (result == STEP_MARK && guard_close(&guard, victim))
		return true;
	explain(victim, result, path, reason);
	return false;
}

bool
trace_run(struct trace *trace, const char *path, enum trace_how how,
    void (*run)(void *), void *argument, char reason[TRACE_REASON_BYTES])
{
	struct victim_process victim;
	bool traced;

	memset(trace, 0, sizeof(*trace));
	if (!victim_start(&victim, run, argument)) {
		(void)snprintf(reason, TRACE_REASON_BYTES,
		    "the victim did not get ready (wait status 0x%x)",
		    victim.status);
		return false;
	}
	if (how == TRACE_WRITES)
		traced = guard_and_log(trace, &victim, path, reason);
	else
		traced = step_and_log(
		    trace, &victim, path, how == TRACE_CREATES, reason);
	if (!traced) {
		victim_kill(&victim);
		trace_free(trace);
		return false;
	}
	trace->steps = victim.steps;
	trace->system_calls = victim.system_calls;
	trace->exit_code = victim_finish(&victim);
	find_twins(trace);
	if (how != TRACE_WRITES)
		count_visits(trace);
	return true;
}

void
trace_free(struct trace *trace)
{
	snapshot_free(&trace->initial);
	free(trace->changes);
	free(trace->data);
	free(trace->places);
	memset(trace, 0, sizeof(*trace));
}

void
trace_replay(const struct trace *trace, uint8_t *state, size_t from, size_t to)
{
	if (to < from) {
		memcpy(state, trace->initial.bytes, trace->initial.length);
		from = 0;
	}
	for (size_t i = from + 1; i <= to; i++) {
		const struct change *change = &trace->changes[i];

		memcpy(state + change->offset, trace->data + change->data,
		    change->bytes);
	}
}

bool
trace_is_alike(const struct trace *a, const struct trace *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 1; i < a->count; i++)
		if (a->changes[i].ip != b->changes[i].ip ||
		    a->changes[i].offset != b->changes[i].offset ||
		    a->changes[i].bytes != b->changes[i].bytes)
			return false;
	return true;
}

bool
trace_is_at(const struct trace *trace, uint64_t steps, uintptr_t ip)
{
	return ip == trace->places[steps].ip;
}

/* Ask addr2line, if it is there, for what the symbol table can't tell. */
static void
ask_addr2line(const Dl_info *info, uintptr_t ip, char *text, size_t text_bytes)
{
	char command[400];
	char line[200];
	size_t used = strlen(text);
	FILE *answer;

	(void)snprintf(command, sizeof(command),
	    "addr2line -fpsie '%s' 0x%zx 2>/dev/null", info->dli_fname,
	    (size_t)(ip - (uintptr_t)info->dli_fbase));
	answer = popen(command, "r");
	if (answer == NULL)
		return;
	while (used < text_bytes && fgets(line, sizeof(line), answer) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		used += (size_t)snprintf(text + used, text_bytes - used, "%s%s",
		    used == 0 ? "" : " ", line);
	}
	(void)pclose(answer);
}

void
tracer_place(uintptr_t ip, char *text, size_t text_bytes)
{
	Dl_info info;
	union {
		uintptr_t ip;
		void *pointer;
	} place = { .ip = ip };

	if (dladdr(place.pointer, &info) == 0 || info.dli_fname == NULL) {
		(void)snprintf(text, text_bytes, "ip 0x%zx", (size_t)ip);
		return;
	}
	(void)snprintf(text, text_bytes, "ip %s+0x%zx",
	    strrchr(info.dli_fname, '/') ? strrchr(info.dli_fname, '/') + 1
					 : info.dli_fname,
	    (size_t)(ip - (uintptr_t)info.dli_fbase));
	ask_addr2line(&info, ip, text, text_bytes);
}
