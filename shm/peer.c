/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* peer.c - process slots, peer slots, liveness */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "shm/peer.h"

#include "shm/atomic.h"
#include "shm/clock.h"
#include "shm/error.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The byte of process slot 0: beyond any file's end. */
#define LOCK_BASE (1ll << 60)

/* A process that was probed alive is not probed again for so long, so that a
   stopped one costs its victims three system calls in 50 ms, not in each
   set. */
#define ALIVE_FOR_MS 50

#define GENERATION_MASK 0xffffffu

static uint64_t
make_claim(enum shm_claim_state state, uint32_t incarnation,
    const struct shm_segment *segment)
{
	return (uint64_t)state |
	       (uint64_t)(incarnation & SHM_INCARNATION_MASK) << 2 |
	       (uint64_t)segment->process << 28 |
	       (uint64_t)segment->process_generation << 40;
}

static uint32_t
claim_generation(uint64_t claim)
{
	return (uint32_t)(claim >> 40);
}

int
shm_process_lock(int fd, struct shm_segment *segment)
{
	uint32_t count = segment->geometry.request.process_count;

	for (uint32_t i = 0; i < count; i++) {
		struct flock lock = { .l_type = F_WRLCK,
			.l_whence = SEEK_SET,
			.l_start = LOCK_BASE + i,
			.l_len = 1 };

		if (fcntl(fd, F_OFD_SETLK, &lock) == 0) {
			segment->process = i;
			return 0;
		}
		if (errno == EINVAL)
			return shm_error_note(SHM_EKERNEL,
			    "the kernel has no open file description locks");
		if (errno != EAGAIN && errno != EACCES)
			return -errno;
	}
	return shm_error_note(
	    SHM_EPROCESSES, "all %u process slots are taken", count);
}

/* Frees every claim of the own process slot that an earlier owner left. */
static void
free_inherited_claims(struct shm_segment *segment)
{
	struct shm_peer_shared *table = shm_peer_table(segment);

	for (uint32_t i = 0; i < segment->geometry.request.peer_count; i++) {
		uint64_t claim = shm_load64_acquire(&table[i].claim);

		if (shm_claim_state(claim) != SHM_CLAIM_FREE &&
		    shm_claim_process(claim) == segment->process)
			(void)shm_cas64(
			    &table[i].claim, claim, shm_claim_freed(claim));
	}
}

void
shm_process_enroll(struct shm_segment *segment)
{
	struct shm_process_shared *slot =
	    &shm_process_table(segment)[segment->process];
	uint64_t generation = shm_load64(&slot->generation) + 1;

	segment->process_generation = (uint32_t)generation & GENERATION_MASK;
	shm_publish64(&slot->generation, generation);
	shm_store64(&slot->pid, (uint64_t)getpid());
	free_inherited_claims(segment);
}

/* True unless the kernel says that nobody has the slot's lock. */
static bool
probe_lock(const struct shm_segment *segment, uint32_t process)
{
	struct flock lock = { .l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = LOCK_BASE + process,
		.l_len = 1 };
	int fd, cancel, saved_errno = errno;
	bool alive = true;

	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	fd = shm_segment_reopen(segment);
	if (fd >= 0) {
		if (fcntl(fd, F_OFD_GETLK, &lock) == 0)
			alive = lock.l_type != F_UNLCK;
		(void)close(fd);
	}
	(void)pthread_setcancelstate(cancel, NULL);
	errno = saved_errno;
	return alive;
}

bool
shm_process_alive(struct shm_segment *segment, uint32_t process)
{
	return process == segment->process || probe_lock(segment, process);
}

bool
shm_peer_dead(struct shm_segment *segment, uint64_t claim, bool fresh)
{
	uint32_t process = shm_claim_process(claim);
	uint64_t now;

	if (process >= segment->geometry.request.process_count)
		return true; /* damage: no process can have written it */
	if ((shm_load64_acquire(
		 &shm_process_table(segment)[process].generation) &
		GENERATION_MASK) != claim_generation(claim))
		return true;
	if (process == segment->process)
		return false;
	now = shm_clock_ms();
	if (!fresh && now < shm_load64(&segment->alive_until_ms[process]))
		return false;
	if (!probe_lock(segment, process)) {
		/* Lest the next who asks is told what was true before. */
		shm_store64(&segment->alive_until_ms[process], 0);
		return true;
	}
	shm_store64(&segment->alive_until_ms[process], now + ALIVE_FOR_MS);
	return false;
}

void
shm_peer_ask_anew(struct shm_segment *segment)
{
	for (uint32_t i = 0; i < segment->geometry.request.process_count; i++)
		shm_store64(&segment->alive_until_ms[i], 0);
}

/* Tries to take slot `i`; returns its new claim, or 0. */
static uint64_t
claim_slot(struct shm_segment *segment, uint32_t i)
{
	uint64_t *word = &shm_peer_table(segment)[i].claim;
	uint64_t old = shm_load64_acquire(word);
	uint64_t mine =
	    make_claim(SHM_CLAIM_LIVE, shm_claim_incarnation(old) + 1, segment);

	if (shm_claim_state(old) != SHM_CLAIM_FREE ||
	    !shm_cas64(word, old, mine))
		return 0;
	return mine;
}

