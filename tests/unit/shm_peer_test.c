/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shm_peer_test.c - claims, their incarnations, and who is alive
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "shm/atomic.h"
#include "shm/error.h"
#include "shm/peer.h"
#include "tests/unit/support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define INCARNATIONS 0x4000000u
#define GENERATIONS  0x1000000u

static struct shm_peer *
claim(struct shm_segment *s)
{
	struct shm_peer *peer = NULL;

	assert_int_equal(shm_peer_claim(s, &peer), 0);
	return peer;
}

static uint64_t
claim_word(struct shm_segment *s, unsigned slot)
{
	return shm_load64_acquire(&shm_peer_table(s)[slot].claim);
}

static enum shm_claim_state
claim_state(struct shm_segment *s, unsigned slot)
{
	return shm_claim_state(claim_word(s, slot));
}

static uint32_t
incarnation(uint64_t word)
{
	return (uint32_t)(word >> 2) & (INCARNATIONS - 1);
}

static void
lowest_free_slot_is_claimed(void **state)
{
	struct shm_segment *s = test_segment();
	struct shm_peer *a = claim(s), *b = claim(s);

	(void)state;
	assert_ptr_equal(a->shared, &shm_peer_table(s)[0]);
	assert_ptr_equal(b->shared, &shm_peer_table(s)[1]);
	assert_int_equal(claim_state(s, 1), SHM_CLAIM_LIVE);
	assert_int_equal(shm_claim_process(claim_word(s, 1)), s->process);
	assert_true(s->header->peer_high >= 2);
	shm_peer_release(a);
	assert_int_equal(claim_state(s, 0), SHM_CLAIM_FREE);
	a = claim(s);
	assert_ptr_equal(a->shared, &shm_peer_table(s)[0]);
	shm_peer_release(a);
	shm_peer_release(b);
	assert_null(s->peers);
	shm_segment_detach(s);
}

static void
new_owner_zeroes_its_own_pins(void **state)
{
	struct shm_segment *s = test_segment();
	struct shm_peer *peer;

	(void)state;
	for (unsigned i = 0; i < SHM_PINS; i++)
		shm_peer_table(s)[0].pins[i] = i + 1;
	peer = claim(s);
	for (unsigned i = 0; i < SHM_PINS; i++)
		assert_int_equal(peer->shared->pins[i], 0);
	peer->shared->pins[SHM_PIN_ENTRY] = 3;
	shm_peer_release(peer);
	assert_int_equal(shm_peer_table(s)[0].pins[SHM_PIN_ENTRY], 0);
	shm_segment_detach(s);
}

static void
counters_go_on_under_the_next_owner(void **state)
{
	struct shm_segment *s = test_segment();
	struct shm_peer *peer = claim(s);

	(void)state;
	peer->counters[3] = 41;
	shm_peer_release(peer);
	peer = claim(s);
	assert_int_equal(peer->counters[3], 41);
	assert_ptr_equal(peer->counters, shm_peer_counters(s, 0));
	shm_peer_release(peer);
	shm_segment_detach(s);
}

static void
all_slots_taken_is_an_error(void **state)
{
	struct shm_segment *s = test_segment();
	struct shm_peer *peers[8], *one = NULL;

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		peers[i] = claim(s);
	assert_int_equal(shm_peer_claim(s, &one), SHM_EPEERS);
	assert_null(one);
	shm_peer_release(peers[5]);
	peers[5] = claim(s);
	for (unsigned i = 0; i < 8; i++)
		shm_peer_release(peers[i]);
	shm_segment_detach(s);
}

static void
each_claim_is_another_incarnation(void **state)
{
	struct shm_segment *s = test_segment();
	uint32_t last = 0;

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		struct shm_peer *peer = claim(s);
		uint32_t now = incarnation(peer->claim);

		assert_int_equal(peer->claim, claim_word(s, 0));
		assert_int_equal(now, last + 1);
		last = now;
		shm_peer_release(peer);
	}
	shm_segment_detach(s);
}

