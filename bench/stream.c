/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stream.c - keys in an order */
#include "bench/stream.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ZIPF_EXPONENT 0.99

/* Coprime to the powers of ten that items come in. */
#define SPREAD 2654435761ull

static uint64_t
mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static uint64_t
next_random(uint64_t *state)
{
	return mix(*state += 0x9e3779b97f4a7c15ull);
}

static double
next_unit(uint64_t *state)
{
	return (double)(next_random(state) >> 11) * 0x1.0p-53;
}

struct zipf {
	uint64_t items;
	double zeta;
	double eta;
	double alpha;
};

static void
zipf_init(struct zipf *z, uint64_t items)
{
	double zeta2 = 1 + pow(0.5, ZIPF_EXPONENT);

	z->items = items;
	z->zeta = 0;
	for (uint64_t i = 1; i <= items; i++)
		z->zeta += pow(1.0 / (double)i, ZIPF_EXPONENT);
	z->alpha = 1 / (1 - ZIPF_EXPONENT);
	z->eta = (1 - pow(2.0 / (double)items, 1 - ZIPF_EXPONENT)) /
		 (1 - zeta2 / z->zeta);
}

/* The rank, 0 the most popular. */
static uint64_t
zipf_next(const struct zipf *z, uint64_t *state)
{
	double u = next_unit(state), uz = u * z->zeta;
	uint64_t rank;

	if (uz < 1)
		return 0;
	if (uz < 1 + pow(0.5, ZIPF_EXPONENT))
		return 1;
	rank = (uint64_t)((double)z->items *
			  pow(z->eta * u - z->eta + 1, z->alpha));
	return rank < z->items ? rank : z->items - 1;
}

const char *
order_name(enum order order)
{
	const char *const names[] = { "uniform", "Zipf 0.99", "sequential",
		"one key" };

	return names[order];
}

size_t
stream_length(uint64_t items)
{
	size_t count = (size_t)items * 2;

	return count < 4096 ? 4096 : count > 4000000 ? 4000000 : count;
}

void
op_make(struct op *op, uint64_t item)
{
	static const char digits[] = "0123456789abcdef";
	uint64_t name = mix(item + 1);

	for (unsigned i = 0; i < KEY_BYTES; i++, name >>= 4)
		op->key[i] = digits[name & 15];
	op->item = (uint32_t)item;
	op->hint = 0;
}

void
value_make(void *value, size_t bytes, uint64_t item)
{
	uint64_t word = mix(item);
	uint8_t *to = value;

	for (size_t i = 0; i < bytes; i += sizeof(word))
		memcpy(to + i, &word,
		    bytes - i < sizeof(word) ? bytes - i : sizeof(word));
}

struct stream
stream_make(enum order order, uint64_t first, uint64_t items, size_t count,
    uint64_t seed)
{
	struct stream s = { malloc(count * sizeof(struct op)), count };
	struct zipf zipf = { 0 };

	if (s.ops == NULL) {
		fprintf(stderr, "bench: no memory\n");
		exit(1);
	}
	if (order == ZIPF)
		zipf_init(&zipf, items);
	for (size_t i = 0; i < count; i++) {
		uint64_t item = 0;

		if (order == UNIFORM)
			item = next_random(&seed) % items;
		else if (order == ZIPF)
			item = zipf_next(&zipf, &seed) * SPREAD % items;
		else if (order == SEQUENTIAL)
			item = i % items;
		op_make(&s.ops[i], first + item);
	}
	return s;
}

void
stream_free(struct stream *stream)
{
	free(stream->ops);
	stream->ops = NULL;
}
