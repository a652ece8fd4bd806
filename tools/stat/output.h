/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * output.h - standard output into a file that appears whole
 *
 * What is printed goes to a file beside the one wanted, which takes its place
 * by rename(2) when all of it is there.  Who reads the file sees the old text
 * or the new one, never a part; what fails leaves the old one.
 */
#ifndef TOOLS_STAT_OUTPUT_H
#define TOOLS_STAT_OUTPUT_H

/* Returns TOOL_OK or, having said why, another exit code. */
int output_begin(const char *path);

/*
 * Put the file into its place if `code` is TOOL_OK, else drop it.  Returns
 * `code`, or another one, having said why.
 */
int output_end(int code);

#endif /* TOOLS_STAT_OUTPUT_H */
