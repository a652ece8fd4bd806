#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# derived.sh - does some test notice each of the derived mistakes?
#
#   tests/mutants/derived.sh WORKDIR [PATTERN]
#
# Builds a copy of the tree with all mistakes of derive.sh in it, once, and runs
# the test programs with each switched on, only those that come to its place,
# until one fails: first the quick programs for all mistakes, then the slower
# ones; a file's own unit test first.  PATTERN (grep -E) chooses names.
#
# It can be broken off and gone on with.  WORKDIR/noticed has the mistakes that
# were, and by whom; WORKDIR/passed the programs that ran with one and passed.
# When tests are new or have changed, those alone are built, measured and asked
# about the mistakes that are left.  When the library has changed, remove
# WORKDIR.  The mistakes come in a random order, so that a part of a run tells of
# the whole.  JOBS (1) is how many run at a time; LONGEST (600) leaves out
# programs that take more seconds, and PROGRAMS (grep -E) chooses programs: with
# tests/unit first, and then all.
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
jobs=${JOBS:-1}
longest=${LONGEST:-600}
chosen=${PROGRAMS:-.}
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
	cp -r Makefile VERSION shm libshmcache scripts tools demo bench docs \
	    "$tree/"
	tests/mutants/derive.sh "$tree" >"$work/list.new" || exit
	shuf "$work/list.new" >"$work/list"
}

build() {
	cp -ru --preserve=timestamps tests "$tree/"
	make -C "$tree" -j"$(nproc)" BUILD=build \
	    CPPFLAGS='-include shm/mutant.h' tools tests >"$work/make" 2>&1 ||
	    { tail -n 20 "$work/make" && exit 1; }
}

now_ms() {
	echo $((${EPOCHREALTIME/[.,]/} / 1000))
}

# $1: seconds of processor time that each process may take; then a command of
# programs(), in the tree.  Its exit status; 124 for one that goes on and on.
run() {
	local limit=$1 me=$BASHPID rc pids
	shift
	# shellcheck disable=SC2086
	(cd "$tree" && ulimit -t "$limit" && SHMCACHE_BUILD=$tree/build \
	    MUTANT_RUN=$me timeout -k 1 $((limit * 15)) build/$* \
	    >"$work/output.$me" 2>&1 </dev/null) 2>/dev/null
	rc=$?
	[ $rc = 0 ] && return
	case $rc in
	137 | 152) rc=124 ;; # SIGKILL, SIGXCPU
	esac
	pids=$(grep -lsFz "MUTANT_RUN=$me" /proc/[0-9]*/environ |
	    tr -dc '0-9\n')
	# shellcheck disable=SC2086
	[ -z "$pids" ] || kill -KILL $pids 2>/dev/null
	find /dev/shm -maxdepth 1 -name 'shmcache.*test-*' -mmin +5 \
	    -exec rm -rf {} +
	return $rc
}

