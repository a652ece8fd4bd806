/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* entry.h - what commands on single entries have in common */
#ifndef TOOLS_CLI_ENTRY_H
#define TOOLS_CLI_ENTRY_H

#include "tools/cli/command.h"

/*
 * Say what went wrong with an entry, right after the call that failed.
 * Returns the exit code; TOOL_OK, silently, if nothing did.
 */
int entry_result(const struct call *call, const struct bytes *key, int error);

/*
 * Do something to each argument.  One that fails does not keep the others from
 * being done; returns the exit code of the last that failed.
 */
int entry_each(struct call *call,
    int (*act)(struct shmcache *cache, const struct bytes *key));

#endif /* TOOLS_CLI_ENTRY_H */
