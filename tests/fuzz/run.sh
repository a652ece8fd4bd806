#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# run.sh - fuzz the bytes of a segment
#
#   tests/fuzz/run.sh WORKDIR SECONDS [SANITIZERS]
#
# Builds tests/fuzz/segment_fuzzer.c and the library with clang's libFuzzer and
# SANITIZERS (address,undefined unless given; "none" is faster), and runs it on
# every processor, from the inputs in tests/fuzz/corpus and those that earlier
# runs left in WORKDIR/corpus.  Exits with 1, and names the input, if one made a
# call crash, leave its memory or hang; with 77 where libFuzzer is missing.

set -u
export LC_ALL=C
cd "$(dirname "$0")/../.." || exit 1
[ $# -ge 2 ] || {
	echo "usage: tests/fuzz/run.sh WORKDIR SECONDS [SANITIZERS]" >&2
	exit 2
}
work=$1 seconds=$2 sanitizers=${3:-address,undefined}
cc=${FUZZ_CC:-clang}
jobs=$(nproc)
[ "$sanitizers" != none ] || sanitizers=
mkdir -p "$work/corpus" "$work/found"
work=$(cd "$work" && pwd)
build=$work/build-${sanitizers:-none}

skip() {
	echo "$1"
	exit 77
}

with="fuzzer-no-link${sanitizers:+,$sanitizers}"
echo 'int LLVMFuzzerTestOneInput(const char *p, unsigned long n)
	{ return n > 2 && p[0] == p[1]; }' >"$work/probe.c"
command -v "$cc" >/dev/null || skip "$cc is not installed"
"$cc" -w -fsanitize="fuzzer${sanitizers:+,$sanitizers}" "$work/probe.c" \
    -o "$work/probe" 2>/dev/null ||
    skip "$cc has no libFuzzer (Debian: libclang-rt-14-dev)"
prefix=
"$work/probe" -runs=10 >/dev/null 2>&1 || prefix="setarch -R"
$prefix "$work/probe" -runs=10 >/dev/null 2>&1 ||
    skip "programs with ${sanitizers:-libFuzzer} don't run here"

make -j"$jobs" BUILD="$build" CC="$cc" OPT="-O2 -g" \
    CFLAGS="-fsanitize=$with -fno-sanitize-recover=all -fno-sanitize-coverage=trace-cmp" \
    CPPFLAGS=-U_LGPL_SOURCE "$build/libshmcache.a" >"$work/make" 2>&1 || {
	cat "$work/make"
	exit 1
}
# shellcheck disable=SC2046
"$cc" -std=gnu11 -O2 -g -D_GNU_SOURCE \
    -fsanitize="fuzzer${sanitizers:+,$sanitizers}" \
    -fno-sanitize-recover=all -I"$build/include" -I"$build/public" \
    tests/fuzz/segment_fuzzer.c tests/fuzz/hostile.c tests/fuzz/guard.c \
    "$build/libshmcache.a" $(pkg-config --libs liburcu-bp) -pthread \
    -o "$build/segment_fuzzer" >"$work/link" 2>&1 || {
	cat "$work/link"
	exit 1
}

export UBSAN_OPTIONS=print_stacktrace=1
# What an input may compute is limited by the program; -timeout is time on the
# clock, of which a busy machine takes more, and ends those that sleep for ever.
start=$SECONDS pids=()
for job in $(seq "$jobs"); do
	# shellcheck disable=SC2086
	$prefix "$build/segment_fuzzer" -max_total_time="$seconds" \
	    -timeout=300 -entropic=0 -max_len=160 -print_final_stats=1 -reload=1 \
	    -artifact_prefix="$work/found/" "$work/corpus" \
	    tests/fuzz/corpus >"$work/log-$job" 2>&1 &
	pids+=($!)
done
failed=0
for pid in "${pids[@]}"; do
	wait "$pid" || failed=1
	rm -f "/dev/shm/shmcache.test-$pid-fuzz"*
done
if [ $failed = 1 ]; then
	grep -hE -A 25 'ERROR|SUMMARY|stray|no end|unlisted|runtime error' \
	    "$work"/log-*
	echo "inputs that fail are in $work/found; run one with"
	echo "  $build/segment_fuzzer FILE"
	exit 1
fi

runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work"/log-* |
    awk '{ n += $1 } END { print n + 0 }')
edges=$(grep -ho 'cov: [0-9]*' "$work"/log-* | awk '{ if ($2 > m) m = $2 }
    END { print m + 0 }')
took=$((SECONDS - start))
total=$(sed -n 's/^INFO: Loaded . modules  *(\([0-9]*\) .*/\1/p' \
    "$work/log-1" | head -n 1)
echo "$runs executions in $took s by $jobs processes," \
    "$((runs / (took > 0 ? took : 1) / jobs))/s each, $edges edges of $total"
