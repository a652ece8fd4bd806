/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hostile.c - see hostile.h
 */
#include "tests/fuzz/hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <shmcache_admin.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_BYTES 4096u /* a page; the next one faults */
#define VALUE_MAX    1000u

/* Offsets in the header of the numbers that say where the tables are. */
#define GEOMETRY_AT 128u
#define STATE_AT    768u /* not 0: it is being removed */
enum {
	AT_PROCESSES = 0,
	AT_PEERS = 1,
	AT_COUNTERS = 2,
	AT_LANES = 4,
	AT_CACHE = 5,
	AT_INDEX = 6,
	AT_EXTENTS = 13,
	AT_MAPS = 14,
	AT_ARENA = 16,
	AT_END = 17
};

static uint8_t *buffer;

static struct {
	const char *what;
	uint64_t first, second;
	unsigned call;
} now;

void
hostile_announce(const char *what, uint64_t first, uint64_t second)
{
	now.what = what;
	now.first = first;
	now.second = second;
}

static void
say_where(const char *why)
{
	static char text[300];
	int bytes = snprintf(text, sizeof(text),
	    "%s after %s %" PRIu64 ", %" PRIu64 ", in call %u\n", why,
	    now.what == NULL ? "nothing" : now.what, now.first, now.second,
	    now.call);

	if (bytes > 0)
		(void)!write(STDERR_FILENO, text, (size_t)bytes);
}

static void
fail(const char *why)
{
	say_where(why);
	abort();
}

static void
on_signal(int number)
{
	say_where(number == SIGALRM ? "no end" : "a stray access");
	(void)signal(number, SIG_DFL);
	(void)raise(number == SIGALRM ? SIGABRT : number);
}

static void
watch_signals(void)
{
	(void)signal(SIGSEGV, on_signal);
	(void)signal(SIGBUS, on_signal);
}

void
hostile_limit(unsigned seconds)
{
	(void)signal(SIGALRM, on_signal);
	(void)alarm(seconds);
}

static void *
must_map(size_t bytes, int flags, int fd)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (memory == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return memory;
}

static void
make_buffer(void)
{
	buffer =
	    must_map(2 * (size_t)BUFFER_BYTES, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	(void)mprotect(buffer + BUFFER_BYTES, BUFFER_BYTES, PROT_NONE);
}

static size_t
make_key(char key[64], unsigned number)
{
	int bytes = snprintf(key, 64, "key-%u-%.*s", number, (int)(number % 40),
	    "0123456789012345678901234567890123456789");

	return (size_t)bytes;
}

static void
set_key(
    struct shmcache *cache, unsigned number, size_t value_bytes, int64_t ttl_ms)
{
	char key[64];
	size_t key_bytes = make_key(key, number);
	uint8_t value[VALUE_MAX];

	memset(value, (int)('a' + number % 26), sizeof(value));
	if (shmcache_set(cache, key, key_bytes, value, value_bytes, ttl_ms,
		number % 3) != 0) {
		(void)fprintf(stderr, "set: %s\n", shmcache_last_error());
		exit(1);
	}
}

/* Entries of all sorts, in extents of all states. */
static void
fill(struct shmcache *cache)
{
	char key[64];

	for (unsigned i = 0; i < 400; i++)
		set_key(cache, 1000 + i, 100 + i % 700, 0);
	for (unsigned i = 0; i < HOSTILE_KEYS; i++)
		set_key(cache, i, i * 83 % 800, i % 5 == 0 ? 3600000 : 0);
	for (unsigned i = 0; i < HOSTILE_KEYS; i += 2)
		(void)shmcache_exists(cache, key, make_key(key, i));
	for (unsigned i = 0; i < HOSTILE_KEYS; i += 7)
		(void)shmcache_touch(cache, key, make_key(key, i), 7200000);
}

static void
find_parts(struct hostile *h)
{
	static const unsigned at[PARTS + 1] = {
		[PART_PROCESSES] = AT_PROCESSES,
		[PART_PEERS] = AT_PEERS,
		[PART_COUNTERS] = AT_COUNTERS,
		[PART_LANES] = AT_LANES,
		[PART_CACHE] = AT_CACHE,
		[PART_INDEX] = AT_INDEX,
		[PART_EXTENTS] = AT_EXTENTS,
		[PART_MAPS] = AT_MAPS,
		[PART_ARENA] = AT_ARENA,
		[PARTS] = AT_END,
	};

	for (unsigned i = 1; i <= PARTS; i++) {
		uint64_t offset;

		memcpy(&offset, h->bytes + GEOMETRY_AT + 8 * at[i],
		    sizeof(offset));
		h->part[i] = offset;
		if (offset > h->length || offset < h->part[i - 1])
			fail("the layout of the header has changed");
	}
}

void
hostile_open(struct hostile *h, const char *path)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	struct stat status;
	char key[64];
	int fd;

	memset(h, 0, sizeof(*h));
	(void)snprintf(h->path, sizeof(h->path), "%s", path);
	if (buffer == NULL)
		make_buffer();
	watch_signals();
	options.capacity_bytes = 92 << 10;
	options.extent_bytes = 4096;
	options.expected_items = 100;
	options.peer_slots = 3;
	options.process_slots = 3;
	if (shmcache_open(path, &options, &h->cache) != 0) {
		(void)fprintf(stderr, "open: %s\n", shmcache_last_error());
		exit(1);
	}
	fill(h->cache);
	(void)shmcache_exists(h->cache, key, make_key(key, 0));
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &status) != 0) {
		perror(path);
		exit(1);
	}
	h->length = (size_t)status.st_size;
	h->bytes = must_map(h->length, MAP_SHARED, fd);
	(void)close(fd);
	h->sound = malloc(h->length);
	if (h->sound == NULL)
		exit(1);
	memcpy(h->sound, h->bytes, h->length);
	find_parts(h);
}

