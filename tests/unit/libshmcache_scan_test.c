/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Walking the index: scan, cursors, globs, delete by prefix and by glob; handles
 * for reading only; limits, strictness, owners; samples.
 */
#include "libshmcache/glob.h"
#include "libshmcache/latency.h"
#include "libshmcache/scan.h"
#include "tests/unit/cache_support.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define KEYS 300

static void
fill(struct shmcache *cache, unsigned count)
{
	char key[16];

	for (unsigned i = 0; i < count; i++) {
		(void)snprintf(
		    key, sizeof(key), "%s:%03u", i % 3 ? "user" : "page", i);
		assert_int_equal(shmcache_set(cache, key, strlen(key), key,
				     strlen(key), 0, i),
		    0);
	}
}

/* What a scan has seen, by client flags. */
struct seen {
	unsigned times[KEYS];
	unsigned wrong;
	int stop_after;
	bool values;
};

static int
note(void *context, const struct shmcache_entry *entry)
{
	struct seen *seen = context;

	if (entry->client_flags >= KEYS || entry->key_bytes != 8 ||
	    (seen->values ? entry->value == NULL ||
				memcmp(entry->value, entry->key, 8) != 0
			  : entry->value != NULL) ||
	    entry->value_bytes != 8 || entry->ttl_ms != SHMCACHE_TTL_NONE ||
	    entry->version == 0 || entry->age_ms < 0)
		seen->wrong++;
	else
		seen->times[entry->client_flags]++;
	return seen->stop_after > 0 && --seen->stop_after == 0;
}

static unsigned
sum(const struct seen *seen)
{
	unsigned total = 0;

	for (unsigned i = 0; i < KEYS; i++) {
		assert_true(seen->times[i] <= 1);
		total += seen->times[i];
	}
	assert_int_equal(seen->wrong, 0);
	return total;
}

