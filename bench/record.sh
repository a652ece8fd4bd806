#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# record.sh TRACE CAPACITY [SHARE...] - is a curve from a recording right?
#
# Plays the trace, of objects of one size, into a cache of that capacity, and
# records a share of the keys (1 and 0.1 unless given) meanwhile.  Prints the
# misses of the curve that is made of each recording beside those of the trace
# itself at the same sizes, in percent, and how far off they are at the most.

set -eu
export LC_ALL=C
cd "$(dirname "$0")/.."
tools=${SHMCACHE_BUILD:-build}/tools
trace=$1 capacity=$2
shift 2
name=bench-record-$$
work=$(mktemp -d)
trap 'rm -rf "$work"; "$tools/shmcache" destroy --yes $name >/dev/null 2>&1' EXIT

# $1: share
record() {
	"$tools/shmcache" create --capacity "$capacity" $name
	"$tools/shmcache-stat" --record "$work/log" --sample "$1" $name \
	    2>"$work/said" &
	until [ -s "$work/log" ]; do sleep 0.05; done
	"$tools/shmcache-replay" --into $name -u --rate 150000 "$trace" \
	    >/dev/null 2>&1
	kill -INT $!
	wait $!
	"$tools/shmcache" destroy --yes $name >/dev/null
	grep requests "$work/said" | sed 's/^[^0-9]*log: /# /'
}

# Bytes and misses of the library in a table
points() {
	awk '$4 == "s3fifo" && $5 > 0 { print $2, $5 * 100 }'
}

[ $# -gt 0 ] || set -- 1 0.1
for s in "$@"; do
	record "$s"
	fixed=$(sed -n 's/^# fixed_bytes //p' "$work/log")
	"$tools/shmcache-replay" --curve -u -r none "$work/log" \
	    2>/dev/null | points >"$work/curve"
	sizes=$(awk -v f="$fixed" '{ printf "%s%d", sep, $1 - f; sep = "," }' \
	    "$work/curve")
	"$tools/shmcache-replay" -u -r none -s "$sizes" "$trace" \
	    2>/dev/null | points >"$work/full"
	paste "$work/curve" "$work/full" | awk -v share="$s" '{
		off = $2 - $4
		printf "share %-5s %10d bytes  curve %6.2f  trace %6.2f  %+.2f\n",
		    share, $1, $2, $4, off
		if (off < 0) off = -off
		if (off > most) most = off
	} END { printf "share %-5s at most %.2f off\n", share, most }'
done
