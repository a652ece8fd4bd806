/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* number.h - times, sizes and other numbers as people read and type them */
#ifndef TOOLS_CLI_NUMBER_H
#define TOOLS_CLI_NUMBER_H

#include <stdint.h>

/*
 * Read a number.  `option` names it in the message that explains
 * what was expected.  Return 1, or having said what is wrong 0.  A NULL text
 * leaves the output as it is.
 *
 *	number_time	10, 10s, 1.5h, 250ms, none; into milliseconds
 *	number_size	4096, 64K, 32MiB, 1G; into bytes
 *	number_integer	from `least` to `most`
 *	number_token	a cursor or a version: 64 bits that were printed before
 */
int number_time(const char *option, const char *text, int64_t *ms_out);
int number_size(const char *option, const char *text, uint64_t *bytes_out);
int number_integer(const char *option, const char *text, int64_t least,
    int64_t most, int64_t *value_out);
int number_token(const char *option, const char *text, uint64_t *number_out);

/* A time to live as number_time() reads it: "12.345" or "none". */
#define NUMBER_TIME_BYTES_MAX 32
void number_format_time(char *text, int64_t ms);

#endif /* TOOLS_CLI_NUMBER_H */
