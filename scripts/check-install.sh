#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# check-install.sh BUILD - what `make install` installs can be used
#
# Installs to a scratch folder, builds a small program there with pkg-config
# against the shared and the static library, runs both, and uninstalls.

set -eu
export LC_ALL=C
cd "$(dirname "$0")/.."
[ $# = 1 ] || {
	echo "usage: scripts/check-install.sh BUILD" >&2
	exit 2
}
build=$1
cc=${CC:-gcc}
work=$(mktemp -d)
name="test-$$-install"
trap 'rm -rf "$work" "/dev/shm/shmcache.$name"' EXIT
root=$work/root

for action in install uninstall; do
	"${MAKE:-make}" --no-print-directory BUILD="$build" CC="$cc" \
	    DESTDIR="$root" PREFIX=/usr $action >"$work/log" 2>&1 || {
		cat "$work/log"
		echo "make $action failed"
		exit 1
	}
	[ $action = install ] || break

	cat >"$work/use.c" <<-'EOF'
	#include <shmcache.h>
	#include <shmcache_admin.h>
	#include <stdio.h>
	#include <string.h>

	int
	main(int argc, char **argv)
	{
		struct shmcache_options options = SHMCACHE_OPTIONS_INIT;
		struct shmcache *cache;
		char value[8] = "";
		int result;

		if (argc != 2)
			return 2;
		options.capacity_bytes = 32 << 20;
		result = shmcache_open(argv[1], &options, &cache);
		if (!result)
			result = shmcache_set(cache, "key", 3, "value", 6, 0, 0);
		if (!result)
			result = shmcache_get(cache, "key", 3, value,
			    sizeof(value), NULL, NULL);
		if (!result && strcmp(value, "value"))
			result = SHMCACHE_ENOENT;
		if (!result)
			result = shmcache_close(cache);
		if (!result)
			result = shmcache_remove(argv[1]);
		if (result)
			printf("%s\n", shmcache_strerror(result));
		return result != 0;
	}
	EOF
	export PKG_CONFIG_PATH="$root/usr/lib/pkgconfig"
	# The scratch folder stands for "/", for this one package only.
	# shellcheck disable=SC2046
	set -- $(pkg-config --cflags --libs shmcache \
	    --define-variable=libdir="$root/usr/lib" \
	    --define-variable=includedir="$root/usr/include")
	$cc -std=c11 -Wall -Wextra -Werror "$work/use.c" "$@" -o "$work/shared"
	LD_LIBRARY_PATH="$root/usr/lib" "$work/shared" "$name"
	# shellcheck disable=SC2046
	$cc -std=c11 -Wall -Wextra -Werror -I"$root/usr/include" "$work/use.c" \
	    "$root/usr/lib/libshmcache.a" $(pkg-config --libs liburcu-bp) \
	    -pthread -o "$work/static"
	"$work/static" "$name"
	readelf -dW "$work/shared" | grep -q 'NEEDED.*\[libshmcache.so.0\]' || {
		echo "the program is not linked with libshmcache.so.0"
		exit 1
	}
	installed=$(find "$root" ! -type d | wc -l)
done
left=$(find "$root" ! -type d)
[ -z "$left" ] || {
	echo "make uninstall left:"
	echo "$left"
	exit 1
}
echo "$installed files were installed, used and uninstalled"
