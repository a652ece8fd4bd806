#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# check-package.sh [--chroot] - the Debian packages build, are clean and work
#
# Copies the checkout to a scratch folder, builds source and binary packages
# there, and has lintian look at them: an error or a warning is a failure.
#
# --chroot also makes a small system of this Debian release by debootstrap (root
# and network are needed; a minute or two), installs the packages in it by apt,
# uses them as an ordinary user would (compiles and runs the README's program,
# looks in with the tools), purges them, and sees that nothing of theirs is left.

set -eu
export LC_ALL=C
cd "$(dirname "$0")/.."

chroot=
case $#:${1-} in
0:) ;;
1:--chroot) chroot=1 ;;
*)
	echo "usage: scripts/check-package.sh [--chroot]" >&2
	exit 2
	;;
esac

skip() {
	echo "$1"
	exit 77
}

for tool in dpkg-buildpackage dh lintian ${chroot:+debootstrap unshare}; do
	command -v "$tool" >/dev/null || skip "$tool is not installed"
done
# Reads debian/control; tells what is missing.
dpkg-checkbuilddeps 2>/dev/null ||
    skip "$(dpkg-checkbuilddeps 2>&1 | tail -n 1)"
[ -z "$chroot" ] || [ "$(id -u)" = 0 ] || skip "a chroot needs root"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

# $1: what, $2...: command, whose output matters only if it fails
quietly() {
	what=$1
	shift
	"$@" >"$work/log" 2>&1 || {
		cat "$work/log"
		echo "$what failed"
		exit 1
	}
}

source=$work/libshmcache
mkdir "$source"
tar -c --exclude-vcs --exclude='./build*' . | tar -x -C "$source"
# What the packages contain and who may read it must not depend on who builds.
chmod -R u=rwX,go=rX "$source"

jobs=$(nproc)
build() {
	cd "$source"
	# The tests of the build ran in a stage of their own.
	DEB_BUILD_OPTIONS="parallel=$jobs nocheck" DEB_BUILD_PROFILES=nocheck \
	    dpkg-buildpackage -us -uc
}
quietly "dpkg-buildpackage" build
if ! lintian --allow-root --fail-on error,warning --show-overrides \
    "$work"/libshmcache_*.changes >"$work/log" 2>&1; then
	cat "$work/log"
	echo "lintian found errors or warnings"
	exit 1
fi
packages=$(sed -n 's/^Package: //p' debian/control)
done="$(echo "$packages" | wc -l) packages were built, lintian is content"
[ -n "$chroot" ] || {
	echo "$done"
	exit 0
}

# --- in a system of its own --------------------------------------------------

root=$work/root
# shellcheck disable=SC1091
suite=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
debootstrap --variant=minbase "$suite" "$root" >"$work/log" 2>&1 || {
	tail -n 5 "$work/log"
	skip "debootstrap cannot make a $suite system here"
}
mkdir "$root/packages"
for package in $packages; do
	cp "$work/$package"_*.deb "$root/packages"
done
cp scripts/use-package.sh "$root/packages"
cp /etc/resolv.conf "$root/etc"
# shellcheck disable=SC2016
sed -n '/^```c$/,/^```$/{/^```/!p}' README.md >"$root/packages/page.c"
[ -s "$root/packages/page.c" ] || {
	echo "README.md has no program"
	exit 1
}
# Mounts and processes of its own, which end with it.
rc=0
# shellcheck disable=SC2016,SC2086
unshare --mount --pid --fork sh -euc '
	mount -t proc proc "$1/proc"
	mount -t tmpfs -o mode=1777,size=256m none "$1/dev/shm"
	root=$1
	shift
	exec chroot "$root" sh /packages/use-package.sh "$@"
' sh "$root" $packages >"$work/log" 2>&1 || rc=$?
case $rc in
0) echo "$done; installed, used and purged in a $suite chroot" ;;
77) skip "apt-get cannot install a compiler in the chroot" ;;
*)
	cat "$work/log"
	echo "the packages do not work in a chroot"
	exit 1
	;;
esac
