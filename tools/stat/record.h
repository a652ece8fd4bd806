/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * record.h - the requests for a sample of the keys, into a file
 *
 * Lines as shmcache-replay reads them, timestamp_s,key,size_bytes,ttl_s,op, with
 * the operation "miss" for a get that found nothing, and the hash of the key in
 * its place (of a flush, nothing); around them lines "# name value" that say of
 * what cache and how large a share of the keys they are, and at the end how many
 * gets there were in all.
 */
#ifndef TOOLS_STAT_RECORD_H
#define TOOLS_STAT_RECORD_H

#include <shmcache.h>

/*
 * Record into `path` ("-": standard output) until `seconds` are over (0: no
 * limit) or a signal comes.  `share` of the keys: 0 is chosen by their number.
 * Returns TOOL_OK or, having said why, another exit code.
 */
int record_run(struct shmcache *cache, const char *name, const char *path,
    double share, double seconds);

#endif /* TOOLS_STAT_RECORD_H */
