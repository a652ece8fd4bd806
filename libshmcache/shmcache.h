/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shmcache.h - one cache in memory, shared by the processes of one host
 *
 * A cache is a segment of shared memory with a name.  Every process that opens
 * the name sees the same entries.  A get makes no system call and takes no
 * lock; a process that is killed or stopped anywhere, within a call too, does
 * not hurt the others.
 *
 * Results.  Calls return 0 (or, where said, 1 for yes and 0 for no), else a
 * negative number: a SHMCACHE_E... constant or a negated errno.  Both are
 * turned into text by shmcache_strerror().  Outputs are written on success
 * only; the exceptions are said where they are.
 *
 * Threads.  Every call may be made by any number of threads at once, on the
 * same handle, but for shmcache_close(): after it any use of the handle is
 * undefined, as after free().
 *
 * fork().  A handle that was opened before fork() works in the child, with the
 * credentials that the child has when fork() returns.  A child that cannot
 * attach (no process slot, no descriptor) gets that error from each call, and
 * tries again now and then.  Items pinned by the parent are void in the child:
 * unpinning one there is SHMCACHE_ESTALE.
 *
 * Signals.  No call may be made from a signal handler that interrupts another
 * call in the same thread; one that is made all the same returns
 * SHMCACHE_EDEADLK and does nothing.
 *
 * Keys are 1 to 65,535 bytes of any content.  Times to live are in
 * milliseconds: 0 is the cache's default, SHMCACHE_TTL_NONE is "never expires",
 * other negative numbers are -EINVAL.  An entry is never returned later than
 * one tick of the coarse clock (stats: clock_tick_ns) after it expired; it may
 * expire a tick early.  The
 * clock stands still while the machine is suspended.
 */
#ifndef SHMCACHE_H
#define SHMCACHE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHMCACHE_TTL_NONE      (-1)
#define SHMCACHE_KEY_BYTES_MAX 65535

/* Results.  The numbers are part of the ABI. */
enum shmcache_error {
	SHMCACHE_ENOENT = -5001,     /* a miss: no such entry */
	SHMCACHE_EBUFFER = -5002,    /* the buffer is smaller than the value */
	SHMCACHE_EKEY = -5003,       /* key empty or longer than 65,535 bytes */
	SHMCACHE_ETOOBIG = -5004,    /* key and value above max_entry_bytes */
	SHMCACHE_EBUSY = -5006,      /* all memory or an item is in use */
	SHMCACHE_EPEERS = -5007,     /* every peer slot is taken */
	SHMCACHE_EPROCESSES = -5008, /* every process slot is taken */
	SHMCACHE_EPINS = -5009,      /* this thread holds four items already */
	SHMCACHE_EDEADLK = -5010,    /* called from within another call */
	SHMCACHE_ESTALE = -5011,   /* the item belongs to the parent process */
	SHMCACHE_EREMOVED = -5012, /* the cache was removed: open it anew */
	SHMCACHE_ECORRUPT = -5013, /* the segment is damaged */

	SHMCACHE_ENOCACHE = -5020,    /* no cache of that name */
	SHMCACHE_EEXIST = -5021,      /* the name is taken */
	SHMCACHE_ENAME = -5022,       /* not a valid name or path */
	SHMCACHE_EFILETYPE = -5023,   /* a symlink, FIFO, directory, ... */
	SHMCACHE_EOWNER = -5024,      /* the file belongs to another user */
	SHMCACHE_EFILESYSTEM = -5025, /* the path is not on a tmpfs */
	SHMCACHE_ENOTCACHE = -5026,   /* the file is not a cache */
	SHMCACHE_EVERSION = -5027,    /* made by an older or newer version */
	SHMCACHE_ELAYOUT = -5028,   /* made by another build of this version */
	SHMCACHE_ECAPACITY = -5029, /* capacity missing, or too small */
	SHMCACHE_EKERNEL = -5030,   /* the kernel is older than Linux 4.14 */
	SHMCACHE_ENOPROC = -5031    /* /proc is not mounted */
};

/* Text for any result of this library.  Never NULL; static. */
const char *shmcache_strerror(int error);

