/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cleanup.h - leave nothing behind
 *
 * Files and server processes that were noted are removed and ended when the
 * program exits, also by SIGINT, SIGTERM or SIGHUP.  A server dies with the
 * program even if that is killed (PR_SET_PDEATHSIG).
 */
#ifndef BENCH_CLEANUP_H
#define BENCH_CLEANUP_H

#include <sys/types.h>

/* A file, or an empty directory; those noted last go first. */
void cleanup_path(const char *path);

/* A child process: killed, and waited for.  `pid` 0: none any more. */
void cleanup_server(pid_t pid);

/* Now: everything that was noted. */
void cleanup_all(void);

#endif /* BENCH_CLEANUP_H */
