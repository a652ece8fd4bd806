#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# gen-stats.sh - write the tables of counters and gauges into shmcache_stats.3
#
#   gen-stats.sh           rewrite the page
#   gen-stats.sh --check   say whether that would change it; 1 if so
#
# libshmcache/stats.def is read by the C preprocessor, as the library does.  The
# lines between '.\" begin KIND' and '.\" end KIND' of the page are replaced.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
stats="$here/../../libshmcache/stats.def"
page="$here/shmcache_stats.3"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

# Lines "KIND name "text"", in the order of the file.
"${CC:-cc}" -E -P -x c - >"$scratch/list" <<END
#define COUNTER(name, text) COUNTER name text
#define GAUGE(name, text) GAUGE name text
#include "$stats"
END

awk -v list="$scratch/list" '
function print_table(kind,    line, name) {
	print ".Bl -tag -width \"extents_evicting\""
	while ((getline line <list) > 0) {
		if (split(line, word, " ") < 3 || word[1] != kind)
			continue
		name = word[2]
		sub(/^[^"]*"/, "", line)
		sub(/"[ \t]*$/, "", line)
		gsub(/\\/, "\\e", line)
		print ".It Va " name
		print line
		printed++
	}
	close(list)
	print ".El"
}
/^\.\\" begin / { print; print_table($3); skipping = 1; next }
/^\.\\" end /   { skipping = 0 }
!skipping       { print }
END             { exit printed > 0 && !skipping ? 0 : 1 }
' "$page" >"$scratch/page" || {
	echo "$0: $page lacks its markers, or $stats is empty" >&2
	exit 1
}

# The preprocessor may join lines: every macro call must have got its item.
wanted=$(grep -cE '^(COUNTER|GAUGE)\(' "$stats")
got=$(sed -n '/^\.\\" begin /,/^\.\\" end /p' "$scratch/page" |
    grep -c '^\.It Va ')
if [ "$wanted" -ne "$got" ]; then
	echo "$0: $stats has $wanted counters and gauges, the table $got" >&2
	exit 1
fi

if cmp -s "$scratch/page" "$page"; then
	exit 0
fi
if [ "${1:-}" = --check ]; then
	echo "$page: the tables are out of date: run docs/man/gen-stats.sh" >&2
	diff -u "$page" "$scratch/page" >&2 || true
	exit 1
fi
cat "$scratch/page" >"$page"
