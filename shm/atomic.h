/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * atomic.h - the only memory-order primitives of the project
 *
 * Everything that is read or written by several processes at once goes through
 * these functions; no other file names ck_pr or a compiler builtin.
 *
 *   shm_load*            relaxed: the value, no order
 *   shm_load*_acquire    nothing after it moves before it
 *   shm_store*           relaxed
 *   shm_store*_release   nothing before it moves after it
 *   shm_cas64            compare and swap; a full fence, whether it wins or not
 *   shm_faa64            fetch and add; a full fence
 *   shm_cas128           compare and swap of two words; a full fence
 *   shm_publish64        a store followed by a full fence
 *   shm_match_line       which of a line's words look so; no order: a hint
 *   shm_fence            a full (sequentially consistent) fence
 *   shm_fence_acquire    loads before it are done before loads after it
 *   shm_barrier          the compiler moves nothing across it; no instruction
 *
 * Two builds.  The normal one is Concurrency Kit: on x86-64 its atomic
 * read-modify-writes are full fences, elsewhere they are relaxed, hence the
 * fences around them here.  ThreadSanitizer sees neither inline assembly nor
 * fences: its build uses the compiler's builtins, and a fence becomes a
 * read-modify-write of one word that all threads share.  shm_cas128 is ck's in
 * both (a compiler may call libatomic, which locks): nothing but the two words
 * themselves is ever published by it.
 *
 * shm_publish64 is `xchg` on x86-64: 2.9 ns, where a plain store is 1.4 and
 * `mfence` 25.  On AArch64 it must be STR; DMB ISH: a load-linked/store-
 * conditional exchange followed by a plain load lets the load pass the store.
 *
 * Legend of the edge labels that comments elsewhere refer to (the table with
 * both ends of each is docs/concurrency.md):
 *   P  pin published     -> re-check        against  unlink -> scan
 *   R  pin released      -> scan reads it, the memory is reused
 *   L  entry filled      -> linked          -> found by a reader
 *   S  entry filled      -> start bit       -> found by a walk
 *   X  extent state      -> the next owner of its bytes
 *   C  peer claimed      -> counted by a scan
 */
#ifndef SHM_ATOMIC_H
#define SHM_ATOMIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SANITIZE_THREAD__)
#define SHM_ATOMIC_BUILTINS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SHM_ATOMIC_BUILTINS 1
#endif
#endif
#ifndef SHM_ATOMIC_BUILTINS
#define SHM_ATOMIC_BUILTINS 0
#endif

#include <ck_pr.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* Of the path of a get, and small there: in place, whatever the compiler thinks
   of the size of its callers. */
#define SHM_INLINE static inline __attribute__((always_inline))

#if SHM_ATOMIC_BUILTINS

