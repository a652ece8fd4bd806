/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * top.h - one cache on the whole screen, until q is pressed
 */
#ifndef TOOLS_STAT_TOP_H
#define TOOLS_STAT_TOP_H

#include <shmcache.h>

/*
 * `cache` is attached; *cache is another handle, or NULL, afterwards if it was
 * removed meanwhile.  Returns the exit code.
 */
int top_run(struct shmcache **cache, const char *name, double interval_s);

#endif /* TOOLS_STAT_TOP_H */
