/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* input.h - a file as a whole, unpacked if it is packed by xz */
#ifndef REPLAY_INPUT_H
#define REPLAY_INPUT_H

#include <stddef.h>

struct input {
	char *bytes; /* one more than `count`, which is 0 */
	size_t count;
};

/* Read `path` ("-": standard input).  0, or -1 with the reason in `why`. */
int input_read(
    struct input *input, const char *path, char *why, size_t why_bytes);
void input_free(struct input *input);

#endif /* REPLAY_INPUT_H */
