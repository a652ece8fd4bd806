/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * switch.h - one of many mistakes, chosen when the program starts
 *
 * For trees that derive.sh has rewritten.  SHM_MUTANT is the number of the
 * mistake; in the file that SHM_MUTANT_SEEN names, byte n becomes 1 if the place
 * of mistake n was come to.
 */
#ifndef SHM_MUTANT_H
#define SHM_MUTANT_H

#include <stdbool.h>
#include <stdint.h>

#define SHM_MUTANTS_MAX 4096

extern unsigned shm_mutant;
extern volatile uint8_t *shm_mutant_seen;

static inline bool
shm_mutant_is(unsigned number)
{
	if (shm_mutant_seen != 0)
		shm_mutant_seen[number] = 1;
	return number == shm_mutant;
}

/* Stores that always win. */
static inline bool
blind_shm_cas64(uint64_t *word, uint64_t expected, uint64_t desired)
{
	(void)expected;
	*(volatile uint64_t *)word = desired;
	return true;
}

static inline bool
blind_shm_cas32(uint32_t *word, uint32_t expected, uint32_t desired)
{
	(void)expected;
	*(volatile uint32_t *)word = desired;
	return true;
}

static inline bool
blind_shm_cas128(
    uint64_t words[2], const uint64_t expected[2], const uint64_t desired[2])
{
	(void)expected;
	*(volatile uint64_t *)&words[0] = desired[0];
	*(volatile uint64_t *)&words[1] = desired[1];
	return true;
}

#define MUTANT_CAS(number, cas, ...)                                           \
	(shm_mutant_is(number) ? blind_##cas(__VA_ARGS__) : cas(__VA_ARGS__))
#define MUTANT_FENCE(number)                                                   \
	do {                                                                   \
		if (!shm_mutant_is(number))                                    \
			shm_fence();                                           \
	} while (0)
#define MUTANT_PUBLISH(number, word, value)                                    \
	do {                                                                   \
		if (shm_mutant_is(number))                                     \
			shm_store64(word, value);                              \
		else                                                           \
			shm_publish64(word, value);                            \
	} while (0)

#endif /* SHM_MUTANT_H */
