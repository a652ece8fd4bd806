/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * live.h - a row every few seconds, of what happened in them
 *
 * Counters are shown as rates per second, and ratios of counters are those of
 * the interval.  A cache that is removed is waited for.
 */
#ifndef TOOLS_STAT_LIVE_H
#define TOOLS_STAT_LIVE_H

#include "tools/stat/field.h"

/* Columns if none were chosen: they fit into 80. */
#define LIVE_FIELDS "gets,hit_ratio,sets,evictions,expired,items,live_bytes"

enum live_form { LIVE_TABLE, LIVE_CSV, LIVE_JSON };

struct live {
	const char *name;
	struct shmcache *cache; /* NULL while there is none */
	double interval_s;
	int rows; /* after which to end; 0: never */
	enum live_form form;
	const struct selection *selection;
};

/* Returns the exit code; live->cache is for the caller to close. */
int live_run(struct live *live);

/*
 * Fill in `report`, which is zero, with what happens within the interval.
 * Returns 0 or an error of the library.
 */
int live_measure(struct shmcache *cache, const char *name, double interval_s,
    struct report *report);

#endif /* TOOLS_STAT_LIVE_H */
