/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * origin.c - the database that is cached: SQLite, on disk
 *
 * 171,075 cities with their regions and districts.  A row's value is made by
 * READ_SQL alone.  Nothing in a value depends on another row's `revision`, the
 * one column that changes: so a change of a row changes one value.
 */
#include "demo.h"

#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#define BUSY_MS 10000

/* It lives for a minute and is never needed again: no fsync(). */
static const char schema[] =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; BEGIN;"
    "CREATE TABLE region (code TEXT PRIMARY KEY, name TEXT) WITHOUT ROWID;"
    "CREATE TABLE district (code TEXT PRIMARY KEY, name TEXT) WITHOUT ROWID;"
    "CREATE TABLE city (id INTEGER PRIMARY KEY, name TEXT, country TEXT,"
    "  region TEXT, district TEXT, lat REAL, lng REAL,"
    "  lng_weight REAL, revision INTEGER DEFAULT 1);"
    "CREATE VIRTUAL TABLE place USING rtree(id, lat0, lat1, lng0, lng1);";

static const char indexes[] =
    "INSERT INTO place SELECT id, lat, lat, lng, lng FROM city;"
    "CREATE INDEX city_by_region ON city (region);"
    "COMMIT;";

/*
 * The nearest cities within 0.2 degrees, 22 km to the north and south.  The
 * earth is flat enough there: the squared distance is lat^2 + (lng cos(lat))^2.
 */
#define READ_SQL                                                               \
	"SELECT json_object('id', c.id, 'revision', c.revision,"               \
	"  'name', c.name, 'country', c.country,"                              \
	"  'region', r.name, 'district', d.name,"                              \
	"  'latitude', c.lat, 'longitude', c.lng,"                             \
	"  'cities_in_region',"                                                \
	"    (SELECT count(*) FROM city x WHERE x.region = c.region),"         \
	"  'nearby', (SELECT json_group_array(json_object('id', id,"           \
	"    'name', name, 'region', region, 'latitude', lat,"                 \
	"    'longitude', lng))"                                               \
	"   FROM (SELECT n.id, n.name, n.region, n.lat, n.lng,"                \
	"      (n.lat - c.lat) * (n.lat - c.lat) + c.lng_weight *"             \
	"      (n.lng - c.lng) * (n.lng - c.lng) AS distance"                  \
	"     FROM place p JOIN city n ON n.id = p.id"                         \
	"     WHERE p.lat1 >= c.lat - 0.2 AND p.lat0 <= c.lat + 0.2"           \
	"       AND p.lng1 >= c.lng - 0.2 AND p.lng0 <= c.lng + 0.2"           \
	"       AND n.id <> c.id"                                              \
	"     ORDER BY distance, n.id LIMIT 8)))"                              \
	" FROM city c LEFT JOIN region r ON r.code = c.region"                 \
	" LEFT JOIN district d ON d.code = c.district WHERE c.id = ?1"

enum table { REGION, DISTRICT, CITY, TABLES };

static const char *const insert_sql[TABLES] = {
	[REGION] = "INSERT INTO region VALUES (?1, ?2)",
	[DISTRICT] = "INSERT INTO district VALUES (?1, ?2)",
	/* name, country, codes of region and district, latitude, longitude */
	[CITY] = "INSERT INTO city (name, country, region, district, lat, lng,"
		 " lng_weight) VALUES (?1, ?2, ?2 || '.' || ?3,"
		 " ?2 || '.' || ?3 || '.' || ?4, ?5, ?6, ?7)",
};

#define RADIANS_PER_DEGREE 0.017453292519943295
#define LINE_FIELDS_MAX    6

struct loader {
	struct origin origin;
	sqlite3_stmt *insert[TABLES];
	uint32_t city_count;
};

static int
complain_sqlite(const struct origin *origin, const char *what)
{
	return interrupted ? -1
			   : complain("SQLite: %s: %s", what,
				 sqlite3_errmsg(origin->database));
}

int
origin_execute(struct origin *origin, const char *sql)
{
	return sqlite3_exec(origin->database, sql, NULL, NULL, NULL)
		   ? complain_sqlite(origin, sql)
		   : 0;
}

