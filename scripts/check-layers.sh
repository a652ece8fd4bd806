#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# check-layers.sh - the rules of who includes whom, and of what a file may say
#
# tools -> libshmcache -> shm, never the other way; what is outside these two
# sees the public headers only; memory order is named in shm/atomic.h only.
# The linker checks the first rule too: unit tests of shm/ link libshm.a alone.

set -u
export LC_ALL=C
cd "$(dirname "$0")/.." || exit 1

bad=0
rules=0

# $1: the rule, $2: a pattern, rest: files; comments don't count.
forbid() {
	rule=$1 pattern=$2
	shift 2
	rules=$((rules + 1))
	[ $# -gt 0 ] || return 0
	found=$(code "$@" | grep -E "$pattern") || return 0
	bad=1
	echo "$rule:"
	echo "$found" | sed 's/^/  /'
}

# The files' lines as NAME:LINE:TEXT with comments blanked.
code() {
	awk '
	FNR == 1 { inside = 0 }
	{
		line = $0
		out = ""
		while (line != "") {
			if (inside) {
				end = index(line, "*/")
				if (!end)
					break
				line = substr(line, end + 2)
				inside = 0
			} else if (match(line, /\/\*|\/\//)) {
				out = out substr(line, 1, RSTART - 1)
				if (substr(line, RSTART, 2) == "//")
					break
				line = substr(line, RSTART + 2)
				inside = 1
			} else {
				out = out line
				break
			}
		}
		print FILENAME ":" FNR ":" out
	}' "$@"
}

# Files with one of the suffixes $1 in the folders that exist.
files() {
	suffixes=$1
	shift
	for folder in "$@"; do
		[ -d "$folder" ] && find "$folder" -type f |
		    grep -E "\.($suffixes)$"
	done | sort
}

include=':[0-9]+:[ 	]*#[ 	]*include[ 	]*[<"]'

# shellcheck disable=SC2046
{
forbid "shm/ knows nothing of the cache above it" \
    "$include(\.\./|libshmcache/|shmcache)" $(files 'c|h' shm)
forbid "unit tests of shm/ know nothing of the cache above it" \
    "$include(\.\./|libshmcache/|shmcache)" \
    $(files 'c|h' tests/unit | grep /shm_)
forbid "the library includes neither its tools nor its tests" \
    "$include(\.\./|tools/|tests/|bench/|demo/)" $(files 'c|h' libshmcache)
forbid "here the public headers are all there is" \
    "$include(\.\./)*(shm/|libshmcache/)" $(files 'c|h' tools bench demo \
    tests/multi tests/crash tests/stress tests/regress tests/support)
forbid "installed headers include installed headers only" \
    "$include(shm/|libshmcache/)" libshmcache/shmcache.h \
    libshmcache/shmcache_admin.h
order='\b(ck_pr_|__atomic_|__sync_|_Atomic\b|atomic_|memory_order|uatomic_|cmm_)'
order="$order|\\b(ACCESS|CMM)_[A-Z]+\\(|\\b__asm__|\\basm (volatile)?"
order="$order|stdatomic\\.h|ck_pr\\.h"
forbid "only shm/atomic.h names memory order" "$order" \
    $(files 'c|h' shm libshmcache | grep -v '^shm/atomic\.h$')
}

# $1: the rule, rest: files that break it
blame() {
	rule=$1
	shift
	rules=$((rules + 1))
	[ $# -gt 0 ] || return 0
	bad=1
	echo "$rule:"
	printf '  %s\n' "$@"
}

sources=$(files 'c|h|def|sh|pml|map' shm libshmcache tools bench demo tests \
    scripts)
# shellcheck disable=SC2086,SC2046
blame "the licence is named in the first two lines" $(for file in $sources; do
	head -n 2 "$file" | grep -q 'SPDX-License-Identifier: LGPL-2.1-or-later' ||
	    echo "$file"
done)

# Paths that exist on one machine only.  (The brackets keep this line out.)
places='/(hom[e]|roo[t]|User[s])/[A-Za-z]|(^|[^A-Za-z0-9_.$}])/wor[k]/'
# shellcheck disable=SC2046
blame "paths of one machine" $(grep -rnIE "$places" --exclude=.git --exclude-dir=.git \
    --exclude-dir='build*' . | cut -d: -f1,2 | sed 's|^\./||')

[ $bad = 0 ] && echo "$rules rules hold in $(echo "$sources" | wc -l) files"
exit $bad
