/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * load.c - load: store what dump wrote
 *
 * A line that cannot be used does not keep the others from being stored: it is
 * told with its number, and in the exit code.  Several dumps may follow one
 * another.  Memory is bounded: a line longer than any that could be stored is
 * passed over, not kept.
 */
#include "tools/cli/command.h"
#include "tools/cli/dump.h"
#include "tools/cli/progress.h"
#include "tools/cli/record.h"
#include "tools/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* JSON needs six letters for a byte at the most (\u0000). */
#define LETTERS_PER_BYTE 6
#define LINE_BYTES_EXTRA 4096
#define LINE_BYTES_FIRST 65536

/* Lines of which is told what is wrong with them; the others are counted. */
#define COMPLAINTS_MAX      20
#define COMPLAINT_BYTES_MAX 256
#define RESULT_BYTES_MAX    256

static int only_missing;
static int dry_run;
static int keep_ttl;
static int partial;

static const struct poptOption load_options[] = {
	{ "add", 'a', POPT_ARG_NONE, &only_missing, 0,
	    "leave keys alone that are there already", NULL },
	{ "dry-run", 'n', POPT_ARG_NONE, &dry_run, 0,
	    "check the dump, and store nothing", NULL },
	{ "keep-ttl", 'k', POPT_ARG_NONE, &keep_ttl, 0,
	    "do not count the time since the dump", NULL },
	{ "partial", '\0', POPT_ARG_NONE, &partial, 0,
	    "the dump may lack its end, or lines", NULL },
	COMMAND_OPTIONS_END
};

static int
check_load(struct call *call)
{
	(void)call;
	return only_missing && dry_run
		   ? tool_usage("--dry-run stores nothing, so --add makes no "
				"sense")
		   : TOOL_GO_ON;
}

struct load {
	const struct call *call;
	FILE *input;
	char *line;
	size_t room; /* at `line` */
	size_t room_max;
	size_t line_bytes;
	uint64_t line_number;
	uint64_t input_bytes;                                /* read so far */
	uint64_t loaded, present, expired, damaged, refused; /* entries */
	uint64_t dumps;                                      /* begun */
	uint64_t dump_lines; /* entries, damaged ones too, of this one */
	int64_t elapsed_ms;  /* since it was made */
	unsigned complaints;
	int in_dump;
	int cut;  /* a dump lacks lines */
	int stop; /* the exit code of what ended it early, or TOOL_OK */
};

/* Tell of this line, unless many have been told of. */
static void __attribute__((format(printf, 2, 3)))
complain(struct load *load, const char *format, ...)
{
	char text[COMPLAINT_BYTES_MAX];
	va_list arguments;

	if (load->complaints >= COMPLAINTS_MAX) {
		return;
	}
	load->complaints++;
	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	progress_erase();
	tool_say(load->call->name, "line %" PRIu64 ": %s%s", load->line_number,
	    text,
	    load->complaints == COMPLAINTS_MAX ? " (the next are only counted)"
					       : "");
}

/* --- lines ------------------------------------------------------------- */

static int
make_room(struct load *load)
{
	size_t room = load->room ? load->room * 2 : LINE_BYTES_FIRST;
	char *larger;

	if (room > load->room_max) {
		room = load->room_max;
	}
	larger = realloc(load->line, room);
	if (!larger) {
		load->stop = tool_fail(load->call->name, -ENOMEM);
		return 0;
	}
	load->line = larger;
	load->room = room;
	return 1;
}

/*
 * Read a line, without its end, of which load->room_max bytes are kept.
 * Returns 0 when there is none.
 */
static int
read_line(struct load *load)
{
	int letter;

	load->line_bytes = 0;
	while ((letter = getc_unlocked(load->input)) != EOF) {
		load->input_bytes++;
		if (letter == '\n') {
			break;
		}
		if (load->line_bytes == load->room &&
		    load->room < load->room_max && !make_room(load)) {
			return 0;
		}
		if (load->line_bytes < load->room) {
			load->line[load->line_bytes] = (char)letter;
		}
		load->line_bytes++;
	}
	if (letter == EOF && !load->line_bytes) {
		return 0;
	}
	load->line_number++;
	return 1;
}

/* Jansson's text has a piece of the line, which may be any bytes. */
static void
complain_of_json(struct load *load, const json_error_t *error)
{
	char *text = text_escape(error->text, strlen(error->text));

	complain(load, "damaged: %s (byte %d)", text ? text : "not JSON",
	    error->position);
	free(text);
}

