#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# run.sh - do the tests notice when the library is wrong?
#
#   tests/mutants/run.sh WORKDIR LIST [NAME...]
#
# LIST is a bash file of lines
#
#   mutant NAME FILE FROM TO COMMAND...
#
# Each is a mistake: FROM, which must be in FILE exactly once, is replaced by
# TO, in a copy of the tree in WORKDIR; the library and the program in COMMAND
# are built anew, and COMMAND must fail (exit status 1, or a signal; a build
# that fails is a mistake of the list).  `survivor` in place of `mutant` is one
# that is known not to be noticed; the list says why.
#
# Prints a row for each, and "N passed, N failed" last: passed is a mistake that
# was noticed.  COMMAND runs in the copy; BUILD in it stands for the build
# folder.

set -u
export LC_ALL=C
cd "$(dirname "$0")/../.." || exit 1
[ $# -ge 2 ] || {
	echo "usage: tests/mutants/run.sh WORKDIR LIST [NAME...]" >&2
	exit 2
}
work=$1 list=$2
shift 2
wanted=" $* "
passed=0 failed=0 survived=0
jobs=$(nproc)

mkdir -p "$work/tree"
work=$(cd "$work" && pwd)
list=$(realpath "$list")
tree=$work/tree
# Copies keep their times, so that a second run compiles only what has changed.
cp -ru --preserve=timestamps Makefile VERSION shm libshmcache tests scripts \
    tools "$tree/"
cd "$tree" || exit 1

# $1: text, $2: word; how often the word is in the text.
occurrences() {
	local rest=${1//"$2"/}
	echo $(((${#1} - ${#rest}) / ${#2}))
}

# Builds what the command's first word names; prints the output if that fails.
build() {
	make -j"$jobs" BUILD=build "${1/#BUILD/build}" >"$work/make" 2>&1 ||
	    { tail -n 20 "$work/make" && return 1; }
}

# How a command that should fail has ended.
try() {
	local rc
	timeout -k 5 "${MUTANT_TIMEOUT:-300}" \
	    "${@//BUILD/$tree/build}" >"$work/output" 2>&1 </dev/null
	rc=$?
	find /dev/shm -maxdepth 1 -name 'shmcache.test-*' -mmin +5 -delete
	return $rc
}

row() {
	printf '%-8s %-26s %5s s  %s\n' "$1" "$2" "$3" "$4"
}

first_complaint() {
	grep -m 1 -E 'VIOLATION|violation|FAIL|failed|error|ERROR|Error' \
	    "$work/output" | cut -c1-90
}

# $1: must it be noticed?
run_one() {
	local must=$1 name=$2 file=$3 from=$4 to=$5 text start=$SECONDS rc
	shift 5
	[ "$wanted" = "  " ] || [[ $wanted == *" $name "* ]] || return 0
	text=$(cat "$file" && echo .)
	if [ "$(occurrences "$text" "$from")" != 1 ]; then
		failed=$((failed + 1))
		row BROKEN "$name" 0 "what it replaces is not once in $file"
		return
	fi
	text=${text/"$from"/"$to"}
	cp --preserve=timestamps "$file" "$work/original"
	printf '%s' "${text%.}" >"$file"
	if build "$1"; then
		try "$@"
		rc=$?
	else
		rc=build
	fi
	cp "$work/original" "$file"
	case $must,$rc in
	*,build)
		failed=$((failed + 1))
		row BROKEN "$name" $((SECONDS - start)) "does not compile"
		cat "$work/make"
		;;
	yes,0)
		failed=$((failed + 1))
		row MISSED "$name" $((SECONDS - start)) "$*"
		;;
	no,0)
		survived=$((survived + 1))
		row survives "$name" $((SECONDS - start)) ""
		;;
	*)
		passed=$((passed + 1))
		row caught "$name" $((SECONDS - start)) "$(first_complaint)"
		;;
	esac
}

mutant() {
	run_one yes "$@"
}

survivor() {
	run_one no "$@"
}

# shellcheck disable=SC1090
. "$list"
[ $survived = 0 ] || echo "$survived survive, as the list says"
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $((passed + survived)) -gt 0 ]
