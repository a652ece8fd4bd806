#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# check-symbols.sh LIBRARY - it exports what symbols.list says, and its dynamic
# section is as it should be
#
# A symbol that goes away, or changes its version, breaks programs that are
# linked already; one too many becomes a promise.

set -u
export LC_ALL=C
cd "$(dirname "$0")/.." || exit 1

[ $# = 1 ] || {
	echo "usage: scripts/check-symbols.sh LIBRARY" >&2
	exit 2
}
library=$1
list=libshmcache/symbols.list
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0

nm -D --defined-only "$library" | awk '$2 != "A" { print $3 }' |
    sort >"$work/has"
grep -v '^#' "$list" | sort >"$work/wants"
if ! diff -u --label "$list" --label "$library" "$work/wants" "$work/has"; then
	echo "exported symbols differ from $list"
	bad=1
fi

readelf -dW "$library" >"$work/dynamic"
for wanted in 'soname: \[libshmcache\.so\.0\]' 'NODELETE' 'NOW'; do
	grep -q "$wanted" "$work/dynamic" || {
		echo "its dynamic section lacks $wanted"
		bad=1
	}
done
if grep -E 'RPATH|RUNPATH|TEXTREL' "$work/dynamic"; then
	echo "that should not be in its dynamic section"
	bad=1
fi
[ $bad = 0 ] && echo "$(wc -l <"$work/has") symbols, as listed"
exit $bad