static void
scan_sees_everything_once(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_scan_options o = SHMCACHE_SCAN_OPTIONS_INIT;
	struct seen seen = { .values = true };
	uint64_t cursor = 0, count = 0;

	(void)state;
	fill(cache, KEYS);
	test_set_mortal(cache, "expired", "v");
	test_expire(cache, "expired");
	o.values = 1;
	assert_int_equal(shmcache_scan(cache, &cursor, &o, note, &seen), KEYS);
	assert_int_equal(shmcache_delete(cache, "expired", 7), SHMCACHE_ENOENT);
	assert_int_equal(cursor, 0);
	assert_int_equal(sum(&seen), KEYS);
	assert_int_equal(shmcache_count(cache, &count), 0);
	assert_int_equal(count, KEYS);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
scan_goes_on_from_its_cursor(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_scan_options o = SHMCACHE_SCAN_OPTIONS_INIT;
	struct seen seen = { .stop_after = 0 };
	uint64_t cursor = 0;
	unsigned calls = 0;

	(void)state;
	fill(cache, KEYS);
	o.max_slots = 100;
	do {
		seen.stop_after = 7;
		assert_true(
		    shmcache_scan(cache, &cursor, &o, note, &seen) >= 0);
		calls++;
	} while (cursor != 0);
	assert_int_equal(sum(&seen), KEYS);
	assert_true(calls >= KEYS / 7);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
cursors_of_others_are_refused(void **state)
{
	struct shmcache *cache = test_cache(), *other = test_cache();
	struct shmcache_scan_options o = SHMCACHE_SCAN_OPTIONS_INIT;
	struct seen seen = { .stop_after = 1 };
	uint64_t cursor = 0, copy;

	(void)state;
	fill(cache, 20);
	assert_int_equal(shmcache_scan(cache, &cursor, NULL, note, &seen), 1);
	copy = cursor;
	assert_int_equal(
	    shmcache_scan(other, &copy, NULL, note, &seen), SHMCACHE_ESTALE);
	assert_int_equal(copy, cursor);
	copy = cursor | ((1ull << 36) - 1);
	assert_int_equal(
	    shmcache_scan(cache, &copy, NULL, note, &seen), -EINVAL);
	copy = 12345;
	assert_int_equal(
	    shmcache_scan(cache, &copy, NULL, note, &seen), SHMCACHE_ESTALE);
	o.glob = "[a";
	o.glob_bytes = 2;
	cursor = 0;
	assert_int_equal(
	    shmcache_scan(cache, &cursor, &o, note, &seen), -EINVAL);
	assert_int_equal(
	    shmcache_scan(cache, NULL, NULL, note, &seen), -EINVAL);
	assert_int_equal(shmcache_close(cache), 0);
	assert_int_equal(shmcache_close(other), 0);
}

static void
prefixes_and_globs_choose(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_scan_options o = SHMCACHE_SCAN_OPTIONS_INIT;
	struct seen seen = { .stop_after = 0 };
	uint64_t cursor = 0, deleted = 0;

	(void)state;
	fill(cache, KEYS);
	o.prefix = "page:";
	o.prefix_bytes = 5;
	assert_int_equal(
	    shmcache_scan(cache, &cursor, &o, note, &seen), KEYS / 3);
	o.glob = "*[05]";
	o.glob_bytes = 5;
	assert_int_equal(
	    shmcache_scan(cache, &cursor, &o, note, &seen), KEYS / 15);
	assert_int_equal(
	    shmcache_delete_prefix(cache, "page:", 5, &deleted), 0);
	assert_int_equal(deleted, KEYS / 3);
	assert_true(test_lacks(cache, "page:000"));
	assert_int_equal(
	    shmcache_delete_glob(cache, "user:0*", 7, &deleted), 0);
	assert_int_equal(deleted, 66);
	assert_int_equal(shmcache_delete_glob(cache, "[", 1, NULL), -EINVAL);
	assert_int_equal(shmcache_delete_prefix(cache, NULL, 0, &deleted), 0);
	assert_int_equal(deleted, KEYS - KEYS / 3 - 66);
	assert_int_equal(shmcache_close(cache), 0);
}

static bool
matches(const char *glob, const char *text)
{
	return glob_match((const uint8_t *)glob, strlen(glob),
	    (const uint8_t *)text, strlen(text));
}

static void
globs_match_as_documented(void **state)
{
	static const char *const bad[] = { "[", "a[", "[a", "[]", "[^", "[^]",
		"\\", "a\\", "[\\", "[z-a]", "[a-\\" };
	static const char *const good[] = { "", "*", "[]]", "[a-]", "[-a]",
		"[^]a]", "\\[", "[\\]]", "]", "a-z" };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT_OF(bad); i++)
		assert_int_equal(
		    shmcache_glob_check(bad[i], strlen(bad[i])), -EINVAL);
	for (size_t i = 0; i < TEST_COUNT_OF(good); i++)
		assert_int_equal(
		    shmcache_glob_check(good[i], strlen(good[i])), 0);
	assert_true(matches("", ""));
	assert_false(matches("", "a"));
	assert_true(matches("*", ""));
	assert_true(matches("a*b*c", "axxbyyc"));
	assert_true(matches("a*b*c", "abbbc"));
	assert_false(matches("a*b*c", "axxbyy"));
	assert_true(matches("?b", "ab"));
	assert_false(matches("?", ""));
	assert_true(matches("[a-c]x", "bx"));
	assert_false(matches("[^a-c]x", "bx"));
	assert_true(matches("[!a-c]x", "dx"));
	assert_true(matches("[]]", "]"));
	assert_true(matches("[a-]", "-"));
	assert_true(matches("\\*", "*"));
	assert_false(matches("\\*", "a"));
	assert_true(matches("**a**", "bab"));
	assert_true(matches("*aab", "aaaaab"));
}

/* Every short pattern and text of a small alphabet, against the definition. */
static bool
matches_by_definition(const char *glob, const char *text)
{
	if (*glob == '\0')
		return *text == '\0';
	if (*glob == '*')
		return matches_by_definition(glob + 1, text) ||
		       (*text != '\0' && matches_by_definition(glob, text + 1));
	return *text != '\0' && (*glob == '?' || *glob == *text) &&
	       matches_by_definition(glob + 1, text + 1);
}

static void
spell(unsigned number, const char *alphabet, char *word)
{
	unsigned base = (unsigned)strlen(alphabet);

	for (; number > 0; number = (number - 1) / base)
		*word++ = alphabet[(number - 1) % base];
	*word = '\0';
}

static void
globs_match_by_definition(void **state)
{
	char glob[16], text[16];

	(void)state;
	for (unsigned g = 0; g < 1365; g++)
		for (unsigned t = 0; t < 127; t++) {
			spell(g, "ab*?", glob);
			spell(t, "ab", text);
			assert_int_equal(matches(glob, text),
			    matches_by_definition(glob, text));
		}
}

/* The worst pattern for a backtracking matcher ends, in product time. */
static void
globs_take_bounded_time(void **state)
{
	static char glob[20001], text[20001];

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		glob[i] = i % 2 ? 'a' : '*';
		text[i] = 'a';
	}
	glob[19999] = 'b';
	assert_false(matches(glob, text));
}

