/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tags, snapshots, flushes: what is gone after an invalidation, what is not, and
 * what carries tags on.
 */
#include "libshmcache/expire.h"
#include "libshmcache/invalidate.h"
#include "tests/unit/cache_support.h"

#include <errno.h>
#include <stdlib.h>

static int
set_tagged(struct shmcache *cache, const char *key, const char *value,
    const struct shmcache_tag *tags, size_t tag_count,
    const struct shmcache_snapshot *snapshot)
{
	struct shmcache_set_options o = SHMCACHE_SET_OPTIONS_INIT;

	o.tags = tags;
	o.tag_count = tag_count;
	o.snapshot = snapshot;
	return shmcache_set_with(
	    cache, key, strlen(key), value, strlen(value), &o);
}

static int
set_one_tag(struct shmcache *cache, const char *key, const char *tag)
{
	const struct shmcache_tag tags[] = { { tag, strlen(tag) } };

	return set_tagged(cache, key, "value", tags, 1, NULL);
}

static void
invalidate(struct shmcache *cache, const char *tag)
{
	assert_int_equal(shmcache_invalidate_tag(cache, tag, strlen(tag)), 0);
}

/* Tags that fall on a word of the table for themselves, "t0" and so on. */
static void
name_tags(struct shmcache *cache, char (*names)[8], size_t count)
{
	struct call call = test_enter(cache);
	uint64_t *words[16];
	unsigned n = 0;

	for (size_t i = 0; i < count; n++) {
		size_t same = 0;

		(void)snprintf(names[i], sizeof(names[i]), "t%u", n);
		words[i] = invalidate_tag_word(call.m,
		    invalidate_tag_hash(call.m, names[i], strlen(names[i])));
		while (words[same] != words[i])
			same++;
		i += same == i;
	}
	call_leave();
}

static void
a_tag_takes_what_has_it(void **state)
{
	struct shmcache *cache = test_cache();
	char t[2][8];
	const struct shmcache_tag both[] = { { t[0], 2 }, { t[1], 2 } };

	(void)state;
	name_tags(cache, t, 2);
	assert_int_equal(set_one_tag(cache, "a", t[0]), 0);
	assert_int_equal(set_one_tag(cache, "b", t[1]), 0);
	assert_int_equal(set_tagged(cache, "ab", "v", both, 2, NULL), 0);
	test_set_ok(cache, "none", "v");
	invalidate(cache, t[0]);
	assert_true(test_lacks(cache, "a"));
	assert_true(test_lacks(cache, "ab"));
	assert_true(test_has(cache, "b", "value"));
	assert_true(test_has(cache, "none", "v"));
	assert_int_equal(set_one_tag(cache, "a", t[0]), 0);
	assert_true(test_has(cache, "a", "value"));
	assert_int_equal(shmcache_flush(cache), 0);
	assert_true(test_lacks(cache, "a"));
	assert_true(test_lacks(cache, "b"));
	assert_true(test_lacks(cache, "none"));
	assert_int_equal(shmcache_close(cache), 0);
}

static void
any_of_eight_tags(void **state)
{
	struct shmcache *cache = test_cache();
	char t[9][8];
	struct shmcache_tag tags[9];

	(void)state;
	name_tags(cache, t, 9);
	for (unsigned i = 0; i < 9; i++)
		tags[i] = (struct shmcache_tag){ t[i], strlen(t[i]) };
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(set_tagged(cache, "k", "v", tags, 8, NULL), 0);
		invalidate(cache, t[8]);
		assert_true(test_has(cache, "k", "v"));
		invalidate(cache, t[i]);
		assert_true(test_lacks(cache, "k"));
	}
	assert_int_equal(set_tagged(cache, "k", "v", tags, 9, NULL), -EINVAL);
	assert_string_equal(
	    shmcache_last_error(), "an entry can have 8 tags, not 9");
	assert_int_equal(shmcache_close(cache), 0);
}

