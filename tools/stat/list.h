/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * list.h - the caches of this host
 *
 * That is, what is called /dev/shm/shmcache.*: caches that can be looked into,
 * and files that cannot, with the reason.  Caches elsewhere have no place where
 * they could be found.
 */
#ifndef TOOLS_STAT_LIST_H
#define TOOLS_STAT_LIST_H

#include "tools/stat/report.h"

#include <sys/types.h>

struct listed {
	const char *name;
	char *file_name; /* which the name is the end of */
	uint64_t file_bytes;
	uid_t uid;
	char owner[33];
	const char *state;    /* one word: "ok", "foreign", "damaged", ... */
	char *why;            /* in words, if it is not ok; else NULL */
	struct report report; /* if it is ok */
};

struct listing {
	struct listed *caches; /* in the order of their names */
	size_t count;
};

/* Returns TOOL_OK or, having said why, another exit code; list_free() it. */
int list_collect(struct listing *listing);

void list_free(struct listing *listing);

#endif /* TOOLS_STAT_LIST_H */
