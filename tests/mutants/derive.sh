#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# derive.sh - mistakes of three sorts everywhere, all in one build
#
#   tests/mutants/derive.sh TREE >LIST
#
# Rewrites shm/ and libshmcache/ of the copy TREE so that one of many mistakes can
# be switched on when a program starts, by its number in SHM_MUTANT:
#   - fence, publish: a fence is left out, a publication is a plain store;
#   - cas: a CAS is a plain store that always wins;
#   - if: a condition that guards a return, break or continue is taken to be
#     false.  Those that pass an error on are left alone.
#
# LIST has a line for each: number, name (FILE:FUNCTION:SORT, and which of them),
# and the line of code, with tabs between.  Names don't change when something is
# inserted elsewhere.
#
# Release stores and acquire fences are no instructions on x86-64 beyond those
# that the compiler keeps in order anyway: their loss can't be seen there, and
# they are left alone.  A switched mistake can't show what a compiler would make
# of the code without the fence, either: only what the processor does.

set -eu
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
cd "$1"

number=0
for file in shm/*.[ch] libshmcache/*.[ch]; do
	case $file in
	shm/atomic.h | shm/mutant.* | libshmcache/shmcache*.h) continue ;;
	esac
	awk -v file="$file" -v number="$number" '
	# Notes a mistake in line n; returns its number.
	function mistake(sort, n, text) {
		text = line[n]
		gsub(/\t/, " ", text)
		sub(/^ +/, "", text)
		count = ++seen[place ":" sort]
		printf("%d\t%s:%s:%s%s\t%s\n", ++number, file, place, sort,
		    (count > 1 ? count : ""), text) >"/dev/stderr"
		return number
	}
	function depth(text, left, right) {
		left = gsub(/\(/, "", text)
		right = gsub(/\)/, "", text)
		return left - right
	}
	# A condition from line n that ends a line, before a jump; its last line.
	function guard(n, last, open) {
		last = n
		open = depth(line[n])
		while (open > 0 && last < n + 6)
			open += depth(line[++last])
		if (open != 0 || line[last] !~ /\)$/ ||
		    line[last + 1] !~ /^[ \t]*(return|break|continue)[ ;]/)
			return 0
		return last
	}
	{ line[NR] = $0 }
	END {
		place = "top"
		for (n = 1; n <= NR; n++) {
			if (line[n] ~ /^[a-z_0-9]+\(/ && line[n] !~ /^static_assert/) {
				place = line[n]
				sub(/\(.*/, "", place)
			}
			if (line[n] ~ /^[ \t]*(\*|\/\*|\/\/|#)/ || line[n] ~ /\\$/)
				continue
			new = line[n]
			if (new ~ /[ \t]shm_fence\(\);/)
				sub(/shm_fence\(\);/, "MUTANT_FENCE(" \
				    mistake("fence", n) ");", new)
			if (new ~ /[ \t]shm_publish64\(/)
				sub(/shm_publish64\(/, "MUTANT_PUBLISH(" \
				    mistake("publish", n) ", ", new)
			if (match(new, /shm_cas(64|32|128)\(/)) {
				call = substr(new, RSTART, RLENGTH - 1)
				sub(/shm_cas(64|32|128)\(/, "MUTANT_CAS(" \
				    mistake("cas", n) ", " call ", ", new)
			}
			if (new ~ /^[ \t]*(else )?if \(/ && new !~ /error/ &&
			    (last = guard(n)) != 0) {
				sub(/if \(/, "if (!shm_mutant_is(" \
				    mistake("if", n) ") \\&\\& (", new)
				closing[last]++
			}
			# The end of a condition whose line has been passed, or
			# is this one.
			line[n] = new
		}
		for (n = 1; n <= NR; n++) {
			for (i = 0; i < closing[n]; i++)
				line[n] = line[n] ")"
			print line[n]
		}
	}' "$file" >"$file.new" 2>"$file.list"
	cat "$file.list"
	number=$((number + $(wc -l <"$file.list")))
	mv "$file.new" "$file"
	rm "$file.list"
done
cp "$here"/switch.h shm/mutant.h
cp "$here"/switch.c shm/mutant.c
