#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# check-docs.sh BUILD [DOCUMENT...] - what the documents tell to do works
#
# Runs the fenced code blocks of the documents (the README, the guide and the
# deployment notes unless given), in their order, as somebody would who reads
# and types.  What is done with a block is told by the word after its fence:
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
#   <!-- not run: REASON -->  it cannot be run here
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
[ $# -gt 0 ] || set -- README.md docs/guide.md docs/deploy.md

[ "$(id -u)" = 0 ] || {
	echo "mounts of its own need root"
	exit 77
}
unshare --mount --pid --fork --mount-proc true 2>/dev/null || {
	echo "unshare cannot make namespaces here"
	exit 77
}

work=$(mktemp -d)
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
		if (match($0, /^<!-- (check|file|not run): .* -->$/))
			comment = substr($0, 6, length($0) - 9)
	}
	' "$1" >"$work/list"
}

# The script that runs all blocks of $work/list.  $1: the document
write_script() {
	local block line kind comment name
	name=$(basename "$1" .md)
	echo 'set -eu -o pipefail'
	while read -r block line kind comment; do
		echo "at='$1, line $line'"
		block=$work/blocks/$block
		case "$comment" in
		"not run: "?*) continue ;;
		"file: "?*)
			echo "cp '$block' '${comment#file: }'"
			continue
			;;
		"check: "?*)
			echo "${comment#check: } '$block' >'$work/output' 2>&1" \
			    "|| { cat '$work/output'; exit 1; }"
			continue
			;;
		esac
		case "$kind" in
		sh)
			echo ". '$block' >'$work/output' </dev/null"
			;;
		text) echo "as_expected '$block' '$work/output'" ;;
		c) echo "cat '$block' >>'$name.c'" ;;
		*)
			echo "echo 'a block of kind $kind needs a comment'; exit 1"
			;;
		esac
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
	local want have
	while IFS= read -r want <&3; do
		IFS= read -r have <&4 || {
			echo "expected: $want"
			echo "but there is no more"
			return 1
		}
		# shellcheck disable=SC2053
		[[ $have == ${want//.../*} ]] || {
			echo "expected: $want"
			echo "found:    $have"
			return 1
		}
	done 3<"$1" 4<"$2"
	[ "$(wc -l <"$1")" = "$(wc -l <"$2")" ] || {
		echo "there is more than expected:"
		cat "$2"
		return 1
	}
}

export -f run_script as_expected
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
	skipped=$(grep -c ' not run: ' "$work/list")
	not=$((not + skipped))
	ran=$((ran + $(wc -l <"$work/list") - skipped))
done
echo "$ran blocks of $# documents were run or checked, $not cannot be"
