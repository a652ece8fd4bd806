#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# check-format.sh [--apply] - C files are as .clang-format (14) has them

set -u
cd "$(dirname "$0")/.." || exit 1

tool=
for candidate in clang-format-14 clang-format; do
	command -v $candidate >/dev/null &&
	    $candidate --version | grep -q 'version 14\.' &&
	    tool=$candidate && break
done
[ -n "$tool" ] || {
	echo "clang-format 14 is not installed (others format otherwise)"
	exit 77
}
# shellcheck disable=SC2046
set -- "${1-}" $(find shm libshmcache tools tests bench demo -type f \
    -name '*.[ch]' | sort)
apply=$1
shift
if [ "$apply" = --apply ]; then
	exec $tool -i "$@"
fi
bad=0
for file in "$@"; do
	$tool "$file" | diff -u --label "$file" --label "$file, formatted" \
	    "$file" - || bad=$((bad + 1))
done
if [ $bad -gt 0 ]; then
	echo "$bad of $# files: \`make format\` mends them"
	exit 1
fi
echo "$# files are formatted"