/* Everybody scans the slots below peer_high. [C] The caller's first pin is
   published after this; a scan that does not see the new mark comes before. */
static void
raise_peer_high(struct shm_segment *segment, uint32_t slots)
{
	uint64_t *high = &segment->header->peer_high;
	uint64_t seen = shm_load64(high);

	while (seen < slots && !shm_cas64(high, seen, slots))
		seen = shm_load64(high);
}

/* The lowest free slot, so that scans stay short.  Sets *claim_out. */
static int
claim_any_slot(struct shm_segment *segment, uint64_t *claim_out)
{
	uint32_t count = segment->geometry.request.peer_count;

	for (unsigned pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < count; i++) {
			*claim_out = claim_slot(segment, i);
			if (*claim_out != 0)
				return (int)i;
		}
		if (shm_peer_sweep(segment) == 0)
			break;
	}
	return shm_error_note(SHM_EPEERS, "all %u peer slots are taken", count);
}

int
shm_peer_claim(struct shm_segment *segment, struct shm_peer **peer_out)
{
	struct shm_peer *peer = calloc(1, sizeof(*peer));
	int slot;

	if (peer == NULL)
		return -ENOMEM;
	slot = claim_any_slot(segment, &peer->claim);
	if (slot < 0) {
		free(peer);
		return slot;
	}
	peer->segment = segment;
	peer->shared = &shm_peer_table(segment)[slot];
	peer->counters = shm_peer_counters(segment, (uint32_t)slot);
	peer->random = (uint32_t)peer->claim * 2654435761u | 1;
	raise_peer_high(segment, (uint32_t)slot + 1);
	for (unsigned i = 0; i < SHM_PINS; i++) /* rule 1 */
		shm_store64_release(&peer->shared->pins[i], 0);
	peer->next = segment->peers;
	segment->peers = peer;
	*peer_out = peer;
	return 0;
}

static void
unlist(struct shm_peer *peer)
{
	struct shm_peer **at = &peer->segment->peers;

	while (*at != peer)
		at = &(*at)->next;
	*at = peer->next;
}

void
shm_peer_release(struct shm_peer *peer)
{
	uint32_t handles = shm_load32(&peer->handles);

	while ((handles & ~SHM_PEER_ORPHANED) != 0) {
		uint64_t orphaned =
		    shm_claim_freed(peer->claim) | SHM_CLAIM_ORPHANED;

		/* Before the bit: whoever sees the bit may free the peer. */
		if (shm_cas64(&peer->shared->claim, peer->claim, orphaned))
			peer->claim = orphaned;
		if (shm_cas32(
			&peer->handles, handles, handles | SHM_PEER_ORPHANED))
			return;
		handles = shm_load32(&peer->handles);
	}
	unlist(peer);
	for (unsigned i = 0; i < SHM_PINS; i++)
		shm_store64_release(&peer->shared->pins[i], 0);
	(void)shm_cas64(
	    &peer->shared->claim, peer->claim, shm_claim_freed(peer->claim));
	free(peer);
}

uint32_t
shm_peer_sweep(struct shm_segment *segment)
{
	struct shm_peer_shared *table = shm_peer_table(segment);
	/* Asked once is enough: 1 + the generation that was alive. */
	uint32_t alive[SHM_PROCESSES_MAX] = { 0 };
	uint32_t freed = 0;

	for (uint32_t i = 0; i < segment->geometry.request.peer_count; i++) {
		uint64_t claim = shm_load64_acquire(&table[i].claim);
		uint32_t process = shm_claim_process(claim);

		if (shm_claim_state(claim) == SHM_CLAIM_FREE ||
		    alive[process] == 1 + claim_generation(claim))
			continue;
		if (!shm_peer_dead(segment, claim, true))
			alive[process] = 1 + claim_generation(claim);
		else if (shm_cas64(
			     &table[i].claim, claim, shm_claim_freed(claim)))
			freed++;
	}
	return freed;
}

int
shm_peer_hold(struct shm_peer *peer)
{
	for (;;) {
		uint32_t handles = shm_load32(&peer->handles);
		unsigned bit = 0;

		while (bit < SHM_PIN_END - SHM_PIN_HANDLES &&
		       (handles & 1u << bit) != 0)
			bit++;
		if (bit == SHM_PIN_END - SHM_PIN_HANDLES)
			return SHM_EPINS;
		if (shm_cas32(&peer->handles, handles, handles | 1u << bit))
			return (int)(SHM_PIN_HANDLES + bit);
	}
}

bool
shm_peer_unhold(struct shm_peer *peer, uint32_t pin)
{
	uint32_t bit = 1u << (pin - SHM_PIN_HANDLES);

	shm_store64_release(&peer->shared->pins[pin], 0);
	for (;;) {
		uint32_t handles = shm_load32(&peer->handles);

		if (shm_cas32(&peer->handles, handles, handles & ~bit))
			return (handles & ~bit) == SHM_PEER_ORPHANED;
	}
}

bool
shm_peer_holds(const struct shm_segment *segment)
{
	for (const struct shm_peer *p = segment->peers; p != NULL; p = p->next)
		if ((shm_load32(&p->handles) & ~SHM_PEER_ORPHANED) != 0)
			return true;
	return false;
}
