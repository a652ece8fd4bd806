/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * text.h - bytes as people read them
 *
 * Keys are any bytes, and terminals and pipes are not made for that.  On output
 * every byte that is not part of a printable UTF-8 character is escaped: \n \r
 * \t \\ and \xNN.  So a key is one line, and cannot control the terminal.
 */
#ifndef TOOLS_TEXT_H
#define TOOLS_TEXT_H

#include <stddef.h>
#include <stdio.h>

/* Print bytes, escaped. */
void text_print(FILE *stream, const void *data, size_t bytes);

/* The same into a string from malloc(); NULL if there is no memory. */
char *text_escape(const void *data, size_t bytes);

/*
 * Put the bytes that the escapes of `text` stand for in their place; a 0
 * follows.  Returns 1, or 0 if a backslash is followed by something else.
 */
int text_unescape(char *text, size_t *bytes_out);

#endif /* TOOLS_TEXT_H */
