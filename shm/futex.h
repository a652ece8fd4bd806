/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * futex.h - sleeping until a word changes, across processes
 *
 * On the low half of a 64-bit word: whoever changes it does so by CAS and wakes
 * after that; the kernel compares it with what the sleeper saw, under its own
 * lock, so no wake-up is lost.  A process that is killed between the two wakes
 * nobody: hence every sleep has an end.
 *
 * The kernel only reads the word.  Should the page not be mapped any more (the
 * cache was left meanwhile), the call fails and the sleep is over.
 */
#ifndef SHM_FUTEX_H
#define SHM_FUTEX_H

#include <errno.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the low half of a word is taken to lie first"
#endif

/* Not FUTEX_PRIVATE_FLAG: the sleepers are in other processes. */
static inline void
shm_futex_wait(const uint64_t *word, uint32_t seen, uint32_t ms)
{
	const struct timespec time = { .tv_sec = ms / 1000,
		.tv_nsec = (long)(ms % 1000) * 1000000 };

	(void)syscall(SYS_futex, word, FUTEX_WAIT, seen, &time, NULL, 0);
}

static inline void
shm_futex_wake_all(const uint64_t *word)
{
	(void)syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* One of several words, as futex_waitv(2) takes them (Linux 5.16; spelled out, as
   it may be newer than the headers). */
struct shm_futex {
	uint64_t seen;
	uint64_t address;
	uint32_t flags;
	uint32_t reserved;
};

#define SHM_FUTEX_MAX 128u

static inline struct shm_futex
shm_futex(const uint64_t *word, uint32_t seen)
{
	return (struct shm_futex){ .seen = seen,
		.address = (uintptr_t)word,
		.flags = 2 /* 32 bits, of any process */ };
}

/* Sleep until one of the words is not as it was seen.  False, without having
   slept, if the kernel, or what filters its calls, has no such thing. */
static inline bool
shm_futex_wait_any(const struct shm_futex *words, unsigned count, uint32_t ms)
{
	const long number = 449; /* on every processor */
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	return syscall(number, words, count, 0, &until, CLOCK_MONOTONIC) >= 0 ||
	       (errno != ENOSYS && errno != EPERM && errno != EINVAL);
}

#endif /* SHM_FUTEX_H */
