#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# run.sh BUILD bench|load|quick|large - run the benches
#
#   bench   all questions and all alternatives that are there; tables to the
#           terminal and, with JSON and plots, to docs/bench
#   load    the part about loads alone, with its plot
#   large   the cache and its floor from 10 thousand to 100 million items
#   quick   ratios of the cache to its floor, in two minutes, against
#           bench/expected.txt; what lies outside is a warning

set -eu
export LC_ALL=C
build=$1 what=$2
here=$(cd "$(dirname "$0")" && pwd)
out=$here/../docs/bench

plot() {
	command -v gnuplot >/dev/null || {
		echo "no plots: install gnuplot-nox"
		return 0
	}
	(cd "$1" && gnuplot "$here/plots.gp") && echo "plots: $1"
}

# $1: folder, $2: name of its files, rest: the program and its options
run() {
	folder=$1 name=$2
	shift 2
	echo "== $*"
	"$@" --out "$folder" | tee "$folder/$name.txt"
}

run_load() {
	xz -dc "$here/../demo/data/orm-busy.csv.xz" | head -50000 |
	    run "$out" load "$build/bench/load_bench" --rounds 3
}

case $what in
bench)
	mkdir -p "$out"
	for name in get set scale latency space; do
		run "$out" $name "$build/bench/${name}_bench"
	done
	run_load
	plot "$out"
	;;
load)
	mkdir -p "$out"
	run_load
	plot "$out"
	;;
large)
	mkdir -p "$out"
	run "$out" large "$build/bench/get_bench" --large
	;;
quick)
	scratch=$(mktemp -d)
	trap 'rm -rf "$scratch"' EXIT
	for name in get set scale; do
		run "$scratch" $name "$build/bench/${name}_bench" --quick --alone
	done
	"$here/expect.sh" "$scratch"
	;;
*)
	echo "usage: bench/run.sh BUILD bench|load|quick|large" >&2
	exit 2
	;;
esac
