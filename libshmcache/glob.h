/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * glob.h - patterns of keys: * ? [a-z] [^a] \x
 *
 * Keys are bytes, so fnmatch(3), which is for text that ends with a zero, won't
 * do.  A star that does not fit is widened by one byte, and only the last star
 * needs to be: so a match takes at most pattern times key steps, whatever the
 * pattern, and no memory.
 */
#ifndef LIBSHMCACHE_GLOB_H
#define LIBSHMCACHE_GLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Is the pattern one that glob_match() may be asked? */
bool glob_valid(const uint8_t *glob, size_t glob_bytes);

bool glob_match(const uint8_t *glob, size_t glob_bytes, const uint8_t *text,
    size_t text_bytes);

#endif /* LIBSHMCACHE_GLOB_H */
