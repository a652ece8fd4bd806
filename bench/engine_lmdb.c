/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * engine_lmdb.c - LMDB on the same tmpfs
 *
 * As fast as it goes without being wrong: a read transaction that is reset and
 * renewed for each get, a write transaction for each set, mapped for writing,
 * nothing synced.
 */
#include "bench/cleanup.h"
#include "bench/engine.h"

#if __has_include(<lmdb.h>)

#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct state {
	MDB_env *env;
	MDB_dbi dbi;
	MDB_txn *reader;
	MDB_txn *writer; /* while filling */
	unsigned batch;
	char path[64];
	char lock[80];
};

static bool
prepare(struct state *s, const struct load *load)
{
	uint64_t bytes = (64u << 20) +
			 load->items * (load->value_bytes + 64) * 4 +
			 2 * load->spare_bytes;
	MDB_txn *txn;

	return mdb_env_create(&s->env) == 0 &&
	       mdb_env_set_mapsize(s->env, bytes) == 0 &&
	       mdb_env_open(s->env, s->path,
		   MDB_NOSUBDIR | MDB_NOSYNC | MDB_WRITEMAP | MDB_NOTLS,
		   0600) == 0 &&
	       mdb_txn_begin(s->env, NULL, 0, &txn) == 0 &&
	       mdb_dbi_open(txn, NULL, 0, &s->dbi) == 0 &&
	       mdb_txn_commit(txn) == 0 &&
	       mdb_txn_begin(s->env, NULL, MDB_RDONLY, &s->reader) == 0;
}

static const char *
lmdb_open(const struct load *load, void **state_out)
{
	struct state *s = calloc(1, sizeof(*s));

	(void)snprintf(s->path, sizeof(s->path),
	    "/dev/shm/shmcache.bench-%d-lmdb", (int)getpid());
	(void)snprintf(s->lock, sizeof(s->lock), "%s-lock", s->path);
	cleanup_path(s->path);
	cleanup_path(s->lock);
	if (!prepare(s, load))
		return "LMDB does not open";
	mdb_txn_reset(s->reader);
	*state_out = s;
	return NULL;
}

static void
lmdb_close(void *state)
{
	struct state *s = state;

	mdb_txn_abort(s->reader);
	mdb_env_close(s->env);
	(void)unlink(s->path);
	(void)unlink(s->lock);
	free(s);
}

static void
lmdb_filling(void *state, bool on)
{
	struct state *s = state;

	if (on)
		(void)mdb_txn_begin(s->env, NULL, 0, &s->writer);
	else if (mdb_txn_commit(s->writer) == 0)
		s->writer = NULL;
}

static bool
lmdb_set(
    void *state, const struct op *op, const void *value, size_t value_bytes)
{
	struct state *s = state;
	char key_bytes[KEY_BYTES];
	MDB_val key = { KEY_BYTES, key_bytes };
	MDB_val data = { value_bytes, NULL };
	MDB_txn *txn = s->writer;
	bool put;

	memcpy(key_bytes, op->key, KEY_BYTES);
	if (txn == NULL && mdb_txn_begin(s->env, NULL, 0, &txn) != 0)
		return false;
	put = mdb_put(txn, s->dbi, &key, &data, MDB_RESERVE) == 0;
	if (put)
		memcpy(data.mv_data, value, value_bytes);
	if (s->writer == NULL)
		return mdb_txn_commit(txn) == 0 && put;
	if (++s->batch % 100000 == 0) {
		lmdb_filling(s, false);
		lmdb_filling(s, true);
	}
	return put;
}

static int
lmdb_get(void *state, const struct op *op, void *buffer, size_t room)
{
	struct state *s = state;
	char key_bytes[KEY_BYTES];
	MDB_val key = { KEY_BYTES, key_bytes }, data;
	int bytes = -1;

	memcpy(key_bytes, op->key, KEY_BYTES);
	if (mdb_txn_renew(s->reader) != 0)
		return -1;
	if (mdb_get(s->reader, s->dbi, &key, &data) == 0 &&
	    data.mv_size <= room) {
		memcpy(buffer, data.mv_data, data.mv_size);
		bytes = (int)data.mv_size;
	}
	mdb_txn_reset(s->reader);
	return bytes;
}

const struct engine engine_lmdb = {
	.name = "LMDB",
	.open = lmdb_open,
	.close = lmdb_close,
	.filling = lmdb_filling,
	.set = lmdb_set,
	.get = lmdb_get,
};

#else

static const char *
lmdb_open(const struct load *load, void **state_out)
{
	(void)load;
	(void)state_out;
	return "install liblmdb-dev";
}

const struct engine engine_lmdb = { .name = "LMDB", .open = lmdb_open };

#endif