static inline uint64_t
shm_load64(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline uint64_t
shm_load64_acquire(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static inline void
shm_store64(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static inline void
shm_store64_release(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static inline void
shm_publish64(uint64_t *word, uint64_t value)
{
	(void)__atomic_exchange_n(word, value, __ATOMIC_SEQ_CST);
}

static inline bool
shm_cas64(uint64_t *word, uint64_t expected, uint64_t desired)
{
	return __atomic_compare_exchange_n(word, &expected, desired, false,
	    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static inline uint64_t
shm_faa64(uint64_t *word, uint64_t delta)
{
	return __atomic_fetch_add(word, delta, __ATOMIC_SEQ_CST);
}

static inline void *
shm_load_pointer_acquire(void *const *pointer)
{
	return __atomic_load_n(pointer, __ATOMIC_SEQ_CST);
}

static inline void
shm_store_pointer_release(void **pointer, void *value)
{
	__atomic_store_n(pointer, value, __ATOMIC_SEQ_CST);
}

static inline uint32_t
shm_load32(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline void
shm_store32(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static inline bool
shm_cas32(uint32_t *word, uint32_t expected, uint32_t desired)
{
	return __atomic_compare_exchange_n(word, &expected, desired, false,
	    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static inline uint16_t
shm_load16(const uint16_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline uint8_t
shm_load8(const uint8_t *byte)
{
	return __atomic_load_n(byte, __ATOMIC_RELAXED);
}

static inline void
shm_store16(uint16_t *word, uint16_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static inline void
shm_store8(uint8_t *byte, uint8_t value)
{
	__atomic_store_n(byte, value, __ATOMIC_RELAXED);
}

static inline void
shm_pause(void)
{
}

extern uint64_t shm_tsan_fence_word;

static inline void
shm_fence(void)
{
	(void)__atomic_fetch_add(&shm_tsan_fence_word, 1, __ATOMIC_SEQ_CST);
}

static inline void
shm_fence_acquire(void)
{
	shm_fence();
}

/* Bytes that an unpinned reader may be reading at the same time. */
static inline void
shm_write_bytes(void *to, const void *from, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		shm_store8((uint8_t *)to + i, ((const uint8_t *)from)[i]);
}

#else /* Concurrency Kit */

#if !defined(__x86_64__) && !defined(CK_MD_RMO)
#error "ck is configured for stronger memory ordering than this processor has"
#endif

static inline uint64_t
shm_load64(const uint64_t *word)
{
	return ck_pr_load_64(word);
}

static inline uint64_t
shm_load64_acquire(const uint64_t *word)
{
	uint64_t value = ck_pr_load_64(word);

	ck_pr_fence_acquire();
	return value;
}

static inline void
shm_store64(uint64_t *word, uint64_t value)
{
	ck_pr_store_64(word, value);
}

static inline void
shm_store64_release(uint64_t *word, uint64_t value)
{
	ck_pr_fence_release();
	ck_pr_store_64(word, value);
}

static inline void *
shm_load_pointer_acquire(void *const *pointer)
{
	void *value = ck_pr_load_ptr(pointer);

	ck_pr_fence_acquire();
	return value;
}

static inline void
shm_store_pointer_release(void **pointer, void *value)
{
	ck_pr_fence_release();
	ck_pr_store_ptr(pointer, value);
}

static inline void
shm_publish64(uint64_t *word, uint64_t value)
{
#if defined(__x86_64__)
	(void)ck_pr_fas_64(word, value);
#else
	ck_pr_fence_release();
	ck_pr_store_64(word, value);
	ck_pr_fence_memory();
#endif
}

/* A full fence where the read-modify-write itself is none. */
static inline void
shm_fence_rmw(void)
{
#if !defined(__x86_64__)
	ck_pr_fence_memory();
#endif
}

static inline bool
shm_cas64(uint64_t *word, uint64_t expected, uint64_t desired)
{
	bool won;

	shm_fence_rmw();
	won = ck_pr_cas_64(word, expected, desired);
	shm_fence_rmw();
	return won;
}

static inline uint64_t
shm_faa64(uint64_t *word, uint64_t delta)
{
	uint64_t before;

	shm_fence_rmw();
	before = ck_pr_faa_64(word, delta);
	shm_fence_rmw();
	return before;
}

static inline uint32_t
shm_load32(const uint32_t *word)
{
	return ck_pr_load_32(word);
}

static inline void
shm_store32(uint32_t *word, uint32_t value)
{
	ck_pr_store_32(word, value);
}

static inline bool
shm_cas32(uint32_t *word, uint32_t expected, uint32_t desired)
{
	bool won;

	shm_fence_rmw();
	won = ck_pr_cas_32(word, expected, desired);
	shm_fence_rmw();
	return won;
}

static inline uint16_t
shm_load16(const uint16_t *word)
{
	return ck_pr_load_16(word);
}

static inline uint8_t
shm_load8(const uint8_t *byte)
{
	return ck_pr_load_8(byte);
}

static inline void
shm_store16(uint16_t *word, uint16_t value)
{
	ck_pr_store_16(word, value);
}

static inline void
shm_store8(uint8_t *byte, uint8_t value)
{
	ck_pr_store_8(byte, value);
}

/* In a bounded wait: tell the processor. */
static inline void
shm_pause(void)
{
	ck_pr_stall();
}

static inline void
shm_fence(void)
{
	ck_pr_fence_memory();
}

static inline void
shm_fence_acquire(void)
{
	ck_pr_fence_acquire();
}

/* Bytes that an unpinned reader may be reading at the same time.  (In a damaged
   segment an entry may be carried on to a place that overlaps it.) */
static inline void
shm_write_bytes(void *to, const void *from, size_t bytes)
{
	if (bytes > 0)
		memmove(to, from, bytes);
}

#endif

static inline void
shm_barrier(void)
{
	ck_pr_barrier();
}

#define SHM_LINE_WORDS 8u

/*
 * Which words of an aligned cache line have these bits from `shift` (32 or
 * more) on: a bit for each.  Every word is looked at once, without order.  (The
 * upper half of a word lies within an aligned piece of 8 bytes of a vector
 * load, which is read at once.)
 */
#if defined(__SSE2__) && !SHM_ATOMIC_BUILTINS

SHM_INLINE __m128i
shm_high_halves(const uint64_t *words)
{
	const volatile __m128i *from = (const volatile void *)words;
	__m128 a = _mm_castsi128_ps(from[0]), b = _mm_castsi128_ps(from[1]);

	return _mm_castps_si128(_mm_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 3, 1)));
}

SHM_INLINE unsigned
shm_match_line(const uint64_t *line, uint64_t high, unsigned shift)
{
	const __m128i wanted = _mm_set1_epi32((int)(high >> shift));
	__m128i a = _mm_srli_epi32(shm_high_halves(line), (int)shift - 32);
	__m128i b = _mm_srli_epi32(shm_high_halves(line + 4), (int)shift - 32);
	__m128i same = _mm_packs_epi32(
	    _mm_cmpeq_epi32(a, wanted), _mm_cmpeq_epi32(b, wanted));

	return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(same, same)) & 0xff;
}

#else

static inline unsigned
shm_match_line(const uint64_t *line, uint64_t high, unsigned shift)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < SHM_LINE_WORDS; i++)
		bits |=
		    (unsigned)(shm_load64(&line[i]) >> shift == high >> shift)
		    << i;
	return bits;
}

#endif

/* Two words at once, at an address that is a multiple of 16: cmpxchg16b; LDXP
   and STXP, or CASP.  A plain load of either word is never torn. */
static inline bool
shm_cas128(
    uint64_t words[2], const uint64_t expected[2], const uint64_t desired[2])
{
	uint64_t old[2] = { expected[0], expected[1] };
	uint64_t new[2] = { desired[0], desired[1] };
	bool won;

#if !defined(__x86_64__)
	shm_fence();
#endif
	won = ck_pr_cas_64_2(words, old, new);
#if !defined(__x86_64__)
	shm_fence();
#endif
	return won;
}

/* Copy bytes that somebody may be overwriting; what was read is then judged. */
static inline void
shm_read_bytes(void *to, const void *from, size_t bytes)
{
	const uint8_t *source = from;
	uint8_t *target = to;

	for (; bytes > 0 && (uintptr_t)source % sizeof(uint64_t) != 0; bytes--)
		*target++ = shm_load8(source++);
	for (; bytes >= sizeof(uint64_t); bytes -= sizeof(uint64_t)) {
		uint64_t word = shm_load64((const void *)source);

		memcpy(target, &word, sizeof(word));
		source += sizeof(word);
		target += sizeof(word);
	}
	for (; bytes > 0; bytes--)
		*target++ = shm_load8(source++);
}

#endif /* SHM_ATOMIC_H */
