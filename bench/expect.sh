#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# expect.sh FOLDER - are the ratios of FOLDER/*.tsv what expected.txt says?
#
# A line there: the table, what was done, by whom, in which order of keys, with
# how many items, by how many processes, which ratio (floor, cache), and its
# bounds.  What lies outside is a warning: the exit status is 0 all the same.

set -eu
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
folder=$1
good=0 bad=0

while IFS='|' read -r table what who order items processes ratio low high; do
	case $table in '' | '#'*) continue ;; esac
	value=$(awk -F'\t' -v what="$what" -v who="$who" -v order="$order" \
	    -v items="$items" -v n="$processes" -v ratio="$ratio" \
	    '$1 == what && $2 == who && $3 == order && $4 == items && $6 == n {
		print ratio == "floor" ? $10 : $11 }' "$folder/$table.tsv")
	if awk -v v="${value:-none}" -v low="$low" -v high="$high" \
	    'BEGIN { exit !(v != "none" && v >= low && v <= high) }'; then
		good=$((good + 1))
	else
		bad=$((bad + 1))
		echo "warning: $table, $what, $who, $order, $items items," \
		    "$processes processes: x $ratio is ${value:-missing}," \
		    "expected $low to $high"
	fi
done <"$here/expected.txt"
echo "$good ratios as expected, $bad not"
