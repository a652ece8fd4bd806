/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bridge.c - what a line does */
#include "tools/invalidate/bridge.h"

#include "tools/common.h"
#include "tools/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* So much of a line that is passed over is shown. */
#define SHOWN_BYTES_MAX 80

/* So many lines of a message are reported that are passed over, lest one fills the
   disk with reports. */
#define REPORTS_MAX 10

int
bridge_stops(const struct bridge *bridge)
{
	return bridge->error != 0 ||
	       (bridge->ended != NULL && *bridge->ended != 0);
}

/* With escapes, as it may come from anybody, and at most so much of it. */
static void
say_line(const struct bridge *bridge, const char *what, const char *line,
    size_t bytes, size_t bytes_max)
{
	char *text = text_escape(line, bytes < bytes_max ? bytes : bytes_max);

	tool_say(bridge->name, "%s%s%s", what, text != NULL ? text : "",
	    bytes > bytes_max ? "..." : "");
	free(text);
}

void
bridge_refuse(
    struct bridge *bridge, const char *why, const char *line, size_t bytes)
{
	char what[128];

	if (bridge->quiet_from == 0 || bridge->refused < bridge->quiet_from) {
		(void)snprintf(what, sizeof(what), "%s: ", why);
		say_line(bridge, what, line, bytes, SHOWN_BYTES_MAX);
	}
	bridge->refused++;
}

static int
delete_key(struct shmcache *cache, const char *key, size_t bytes)
{
	int error = shmcache_delete(cache, key, bytes);

	return error == SHMCACHE_ENOENT ? 0 : error;
}

static int
invalidate_tag(struct shmcache *cache, const char *tag, size_t bytes)
{
	return shmcache_invalidate_tag(cache, tag, bytes);
}

static int
delete_prefix(struct shmcache *cache, const char *prefix, size_t bytes)
{
	return shmcache_delete_prefix(cache, prefix, bytes, NULL);
}

static int
flush(struct shmcache *cache, const char *nothing, size_t bytes)
{
	(void)nothing;
	(void)bytes;
	return shmcache_flush(cache);
}

struct verb {
	const char *name;
	int takes_bytes;
	int (*apply)(struct shmcache *cache, const char *text, size_t bytes);
};

static const struct verb verbs[] = {
	{ "delete", 1, delete_key },
	{ "tag", 1, invalidate_tag },
	{ "prefix", 1, delete_prefix },
	{ "flush", 0, flush },
};

/* The verb that the line begins with; *rest is what follows its space. */
static const struct verb *
find_verb(char *line, size_t bytes, char **rest)
{
	size_t length = strcspn(line, " ");

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strlen(verbs[i].name) != length ||
		    memcmp(verbs[i].name, line, length) != 0) {
			continue;
		}
		*rest = line + length + (length < bytes);
		return &verbs[i];
	}
	return NULL;
}

static void
note_result(struct bridge *bridge, int error, const char *line, size_t bytes)
{
	if (error == SHMCACHE_EREMOVED) {
		bridge->gone = 1;
		error = 0;
	}
	if (error == 0) {
		bridge->applied++;
	} else if (error == SHMCACHE_EKEY || error == -EINVAL) {
		bridge_refuse(bridge, shmcache_last_error(), line, bytes);
	} else {
		bridge->error = error;
	}
}

void
bridge_line(struct bridge *bridge, char *line, size_t bytes)
{
	const struct verb *verb;
	char *rest;
	size_t rest_bytes;

	if (bytes > 0 && line[bytes - 1] == '\r') {
		line[--bytes] = '\0';
	}
	if (bytes == 0 || line[0] == '#') {
		return;
	}
	verb = strlen(line) == bytes ? find_verb(line, bytes, &rest) : NULL;
	if (verb == NULL) {
		bridge_refuse(bridge,
		    "not a line of delete, tag, prefix or flush", line, bytes);
		return;
	}
	if (verb->takes_bytes == (*rest == '\0')) {
		bridge_refuse(bridge,
		    verb->takes_bytes ? "nothing follows the word"
				      : "something follows the word",
		    line, bytes);
		return;
	}
	if (!text_unescape(rest, &rest_bytes)) {
		bridge_refuse(bridge,
		    "a backslash that is none of \\n \\r \\t \\\\ \\xNN", line,
		    bytes);
		return;
	}
	bytes = (size_t)(rest - line) + rest_bytes;
	if (bridge->verbose) {
		say_line(bridge, "", line, bytes, bytes);
	}
	note_result(
	    bridge, verb->apply(bridge->cache, rest, rest_bytes), line, bytes);
}

/* Each line of what can be written to; a byte follows it. */
static void
apply_lines(struct bridge *bridge, char *line, size_t bytes)
{
	while (bytes > 0 && !bridge_stops(bridge)) {
		char *end = memchr(line, '\n', bytes);
		size_t length = end != NULL ? (size_t)(end - line) : bytes;

		line[length] = '\0';
		if (length > LINE_BYTES_MAX) {
			bridge_refuse(
			    bridge, "the line is too long", line, length);
		} else {
			bridge_line(bridge, line, length);
		}
		bytes -= length + (end != NULL);
		line += length + (end != NULL);
	}
}

void
bridge_message(struct bridge *bridge, const char *text, size_t bytes)
{
	char *copy = malloc(bytes + 1);

	if (copy == NULL) {
		bridge->error = -ENOMEM;
		return;
	}
	memcpy(copy, text, bytes);
	bridge->quiet_from = bridge->refused + REPORTS_MAX;
	apply_lines(bridge, copy, bytes);
	if (bridge->refused > bridge->quiet_from) {
		tool_say(bridge->name,
		    "%llu more lines of this message are "
		    "passed over",
		    bridge->refused - bridge->quiet_from);
	}
	bridge->quiet_from = 0;
	free(copy);
}
