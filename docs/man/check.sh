#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# check.sh - are the man pages right, and is all of the API on one?
#
#   - every page passes `mandoc -T lint -W warning`
#   - shmcache_stats.3 has the counters and gauges of stats.def
#   - every function of the public headers has a page of its name, which is it
#     or leads (.so) to it, names it in NAME and shows it in SYNOPSIS; and
#     shmcache.3 has it in its table
#   - every result is on shmcache_strerror.3, with its number
#   - every field of the structs of the headers is on the page that lists them
#   - every option of the tools is on the tool's page, and every command
#   - the pages that .Xr names in sections 1 and 3 as ours exist
#   - the examples of section 3 compile
#
# Prints what is wrong; 1 if anything is.

set -u

here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
library=$root/libshmcache
status=0
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

wrong() {
	echo "docs/man: $*" >&2
	status=1
}

# The page that `man NAME` shows: follows .so, as man does.
page_of() {
	page=$here/$1
	target=$(sed -n 's|^\.so man[0-9]/||p' "$page" 2>/dev/null)
	echo "$here/${target:-$1}"
}

is_link() {
	grep -q '^\.so ' "$1"
}

check_lint() {
	for page in "$here"/*.[1-9]; do
		if is_link "$page"; then
			[ -f "$(page_of "$(basename "$page")")" ] ||
			    wrong "$(basename "$page") leads nowhere"
			continue
		fi
		mandoc -T lint -W warning "$page" >&2 ||
		    wrong "$(basename "$page") fails mandoc -T lint"
	done
}

# A public header without its comments.
bare() {
	sed -E ':a; s|/\*([^*]\|\*+[^*/])*\*+/||g; /\/\*/ { N; ba }' \
	    "$library/$1"
}

functions_of() {
	bare "$1" | grep -vE '^ *(#|typedef)' |
	    grep -oE '\bshmcache_[a-z_]+ *\(' | tr -d ' (' | sort -u
}

check_functions() {
	functions=$(functions_of shmcache.h; functions_of shmcache_admin.h)
	[ -n "$functions" ] || wrong "found no functions in the headers"
	for name in $functions; do
		page=$(page_of "$name.3")
		if ! [ -f "$page" ]; then
			wrong "no page $name.3"
			continue
		fi
		grep -qE "^\.Nm $name( ,)?\$" "$page" ||
		    wrong "$(basename "$page") does not name $name"
		grep -qE "^\.F[no] $name( |\$)" "$page" ||
		    wrong "$(basename "$page") does not show $name"
		grep -qE "^\.Fn $name( ,)?\$" "$here/shmcache.3" ||
		    wrong "shmcache.3 lacks $name in its table"
	done
}

check_results() {
	page=$here/shmcache_strerror.3
	sed -nE 's/^\t(SHMCACHE_E[A-Z]+) = -([0-9]+).*/\1 \2/p' \
	    "$library/shmcache.h" >"$scratch/results"
	[ -s "$scratch/results" ] || wrong "found no results in shmcache.h"
	while read -r name number; do
		grep -qE "^\.It Dv $name Pq .-$number\$" "$page" ||
		    wrong "shmcache_strerror.3 lacks $name (-$number)"
	done <"$scratch/results"
}

