#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# units_test.sh - systemd finds nothing wrong with the units, and little exposed

set -u
build=${SHMCACHE_BUILD:-build}
passed=0 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

command -v systemd-analyze >/dev/null || {
	echo "systemd-analyze is missing: install the package systemd"
	exit 77
}

# $1: what is tested, rest: command
case_of() {
	local what=$1
	shift
	if "$@" >"$work/log" 2>&1; then
		passed=$((passed + 1))
		echo "ok $what"
	else
		failed=$((failed + 1))
		cat "$work/log"
		echo "FAILED $what"
	fi
}

for unit in "$build"/*.service; do
	name=$(basename "$unit")
	# As if installed where the programs were built.
	sed "s|^ExecStart=[^ ]*/|ExecStart=$(realpath "$build")/tools/|" \
	    "$unit" >"$work/$name"
	case_of "$name is valid" \
	    systemd-analyze verify --man=no "$work/$name"
	case_of "$name exposes little" \
	    systemd-analyze security --offline=yes --threshold=15 "$work/$name"
done
echo "$passed passed, $failed failed"
[ $((passed + failed)) -gt 0 ] && [ $failed = 0 ]