/* An object, or NULL, having said what is wrong with the line. */
static json_t *
parse_line(struct load *load)
{
	json_error_t error;
	json_t *object;

	if (load->line_bytes > load->room_max) {
		complain(load,
		    "%zu bytes long, more than any entry of this cache",
		    load->line_bytes);
		return NULL;
	}
	object = json_loadb(load->line, load->line_bytes,
	    JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
	if (!object) {
		complain_of_json(load, &error);
	} else if (!json_is_object(object)) {
		complain(load, "damaged: not a JSON object");
		json_decref(object);
		object = NULL;
	}
	return object;
}

/* --- the first and the last line of a dump ----------------------------- */

static void
stop(struct load *load, const char *why)
{
	load->complaints = 0;
	complain(load, "%s", why);
	load->stop = TOOL_UNSOUND;
}

static void
end_dump(struct load *load, const json_t *count)
{
	load->in_dump = 0;
	if (partial) {
		return;
	}
	if (!count) {
		load->cut = 1;
		complain(load, "the dump ends early: entries may be missing");
	} else if (!json_is_integer(count) ||
		   (uint64_t)json_integer_value(count) != load->dump_lines) {
		load->cut = 1;
		complain(load,
		    "the dump had %lld entries, and %" PRIu64 " were read",
		    (long long)json_integer_value(count), load->dump_lines);
	}
}

static void
begin_dump(struct load *load, const json_t *object)
{
	const json_t *version = json_object_get(object, "shmcache_dump");
	const json_t *time_ms = json_object_get(object, "time_ms");

	if (load->in_dump) {
		end_dump(load, NULL);
	}
	if (!json_is_integer(version) || !json_is_integer(time_ms) ||
	    json_integer_value(time_ms) < 0) {
		stop(load, "damaged: the first line of a dump has the numbers "
			   "shmcache_dump and time_ms");
		return;
	}
	if (json_integer_value(version) != DUMP_VERSION) {
		stop(load, "the dump is of another format than 1, which this "
			   "version of shmcache reads: load it with the "
			   "version that made it");
		return;
	}
	load->in_dump = 1;
	load->dumps++;
	load->dump_lines = 0;
	load->elapsed_ms =
	    keep_ttl ? 0 : dump_time_ms() - json_integer_value(time_ms);
	if (load->elapsed_ms < 0) {
		load->elapsed_ms = 0;
	}
}

/* --- entries ----------------------------------------------------------- */

/* Takes key, value, flags and ttl_ms out of a line; 0 if they are not there. */
static int
read_entry(const json_t *object, struct bytes *key, struct bytes *value,
    uint32_t *client_flags, int64_t *ttl_ms)
{
	const json_t *flags = json_object_get(object, "flags");
	const json_t *ttl = json_object_get(object, "ttl_ms");

	if (flags &&
	    (!json_is_integer(flags) || json_integer_value(flags) < 0 ||
		json_integer_value(flags) > UINT32_MAX)) {
		return 0;
	}
	if (ttl && !json_is_null(ttl) &&
	    (!json_is_integer(ttl) || json_integer_value(ttl) < 0)) {
		return 0;
	}
	*client_flags = (uint32_t)json_integer_value(flags);
	*ttl_ms =
	    json_is_integer(ttl) ? json_integer_value(ttl) : SHMCACHE_TTL_NONE;
	return record_bytes(object, "key", key) == 0 &&
	       record_bytes(object, "value", value) == 0;
}

static int
store_entry(const struct load *load, const struct bytes *key,
    const struct bytes *value, int64_t ttl_ms, uint32_t client_flags)
{
	if (dry_run) {
		return 0;
	}
	return (only_missing ? shmcache_add : shmcache_set)(load->call->cache,
	    key->data, key->bytes, value->data, value->bytes, ttl_ms,
	    client_flags);
}

/*
 * What became of an entry.  Want of room, and a key that is none, are troubles
 * of this entry alone; with others there is no going on.
 */
static void
account(struct load *load, int error)
{
	if (!error) {
		load->loaded++;
	} else if (error == SHMCACHE_EPRESENT) {
		load->present++;
	} else if (error == SHMCACHE_EKEY) {
		load->damaged++;
		complain(load, "damaged: %s", shmcache_strerror(error));
	} else if (tool_exit_code(error) == TOOL_NO_SPACE) {
		load->refused++;
		complain(load, "not stored: %s (%s)", shmcache_strerror(error),
		    shmcache_last_error());
	} else {
		progress_erase();
		load->stop = tool_fail(load->call->name, error);
	}
}

static void
load_entry(struct load *load, const json_t *object)
{
	struct bytes key = { NULL, 0 };
	struct bytes value = { NULL, 0 };
	uint32_t client_flags;
	int64_t ttl_ms;

	if (!read_entry(object, &key, &value, &client_flags, &ttl_ms)) {
		load->damaged++;
		complain(load, "damaged: key or value is missing, or one of "
			       "key, value, flags and ttl_ms makes no sense");
	} else if (ttl_ms != SHMCACHE_TTL_NONE && ttl_ms <= load->elapsed_ms) {
		load->expired++;
	} else {
		if (ttl_ms != SHMCACHE_TTL_NONE) {
			ttl_ms -= load->elapsed_ms;
		}
		account(load,
		    store_entry(load, &key, &value, ttl_ms, client_flags));
	}
	free(key.data);
	free(value.data);
}

/* --- all of it --------------------------------------------------------- */

static int
is_blank(const struct load *load)
{
	return load->line_bytes == 0 ||
	       (load->line_bytes == 1 && load->line[0] == '\r');
}

static void
load_line(struct load *load)
{
	json_t *object;

	if (is_blank(load)) {
		return;
	}
	object = parse_line(load);
	if (json_object_get(object, "shmcache_dump")) {
		begin_dump(load, object);
	} else if (!load->dumps) {
		stop(load, "this is not a dump of shmcache: nothing was "
			   "stored");
	} else if (json_object_get(object, "end")) {
		end_dump(load, json_object_get(object, "end"));
	} else {
		load->dump_lines++;
		if (!object) {
			load->damaged++;
		} else {
			load_entry(load, object);
		}
	}
	json_decref(object);
}

static void
load_lines(struct load *load)
{
	while (load->stop == TOOL_OK && read_line(load)) {
		load_line(load);
		progress_show(load->input_bytes);
	}
	progress_erase();
	if (load->stop != TOOL_OK) {
		return;
	}
	if (ferror(load->input)) {
		tool_say(load->call->name, "line %" PRIu64 ": %s",
		    load->line_number, strerrordesc_np(errno));
		load->stop = TOOL_FAILED;
	} else if (!load->dumps) {
		stop(load, "this is not a dump of shmcache: it is empty");
	} else if (load->in_dump) {
		end_dump(load, NULL);
	}
}

static void
say_result(const struct load *load, uint64_t evicted)
{
	static const char *const words[] = { "were there already",
		"had expired since the dump", "damaged", "not stored" };
	const uint64_t counts[] = { load->present, load->expired, load->damaged,
		load->refused };
	char text[RESULT_BYTES_MAX];
	size_t length = 0;
	size_t i;

	text[0] = '\0';
	for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		if (counts[i]) {
			length += (size_t)snprintf(text + length,
			    sizeof(text) - length, ", %" PRIu64 " %s",
			    counts[i], words[i]);
		}
	}
	tool_say(load->call->name, "%" PRIu64 " entries %s%s", load->loaded,
	    dry_run ? "can be loaded" : "loaded", text);
	if (evicted) {
		tool_say(load->call->name,
		    "%" PRIu64 " entries were evicted meanwhile: the cache "
		    "is too small for all",
		    evicted);
	}
}

