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
#include <sys/time.h>
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
	int result;
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
	    "%s after %s %" PRIu64 ", %" PRIu64 ", in call %u (%d)\n", why,
	    now.what == NULL ? "nothing" : now.what, now.first, now.second,
	    now.call, now.result);

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
	say_where(number == SIGPROF ? "no end" : "a stray access");
	(void)signal(number, SIG_DFL);
	(void)raise(number == SIGPROF ? SIGABRT : number);
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
	const char *times = getenv("TEST_PATIENCE"); /* as in unit tests */
	struct itimerval once = { .it_value = { 0, 0 } };

	if (times != NULL)
		seconds *= (unsigned)strtoul(times, NULL, 10);
	once.it_value.tv_sec = seconds;
	(void)signal(SIGPROF, on_signal);
	(void)setitimer(ITIMER_PROF, &once, NULL);
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
	const int64_t initial = 1000;
	char key[64];

	for (unsigned i = 0; i < 400; i++)
		set_key(cache, 1000 + i, 100 + i % 700, 0);
	for (unsigned i = 0; i < HOSTILE_KEYS; i++)
		if ((HOSTILE_KEYS - 1 - i) % 6 != 0)
			set_key(
			    cache, i, i * 83 % 800, i % 5 == 0 ? 3600000 : 0);
	for (unsigned i = 0; i < HOSTILE_KEYS; i += 6)
		(void)shmcache_incr(cache, key,
		    make_key(key, HOSTILE_KEYS - 1 - i), 1, &initial, 0, NULL);
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

static void
must_open(struct hostile *h, const struct shmcache_options *options,
    struct shmcache **cache_out)
{
	if (shmcache_open(h->path, options, cache_out) != 0) {
		(void)fprintf(stderr, "open: %s\n", shmcache_last_error());
		exit(1);
	}
}

/* Opens the handle that can't write, and makes this thread a peer. */
static void
open_reading(struct hostile *h)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	char key[64];

	options.open_mode = SHMCACHE_ATTACH;
	options.read_only = 1;
	must_open(h, &options, &h->reading);
	(void)shmcache_exists(h->cache, key, make_key(key, 0));
}

/* A second name, since a cache that looks removed may lose the first: the next
   who opens it finishes the removal. */
static void
link_name(const struct hostile *h, bool back)
{
	char kept[sizeof(h->path) + 8];

	(void)snprintf(kept, sizeof(kept), "%s-kept", h->path);
	if (link(back ? kept : h->path, back ? h->path : kept) != 0 &&
	    errno != EEXIST) {
		perror(h->path);
		exit(1);
	}
}

void
hostile_unlink(const struct hostile *h)
{
	char kept[sizeof(h->path) + 8];

	(void)snprintf(kept, sizeof(kept), "%s-kept", h->path);
	(void)unlink(kept);
	(void)unlink(h->path);
}

void
hostile_open(struct hostile *h, const char *path)
{
	struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
	struct stat status;
	int fd;

	memset(h, 0, sizeof(*h));
	(void)snprintf(h->path, sizeof(h->path), "%s", path);
	if (buffer == NULL)
		make_buffer();
	watch_signals();
	options.capacity_bytes = 104 << 10;
	options.extent_bytes = 4096;
	options.expected_items = 100;
	options.peer_slots = 3;
	options.process_slots = 3;
	must_open(h, &options, &h->cache);
	fill(h->cache);
	open_reading(h);
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
	link_name(h, false);
	find_parts(h);
}

static bool
looks_removed(const struct hostile *h)
{
	uint64_t state;

	memcpy(&state, h->bytes + STATE_AT, sizeof(state));
	return state != 0;
}

/*
 * Handles leave a cache that looks removed, and may have attached to what the
 * damage made of it: they are opened anew, so that no damage outlasts its bytes.
 */
void
hostile_restore(struct hostile *h)
{
	bool left = looks_removed(h);

	memcpy(h->bytes, h->sound, h->length);
	if (!left)
		return;
	(void)shmcache_close(h->reading);
	(void)shmcache_close(h->cache);
	link_name(h, true);
	must_open(h, NULL, &h->cache);
	open_reading(h);
	memcpy(h->sound, h->bytes, h->length);
}

