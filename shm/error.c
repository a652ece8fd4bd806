/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * error.c - the last failure of this thread, in words
 *
 * The text is allocated by a thread's first note: a shared library that is
 * loaded late has little thread-local room.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "shm/error.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_BYTES 320u

struct note {
	int error; /* 0: none */
	char text[TEXT_BYTES];
	char taken[TEXT_BYTES];
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int key_error;

static void
make_key(void)
{
	key_error = pthread_key_create(&key, free);
}

static struct note *
own_note(void)
{
	struct note *note;

	(void)pthread_once(&once, make_key);
	if (key_error != 0)
		return NULL;
	note = pthread_getspecific(key);
	if (note == NULL) {
		note = calloc(1, sizeof(*note));
		if (note != NULL && pthread_setspecific(key, note) != 0) {
			free(note);
			note = NULL;
		}
	}
	return note;
}

const char *
shm_errno_text(int error_number)
{
#ifdef __GLIBC__
	return strerrordesc_np(error_number); /* strerror() shares a buffer */
#else
	return strerror(error_number);
#endif
}

int
shm_error_note(int error, const char *format, ...)
{
	struct note *note = own_note();
	va_list arguments;

	if (note == NULL)
		return error;
	va_start(arguments, format);
	(void)vsnprintf(note->text, sizeof(note->text), format, arguments);
	va_end(arguments);
	note->error = error;
	return error;
}

const char *
shm_error_take(int error)
{
	struct note *note = own_note();
	int noted = note != NULL ? note->error : 0;

	if (noted == 0)
		return NULL;
	note->error = 0;
	if (noted != error)
		return NULL;
	memcpy(note->taken, note->text, sizeof(note->taken));
	return note->taken;
}
