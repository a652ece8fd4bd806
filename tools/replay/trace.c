/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* trace.c - the formats of traces */
#define XXH_INLINE_ALL /* for xxhash.h */
#include "tools/replay/trace.h"

#include "tools/replay/input.h"

#include <float.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define COLUMNS_MAX      8
#define ORACLE_BYTES     24u
#define LIS_BLOCKS_MAX   (1u << 20) /* of one line */
#define TTL_S_MAX        (1u << 30)
#define TIME_S_MAX       1e12
#define BYTES_MAX        1e15
#define KEYS_MAX         (1u << 31)
#define REQUESTS_AT_ONCE (1u << 16)

static const char *const format_names[] = { [TRACE_AUTO] = "auto",
	[TRACE_OURS] = "shmcache",
	[TRACE_ORACLE] = "oracle",
	[TRACE_CSV] = "csv",
	[TRACE_LIS] = "lis",
	[TRACE_KEYS] = "keys" };

#define FORMATS (sizeof(format_names) / sizeof(format_names[0]))

int
trace_format_named(const char *name)
{
	for (size_t i = 0; i < FORMATS; i++)
		if (strcmp(name, format_names[i]) == 0)
			return (int)i;
	return -1;
}

const char *
trace_format_name(enum trace_format format)
{
	return format_names[format];
}

/* A trace being read. */
struct reader {
	struct trace *trace;
	size_t room;
	uint64_t *hashes; /* of keys, open addressing; 0 is empty */
	uint32_t *numbers;
	size_t slots;
	const char *path;
	size_t line;
	char *why;
	size_t why_bytes;
};