void
hostile_close(struct hostile *h)
{
	hostile_restore(h);
	(void)shmcache_close(h->reading);
	(void)shmcache_close(h->cache);
	(void)munmap(h->bytes, h->length);
	hostile_unlink(h);
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
	now.result = result;
	switch (result) {
	case SHMCACHE_ENOENT:
	case SHMCACHE_EBUFFER:
	case SHMCACHE_ETOOBIG:
	case SHMCACHE_EBUSY:
	case SHMCACHE_EPEERS:
	case SHMCACHE_EPINS:
	case SHMCACHE_EREMOVED:
	case SHMCACHE_ECORRUPT:
	case SHMCACHE_EPRESENT:
	case SHMCACHE_ECHANGED:
	case SHMCACHE_ENOTNUMBER:
	case SHMCACHE_ESTALE:
	case -ERANGE:
		return;
	/* Of a cache that looked removed, and is now what the damage says. */
	case SHMCACHE_EFULL:
	case SHMCACHE_EPROCESSES:
	case SHMCACHE_ENOTCACHE:
	case SHMCACHE_EVERSION:
	case SHMCACHE_ELAYOUT:
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
	int result;

	if (looks_removed(h))
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

static int
cas(struct hostile *h, const char *key, size_t key_bytes)
{
	uint64_t version = 0;
	size_t value_bytes;
	int result = shmcache_gets(h->cache, key, key_bytes,
	    buffer + BUFFER_BYTES - VALUE_MAX, VALUE_MAX, &value_bytes, NULL,
	    &version);

	if (result != 0)
		return result;
	return shmcache_cas(
	    h->cache, key, key_bytes, "swapped", 7, 0, 0, version);
}

static int
get_and_touch(struct hostile *h, const char *key, size_t key_bytes)
{
	size_t value_bytes;
	int result = shmcache_get_and_touch(h->cache, key, key_bytes, 70000,
	    buffer + BUFFER_BYTES - 500, 500, &value_bytes, NULL);

	if (result == 0 && value_bytes > 500)
		fail("a value longer than its buffer");
	return result;
}

static int
many(struct hostile *h, bool writing)
{
	char keys[6][64];
	struct shmcache_get_request gets[6] = { 0 };
	struct shmcache_set_request sets[6] = { 0 };
	struct shmcache_delete_request deletes[6] = { 0 };

	for (unsigned i = 0; i < 6; i++) {
		gets[i].key = sets[i].key = deletes[i].key = keys[i];
		gets[i].key_bytes = sets[i].key_bytes = deletes[i].key_bytes =
		    make_key(keys[i], 5 * i);
		gets[i].buffer = buffer + BUFFER_BYTES - VALUE_MAX;
		gets[i].buffer_bytes = VALUE_MAX;
		sets[i].value = "many";
		sets[i].value_bytes = 4;
	}
	if (!writing)
		return shmcache_multi_get(h->cache, gets, 6);
	(void)shmcache_multi_set(h->cache, sets, 6);
	return shmcache_multi_delete(h->cache, deletes, 6);
}

static int
visit(void *context, const struct shmcache_entry *entry)
{
	(void)context;
	read_bytes(entry->key, entry->key_bytes);
	if (entry->value != NULL)
		read_bytes(entry->value, entry->value_bytes);
	return 0;
}

static int
scan(struct shmcache *cache)
{
	struct shmcache_scan_options options = SHMCACHE_SCAN_OPTIONS_INIT;
	uint64_t cursor = 0;

	options.values = 1;
	return shmcache_scan(cache, &cursor, &options, visit, NULL);
}

static int
look_closely(struct hostile *h)
{
	struct shmcache_peer_info peers[8];
	struct shmcache_extent_info extents[32];
	struct shmcache_latency latency;
	uint64_t items;
	size_t count;

	check_result(shmcache_peers(h->cache, peers, 8, &count));
	check_result(shmcache_extents(h->cache, extents, 32, &count));
	check_result(
	    shmcache_latency(h->cache, SHMCACHE_LATENCY_GET, &latency));
	check_result(shmcache_hot_keys(h->cache, visit, NULL));
	return shmcache_count(h->cache, &items);
}

/* Through a handle that can't write. */
static int
read_only(struct hostile *h, const char *key, size_t key_bytes)
{
	struct shmcache *writing = h->cache;
	int result;

	h->cache = h->reading;
	check_result(get_into(h, key, key_bytes, VALUE_MAX, false));
	check_result(get_pinned(h, key, key_bytes));
	check_result(shmcache_exists(h->cache, key, key_bytes));
	result = ttl(h, key, key_bytes);
	h->cache = writing;
	return result;
}

/* Calls that walk through everything. */
static int
walk(struct hostile *h, unsigned call)
{
	switch (call) {
	case 12:
		return look_around(h);
	case 13:
		return shmcache_sweep(h->cache, NULL);
	case 14:
		return shmcache_verify(
		    h->cache, SHMCACHE_VERIFY_LIVE, NULL, NULL);
	case 15:
		return shmcache_verify(
		    h->cache, SHMCACHE_VERIFY_STRICT, NULL, NULL);
	case 17:
		(void)hostile_attach(h, NULL);
		return 0;
	case 27:
		return scan(h->cache);
	case 28:
		return shmcache_delete_prefix(h->cache, "key-1", 5, NULL);
	case 29:
		return look_closely(h);
	case 31:
		return scan(h->reading);
	default:
		return 0;
	}
}

static int
read_call(struct hostile *h, unsigned call, unsigned number, const char *key,
    size_t key_bytes)
{
	switch (call) {
	case 0:
	case 1:
		return get_into(h, key, key_bytes, VALUE_MAX, false);
	case 2:
		return get_into(h, key, key_bytes, number, true);
	case 3:
		return get_pinned(h, key, key_bytes);
	case 4:
		return get_alloc(h, key, key_bytes);
	case 5:
		return shmcache_exists(h->cache, key, key_bytes);
	case 6:
		return ttl(h, key, key_bytes);
	case 24:
		return get_and_touch(h, key, key_bytes);
	case 25:
		return many(h, false);
	default:
		return read_only(h, key, key_bytes);
	}
}

static int
write_call(struct hostile *h, unsigned call, unsigned number, const char *key,
    size_t key_bytes)
{
	switch (call) {
	case 7:
	case 8:
		return set(h, key, key_bytes, 10 * (number % 90));
	case 9:
		return set(h, key, key_bytes, 900);
	case 10:
		return shmcache_delete(h->cache, key, key_bytes);
	case 11:
		return shmcache_touch(h->cache, key, key_bytes, 5000000);
	case 16:
		return shmcache_flush(h->cache);
	case 18:
		return shmcache_add(h->cache, key, key_bytes, "5", 1, 0, 0);
	case 19:
		return shmcache_replace(
		    h->cache, key, key_bytes, "-77", 3, 90000, 2);
	case 20:
		return cas(h, key, key_bytes);
	case 21:
		return shmcache_append(h->cache, key, key_bytes, "behind", 6);
	case 22:
		return shmcache_prepend(h->cache, key, key_bytes, "before", 6);
	case 23:
		return shmcache_incr(
		    h->cache, key, key_bytes, 3, NULL, 0, NULL);
	default:
		return many(h, true);
	}
}

void
hostile_call(struct hostile *h, unsigned call, unsigned number)
{
	char key[64];
	size_t key_bytes = make_key(key, number);

	call %= HOSTILE_CALLS;
	now.call = call;
	if (hostile_walks(call))
		check_result(walk(h, call));
	else if (call <= 6 || call == 24 || call == 25 || call == 30)
		check_result(read_call(h, call, number, key, key_bytes));
	else
		check_result(write_call(h, call, number, key, key_bytes));
}

void
hostile_all_keys(struct hostile *h)
{
	static const unsigned calls[] = { 0, 2, 3, 4, 6, 11, 23, 30 };

	for (unsigned key = 0; key < HOSTILE_KEYS; key++)
		for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
			hostile_call(h, calls[i], key);
}

bool
hostile_walks(unsigned call)
{
	call %= HOSTILE_CALLS;
	return (call >= 12 && call <= 15) || call == 17 ||
	       (call >= 27 && call <= 29) || call == 31;
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
