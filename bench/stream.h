/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * stream.h - which keys, in which order
 *
 * A stream is made beforehand and gone through in a circle.  Uniform, or Zipf
 * with an exponent of 0.99 (Gray et al. 1994, as YCSB has it) with the popular
 * items spread over all.
 */
#ifndef BENCH_STREAM_H
#define BENCH_STREAM_H

#include "bench/engine.h"

enum order { UNIFORM, ZIPF, SEQUENTIAL, SAME };

struct stream {
	struct op *ops;
	size_t count;
};

const char *order_name(enum order order);

/* Items `first` to `first + items - 1`. */
struct stream stream_make(enum order order, uint64_t first, uint64_t items,
    size_t count, uint64_t seed);
void stream_free(struct stream *stream);

/* As many operations as see most of the items, and not more memory than need
   be. */
size_t stream_length(uint64_t items);

/* The key of an item. */
void op_make(struct op *op, uint64_t item);

/* What is stored under it: `bytes` that can be told from others'. */
void value_make(void *value, size_t bytes, uint64_t item);

#endif /* BENCH_STREAM_H */