static bool fail(struct reader *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool
fail(struct reader *r, const char *format, ...)
{
	va_list arguments;
	int used = r->line > 0
		       ? snprintf(r->why, r->why_bytes,
			     "%.200s, line %zu: ", r->path, r->line)
		       : snprintf(r->why, r->why_bytes, "%.200s: ", r->path);

	va_start(arguments, format);
	if (used > 0 && (size_t)used < r->why_bytes)
		(void)vsnprintf(r->why + used, r->why_bytes - (size_t)used,
		    format, arguments);
	va_end(arguments);
	return false;
}

/* Where the hash is, or would be. */
static size_t
find_slot(const struct reader *r, uint64_t hash)
{
	size_t at = (size_t)hash & (r->slots - 1);

	while (r->hashes[at] != 0 && r->hashes[at] != hash)
		at = (at + 1) & (r->slots - 1);
	return at;
}

static bool
grow_keys(struct reader *r)
{
	struct reader old = *r;

	r->slots = old.slots == 0 ? 1024 : old.slots * 2;
	r->hashes = calloc(r->slots, sizeof(*r->hashes));
	r->numbers = malloc(r->slots * sizeof(*r->numbers));
	if (r->hashes == NULL || r->numbers == NULL)
		return fail(r, "not enough memory for its keys");
	for (size_t i = 0; i < old.slots; i++)
		if (old.hashes[i] != 0) {
			size_t at = find_slot(r, old.hashes[i]);

			r->hashes[at] = old.hashes[i];
			r->numbers[at] = old.numbers[i];
		}
	free(old.hashes);
	free(old.numbers);
	return true;
}

static bool
number_of(struct reader *r, const void *key, size_t bytes, uint32_t *number)
{
	uint64_t hash = XXH3_64bits(key, bytes) | 1;
	size_t at;

	if ((r->trace->keys + 1ull) * 2 > r->slots && !grow_keys(r))
		return false;
	at = find_slot(r, hash);
	if (r->hashes[at] == 0) {
		if (r->trace->keys == KEYS_MAX)
			return fail(r, "more than %u keys", KEYS_MAX);
		r->hashes[at] = hash;
		r->numbers[at] = r->trace->keys++;
	}
	*number = r->numbers[at];
	return true;
}

static bool
add(struct reader *r, const void *key, size_t key_bytes, struct request request)
{
	struct trace *t = r->trace;

	if (t->count == r->room) {
		size_t room = r->room == 0 ? REQUESTS_AT_ONCE : 2 * r->room;
		struct request *more =
		    realloc(t->request, room * sizeof(*more));

		if (more == NULL)
			return fail(r, "not enough memory for its requests");
		t->request = more;
		r->room = room;
	}
	request.key = 0;
	if (request.op != OP_FLUSH &&
	    !number_of(r, key, key_bytes, &request.key))
		return false;
	if (t->count > 0 &&
	    request.time_ms < t->request[t->count - 1].time_ms) {
		request.time_ms = t->request[t->count - 1].time_ms;
		t->out_of_order++;
	}
	t->gets += trace_is_get(&request);
	t->with_ttl += request.ttl_s > 0;
	t->flushes += request.op == OP_FLUSH;
	t->request[t->count++] = request;
	return true;
}

/* Cuts a line at commas, or at blanks; how many columns there are. */
static unsigned
split(char *line, char separator, char *columns[COLUMNS_MAX])
{
	unsigned count = 0;

	while (count < COLUMNS_MAX && *line != '\0') {
		size_t bytes = strcspn(line, separator == ',' ? "," : " \t");

		columns[count++] = line;
		if (line[bytes] == '\0')
			break;
		line[bytes] = '\0';
		line += bytes + 1;
		if (separator != ',')
			line += strspn(line, " \t");
	}
	return count;
}

static bool
to_number(const char *text, double most, double *number_out)
{
	char *end;
	double number = strtod(text, &end);

	if (end == text || *end != '\0' || !(number >= 0 && number <= most))
		return false;
	*number_out = number;
	return true;
}

static bool
to_op(const char *text, uint32_t *op_out)
{
	static const struct {
		const char *name;
		enum trace_op op;
	} ops[] = { { "get", OP_GET }, { "gets", OP_GET }, { "read", OP_GET },
		{ "set", OP_SET }, { "add", OP_SET }, { "replace", OP_SET },
		{ "cas", OP_SET }, { "write", OP_SET }, { "delete", OP_DELETE },
		{ "miss", OP_MISS }, { "touch", OP_TOUCH }, { "incr", OP_INCR },
		{ "decr", OP_INCR }, { "flush", OP_FLUSH } };

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		if (strcmp(text, ops[i].name) == 0) {
			*op_out = ops[i].op;
			return true;
		}
	return false;
}

static uint32_t
round_up(double number)
{
	return (uint32_t)number + (number > (uint32_t)number);
}

/* What is larger cannot be cached, and is cut like it. */
static uint32_t
to_bytes(double number)
{
	return number < UINT32_MAX ? (uint32_t)number : UINT32_MAX;
}

/* Are these names of columns?  None of the three numbers is one. */
static bool
names_columns(char *const column[COLUMNS_MAX])
{
	double number;

	return !to_number(column[0], DBL_MAX, &number) &&
	       !to_number(column[2], DBL_MAX, &number) &&
	       !to_number(column[3], DBL_MAX, &number);
}

static bool
read_ours(struct reader *r, char *line)
{
	char *column[COLUMNS_MAX];
	double time_s, bytes, ttl_s;
	struct request request;
	unsigned count;

	if (line[0] == '#')
		return recorded_note(&r->trace->recorded, line) ||
		       fail(r, "'%.60s' has no number that makes sense", line);
	count = split(line, ',', column);
	if (count != 5)
		return fail(r,
		    "%u columns; timestamp_s,key,size_bytes,ttl_s,op are 5",
		    count);
	if (r->line == 1 && names_columns(column))
		return true;
	if (!to_number(column[0], TIME_S_MAX, &time_s))
		return fail(r, "'%.40s' is no time in seconds", column[0]);
	if (!to_number(column[2], BYTES_MAX, &bytes))
		return fail(r, "'%.40s' is no size in bytes", column[2]);
	if (!to_number(column[3], TTL_S_MAX, &ttl_s))
		return fail(
		    r, "'%.40s' is no time to live in seconds", column[3]);
	if (!to_op(column[4], &request.op))
		return fail(r,
		    "'%.40s' is none of get, miss, set, delete, touch, incr "
		    "and flush",
		    column[4]);
	if (column[1][0] == '\0' && request.op != OP_FLUSH)
		return fail(r, "the key is empty");
	request.time_ms = (uint64_t)(time_s * 1000);
	request.value_bytes = to_bytes(bytes);
	request.ttl_s = round_up(ttl_s); /* 0 is none */
	return add(r, column[1], strlen(column[1]), request);
}

static bool
read_csv(struct reader *r, char *line)
{
	char *column[COLUMNS_MAX];
	unsigned count = split(line, ',', column);
	double time_s, bytes;
	bool numbers;

	if (count < 3)
		return fail(r, "%u columns; time,key,size are needed", count);
	numbers = to_number(column[0], TIME_S_MAX, &time_s) &&
		  to_number(column[2], BYTES_MAX, &bytes);
	if (!numbers && r->line == 1)
		return true; /* the names of the columns */
	if (!numbers)
		return fail(r, "time '%.40s' or size '%.40s' is no number",
		    column[0], column[2]);
	return add(r, column[1], strlen(column[1]),
	    (struct request){ .time_ms = (uint64_t)(time_s * 1000),
		.value_bytes = to_bytes(bytes) });
}

static bool
read_lis(struct reader *r, char *line)
{
	char *column[COLUMNS_MAX];
	unsigned count = split(line, ' ', column);
	double first, blocks;

	if (count < 2 || !to_number(column[0], 1e18, &first) ||
	    !to_number(column[1], LIS_BLOCKS_MAX, &blocks))
		return fail(r, "no first block and count of blocks");
	for (uint64_t i = 0; i < (uint64_t)blocks; i++) {
		uint64_t block = (uint64_t)first + i;

		if (!add(r, &block, sizeof(block),
			(struct request){ .op = OP_GET }))
			return false;
	}
	return true;
}

static bool
read_key(struct reader *r, char *line)
{
	return add(r, line, strlen(line), (struct request){ .op = OP_GET });
}

/* After the mark of UTF-8 that some editors put first. */
static char *
text_of(const struct input *input)
{
	return input->bytes +
	       (strncmp(input->bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0);
}

static bool
read_lines(struct reader *r, const struct input *input,
    bool (*read_line)(struct reader *, char *))
{
	char *at = text_of(input), *end = input->bytes + input->count;

	while (at < end) {
		char *newline = memchr(at, '\n', (size_t)(end - at));
		char *stop = newline != NULL ? newline : end;

		r->line++;
		if (memchr(at, '\0', (size_t)(stop - at)) != NULL)
			return fail(r, "a zero byte: this is not text");
		if (stop > at && stop[-1] == '\r')
			stop[-1] = '\0';
		*stop = '\0';
		if (*at != '\0' && !read_line(r, at))
			return false;
		at = stop + 1;
	}
	return true;
}

/* {time 32, key 64, size 32, next access 64}, little-endian. */
static bool
read_oracle(struct reader *r, const struct input *input)
{
	if (input->count % ORACLE_BYTES != 0)
		return fail(r,
		    "%zu bytes are no multiple of the 24 of a record: cut "
		    "short, or another format",
		    input->count);
	for (size_t at = 0; at < input->count; at += ORACLE_BYTES) {
		uint32_t time_s, bytes;

		memcpy(&time_s, input->bytes + at, 4);
		memcpy(&bytes, input->bytes + at + 12, 4);
		if (!add(r, input->bytes + at + 4, 8,
			(struct request){ .time_ms = time_s * 1000ull,
			    .value_bytes = bytes }))
			return false;
	}
	return true;
}

/* How many columns the first line that is no remark has, and the fifth of them. */
static unsigned
first_columns(const struct input *input, char fifth[16])
{
	const char *at = text_of(input);
	unsigned count = 1;

	while (*at == '#' || *at == '\r' || *at == '\n') {
		at += strcspn(at, "\n");
		at += *at == '\n';
	}
	for (; *at != '\0' && *at != '\r' && *at != '\n'; at++)
		if (*at == ',' && ++count == 5)
			(void)snprintf(fifth, 16, "%.*s",
			    (int)strcspn(at + 1, ",\r\n"), at + 1);
	return count;
}

/* By the name, else by the first bytes. */
static enum trace_format
guess_format(const char *path, const struct input *input)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash != NULL ? slash + 1 : path;
	char fifth[16];
	unsigned columns;
	uint32_t op;

	if (strstr(name, "oracleGeneral") != NULL ||
	    memchr(input->bytes, '\0', input->count < 240 ? input->count : 240))
		return TRACE_ORACLE;
	if (strncmp(text_of(input), "# ", 2) == 0)
		return TRACE_OURS;
	if (strstr(name, ".lis") != NULL)
		return TRACE_LIS;
	columns = first_columns(input, fifth);
	if (columns == 1)
		return TRACE_KEYS;
	return (columns == 5 && fifth[0] != '\0') ||
		       (columns > 5 && to_op(fifth, &op))
		   ? TRACE_OURS
		   : TRACE_CSV;
}

static bool
read_format(struct reader *r, const struct input *input)
{
	switch (r->trace->format) {
	case TRACE_ORACLE:
		return read_oracle(r, input);
	case TRACE_CSV:
		return read_lines(r, input, read_csv);
	case TRACE_LIS:
		return read_lines(r, input, read_lis);
	case TRACE_KEYS:
		return read_lines(r, input, read_key);
	default:
		return read_lines(r, input, read_ours);
	}
}

int
trace_read(struct trace *trace, const char *path, enum trace_format format,
    char *why, size_t why_bytes)
{
	struct reader r = {
		.trace = trace, .path = path, .why = why, .why_bytes = why_bytes
	};
	struct input input;
	bool done;

	*trace = (struct trace){ .format = format };
	if (input_read(&input, path, why, why_bytes) != 0)
		return -1;
	if (format == TRACE_AUTO && input.count > 0)
		trace->format = guess_format(path, &input);
	done = read_format(&r, &input);
	r.line = 0;
	if (done && trace->count == 0)
		done = fail(&r, "there is no request in it");
	if (done && trace->format == TRACE_OURS && !recorded_settle(trace))
		done = fail(&r, "not enough memory for its keys");
	input_free(&input);
	free(r.hashes);
	free(r.numbers);
	if (!done)
		trace_free(trace);
	return done ? 0 : -1;
}

void
trace_free(struct trace *trace)
{
	free(trace->request);
	*trace = (struct trace){ .request = NULL };
}

/*
 * A size that is unknown: log-normal-like, 2^(5 + 6 u) with u the mean of three
 * even draws: 32 to 2048 bytes, median 256, mean 325.
 */
static uint32_t
draw_bytes(uint32_t key)
{
	uint64_t x = XXH3_64bits_withSeed(&key, sizeof(key), 20261124);
	double u = ((double)(x & 0xfffff) + (double)(x >> 20 & 0xfffff) +
		       (double)(x >> 40 & 0xfffff)) /
		   (3.0 * 0x100000);
	double bytes = 32;

	for (u *= 6; u >= 1; u -= 1)
		bytes *= 2;
	return (uint32_t)(bytes * (1 + u)); /* near enough to 2^u */
}

void
trace_settle_sizes(
    struct trace *trace, uint32_t unit_bytes, uint32_t most_bytes)
{
	for (size_t i = 0; i < trace->count; i++) {
		struct request *r = &trace->request[i];

		if (unit_bytes != 0) {
			r->value_bytes = unit_bytes;
		} else if (r->value_bytes == 0) {
			r->value_bytes = draw_bytes(r->key);
			trace->sizes_unknown += trace_stores(r);
		}
		if (r->value_bytes > most_bytes) {
			r->value_bytes = most_bytes;
			trace->sizes_cut += trace_stores(r);
		}
	}
}

void
trace_only_gets(struct trace *trace)
{
	size_t count = 0;

	for (size_t i = 0; i < trace->count; i++) {
		struct request r = trace->request[i];

		if (r.op == OP_FLUSH)
			continue;
		r.op = OP_GET;
		r.ttl_s = 0;
		trace->request[count++] = r;
	}
	trace->count = trace->gets = count;
	trace->with_ttl = trace->flushes = 0;
	trace->recorded.gets = 0; /* of requests that were gets */
}

int
trace_sample(struct trace *trace, double share)
{
	uint64_t below = (uint64_t)(share * 0x1p32);
	uint32_t *number = calloc(trace->keys, sizeof(*number));
	struct trace t = *trace;

	if (number == NULL)
		return -1;
	if (t.recorded.gets == 0)
		t.recorded.gets = t.gets;
	t.recorded.share = share * trace_share(trace);
	t.recorded.stored = (uint64_t)((double)t.recorded.stored * share);
	t.recorded.lost = (uint64_t)((double)t.recorded.lost * share);
	t.recorded.torn = (uint64_t)((double)t.recorded.torn * share);
	t.count = t.gets = t.with_ttl = t.keys = 0;
	for (size_t i = 0; i < trace->count; i++) {
		struct request r = trace->request[i];

		if (r.op == OP_FLUSH) {
			trace->request[t.count++] = r;
			continue;
		}
		if ((XXH3_64bits(&r.key, sizeof(r.key)) >> 32) >= below)
			continue;
		if (number[r.key] == 0)
			number[r.key] = ++t.keys;
		r.key = number[r.key] - 1;
		t.gets += trace_is_get(&r);
		t.with_ttl += r.ttl_s > 0;
		trace->request[t.count++] = r;
	}
	free(number);
	*trace = t;
	return 0;
}
