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
 * Removal.  When a cache has been removed, its handles stay: gets miss, writes
 * return SHMCACHE_EREMOVED, both without delay; and as soon as there is a cache
 * of that name again, every handle works with that one.
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
	SHMCACHE_ESTALE = -5011, /* the item is another process's or handle's,
				      the cursor or snapshot another cache's;
				      or what is to be stored was
				      invalidated since its snapshot */
	SHMCACHE_EREMOVED =
	    -5012, /* the cache was removed, and not made anew */
	SHMCACHE_ECORRUPT = -5013,   /* the segment is damaged */
	SHMCACHE_EPRESENT = -5014,   /* add: the key is there already */
	SHMCACHE_ECHANGED = -5015,   /* cas: the entry has another version */
	SHMCACHE_ENOTNUMBER = -5016, /* incr: not a whole number of 64 bits */
	SHMCACHE_EREADONLY = -5017,  /* the handle is for reading only */
	SHMCACHE_EFULL = -5018,      /* full of what may not be evicted */
	SHMCACHE_ELIMIT = -5019, /* there are as many loads as there may be */

	SHMCACHE_ENOCACHE = -5020,    /* no cache of that name */
	SHMCACHE_EEXIST = -5021,      /* the name is taken */
	SHMCACHE_ENAME = -5022,       /* not a valid name or path */
	SHMCACHE_EFILETYPE = -5023,   /* a symlink, FIFO, directory, ... */
	SHMCACHE_EOWNER = -5024,      /* the file belongs to another user */
	SHMCACHE_EFILESYSTEM = -5025, /* not on a tmpfs or hugetlbfs */
	SHMCACHE_ENOTCACHE = -5026,   /* the file is not a cache */
	SHMCACHE_EVERSION = -5027,    /* made by an older or newer version */
	SHMCACHE_ELAYOUT = -5028,   /* made by another build of this version */
	SHMCACHE_ECAPACITY = -5029, /* capacity missing, or too small */
	SHMCACHE_EKERNEL = -5030,   /* the kernel is older than Linux 4.14 */
	SHMCACHE_ENOPROC = -5031,   /* /proc is not mounted */
	SHMCACHE_EOPTIONS = -5032,  /* strict: the cache has other options */
	SHMCACHE_ELOCKS = -5033     /* every application lock is in use */
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
 * is the default.  Those of the first group count at creation only: who
 * attaches gets the cache as it is (see shmcache_stats()), unless `strict`.
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
	uint32_t read_only; /* 1: attach for reading only; see below */
	uint64_t max_items; /* never more entries than this: no limit but the
			       index's size; creation */
	uint32_t latency_sample; /* one call in so many is timed, rounded up to
				    a power of two: 1024; creation */
	uint32_t strict; /* 1: an option of creation that is given and that an
			    existing cache does not have is an error */
	const uint32_t *owners; /* users whose caches may be attached to,
				   besides root's and one's own; copied */
	uint32_t owner_count;
	uint32_t reserved;         /* 0 */
	uint64_t expected_tags;    /* different tags: expected_items / 16;
				   creation */
	uint64_t filter_items;     /* keys of the filter: none; creation */
	uint32_t filter_error_ppm; /* its false positives with so many, of a
				      million: 10,000; creation */
	uint32_t reserved2;        /* 0 */
	const char *policy; /* what is kept: "s3fifo", "clock", "fifo", "lru",
			       "lfu", "mru", "random"; NULL: "s3fifo";
			       creation */
	uint32_t volatile_only; /* 1: evict nothing but entries that have a time
				   to live; a write that finds no room then is
				   EFULL; creation */
};

/* latency_sample: no call is timed. */
#define SHMCACHE_SAMPLE_OFF UINT32_MAX

#define SHMCACHE_OPTIONS_INIT                                                  \
	{                                                                      \
		.struct_bytes = sizeof(struct shmcache_options)                \
	}

/*
 * Open the cache `name`.  A name is 1 to 200 bytes without slash or control
 * characters, and names /dev/shm/shmcache.NAME; one that starts with a slash
 * is the path of a file in an existing directory of a tmpfs or hugetlbfs.
 * `options` may be NULL, which attaches only.  The handle is freed by
 * shmcache_close().
 *
 * `read_only` maps the memory for reading: such a handle can't harm the cache,
 * takes no slot of it, leaves no reference marks and counts nothing.  It attaches
 * only.  Its gets copy and check afterwards; calls that write are EREADONLY.
 *
 * Errors: ENAME, ENOCACHE (attach only), EEXIST (create exclusively),
 * EOPTIONS (strict), ECAPACITY, EFILETYPE, EOWNER, EFILESYSTEM, ENOTCACHE, EVERSION, ELAYOUT,
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
 * still have it open misses and every write is EREMOVED; then unlink it.  A
 * removal that was killed is finished by the next open or removal.  The
 * memory is freed when the last of them has closed it.
 * Errors: as shmcache_open() of an existing cache; -EPERM, -EACCES (the
 * directory does not let the caller unlink it).
 */
