#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# run.sh - run test programs one after the other, and account for them
#
#   tests/run.sh [--timeout SECONDS] {--stage|--check NAME [COMMAND...]}...
#
# A command of a --stage is a test program: it ends with a line "N passed, N
# failed", or with cmocka's summary; one that exits 0 without having said what
# it tested has failed.  A command of a --check is a check without tests of its
# own.  Both: exit status 0 passed, 77 skipped (the last line is the reason),
# else failed, and then all of the output is shown.
#
# A command also fails if it outlives the time limit, which is there to catch
# hangs, if a process of its is left, or if it leaves a shmcache.* file in
# /dev/shm.  What it left is removed.
#
# TEST_TIMEOUT is the time limit in seconds unless --timeout is given, and
# RUN_PREFIX is put before each command ("setarch -R").  The last line is
# "N passed, N failed", and how many were skipped, if any were.

set -u
export LC_ALL=C

time_limit=${TEST_TIMEOUT:-1200}
passed=0 failed=0 skipped=0
stage='' kind='' stage_start=0 times=''
work=$(mktemp -d)
# Commands carry this word in their environment, so that the processes they
# leave are found whatever session they went to.
mark="run-$$-$RANDOM"

our_processes() {
	grep -lsFz "SHMCACHE_TEST_RUN=$mark" /proc/[0-9]*/environ |
	    tr -dc '0-9\n' | paste -sd ' '
}

kill_ours() {
	local pids
	pids=$(our_processes)
	# shellcheck disable=SC2086
	[ -z "$pids" ] || kill -KILL $pids 2>/dev/null
}

cleanup() {
	kill_ours
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

segments() {
	find /dev/shm -maxdepth 1 -name 'shmcache.*' -printf '%i %f\n' \
	    2>/dev/null | sort
}

# Is the file $1 in /dev/shm another's, who runs beside us?  Then a live process
# maps it, or its first number is the pid of one, or it goes away by itself.
in_use() {
	local pid tries
	for tries in 1 2 3; do
		[ -e "/dev/shm/$1" ] || return 0
		grep -qsF "/dev/shm/$1" /proc/[0-9]*/maps && return
		pid=$(echo "$1" | grep -oE '[0-9]+' | head -n 1)
		# A zombie has no command line.
		[ -n "$pid" ] && grep -qs . "/proc/$pid/cmdline" && return
		[ "$tries" = 3 ] || sleep 0.3
	done
	return 1
}

# Prints what the command left behind, and removes it.
leftovers() {
	local tries pids name
	# Killed processes need a moment to go.
	for tries in 1 2 3 4 5 6 7 8 9 10; do
		pids=$(our_processes)
		[ -n "$pids" ] || break
		[ "$tries" = 10 ] || sleep 0.3
	done
	if [ -n "$pids" ]; then
		echo "left processes behind: $pids"
		kill_ours
		sleep 0.3
	fi
	segments | comm -13 "$work/segments" - | while read -r _ name; do
		in_use "$name" && continue
		echo "left /dev/shm/$name behind"
		rm -rf "/dev/shm/$name"
	done
}

# $1: microseconds
seconds() {
	printf '%d.%02d s' $(($1 / 1000000)) $(($1 % 1000000 / 10000))
}

now() {
	echo "${EPOCHREALTIME/[.,]/}"
}

# The line in which the program says what it did.
closing_line() {
	local pattern='^[0-9]+ passed, [0-9]+ failed$'
	pattern+='|^\[  (PASSED|FAILED)  \] [0-9]+ test'
	grep -E "$pattern" "$work/output" | tail -n 1
}

# What is wrong with a command that ended with $1 and left $2; empty if nothing.
complaint() {
	local line
	case $1 in
	0) ;;
	124 | 137)
		[ $(($(now) - start)) -lt $((time_limit * 1000000)) ] ||
		    echo "still running after $time_limit s: killed"
		[ "$1" != 137 ] || echo "killed by SIGKILL"
		;;
	*)
		if [ "$1" -gt 128 ]; then
			echo "killed by SIG$(kill -l $(($1 - 128)))"
		else
			echo "exit status $1"
		fi
		;;
	esac
	[ -z "$2" ] || echo "$2"
	if [ "$1" = 0 ] && [ "$kind" = --stage ]; then
		line=$(closing_line)
		case $line in
		'') echo "no line that says what was tested" ;;
		*"PASSED  ] 0 test"* | "0 passed"*) echo "nothing was tested" ;;
		*FAILED* | *[!0-9]"0 failed") ;;
		*" failed") echo "exit status 0, but: $line" ;;
		esac
	fi
}

run() {
	local name start rc took left wrong note command
	read -ra command <<<"$1"
	name=${command[0]%/run.sh}
	name=${name%/check.sh}
	name=${name##*/}
	name=${name%.sh}
	segments >"$work/segments"
	start=$(now)
	# shellcheck disable=SC2086
	SHMCACHE_TEST_RUN=$mark timeout -k 10 "$time_limit" ${RUN_PREFIX-} \
	    "${command[@]}" >"$work/output" 2>&1 </dev/null &
	{ wait $!; } 2>/dev/null
	rc=$?
	took=$(seconds $(($(now) - start)))
	left=$(leftovers)
	note=$(tail -n 1 "$work/output")
	if [ $rc = 77 ] && [ -z "$left" ]; then
		skipped=$((skipped + 1))
		printf '  skip  %-28s %9s  %s\n' "$name" "$took" "$note"
		return
	fi
	wrong=$(complaint $rc "$left")
	[ "$kind" = --check ] || note=$(closing_line)
	if [ -z "$wrong" ]; then
		passed=$((passed + 1))
		printf '  pass  %-28s %9s  %s\n' "$name" "$took" "$note"
		return
	fi
	failed=$((failed + 1))
	printf '  FAIL  %-28s %9s  %s\n' "$name" "$took" "$note"
	printf '        %s\n' "${wrong//$'\n'/$'\n'        }"
	echo "  output of ${command[*]}:"
	sed 's/^/    | /' "$work/output"
}

end_stage() {
	[ -z "$stage" ] || [ "$stage_start" = 0 ] ||
	    times+="${times:+, }$stage $(seconds $(($(now) - stage_start)))"
	stage_start=0
}

while [ $# -gt 0 ]; do
	case $1 in
	--timeout)
		time_limit=$2
		shift
		;;
	--stage | --check)
		end_stage
		kind=$1 stage=$2
		shift
		;;
	*)
		if [ "$stage_start" = 0 ]; then
			echo "$stage"
			stage_start=$(now)
		fi
		run "$1"
		;;
	esac
	shift
done
end_stage

echo
[ -z "$times" ] || echo "time: $times"
[ $((passed + failed + skipped)) -gt 0 ] || echo "nothing was run"
if [ $skipped -gt 0 ]; then
	echo "$passed passed, $failed failed, $skipped skipped"
else
	echo "$passed passed, $failed failed"
fi
[ $failed = 0 ] && [ $((passed + skipped)) -gt 0 ]
