/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* output.c - standard output into a file that appears whole */
#include "tools/stat/output.h"

#include "tools/common.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *final_path; /* NULL: output goes where it always does */
static char *scratch_path;

static int
fail(const char *path)
{
	int error = errno;

	tool_say(path, "%s", strerrordesc_np(error));
	return error == ENOSPC || error == EDQUOT ? TOOL_NO_SPACE : TOOL_FAILED;
}

int
output_begin(const char *path)
{
	int fd;

	/* Not *.prom, which collectors would take for a file of its own. */
	if (asprintf(&scratch_path, "%s.%ld.tmp", path, (long)getpid()) < 0) {
		tool_say(path, "out of memory");
		return TOOL_FAILED;
	}
	/* Left by one of the same pid that was killed. */
	(void)unlink(scratch_path);
	fd = open(scratch_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0) {
		return fail(path);
	}
	if (dup2(fd, STDOUT_FILENO) < 0) {
		return fail(path);
	}
	close(fd);
	final_path = path;
	return TOOL_OK;
}

int
output_end(int code)
{
	if (!final_path) {
		return code;
	}
	if (code == TOOL_OK) {
		code = tool_flush(final_path);
	}
	if (code == TOOL_OK && rename(scratch_path, final_path)) {
		code = fail(final_path);
	}
	if (code != TOOL_OK) {
		(void)unlink(scratch_path);
	}
	free(scratch_path);
	return code;
}
