# SPDX-License-Identifier: LGPL-2.1-or-later
#
# plots.gp - the tables of a folder as pictures; run in that folder

set datafile separator "\t"
set terminal svg size 760,480 dynamic background rgb "white" font "sans,12"
set grid
set key outside right top
set style data linespoints

# The lines of one file, by what was done, who did it, and the order of keys.
lines(file, what, who, order) = sprintf( \
    "< awk -F'\t' '$1 == \"%s\" && $2 == \"%s\" && $3 == \"%s\" && $5 == 64' %s", \
    what, who, order, file)

there(file) = system(sprintf("test -s %s && echo 1 || echo 0", file)) + 0

if (there("get.tsv")) {
	everybody = "floor shmcache ck_ht cds_lfht 'rwlock table' LMDB \
	    'SQLite :memory:' memcached Redis"

	set logscale xy
	set xlabel "items, 16-byte keys, 64-byte values, uniform"
	set ylabel "ns of one get"
	set output "get.svg"
	set title "One get after the other"
	plot for [who in everybody] lines("get.tsv", "get", who, "uniform") \
	    using 4:7 title who noenhanced

	set ylabel "ns of one key"
	set output "many.svg"
	set title "Single gets, and 16 in one call"
	plot for [who in "floor shmcache"] \
	    lines("get.tsv", "get", who, "uniform") using 4:7 \
	    title who.", single" noenhanced, \
	    for [who in "floor shmcache memcached Redis 'Redis, pipelined'"] \
	    lines("get.tsv", "get 16", who, "uniform") using 4:7 \
	    title who.", 16" noenhanced
	unset logscale
}

if (there("large.tsv")) {
	set logscale x
	set yrange [0:*]
	set xlabel "items, 16-byte keys, 8-byte values, uniform"
	set ylabel "ns of one get"
	set output "large.svg"
	set title "From 10^4 to 10^8 items"
	plot for [who in "floor shmcache"] sprintf( \
	    "< awk -F'\t' '$1 == \"get\" && $2 == \"%s\"' large.tsv", who) \
	    using 4:7 title who noenhanced
	unset logscale
	set yrange [*:*]
}

if (there("scale.tsv")) {
	set logscale x 2
	set yrange [0:*]
	set xlabel "processes"
	set ylabel "processor time of one operation, against one process alone"
	set output "scale.svg"
	set title "What processes cost each other"
	plot for [what in "get set"] for [who in "shmcache 'rwlock table'"] \
	    for [order in "'one key' uniform"] \
	    lines("scale.tsv", what, who, order) using 6:10 \
	    title who.", ".what.", ".order noenhanced
	unset logscale
	set yrange [*:*]
}

if (there("latency.tsv")) {
	set logscale y
	set xlabel ""
	set ylabel "ns of one get, timed by itself"
	set xtics ("p50" 0, "p90" 1, "p99" 2, "p99.9" 3, "p99.99" 4, "worst" 5)
	set output "latency.svg"
	set title "Single gets of 10,000 hot keys"
	plot for [who in "floor shmcache"] for [order in "alone evictor"] \
	    sprintf("< awk -F'\t' '$2 == \"%s\" && $3 == \"%s\"' latency.tsv", who, order) using 0:7 title who.", ".order noenhanced
}

if (there("load.tsv")) {
	set xlabel "worker processes"
	set ylabel "loads, in thousands"
	set logscale x 2
	set yrange [0:*]
	set xtics auto
	unset logscale y
	set output "load.svg"
	set title "Loads of 50,000 recorded requests"
	plot for [who in "none get_or_load stale_ms beta"] sprintf( \
	    "< awk -F'\t' '$1 == \"trace\" && $2 == \"%s\"' load.tsv", who) \
	    using 6:($7/1000) title who noenhanced
}