static int
insert_row(struct loader *loader, enum table table, char **field, int fields)
{
	sqlite3_stmt *insert = loader->insert[table];
	double squeeze;

	for (int i = 0; i < fields; i++) {
		if (table == CITY && i >= 4) {
			sqlite3_bind_double(insert, i + 1, atof(field[i]));
		} else {
			sqlite3_bind_text(
			    insert, i + 1, field[i], -1, SQLITE_STATIC);
		}
	}
	if (table == CITY) {
		squeeze = cos(atof(field[4]) * RADIANS_PER_DEGREE);
		sqlite3_bind_double(insert, 7, squeeze * squeeze);
		loader->city_count++;
	}
	if (sqlite3_step(insert) != SQLITE_DONE) {
		return complain_sqlite(&loader->origin, "insert");
	}
	sqlite3_reset(insert);
	return 0;
}

/* A line of cities.tsv; see data/README.md. */
static int
load_line(void *context, char *line)
{
	static const char letters[] = "RDC";
	struct loader *loader = context;
	char *field[LINE_FIELDS_MAX];
	const char *letter = strchr(letters, line[0]);
	char *rest = line;
	enum table table;
	int fields = 0;

	strsep(&rest, "\t");
	while (fields < LINE_FIELDS_MAX && rest) {
		field[fields++] = strsep(&rest, "\t");
	}
	if (!line[0] || !letter ||
	    fields != (*letter == 'C' ? LINE_FIELDS_MAX : 2)) {
		return complain("not a row: \"%s\"", line);
	}
	table = (enum table)(letter - letters);
	return insert_row(loader, table, field, fields);
}

/* SQLite calls this every so often; not 0 makes it give up. */
static int
give_up(void *unused)
{
	(void)unused;
	return interrupted;
}

static int
load_all(struct loader *loader, const char *cities_path)
{
	sqlite3 *database = loader->origin.database;
	int result = origin_execute(&loader->origin, schema);

	sqlite3_progress_handler(database, 100000, give_up, NULL);
	for (int i = 0; i < TABLES && !result; i++) {
		if (sqlite3_prepare_v2(database, insert_sql[i], -1,
			&loader->insert[i], NULL)) {
			result = complain_sqlite(&loader->origin, "prepare");
		}
	}
	if (!result) {
		result = read_xz_lines(cities_path, load_line, loader);
	}
	for (int i = 0; i < TABLES; i++) {
		sqlite3_finalize(loader->insert[i]);
	}
	return result ? result : origin_execute(&loader->origin, indexes);
}

static int
open_database(struct origin *origin, const char *path, int flags)
{
	memset(origin, 0, sizeof(*origin));
	if (sqlite3_open_v2(path, &origin->database, flags, NULL)) {
		complain_sqlite(origin, path);
		origin_close(origin);
		return -1;
	}
	sqlite3_busy_timeout(origin->database, BUSY_MS);
	return 0;
}

int
origin_build(const char *path, const char *cities_path, uint32_t *row_count_out)
{
	struct loader loader = { .city_count = 0 };
	int result;

	if (open_database(&loader.origin, path,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)) {
		return -1;
	}
	result = load_all(&loader, cities_path);
	origin_close(&loader.origin);
	*row_count_out = loader.city_count;
	return result;
}

int
origin_open(struct origin *origin, const char *path, int writable)
{
	if (open_database(origin, path,
		writable ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY)) {
		return -1;
	}
	if (sqlite3_prepare_v3(origin->database, READ_SQL, -1,
		SQLITE_PREPARE_PERSISTENT, &origin->read, NULL)) {
		complain_sqlite(origin, "prepare");
		origin_close(origin);
		return -1;
	}
	return 0;
}

void
origin_close(struct origin *origin)
{
	sqlite3_finalize(origin->read);
	sqlite3_close(origin->database);
	memset(origin, 0, sizeof(*origin));
}

int
origin_read(struct origin *origin, uint32_t row, char *value)
{
	const unsigned char *text;
	int bytes;
	int code;

	sqlite3_bind_int64(origin->read, 1, row);
	code = sqlite3_step(origin->read);
	if (code != SQLITE_ROW) {
		return code == SQLITE_DONE
			   ? complain("the database has no row %u", row)
			   : complain_sqlite(origin, "read");
	}
	text = sqlite3_column_text(origin->read, 0);
	bytes = sqlite3_column_bytes(origin->read, 0);
	if (!text || bytes > VALUE_BYTES_MAX) {
		return complain("the value of row %u has %d bytes", row, bytes);
	}
	memcpy(value, text, (size_t)bytes);
	sqlite3_reset(origin->read);
	return bytes;
}
