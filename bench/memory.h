/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * memory.h - memory such as the cache has
 *
 * The floor and the table written for the bench live in shared memory with the
 * page size that the cache gets, and no one is measured while it takes its
 * first page faults.
 */
#ifndef BENCH_MEMORY_H
#define BENCH_MEMORY_H

#include <stddef.h>

/* Where it comes from: /dev/shm, or the tmpfs that BENCH_SHM_DIR names. */
const char *memory_folder(void);

/* Shared memory, zeroed, in place. */
void *memory_map(size_t bytes);
void memory_unmap(void *memory, size_t bytes);

/* Have every page of this process's mapping of the file in the page tables. */
void memory_populate(const char *path);

#endif /* BENCH_MEMORY_H */