/*
 * More about the last call of this thread that failed (which limit, which
 * file), or the plain text of its error where there is no more to say.  The
 * string lives until the thread's next failing call.
 */
const char *shmcache_last_error(void);

/* The library's version, "MAJOR.MINOR.PATCH". */
const char *shmcache_version(void);

struct shmcache;

enum shmcache_open_mode {
	SHMCACHE_OPEN_OR_CREATE = 0, /* attach, or create if there is none */
	SHMCACHE_ATTACH,             /* attach only */
	SHMCACHE_CREATE_EXCLUSIVE    /* create; a taken name is an error */
};

/*
 * Options of shmcache_open().  Start from SHMCACHE_OPTIONS_INIT; 0 in any field
 * is the default.  They count at creation only, but for `open_mode` and
 * `any_owner`: who attaches gets the cache as it is (see shmcache_stats()).
 */
struct shmcache_options {
	size_t struct_bytes;      /* sizeof(struct shmcache_options) */
	uint64_t capacity_bytes;  /* all of the segment; needed to create */
	uint64_t expected_items;  /* capacity_bytes / 256 */
	uint64_t max_entry_bytes; /* a quarter of an extent */
	uint64_t extent_bytes;    /* power of two near capacity_bytes / 256 */
	int64_t default_ttl_ms;   /* SHMCACHE_TTL_NONE */
	uint32_t peer_slots;      /* threads that may attach: 512 */
	uint32_t process_slots;   /* processes that may attach: 256 */
	uint32_t mode;            /* permissions of the segment: 0600 */
	uint32_t open_mode;       /* enum shmcache_open_mode */
	uint32_t any_owner; /* attach to a cache of another user than root or
			       oneself, as its mode allows: 0 no, 1 yes */
	uint32_t reserved;  /* 0 */
};

#define SHMCACHE_OPTIONS_INIT                                                  \
	{                                                                      \
		.struct_bytes = sizeof(struct shmcache_options)                \
	}

/*
 * Open the cache `name`.  A name is 1 to 200 bytes without slash or control
 * characters, and names /dev/shm/shmcache.NAME; one that starts with a slash
 * is the path of a file in an existing directory of a tmpfs.  `options` may be
 * NULL, which attaches only.  The handle is freed by shmcache_close().
 *
 * Errors: ENAME, ENOCACHE (attach only), EEXIST (create exclusively),
 * ECAPACITY, EFILETYPE, EOWNER, EFILESYSTEM, ENOTCACHE, EVERSION, ELAYOUT,
 * ECORRUPT, EPROCESSES, EKERNEL, ENOPROC, EDEADLK, EREMOVED (somebody is
 * removing it at this moment: try again); -EINVAL (options), -ENOSPC
 * (no room in the file system; nothing is left behind), -EACCES, -ENOMEM,
 * -EMFILE and what else open(2) and mmap(2) return.
 */
int shmcache_open(const char *name, const struct shmcache_options *options,
    struct shmcache **cache_out);

/*
 * Detach and free the handle; the cache itself stays.  NULL is allowed.
 * Errors: EBUSY (an item is pinned; the handle stays open), EDEADLK.
 */
int shmcache_close(struct shmcache *cache);

/*
 * Remove the cache `name`: mark it removed, so that every get of those who
 * still have it open misses and their next call says EREMOVED; then unlink it. 
 * A removal that was killed is finished by the next open or removal.  The
 * memory is freed when the last of them has closed it.
 * Errors: as shmcache_open() of an existing cache; -EPERM, -EACCES (the
 * directory does not let the caller unlink it).
 */
int shmcache_remove(const char *name);

/*
 * Get a copy of the value.  If `buffer_bytes` is too small the result is
 * SHMCACHE_EBUFFER and *value_bytes_out the length needed.  `value_bytes_out`
 * and `client_flags_out` may be NULL; `buffer` may be NULL if `buffer_bytes`
 * is 0.  `buffer` may have been written on any result.
 * Errors: ENOENT, EBUFFER, EKEY, EDEADLK, EREMOVED, -EINVAL (no buffer); EBUSY
 * (no peer slot is free, and the entry was overwritten during each of many
 * tries).
 */