# The page that lists the fields of a struct says so in a comment before them:
# .\" fields: struct NAME
check_fields() {
	for header in shmcache.h shmcache_admin.h; do
		bare $header | sed -nE 's/^struct (shmcache_[a-z_]+) \{.*/\1/p'
	done | grep -vx shmcache_stats >"$scratch/structs"
	[ -s "$scratch/structs" ] || wrong "found no structs in the headers"
	while read -r struct; do
		page=$(grep -lx "\.\\\\\" fields: struct $struct" "$here"/*.3) || {
			wrong "no page lists the fields of struct $struct"
			continue
		}
		for header in shmcache.h shmcache_admin.h; do
			bare $header | sed -nE "/^struct $struct \{/,/^\}/\
s/.*[ *]([a-z_]+)(\[[^]]*\])?;.*/\1/p"
		done | grep -vx reserved >"$scratch/fields"
		[ -s "$scratch/fields" ] || wrong "struct $struct has no fields"
		while read -r field; do
			grep -qE "^\.It Va ([a-z_]+ , )*$field( ,|\$)" "$page" ||
			    wrong "$(basename "$page") lacks $field of" \
				"struct $struct"
		done <"$scratch/fields"
	done <"$scratch/structs"
}

# Options are the first string of an entry of a popt table; a tool's tables are
# in its own file, its folder, and the common one.
check_options() {
	for tool in "$root"/tools/shmcache.c "$root"/tools/shmcache-*.c; do
		name=$(basename "$tool" .c)
		if ! [ -f "$here/$name.1" ]; then
			wrong "no page $name.1"
			continue
		fi
		folder=${name#shmcache}
		folder=${folder#-}
		common=
		! grep -q TOOL_COMMON_OPTIONS "$tool" ||
		    common=$root/tools/common.c
		# shellcheck disable=SC2086
		cat "$tool" "$root"/tools/"${folder:-cli}"/*.c $common \
		    2>/dev/null |
		    sed -nE 's/^\t\{ "([a-z-]+)", .*POPT_.*/\1/p' \
			>"$scratch/options"
		while read -r option; do
			grep -qE "^\.It .*Fl Fl $option( |\$)" \
			    "$here/$name.1" ||
			    wrong "$name.1 lacks --$option"
		done <"$scratch/options"
	done
}

check_commands() {
	sed -nE 's/^\t&command_([a-z]+),$/\1/p' "$root/tools/shmcache.c" \
	    >"$scratch/commands"
	[ -s "$scratch/commands" ] || wrong "found no commands of shmcache"
	while read -r command; do
		grep -qE "^\.It Cm ([a-z]+ , )*$command( |\$)" \
		    "$here/shmcache.1" || wrong "shmcache.1 lacks $command"
	done <"$scratch/commands"
}

check_references() {
	sed -nE 's/^\.Xr (shmcache[a-z_-]*) ([1-9]).*/\1.\2/p' \
	    "$here"/*.[1-9] | sort -u >"$scratch/references"
	while read -r page; do
		[ -f "$here/$page" ] || wrong "a page refers to $page"
	done <"$scratch/references"
}

# What the statements of an example may use without a declaration.
context() {
	cat <<-'END'
	#include <inttypes.h>
	#include <shmcache.h>
	#include <shmcache_admin.h>
	#include <stdio.h>
	extern struct shmcache *cache;
	extern int error;
	extern const char *key, *client;
	extern char user[100], cart[100], old[100], new[100];
	extern size_t key_bytes, client_bytes;
	void refuse(void);
	void serve(const char *, size_t, const char *, size_t);
	size_t change(const char *, size_t, char *, size_t);
	END
}

# An example is a program, functions (which begin with "static"), or statements.
# A file for each, in C.
example_files() {
	awk -v folder="$scratch/examples" '
	/^\.Sh/ { examples = $2 == "EXAMPLES" }
	/^\.Bd/ && examples { inside = 1; file = folder "/" ++n; next }
	/^\.Ed/ { inside = 0 }
	inside { gsub(/\\e/, "\\"); print >file }
	' "$1"
}

check_examples() {
	include=$scratch/include
	mkdir "$include"
	cp "$library/shmcache.h" "$library/shmcache_admin.h" "$include"
	cp "$library/stats.def" "$include/shmcache_stats.def"
	for page in "$here"/*.3; do
		mkdir "$scratch/examples"
		example_files "$page"
		for file in "$scratch"/examples/*; do
			[ -f "$file" ] || continue
			case $(head -n 1 "$file") in
			"#include"*) cat "$file" ;;
			static*)
				context
				cat "$file"
				;;
			*)
				context
				echo "void f(void);"
				echo "void f(void) {"
				cat "$file"
				echo "}"
				;;
			esac | "${CC:-cc}" -std=gnu11 -Wall -Wextra -Werror \
			    -Wno-unused-function -Wno-shadow \
			    -Wno-unused-but-set-variable -fsyntax-only \
			    -I"$include" -x c - ||
			    wrong "an example of $(basename "$page") does" \
				"not compile"
		done
		rm -r "$scratch/examples"
	done
}

command -v mandoc >/dev/null || {
	echo "docs/man: mandoc is missing: install the package mandoc" >&2
	exit 77
}
check_lint
"$here/gen-stats.sh" --check || status=1
check_functions
check_results
check_fields
check_options
check_commands
check_references
check_examples
exit $status