static void
incarnation_wraps_within_its_bits(void **state)
{
	struct shm_segment *s = test_segment();
	struct shm_peer *peer;

	(void)state;
	shm_peer_table(s)[0].claim = (INCARNATIONS - 1ull) << 2;
	peer = claim(s);
	assert_int_equal(incarnation(peer->claim), 0);
	assert_int_equal(shm_claim_state(peer->claim), SHM_CLAIM_LIVE);
	assert_int_equal(shm_claim_process(peer->claim), s->process);
	assert_false(shm_peer_dead(s, peer->claim, true));
	shm_peer_release(peer);
	assert_int_equal(claim_state(s, 0), SHM_CLAIM_FREE);
	shm_segment_detach(s);
}

/* What a child does: attach, and claim a peer that pins extent 5. */
static int
attach_and_pin(void *path)
{
	struct shm_segment *s = NULL;
	struct shm_peer *peer = NULL;

	if (shm_segment_attach(path, TEST_SIGNATURE, NULL, NULL, &s) != 0 ||
	    shm_peer_claim(s, &peer) != 0)
		return 1;
	shm_store64_release(&peer->shared->pins[SHM_PIN_ENTRY], 6);
	return 0;
}

static void
own_process_is_alive_and_empty_slots_are_not(void **state)
{
	struct shm_segment *s = test_segment();

	(void)state;
	assert_true(shm_process_alive(s, s->process));
	assert_false(shm_process_alive(s, s->process + 1));
	assert_int_equal(shm_process_table(s)[s->process].pid, getpid());
	shm_segment_detach(s);
}

static void
child_is_alive_until_killed_zombie_or_not(void **state)
{
	struct shm_segment *s = test_segment();
	pid_t child = test_child_pause(attach_and_pin, s->path);
	uint64_t word = claim_word(s, 0);

	(void)state;
	assert_int_equal(shm_claim_process(word), 1);
	assert_true(shm_process_alive(s, 1));
	assert_false(shm_peer_dead(s, word, true));
	test_child_kill(child); /* a zombie now */
	assert_false(shm_process_alive(s, 1));
	assert_true(shm_peer_dead(s, word, true));
	test_child_reap(child);
	assert_true(shm_peer_dead(s, word, true));
	shm_segment_detach(s);
}

static void
stopped_child_is_alive(void **state)
{
	struct shm_segment *s = test_segment();
	pid_t child = test_child_pause(attach_and_pin, s->path);

	(void)state;
	test_child_stop(child);
	assert_true(shm_process_alive(s, 1));
	assert_false(shm_peer_dead(s, claim_word(s, 0), true));
	assert_int_equal(shm_peer_sweep(s), 0);
	test_child_kill(child);
	test_child_reap(child);
	assert_int_equal(shm_peer_sweep(s), 1);
	shm_segment_detach(s);
}

static void
sweep_frees_the_dead_and_spares_the_living(void **state)
{
	struct shm_segment *s = test_segment();
	struct shm_peer *own = claim(s);
	pid_t dead = test_child_pause(attach_and_pin, s->path);
	pid_t live = test_child_pause(attach_and_pin, s->path);

	(void)state;
	assert_int_equal(shm_peer_sweep(s), 0);
	test_child_kill(dead);
	assert_int_equal(shm_peer_sweep(s), 1);
	assert_int_equal(claim_state(s, 0), SHM_CLAIM_LIVE);
	assert_int_equal(claim_state(s, 1), SHM_CLAIM_FREE);
	assert_int_equal(claim_state(s, 2), SHM_CLAIM_LIVE);
	assert_int_equal(shm_peer_table(s)[1].pins[SHM_PIN_ENTRY], 6);
	test_child_kill(live);
	test_child_reap(dead);
	test_child_reap(live);
	shm_peer_release(own);
	shm_segment_detach(s);
}

