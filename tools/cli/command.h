/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * command.h - what a command of shmcache is
 *
 * A command is a row of a table: its words, its options, and two functions.
 * check() looks at the command line, before anything is touched; run() works on
 * the cache.  Both return an exit code, check() TOOL_GO_ON if all is well.
 * Options are variables of the file that the command is in: there is one
 * command in the life of a process.
 */
#ifndef TOOLS_CLI_COMMAND_H
#define TOOLS_CLI_COMMAND_H

#include "tools/cli/argument.h"
#include "tools/common.h"

#include <stddef.h>

/* How main() attaches before it calls run(). */
enum attach {
	ATTACH_NONE, /* run() does what it needs */
	ATTACH_READ, /* for reading only: no slot is taken, nothing counted */
	ATTACH_WRITE
};

/* The command line that is being carried out. */
struct call {
	const struct command *command;
	const char *name;        /* of the cache */
	struct bytes *arguments; /* what follows NAME, without escapes */
	size_t count;            /* of arguments */
	enum attach attach;      /* the command's, unless check() changes it */
	struct shmcache *cache;  /* attached */
};

#define ARGUMENTS_ANY ((size_t)-1)

struct command {
	const char *name;
	const char *other_name; /* NULL: none */
	const char *arguments;  /* after NAME, for --help */
	const char *summary;
	const struct poptOption *options;
	enum attach attach;
	size_t least; /* arguments after NAME */
	size_t most;
	int (*check)(struct call *call); /* NULL: nothing to check */
	int (*run)(struct call *call);
};

/* The end of each command's option table. */
#define COMMAND_OPTIONS_END TOOL_COMMON_OPTIONS, POPT_TABLEEND

extern const struct command command_create;
extern const struct command command_destroy;
extern const struct command command_flush;
extern const struct command command_verify;
extern const struct command command_get;
extern const struct command command_ttl;
extern const struct command command_count;
extern const struct command command_set;
extern const struct command command_add;
extern const struct command command_replace;
extern const struct command command_cas;
extern const struct command command_append;
extern const struct command command_prepend;
extern const struct command command_touch;
extern const struct command command_incr;
extern const struct command command_decr;
extern const struct command command_del;
extern const struct command command_invalidate_tag;
extern const struct command command_filter_build;
extern const struct command command_filter_load;
extern const struct command command_filter_save;
extern const struct command command_filter_drop;
extern const struct command command_filter_test;
extern const struct command command_lock;
extern const struct command command_keys;
extern const struct command command_bigkeys;
extern const struct command command_dump;
extern const struct command command_load;

#endif /* TOOLS_CLI_COMMAND_H */
