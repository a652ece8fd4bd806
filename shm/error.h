/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * error.h - results of the segment layer, and their details
 *
 * Functions return 0, a negated errno, or one of these.  The numbers are those
 * of the public header (libshmcache/error.c asserts it), so that a result goes
 * through all layers unchanged.
 */
#ifndef SHM_ERROR_H
#define SHM_ERROR_H

enum shm_error {
	SHM_EBUSY = -5006,
	SHM_EPEERS = -5007,
	SHM_EPROCESSES = -5008,
	SHM_EPINS = -5009,
	SHM_ESTALE = -5011,
	SHM_EREMOVED = -5012,
	SHM_ECORRUPT = -5013,
	SHM_ENOSEGMENT = -5020,
	SHM_EEXIST = -5021,
	SHM_ENAME = -5022,
	SHM_EFILETYPE = -5023,
	SHM_EOWNER = -5024,
	SHM_EFILESYSTEM = -5025,
	SHM_ENOTSEGMENT = -5026,
	SHM_EVERSION = -5027,
	SHM_ELAYOUT = -5028,
	SHM_ECAPACITY = -5029,
	SHM_EKERNEL = -5030,
	SHM_ENOPROC = -5031
};

/* Text for an errno value; may be NULL if there is none.  Static. */
const char *shm_errno_text(int error_number);

/* Note what is behind `error`, in this thread, and return `error`. */
int shm_error_note(int error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * The thread's note, if it was left with `error`, else NULL.  It is forgotten,
 * but its text lives until the next one is taken.
 */
const char *shm_error_take(int error);

#endif /* SHM_ERROR_H */
