/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* check.c - conditions that a monitor alarms on */
#include "tools/stat/check.h"

#include "tools/common.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct condition {
	const struct field *field;
	const char *relation;
	double number;
};

/* The longer ones first, as they begin like the shorter ones. */
static const char *const relations[] = { "<=", ">=", "==", "!=", "<", ">" };

static const struct {
	const char *text;
	double factor;
} units[] = { { "", 1 }, { "%", 0.01 }, { "KiB", 0x1p10 }, { "MiB", 0x1p20 },
	{ "GiB", 0x1p30 }, { "TiB", 0x1p40 } };

/* The relation at the beginning of `text`, or NULL. */
static const char *
read_relation(const char *text)
{
	size_t i;

	for (i = 0; i < sizeof(relations) / sizeof(relations[0]); i++) {
		if (!strncmp(text, relations[i], strlen(relations[i]))) {
			return relations[i];
		}
	}
	return NULL;
}

static const char *
skip_spaces(const char *text)
{
	return text + strspn(text, " \t");
}

static int
read_number(const char *text, double *number_out)
{
	char *end;
	size_t i;

	*number_out = strtod(text, &end);
	if (end == text || !isfinite(*number_out)) {
		return 0;
	}
	for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (!strcmp(skip_spaces(end), units[i].text)) {
			*number_out *= units[i].factor;
			return 1;
		}
	}
	return 0;
}

static int
read_condition(const char *text, struct condition *condition)
{
	const char *name = skip_spaces(text);
	size_t name_bytes = strcspn(name, " \t<>=!");
	const char *rest = skip_spaces(name + name_bytes);

	condition->field = field_find(name, name_bytes);
	if (!condition->field) {
		return tool_usage("--check '%s': there is no field '%.*s': "
				  "--list-fields names them all",
		    text, (int)name_bytes, name);
	}
	condition->relation = read_relation(rest);
	if (!condition->relation) {
		return tool_usage("--check '%s': after the field one of < <= > "
				  ">= == != is needed",
		    text);
	}
	rest += strlen(condition->relation);
	if (!read_number(skip_spaces(rest), &condition->number)) {
		return tool_usage("--check '%s': '%s' is not a number, which "
				  "may end with %%, KiB, MiB, GiB or TiB",
		    text, skip_spaces(rest));
	}
	return TOOL_GO_ON;
}

static int
holds(const struct condition *condition, const struct value *value)
{
	const char *relation = condition->relation;
	double number = condition->number;

	if (value->kind == VALUE_NONE) {
		return 0;
	}
	switch (relation[0]) {
	case '<':
		return relation[1] ? value->real <= number
				   : value->real < number;
	case '>':
		return relation[1] ? value->real >= number
				   : value->real > number;
	case '=':
		return value->real == number;
	default:
		return value->real != number;
	}
}

int
check_syntax(const char *const *conditions)
{
	struct condition condition;
	int code = TOOL_GO_ON;

	for (; code == TOOL_GO_ON && *conditions; conditions++) {
		code = read_condition(*conditions, &condition);
	}
	return code;
}

int
check_report(const struct report *report, const char *const *conditions)
{
	struct condition condition;
	char exact[NUMBER_BYTES_MAX];
	int code = TOOL_OK;

	for (; *conditions; conditions++) {
		struct value value;
		int alarm;

		if (read_condition(*conditions, &condition) != TOOL_GO_ON) {
			return TOOL_USAGE;
		}
		value = field_value(report, condition.field);
		alarm = holds(&condition, &value);
		field_format_exact(exact, &value);
		printf("%s %s: %s is %s%s\n", alarm ? "ALARM" : "ok",
		    *conditions, condition.field->name, *exact ? exact : "-",
		    condition.field->grows && report->seconds > 0
			? " per second"
			: "");
		if (alarm) {
			code = TOOL_FAILED;
		}
	}
	return code;
}
