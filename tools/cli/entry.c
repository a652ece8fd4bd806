/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* entry.c - see entry.h */
#include "tools/cli/entry.h"

#include "tools/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int
entry_result(const struct call *call, const struct bytes *key, int error)
{
	char *text;
	char *subject = NULL;
	int code;

	if (error >= 0) {
		return TOOL_OK;
	}
	text = text_escape(key->data, key->bytes);
	if (!text || asprintf(&subject, "%s: '%s'", call->name, text) < 0) {
		subject = NULL;
	}
	code = tool_fail(subject ? subject : call->name, error);
	free(subject);
	free(text);
	return code;
}

int
entry_each(struct call *call,
    int (*act)(struct shmcache *cache, const struct bytes *key))
{
	const struct bytes *key;
	int code = TOOL_OK;
	int result;
	size_t i;

	for (i = 0; i < call->count; i++) {
		key = &call->arguments[i];
		result = entry_result(call, key, act(call->cache, key));
		code = result == TOOL_OK ? code : result;
	}
	return code;
}
