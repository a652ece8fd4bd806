#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# hugetlbfs_test.sh - a cache on huge pages that were set aside
#
# Needs root, for a mount that nobody else sees, and 12 free pages of 2 MiB:
# sysctl vm.nr_hugepages=12

set -u
export LC_ALL=C
cd "$(dirname "$0")/../.." || exit 1
tools=${SHMCACHE_BUILD:-$PWD/build}/tools

if [ "${1-}" != mounted ]; then
	free=$(awk '/HugePages_Free/ { print $2 }' /proc/meminfo)
	size=$(awk '/Hugepagesize/ { print $2 }' /proc/meminfo)
	if [ "${size:-0}" != 2048 ] || [ "${free:-0}" -lt 12 ]; then
		echo "no huge pages are free: sysctl vm.nr_hugepages=12"
		exit 77
	fi
	unshare -m true 2>/dev/null || {
		echo "mounting needs root"
		exit 77
	}
	exec unshare -m "$0" mounted
fi

work=$(mktemp -d)
trap 'umount "$work/huge" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
mkdir "$work/huge"
mount -t hugetlbfs none "$work/huge" || exit 1
cache=$work/huge/cache
passed=0 failed=0

# $1: what is tested; the command that follows succeeds
check() {
	if "${@:2}" >"$work/out" 2>&1; then
		passed=$((passed + 1))
		echo "ok $1"
	else
		failed=$((failed + 1))
		cat "$work/out"
		echo "FAILED $1"
	fi
}

whole_pages() {
	[ $(($(stat -c %s "$cache") % (2 << 20))) = 0 ]
}

set_many() {
	for i in $(seq 40); do
		head -c 15000 /dev/zero | "$tools/shmcache" set "$cache" "key$i" ||
		    return
	done
	[ "$("$tools/shmcache" get "$cache" key40 | wc -c)" -ge 15000 ]
}

all_huge() {
	"$tools/shmcache-stat" "$cache" | grep -q 'huge_page_ratio *1\.0'
}

refuses() {
	! "$tools/shmcache" create --capacity 100G "$cache-large" &&
	    [ ! -e "$cache-large" ]
}

check "create, of a size between two pages" \
    "$tools/shmcache" create --capacity 15M "$cache"
check "the file is whole pages" whole_pages
check "set and get" set_many
check "all of it is on huge pages" all_huge
check "verify" "$tools/shmcache" verify "$cache"
check "more than there is: an error, and nothing is left" refuses
check "destroy" "$tools/shmcache" destroy --yes "$cache"
check "nothing is left" [ ! -e "$cache" ]

echo "$passed passed, $failed failed"
[ $failed = 0 ]
