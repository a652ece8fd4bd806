/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * segment.h - a file of shared memory: create, attach, detach, retire
 *
 * Creation is atomic.  The file is made without a name, its memory reserved,
 * its tables written, and only then linked to its name; nobody ever sees half a
 * segment, and a creator that dies leaves nothing behind.
 *
 * Retiring marks a segment, so that those who have it mapped learn of it, and
 * then takes its name away.
 *
 * A process that attaches takes a process slot, and its mapping is its sign of
 * life (peer.h).  No two of these functions may run at once in one process, nor
 * any of them across fork(): the caller holds a lock that fork() takes too.
 */
#ifndef SHM_SEGMENT_H
#define SHM_SEGMENT_H

#include "shm/layout.h"

#include <stdbool.h>
#include <sys/types.h>

#define SHM_NAME_MAX 200u
#define SHM_PATH_MAX 4096u

struct shm_peer;

/* One attachment: private to the process, constant after attaching but for
   `alive_until_ms` (atomic, a cache of probes) and `peers` (caller's lock). */
struct shm_segment {
	uint8_t *base;
	uint64_t mapped_bytes; /* whole pages of the file system */
	struct shm_header_shared *header;
	struct shm_geometry geometry;
	uint32_t lane_extents; /* that its lanes use: shm_lane_extents() */
	uint64_t id; /* of this attachment; never used twice in a process */
	uint64_t segment_id;
	dev_t device;
	ino_t inode;
	uint32_t process;
	uint32_t process_generation;
	bool read_only; /* no slot is taken, nothing can be pinned */
	uint64_t *alive_until_ms;
	struct shm_peer *peers; /* those of this attachment */
	char path[];
};

/* Writes the regions of a new segment, which are zero; 0 or an error. */
typedef int shm_segment_init(
    void *context, void *base, const struct shm_geometry *geometry);

/* Called with the segment mapped, after it was marked retired. */
typedef void shm_segment_retired_hook(
    void *base, const struct shm_geometry *geometry);

/* How to attach, and to whose segments besides root's and one's own. */
struct shm_access {
	bool any_owner;
	bool read_only; /* mapped for reading; takes no process slot */
	uint32_t owner_count;
	const uint32_t *owners; /* user ids */
};

/*
 * The path of the file that `name` means: itself if it is absolute, else
 * /dev/shm/shmcache.NAME.  Errors: SHM_ENAME.
 */
int shm_segment_path(const char *name, char path_out[SHM_PATH_MAX]);

/*
 * Create the segment and link it to `path`.
 * Errors: SHM_EEXIST, SHM_EFILESYSTEM, SHM_EKERNEL, SHM_ENOPROC, -ENOSPC,
 * -EINVAL (request), other errno values of open(2), and those of `init`.
 */
int shm_segment_create(const char *path, const struct shm_request *request,
    uint64_t signature, mode_t mode, shm_segment_init *init, void *context);

/*
 * Map the segment at `path`, and take a process slot if it is for writing.
 * `access` may be NULL: nobody else's segment, for writing.
 * Errors: SHM_ENOSEGMENT, SHM_EFILETYPE, SHM_EOWNER, SHM_EFILESYSTEM,
 * SHM_ENOTSEGMENT, SHM_EVERSION, SHM_ELAYOUT, SHM_ECORRUPT, SHM_EPROCESSES,
 * SHM_EKERNEL, SHM_EREMOVED (somebody is removing it), -ENOMEM, other errno
 * values of open(2) and mmap(2).
 *
 * A segment that is retired but still has its name was left by a removal that
 * was killed: it is finished, with `hook` (not by who may only read), and the
 * result is SHM_ENOSEGMENT.
 */
int shm_segment_attach(const char *path, uint64_t signature,
    const struct shm_access *access, shm_segment_retired_hook *hook,
    struct shm_segment **segment_out);

/* Unmap, which gives the process slot back.  No peer may be left. */
void shm_segment_detach(struct shm_segment *segment);

/* In a child of fork(): forget what it inherited; the mapping did not come. */
void shm_segment_forget(struct shm_segment *segment);

/*
 * Open the file at the segment's path, if it is still the one that is mapped.
 * Returns a descriptor, or -1 (whatever the reason).
 */
int shm_segment_reopen(const struct shm_segment *segment);

/*
 * Mark the segment at `path` as retired, call `hook`, then unlink it.  Needs no
 * process slot.  `access` as in shm_segment_attach(), but never read_only.  Killed in between, it is a segment that nobody can attach to
 * any more, and that the next attacher or remover finishes.
 * Errors: as shm_segment_attach(); SHM_EREMOVED: another is removing it now.
 */
int shm_segment_retire(const char *path, uint64_t signature,
    const struct shm_access *access, shm_segment_retired_hook *hook);

bool shm_segment_retired(const struct shm_segment *segment);

/* What lies at an offset: the one way from offsets to pointers. */
static inline void *
shm_at(const struct shm_segment *segment, uint64_t offset)
{
	return segment->base + offset;
}

#endif /* SHM_SEGMENT_H */
