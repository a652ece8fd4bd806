/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * instructions_test.c - how many instructions does a call take?
 *
 * The program runs itself under callgrind, which counts what is done within one
 * function, and holds the count to a bound.  The same build gives the same
 * count on every machine; the bounds leave room for other compilers.
 */
#include "tests/support/cache.h"
#include "tests/support/run.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEYS        1000u
#define LOOPS       10000u
#define KEY_BYTES   16u
#define VALUE_BYTES 64u

/* What is counted: this many keys that are there, or not. */
static int
loop(const char *name, const char *what)
{
	struct shmcache_options o = SHMCACHE_OPTIONS_INIT;
	char key[KEY_BYTES + 1], value[VALUE_BYTES] = "value";
	uint64_t failed = 0;
	struct shmcache *cache;

	o.capacity_bytes = 32 << 20;
	if (shmcache_open(name, &o, &cache) != 0) {
		return 1;
	}
	for (unsigned i = 0; i < KEYS + LOOPS; i++) {
		bool set = i < KEYS || strcmp(what, "set") == 0;
		unsigned item = i % KEYS;
		size_t bytes;

		if (!set && strcmp(what, "miss") == 0) {
			item += KEYS;
		}
		(void)snprintf(key, sizeof(key), "%016u", item);
		if (set) {
			failed += shmcache_set(cache, key, KEY_BYTES, value,
				      sizeof(value), 0, 0) != 0;
		} else {
			failed += (shmcache_get(cache, key, KEY_BYTES, value,
				       sizeof(value), &bytes, NULL) == 0) !=
				  (item < KEYS);
		}
	}
	return shmcache_close(cache) != 0 || failed != 0;
}

/* Instructions of the function in such a loop, of one call. */
static uint64_t
count(const char *function, const char *what, unsigned calls)
{
	char self[512], command[1024], line[256];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	uint64_t total = 0;
	bool unreadable = false;
	int status;
	FILE *output;

	CHECK(length > 0);
	self[length] = '\0';
	(void)snprintf(command, sizeof(command),
	    "exec valgrind --tool=callgrind --callgrind-out-file=/dev/null "
	    "--toggle-collect=%s '%s' --loop %s %s 2>&1",
	    function, self, test_name(what), what);
	output = popen(command, "re");
	CHECK(output != NULL);
	while (fgets(line, sizeof(line), output) != NULL) {
		const char *at = strstr(line, "Collected :");

		unreadable =
		    unreadable || strstr(line, "debuginfo reader") != NULL;
		if (at != NULL) {
			total = strtoull(at + strlen("Collected :"), NULL, 10);
		}
	}
	status = pclose(output);
	if (status != 0 && unreadable) {
		skip("valgrind cannot read this compiler's debug information: "
		     "OPT='-O2 -gdwarf-4' helps");
	}
	CHECK_SAY(status == 0 && total > 0, "the loop of %s failed", what);
	return total / calls;
}

static void
need_callgrind(void)
{
#if !defined(__OPTIMIZE__)
	skip("built without optimization");
#endif
#if !defined(__x86_64__)
	skip("the bounds are those of x86-64");
#endif
	if (TEST_TSAN || TEST_ASAN) {
		skip("the sanitizer adds instructions");
	}
	if (system("command -v valgrind >/dev/null 2>&1") != 0) {
		skip("valgrind is not installed");
	}
}

static void
at_most(const char *function, const char *what, unsigned calls, uint64_t bound)
{
	uint64_t instructions;

	need_callgrind();
	instructions = count(function, what, calls);
	printf("  %s: %llu instructions, at most %llu\n", what,
	    (unsigned long long)instructions, (unsigned long long)bound);
	CHECK(instructions <= bound);
}

/* GCC 12: 284. */
static void
hit(void)
{
	at_most("shmcache_get", "hit", LOOPS, 300);
}

static void
miss(void)
{
	at_most("shmcache_get", "miss", LOOPS, 210);
}

/* GCC 12: 1,380. */
static void
set_in_place_of_another(void)
{
	at_most("shmcache_set", "set", KEYS + LOOPS, 1450);
}

int
main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		CASE(hit),
		CASE(miss),
		CASE(set_in_place_of_another),
	};
	static const struct test_suite suite = {
		.cases = cases,
		.case_count = TEST_COUNT_OF(cases),
	};

	if (argc == 4 && strcmp(argv[1], "--loop") == 0) {
		return loop(argv[2], argv[3]);
	}
	return run_suite(argc, argv, &suite);
}
