#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# eviction.sh [FOLDER] - the figures of docs/eviction.md
#
# FOLDER has traces NAME.csv.xz; those of the project are found by themselves.
# Prints a line for each point, and the geometric means of misses against LRU
# and S3-FIFO over the points with sizes that have 1,280 objects or more, of the
# library and of its policy without a log ("ideal"); then the same for synthetic
# traces (synthetic.awk), on which nothing is tuned.

set -eu
export LC_ALL=C
cd "$(dirname "$0")/.."
replay=${SHMCACHE_BUILD:-build}/tools/shmcache-replay
folder=${1-}

# $1: name
trace() {
	for file in "$folder/$1.csv.xz" tests/data/"$1".csv.xz \
	    demo/data/"$1".csv.xz; do
		[ -f "$file" ] && echo "$file" && return
	done
	echo "eviction: no trace $1: left out" >&2
	return 1
}

# $1: what the line begins with, rest: options and trace
points() {
	what=$1
	shift
	"$replay" -r lru,s3fifo,ideal "$@" 2>/dev/null | awk -v what="$what" '
	$4 == "lru" && $8 == "" { lru = $5 }
	$4 == "s3fifo" && $8 == "" { s3 = $5 }
	$4 == "ideal" { ideal = $5 }
	$4 == "s3fifo" && $8 != "" {
		printf "%-16s %6.1f%% %7d objects  lru %.4f  s3fifo %.4f  " \
		    "ideal %.4f  library %.4f  %+5.1f%% %+5.1f%%  live %s " \
		    "copied %s\n", what, $1, $3, lru, s3, ideal, $5,
		    ($5 / lru - 1) * 100, ($5 / s3 - 1) * 100, $8, $9
	}'
}

# The points' lines, and the means of those that are judged.
means() {
	awk '
	{ print }
	!/unit/ {
		for (i = 1; i <= NF; i++)
			value[$i] = $(i + 1)
		for (i = 1; i <= NF && $i != "objects"; i++)
			objects = $i
		if (objects < 1280)
			next
		n++
		lru += log(value["library"] / value["lru"])
		s3 += log(value["library"] / value["s3fifo"])
		ideal_lru += log(value["ideal"] / value["lru"])
		ideal_s3 += log(value["ideal"] / value["s3fifo"])
	}
	END {
		if (n > 0)
			printf "%d points with sizes: %+.1f%% against lru, " \
			    "%+.1f%% against s3fifo (ideal: %+.1f%%, " \
			    "%+.1f%%)\n", n,
			    (exp(lru / n) - 1) * 100, (exp(s3 / n) - 1) * 100,
			    (exp(ideal_lru / n) - 1) * 100,
			    (exp(ideal_s3 / n) - 1) * 100
	}'
}

{
	for name in web12 orm-busy scarab-recs corda kvsyn-a; do
		file=$(trace $name) && points "$name" -s 1%,10% "$file"
	done
	for name in web12 orm-busy scarab-recs; do
		file=$(trace $name) && points "$name, unit" -u -s 10% "$file"
	done
} | means

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for kind in zipf churn scans distances loops; do
	awk -v kind=$kind -f bench/synthetic.awk >"$work/$kind"
	points "$kind" -f keys -s 5%,15% "$work/$kind"
done | means
