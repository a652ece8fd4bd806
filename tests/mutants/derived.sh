#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# derived.sh - does some test notice each of the derived mistakes?
#
#   tests/mutants/derived.sh WORKDIR [PATTERN]
#
# Builds a copy of the tree with all mistakes of derive.sh in it, once, and runs
# the test programs with each switched on, only those that come to its place, until
# one fails: first the quick programs for all mistakes, then the slower ones.  PATTERN (grep -E) chooses names.
#
# Results are appended to WORKDIR/results, and what is there is not run again:
# so a run can be broken off and gone on with.  Remove WORKDIR to begin anew.  The
# mistakes come in a random order, so that a part of a run tells of the whole.
#
# survivors.list names those that are known to survive, each with the reason.
# One that survives and is not there fails, and so does one that is there and
# is caught.  The last line is "N passed, N failed".

set -u
export LC_ALL=C
cd "$(dirname "$0")/../.." || exit 1
[ $# -ge 1 ] || {
	echo "usage: tests/mutants/derived.sh WORKDIR [PATTERN]" >&2
	exit 2
}
mkdir -p "$1"
work=$(cd "$1" && pwd)
pattern=${2:-.}
known=$PWD/tests/mutants/survivors.list
tree=$work/tree
unset SHM_MUTANT SHM_MUTANT_SEEN

# All that may notice a mistake.  Not those that count instructions, or test the
# tests.
programs() {
	local p
	for p in tests/unit/*_test.c tests/multi/*_test.c; do
		case $p in
		*/instructions_test.c | */history_checker_test.c | */idle_test.c) ;;
		*) echo "${p%.c}" ;;
		esac
	done
	echo "tests/multi/history_test --ops 4000000"
	echo "tests/fuzz/damage_test --every 31 --rounds 200"
	echo "tests/crash/step_test --stops 0 --seconds 0 --kills 0"
}

prepare() {
	mkdir -p "$tree"
	cp -r Makefile VERSION shm libshmcache tests scripts tools demo bench \
	    docs "$tree/"
	tests/mutants/derive.sh "$tree" >"$work/list.new" || exit
	make -C "$tree" -j"$(nproc)" BUILD=build \
	    CPPFLAGS='-include shm/mutant.h' tools tests >"$work/make" 2>&1 ||
	    { tail -n 20 "$work/make" && exit 1; }
	measure && shuf "$work/list.new" >"$work/list"
}

now_ms() {
	echo $((${EPOCHREALTIME/[.,]/} / 1000))
}

# $1: seconds of processor time that each process may take; then a command of
# programs(), in the tree.  Its exit status; 124 for one that goes on and on.
run() {
	local limit=$1 rc pids
	shift
	# shellcheck disable=SC2086
	(cd "$tree" && ulimit -t "$limit" && SHMCACHE_BUILD=$tree/build \
	    MUTANT_RUN=$$ timeout -k 1 $((limit * 15)) build/$* \
	    >"$work/output" 2>&1 </dev/null) 2>/dev/null
	rc=$?
	[ $rc = 0 ] && return
	case $rc in
	137 | 152) rc=124 ;; # SIGKILL, SIGXCPU
	esac
	pids=$(grep -lsFz "MUTANT_RUN=$$" /proc/[0-9]*/environ | tr -dc '0-9\n')
	# shellcheck disable=SC2086
	[ -z "$pids" ] || kill -KILL $pids 2>/dev/null
	find /dev/shm -maxdepth 1 -name 'shmcache.*test-*' -mmin +5 \
	    -exec rm -rf {} +
	return $rc
}

# How long each takes with no mistake, and to which places it comes.
measure() {
	local number=0 command start rc
	rm -f "$work"/reach.* "$work/programs.new"
	while read -r command; do
		number=$((number + 1))
		truncate -s 0 "$work/seen" && truncate -s 4096 "$work/seen"
		start=$(now_ms)
		SHM_MUTANT_SEEN=$work/seen run 600 "$command"
		rc=$?
		if [ $rc = 77 ]; then
			continue
		elif [ $rc != 0 ]; then
			echo "$command fails without any mistake" >&2
			cat "$work/output" >&2
			return 1
		fi
		echo "$(($(now_ms) - start)) $number $command" \
		    >>"$work/programs.new"
		od -An -v -tu1 -w1 "$work/seen" |
		    awk '$1 { print NR - 1 }' >"$work/reach.$number"
	done < <(programs)
	sort -n "$work/programs.new" >"$work/programs"
}

# $1: number of a mistake; of the programs that take from $2 to $3 ms, who notices
# it; "" if nobody does.
noticed_by() {
	local ms number command
	while read -r ms number command; do
		[ "$ms" -ge "$2" ] && [ "$ms" -lt "$3" ] &&
		    grep -qx "$1" "$work/reach.$number" || continue
		SHM_MUTANT=$1 run $((ms * 2 / 1000 + 2)) "$command"
		case $? in
		0 | 77) ;;
		124)
			echo "${command##*/} hangs"
			return
			;;
		*)
			echo "${command##*/}"
			return
			;;
		esac
	done <"$work/programs"
}

# The programs that take from $1 to $2 ms, for all mistakes that nobody has noticed
# yet; in the `last` round, who is not noticed survives.
try_all() {
	local number name text by
	while IFS=$'\t' read -r number name text; do
		[[ $name =~ $pattern ]] || continue
		cut -f 1 "$work/results" | grep -qxF "$name" && continue
		if grep -qx "$number" "$work"/reach.*; then
			by=$(noticed_by "$number" "$1" "$2")
		else
			by="nobody comes there"
		fi
		[ -n "$by" ] || [ "${3-}" = last ] || continue
		printf '%s\t%s\t%s\n' "$name" "$by" "$text" |
		    tee -a "$work/results"
	done <"$work/list"
}

# Prints those that should not be; the last line counts.
judge() {
	awk -F '\t' -v known="$known" '
	BEGIN {
		while ((getline line <known) > 0)
			if (line ~ /^[a-z]/) {
				split(line, part, " ")
				listed[part[1]] = 1
			}
	}
	{
		survives = $2 == "" || $2 == "nobody comes there"
		if (!survives)
			caught++
		if (survives && listed[$1])
			survived++
		if (survives && !listed[$1])
			print "MISSED  ", $1, " ", $3, ($2 != "" ? "(" $2 ")" : "")
		if (!survives && listed[$1])
			print "CAUGHT after all", $1, "by", $2
		bad += survives != (listed[$1] == 1)
	}
	END {
		printf "%d caught, %d of %d survive as the list says\n",
		    caught, survived, NR
		printf "%d passed, %d failed\n", NR - bad, bad
		exit bad > 0
	}' "$work/results"
}

[ -e "$work/list" ] || prepare || exit
touch "$work/results" "$known"
try_all 0 1000
try_all 1000 9000
try_all 9000 10000000 last
judge