static void
read_only_handles_read(void **state)
{
	struct shmcache *cache = test_cache(), *reader;
	struct shmcache_options o = SHMCACHE_OPTIONS_INIT;
	struct shmcache_stats stats;
	struct shmcache_item item;
	struct seen seen = { .stop_after = 0 };
	uint64_t cursor = 0, version;
	int64_t ttl_ms, value;
	char buffer[16];
	size_t bytes;

	(void)state;
	o.read_only = 1;
	fill(cache, KEYS);
	test_set_ok(cache, "n", "5");
	assert_int_equal(shmcache_incr(cache, "n", 1, 1, NULL, 0, &value), 0);
	assert_int_equal(shmcache_open(cache->path, &o, &reader), 0);
	assert_true(test_has(reader, "page:000", "page:000"));
	assert_true(test_has(reader, "n", "6"));
	assert_true(test_lacks(reader, "none"));
	assert_int_equal(shmcache_ttl(reader, "n", 1, &ttl_ms), 0);
	assert_int_equal(ttl_ms, SHMCACHE_TTL_NONE);
	assert_int_equal(
	    shmcache_gets(reader, "n", 1, buffer, 16, &bytes, NULL, &version),
	    0);
	assert_int_equal(shmcache_cas(cache, "n", 1, "7", 1, 0, 0, version), 0);
	assert_int_equal(shmcache_delete(cache, "n", 1), 0);
	assert_int_equal(shmcache_get_pinned(reader, "page:000", 8, &item), 0);
	assert_memory_equal(item.value, "page:000", 8);
	assert_int_equal(shmcache_unpin(reader, &item), 0);
	assert_int_equal(
	    shmcache_scan(reader, &cursor, NULL, note, &seen), KEYS);
	assert_int_equal(sum(&seen), KEYS);
	assert_int_equal(shmcache_stats(reader, &stats, sizeof(stats)), 0);
	assert_int_equal(stats.items, KEYS);
	assert_int_equal(stats.processes, 1);
	assert_int_equal(test_set(reader, "k", "v"), SHMCACHE_EREADONLY);
	assert_int_equal(shmcache_delete(reader, "k", 1), SHMCACHE_EREADONLY);
	assert_int_equal(shmcache_flush(reader), SHMCACHE_EREADONLY);
	assert_int_equal(shmcache_sweep(reader, NULL), SHMCACHE_EREADONLY);
	assert_int_equal(shmcache_incr(reader, "n", 1, 1, NULL, 0, NULL),
	    SHMCACHE_EREADONLY);
	assert_int_equal(shmcache_close(reader), 0);
	assert_int_equal(shmcache_close(cache), 0);
	assert_int_equal(
	    shmcache_open(test_name(), &o, &reader), SHMCACHE_ENOCACHE);
}