int shmcache_get(struct shmcache *cache, const void *key, size_t key_bytes,
    void *buffer, size_t buffer_bytes, size_t *value_bytes_out,
    uint32_t *client_flags_out);

/*
 * The same into memory from malloc(), which the caller frees.  One byte more
 * than the value is allocated, and it is 0.  Errors: also -ENOMEM.
 */
int shmcache_get_alloc(struct shmcache *cache, const void *key,
    size_t key_bytes, void **value_out, size_t *value_bytes_out,
    uint32_t *client_flags_out);

/* As shmcache_get(), but it counts nothing and leaves no reference mark. */
int shmcache_peek(struct shmcache *cache, const void *key, size_t key_bytes,
    void *buffer, size_t buffer_bytes, size_t *value_bytes_out,
    uint32_t *client_flags_out);

/* A value in place.  The fields but `pin` are the caller's to read. */
struct shmcache_item {
	const void *value; /* not aligned; not terminated */
	size_t value_bytes;
	uint32_t client_flags;
	uint32_t pin;      /* the library's */
	void *owner;       /* the library's */
	uint64_t owner_id; /* the library's */
};

/*
 * Get without copying.  The bytes stay valid and unchanged until
 * shmcache_unpin(), even if the entry is replaced, deleted or evicted
 * meanwhile; the memory around them (an extent) cannot be reused so long.  A
 * thread may hold four items; any thread of the process may unpin one.  While
 * about half of all extents are held so, an item is a private copy instead.
 * Errors: as shmcache_get(), and EPINS, EPEERS, -ENOMEM.
 */
int shmcache_get_pinned(struct shmcache *cache, const void *key,
    size_t key_bytes, struct shmcache_item *item_out);

/*
 * Errors: -EINVAL (not a pinned item), ESTALE (pinned by the parent, or through
 * another handle), EDEADLK.
 */
int shmcache_unpin(struct shmcache *cache, struct shmcache_item *item);

/* 1 if the key is there, 0 if not.  Errors: as shmcache_peek(). */
int shmcache_exists(struct shmcache *cache, const void *key, size_t key_bytes);

/*
 * Store a value, whether the key is there or not.  `value` may be NULL if
 * `value_bytes` is 0.  On failure the old value stays.
 * Errors: EKEY, ETOOBIG, EBUSY (every extent is in use by calls
 * that stand still), EPEERS, EDEADLK, EREMOVED, ECORRUPT, -EINVAL.
 */
int shmcache_set(struct shmcache *cache, const void *key, size_t key_bytes,
    const void *value, size_t value_bytes, int64_t ttl_ms,
    uint32_t client_flags);

/* Errors: ENOENT, EKEY, EPEERS, EDEADLK, EREMOVED. */
int shmcache_delete(struct shmcache *cache, const void *key, size_t key_bytes);

/* Give the entry a new time to live.  Errors: as shmcache_set(), and ENOENT. */
int shmcache_touch(
    struct shmcache *cache, const void *key, size_t key_bytes, int64_t ttl_ms);

/*
 * Time left in milliseconds, or SHMCACHE_TTL_NONE.
 * Errors: as shmcache_peek(), and EPEERS.
 */
int shmcache_ttl(struct shmcache *cache, const void *key, size_t key_bytes,
    int64_t *ttl_ms_out);

/*
 * Invalidate everything that is in the cache now, and every value whose set
 * has begun but not ended.  Takes the same short time however much there is.
 * Errors: EPEERS, EDEADLK, EREMOVED.
 */
int shmcache_flush(struct shmcache *cache);

#define COUNTER(name, text) uint64_t name;
#define GAUGE(name, text)   uint64_t name;
struct shmcache_stats {
#include <shmcache_stats.def>
};

/*
 * Statistics; `stats_bytes` is sizeof(struct shmcache_stats), so that the
 * struct can grow.  Counters are since creation.  Reads every slot of the
 * index: milliseconds for a million slots.
 * Errors: EDEADLK, EREMOVED, -EINVAL, -ENOMEM.
 */
int shmcache_stats(struct shmcache *cache, struct shmcache_stats *stats_out,
    size_t stats_bytes);

#ifdef __cplusplus
}
#endif

#endif /* SHMCACHE_H */
