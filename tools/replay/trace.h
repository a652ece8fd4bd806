/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * trace.h - recorded requests
 *
 * A trace is read as a whole.  Its keys, whatever they look like, are numbered
 * by first appearance.  (They are told apart by 64 bits of hash: among a
 * million keys two fall together once in 30 million traces.)
 *
 * What is odd but can be replayed is counted, so that it can be said; what
 * cannot be understood is an error that names the line.
 */
#ifndef REPLAY_TRACE_H
#define REPLAY_TRACE_H

#include "tools/replay/recorded.h"

#include <stddef.h>
#include <stdint.h>

enum trace_format {
	TRACE_AUTO,
	TRACE_OURS,   /* timestamp_s,key,size_bytes,ttl_s,op; # remarks */
	TRACE_ORACLE, /* libCacheSim's oracleGeneral: 24-byte records */
	TRACE_CSV,    /* libCacheSim's csv: time,key,size, further columns */
	TRACE_LIS,    /* ARC's: first block, count, unused, number */
	TRACE_KEYS    /* a key in each line */
};

enum trace_op {
	OP_GET,
	OP_SET,
	OP_DELETE,
	OP_MISS,  /* a get; what it asks for is nowhere, so it is not stored */
	OP_TOUCH, /* from here on it lives for ttl_s; no use of it */
	OP_INCR,  /* a use, and no get; what is not there is stored */
	OP_FLUSH  /* of everything; has no key */
};

struct request {
	uint64_t time_ms;
	uint32_t key;         /* from 0 on */
	uint32_t value_bytes; /* 0: unknown */
	uint32_t ttl_s;       /* 0: none */
	uint32_t op;
};

struct trace {
	struct request *request;
	size_t count;
	uint32_t keys;
	enum trace_format format;
	uint64_t gets;
	uint64_t sizes_unknown;
	uint64_t sizes_cut;    /* above the limit given, and cut to it */
	uint64_t out_of_order; /* times before the one before: that is taken */
	uint64_t with_ttl;
	uint64_t flushes;
	struct recorded recorded;
};

static inline bool
trace_is_get(const struct request *r)
{
	return r->op == OP_GET || r->op == OP_MISS;
}

/* May its size matter? */
static inline bool
trace_stores(const struct request *r)
{
	return r->op == OP_GET || r->op == OP_SET || r->op == OP_INCR;
}

/* Of all keys, the share that the trace has. */
static inline double
trace_share(const struct trace *trace)
{
	return trace->recorded.share > 0 ? trace->recorded.share : 1;
}

/* The format of that name, or -1. */
int trace_format_named(const char *name);
const char *trace_format_name(enum trace_format format);

/*
 * Read the trace at `path` ("-": standard input; xz is unpacked).  True, or
 * false with the reason, which names the file, in `why`.
 */
int trace_read(struct trace *trace, const char *path, enum trace_format format,
    char *why, size_t why_bytes);
void trace_free(struct trace *trace);

/*
 * See to the sizes.  `unit_bytes` != 0: all are that.  Else those that are
 * unknown are drawn for each key from a fixed distribution, and none is above
 * `most_bytes`.
 */
void trace_settle_sizes(
    struct trace *trace, uint32_t unit_bytes, uint32_t most_bytes);

/* Forget operations and times to live: every request for a key is a get. */
void trace_only_gets(struct trace *trace);

/* Keep the keys of a share of all keys (spatial sampling).  -1: no memory. */
int trace_sample(struct trace *trace, double share);

#endif /* REPLAY_TRACE_H */
