/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* error.h - the last failure of a thread, for shmcache_last_error() */
#ifndef LIBSHMCACHE_ERROR_H
#define LIBSHMCACHE_ERROR_H

/* For shmcache_last_error(); returns it. */
int error_note_result(int error);

/* Every public call that can fail returns through this. */
static inline int
error_return(int error)
{
	return __builtin_expect(error == 0, 1) ? 0 : error_note_result(error);
}

#endif /* LIBSHMCACHE_ERROR_H */
