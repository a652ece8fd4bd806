/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* number.c - see number.h */
#include "tools/cli/number.h"

#include "tools/common.h"

#include <errno.h>
#include <inttypes.h>
#include <shmcache.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit {
	const char *name;
	double factor;
};

static const struct unit times[] = { { "", 1e3 }, { "ms", 1 }, { "s", 1e3 },
	{ "m", 6e4 }, { "min", 6e4 }, { "h", 3.6e6 }, { "d", 8.64e7 },
	{ NULL, 0 } };

#define KIB 1024.0
static const struct unit sizes[] = { { "", 1 }, { "B", 1 }, { "K", KIB },
	{ "KiB", KIB }, { "M", KIB *KIB }, { "MiB", KIB *KIB },
	{ "G", KIB *KIB *KIB }, { "GiB", KIB *KIB *KIB },
	{ "T", KIB *KIB *KIB *KIB }, { "TiB", KIB *KIB *KIB *KIB },
	{ NULL, 0 } };

/* All whole numbers up to here are doubles. */
#define WHOLE_MAX 9007199254740992.0

/* Digits, a point and digits, then a unit; -1 if it is anything else. */
static double
read_quantity(const char *text, const struct unit *units)
{
	size_t digits = strspn(text, "0123456789.");
	char *end;
	double value = strtod(text, &end);

	if (!digits || end != text + digits) {
		return -1;
	}
	for (; units->name; units++) {
		if (!strcasecmp(units->name, end)) {
			value *= units->factor;
			return value <= WHOLE_MAX ? value : -1;
		}
	}
	return -1;
}

int
number_time(const char *option, const char *text, int64_t *ms_out)
{
	double ms;

	if (!text) {
		return 1;
	}
	if (!strcmp(text, "none")) {
		*ms_out = SHMCACHE_TTL_NONE;
		return 1;
	}
	ms = read_quantity(text, times);
	if (ms <= 0) {
		(void)tool_usage("%s wants a time above 0, like 10s, 5m, 1.5h "
				 "or 250ms (seconds without a unit), or "
				 "'none' for ever: not '%s'",
		    option, text);
		return 0;
	}
	*ms_out = (int64_t)ms;
	if (ms > (double)*ms_out) {
		++*ms_out;
	}
	return 1;
}

int
number_size(const char *option, const char *text, uint64_t *bytes_out)
{
	double bytes;

	if (!text) {
		return 1;
	}
	bytes = read_quantity(text, sizes);
	if (bytes < 0) {
		(void)tool_usage("%s wants a number of bytes, like 4096, 64K, "
				 "32M or 1.5G: not '%s'",
		    option, text);
		return 0;
	}
	*bytes_out = (uint64_t)bytes;
	return 1;
}

int
number_integer(const char *option, const char *text, int64_t least,
    int64_t most, int64_t *value_out)
{
	long long value;
	char *end;

	if (!text) {
		return 1;
	}
	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno || *end || !strspn(text, "-+0123456789") || value < least ||
	    value > most) {
		(void)tool_usage("%s wants a whole number from %" PRId64
				 " to %" PRId64 ": not '%s'",
		    option, least, most, text);
		return 0;
	}
	*value_out = value;
	return 1;
}

int
number_token(const char *option, const char *text, uint64_t *number_out)
{
	unsigned long long number;
	char *end;

	if (!text) {
		return 1;
	}
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno || *end || !strspn(text, "0123456789")) {
		(void)tool_usage("%s wants a number that was printed before: "
				 "not '%s'",
		    option, text);
		return 0;
	}
	*number_out = number;
	return 1;
}

void
number_format_time(char *text, int64_t ms)
{
	if (ms == SHMCACHE_TTL_NONE) {
		(void)snprintf(text, NUMBER_TIME_BYTES_MAX, "none");
	} else {
		(void)snprintf(text, NUMBER_TIME_BYTES_MAX,
		    "%" PRId64 ".%03" PRId64, ms / 1000, ms % 1000);
	}
}
