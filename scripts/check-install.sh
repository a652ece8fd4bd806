#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# check-install.sh BUILD - what `make install` installs can be used
#
# Installs to a scratch folder whose name has a space, builds a small program
# there with pkg-config against the shared and the static library, runs both, and
# uninstalls; with libraries in /usr/lib, and where this machine's other
# libraries are.

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
root="$work/the root"

# $1: install or uninstall, $2: LIBDIR
run_make() {
	"${MAKE:-make}" --no-print-directory BUILD="$build" CC="$cc" \
	    DESTDIR="$root" PREFIX=/usr LIBDIR="$2" "$1" >"$work/log" 2>&1 || {
		cat "$work/log"
		echo "make $1 failed"
		exit 1
	}
}

write_program() {
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
}

# $1: LIBDIR
use() {
	export PKG_CONFIG_PATH="$root$1/pkgconfig"
	flags=$(pkg-config --cflags --libs shmcache)
	[ "$(pkg-config --variable=libdir shmcache)" = "$1" ] || {
		echo "shmcache.pc does not say that the libraries are in $1"
		exit 1
	}
	# Its paths begin at "/", which the scratch folder stands for.
	# shellcheck disable=SC2086
	$cc -std=c11 -Wall -Wextra -Werror "$work/use.c" -I"$root/usr/include" \
	    -L"$root$1" $flags -o "$work/shared"
	LD_LIBRARY_PATH="$root$1" "$work/shared" "$name"
	# shellcheck disable=SC2046
	$cc -std=c11 -Wall -Wextra -Werror -I"$root/usr/include" "$work/use.c" \
	    "$root$1/libshmcache.a" $(pkg-config --libs liburcu-bp) \
	    -pthread -o "$work/static"
	"$work/static" "$name"
	readelf -dW "$work/shared" | grep -q 'NEEDED.*\[libshmcache.so.0\]' || {
		echo "the program is not linked with libshmcache.so.0"
		exit 1
	}
}

write_program
for libdir in /usr/lib "/usr/lib/$($cc -print-multiarch)"; do
	libdir=${libdir%/}
	run_make install "$libdir"
	use "$libdir"
	installed=$(find "$root" ! -type d | wc -l)
	run_make uninstall "$libdir"
	left=$(find "$root" ! -type d)
	[ -z "$left" ] || {
		echo "make uninstall left:"
		echo "$left"
		exit 1
	}
done
echo "$installed files were installed, used and uninstalled"
