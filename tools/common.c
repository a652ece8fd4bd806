/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * common.c - what every tool does alike
 *
 * One table says, for each result of the library, which exit code stands for
 * it and what the reader of the message can do about it.
 */
#include "tools/common.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The tool that we are part of, and its command line until tool_finish(). */
static const char *program_name = "shmcache";
static poptContext context;

static int any_owner;

enum { OPTION_HELP = 1, OPTION_VERSION };

struct poptOption tool_common_options[] = {
	{ "any-owner", '\0', POPT_ARG_NONE, &any_owner, 0,
	    "attach to a cache of another user than root or oneself", NULL },
	{ "help", 'h', POPT_ARG_NONE, NULL, OPTION_HELP, "print this and exit",
	    NULL },
	{ "version", 'V', POPT_ARG_NONE, NULL, OPTION_VERSION,
	    "print the version and exit", NULL },
	POPT_TABLEEND
};

struct advice {
	int error;
	int exit_code;
	const char *what_to_do; /* NULL: the error says it */
};

static const struct advice advice_table[] = {
	{ SHMCACHE_EPEERS, TOOL_NO_ATTACH,
	    "end some of the threads that use it, or create it anew with more "
	    "peer_slots" },
	{ SHMCACHE_EPROCESSES, TOOL_NO_ATTACH,
	    "end some of the processes that use it, or create it anew with "
	    "more process_slots" },
	{ SHMCACHE_EREMOVED, TOOL_NO_ATTACH,
	    "start again when it has been created anew" },
	{ SHMCACHE_EKEY, TOOL_USAGE, NULL },
	{ SHMCACHE_ETOOBIG, TOOL_NO_SPACE,
	    "create the cache anew with a larger max_entry_bytes" },
	{ SHMCACHE_EFULL, TOOL_NO_SPACE,
	    "delete something, give entries a time to live, or create the cache "
	    "anew, larger or without volatile_only" },
	{ SHMCACHE_EREADONLY, TOOL_NO_ATTACH, "run as the owner of the cache" },
	{ SHMCACHE_EBUSY, TOOL_NO_SPACE,
	    "look for processes that are stopped or that hold pinned items" },
	{ SHMCACHE_ECORRUPT, TOOL_UNSOUND,
	    "remove the cache (rm, if nothing else can) and let its users "
	    "create it anew" },
	{ SHMCACHE_ENOCACHE, TOOL_NO_ATTACH,
	    "check the name, and that a program has created the cache; "
	    "NAME stands for /dev/shm/shmcache.NAME, and each container has "
	    "a /dev/shm of its own" },
	{ SHMCACHE_EEXIST, TOOL_FAILED,
	    "choose another name, or use the one that is there" },
	{ SHMCACHE_EOPTIONS, TOOL_UNSOUND,
	    "give the options that it has, or create it anew" },
	{ SHMCACHE_ECAPACITY, TOOL_USAGE, NULL },
	{ SHMCACHE_ENAME, TOOL_USAGE,
	    "give 1 to 200 bytes without slash or control characters, or an "
	    "absolute path" },
	{ SHMCACHE_EFILETYPE, TOOL_UNSOUND,
	    "give the name of the cache itself, which is a regular file" },
	{ SHMCACHE_EOWNER, TOOL_NO_ATTACH,
	    "run as the owner of the cache, or give --any-owner if you trust "
	    "that user" },
	{ SHMCACHE_EFILESYSTEM, TOOL_NO_ATTACH,
	    "give the path of a file on a tmpfs, such as /dev/shm" },
	{ SHMCACHE_ENOTCACHE, TOOL_UNSOUND,
	    "check the name; the file is something else and was not touched" },
	{ SHMCACHE_EVERSION, TOOL_UNSOUND,
	    "use the tool of the version that made the cache, or stop its users, "
	    "remove the file (rm) and start them again" },
	{ SHMCACHE_ELAYOUT, TOOL_UNSOUND,
	    "use the tool of the build that made the cache, or stop its users, "
	    "remove the file (rm) and start them again" },
	{ SHMCACHE_EKERNEL, TOOL_NO_ATTACH, "run it on Linux 4.14 or newer" },
	{ SHMCACHE_ENOPROC, TOOL_NO_ATTACH, "mount /proc" },
	{ -EINVAL, TOOL_USAGE, NULL },
	{ -ERANGE, TOOL_FAILED, NULL },
	{ -EACCES, TOOL_NO_ATTACH,
	    "run as the owner of the cache, or have the cache created with a "
	    "mode that lets you read and write it" },
	{ -EPERM, TOOL_NO_ATTACH, "run as the owner of the cache" },
	{ -ENOSPC, TOOL_NO_SPACE, "make room in the file system" },
	{ -ENOMEM, TOOL_NO_ATTACH,
	    "raise the limit of memory or of address space (ulimit -v)" },
	{ -EMFILE, TOOL_NO_ATTACH,
	    "raise the limit of open files (ulimit -n)" },
};

