/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * other.h - a thread that does what it is told, and waits
 *
 * For steps.h: telling it and waiting for it may be done in a handler of
 * signals.  In one file, as steps.h is.
 */
#ifndef TESTS_SUPPORT_OTHER_H
#define TESTS_SUPPORT_OTHER_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>

static struct {
	pthread_t thread;
	sem_t go, ready;
	void (*task)(void); /* NULL: end */
} other;

static void *
other_live(void *unused)
{
	(void)unused;
	for (;;) {
		while (sem_wait(&other.go) != 0)
			;
		if (other.task == NULL)
			return NULL;
		other.task();
		(void)sem_post(&other.ready);
	}
}

/* Returns when the task is done. */
static inline void
let_other(void (*task)(void))
{
	other.task = task;
	(void)sem_post(&other.go);
	while (task != NULL && sem_wait(&other.ready) != 0)
		;
}

static inline bool
other_begin(void)
{
	return sem_init(&other.go, 0, 0) == 0 &&
	       sem_init(&other.ready, 0, 0) == 0 &&
	       pthread_create(&other.thread, NULL, other_live, NULL) == 0;
}

static inline bool
other_end(void)
{
	let_other(NULL);
	return pthread_join(other.thread, NULL) == 0;
}

#endif /* TESTS_SUPPORT_OTHER_H */