static void
tags_are_checked(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_set_options o = SHMCACHE_SET_OPTIONS_INIT;
	const struct shmcache_tag empty[] = { { "", 0 } };
	const struct shmcache_tag null[] = { { NULL, 1 } };
	static const char zeroes[SHMCACHE_TAG_BYTES_MAX + 1];
	const struct shmcache_tag longest[] = { { zeroes,
	    SHMCACHE_TAG_BYTES_MAX } };
	const struct shmcache_tag longer[] = { { zeroes, sizeof(zeroes) } };

	(void)state;
	assert_int_equal(set_tagged(cache, "k", "v", empty, 1, NULL), -EINVAL);
	assert_string_equal(
	    shmcache_last_error(), "a tag must have 1 to 65535 bytes");
	assert_int_equal(set_tagged(cache, "k", "v", null, 1, NULL), -EINVAL);
	assert_int_equal(set_tagged(cache, "k", "v", longer, 1, NULL), -EINVAL);
	assert_int_equal(set_tagged(cache, "k", "v", NULL, 1, NULL), -EINVAL);
	assert_true(test_lacks(cache, "k"));
	assert_int_equal(set_tagged(cache, "k", "v", longest, 1, NULL), 0);
	assert_true(test_has(cache, "k", "v"));
	assert_int_equal(
	    shmcache_invalidate_tag(cache, zeroes, SHMCACHE_TAG_BYTES_MAX), 0);
	assert_true(test_lacks(cache, "k"));
	assert_int_equal(shmcache_invalidate_tag(cache, "", 0), -EINVAL);
	assert_int_equal(shmcache_invalidate_tag(cache, NULL, 1), -EINVAL);
	assert_int_equal(
	    shmcache_invalidate_tag(cache, zeroes, sizeof(zeroes)), -EINVAL);
	o.struct_bytes = 0;
	assert_int_equal(shmcache_set_with(cache, "k", 1, "v", 1, &o), -EINVAL);
	o.struct_bytes = sizeof(o) + 8;
	assert_int_equal(shmcache_set_with(cache, "k", 1, "v", 1, &o), -EINVAL);
	o.struct_bytes = sizeof(o);
	o.only_if = SHMCACHE_SET_IF_VERSION + 1;
	assert_int_equal(shmcache_set_with(cache, "k", 1, "v", 1, &o), -EINVAL);
	o.only_if = 0;
	assert_int_equal(
	    shmcache_set_with(cache, "k", 1, NULL, 1, &o), -EINVAL);
	assert_true(test_lacks(cache, "k"));
	assert_int_equal(shmcache_set_with(cache, "k", 1, "v", 1, NULL), 0);
	assert_true(test_has(cache, "k", "v"));
	assert_int_equal(shmcache_close(cache), 0);
}

static void
what_was_loaded_before_is_dead_on_arrival(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_snapshot snapshot, none;
	struct shmcache_stats stats;
	char t[2][8];
	const struct shmcache_tag tags[] = { { t[0], 2 } };

	(void)state;
	name_tags(cache, t, 2);
	assert_int_equal(shmcache_snapshot(cache, &snapshot), 0);
	assert_int_equal(set_tagged(cache, "k", "one", tags, 1, &snapshot), 0);
	assert_true(test_has(cache, "k", "one"));
	invalidate(cache, t[1]);
	assert_int_equal(set_tagged(cache, "k", "two", tags, 1, &snapshot), 0);
	assert_true(test_has(cache, "k", "two"));
	invalidate(cache, t[0]);
	assert_int_equal(set_one_tag(cache, "k", t[0]), 0);
	assert_int_equal(
	    set_tagged(cache, "k", "old", tags, 1, &snapshot), SHMCACHE_ESTALE);
	assert_true(test_has(cache, "k", "value")); /* the newer one stays */
	assert_int_equal(set_tagged(cache, "k", "two", NULL, 0, &snapshot), 0);
	assert_int_equal(shmcache_flush(cache), 0);
	assert_int_equal(
	    set_tagged(cache, "k", "old", NULL, 0, &snapshot), SHMCACHE_ESTALE);
	assert_true(test_lacks(cache, "k"));
	assert_int_equal(shmcache_snapshot(cache, &none), 0);
	none.seq++;
	assert_int_equal(set_tagged(cache, "k", "v", NULL, 0, &none), -EINVAL);
	none.seq--;
	none.segment_id ^= 1;
	assert_int_equal(
	    set_tagged(cache, "k", "v", NULL, 0, &none), SHMCACHE_ESTALE);
	assert_int_equal(shmcache_snapshot(cache, NULL), -EINVAL);
	assert_int_equal(shmcache_stats(cache, &stats, sizeof(stats)), 0);
	assert_int_equal(stats.stale_sets, 3);
	assert_int_equal(stats.invalidations, 2);
	assert_int_equal(stats.set_failures, 1);
	assert_int_equal(shmcache_close(cache), 0);
}

