#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# use-package.sh PACKAGE... - install the packages, which are beside this file,
# use them, purge them
#
# For check-package.sh, in a system of its own: what is installed there is
# changed.  page.c beside it is the README's program.

set -eux
here=$(cd "$(dirname "$0")" && pwd)
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
apt="apt-get -q -y --no-install-recommends"

fail() {
	echo "$*"
	exit 1
}

# Everything but what apt and dpkg keep for themselves.
files() {
	find / -xdev \( -path /proc -o -path /packages -o -path /tmp \
	    -o -path /var/cache -o -path /var/lib/apt -o -path /var/lib/dpkg \
	    -o -path /var/log -o -path /run \) -prune -o -print | sort
}

as_nobody() {
	(cd /tmp && setpriv --reuid=65534 --regid=65534 --clear-groups "$@")
}

{ $apt update && $apt install gcc libc6-dev pkg-config; } || exit 77
files >/tmp/before

$apt install "$here"/*.deb
dpkg --audit
for command in $(dpkg -L shmcache-tools shmcache-invalidate |
    grep '^/usr/bin/.'); do
	ldd "$command" | grep 'libshmcache\.so\.0 => /' ||
	    fail "$command does not use the shared library"
	as_nobody "$command" --version
	as_nobody "$command" --help
done

# As the README has it.
cp "$here/page.c" /tmp
# shellcheck disable=SC2046
as_nobody cc -Wall -Wextra -Werror page.c \
    $(pkg-config --cflags --libs shmcache)
[ -z "$(as_nobody ./a.out)" ] || fail "the first run found something"
[ "$(as_nobody ./a.out)" = "from the cache: <h1>Hello</h1>" ] ||
    fail "the second run did not get what the first set"
# shellcheck disable=SC2046
as_nobody cc page.c /usr/lib/*/libshmcache.a \
    $(pkg-config --static --libs-only-other shmcache) -lurcu-bp
as_nobody ./a.out
as_nobody shmcache-stat --json pages | grep '"get_hits": *[12]' ||
    fail "shmcache-stat does not see the hits"
as_nobody shmcache-janitor --once pages
[ "$(as_nobody shmcache keys pages)" = /home ] ||
    fail "shmcache does not see the key"
as_nobody shmcache destroy --yes pages

# The completions are where bash looks for them; the unit starts what is there.
bash -c '. /usr/share/bash-completion/completions/shmcache
    complete -p shmcache shmcache-stat shmcache-janitor'
started=$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' \
    /lib/systemd/system/shmcache-janitor@.service)
[ -x "$started" ] || fail "the unit starts '$started', which is not there"

# Installed again, removed, purged.
$apt install --reinstall "$here"/*.deb
wants=/etc/systemd/system/multi-user.target.wants # as systemctl enable does
mkdir -p $wants
ln -s /lib/systemd/system/shmcache-janitor@.service \
    $wants/shmcache-janitor@pages.service
$apt remove "$@"
! command -v shmcache-stat || fail "shmcache-stat is there still"
dpkg --purge "$@"
$apt autoremove --purge
[ ! -d $wants ] || rmdir -p --ignore-fail-on-non-empty $wants
! dpkg -l '*shmcache*' 2>/dev/null | grep '^[a-z]c\|^i' ||
    fail "dpkg still knows the packages"
files >/tmp/after
diff /tmp/before /tmp/after || fail "that was left behind"
[ -z "$(find /dev/shm -mindepth 1)" ] || fail "something is left in /dev/shm"
