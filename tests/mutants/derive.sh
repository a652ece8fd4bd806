#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# derive.sh - mistakes of one sort everywhere: a list for run.sh
#
#   tests/mutants/derive.sh [PATTERN] >LIST
#
# Prints a `mutant` line for each place in shm/ and libshmcache/ (files that
# match PATTERN) where
#   - a fence, a publication or a release store can be left out,
#   - a CAS can be a plain store that always wins,
#   - a condition that guards a return, break or continue can be left out.
#
# Release stores and acquire fences are no instructions on x86-64 beyond those
# that the compiler keeps in order anyway: their loss can't be seen there, and
# they are left alone.

set -eu
export LC_ALL=C
cd "$(dirname "$0")/../.."
pattern=${1:-.}

for file in $(ls shm/*.c libshmcache/*.c shm/pin.h libshmcache/entry.h |
    grep -E "$pattern"); do
	awk -v file="$file" '
	function quote(s) {
		gsub(/\047/, "\047\\\047\047", s)
		return "\047" s "\047"
	}
	# A place is told by its line, which run.sh looks for by number.
	function mutant(kind, to) {
		printf "mutant_line %s:%d:%s %s %d %s\n", file, NR,
		    kind, file, NR, quote(to)
	}
	/^[ \t]*(\*|\/\*)/ { next }
	/[ \t]shm_fence\(\);/ {
		to = $0
		sub(/shm_fence\(\);/, ";", to)
		mutant("fence", to)
	}
	/[ \t]shm_publish64\(/ {
		to = $0
		sub(/shm_publish64\(/, "shm_store64(", to)
		mutant("publish", to)
	}
	/shm_cas64\([^;]*;$/ && /^[ \t]*\(void\)shm_cas64\(/ {
		to = $0
		sub(/\(void\)shm_cas64\(/, "(void)BLIND_CAS(", to)
		mutant("cas", to)
	}
	/shm_cas(64|32)\(/ && !/\(void\)/ {
		to = $0
		sub(/shm_cas(64|32)\(/, "BLIND_CAS(", to)
		mutant("cas", to)
	}
	/^[ \t]*if \(.*\)$/ && !/error/ {
		getline following
		if (following ~ /^[ \t]*(return|break|continue)/) {
			to = $0
			sub(/if \(/, "if (false \\&\\& (", to)
			to = to ")"
			line = NR - 1
			printf "mutant_line %s:%d:if %s %d %s\n", file,
			    line, file, line, quote(to)
		}
	}' "$file"
done