static void
max_items_is_never_passed(void **state)
{
	static const unsigned limits[] = { 1, 5, 16, 100, 600 };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT_OF(limits); i++) {
		struct shmcache_options o = test_options();
		struct shmcache *cache;
		uint64_t count, most = 0;

		o.max_items = limits[i];
		cache = test_cache_of(&o);
		for (unsigned k = 0; k < 3000; k++) {
			char key[16];

			(void)snprintf(key, sizeof(key), "%u", k);
			test_set_ok(cache, key, "v");
			assert_true(test_has(cache, key, "v"));
			if (k % 100 == 0 || k == 2999) {
				assert_int_equal(
				    shmcache_count(cache, &count), 0);
				assert_true(count <= limits[i]);
				most = count > most ? count : most;
			}
		}
		assert_true(most >= limits[i] * 9 / 10);
		assert_int_equal(test_stats(cache).max_items, limits[i]);
		assert_int_equal(test_stats(cache).index_evictions, 0);
		assert_int_equal(
		    shmcache_verify(cache, SHMCACHE_VERIFY_STRICT, NULL, NULL),
		    0);
		assert_int_equal(shmcache_close(cache), 0);
	}
}

/* A slot whose word is displaced by one that is being inserted, and back. */
struct flicker {
	uint64_t *slot;
	uint64_t words[2];
	_Atomic bool stop;
};

static void *
run_flicker(void *context)
{
	struct flicker *f = context;

	for (unsigned i = 0; !f->stop; i++)
		(void)shm_cas64(f->slot, f->words[i % 2], f->words[1 - i % 2]);
	return NULL;
}