int shmcache_remove(const char *name);

/* The same for a cache of another user, as the options `any_owner` and `owners`
   say; the others are not minded.  NULL is shmcache_remove(). */
int shmcache_remove_with(
    const char *name, const struct shmcache_options *options);

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

/* The same, and the entry's version, for shmcache_cas(). */
int shmcache_gets(struct shmcache *cache, const void *key, size_t key_bytes,
    void *buffer, size_t buffer_bytes, size_t *value_bytes_out,
    uint32_t *client_flags_out, uint64_t *version_out);

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
 * about half of all extents are held so, an item is a private copy instead; so
 * it is if the handle is for reading only or has no peer slot, and of a counter.
 * Errors: as shmcache_get(), and EPINS, -ENOMEM.
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
 * Errors: EKEY, ETOOBIG, EFULL (volatile_only), EBUSY (every extent is in use by calls
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
 * Errors: as shmcache_peek().
 */
int shmcache_ttl(struct shmcache *cache, const void *key, size_t key_bytes,
    int64_t *ttl_ms_out);

/*
 * Give the entry a time at which it expires, in milliseconds of the wall clock
 * since 1970; it is turned into a time to live now.  One in the past deletes
 * the entry.  Errors: as shmcache_touch(); -EINVAL (negative).
 */
int shmcache_expire_at(
    struct shmcache *cache, const void *key, size_t key_bytes, int64_t unix_ms);

/*
 * Get the value and give the entry a new time to live, in one step.  With too
 * small a buffer nothing changes.  Errors: as shmcache_get() and
 * shmcache_touch().
 */
int shmcache_get_and_touch(struct shmcache *cache, const void *key,
    size_t key_bytes, int64_t ttl_ms, void *buffer, size_t buffer_bytes,
    size_t *value_bytes_out, uint32_t *client_flags_out);

/*
 * Store the value if the key is not there.
 * Errors: EPRESENT; else as shmcache_set().
 */
int shmcache_add(struct shmcache *cache, const void *key, size_t key_bytes,
    const void *value, size_t value_bytes, int64_t ttl_ms,
    uint32_t client_flags);

/* Store the value if the key is there.  Errors: ENOENT; else as set. */
int shmcache_replace(struct shmcache *cache, const void *key, size_t key_bytes,
    const void *value, size_t value_bytes, int64_t ttl_ms,
    uint32_t client_flags);

/*
 * Store the value if the entry still is the one that shmcache_gets() found: its
 * version changes with every write of the key but touch and expire_at.  The
 * entry may be evicted meanwhile, which is ENOENT.
 * Errors: ENOENT, ECHANGED; else as shmcache_set().
 */
int shmcache_cas(struct shmcache *cache, const void *key, size_t key_bytes,
    const void *value, size_t value_bytes, int64_t ttl_ms,
    uint32_t client_flags, uint64_t version);

/*
 * Put bytes behind (before) the value, whose time to live and client flags
 * stay.  Errors: ENOENT; else as shmcache_set().
 */
int shmcache_append(struct shmcache *cache, const void *key, size_t key_bytes,
    const void *data, size_t data_bytes);
int shmcache_prepend(struct shmcache *cache, const void *key, size_t key_bytes,
    const void *data, size_t data_bytes);

/*
 * Add `delta` to a number (subtract it), in place and without losing any of
 * others'.  A value that reads as a whole decimal number of 64 bits ("-17")
 * becomes a counter at its first change; gets read a counter as decimal text.
 * Time to live and client flags stay.  A key that is not there is ENOENT if
 * `initial` is NULL, else it is stored as *initial, with `ttl_ms`.
 * `value_out`, the number after the call, may be NULL.
 * Errors: ENOENT, ENOTNUMBER, -ERANGE (the result has more than 64 bits;
 * nothing has changed); else as shmcache_set().
 */
int shmcache_incr(struct shmcache *cache, const void *key, size_t key_bytes,
    int64_t delta, const int64_t *initial, int64_t ttl_ms, int64_t *value_out);
int shmcache_decr(struct shmcache *cache, const void *key, size_t key_bytes,
    int64_t delta, const int64_t *initial, int64_t ttl_ms, int64_t *value_out);

/*
 * Many at once.  Each request has a result of its own, as the call for one key
 * would return; nothing holds for them together.  Gets overlap their waits for
 * memory, which is much faster than one after the other where the cache is
 * larger than the processor's.
 * Return the number of requests whose result is 0, else an error that kept all
 * of them from being tried (which is then also the result of each): EDEADLK,
 * EPEERS, EREMOVED, EREADONLY, -EINVAL.
 */
struct shmcache_get_request {
	const void *key;
	size_t key_bytes;
	void *buffer;
	size_t buffer_bytes;
	size_t value_bytes;    /* out: on success and EBUFFER */
	uint64_t version;      /* out */
	uint32_t client_flags; /* out */
	int result;            /* out */
};

struct shmcache_set_request {
	const void *key;
	size_t key_bytes;
	const void *value;
	size_t value_bytes;
	int64_t ttl_ms;
	uint32_t client_flags;
	int result; /* out */
};

struct shmcache_delete_request {
	const void *key;
	size_t key_bytes;
	int result; /* out */
};

int shmcache_multi_get(struct shmcache *cache,
    struct shmcache_get_request *requests, size_t count);
int shmcache_multi_set(struct shmcache *cache,
    struct shmcache_set_request *requests, size_t count);
int shmcache_multi_delete(struct shmcache *cache,
    struct shmcache_delete_request *requests, size_t count);

/*
 * The number of entries now, those included that have expired and were not met
 * yet.  Reads every slot of the index: milliseconds for a million slots.
 * Errors: EDEADLK, EREMOVED.
 */
int shmcache_count(struct shmcache *cache, uint64_t *items_out);

/*
 * 1 if the handle is attached to a cache that was not removed, or could attach
 * to one just now; 0 if there is none.  Errors: EDEADLK, and what else kept it
 * from attaching.
 */
int shmcache_is_available(struct shmcache *cache);

/* An entry as a scan shows it: a private copy, valid during the visit only. */
struct shmcache_entry {
	const void *key;
	size_t key_bytes;
	const void *value; /* NULL unless the scan was asked for values */
	size_t value_bytes;
	uint64_t entry_bytes; /* what it takes in memory, index apart */
	uint64_t version;
	int64_t ttl_ms; /* time left, or SHMCACHE_TTL_NONE */
	int64_t age_ms; /* it was stored, or kept by an eviction, not
				  longer ago than this; -1 unknown */
	uint32_t client_flags;
	uint32_t reads; /* reference marks, 0 to 3 */
};

/* Start from SHMCACHE_SCAN_OPTIONS_INIT; 0 is the default.  An entry must match
   both the prefix and the glob, where given. */
struct shmcache_scan_options {
	size_t struct_bytes; /* sizeof(struct shmcache_scan_options) */
	const void *prefix;
	size_t prefix_bytes;
	const void *glob; /* see shmcache_glob_check() */
	size_t glob_bytes;
	uint64_t
	    max_slots;   /* look at so many slots of the index at most: all */
	uint32_t values; /* 1: with values */
	uint32_t reserved;
};

#define SHMCACHE_SCAN_OPTIONS_INIT                                             \
	{                                                                      \
		.struct_bytes = sizeof(struct shmcache_scan_options)           \
	}

/* Called for each entry, with nothing pinned: it may call the library.  Anything
   but 0 ends the scan. */
typedef int shmcache_visit(void *context, const struct shmcache_entry *entry);

/*
 * Visit entries.  *cursor is 0 to begin with; afterwards it says where to go on,
 * in this process or another, and is 0 when everything was looked at.  What is
 * there throughout is visited; what is stored, deleted or replaced meanwhile may
 * be or not, and a key that is deleted and stored again may be visited twice.
 * Blocks nobody.  `options` may be NULL.  Returns the number of visits, or an
 * error: EDEADLK, EREMOVED, ESTALE (a cursor of another cache), -EINVAL (no
 * cursor that this library gives out; glob; options), -ENOMEM.
 */
int shmcache_scan(struct shmcache *cache, uint64_t *cursor,
    const struct shmcache_scan_options *options, shmcache_visit *visit,
    void *context);

/*
 * Delete every entry whose key begins so (matches), but for those that are
 * stored while it runs, which it may delete or not.  `deleted_out` may be NULL.
 * Errors: as shmcache_delete() and shmcache_scan().
 */
int shmcache_delete_prefix(struct shmcache *cache, const void *prefix,
    size_t prefix_bytes, uint64_t *deleted_out);
int shmcache_delete_glob(struct shmcache *cache, const void *glob,
    size_t glob_bytes, uint64_t *deleted_out);

/*
 * Globs match whole keys, byte by byte: `*` any bytes, `?` one byte, `[a-z0]`
 * one of these, `[^a]` or `[!a]` one of the others, `\x` the byte x itself.
 * The time of a match is bounded by the product of both lengths.
 * 0, or -EINVAL: a `[` that is not closed, a `\` at the end, a range backwards.
 */
int shmcache_glob_check(const void *glob, size_t glob_bytes);

/* Tags of entries: shmcache_set_with(), loaders, shmcache_invalidate_tag(). */
#define SHMCACHE_TAGS_MAX      8u /* of one entry */
#define SHMCACHE_TAG_BYTES_MAX 65535u

struct shmcache_tag {
	const void *data;
	size_t bytes;
};

/* A tag that is a string. */
#define SHMCACHE_TAG(text)                                                     \
	{                                                                      \
		(text), __builtin_strlen(text)                                 \
	}

/*
 * Loading through the cache.  On a miss one caller among all threads of all
 * processes loads the key; the others wait until it is done, fails, or dies
 * (noticed within some milliseconds), or until their own time is over.
 *
 * What was loaded is stored only if the key was not written, deleted or
 * invalidated since the load began; the caller gets it all the same.
 *
 * An entry that was stored by a load may outlive its time to live, by
 * `stale_ms` or `stale_if_error_ms`.  Only these calls see it then; for all
 * others it is a miss, as is a negative entry.
 */

/* What a loader gives. */
struct shmcache_loaded {
	void *value; /* from malloc(), or NULL if it has no bytes */
	size_t value_bytes;
	int64_t ttl_ms; /* instead of the option; 0: as that says */
	uint32_t client_flags;
	uint32_t tag_count;
	/* Of the entry, also of a negative one.  What they point to is the
	   loader's, and stays as it is until the call that loads returns: it
	   may be part of the value, for instance. */
	struct shmcache_tag tags[SHMCACHE_TAGS_MAX];
};

/*
 * Loads a key from its source.  Returns 0; SHMCACHE_ENOENT if the source has no
 * such key; another negative number if that could not be found out.  The library
 * frees the value, or gives it to its caller.
 *
 * Nothing is pinned meanwhile, and no call is under way: it may call the library,
 * also to load another key; to load the same key, by whatever handle, is
 * SHMCACHE_EDEADLK until `lease_ms` is over.  (Threads that wait for each other's
 * keys in a circle wait until their time is over.)
 *
 * It must return.  One that is left by longjmp() or an exception leaves its key to
 * be taken over after `lease_ms`, and loses the memory of the call.  Until then a
 * call for that key in the same thread loads at once if it is made no further down
 * the stack than the call that was left, and is SHMCACHE_EDEADLK if it is.
 *
 * It may yield to another coroutine of its thread, on a stack of its own, and
 * return after that one's loader or before, also in another thread.  Meanwhile a
 * call for its key in its thread is SHMCACHE_EDEADLK, for it could not wait without
 * stopping both; shmcache_begin_load() is SHMCACHE_BUSY.
 */
typedef int shmcache_loader(void *context, const void *key, size_t key_bytes,
    struct shmcache_loaded *loaded_out);

/* A load that was begun.  The fields are the library's; it may be copied, and be
   ended by another thread of the process. */
struct shmcache_token {
	uint64_t segment_id;
	uint64_t hash;
	uint64_t token;
	uint64_t version;
	uint64_t seq;
	uint64_t lease_word;
	uint64_t began_ns;
	uint32_t lease;
	uint32_t reserved;
};

/*
 * Takes a refresh over from a call that has a value to return, one that is fresh
 * or within `stale_ms`: 0, and it is going to end the token by shmcache_fill() or
 * shmcache_abandon(); anything else, and the call loads by itself.
 */
typedef int shmcache_refresher(void *context, const void *key, size_t key_bytes,
    const struct shmcache_token *token);

enum shmcache_on_timeout {
	SHMCACHE_TIMEOUT_LOAD = 0, /* load without waiting any more */
	SHMCACHE_TIMEOUT_FAIL,     /* -ETIMEDOUT */
	SHMCACHE_TIMEOUT_STALE     /* the stale value; else -ETIMEDOUT */
};

enum shmcache_on_limit {
	SHMCACHE_LIMIT_STALE = 0, /* the stale value; else SHMCACHE_ELIMIT */
	SHMCACHE_LIMIT_FAIL,      /* SHMCACHE_ELIMIT */
	SHMCACHE_LIMIT_NEGATIVE   /* the stale value; else SHMCACHE_ENOENT */
};

/* Start from SHMCACHE_LOAD_OPTIONS_INIT; 0 in any field is the default.  Times
   are in milliseconds, each below 2^31. */
struct shmcache_load_options {
	size_t struct_bytes; /* sizeof(struct shmcache_load_options) */
	int64_t ttl_ms;      /* of what is loaded: the cache's default */
	uint32_t stale_ms;   /* then one caller refreshes it, and the others
				  get it at once, for so long: 0 */
	uint32_t stale_if_error_ms; /* for so long after its time to live it is
				       the answer if the load fails: 0 */
	uint32_t negative_ttl_ms;   /* remember that the source has no such key:
				     not at all */
	uint32_t error_ttl_ms;   /* give a failed load's error to others for so
				     long, or until the key is written, deleted
				     or flushed: only to those that wait for it */
	uint32_t timeout_ms;     /* wait for another's load: 5,000 */
	uint32_t on_timeout;     /* enum shmcache_on_timeout */
	uint32_t lease_ms;       /* another may take over a load that takes
				     longer than this: 10,000 */
	uint32_t jitter_percent; /* vary times to live by so much: 0 to 100 */
	uint32_t
	    refresh_percent; /* refresh when less than this part of the time
				     to live that it was loaded with (of a value
				     that was set: of ttl_ms) is left, jitter
				     aside, to 0.1 %: 0 to 100 */
	uint32_t max_loads;  /* of the whole cache at once, with or without
				     the key's lease; one that takes longer than
				     its lease_ms counts no more: any number */
	uint32_t max_loads_per_s; /* of the whole cache; up to a tenth of them,
				     one at least, at once: any number */
	uint32_t on_limit;        /* enum shmcache_on_limit */
	double beta; /* refresh early by chance, the earlier the longer the
			load took (XFetch); 1 is usual: 0, never */
	shmcache_refresher *refresher; /* NULL: the caller refreshes */
	void *refresher_context;
	uint32_t max_key_loads_per_s; /* the same of this key, as far as is
					 remembered; 1,000 at the most: any
					 number */
	uint32_t use_filter; /* 1: what the filter does not have, and the cache
				neither, is ENOENT and not loaded: 0 */
};

#define SHMCACHE_LOAD_OPTIONS_INIT                                             \
	{                                                                      \
		.struct_bytes = sizeof(struct shmcache_load_options)           \
	}

enum shmcache_source {
	SHMCACHE_FROM_CACHE = 0, /* fresh */
	SHMCACHE_FROM_STALE,     /* past its time to live */
	SHMCACHE_FROM_LOAD,      /* loaded by this call, and stored */
	SHMCACHE_FROM_LOAD_ONLY, /* loaded by this call, and not stored */
	SHMCACHE_LEAD,           /* shmcache_begin_load(): load it, and end the
				    token; the value is the stale one or NULL */
	SHMCACHE_BUSY            /* shmcache_begin_load(): another loads it, or
				    another request of this thread; the value is
				    NULL */
};

/* A value in memory from malloc(), one byte longer than it is and 0 there, which
   the caller frees; or NULL. */
struct shmcache_value {
	void *value;
	size_t value_bytes;
	uint32_t client_flags;
	uint32_t source; /* enum shmcache_source */
};

/*
 * Get the value, loading it if need be; `options` may be NULL.  A cache that can
 * store nothing (removed, for reading only, no slot free) does not keep the value
 * from being loaded.
 * Errors: ENOENT (the source has no such key, as the loader says now or said at
 * most negative_ttl_ms ago, or as the filter says); what the loader returns; -ETIMEDOUT; ELIMIT;
 * EDEADLK (a loader of this thread is loading the key); EKEY; -EINVAL (options; a loader
 * that returns a positive number, bytes without memory or above PTRDIFF_MAX, more
 * than 8 tags or one that is none);
 * -ENOMEM.
 */
int shmcache_get_or_load(struct shmcache *cache, const void *key,
    size_t key_bytes, shmcache_loader *loader, void *context,
    const struct shmcache_load_options *options,
    struct shmcache_value *value_out);

/*
 * The same without waiting and without a loader: 0, and value_out->source says
 * what there is.  After SHMCACHE_LEAD the caller, or whoever it gives the token
 * to, ends it by shmcache_fill() or shmcache_abandon(), before `lease_ms`; the
 * thread that began it must be there until then, or others take it for dead.
 * Errors: as shmcache_get_or_load() but for -ETIMEDOUT; EPEERS, EREMOVED,
 * EREADONLY.
 */
int shmcache_begin_load(struct shmcache *cache, const void *key,
    size_t key_bytes, const struct shmcache_load_options *options,
    struct shmcache_value *value_out, struct shmcache_token *token_out);

/*
 * End a load.  `result` is as a loader's; the bytes are copied.  `options` are
 * those of the begin.  The token is all that it takes: another process may have it,
 * a forked child for instance.
 * The token is spent then, whatever is returned, but for -EINVAL, EKEY, the token
 * of another key or cache, and what keeps a handle from its cache: nothing was done,
 * and it is still to be ended.  (But once another has taken the load over, which is
 * later than `lease_ms`, neither's token is spent before one of them stores.)
 * Errors: ESTALE (not stored: the key was written, deleted or invalidated since
 * the load began, the load was ended before, or the token is of another key or
 * cache); else as shmcache_set().
 */
int shmcache_fill(struct shmcache *cache, const void *key, size_t key_bytes,
    const struct shmcache_token *token, int result,
    const struct shmcache_loaded *loaded,
    const struct shmcache_load_options *options);

/* End a load without anything: who waits goes on, and the token is spent.  One that
   is spent already does nothing.
   Errors: ESTALE (of another cache), EPEERS, EDEADLK, EREMOVED, EREADONLY. */
int shmcache_abandon(
    struct shmcache *cache, const struct shmcache_token *token);

/*
 * Wait until nobody loads the key, at most for so long; then begin again.  A load
 * that may be taken over (its leader has died, or is later than its `lease_ms`)
 * is none.
 * Errors: -ETIMEDOUT, EKEY, EPEERS, EDEADLK, EREMOVED, EREADONLY.
 */
int shmcache_wait_load(struct shmcache *cache, const void *key,
    size_t key_bytes, uint32_t timeout_ms);

/*
 * The same for event loops: watch the load that shmcache_begin_load() found to be
 * another's (SHMCACHE_BUSY).  The handle has one descriptor for all its watches;
 * it is readable as long as there are watches that are over and were not fetched.
 *
 *	fd = shmcache_watch_fd(cache);		once; for the loop to poll
 *
 *	shmcache_watch_load(cache, key, key_bytes, 1000, request, NULL);
 *
 *	while (shmcache_watch_next(cache, &watched) == 0)	when it is readable
 *		begin_again(watched.context);
 *
 * A watch is over when that load was filled, failed or was abandoned, when its
 * leader has died or is late, or when the watch's time is over; also if any of
 * that was so already when it was begun.  Each is told once, unless it is
 * cancelled.  It says that there is reason to begin again, not what there is: in
 * the meantime another may lead.
 *
 * The first of these calls starts a thread, for the handle, which sleeps while
 * nothing is watched; it blocks all signals, and is named "shmcache-watch".
 * shmcache_close() ends it, closes the descriptor, and forgets what is watched;
 * take the descriptor out of the loop before.  Nobody else may read, write or
 * close it.  In a forked child there is neither: its first call makes a thread and
 * a descriptor of its own, and the parent's watches are the parent's.
 */

/* A watch that is over. */
struct shmcache_watched {
	void *context;  /* as it was given */
	uint64_t watch; /* its number */
	int result; /* 0; -ETIMEDOUT: another is still loading; EREMOVED, and
		       what else keeps the handle from its cache */
	uint32_t reserved;
};

/* Returns the descriptor, an eventfd(2) that is closed on exec.  Poll it for
   reading, by level or by edge, and then fetch all that is over.
   Errors: EDEADLK, -EMFILE, -ENFILE, -EAGAIN (no thread could be started),
   -ENOMEM. */
int shmcache_watch_fd(struct shmcache *cache);

/* Begin a watch.  `context` is the caller's; `watch_out`, its number, may be NULL.
   Errors: as shmcache_watch_fd(), and EKEY, EPEERS, EREMOVED, EREADONLY. */
int shmcache_watch_load(struct shmcache *cache, const void *key,
    size_t key_bytes, uint32_t timeout_ms, void *context, uint64_t *watch_out);

/* Fetch one that is over; each is given to one caller.  Never waits.
   Errors: ENOENT (none is), -EINVAL; else as shmcache_watch_fd(). */
int shmcache_watch_next(
    struct shmcache *cache, struct shmcache_watched *watched_out);

/* Forget a watch, over or not: it is not told any more.
   Errors: ENOENT (it was told, or there is no such); else as shmcache_watch_fd(). */
int shmcache_watch_cancel(struct shmcache *cache, uint64_t watch);

/*
 * Locks for applications, by name, among all processes that have the cache open.
 * A lock is its owner's until it unlocks it; when the thread that took it ends, or
 * its process does, in whatever way, or the handle that it was taken by is closed,
 * the next who wants it gets it.  A forked child does not own its parent's locks.
 * They do not outlive the cache.
 */
#define SHMCACHE_LOCK_NAME_MAX 240

/* A lock that is held.  `fence` is greater than that of every lock that this
   cache gave out before: what the lock guards may refuse whoever comes with a
   lesser one.  A cache that is made anew begins at 1 again: there, forget the
   greatest that was seen.  The other fields are the library's. */
struct shmcache_lock {
	uint64_t fence;
	uint64_t segment_id;
	uint64_t word;
	uint32_t place;
	uint32_t reserved;
};

/*
 * Take the lock, waiting for at most `timeout_ms` while another has it.  A name is
 * 1 to 240 bytes of any content.
 * Errors: -ETIMEDOUT; ELOCKS (there is room for 1/4 as many names at once as for
 * threads); EDEADLK (this thread has it, by whatever handle); EPEERS, EREMOVED, EREADONLY, -EINVAL.
 */
int shmcache_lock(struct shmcache *cache, const void *name, size_t name_bytes,
    uint32_t timeout_ms, struct shmcache_lock *lock_out);

/* Any thread may unlock that has the struct, one of a forked child too.
   Errors: ESTALE (it is not held by this token any more), EPEERS, EDEADLK, EREMOVED,
   EREADONLY, -EINVAL. */
int shmcache_unlock(struct shmcache *cache, const struct shmcache_lock *lock);

/*
 * Invalidation.  A flush invalidates everything, shmcache_invalidate_tag() every
 * entry that was stored with that tag; both take the same short time however
 * many these are.  What others may get:
 *
 * - When the call has returned, no call that begins then, in any process,
 *   returns an entry that was stored before, and nothing brings one back.
 * - The same holds for a value that is stored afterwards, if it was loaded
 *   before: of one whose set has begun always; of one whose set begins later if
 *   it is stored with a snapshot that was taken before the load.
 * - While the call runs, others may get what was stored before or miss.  Nobody
 *   waits.
 *
 * So change the source of the data first, then invalidate.  And who stores what
 * has been loaded takes a snapshot first, then loads, then stores with it:
 *
 *	shmcache_snapshot(cache, &snapshot);
 *	value = load(key);
 *	options.snapshot = &snapshot;
 *	shmcache_set_with(cache, key, key_bytes, value, value_bytes, &options);
 *
 * which is SHMCACHE_ESTALE if the value was invalidated on the way.  An entry's
 * tags stay with it through touch, append, prepend and increments; whatever
 * else stores replaces them, as it does client flags.
 *
 * A delete is none of these: it takes away what is there, and does not make a
 * snapshot older.  Where a slow load must not bring an entry back, give it a tag
 * of its own, and invalidate that.
 *
 * Entries may be invalidated that do not have the tag, if both tags fall on one
 * word of the cache's tag table (see the option expected_tags): they are misses.
 */

/* Errors: EPEERS, EDEADLK, EREMOVED, EREADONLY. */
int shmcache_flush(struct shmcache *cache);

/* A tag is 1 to 65,535 bytes.  Errors: also -EINVAL. */
int shmcache_invalidate_tag(
    struct shmcache *cache, const void *tag, size_t tag_bytes);

/* A moment, as the cache counts them.  The fields are the library's; it may be
   copied, and used by other processes. */
struct shmcache_snapshot {
	uint64_t segment_id;
	uint64_t seq;
};

/* Errors: EDEADLK, EREMOVED, -EINVAL. */
int shmcache_snapshot(
    struct shmcache *cache, struct shmcache_snapshot *snapshot_out);

/*
 * A flush in two steps, as far apart as one likes: what was loaded or stored
 * before the first stays until the second, and is gone then as after a flush,
 * whoever stores it whenever; what has been loaded since the first stays.  So a
 * cache can be renewed while it is in use, where a flush would empty it.  A flush
 * that is begun and never ended does nothing.
 * Errors: EPEERS, EDEADLK, EREMOVED, EREADONLY, -EINVAL; ESTALE (end: the cache
 * was made anew since, and has nothing of before).
 */
int shmcache_flush_begin(
    struct shmcache *cache, struct shmcache_snapshot *begun_out);
int shmcache_flush_end(
    struct shmcache *cache, const struct shmcache_snapshot *begun);

enum shmcache_set_condition {
	SHMCACHE_SET_ALWAYS = 0,
	SHMCACHE_SET_IF_ABSENT,  /* as shmcache_add() */
	SHMCACHE_SET_IF_PRESENT, /* as shmcache_replace() */
	SHMCACHE_SET_IF_VERSION  /* as shmcache_cas() */
};

/* Start from SHMCACHE_SET_OPTIONS_INIT; 0 in any field is the default. */
struct shmcache_set_options {
	size_t struct_bytes; /* sizeof(struct shmcache_set_options) */
	int64_t ttl_ms;
	uint32_t client_flags;
	uint32_t only_if; /* enum shmcache_set_condition */
	uint64_t version; /* for SHMCACHE_SET_IF_VERSION */
	const struct shmcache_tag *tags;
	size_t tag_count;
	const struct shmcache_snapshot *snapshot; /* NULL: none */
};

#define SHMCACHE_SET_OPTIONS_INIT                                              \
	{                                                                      \
		.struct_bytes = sizeof(struct shmcache_set_options)            \
	}

/*
 * Store a value with options; `options` may be NULL.
 * Errors: as shmcache_set() and the calls named above; ESTALE (invalidated since
 * the snapshot, or the snapshot is of a cache that is gone: load again);
 * -EINVAL (more than 8 tags, a tag that is none, a snapshot that this cache did
 * not give out).
 */
int shmcache_set_with(struct shmcache *cache, const void *key, size_t key_bytes,
    const void *value, size_t value_bytes,
    const struct shmcache_set_options *options);

/*
 * The filter: which keys the source of the data surely does not have, so that
 * nobody asks it (a Bloom filter; one line of memory for each look-up).  It has
 * room in a cache that was created with `filter_items`.
 *
 * shmcache_filter_check() is 1 if the key may exist, or if no filter is in use,
 * and 0 if it does not.  Ask it after a miss, before a load.
 *
 * A filter is built and then put in use:
 *
 *	shmcache_filter_begin(cache, &build);
 *	for all keys of the source
 *		shmcache_filter_add(cache, build, key, key_bytes);
 *	shmcache_filter_publish(cache, build);
 *
 * A key that comes later is added, once it is in the source, with `build` 0: to
 * the filter in use and to the one being built.  So none is lost that comes while
 * the list is read.  (A process that is killed between the two leaves a key that
 * the filter denies: where that matters, add it before as well.)  Keys that go
 * stay until the next build.
 *
 * Builds replace each other: publish and add are ESTALE when another has begun.
 * One that nobody finishes does no harm.  Nobody waits for anybody.
 *
 * Errors: -ENOTSUP (no room for a filter), EKEY, ESTALE, EPEERS, EDEADLK,
 * EREMOVED, EREADONLY, -EINVAL.  shmcache_stats() has the share of false
 * positives as it is now.
 */
int shmcache_filter_check(
    struct shmcache *cache, const void *key, size_t key_bytes);
int shmcache_filter_begin(struct shmcache *cache, uint64_t *build_out);
int shmcache_filter_add(
    struct shmcache *cache, uint64_t build, const void *key, size_t key_bytes);
int shmcache_filter_publish(struct shmcache *cache, uint64_t build);

/* Put the filter in use out of use; checks are 1 until the next is published. */
int shmcache_filter_drop(struct shmcache *cache);

/*
 * Save the filter in use to a file, which is replaced as a whole; begin a build
 * with what was saved, by this cache or another with a filter of the same size.
 * Add what has come since, then publish it.
 * Errors: ENOENT (none in use), -EBADMSG (not a saved filter, or damaged),
 * -EINVAL (of another size), -ENOMEM, -EAGAIN (swapped again and again), and what
 * open(2), write(2) and rename(2) return.
 */
int shmcache_filter_save(struct shmcache *cache, const char *path);
int shmcache_filter_load(
    struct shmcache *cache, const char *path, uint64_t *build_out);

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
