/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bridge.h - the parts of shmcache-invalidate
 *
 * A source gives lines; each line is one change of the cache:
 *
 *	delete KEY    tag TAG    prefix PREFIX    flush
 *
 * with the escapes of text.h in KEY, TAG and PREFIX.  A message of a database may
 * have several lines.  What is malformed or huge is reported, counted and passed
 * over.
 */
#ifndef TOOLS_INVALIDATE_BRIDGE_H
#define TOOLS_INVALIDATE_BRIDGE_H

#include <shmcache.h>
#include <stddef.h>

#define CHANNELS_MAX 64

/* The longest line: the longest key, each byte of it escaped. */
#define LINE_BYTES_MAX (4 * SHMCACHE_KEY_BYTES_MAX + 16)

/* The cache, and what has been done to it. */
struct bridge {
	struct shmcache *cache;
	const char *name;
	int verbose;
	unsigned long long applied;
	unsigned long long refused; /* lines that were passed over */
	int error; /* of the library, which no line is to blame for; 0 */
};

/* Apply one line, which is changed on the way; a 0 follows it. */
void bridge_line(struct bridge *bridge, char *line, size_t bytes);

/* Apply each line of a message. */
void bridge_message(struct bridge *bridge, const char *text, size_t bytes);

/* Report a line that is passed over. */
void bridge_refuse(
    struct bridge *bridge, const char *why, const char *line, size_t bytes);

/* What is done as messages may be missing: everything may be stale. */
enum on_loss {
	ON_LOSS_FLUSH,
	ON_LOSS_EXPIRE, /* no entry lives longer than so many milliseconds */
	ON_LOSS_IGNORE
};

int bridge_lose(struct bridge *bridge, enum on_loss on_loss, long long ttl_ms);

/*
 * A source of messages that can be lost.  connect() and receive() return 1, or 0
 * after putting what is wrong into `why`.  connect() has subscribed when it
 * returns; receive() is called when the descriptor is readable.
 */
#define WHY_BYTES 512

struct source {
	const char *name; /* for messages */
	const char *address;
	const char *channels[CHANNELS_MAX];
	unsigned channel_count;
	int (*connect)(struct source *source, char why[WHY_BYTES]);
	int (*descriptor)(const struct source *source);
	int (*receive)(
	    struct source *source, struct bridge *bridge, char why[WHY_BYTES]);
	void (*disconnect)(struct source *source);
	void *connection;
};

extern const struct source postgres_source;
extern const struct source redis_source;

/* Lines of a descriptor, until its end.  Returns 1, or 0 with errno. */
int lines_read(int fd, struct bridge *bridge);

#endif /* TOOLS_INVALIDATE_BRIDGE_H */
