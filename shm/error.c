/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* error.c - the last failure of this thread, in words */
#include "shm/error.h"

#include <stdarg.h>
#include <stdio.h>

static __thread int noted_error;
static __thread char noted_text[320];

int
shm_error_note(int error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(noted_text, sizeof(noted_text), format, arguments);
	va_end(arguments);
	noted_error = error;
	return error;
}

const char *
shm_error_text(int error)
{
	return error == noted_error ? noted_text : NULL;
}
