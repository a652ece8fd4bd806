/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* error.h - the last failure of a thread, for shmcache_last_error() */
#ifndef LIBSHMCACHE_ERROR_H
#define LIBSHMCACHE_ERROR_H

/* Every public call that can fail returns through this. */
int error_return(int error);

#endif /* LIBSHMCACHE_ERROR_H */
