#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# check-docs.sh BUILD [DOCUMENT...] - what the documents tell to do works
#
# Runs the fenced code blocks of the documents (the README, the guide, and the
# notes on deployment and on invalidation unless given), in their order, as
# somebody would who reads and types.  What is done with a block is told by the word after its fence:
#
#   sh      run by bash, in one shell for the whole document; a command that
#           fails is an error
#   text    after an sh block: what that has written to standard output; "..."
#           stands for any text within a line
#   c       appended to a file DOCUMENT.c ("guide.c"), for sh blocks to compile
#   others  need one of the comments below
#
# A comment on the line before the fence tells otherwise:
#
#   <!-- check: COMMAND -->   COMMAND is run with a file that has the block
#   <!-- file: NAME -->       the block is the content of that file, for sh blocks
#   <!-- needs: COMMAND -->   run if there is such a command
#   <!-- not run: REASON -->  it cannot be run here
#
# "check" is the same as "not run" where COMMAND is not there.
#
# The library is installed to a scratch folder first, which PATH, pkg-config and
# the run-time linker know.  Each document is run with a /dev/shm of its own, in
# an empty folder, as root, and the processes that it leaves behind are killed.

set -u
export LC_ALL=C
cd "$(dirname "$0")/.." || exit 1
[ $# -gt 0 ] || {
	echo "usage: scripts/check-docs.sh BUILD [DOCUMENT...]" >&2
	exit 2
}
build=$1
shift
[ $# -gt 0 ] || set -- README.md docs/guide.md docs/patterns.md \
    docs/deploy.md docs/invalidation.md

[ "$(id -u)" = 0 ] || {
	echo "mounts of its own need root"
	exit 77
}
unshare --mount --pid --fork --mount-proc true 2>/dev/null || {
	echo "unshare cannot make namespaces here"
	exit 77
}

work=$(mktemp -d)
chmod 755 "$work" # other users are tried, too
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

stage=$work/usr
"${MAKE:-make}" --no-print-directory BUILD="$build" PREFIX="$stage" install \
    >"$work/log" 2>&1 || {
	cat "$work/log"
	echo "make install failed"
	exit 1
}

# Blocks of the document $1 as $work/blocks/N, and $work/list with a line for
# each: its number, its line in the document, its kind, and its comment.
extract() {
	rm -rf "$work/blocks"
	mkdir "$work/blocks"
	awk -v folder="$work/blocks" '
	/^```/ && !inside {
		inside = 1
		block = sprintf("%03d", ++blocks)
		kind = substr($0, 4)
		printf "%s %d %s %s\n", block, NR, kind ? kind : "-", comment
		printf "" >(folder "/" block)
		next
	}
	/^```$/ && inside { inside = 0; comment = ""; close(folder "/" block); next }
	inside { print >(folder "/" block); next }
	{
		comment = ""
		if (match($0, /^<!-- (check|file|needs|not run): .* -->$/))
			comment = substr($0, 6, length($0) - 9)
	}
	' "$1" >"$work/list"
}

# $1: COMMAND of a comment
have() {
	declare -F "${1%% *}" || command -v "${1%% *}"
} >/dev/null

# Is the file $2 a unit $1 that systemd takes?  Its programs are those installed
# in the scratch folder.
check_unit() {
	command -v systemd-analyze || return 0
	sed "s|=\(-*\)/usr/bin/|=\\1$stage/bin/|" "$2" >"$1"
	SYSTEMD_LOG_LEVEL=warning systemd-analyze verify "./$1"
}

# What is to be done with a block: words of bash; nothing if it cannot be run.
# $1: its file, $2: its kind, $3: its comment, $4: name of the document
action() {
	case "$3" in
	"needs: "?* | "check: "?*) have "${3#*: }" || return 0 ;;
	esac
	case "$3" in
	"not run: "?*) return ;;
	"file: "?*)
		echo "cp '$1' '${3#file: }'"
		return
		;;
	"check: "?*)
		echo "${3#check: } '$1' >'$work/output' 2>&1"
		return
		;;
	esac
	case "$2" in
	sh) echo ". '$1' >'$work/output' </dev/null" ;;
	text) echo "as_expected '$1' '$work/output'" ;;
	c) echo "cat '$1' >>'$4.c'" ;;
	*) echo "echo 'a block of kind $2 needs a comment'; exit 1" ;;
	esac
}

# The script that runs all blocks of $work/list.  $1: the document
write_script() {
	local block line kind comment todo
	echo 'set -eu -o pipefail'
	while read -r block line kind comment; do
		todo=$(action "$work/blocks/$block" "$kind" "$comment" \
		    "$(basename "$1" .md)")
		if [ -n "$todo" ]; then
			ran=$((ran + 1))
			echo "at='$1, line $line'"
			echo "$todo"
		else
			not=$((not + 1))
		fi
	done <"$work/list"
	echo "at=the_end"
}

# Runs in namespaces of its own.  $1: script; reads $stage.
run_script() {
	local folder=$work/folder
	mkdir -p "$folder"
	mount -t tmpfs -o mode=1777,size=512m none /dev/shm
	cd "$folder" || exit 1
	export PATH=$stage/bin:$PATH HOME=$folder LD_LIBRARY_PATH=$stage/lib
	export PKG_CONFIG_PATH=$stage/lib/pkgconfig NO_COLOR=1
	: >"$work/output"
	at=beginning
	# shellcheck disable=SC1090
	(
		trap '[ "$at" = the_end ] ||
		    { cat "$work/output"; echo "$at: failed"; }' EXIT
		. "$1"
		[ "$at" = the_end ]
	) 2>&1
}

# $1: expected lines, $2: those there are
as_expected() {
	local i line want have
	mapfile -t want <"$1"
	mapfile -t have <"$2"
	for ((i = 0; i < ${#want[@]} || i < ${#have[@]}; i++)); do
		line=${want[i]-}
		# shellcheck disable=SC2053
		[[ ${have[i]-} == ${line//.../*} ]] || {
			echo "expected: $line"
			echo "found:    ${have[i]-}"
			return 1
		}
	done
}

export -f run_script as_expected check_unit
export work stage
ran=0 not=0
for document; do
	extract "$document"
	[ -s "$work/list" ] || {
		echo "$document has no code"
		exit 1
	}
	write_script "$document" >"$work/script"
	rm -rf "$work/folder"
	unshare --mount --pid --fork --kill-child --mount-proc \
	    bash -c "run_script '$work/script'" >"$work/log" || {
		cat "$work/log"
		exit 1
	}
done
echo "$ran blocks of $# documents were run or checked, $not cannot be"