/* A set that was checked, and that an invalidation overtakes before it links. */
static void
what_is_being_stored_is_reached(void **state)
{
	struct shmcache *cache = test_cache();
	struct call call = test_enter(cache);
	struct entry_content content = { .key = "k",
		.key_bytes = 1,
		.value = "v",
		.value_bytes = 1,
		.seq = invalidate_now(call.m) };
	struct shm_place place;
	struct key key;

	(void)state;
	index_key(call.m, "k", 1, &key);
	assert_int_equal(
	    evict_reserve(&call, LOG_MAIN, entry_bytes(&content), &place), 0);
	entry_write(call.m, &place, &content);
	call_leave();
	assert_int_equal(shmcache_flush(cache), 0);
	call = test_enter(cache);
	assert_int_equal(index_put(&call, &key, index_word(&key, &place),
			     &(struct put_rule){ .only_new = false }),
	    PUT_NEW);
	shm_pin_clear(call.peer, SHM_PIN_TARGET);
	call_leave();
	assert_true(test_lacks(cache, "k"));
	assert_int_equal(shmcache_close(cache), 0);
}

static void
conditions_take_tags(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_set_options o = SHMCACHE_SET_OPTIONS_INIT;
	const struct shmcache_tag tags[] = { SHMCACHE_TAG("t") };
	char value[8];
	uint32_t flags;

	(void)state;
	o.tags = tags;
	o.tag_count = 1;
	o.client_flags = 7;
	o.ttl_ms = 100000;
	o.only_if = SHMCACHE_SET_IF_PRESENT;
	assert_int_equal(
	    shmcache_set_with(cache, "k", 1, "a", 1, &o), SHMCACHE_ENOENT);
	o.only_if = SHMCACHE_SET_IF_ABSENT;
	assert_int_equal(shmcache_set_with(cache, "k", 1, "a", 1, &o), 0);
	assert_int_equal(
	    shmcache_set_with(cache, "k", 1, "a", 1, &o), SHMCACHE_EPRESENT);
	o.only_if = SHMCACHE_SET_IF_VERSION;
	assert_int_equal(
	    shmcache_set_with(cache, "k", 1, "b", 1, &o), SHMCACHE_ECHANGED);
	assert_int_equal(shmcache_gets(cache, "k", 1, value, sizeof(value),
			     NULL, &flags, &o.version),
	    0);
	assert_int_equal(flags, 7);
	assert_int_equal(shmcache_set_with(cache, "k", 1, "b", 1, &o), 0);
	invalidate(cache, "t");
	assert_true(test_lacks(cache, "k"));
	o.only_if = SHMCACHE_SET_IF_ABSENT; /* an invalid one is none */
	assert_int_equal(shmcache_set_with(cache, "k", 1, "c", 1, &o), 0);
	assert_true(test_has(cache, "k", "c"));
	assert_int_equal(shmcache_close(cache), 0);
}

static void
tagged_number(struct shmcache *cache, const char *text)
{
	const struct shmcache_tag tags[] = { SHMCACHE_TAG("t"),
		SHMCACHE_TAG("u"), SHMCACHE_TAG("w") };

	assert_int_equal(set_tagged(cache, "k", text, tags, 3, NULL), 0);
}

/* Freezes the entry, so that what could go in place goes by replacing. */
static void
freeze(struct shmcache *cache)
{
	struct call call = test_enter(cache);
	struct entry_content content;
	struct found found;
	struct key key;

	index_key(call.m, "k", 1, &key);
	assert_true(index_find(&call, &key, SHM_PIN_ENTRY, &found));
	entry_carry(call.m, &found.entry, &content);
	shm_pin_clear(call.peer, SHM_PIN_ENTRY);
	call_leave();
}

