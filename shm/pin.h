/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pin.h - readers' announcements, and the grace period of an extent
 *
 * A pin is a hazard pointer (Michael 2004) of the size of an extent: before a
 * peer touches an extent it stores the extent's number in one of its eight pin
 * words.  An extent's bytes are reused only after nothing in the index names it
 * and a scan found no pin that does.
 *
 *   reader                               reclaimer
 *   w = load_acquire(slot)               take every word that names X out
 *   P1: pin := X; full fence             P2: full fence
 *   load(slot) == w ? else release       scan all pins (acquire)
 *   read                                 none names X: CAS LIMBO,g -> FREE,g+1
 *   R1: store_release(pin, 0)            R2: the scan's acquire load
 *
 * P1 with P2: either the scan sees the pin, or the re-check sees that the word
 * is gone.  Without the fence in P1 the load may pass the store, without that
 * in P2 the scan may pass the unlinking; in both cases neither sees the other
 * and the reader reads reused bytes.  R1 with R2: everything that the reader
 * read was read before the bytes are written again.  Pins may be scanned one by
 * one: who pins later fails its re-check.
 *
 * The re-check also rules out ABA: whatever the word names then is linked and
 * pinned.  A writer keeps its pin until its CAS of the word is done, so the
 * word cannot come back meaning something else.
 *
 * A pin does not count if its peer's claim isn't held, or is held by a process
 * that is found dead (peer.h); the scan then frees the claim.  A reader that is
 * stopped keeps what it has pinned out of use, for ever if need be; nobody
 * waits for it.  Killed anywhere, its pins fall with its claim.
 *
 * Pins never move from one word to another.
 */
#ifndef SHM_PIN_H
#define SHM_PIN_H

#include "shm/atomic.h"
#include "shm/peer.h"

#include <stdbool.h>
#include <stdint.h>

/* P1.  The caller re-checks what it found the extent by. */
static inline void
shm_pin_set(struct shm_peer *peer, unsigned pin, uint32_t extent)
{
	shm_publish64(&peer->shared->pins[pin], (uint64_t)extent + 1);
}

/* R1. */
static inline void
shm_pin_clear(struct shm_peer *peer, unsigned pin)
{
	shm_store64_release(&peer->shared->pins[pin], 0);
}

/* Which pins a scan minds: all, or those of writers' targets. */
#define SHM_PINS_ALL     0xffu
#define SHM_PINS_TARGETS (1u << SHM_PIN_TARGET)

/*
 * Does a live peer pin the extent?  A full fence, then a scan: P2.  The caller
 * has loaded the state that it wants to change, and holds no pin on the extent
 * that the scan minds.  `fresh`: ask the kernel for each pin's owner.
 */
bool shm_pin_scan(
    struct shm_segment *segment, uint32_t extent, unsigned pins, bool fresh);

/*
 * Do callers hold about half of the extents?  A hint: nobody is asked as long
 * as there are too few peers to hold that many, and few are when there are
 * more.
 */
bool shm_pin_scarce(struct shm_peer *peer);

#endif /* SHM_PIN_H */
