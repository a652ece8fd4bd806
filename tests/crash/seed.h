/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * seed.h - the one source of chance
 *
 * getrandom() draws from it too, in this program: so the segments' secrets,
 * and with them every slot and every step, follow from the seed.
 */
#ifndef CRASH_SEED_H
#define CRASH_SEED_H

#include <stdint.h>

void seed_random(uint64_t seed);
uint64_t seed_next(void);

#endif /* CRASH_SEED_H */
