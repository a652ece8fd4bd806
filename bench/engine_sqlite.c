/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* engine_sqlite.c - a table in an SQLite database in memory, one connection */
#include "bench/engine.h"

#if __has_include(<sqlite3.h>)

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

struct state {
	sqlite3 *db;
	sqlite3_stmt *get;
	sqlite3_stmt *set;
};

static bool
prepare(struct state *s)
{
	return sqlite3_open_v2(":memory:", &s->db,
		   SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
		       SQLITE_OPEN_NOMUTEX,
		   NULL) == SQLITE_OK &&
	       sqlite3_exec(s->db,
		   "CREATE TABLE cache(key BLOB PRIMARY KEY, value BLOB) "
		   "WITHOUT ROWID",
		   NULL, NULL, NULL) == SQLITE_OK &&
	       sqlite3_prepare_v3(s->db,
		   "SELECT value FROM cache WHERE key = ?", -1,
		   SQLITE_PREPARE_PERSISTENT, &s->get, NULL) == SQLITE_OK &&
	       sqlite3_prepare_v3(s->db, "REPLACE INTO cache VALUES(?, ?)", -1,
		   SQLITE_PREPARE_PERSISTENT, &s->set, NULL) == SQLITE_OK;
}

static void
lite_close(void *state)
{
	struct state *s = state;

	(void)sqlite3_finalize(s->get);
	(void)sqlite3_finalize(s->set);
	(void)sqlite3_close(s->db);
	free(s);
}

static const char *
lite_open(const struct load *load, void **state_out)
{
	struct state *s = calloc(1, sizeof(*s));

	(void)load;
	if (!prepare(s)) {
		lite_close(s);
		return "SQLite does not open";
	}
	*state_out = s;
	return NULL;
}

static void
lite_filling(void *state, bool on)
{
	struct state *s = state;

	(void)sqlite3_exec(s->db, on ? "BEGIN" : "COMMIT", NULL, NULL, NULL);
}

static bool
lite_set(
    void *state, const struct op *op, const void *value, size_t value_bytes)
{
	struct state *s = state;
	bool done;

	(void)sqlite3_bind_blob(s->set, 1, op->key, KEY_BYTES, SQLITE_STATIC);
	(void)sqlite3_bind_blob(
	    s->set, 2, value, (int)value_bytes, SQLITE_STATIC);
	done = sqlite3_step(s->set) == SQLITE_DONE;
	(void)sqlite3_reset(s->set);
	return done;
}

static int
lite_get(void *state, const struct op *op, void *buffer, size_t room)
{
	struct state *s = state;
	int bytes = -1;

	(void)sqlite3_bind_blob(s->get, 1, op->key, KEY_BYTES, SQLITE_STATIC);
	if (sqlite3_step(s->get) == SQLITE_ROW) {
		const void *value = sqlite3_column_blob(s->get, 0);

		bytes = sqlite3_column_bytes(s->get, 0);
		if ((size_t)bytes <= room)
			memcpy(buffer, value, (size_t)bytes);
	}
	(void)sqlite3_reset(s->get);
	return bytes;
}

const struct engine engine_sqlite = {
	.name = "SQLite :memory:",
	.open = lite_open,
	.close = lite_close,
	.filling = lite_filling,
	.set = lite_set,
	.get = lite_get,
};

#else

static const char *
lite_open(const struct load *load, void **state_out)
{
	(void)load;
	(void)state_out;
	return "install libsqlite3-dev";
}

const struct engine engine_sqlite = { .name = "SQLite :memory:",
	.open = lite_open };

#endif