static const struct advice *
find_advice(int error)
{
	size_t count = sizeof(advice_table) / sizeof(advice_table[0]);
	size_t i;

	for (i = 0; i < count; i++) {
		if (advice_table[i].error == error) {
			return &advice_table[i];
		}
	}
	return NULL;
}

/* Errors of the system fail an attach; other ones fail what was asked for. */
int
tool_exit_code(int error)
{
	const struct advice *advice = find_advice(error);

	if (error >= 0) {
		return TOOL_OK;
	}
	if (advice) {
		return advice->exit_code;
	}
	return error > SHMCACHE_ENOENT ? TOOL_NO_ATTACH : TOOL_FAILED;
}

int
tool_fail(const char *name, int error)
{
	const struct advice *advice = find_advice(error);
	const char *what_to_do =
	    advice && advice->what_to_do ? advice->what_to_do : "";
	const char *separator = *what_to_do ? ": " : "";
	const char *text = shmcache_strerror(error);
	const char *more = shmcache_last_error();

	/* The tool itself may be out of memory; the library has no more then. */
	if (!strcmp(text, more) || error == -ENOMEM) {
		tool_say(name, "%s%s%s", text, separator, what_to_do);
	} else {
		tool_say(
		    name, "%s (%s)%s%s", text, more, separator, what_to_do);
	}
	return tool_exit_code(error);
}

void
tool_say(const char *name, const char *format, ...)
{
	va_list arguments;

	(void)fprintf(stderr, "%s: %s: ", program_name, name);
	va_start(arguments, format);
	(void)vfprintf(stderr, format, arguments);
	va_end(arguments);
	(void)fputc('\n', stderr);
}

int
tool_usage(const char *format, ...)
{
	va_list arguments;

	(void)fprintf(stderr, "%s: ", program_name);
	va_start(arguments, format);
	(void)vfprintf(stderr, format, arguments);
	va_end(arguments);
	(void)fprintf(stderr, "\nTry '%s --help'.\n", program_name);
	return TOOL_USAGE;
}

void
tool_start(const char *program)
{
	program_name = program;
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	(void)signal(SIGPIPE, SIG_IGN);
}

int
tool_parse(int argc, char **argv, const struct poptOption *options,
    const char *synopsis, const char *const **arguments_out)
{
	static const char *const none[] = { NULL };
	const char **arguments;
	int option;

	/* popt wants `const char **`, and leaves the strings alone. */
	context = poptGetContext(NULL, argc, (void *)argv, options, 0);
	if (!context) {
		(void)fprintf(stderr, "%s: out of memory\n", program_name);
		return TOOL_FAILED;
	}
	poptSetOtherOptionHelp(context, synopsis);

	while ((option = poptGetNextOpt(context)) > 0) {
		if (option == OPTION_HELP) {
			poptPrintHelp(context, stdout, 0);
			return TOOL_OK;
		}
		if (option == OPTION_VERSION) {
			printf("%.*s %s\n", (int)strcspn(program_name, " "),
			    program_name, shmcache_version());
			return TOOL_OK;
		}
	}
	if (option < -1) {
		return tool_usage("%s: %s",
		    poptBadOption(context, POPT_BADOPTION_NOALIAS),
		    poptStrerror(option));
	}
	arguments = poptGetArgs(context);
	*arguments_out = arguments ? (const char *const *)arguments : none;
	return TOOL_GO_ON;
}

void
tool_attach_options(struct shmcache_options *options)
{
	options->open_mode = SHMCACHE_ATTACH;
	options->any_owner = (uint32_t)any_owner;
}

int
tool_open(const char *name, struct shmcache **cache_out)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;

	tool_attach_options(&options);
	*cache_out = NULL;
	return shmcache_open(name, &options, cache_out);
}

int
tool_attach(const char *name, struct shmcache **cache_out)
{
	int error = tool_open(name, cache_out);

	return error ? tool_fail(name, error) : TOOL_OK;
}

/* Asked of the pipe, as errno may be that of an earlier write or none. */
static int
reader_has_gone(void)
{
	struct pollfd output = { .fd = STDOUT_FILENO, .events = POLLOUT };

	return poll(&output, 1, 0) == 1 && (output.revents & POLLERR);
}

int
tool_flush(const char *name)
{
	int error;

	errno = 0;
	if (!fflush(stdout) && !ferror(stdout)) {
		return TOOL_OK;
	}
	if (reader_has_gone()) {
		return TOOL_OK;
	}
	/* If a line before the last failed, its error is no longer known. */
	if (!errno && write(STDOUT_FILENO, "\n", 1) > 0) {
		errno = EIO;
	}
	error = errno;
	tool_say(
	    name, "not all of it could be written: %s", strerrordesc_np(error));
	return error == ENOSPC || error == EDQUOT ? TOOL_NO_SPACE : TOOL_FAILED;
}

int
tool_finish(int code)
{
	int flush_code = TOOL_OK;

	context = poptFreeContext(context);
	if (code == TOOL_OK) {
		flush_code = tool_flush("standard output");
	}
	return code == TOOL_OK ? flush_code : code;
}