static void
what_carries_content_on_keeps_tags(void **state)
{
	struct shmcache *cache = test_cache();
	int64_t value = 0;

	(void)state;
	tagged_number(cache, "1");
	assert_int_equal(shmcache_append(cache, "k", 1, "0", 1), 0);
	assert_true(test_has(cache, "k", "10"));
	invalidate(cache, "w");
	assert_true(test_lacks(cache, "k"));
	assert_int_equal(
	    shmcache_append(cache, "k", 1, "0", 1), SHMCACHE_ENOENT);

	tagged_number(cache, "5");
	assert_int_equal(shmcache_incr(cache, "k", 1, 2, NULL, 0, &value), 0);
	assert_int_equal(value, 7);
	freeze(cache);
	assert_int_equal(shmcache_incr(cache, "k", 1, 2, NULL, 0, &value), 0);
	assert_true(test_has(cache, "k", "9"));
	invalidate(cache, "u");
	assert_true(test_lacks(cache, "k"));
	value = 40;
	assert_int_equal(shmcache_incr(cache, "k", 1, 2, &value, 0, &value), 0);
	assert_int_equal(value, 40);

	tagged_number(cache, "x");
	freeze(cache);
	assert_int_equal(shmcache_touch(cache, "k", 1, 100000), 0);
	assert_true(test_has(cache, "k", "x"));
	assert_int_equal(shmcache_delete(cache, "other", 5), SHMCACHE_ENOENT);
	invalidate(cache, "t");
	assert_int_equal(
	    shmcache_touch(cache, "k", 1, 100000), SHMCACHE_ENOENT);

	tagged_number(cache, "x");
	test_set_ok(cache, "k", "y"); /* stores without tags */
	invalidate(cache, "t");
	assert_true(test_has(cache, "k", "y"));
	assert_int_equal(shmcache_close(cache), 0);
}