# A program's name as that of a file: "multi_history_test_ops_4000000".
file_of() {
	local name=${1#tests/}
	echo "${name//[^a-z0-9]/_}"
}

# How long each takes with no mistake, and to which places it comes; what others
# passed with is forgotten, for the program is another now.
measure() {
	local command name start rc ms
	: >"$work/programs"
	while read -r command; do
		name=$(file_of "$command")
		if [ "$tree/build/${command%% *}" -nt "$work/reach.$name" ]; then
			truncate -s 0 "$work/seen"
			truncate -s 4096 "$work/seen"
			start=$(now_ms)
			SHM_MUTANT_SEEN=$work/seen run 600 "$command"
			rc=$?
			ms=$(($(now_ms) - start))
			if [ $rc != 0 ] && [ $rc != 77 ]; then
				echo "$command fails without any mistake" >&2
				cat "$work/output.$BASHPID" >&2
				return 1
			fi
			od -An -v -tu1 -w1 "$work/seen" |
			    awk '$1 { print NR - 1 }' >"$work/reach.$name"
			echo "$ms" >"$work/ms.$name"
			grep -vF "	$name	" "$work/passed" >"$work/passed.new"
			mv "$work/passed.new" "$work/passed"
		fi
		echo "$(cat "$work/ms.$name") $name $command" >>"$work/programs"
	done < <(programs | grep -E "$chosen")
	sort -n -o "$work/programs" "$work/programs"
}

# The programs that come to mistake $1, which is in file $2, and take from $3 to
# $4 ms: "MS NAME COMMAND", a file's own unit test first.
who_comes() {
	local ms name command own rank
	own=${2//\//_}
	own=${own%.*}_test
	while read -r ms name command; do
		[ "$ms" -ge "$3" ] && [ "$ms" -lt "$4" ] &&
		    grep -qx "$1" "$work/reach.$name" || continue
		rank=1
		[ "$name" != "unit_$own" ] || rank=0
		echo "$rank $ms $name $command"
	done <"$work/programs" | sort -s -n -k 1,1 | cut -d ' ' -f 2-
}

# $1, $2: number and name of a mistake; of the programs that take from $3 to $4 ms,
# who notices it; "" if nobody does.
noticed_by() {
	local ms name command
	while read -r ms name command; do
		grep -qxF "$2	$name	" "$work/passed" && continue
		SHM_MUTANT=$1 run $((ms * 2 / 1000 + 2)) "$command"
		case $? in
		0 | 77)
			printf '%s\t%s\t\n' "$2" "$name" >>"$work/passed"
			;;
		124)
			echo "${command##*/} hangs"
			return
			;;
		*)
			echo "${command##*/}"
			return
			;;
		esac
	done < <(who_comes "$1" "${2%%:*}" "$3" "$4")
}

is_noticed() {
	cut -f 1 "$work/noticed" | grep -qxF "$1"
}

# Asks the programs that take from $1 to $2 ms about each $jobs-th mistake that
# nobody has noticed yet, from the $3rd on.
try_each() {
	local number name text by n=0
	while IFS=$'\t' read -r number name text; do
		[ $((n++ % jobs)) = "$3" ] && [[ $name =~ $pattern ]] &&
		    ! is_noticed "$name" || continue
		by=$(noticed_by "$number" "$name" "$1" "$2")
		[ -z "$by" ] || printf '%s\t%s\n' "$name" "$by" |
		    tee -a "$work/noticed"
	done <"$work/list"
}

try_all() {
	local job
	for ((job = 0; job < jobs; job++)); do
		try_each "$1" "$2" "$job" &
	done
	wait
}

# Prints those that should not be; the last line counts.
judge() {
	awk -F '\t' -v known="$known" -v noticed="$work/noticed" \
	    -v pattern="$pattern" '
	BEGIN {
		while ((getline line <known) > 0)
			if (line ~ /^[a-z]/) {
				split(line, part, " ")
				listed[part[1]] = 1
			}
		while ((getline line <noticed) > 0) {
			split(line, part, "\t")
			by[part[1]] = part[2]
		}
	}
	$2 !~ pattern { next }
	{
		all++
		survives = !($2 in by)
		if (survives && listed[$2])
			survived++
		if (survives && !listed[$2])
			print "MISSED  ", $2, " ", $3
		if (!survives && listed[$2])
			print "CAUGHT after all", $2, "by", by[$2]
		caught += !survives
		bad += survives != (listed[$2] == 1)
	}
	END {
		printf "%d of %d caught; %d survive as the list says\n",
		    caught, all, survived
		printf "%d passed, %d failed\n", all - bad, bad
		exit bad > 0
	}' "$work/list"
}

touch "$work/noticed" "$work/passed"
[ -e "$work/list" ] || prepare || exit
build
measure || exit
try_all 0 1000
try_all 1000 9000
try_all 9000 $((longest * 1000))
judge