static void
scan_shows_nothing_tentative(void **state)
{
	struct shmcache *cache = test_cache_of_one_window();
	struct flicker f = { .stop = false };
	struct scan_copy copy = { .buffer = NULL };
	unsigned ghosts = 0;
	struct call call;
	struct found found;
	pthread_t thread;

	(void)state;
	test_set_ok(cache, "k", "value");
	found = test_find(cache, "k");
	call = test_enter(cache);
	f.slot = &call.m->slots[found.slot];
	f.words[0] = found.word;
	f.words[1] =
	    test_write_unlinked(&call, "ghost", "value") | INDEX_TENTATIVE;
	assert_int_equal(pthread_create(&thread, NULL, run_flicker, &f), 0);
	for (unsigned i = 0; i < 2000000; i++)
		ghosts +=
		    scan_copy_slot(&call, found.slot, false, &copy) == 1 &&
		    copy.entry.key_bytes != 1;
	f.stop = true;
	assert_int_equal(pthread_join(thread, NULL), 0);
	call_leave();
	free(copy.buffer);
	assert_int_equal(ghosts, 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
strict_options_must_be_those_of_the_cache(void **state)
{
	struct shmcache_options o = test_options();
	struct shmcache *cache = test_cache_of(&o), *same = NULL;

	(void)state;
	o.open_mode = SHMCACHE_OPEN_OR_CREATE;
	o.strict = 1;
	assert_int_equal(shmcache_open(cache->path, &o, &same), 0);
	assert_int_equal(shmcache_close(same), 0);
	o.peer_slots = 0;
	assert_int_equal(shmcache_open(cache->path, &o, &same), 0);
	assert_int_equal(shmcache_close(same), 0);
	o.policy = NULL; /* whatever it is */
	assert_int_equal(shmcache_open(cache->path, &o, &same), 0);
	assert_int_equal(shmcache_close(same), 0);
	o.capacity_bytes *= 2;
	assert_int_equal(
	    shmcache_open(cache->path, &o, &same), SHMCACHE_EOPTIONS);
	assert_non_null(strstr(shmcache_last_error(), "capacity_bytes"));
	o.capacity_bytes = 0;
	o.default_ttl_ms = 5;
	assert_int_equal(
	    shmcache_open(cache->path, &o, &same), SHMCACHE_EOPTIONS);
	assert_non_null(strstr(shmcache_last_error(), "default_ttl_ms"));
	o.default_ttl_ms = 0;
	o.latency_sample = SHMCACHE_SAMPLE_OFF;
	assert_int_equal(
	    shmcache_open(cache->path, &o, &same), SHMCACHE_EOPTIONS);
	o.latency_sample = 1000;
	assert_int_equal(shmcache_open(cache->path, &o, &same), 0);
	assert_int_equal(shmcache_close(same), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
listed_owners_are_trusted(void **state)
{
	struct shmcache_options o = test_options();
	struct shmcache *cache = test_cache_of(&o), *other = NULL;
	const uint32_t owners[] = { 4711, 65534 };

	(void)state;
	if (geteuid() != 0)
		skip();
	o.open_mode = SHMCACHE_ATTACH;
	assert_int_equal(chown(cache->path, 65534, 65534), 0);
	assert_int_equal(
	    shmcache_open(cache->path, &o, &other), SHMCACHE_EOWNER);
	o.owners = owners;
	o.owner_count = 1;
	assert_int_equal(
	    shmcache_open(cache->path, &o, &other), SHMCACHE_EOWNER);
	o.owner_count = 2;
	assert_int_equal(shmcache_open(cache->path, &o, &other), 0);
	assert_int_equal(shmcache_close(other), 0);
	o.owners = NULL;
	assert_int_equal(shmcache_open(cache->path, &o, &other), -EINVAL);
	assert_int_equal(shmcache_remove(cache->path), SHMCACHE_EOWNER);
	o.owners = owners;
	assert_int_equal(shmcache_remove_with(cache->path, &o), 0);
	assert_int_equal(shmcache_is_available(cache), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static int
count_visit(void *context, const struct shmcache_entry *entry)
{
	unsigned *count = context;

	*count += entry->key_bytes == 3 && memcmp(entry->key, "hot", 3) == 0;
	return 0;
}

static void
calls_are_sampled(void **state)
{
	struct shmcache_options o = test_options();
	struct shmcache *cache;
	struct shmcache_latency latency;
	struct shmcache_peer_info peer;
	size_t peers = 0;
	unsigned count = 0;

	(void)state;
	o.latency_sample = 1;
	cache = test_cache_of(&o);
	test_set_ok(cache, "hot", "v");
	for (unsigned i = 0; i < 100; i++)
		test_read(cache, "hot");
	assert_int_equal(
	    shmcache_latency(cache, SHMCACHE_LATENCY_GET, &latency), 0);
	assert_int_equal(latency.samples, 100);
	assert_int_equal(
	    shmcache_latency(cache, SHMCACHE_LATENCY_SET, &latency), 0);
	assert_int_equal(latency.samples, 1);
	assert_int_equal(
	    shmcache_hot_keys(cache, count_visit, &count), LATENCY_HOT);
	assert_int_equal(count, LATENCY_HOT);
	assert_int_equal(shmcache_peers(cache, &peer, 1, &peers), 0);
	assert_int_equal(peers, 1);
	assert_int_equal(peer.pid, getpid());
	assert_int_equal(peer.operations, 101);
	assert_int_equal(peer.alive, 1);
	assert_in_range(peer.idle_ms, 0, 60000);
	assert_int_equal(shmcache_close(cache), 0);
	o.latency_sample = 1024;
	cache = test_cache_of(&o);
	for (unsigned i = 0; i < 100; i++)
		test_set_ok(cache, "hot", "v");
	assert_int_equal(
	    shmcache_latency(cache, SHMCACHE_LATENCY_SET, &latency), 0);
	assert_int_equal(latency.samples, 0);
	assert_int_equal(shmcache_close(cache), 0);
	o.latency_sample = SHMCACHE_SAMPLE_OFF;
	cache = test_cache_of(&o);
	test_set_ok(cache, "hot", "v");
	assert_int_equal(
	    shmcache_latency(cache, SHMCACHE_LATENCY_SET, &latency), 0);
	assert_int_equal(latency.samples, 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static int
check_name(void *name, const struct shmcache_entry *entry)
{
	assert_int_equal(entry->key_bytes, strlen(name));
	assert_memory_equal(entry->key, name, entry->key_bytes);
	return 0;
}

/* The bits of a key's hash that its word has. */
static uint64_t
tag_of(struct shmcache *cache, const char *name)
{
	struct call call = test_enter(cache);
	struct key key;

	test_hash(&call, name, &key);
	call_leave();
	return key.tag;
}

/* Wherever in its window it lies.  (A sample is of a tag: of two keys that have
   the same it may show the other.) */
static void
hot_keys_are_found_behind_others(void **state)
{
	struct shmcache_options o = test_options();
	char names[12][32], *name;
	struct shmcache *cache;
	unsigned count = 0;

	(void)state;
	o.latency_sample = 1;
	o.expected_items = 1; /* one window */
	cache = test_cache_of(&o);
	for (unsigned i = 0; count < TEST_COUNT_OF(names); i++) {
		bool is_new = true;

		test_key(names[count], "k", i);
		for (unsigned j = 0; j < count; j++)
			is_new &= tag_of(cache, names[j]) !=
				  tag_of(cache, names[count]);
		if (is_new)
			test_set_ok(cache, names[count++], "v");
	}
	for (unsigned i = 0; i < count; i++) {
		name = names[i];
		for (unsigned n = 0; n < LATENCY_HOT; n++)
			test_read(cache, name);
		assert_int_equal(
		    shmcache_hot_keys(cache, check_name, name), LATENCY_HOT);
	}
	assert_int_equal(shmcache_close(cache), 0);
}

/* Where another key has come to lie is nothing hot. */
static void
samples_of_what_is_gone_are_not_shown(void **state)
{
	struct shmcache_options o = test_options();
	struct shmcache *cache;
	unsigned count = 0;
	uint64_t slot;
	char name[32];

	(void)state;
	o.latency_sample = 1;
	cache = test_cache_of(&o);
	test_set_ok(cache, "hot", "v");
	test_read(cache, "hot");
	slot = test_find(cache, "hot").slot;
	assert_int_equal(shmcache_delete(cache, "hot", 3), 0);
	assert_int_equal(shmcache_hot_keys(cache, count_visit, &count), 0);
	for (unsigned i = 0; cache->mapping->slots[slot] == 0; i++)
		test_set_ok(cache, test_key(name, "cold", i), "v");
	assert_int_equal(shmcache_hot_keys(cache, count_visit, &count), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
latency_buckets_grow(void **state)
{
	uint64_t last = 0;

	(void)state;
	for (unsigned b = 0; b < SHMCACHE_LATENCY_BUCKETS; b++) {
		uint64_t bound = shmcache_latency_bound_ns(b);

		assert_true(bound > last);
		assert_true(b == 0 || b == SHMCACHE_LATENCY_BUCKETS - 1 ||
			    bound <= last + last / 4);
		last = bound;
	}
	assert_true(last == UINT64_MAX);
}

static void
extents_are_described(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_extent_info extents[64];
	uint64_t live = 0;
	size_t count = 0;

	(void)state;
	fill(cache, KEYS);
	assert_int_equal(shmcache_extents(cache, extents, 64, &count), 0);
	assert_int_equal(count, test_stats(cache).extents);
	for (size_t i = 0; i < count; i++) {
		live += extents[i].live_bytes;
		assert_true(extents[i].live_bytes <= extents[i].used_bytes);
		if (extents[i].used_bytes > 0)
			assert_in_range(extents[i].age_ms, 0, 60000);
	}
	assert_int_equal(live, test_stats(cache).live_bytes);
	/* Pins that a dead peer left are nobody's. */
	shm_peer_table(cache->mapping->segment)[20].pins[SHM_PIN_ENTRY] = 1 + 1;
	assert_int_equal(shmcache_extents(cache, extents, 64, &count), 0);
	assert_int_equal(extents[1].pins, 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(scan_sees_everything_once),
	cmocka_unit_test(scan_goes_on_from_its_cursor),
	cmocka_unit_test(cursors_of_others_are_refused),
	cmocka_unit_test(prefixes_and_globs_choose),
	cmocka_unit_test(globs_match_as_documented),
	cmocka_unit_test(globs_match_by_definition),
	cmocka_unit_test(globs_take_bounded_time),
	cmocka_unit_test(read_only_handles_read),
	cmocka_unit_test(max_items_is_never_passed),
	cmocka_unit_test(scan_shows_nothing_tentative),
	cmocka_unit_test(strict_options_must_be_those_of_the_cache),
	cmocka_unit_test(listed_owners_are_trusted),
	cmocka_unit_test(calls_are_sampled),
	cmocka_unit_test(hot_keys_are_found_behind_others),
	cmocka_unit_test(samples_of_what_is_gone_are_not_shown),
	cmocka_unit_test(latency_buckets_grow),
	cmocka_unit_test(extents_are_described),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
