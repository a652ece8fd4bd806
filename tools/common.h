/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * common.h - what every tool does alike
 *
 * Exit codes, the text of errors, the command line, attaching.  A tool's main()
 * reads:
 *
 *	tool_start("shmcache-NAME");
 *	code = tool_parse(argc, argv, options, "[OPTION...] NAME", &arguments);
 *	if (code != TOOL_GO_ON)
 *		return tool_finish(code);
 *	code = tool_attach(arguments[0], &cache);
 *	if (code == TOOL_OK)
 *		code = (its work);
 *	shmcache_close(cache);
 *	return tool_finish(code);
 *
 * Data go to standard output, everything else to standard error.  One thread
 * only.
 */
#ifndef TOOLS_COMMON_H
#define TOOLS_COMMON_H

#include <popt.h>
#include <shmcache.h>

enum tool_exit {
	TOOL_GO_ON = -1, /* not an exit code: nothing to exit for yet */
	TOOL_OK = 0,
	TOOL_FAILED = 1,    /* a check or an operation failed */
	TOOL_USAGE = 2,     /* the command line makes no sense */
	TOOL_NO_ATTACH = 3, /* no such cache, no permission, no slot */
	TOOL_UNSOUND = 4,   /* not a cache of this version, or damaged */
	TOOL_NO_SPACE = 5   /* no room in the file system */
};

/* --any-owner, --help, --version: for the end of a tool's option table. */
extern struct poptOption tool_common_options[];

#define TOOL_COMMON_OPTIONS                                                    \
	{                                                                      \
		NULL, '\0', POPT_ARG_INCLUDE_TABLE, tool_common_options, 0,    \
		    "Common options:", NULL                                    \
	}

/*
 * First call: the tool's name ("shmcache get" with its command, if it has
 * one), for its messages.  From now on output comes line by line, and a reader
 * of it that goes away is an error of write(), not a signal.
 */
void tool_start(const char *program);

/*
 * Read the options, answer --help (in which `synopsis` says what a command line
 * looks like) and --version.  Returns TOOL_GO_ON and what is left of the
 * command line, ended by NULL and good until tool_finish(); or an exit code.
 */
int tool_parse(int argc, char **argv, const struct poptOption *options,
    const char *synopsis, const char *const **arguments_out);

/* Say what is wrong with the command line; returns TOOL_USAGE. */
int tool_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Options to attach to an existing cache with, as --any-owner says. */
void tool_attach_options(struct shmcache_options *options);

/* Attach to an existing cache, as --any-owner says.  Returns what
 * shmcache_open() does; *cache_out is NULL if that is an error. */
int tool_open(const char *name, struct shmcache **cache_out);

/* The same; returns TOOL_OK or, having said why, another exit code. */
int tool_attach(const char *name, struct shmcache **cache_out);

/* A line on standard error: "PROGRAM: NAME: text". */
void tool_say(const char *name, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The exit code that stands for a result of the library. */
int tool_exit_code(int error);

/*
 * Say on standard error what failed and what to do, "PROGRAM: NAME: error:
 * what to do", right after the call that failed.  Returns the exit code.
 */
int tool_fail(const char *name, int error);

/*
 * Write out what has been printed on standard output, which `name` is for
 * people.  Returns TOOL_OK or, having said why, another exit code.  A reader
 * that has gone away has read enough: that is no error, and silent.
 */
int tool_flush(const char *name);

/*
 * Last call: flush standard output and free what tool_parse() holds.  Returns
 * `code`, or another if it was TOOL_OK and the output could not be written.
 */
int tool_finish(int code);

#endif /* TOOLS_COMMON_H */