void
hostile_restore(struct hostile *h)
{
	memcpy(h->bytes, h->sound, h->length);
}

void
hostile_close(struct hostile *h)
{
	hostile_restore(h);
	(void)shmcache_close(h->cache);
	(void)munmap(h->bytes, h->length);
	(void)unlink(h->path);
	free(h->sound);
}

enum hostile_part
hostile_part_of(const struct hostile *h, size_t offset)
{
	unsigned part = 0;

	while (part + 1 < PARTS && offset >= h->part[part + 1])
		part++;
	return (enum hostile_part)part;
}

const char *
hostile_part_name(enum hostile_part part)
{
	static const char *const names[] = { "header", "processes", "peers",
		"counters", "lanes", "cache page", "index", "extents",
		"start maps", "arena" };

	return names[part];
}

/* Calls */

static void
check_result(int result)
{
	switch (result) {
	case SHMCACHE_ENOENT:
	case SHMCACHE_EBUFFER:
	case SHMCACHE_ETOOBIG:
	case SHMCACHE_EBUSY:
	case SHMCACHE_EPEERS:
	case SHMCACHE_EPINS:
	case SHMCACHE_EREMOVED:
	case SHMCACHE_ECORRUPT:
		return;
	default:
		if (result < 0)
			fail("an unlisted result");
	}
}

/* Reads the bytes, so that one outside faults. */
static void
read_bytes(const void *bytes, size_t count)
{
	const volatile uint8_t *at = bytes;
	unsigned sum = 0;

	for (size_t i = 0; i < count; i += 61)
		sum += at[i];
	if (count > 0)
		sum += at[count - 1];
	(void)sum;
}

static int
get_into(struct hostile *h, const char *key, size_t key_bytes, size_t room,
    bool peek)
{
	size_t value_bytes = 0;
	uint32_t flags;
	int result =
	    (peek ? shmcache_peek : shmcache_get)(h->cache, key, key_bytes,
		buffer + BUFFER_BYTES - room, room, &value_bytes, &flags);

	if (result == 0 && value_bytes > room)
		fail("a value longer than its buffer");
	return result;
}

static int
get_pinned(struct hostile *h, const char *key, size_t key_bytes)
{
	struct shmcache_item item;
	int result = shmcache_get_pinned(h->cache, key, key_bytes, &item);

	if (result != 0)
		return result;
	read_bytes(item.value, item.value_bytes);
	return shmcache_unpin(h->cache, &item);
}

