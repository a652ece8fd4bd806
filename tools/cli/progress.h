/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * progress.h - how far a long command has come, on a terminal
 *
 * One line on standard error that is written over and over, a few times a
 * second, if standard error is a terminal.
 */
#ifndef TOOLS_CLI_PROGRESS_H
#define TOOLS_CLI_PROGRESS_H

#include <stdint.h>

/* `what` was done `total` times when it is over; 0: nobody knows. */
void progress_start(const char *what, uint64_t total);

/* So far. */
void progress_show(uint64_t done);

/* Take the line away: at the end, and before other lines are printed. */
void progress_erase(void);

#endif /* TOOLS_CLI_PROGRESS_H */