/* Copies of evictions: writes until the entry has moved, reading it meanwhile. */
static void
copies_keep_tags_and_seq(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_stats stats;
	uint64_t offset;
	unsigned n = 0;
	char key[16], filler[900];

	(void)state;
	memset(filler, 'f', sizeof(filler));
	tagged_number(cache, "kept");
	offset = test_find(cache, "k").entry.offset;
	while (test_find(cache, "k").entry.offset == offset) {
		assert_true(++n < 10000);
		test_read(cache, "k");
		(void)snprintf(key, sizeof(key), "filler %u", n);
		assert_int_equal(shmcache_set(cache, key, strlen(key), filler,
				     sizeof(filler), 0, 0),
		    0);
	}
	assert_int_equal(test_find(cache, "k").entry.tag_count, 3);
	assert_true(test_has(cache, "k", "kept"));
	invalidate(cache, "w");
	assert_true(test_lacks(cache, "k"));
	assert_int_equal(shmcache_stats(cache, &stats, sizeof(stats)), 0);
	assert_true(stats.second_chances > 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
a_sweep_unlinks_what_was_invalidated(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_sweep_result sweep;
	uint64_t items;

	(void)state;
	assert_int_equal(set_one_tag(cache, "a", "t"), 0);
	assert_int_equal(set_one_tag(cache, "b", "t"), 0);
	test_set_ok(cache, "c", "v");
	invalidate(cache, "t");
	assert_int_equal(shmcache_count(cache, &items), 0);
	assert_int_equal(items, 3);
	assert_int_equal(shmcache_sweep(cache, &sweep), 0);
	assert_int_equal(sweep.expired_entries, 2);
	assert_int_equal(shmcache_count(cache, &items), 0);
	assert_int_equal(items, 1);
	assert_int_equal(shmcache_sweep(cache, &sweep), 0);
	assert_int_equal(sweep.extents_visited, 0);
	assert_int_equal(
	    shmcache_verify(cache, SHMCACHE_VERIFY_STRICT, NULL, NULL), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
readers_only_see_invalidations(void **state)
{
	const char *name = test_name();
	struct shmcache_options o = test_options();
	struct shmcache *cache, *reader;
	struct shmcache_snapshot snapshot;

	(void)state;
	assert_int_equal(shmcache_open(name, &o, &cache), 0);
	o.open_mode = SHMCACHE_ATTACH;
	o.read_only = 1;
	assert_int_equal(shmcache_open(name, &o, &reader), 0);
	assert_int_equal(set_one_tag(cache, "k", "t"), 0);
	assert_true(test_has(reader, "k", "value"));
	assert_int_equal(
	    shmcache_invalidate_tag(reader, "t", 1), SHMCACHE_EREADONLY);
	assert_int_equal(
	    shmcache_flush_begin(reader, &snapshot), SHMCACHE_EREADONLY);
	assert_int_equal(shmcache_snapshot(reader, &snapshot), 0);
	assert_int_equal(
	    shmcache_flush_end(reader, &snapshot), SHMCACHE_EREADONLY);
	invalidate(cache, "t");
	assert_true(test_lacks(reader, "k"));
	assert_int_equal(shmcache_close(reader), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
words_are_never_lowered(void **state)
{
	struct shmcache *cache = test_cache();
	struct call call = test_enter(cache);
	uint64_t *word =
	    invalidate_tag_word(call.m, invalidate_tag_hash(call.m, "t", 1));

	(void)state;
	*word = 1000; /* as if another's invalidation had overtaken this one */
	invalidate_word(call.m, word);
	assert_int_equal(*word, 1000);
	assert_int_equal(invalidate_now(call.m), 1);
	*word = 0;
	invalidate_word(call.m, word);
	assert_int_equal(*word, 2);
	call_leave();
	assert_int_equal(shmcache_close(cache), 0);
}

/* What a loading call finds: the result, or the value's source. */
static int
begin_load(
    struct shmcache *cache, const char *key, struct shmcache_token *token)
{
	struct shmcache_value value = { .value = NULL };
	int error =
	    shmcache_begin_load(cache, key, strlen(key), NULL, &value, token);

	free(value.value);
	return error != 0 ? error : (int)value.source;
}

static int
fill(struct shmcache *cache, const char *key,
    const struct shmcache_token *token, int result)
{
	struct shmcache_load_options o = SHMCACHE_LOAD_OPTIONS_INIT;
	struct shmcache_loaded loaded = { .value = strdup("loaded"),
		.value_bytes = 6 };
	int error;

	o.negative_ttl_ms = 60000;
	error =
	    shmcache_fill(cache, key, strlen(key), token, result, &loaded, &o);
	free(loaded.value);
	return error;
}

/* Between the steps all is there; after the second only what was loaded after the
   first: neither what was stored in between and loaded before, nor what the source
   had not, nor what is filled or stored later still. */
static void
a_flush_in_two_steps_takes_what_is_from_before(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_snapshot before, begun;
	struct shmcache_token none, early, late, newer;

	(void)state;
	test_set_ok(cache, "old", "v");
	assert_int_equal(begin_load(cache, "none", &none), SHMCACHE_LEAD);
	assert_int_equal(fill(cache, "none", &none, SHMCACHE_ENOENT), 0);
	assert_int_equal(begin_load(cache, "none", &none), SHMCACHE_ENOENT);
	assert_int_equal(begin_load(cache, "early", &early), SHMCACHE_LEAD);
	assert_int_equal(begin_load(cache, "late", &late), SHMCACHE_LEAD);
	assert_int_equal(shmcache_snapshot(cache, &before), 0);
	assert_int_equal(shmcache_flush_begin(cache, &begun), 0);
	assert_int_equal(fill(cache, "early", &early, 0), 0);
	assert_int_equal(set_tagged(cache, "set", "v", NULL, 0, &before), 0);
	assert_int_equal(shmcache_touch(cache, "old", 3, 60000), 0);
	test_set_ok(cache, "new", "v");
	assert_int_equal(begin_load(cache, "newer", &newer), SHMCACHE_LEAD);
	assert_true(test_has(cache, "old", "v"));
	assert_true(test_has(cache, "early", "loaded"));
	assert_true(test_has(cache, "set", "v"));
	assert_int_equal(begin_load(cache, "none", &none), SHMCACHE_ENOENT);

	assert_int_equal(shmcache_flush_end(cache, &begun), 0);
	assert_true(test_lacks(cache, "old"));
	assert_true(test_lacks(cache, "early"));
	assert_true(test_lacks(cache, "set"));
	assert_int_equal(begin_load(cache, "none", &none), SHMCACHE_LEAD);
	assert_true(test_has(cache, "new", "v"));
	assert_int_equal(fill(cache, "late", &late, 0), SHMCACHE_ESTALE);
	assert_int_equal(
	    set_tagged(cache, "set", "v", NULL, 0, &before), SHMCACHE_ESTALE);
	assert_int_equal(fill(cache, "newer", &newer, 0), 0);
	assert_true(test_has(cache, "newer", "loaded"));
	assert_int_equal(shmcache_flush_end(cache, &begun), 0); /* no harm */
	assert_true(test_has(cache, "new", "v"));
	assert_int_equal(test_stats(cache).flushes, 2);
	assert_int_equal(shmcache_close(cache), 0);
}

/* An end that comes after a sweep is not missed by the next. */
static void
a_sweep_unlinks_what_a_late_end_flushed(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_sweep_result sweep;
	struct shmcache_snapshot begun;

	(void)state;
	test_set_ok(cache, "a", "v");
	assert_int_equal(shmcache_flush_begin(cache, &begun), 0);
	assert_int_equal(shmcache_sweep(cache, &sweep), 0);
	assert_int_equal(sweep.expired_entries, 0);
	assert_int_equal(shmcache_flush_end(cache, &begun), 0);
	assert_int_equal(shmcache_sweep(cache, &sweep), 0);
	assert_int_equal(sweep.expired_entries, 1);
	assert_int_equal(
	    shmcache_verify(cache, SHMCACHE_VERIFY_STRICT, NULL, NULL), 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
what_no_begin_gave_ends_no_flush(void **state)
{
	struct shmcache *cache = test_cache();
	struct shmcache_snapshot begun, wrong;

	(void)state;
	test_set_ok(cache, "k", "v");
	assert_int_equal(shmcache_flush_begin(cache, NULL), -EINVAL);
	assert_int_equal(shmcache_flush_end(cache, NULL), -EINVAL);
	assert_int_equal(shmcache_flush_begin(cache, &begun), 0);
	wrong = begun;
	wrong.seq++;
	assert_int_equal(shmcache_flush_end(cache, &wrong), -EINVAL);
	wrong.seq = 0;
	assert_int_equal(shmcache_flush_end(cache, &wrong), -EINVAL);
	wrong = begun;
	wrong.segment_id ^= 1;
	assert_int_equal(shmcache_flush_end(cache, &wrong), SHMCACHE_ESTALE);
	assert_true(test_has(cache, "k", "v"));
	assert_int_equal(test_stats(cache).flushes, 0);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
the_table_follows_expected_tags(void **state)
{
	const char *name = test_name();
	struct shmcache_options o = test_options();
	struct shmcache *cache, *other;
	struct call call;

	(void)state;
	o.capacity_bytes = 1u << 20;
	o.expected_tags = 3000;
	assert_int_equal(shmcache_open(name, &o, &cache), 0);
	call = test_enter(cache);
	assert_int_equal(call.m->tag_mask, 8191);
	call_leave();
	o.strict = 1;
	o.open_mode = SHMCACHE_OPEN_OR_CREATE;
	assert_int_equal(shmcache_open(name, &o, &other), 0);
	assert_int_equal(shmcache_close(other), 0);
	o.expected_tags = 3001;
	assert_int_equal(shmcache_open(name, &o, &other), SHMCACHE_EOPTIONS);
	o.expected_tags = (1ull << 31) + 1;
	assert_int_equal(shmcache_open(name, &o, &other), -EINVAL);
	assert_int_equal(shmcache_close(cache), 0);
}

static void
damaged_tags_are_a_miss(void **state)
{
	struct shmcache *cache = test_cache();
	struct call call;

	(void)state;
	assert_int_equal(set_one_tag(cache, "k", "t"), 0);
	test_find(cache, "k").entry.shared->flags |= 9u << ENTRY_TAGS_SHIFT;
	assert_true(test_lacks(cache, "k"));
	assert_int_equal(set_one_tag(cache, "l", "t"), 0);
	call = test_enter(cache);
	*invalidate_tag_word(call.m, invalidate_tag_hash(call.m, "t", 1)) =
	    UINT64_MAX;
	call_leave();
	assert_true(test_lacks(cache, "l"));
	assert_int_equal(shmcache_close(cache), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_tag_takes_what_has_it),
	cmocka_unit_test(any_of_eight_tags),
	cmocka_unit_test(tags_are_checked),
	cmocka_unit_test(what_was_loaded_before_is_dead_on_arrival),
	cmocka_unit_test(what_is_being_stored_is_reached),
	cmocka_unit_test(conditions_take_tags),
	cmocka_unit_test(what_carries_content_on_keeps_tags),
	cmocka_unit_test(copies_keep_tags_and_seq),
	cmocka_unit_test(a_sweep_unlinks_what_was_invalidated),
	cmocka_unit_test(readers_only_see_invalidations),
	cmocka_unit_test(words_are_never_lowered),
	cmocka_unit_test(a_flush_in_two_steps_takes_what_is_from_before),
	cmocka_unit_test(a_sweep_unlinks_what_a_late_end_flushed),
	cmocka_unit_test(what_no_begin_gave_ends_no_flush),
	cmocka_unit_test(the_table_follows_expected_tags),
	cmocka_unit_test(damaged_tags_are_a_miss),
};

int
main(void)
{
	return cmocka_run_group_tests(
	    tests, test_group_setup, test_group_teardown);
}
