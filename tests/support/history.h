/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * history.h - is what several processes saw of one key explained by some order?
 *
 * Each operation is noted with the time just before it was called and the time
 * just after it returned, and with what it gave.  A history is linearizable
 * (Herlihy and Wing 1990) if each operation can be put at one instant between
 * its two times so that, one after the other, they give just that.
 *
 * The search is Wing and Gong's, made just in time (Lowe 2017): it goes through
 * the calls and returns in the order of their times and keeps every
 * configuration that is possible so far: {what the key holds, which of the
 * calls under way have taken effect}.  When a call returns, each configuration
 * in which it has no effect yet is carried on by every sequence of calls under
 * way that ends with it.  If none is left, no order explains the history.
 *
 *   - A cache may evict: whoever found nothing may be right at any time, but
 *     then nothing is there until somebody writes.  So an old value after a
 *     miss is a violation, and a miss is none.  (`may_evict`)
 *   - Of an operation whose process was killed it is not known whether it took
 *     effect.  If it did, then before the process was seen to be dead: that is
 *     its time of return.
 *
 * What a key holds is a number: see history_value().
 */
#ifndef TESTS_SUPPORT_HISTORY_H
#define TESTS_SUPPORT_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum history_kind {
	HISTORY_GET,
	HISTORY_SET,
	HISTORY_ADD,
	HISTORY_REPLACE,
	HISTORY_CAS,
	HISTORY_DELETE,
	HISTORY_INCR,
	HISTORY_APPEND,
	HISTORY_PREPEND,
	HISTORY_INVALIDATE, /* a flush, or of a tag that the key has */
	HISTORY_KINDS
};

enum history_result {
	HISTORY_PENDING = 0, /* its process was killed */
	HISTORY_DONE,        /* found, stored, deleted, counted */
	HISTORY_ABSENT,      /* there was nothing */
	HISTORY_PRESENT,     /* add: there was something; cas: another value */
	HISTORY_WITHOUT      /* refused for another reason: no effect */
};

struct history_event {
	uint64_t key;
	uint64_t called_ns; /* 0: not filled in yet */
	uint64_t returned_ns;
	uint64_t argument; /* what it writes, as history_value(); incr: what it
			      adds */
	uint64_t seen;     /* get, incr: what it gave; cas: what it expects */
	uint8_t kind;
	uint8_t result;
};

/* What a key holds: 0 nothing.  Text is made of chunks, each with a number of
   its own; appending and prepending them leads to another number. */
uint64_t history_value(uint64_t chunk);
uint64_t history_appended(uint64_t value, uint64_t chunk);
uint64_t history_prepended(uint64_t value, uint64_t chunk);
uint64_t history_counter(int64_t value);

/* Chunks in a value that is text. */
unsigned history_chunks(uint64_t value);

#define HISTORY_CHUNKS_MAX 100u

struct history_verdict {
	uint64_t checked; /* operations */
	uint64_t keys;    /* histories */
	uint64_t killed;  /* of the operations */
	uint64_t widest;  /* most configurations at one time */
	bool violated;
	char text[1024]; /* what can't be explained, and what led there */
};

/*
 * Check the events, which are sorted on the way, key by key; stops at the first
 * history that no order explains.  Nothing is held by any key in the beginning.
 */
void history_check(struct history_event *events, size_t count, bool may_evict,
    struct history_verdict *verdict);

#endif /* TESTS_SUPPORT_HISTORY_H */
