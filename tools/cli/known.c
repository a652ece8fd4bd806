/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * known.c - filter-build, filter-load, filter-save, filter-drop, filter-test:
 *           commands on the filter of the keys that exist
 *
 * (filter.h is about something else: which entries a command is meant for.)
 */
#include "tools/cli/entry.h"
#include "tools/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct poptOption key_options[] = { ARGUMENT_OPTIONS,
	COMMAND_OPTIONS_END };
static const struct poptOption no_options[] = { COMMAND_OPTIONS_END };

/* An errno is about the filter or its file: the cache is attached. */
static int
result_of(const char *subject, int error)
{
	int code = error ? tool_fail(subject, error) : TOOL_OK;

	return code == TOOL_NO_ATTACH ? TOOL_FAILED : code;
}

/* --- filter-build ------------------------------------------------------ */

/* The longest key, each byte of it escaped. */
#define LINE_BYTES_MAX (4 * (size_t)SHMCACHE_KEY_BYTES_MAX)

static char line[LINE_BYTES_MAX + 1];

/* Reads a line, without its newline.  Returns 0 at the end; of a line that is longer
   than any key can be no more than shows that is read. */
static int
read_line(size_t *length_out)
{
	size_t length = 0;
	int letter = EOF;

	while (length < sizeof(line) &&
	       (letter = getc_unlocked(stdin)) != EOF && letter != '\n') {
		line[length++] = (char)letter;
	}
	*length_out = length;
	return length > 0 || letter != EOF;
}

/* A line, as an argument would be. */
static int
add_line(struct call *call, uint64_t build, size_t length)
{
	struct bytes key;
	int code;
	int error;

	if (length > LINE_BYTES_MAX) {
		return tool_usage("a line is longer than a key can be");
	}
	line[length] = '\0';
	if (strlen(line) != length) {
		return tool_usage("a line has a byte 0: write it as \\x00, "
				  "with --escaped");
	}
	code = argument_bytes(line, &key);
	if (code != TOOL_GO_ON) {
		return code;
	}
	error = shmcache_filter_add(call->cache, build, key.data, key.bytes);
	code = error ? entry_result(call, &key, error) : TOOL_GO_ON;
	free(key.data);
	return code;
}

static int
run_filter_build(struct call *call)
{
	uint64_t build;
	uint64_t count = 0;
	size_t length;
	int code = TOOL_GO_ON;
	int error = shmcache_filter_begin(call->cache, &build);

	if (error) {
		return result_of(call->name, error);
	}
	while (code == TOOL_GO_ON && read_line(&length)) {
		code = add_line(call, build, length);
		count++;
	}
	if (code != TOOL_GO_ON) {
		return code;
	}
	if (ferror(stdin)) {
		tool_say("standard input", "%s", strerrordesc_np(errno));
		return TOOL_FAILED;
	}
	error = shmcache_filter_publish(call->cache, build);
	if (error) {
		return result_of(call->name, error);
	}
	printf("%" PRIu64 "\n", count);
	return TOOL_OK;
}

const struct command command_filter_build = {
	.name = "filter-build",
	.arguments = "",
	.summary = "make the filter of the keys on standard input, one a line",
	.options = key_options,
	.attach = ATTACH_WRITE,
	.run = run_filter_build,
};

/* --- filter-load, filter-save, filter-drop ----------------------------- */

/* Says what failed, which may be the file. */
static int
file_result(const struct call *call, int error)
{
	char *subject = NULL;
	int code;

	if (!error) {
		return TOOL_OK;
	}
	if (asprintf(&subject, "%s: %s", call->name, call->arguments[0].data) <
	    0) {
		subject = NULL;
	}
	code = result_of(subject ? subject : call->name, error);
	free(subject);
	return code;
}

static int
run_filter_load(struct call *call)
{
	uint64_t build;
	int error =
	    shmcache_filter_load(call->cache, call->arguments[0].data, &build);

	if (!error) {
		error = shmcache_filter_publish(call->cache, build);
	}
	return file_result(call, error);
}

const struct command command_filter_load = {
	.name = "filter-load",
	.arguments = "FILE",
	.summary = "use a filter that was saved",
	.options = no_options,
	.attach = ATTACH_WRITE,
	.least = 1,
	.most = 1,
	.run = run_filter_load,
};

static int
run_filter_save(struct call *call)
{
	return file_result(
	    call, shmcache_filter_save(call->cache, call->arguments[0].data));
}

const struct command command_filter_save = {
	.name = "filter-save",
	.arguments = "FILE",
	.summary = "save the filter to a file",
	.options = no_options,
	.attach = ATTACH_READ,
	.least = 1,
	.most = 1,
	.run = run_filter_save,
};

static int
run_filter_drop(struct call *call)
{
	return result_of(call->name, shmcache_filter_drop(call->cache));
}

const struct command command_filter_drop = {
	.name = "filter-drop",
	.arguments = "",
	.summary = "use no filter any more",
	.options = no_options,
	.attach = ATTACH_WRITE,
	.run = run_filter_drop,
};

/* --- filter-test ------------------------------------------------------- */

static int denied;

/* Prints it if it may exist. */
static int
test_key(struct shmcache *cache, const struct bytes *key)
{
	int result = shmcache_filter_check(cache, key->data, key->bytes);

	if (result > 0) {
		text_print(stdout, key->data, key->bytes);
		putchar('\n');
	}
	denied |= result == 0;
	return result;
}

static int
run_filter_test(struct call *call)
{
	int code = entry_each(call, test_key);

	return code == TOOL_OK && denied ? TOOL_FAILED : code;
}

const struct command command_filter_test = {
	.name = "filter-test",
	.arguments = "KEY...",
	.summary = "print those of the keys that may exist",
	.options = key_options,
	.attach = ATTACH_READ,
	.least = 1,
	.most = ARGUMENTS_ANY,
	.run = run_filter_test,
};
