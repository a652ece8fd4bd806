#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# setup.sh - see to it that what a build needs is there
#
#   scripts/setup.sh SET...           install what is missing of these sets
#   scripts/setup.sh --probe SET...   only tell what is missing
#
# Sets: build, demo, tests, check, bench, ci; demo, tests and bench contain
# build, check contains tests, ci contains all but bench.
#
# Whatever a probe finds is left alone, wherever it came from; if nothing is
# missing, nothing is downloaded.  What is missing is installed by apt-get, as
# root on a Debian-like system only.  Everywhere else the command to run is
# printed and the exit status is 2; nothing is ever done through sudo.

set -eu
export LC_ALL=C

# One line for each thing: set, need, what it is, probe, and its packages on
# Debian/Ubuntu, Fedora, Arch and Alpine.  "opt" things are not required: a
# stage that misses one is skipped and says so.  "-" is: not packaged there.
table() {
	cat <<-'EOF'
	build|req|a C compiler|cc|gcc libc6-dev|gcc glibc-devel|gcc|gcc musl-dev linux-headers
	build|req|pkg-config|cmd pkg-config|pkg-config|pkgconf-pkg-config|pkgconf|pkgconf
	build|req|liburcu (https://liburcu.org)|pc liburcu-bp 0.10|liburcu-dev|userspace-rcu-devel|liburcu|userspace-rcu-dev
	build|req|Concurrency Kit (https://concurrencykit.org)|pc ck 0.6|libck-dev|ck-devel|-|-
	build|req|xxHash 0.8 (https://xxhash.com)|xxhash|libxxhash-dev|xxhash-devel|xxhash|xxhash-dev
	build|req|popt|pc popt 1.16|libpopt-dev|popt-devel|popt|popt-dev
	build|req|jansson|pc jansson 2.10|libjansson-dev|jansson-devel|jansson|jansson-dev
	build|req|ncurses, with wide characters|pc ncursesw 6.0|libncurses-dev|ncurses-devel|ncurses|ncurses-dev
	build|opt|libpq, for shmcache-invalidate|pc libpq 10|libpq-dev|libpq-devel|postgresql-libs|libpq-dev
	build|opt|hiredis, for shmcache-invalidate|pc hiredis 0.14|libhiredis-dev|hiredis-devel|hiredis|hiredis-dev
	build|req|liblzma|pc liblzma 5.2|liblzma-dev|xz-devel|xz|xz-dev
	demo|req|SQLite|pc sqlite3 3.20|libsqlite3-dev|sqlite-devel|sqlite|sqlite-dev
	tests|req|bash|cmd bash|bash|bash|bash|bash
	tests|req|cmocka|pc cmocka 1.1|libcmocka-dev|libcmocka-devel|cmocka|cmocka-dev
	check|opt|spin, for the models|cmd spin|spin|-|-|-
	check|opt|mandoc, for the man pages|cmd mandoc|mandoc|mandoc|mandoc|mandoc
	check|opt|strace, for the count of system calls|cmd strace|strace|strace|strace|strace
	check|opt|jq, for JSON that the tools print|cmd jq|jq|jq|jq|jq
	check|opt|script, for tools on a terminal|cmd script|bsdutils|util-linux|util-linux|util-linux-misc
	check|opt|zsh, for its completions|cmd zsh|zsh|zsh|zsh|zsh
	check|opt|fish, for its completions|cmd fish|fish|fish|fish|fish
	check|opt|tmux, for what runs full-screen|cmd tmux|tmux|tmux|tmux|tmux
	check|opt|promtool, for what Prometheus reads|cmd promtool|prometheus|-|prometheus|prometheus
	check|opt|systemd-analyze, for the units|cmd systemd-analyze|systemd|systemd|systemd|-
	check|opt|valgrind, for the count of instructions|cmd valgrind|valgrind|valgrind|valgrind|valgrind
	bench|opt|LMDB|pc lmdb 0.9|liblmdb-dev|lmdb-devel|lmdb|lmdb-dev
	bench|opt|SQLite|pc sqlite3 3.20|libsqlite3-dev|sqlite-devel|sqlite|sqlite-dev
	bench|opt|memcached|cmd memcached|memcached|memcached|memcached|memcached
	bench|opt|Redis|cmd redis-server|redis-server|redis|redis|redis
	bench|opt|gnuplot, for the plots|cmd gnuplot|gnuplot-nox|gnuplot-minimal|gnuplot|gnuplot
	ci|opt|PostgreSQL, for the test of shmcache-invalidate|file /usr/lib/postgresql/*/bin/initdb|postgresql|postgresql-server|postgresql|postgresql
	ci|opt|Redis, for the test of shmcache-invalidate|cmd redis-server|redis-server|redis|redis|redis
	ci|req|make|cmd make|make|make|make|make
	ci|opt|dpkg-buildpackage|cmd dpkg-buildpackage|dpkg-dev|-|-|-
	ci|opt|debhelper, for the packages|cmd dh|debhelper|-|-|-
	ci|opt|lintian, for the packages|cmd lintian|lintian|-|-|-
	ci|opt|clang|cmd clang|clang|clang|clang|clang
	ci|opt|gcovr, for make coverage|cmd gcovr|gcovr|gcovr|gcovr|gcovr
	ci|opt|libFuzzer, for the damaged segments|libfuzzer|libclang-rt-14-dev|compiler-rt|compiler-rt|compiler-rt
	ci|opt|clang-format 14|cmd clang-format-14|clang-format-14|-|-|-
	EOF
}

members() {
	for set in "$@"; do
		case $set in
		build) echo build ;;
		demo) echo build demo ;;
		tests) echo build tests ;;
		check) echo build tests check ;;
		bench) echo build bench ;;
		ci) echo build demo tests check ci ;;
		*)
			echo "setup: unknown set: $set" >&2
			exit 1
			;;
		esac
	done
}

compiles() {
	dir=$(mktemp -d)
	cat >"$dir/probe.c"
	rc=0
	(cd "$dir" && ${CC:-gcc} -o probe probe.c) >/dev/null 2>&1 || rc=1
	rm -r "$dir"
	return $rc
}

probe() {
	case $1 in
	cmd) command -v "$2" >/dev/null ;;
	file) ls $2 >/dev/null 2>&1 ;;
	pc) pkg-config --atleast-version="$3" "$2" 2>/dev/null ;;
	cc)
		compiles <<-'EOF'
		#include <stdio.h>
		int main(void) { return puts("") < 0; }
		EOF
		;;
	libfuzzer)
		echo 'int LLVMFuzzerTestOneInput(const char *p, unsigned long n)
			{ return n > 2 && p[0] == p[1]; }' |
		    CC="clang -w -fsanitize=fuzzer" compiles
		;;
	xxhash)
		compiles <<-'EOF'
		#define XXH_INLINE_ALL
		#include <xxhash.h>
		int main(void)
		{
			char secret[XXH3_SECRET_SIZE_MIN] = "";
			return XXH3_64bits_withSecret("", 0, secret,
			    sizeof(secret)) == 1;
		}
		EOF
		;;
	esac
}

# Prints the lines of the table that are wanted and missing.
missing() {
	table | while IFS='|' read -r set need what how packages; do
		case " $wanted " in
		*" $set "*) ;;
		*) continue ;;
		esac
		# shellcheck disable=SC2086
		probe $how || echo "$set|$need|$what|$how|$packages"
	done
}

# Column of the table with this distribution's package names.
distribution() {
	# shellcheck disable=SC1091
	ids=$(. /etc/os-release 2>/dev/null && echo " ${ID-} ${ID_LIKE-} ") || :
	case $ids in
	*" debian "* | *" ubuntu "*) echo 5 ;;
	*" fedora "*) echo 6 ;;
	*" arch "*) echo 7 ;;
	*" alpine "*) echo 8 ;;
	*) echo 0 ;;
	esac
}

# $1: lines of the table; prints package names, each once, in one line.
packages() {
	echo "$1" | cut -d'|' -f"$column" | tr ' ' '\n' |
	    awk '$1 != "" && $1 != "-" && !seen[$1]++' | tr '\n' ' ' |
	    sed 's/ $//'
}

# What to type, for people.
advice() {
	lines=$1
	echo "setup: missing:" >&2
	echo "$lines" | cut -d'|' -f3 | sed 's/^/  /' >&2
	case $column in
	5) install="apt-get install -y" ;;
	6) install="dnf install -y" ;;
	7) install="pacman -S --needed" ;;
	8) install="apk add" ;;
	*) return ;;
	esac
	list=$(packages "$lines")
	if [ -n "$list" ]; then
		echo "Install it with this line (root needs no sudo):" >&2
		echo "  sudo $install $list" >&2
	fi
	nowhere=$(echo "$lines" | awk -F'|' -v c="$column" '$c == "-" { print $3 }')
	[ -z "$nowhere" ] || echo "$nowhere" |
	    sed 's/^/This system has no package of it: /' >&2
}

required() {
	echo "$1" | grep '^[a-z]*|req|' || :
}

# --- apt --------------------------------------------------------------------

installable() {
	apt-cache policy "$1" 2>/dev/null | grep -q 'Candidate: [^(]'
}

apt_get() {
	apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" 2>&1
}

# That one of the archives cannot be reached matters only if the installation
# fails, so it is told then.
apt_update() {
	echo "setup: apt-get update"
	apt_get -o APT::Update::Error-Mode=any update >"$work/update" ||
	    : >"$work/failed"
}

# No list at all, or none that knows a package of these?
apt_outdated() {
	ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || return 0
	for package in "$@"; do
		installable "$package" || return 0
	done
	return 1
}

attempt() {
	[ $# -gt 0 ] &&
	    apt_get install --no-install-recommends "$@" >"$work/install"
}

# What is optional is left out if it can't be had.
# shellcheck disable=SC2086
apt_install() {
	export DEBIAN_FRONTEND=noninteractive
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT

	needed=$(packages "$(required "$1")")
	apt_outdated $needed && apt_update
	list=$needed
	for package in $(packages "$(echo "$1" | grep '|opt|' || :)"); do
		if installable "$package"; then
			list="$list $package"
		else
			echo "setup: apt-get knows no $package: left out"
		fi
	done
	[ -n "$list" ] || return 0
	echo "setup: installing ${list# }"
	attempt $list && return
	# The lists may be older than the archive.
	[ -e "$work/update" ] || apt_update
	attempt $list && return
	if [ "$list" != "$needed" ] && attempt $needed; then
		return
	fi
	if [ -e "$work/failed" ]; then
		echo "setup: apt-get update failed:" >&2
		grep '^[EW]:' "$work/update" >&2 || tail -n 5 "$work/update" >&2
	fi
	echo "setup: apt-get install failed:" >&2
	tail -n 20 "$work/install" >&2
	[ -z "$needed" ] || exit 2
}

# ----------------------------------------------------------------------------

only_probe=
if [ "${1-}" = --probe ]; then
	only_probe=1
	shift
fi
if [ $# = 0 ]; then
	echo "usage: scripts/setup.sh [--probe] build|demo|tests|check|bench|ci..." >&2
	exit 1
fi

wanted=$(members "$@" | tr '\n' ' ')
lacking=$(missing)
[ -n "$lacking" ] || exit 0
column=$(distribution)

if [ -z "$only_probe" ] && [ "$(id -u)" = 0 ] && [ "$column" = 5 ] &&
    command -v apt-get >/dev/null; then
	apt_install "$lacking"
	lacking=$(missing)
	[ -n "$lacking" ] || exit 0
	if [ -n "$(required "$lacking")" ]; then
		echo "setup: still missing after the installation:" >&2
		required "$lacking" | cut -d'|' -f3 | sed 's/^/  /' >&2
		exit 2
	fi
	exit 0
fi

if [ -z "$(required "$lacking")" ]; then
	[ -n "$only_probe" ] || advice "$lacking"
	exit 0
fi
advice "$lacking"
exit 2