static uint64_t
evictions(struct shmcache *cache)
{
	struct shmcache_stats stats;

	return shmcache_stats(cache, &stats, sizeof(stats))
		   ? 0
		   : stats.evictions + stats.index_evictions;
}

static int
load_input(struct load *load)
{
	struct stat status;
	uint64_t before = evictions(load->call->cache);

	progress_start("bytes loaded",
	    !fstat(fileno(load->input), &status) && S_ISREG(status.st_mode)
		? (uint64_t)status.st_size
		: 0);
	load_lines(load);
	say_result(load, evictions(load->call->cache) - before);
	free(load->line);
	if (load->stop != TOOL_OK) {
		return load->stop;
	}
	if (load->damaged || load->cut) {
		return TOOL_UNSOUND;
	}
	return load->refused ? TOOL_NO_SPACE : TOOL_OK;
}

static int
run_load(struct call *call)
{
	struct shmcache_stats stats;
	struct load load = { .call = call, .input = stdin };
	const char *path = call->count ? call->arguments[0].data : "-";
	int code = shmcache_stats(call->cache, &stats, sizeof(stats));

	if (code) {
		return tool_fail(call->name, code);
	}
	load.room_max =
	    stats.max_entry_bytes * LETTERS_PER_BYTE + LINE_BYTES_EXTRA;
	if (strcmp(path, "-") != 0) {
		load.input = fopen(path, "re");
	}
	if (!load.input) {
		tool_say(path, "%s", strerrordesc_np(errno));
		return TOOL_FAILED;
	}
	code = load_input(&load);
	if (load.input != stdin) {
		(void)fclose(load.input);
	}
	return code;
}

const struct command command_load = {
	.name = "load",
	.arguments = "[FILE]",
	.summary = "store what dump has written (on standard input unless "
		   "given)",
	.options = load_options,
	.attach = ATTACH_WRITE,
	.most = 1,
	.check = check_load,
	.run = run_load,
};