static void
slots_of_the_dead_are_claimed_when_none_is_free(void **state)
{
	struct shm_segment *s = test_segment();
	struct shm_peer *peers[8];
	pid_t child = test_child_pause(attach_and_pin, s->path);

	(void)state;
	for (unsigned i = 0; i < 7; i++)
		peers[i] = claim(s);
	assert_int_equal(shm_peer_claim(s, &peers[7]), SHM_EPEERS);
	test_child_kill(child);
	peers[7] = claim(s);
	assert_ptr_equal(peers[7]->shared, &shm_peer_table(s)[0]);
	assert_int_equal(peers[7]->shared->pins[SHM_PIN_ENTRY], 0);
	test_child_reap(child);
	for (unsigned i = 0; i < 8; i++)
		shm_peer_release(peers[i]);
	shm_segment_detach(s);
}

static void
verdict_may_be_remembered_unless_a_fresh_one_is_asked(void **state)
{
	struct shm_segment *s = test_segment();
	pid_t child = test_child_pause(attach_and_pin, s->path);
	uint64_t word = claim_word(s, 0);

	(void)state;
	test_child_kill(child);
	s->alive_until_ms[1] = UINT64_MAX;
	assert_false(shm_peer_dead(s, word, false));
	assert_true(shm_peer_dead(s, word, true));
	s->alive_until_ms[1] = 0;
	assert_true(shm_peer_dead(s, word, false));
	test_child_reap(child);
	shm_segment_detach(s);
}

static void
reused_process_slot_revives_nobody(void **state)
{
	struct shm_segment *s = test_segment(), *heir;
	pid_t child = test_child_pause(attach_and_pin, s->path);
	uint64_t word = claim_word(s, 0);

	(void)state;
	test_child_kill(child);
	test_child_reap(child);
	assert_int_equal(claim_word(s, 0), word);
	heir = test_attach(s->path);
	assert_int_equal(heir->process, 1);
	assert_true(shm_process_alive(s, 1));
	assert_int_equal(claim_state(s, 0), SHM_CLAIM_FREE);
	assert_true(shm_peer_dead(s, word, true));
	assert_true(shm_peer_dead(heir, word, true));
	/* A claim that reappears (a heir killed before it freed it) is dead. */
	shm_peer_table(s)[0].claim = word;
	assert_int_equal(shm_peer_sweep(s), 1);
	shm_segment_detach(heir);
	shm_segment_detach(s);
}

static void
process_generation_wraps_within_24_bits(void **state)
{
	struct shm_segment *s = test_segment();
	uint64_t word;
	pid_t child;

	(void)state;
	shm_process_table(s)[1].generation = GENERATIONS - 1;
	child = test_child_pause(attach_and_pin, s->path);
	assert_int_equal(shm_process_table(s)[1].generation, GENERATIONS);
	word = claim_word(s, 0);
	assert_int_equal(word >> 40, 0);
	assert_false(shm_peer_dead(s, word, true));
	assert_true(
	    shm_peer_dead(s, word | (uint64_t)(GENERATIONS - 1) << 40, true));
	test_child_kill(child);
	assert_true(shm_peer_dead(s, word, true));
	test_child_reap(child);
	shm_segment_detach(s);
}

static void
claim_by_no_process_is_dead(void **state)
{
	struct shm_request r = test_request();
	uint64_t word = SHM_CLAIM_LIVE | 4095ull << 28;
	struct shm_segment *s;

	(void)state;
	r.region_bytes[0] = 1u << 19; /* what lies behind the table is ours */
	s = test_segment_of(&r);
	free(s->alive_until_ms);
	s->alive_until_ms = calloc(4096, sizeof(uint64_t));
	assert_non_null(s->alive_until_ms);
	s->alive_until_ms[4095] = UINT64_MAX;
	assert_true(shm_peer_dead(s, word, false));
	shm_peer_table(s)[4].claim = word;
	assert_int_equal(shm_peer_sweep(s), 1);
	assert_int_equal(claim_state(s, 4), SHM_CLAIM_FREE);
	shm_segment_detach(s);
}

