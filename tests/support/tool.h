/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tool.h - run the installed programs as a person does, and look at the result
 *
 * They are taken from SHMCACHE_BUILD/tools, else from beside the test.
 */
#ifndef TESTS_SUPPORT_TOOL_H
#define TESTS_SUPPORT_TOOL_H

#include "tests/support/run.h"

#include <string.h>
#include <sys/types.h>

#define OUTPUT_BYTES (4u << 20) /* a machine may have many caches */

/* Exit codes that the man pages promise. */
enum {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_NO_ATTACH = 3,
	EXIT_UNSOUND = 4,
	EXIT_NO_SPACE = 5
};

/* What a tool did that was run to its end. */
struct outcome {
	int code;
	char out[OUTPUT_BYTES];
	char err[OUTPUT_BYTES];
};

/* Where the tool is; the string lives until the next call. */
const char *tool_path(const char *tool);

/* Start a tool with these arguments (NULL ends them) and descriptors. */
pid_t tool_start(
    const char *tool, const char *const *arguments, int out, int err);

/* A file without a name, so that a tool never waits for its reader. */
int scratch_file(void);

/* Its content, of OUTPUT_BYTES at the most, as text. */
void read_and_close(int fd, char *text);

void run_arguments(
    struct outcome *outcome, const char *tool, const char *const *arguments);

#define RUN(outcome, tool, ...)                                                \
	run_arguments(outcome, tool, (const char *const[]){ __VA_ARGS__, NULL })

#define CHECK_CODE(outcome, wanted)                                            \
	CHECK_SAY((outcome)->code == (wanted),                                 \
	    "exit code %d, not %d; stdout: %s; stderr: %s", (outcome)->code,   \
	    (wanted), (outcome)->out, (outcome)->err)

#define CHECK_HAS(text, part)                                                  \
	CHECK_SAY(strstr(text, part), "\"%s\" is missing in: %s", part, text)

/* A failure: this exit code, nothing on stdout, one or more lines that begin
   with the tool's name on stderr, `part` among them. */
void check_refusal(const struct outcome *outcome, const char *tool, int code,
    const char *part);

void check_silent_success(const struct outcome *outcome);

#endif /* TESTS_SUPPORT_TOOL_H */