static int
get_alloc(struct hostile *h, const char *key, size_t key_bytes)
{
	size_t value_bytes = 0;
	void *value;
	int result = shmcache_get_alloc(
	    h->cache, key, key_bytes, &value, &value_bytes, NULL);

	if (result != 0)
		return result;
	read_bytes(value, value_bytes);
	free(value);
	return 0;
}

static int
set(struct hostile *h, const char *key, size_t key_bytes, size_t value_bytes)
{
	static uint8_t value[VALUE_MAX];

	return shmcache_set(
	    h->cache, key, key_bytes, value, value_bytes, 60000, 7);
}

static int
look_around(struct hostile *h)
{
	struct shmcache_process_info infos[4];
	struct shmcache_stats stats;
	size_t count;

	check_result(shmcache_stats(h->cache, &stats, sizeof(stats)));
	return shmcache_processes(h->cache, infos, 4, &count);
}

static int
ttl(struct hostile *h, const char *key, size_t key_bytes)
{
	int64_t left;

	return shmcache_ttl(h->cache, key, key_bytes, &left);
}

int
hostile_attach(struct hostile *h, void (*use)(struct hostile *))
{
	struct shmcache *attached = h->cache;
	uint64_t state;
	int result;

	memcpy(&state, h->bytes + STATE_AT, sizeof(state));
	if (state != 0)
		return SHMCACHE_EREMOVED;
	result = shmcache_open(h->path, NULL, &h->cache);
	if (result == 0) {
		if (use != NULL)
			use(h);
		(void)shmcache_close(h->cache);
	}
	h->cache = attached;
	return result;
}

void
hostile_call(struct hostile *h, unsigned call, unsigned number)
{
	char key[64];
	size_t key_bytes = make_key(key, number);
	int result = 0;

	now.call = call % HOSTILE_CALLS;
	switch (now.call) {
	case 0:
	case 1:
		result = get_into(h, key, key_bytes, VALUE_MAX, false);
		break;
	case 2:
		result = get_into(h, key, key_bytes, number, true);
		break;
	case 3:
		result = get_pinned(h, key, key_bytes);
		break;
	case 4:
		result = get_alloc(h, key, key_bytes);
		break;
	case 5:
		result = shmcache_exists(h->cache, key, key_bytes);
		break;
	case 6:
		result = ttl(h, key, key_bytes);
		break;
	case 7:
	case 8:
		result = set(h, key, key_bytes, 10 * (number % 90));
		break;
	case 9:
		result = set(h, key, key_bytes, 900);
		break;
	case 10:
		result = shmcache_delete(h->cache, key, key_bytes);
		break;
	case 11:
		result = shmcache_touch(h->cache, key, key_bytes, 5000000);
		break;
	case 12:
		result = look_around(h);
		break;
	case 13:
		result = shmcache_sweep(h->cache, NULL);
		break;
	case 14:
		result =
		    shmcache_verify(h->cache, SHMCACHE_VERIFY_LIVE, NULL, NULL);
		break;
	case 15:
		result = shmcache_verify(
		    h->cache, SHMCACHE_VERIFY_STRICT, NULL, NULL);
		break;
	case 16:
		result = shmcache_flush(h->cache);
		break;
	case 17:
		(void)hostile_attach(h, NULL);
		break;
	default:
		break;
	}
	check_result(result);
}

void
hostile_all_keys(struct hostile *h)
{
	static const unsigned calls[] = { 0, 2, 3, 4, 6, 11 };

	for (unsigned key = 0; key < HOSTILE_KEYS; key++)
		for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
			hostile_call(h, calls[i], key);
}

bool
hostile_walks(unsigned call)
{
	call %= HOSTILE_CALLS;
	return (call >= 12 && call <= 15) || call == 17;
}

void
hostile_all_calls(struct hostile *h)
{
	hostile_limit(10);
	for (unsigned call = 0; call < HOSTILE_CALLS; call++)
		if (call != 16)
			for (unsigned i = 0; i < 3; i++)
				hostile_call(h, call, (call * 3 + i * 14) % 43);
	/* More than all memory, so that every extent is evicted. */
	for (unsigned i = 0; i < 80; i++)
		hostile_call(h, 9, i);
	hostile_call(h, 16, 0);
	hostile_call(h, 13, 0);
	hostile_call(h, 15, 0);
	hostile_limit(0);
}