static void
probe_that_cannot_be_made_says_alive(void **state)
{
	struct shm_segment *s = test_segment();
	pid_t child = test_child_pause(attach_and_pin, s->path);
	uint64_t word = claim_word(s, 0);
	int fd;

	(void)state;
	test_child_kill(child);
	test_child_reap(child);
	assert_int_equal(unlink(s->path), 0);
	assert_false(shm_peer_dead(s, word, true));
	fd = open(s->path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
	assert_false(shm_peer_dead(s, word, true));
	assert_int_equal(shm_peer_sweep(s), 0);
	shm_segment_detach(s);
}

static int
attach_and_reopen(void *path)
{
	int error = attach_and_pin(path), fd = open(path, O_RDWR | O_CLOEXEC);

	/* This would drop the locks of F_SETLK. */
	return error != 0 || fd < 0 || close(fd) != 0;
}

static void
closing_the_file_once_more_is_no_death(void **state)
{
	struct shm_segment *s = test_segment();
	pid_t child = test_child_pause(attach_and_reopen, s->path);

	(void)state;
	assert_true(shm_process_alive(s, 1));
	test_child_kill(child);
	test_child_reap(child);
	shm_segment_detach(s);
}

struct family {
	char *path;
	pid_t grandchild;
};

/* A grandchild that is born after attaching, and outlives its parent. */
static int
attach_and_fork(void *context)
{
	struct family *family = context;
	pid_t pid;

	if (attach_and_pin(family->path) != 0)
		return 1;
	pid = fork();
	if (pid == 0) {
		(void)alarm(60);
		for (;;)
			(void)pause();
	}
	family->grandchild = pid; /* here alone: both see this memory */
	return pid < 0;
}

static void
forked_child_does_not_keep_its_parent_alive(void **state)
{
	struct shm_segment *s = test_segment();
	struct family *family = mmap(NULL, sizeof(*family),
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child;
	bool alive;

	(void)state;
	assert_true(family != MAP_FAILED);
	family->path = s->path;
	child = test_child_pause(attach_and_fork, family);
	test_child_kill(child);
	alive = shm_process_alive(s, 1);
	assert_true(family->grandchild > 1);
	assert_int_equal(kill(family->grandchild, SIGKILL), 0);
	test_child_reap(child);
	assert_false(alive);
	assert_int_equal(munmap(family, sizeof(*family)), 0);
	shm_segment_detach(s);
}

static int
attach_and_exec(void *path)
{
	if (attach_and_pin(path) != 0)
		return 1;
	(void)execl("/bin/true", "true", (char *)NULL);
	return 2;
}

static void
exec_and_exit_are_death(void **state)
{
	struct shm_segment *s = test_segment();

	(void)state;
	assert_int_equal(test_child_run(attach_and_exec, s->path), 0);
	assert_true(shm_peer_dead(s, claim_word(s, 0), true));
	assert_int_equal(test_child_run(attach_and_pin, s->path), 0);
	assert_true(shm_peer_dead(s, claim_word(s, 0), true));
	assert_int_equal(shm_peer_sweep(s), 1);
	shm_segment_detach(s);
}

static void
four_handles_can_be_held(void **state)
{
	struct shm_segment *s = test_segment();
	struct shm_peer *peer = claim(s);

	(void)state;
	assert_false(shm_peer_holds(s));
	for (int pin = SHM_PIN_HANDLES; pin < SHM_PIN_END; pin++)
		assert_int_equal(shm_peer_hold(peer), pin);
	assert_int_equal(shm_peer_hold(peer), SHM_EPINS);
	assert_true(shm_peer_holds(s));
	peer->shared->pins[6] = 9;
	assert_false(shm_peer_unhold(peer, 6));
	assert_int_equal(peer->shared->pins[6], 0);
	assert_int_equal(shm_peer_hold(peer), 6);
	for (uint32_t pin = SHM_PIN_HANDLES; pin < SHM_PIN_END; pin++)
		assert_false(shm_peer_unhold(peer, pin));
	assert_false(shm_peer_holds(s));
	shm_peer_release(peer);
	shm_segment_detach(s);
}

static void
released_peer_with_handles_lives_as_an_orphan(void **state)
{
	struct shm_segment *s = test_segment();
	struct shm_peer *peer = claim(s);
	int a = shm_peer_hold(peer), b = shm_peer_hold(peer);

	(void)state;
	peer->shared->pins[a] = 3;
	peer->shared->pins[b] = 4;
	shm_peer_release(peer);
	assert_int_equal(claim_state(s, 0), SHM_CLAIM_ORPHANED);
	assert_false(shm_peer_dead(s, claim_word(s, 0), true));
	assert_int_equal(shm_peer_sweep(s), 0);
	assert_true(shm_peer_holds(s));
	assert_int_equal(peer->shared->pins[a], 3);
	assert_false(shm_peer_unhold(peer, (uint32_t)a));
	assert_true(shm_peer_unhold(peer, (uint32_t)b));
	shm_peer_release(peer);
	assert_int_equal(claim_state(s, 0), SHM_CLAIM_FREE);
	assert_null(s->peers);
	shm_segment_detach(s);
}

static int
attach_and_orphan(void *path)
{
	struct shm_segment *s = NULL;
	struct shm_peer *peer = NULL;

	if (shm_segment_attach(path, TEST_SIGNATURE, NULL, NULL, &s) != 0 ||
	    shm_peer_claim(s, &peer) != 0 || shm_peer_hold(peer) < 0)
		return 1;
	shm_peer_release(peer);
	return 0;
}

static void
orphan_dies_with_its_process(void **state)
{
	struct shm_segment *s = test_segment();
	pid_t child = test_child_pause(attach_and_orphan, s->path);

	(void)state;
	assert_int_equal(claim_state(s, 0), SHM_CLAIM_ORPHANED);
	assert_int_equal(shm_peer_sweep(s), 0);
	test_child_kill(child);
	assert_int_equal(shm_peer_sweep(s), 1);
	test_child_reap(child);
	shm_segment_detach(s);
}

static void
own_slot_is_left_alone_if_another_took_it(void **state)
{
	struct shm_segment *s = test_segment();
	struct shm_peer *peer = claim(s);
	uint64_t other = peer->claim + 4; /* the next incarnation */
	int pin;

	(void)state;
	shm_peer_table(s)[0].claim = other;
	shm_peer_release(peer);
	assert_int_equal(claim_word(s, 0), other);
	/* The same while items are held. */
	shm_peer_table(s)[0].claim = 0;
	peer = claim(s);
	pin = shm_peer_hold(peer);
	other = peer->claim + 4;
	shm_peer_table(s)[0].claim = other;
	shm_peer_release(peer);
	assert_int_equal(claim_word(s, 0), other);
	assert_true(shm_peer_unhold(peer, (uint32_t)pin));
	shm_peer_release(peer);
	assert_int_equal(claim_word(s, 0), other);
	shm_segment_detach(s);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(lowest_free_slot_is_claimed),
	cmocka_unit_test(new_owner_zeroes_its_own_pins),
	cmocka_unit_test(counters_go_on_under_the_next_owner),
	cmocka_unit_test(all_slots_taken_is_an_error),
	cmocka_unit_test(each_claim_is_another_incarnation),
	cmocka_unit_test(incarnation_wraps_within_its_bits),
	cmocka_unit_test(own_process_is_alive_and_empty_slots_are_not),
	cmocka_unit_test(child_is_alive_until_killed_zombie_or_not),
	cmocka_unit_test(stopped_child_is_alive),
	cmocka_unit_test(sweep_frees_the_dead_and_spares_the_living),
	cmocka_unit_test(slots_of_the_dead_are_claimed_when_none_is_free),
	cmocka_unit_test(verdict_may_be_remembered_unless_a_fresh_one_is_asked),
	cmocka_unit_test(reused_process_slot_revives_nobody),
	cmocka_unit_test(process_generation_wraps_within_24_bits),
	cmocka_unit_test(claim_by_no_process_is_dead),
	cmocka_unit_test(probe_that_cannot_be_made_says_alive),
	cmocka_unit_test(closing_the_file_once_more_is_no_death),
	cmocka_unit_test(forked_child_does_not_keep_its_parent_alive),
	cmocka_unit_test(exec_and_exit_are_death),
	cmocka_unit_test(four_handles_can_be_held),
	cmocka_unit_test(released_peer_with_handles_lives_as_an_orphan),
	cmocka_unit_test(orphan_dies_with_its_process),
	cmocka_unit_test(own_slot_is_left_alone_if_another_took_it),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
