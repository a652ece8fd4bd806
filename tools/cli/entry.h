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

#endif /* TOOLS_CLI_ENTRY_H */
