#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# cli_test.sh - shmcache as people use it: from a shell, in pipes, on a terminal
#
#   cli_test.sh [CASE...]
#
# The tool is taken from SHMCACHE_BUILD/tools, else from build/tools.  Each case
# is a function that runs in a shell of its own; the first check that fails
# ends it.  Terminals are those of script(1), JSON is read by jq(1).  The last
# line is "N passed, N failed".
#
# shellcheck disable=SC1003

set -u
export LC_ALL=C
unset NO_COLOR
cd "$(dirname "$0")/../.." || exit 1

shmcache=${SHMCACHE_BUILD:-$PWD/build}/tools/shmcache
work=$(mktemp -d)
name=test-$$-cli
other=test-$$-cli-other

cleanup() {
	rm -rf "$work" "/dev/shm/shmcache.test-$$-"*
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --- checks -------------------------------------------------------------------

fail() {
	echo "  line ${BASH_LINENO[*]}: $*"
	sed 's/^/    out: /' "$work/out" | cat -v | head -n 20
	sed 's/^/    err: /' "$work/err" | cat -v | head -n 20
	exit 1
}

skip() {
	echo "$*" >"$work/skip"
	exit 77
}

need() {
	command -v "$1" >/dev/null || skip "$1 is not installed"
}

# $1: the exit code that is right, then the tool's arguments
run() {
	local wanted=$1 code=0
	shift
	"$shmcache" "$@" >"$work/out" 2>"$work/err" || code=$?
	[ $code = "$wanted" ] || fail "exit code $code, not $wanted: $*"
}

# Standard output is exactly this, and a newline
out() {
	printf '%s\n' "$1" | cmp -s - "$work/out" || fail "output is not: $1"
}

# ... exactly the lines of standard input, whatever their order
out_lines() {
	sort >"$work/wanted"
	sort "$work/out" | diff "$work/wanted" - >"$work/diff" ||
	    fail "other lines: $(cat "$work/diff")"
}

no_out() {
	[ ! -s "$work/out" ] || fail "something on standard output"
}

err() {
	grep -qF -- "$1" "$work/err" || fail "standard error lacks: $1"
}

no_err() {
	[ ! -s "$work/err" ] || fail "something on standard error"
}

# $1: a pattern that may not be in standard output or error ($2: out or err)
hasnt() {
	if grep -q -e "$1" "$work/$2"; then
		fail "there is $1"
	fi
}

# The bytes of standard output
bytes() {
	printf '%s' "$1" | cmp -s - "$work/out" || fail "not these bytes: $1"
}

# Standard output is a time that began at so many seconds, lately
left() {
	local seconds
	grep -qxE '[0-9]+\.[0-9]{3}' "$work/out" || fail "no time"
	seconds=$(cut -d. -f1 "$work/out")
	((seconds <= $1 && seconds > $1 - 60)) || fail "not $1 s"
}

# A command line that is refused: the reason, and where to read on
refused() {
	local reason=$1
	shift
	run 2 "$@" </dev/null
	no_out
	err "$reason"
	err "--help"
}

# $1: a file with what is typed; then a command; prints what a terminal shows
on_terminal() {
	local typed=$1 command
	shift
	printf -v command '%q ' "$@"
	script -qec "$command" /dev/null <"$typed" | tr -d '\r'
}

make_cache() {
	run 0 create "${1:-$name}" --capacity 4M
}

# $work/binary: every byte there is
make_binary() {
	local byte
	for ((byte = 0; byte < 256; byte++)); do
		# shellcheck disable=SC2059
		printf "\\x$(printf %02x $byte)"
	done >"$work/binary"
}

# --- the command line ---------------------------------------------------------

commands() {
	"$shmcache" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'
}

help_and_version() {
	local command
	run 0 --help
	no_err
	[ "$(commands | wc -l)" -ge 20 ] || fail "few commands"
	for command in $(commands); do
		run 0 "$command" --help
		no_err
		grep -qF "Usage: shmcache $command [OPTION...] NAME" \
		    "$work/out" || fail "no usage of $command"
		grep -q -- '--any-owner' "$work/out" || fail "no options"
		run 0 "$command" --version
		out "shmcache $(cat VERSION)"
	done
	run 0 help
	grep -q '^Commands:' "$work/out" || fail "no commands"
	run 0 --version
	out "shmcache $(cat VERSION)"
}

usage_errors() {
	local command
	refused "a command is missing"
	refused "no command 'gett'" gett "$name" key
	refused "no command '--json'" --json
	for command in $(commands); do
		refused "NAME" "$command"
		refused "--nonsense" "$command" --nonsense "$name"
	done
	for command in get set add ttl touch incr; do
		refused "KEY" "$command" "$name"
	done
	refused "KEY VERSION" cas "$name" key
	refused "'more' is too much" get "$name" key more
	refused "'more' is too much" flush "$name" more
	run 2 get a/b key
	err "slash"
	refused "above 0" set "$name" key value --ttl 0
	for time in -1 nan inf 1e3 0x10 10x s . '' 1.2.3 99999999999d; do
		refused "--ttl wants" set "$name" key value --ttl="$time"
	done
	for size in -1 K 4X 1e9 99999999T; do
		refused "--capacity wants" create "$name" --capacity="$size"
	done
	refused "--flags wants" set "$name" key value --flags=4294967296
	refused "--flags wants" set "$name" key value --flags=one
	refused "--mode wants" create "$name" --mode=0899
	refused "DELTA wants" incr "$name" key 1.5
	refused "DELTA wants" incr "$name" key 9223372036854775808
	refused "--cursor wants" keys "$name" --cursor=-1
	refused "--at wants" touch "$name" key --at=-1
	refused "--at wants" touch "$name" key --at none
	refused "VERSION wants" cas "$name" key new value
	run 2 create "$name" --extent=3000
	err "power of two"
}

contradictions() {
	refused "exclude each other" get "$name" key --json --text
	refused "--touch goes with" get "$name" key --peek --touch 10s
	refused "exclude each other" keys "$name" --json --long
	refused "exclude each other" keys "$name" --json --null
	refused "--min-ttl is above" keys "$name" --min-ttl 2m --max-ttl 1m
	refused "--min-ttl is above" keys "$name" --min-ttl none --max-ttl 1m
	refused "--min-size is above" keys "$name" --min-size 2K --max-size 1K
	refused "given twice" keys "$name" 'a*' --glob 'b*'
	refused "exclude each other" touch "$name" key --ttl 1m --at 100
	refused "--initial" incr "$name" key --ttl 1m
	refused "either KEYs or" del "$name" key --prefix k --yes
	refused "exclude each other" del "$name" --glob k --prefix k --yes
	refused "--strict" create "$name" --strict
	refused "--dry-run" load "$name" --add --dry-run
	refused "not a pattern" keys "$name" 'a[b'
	refused "not a pattern" del "$name" --yes --glob 'a\'
}

no_such_cache() {
	local command
	for command in count keys bigkeys dump load verify; do
		run 3 "$command" "$name" </dev/null
		no_out
		err "check the name"
	done
	run 3 flush "$name" --yes
	run 3 destroy "$name" --yes
	for command in get ttl touch del incr; do
		run 3 "$command" "$name" key
	done
	run 3 set "$name" key value
	[ ! -e "/dev/shm/shmcache.$name" ] || fail "one was made"
	echo text >"/dev/shm/shmcache.$name"
	run 4 get "$name" key
	err "not a cache"
	run 4 destroy "$name" --yes
	[ "$(cat "/dev/shm/shmcache.$name")" = text ] || fail "it was touched"
}

# --- create, destroy, flush, verify --------------------------------------------

# The segment has this mode and, but for a little, this many MiB.
segment() {
	local file=/dev/shm/shmcache.$name bytes
	bytes=$(stat -c %s "$file")
	((bytes <= $1 << 20 && bytes > $1 * 1000000)) ||
	    fail "$bytes bytes are not $1 MiB"
	[ "$(stat -c %a "$file")" = "$2" ] || fail "not mode $2"
}

create_and_destroy() {
	run 0 create "$name"
	no_out
	no_err
	segment 32 600
	run 0 set "$name" key value
	run 1 create "$name"
	err "the name is taken"
	run 0 create "$name" --if-missing
	run 0 get "$name" key
	bytes value
	run 0 destroy "$name" --yes
	no_out
	[ ! -e "/dev/shm/shmcache.$name" ] || fail "it is still there"
	run 3 get "$name" key

	run 0 create "$name" -c 16M -m 0640 --ttl 1h --items 1000 --peers 64 \
	    --processes 32 --max-entry 64K --max-items 500
	segment 16 640
	run 0 set "$name" key value
	run 0 ttl "$name" key
	left 3600
	run 0 create "$name" --if-missing --strict -c 16M
	run 4 create "$name" --if-missing --strict -c 32M
	err "capacity"
	run 2 create "$other" --capacity 64K
	err "the least is"
	[ ! -e "/dev/shm/shmcache.$other" ] || fail "one was made"
}

policies() {
	local policy i
	for policy in s3fifo clock fifo lru lfu mru random; do
		run 0 create "$name" -c 4M --policy $policy
		run 4 create "$name" -c 4M --policy \
		    "$([ $policy = lru ] && echo fifo || echo lru)" \
		    --if-missing --strict
		run 0 destroy "$name" --yes
	done
	run 2 create "$name" --policy nonsense
	[ ! -e "/dev/shm/shmcache.$name" ] || fail "one was made"
	run 0 create "$name" -c 4M --volatile
	head -c 10000 /dev/zero >"$work/value"
	for ((i = 0; i < 1000; i++)); do
		"$shmcache" set "$name" $i <"$work/value" 2>"$work/err" ||
		    break
	done
	run 5 set "$name" more <"$work/value"
	err "'more'"
	run 0 get "$name" 0
}

by_path() {
	run 0 create "/dev/shm/shmcache.$name" -c 4M
	run 0 set "$name" key value
	run 0 get "/dev/shm/shmcache.$name" key
	bytes value
	run 0 destroy "/dev/shm/shmcache.$name" --yes
}

no_space() {
	[ "$(id -u)" = 0 ] || skip "only root can mount"
	unshare -m true 2>/dev/null || skip "mounts are not allowed here"
	mkdir "$work/small"
	# shellcheck disable=SC2016
	unshare -m sh -c 'mount -t tmpfs -o size=8m tmpfs "$1" &&
	    "$2" create "$1/cache" -c 16M; code=$?; ls "$1"; exit $code' \
	    sh "$work/small" "$shmcache" >"$work/out" 2>"$work/err"
	[ $? = 5 ] || fail "not exit code 5"
	no_out
	err "make room"
}

too_big() {
	make_cache
	run 0 set "$name" key value
	head -c 1000000 /dev/zero | tr '\0' x >"$work/big"
	run 5 set "$name" key <"$work/big"
	err "'key'"
	err "larger than the cache allows"
	# Input without an end is not waited for.
	run 5 set "$name" key < <(tr '\0' x </dev/zero)
	run 5 append "$name" key <"$work/big"
	run 0 get "$name" key
	bytes value
	run 2 set "$name" '' value
	err "1 to 65,535 bytes"
}

# What destroys is done with --yes or an answer, and not otherwise.
confirmation() {
	make_cache
	run 0 set "$name" key value
	refused "--yes" flush "$name"
	refused "--yes" destroy "$name"
	refused "--yes" del "$name" --prefix k
	refused "--yes" del "$name" --glob '*'
	run 0 get "$name" key
	run 0 flush "$name" --yes
	run 1 get "$name" key
}

confirmation_on_a_terminal() {
	local answer
	need script
	make_cache
	run 0 set "$name" key value
	for answer in n '' no yess; do
		printf '%s\n' "$answer" >"$work/typed"
		on_terminal "$work/typed" "$shmcache" flush "$name" \
		    >"$work/out"
		grep -qF '[y/N]' "$work/out" || fail "not asked"
		grep -qF 'nothing was done' "$work/out" || fail "not told"
	done
	run 0 get "$name" key
	for answer in y YES; do
		run 0 set "$name" key value
		printf '%s\n' "$answer" >"$work/typed"
		on_terminal "$work/typed" "$shmcache" flush "$name" \
		    >"$work/out"
		run 1 get "$name" key
	done
	echo y >"$work/typed"
	on_terminal "$work/typed" "$shmcache" destroy "$name" >"$work/out"
	[ ! -e "/dev/shm/shmcache.$name" ] || fail "not destroyed"
}

# Overwrite the header of the entry "key" with "value".
damage() {
	local file=/dev/shm/shmcache.$name offset
	offset=$(grep -obUaF keyvalue "$file" | cut -d: -f1)
	head -c 24 /dev/zero | tr '\0' '\377' |
	    dd of="$file" bs=1 seek=$((offset - 24)) conv=notrunc status=none
}

verify() {
	make_cache
	run 0 set "$name" key value
	run 0 verify "$name"
	no_out
	err sound
	run 0 verify "$name" --strict
	damage
	run 4 verify "$name"
	grep -qE '^V[0-9]+: ' "$work/out" || fail "no violation"
	err damaged
	truncate -s 1M "/dev/shm/shmcache.$name"
	run 4 verify "$name"
	err "remove the cache"
}

# --- single entries -------------------------------------------------------------

set_and_get() {
	make_cache
	run 0 set "$name" key 'a value'
	no_out
	no_err
	run 0 get "$name" key
	bytes 'a value'
	run 0 set "$name" empty ''
	run 0 get "$name" empty
	no_out
	run 0 set "$name" key <<<'from a pipe'
	run 0 get "$name" key
	out 'from a pipe'
	run 1 get "$name" nothing
	no_out
	err "'nothing': no such entry"
	run 0 set "$name" -- -key -value
	run 0 get "$name" -- -key
	bytes -value
}

any_bytes() {
	make_cache
	make_binary
	run 0 set "$name" key <"$work/binary"
	run 0 get "$name" key
	cmp -s "$work/binary" "$work/out" || fail "other bytes"
	run 0 get "$name" key --text
	[ "$(wc -l <"$work/out")" = 1 ] || fail "not one line"
	hasnt '[^ -~]' out
	run 0 set "$name" copy -e "$(cat "$work/out")"
	run 0 get "$name" copy
	cmp -s "$work/binary" "$work/out" || fail "escapes lost bytes"
}

escaped_keys() {
	local key='a\x00b\n\r\t\\\x1b[31m\xff\xc2\x85é\xed\xa0\x80'
	make_cache
	run 0 set "$name" -e "$key" value
	run 0 keys "$name"
	out "$key"
	run 0 get "$name" -e "$(cat "$work/out")"
	run 1 get "$name" "$key"
	err "'a\\\\x00b"
	run 0 keys "$name" -e --prefix 'a\x00'
	out "$key"
	run 0 keys "$name" --null
	printf 'a\0b\n\r\t\\\033[31m\xff\xc2\x85é\xed\xa0\x80\0' |
	    cmp -s - "$work/out" || fail "not the bytes"
	run 0 del "$name" -e "$key"
	run 0 count "$name"
	out 0
	refused "after a backslash" get "$name" -e 'a\q'
	refused "after a backslash" get "$name" -e 'a\'
	refused "after a backslash" get "$name" -e 'a\x1'
	refused "after a backslash" del "$name" -e good 'a\xg0'
}

get_json() {
	need jq
	make_cache
	run 0 set "$name" key value --flags 4294967295 --ttl 1h
	run 0 get "$name" key --json
	[ "$(jq -r '.key, .value, .flags' "$work/out" | paste -sd,)" = \
	    key,value,4294967295 ] || fail "other members"
	jq -e '.ttl_ms > 3500000 and .ttl_ms <= 3600000' "$work/out" \
	    >/dev/null || fail "not 1 h"
	run 0 cas "$name" key "$(jq -r .version "$work/out")" new
	run 0 get "$name" key --json
	jq -e '.ttl_ms == null and .flags == 0' "$work/out" >/dev/null ||
	    fail "other members"
	make_binary
	run 0 set "$name" key <"$work/binary"
	run 0 get "$name" key --json
	jq -r .value_base64 "$work/out" | base64 -d | cmp -s - "$work/binary" ||
	    fail "other bytes"
}

conditional_sets() {
	local version
	make_cache
	run 1 replace "$name" key value
	err "no such entry"
	run 0 add "$name" key value
	run 1 add "$name" key other
	err "'key'"
	run 0 get "$name" key
	bytes value
	run 0 replace "$name" key new --ttl 1h
	run 0 append "$name" key ' tail'
	run 0 prepend "$name" key 'head '
	run 0 get "$name" key
	bytes 'head new tail'
	run 0 ttl "$name" key
	left 3600
	run 1 append "$name" nothing x
	need jq
	version=$("$shmcache" get "$name" key --json | jq -r .version)
	run 0 cas "$name" key "$version" first
	run 1 cas "$name" key "$version" second
	err "'key'"
	run 1 cas "$name" nothing "$version" third
	run 0 get "$name" key
	bytes first
}

numbers() {
	make_cache
	run 1 incr "$name" n
	err "no such entry"
	run 0 incr "$name" n --initial 5 --ttl 1h
	out 5
	run 0 incr "$name" n
	out 6
	run 0 decr "$name" n 10
	out -4
	run 0 incr "$name" n -- -6
	out -10
	run 0 get "$name" n
	bytes -10
	run 0 ttl "$name" n
	left 3600
	run 0 set "$name" text hello
	run 1 incr "$name" text
	err "'text'"
	run 0 get "$name" text
	bytes hello
	run 0 set "$name" n 9223372036854775807
	run 1 incr "$name" n
	err "'n'"
	run 0 get "$name" n
	bytes 9223372036854775807
}

# Four shells at once lose no increment.
numbers_at_once() {
	local i
	make_cache
	run 0 set "$name" n 0
	for i in 1 2 3 4; do
		for _ in $(seq 25); do
			"$shmcache" incr "$name" n
		done >/dev/null &
	done
	wait
	run 0 incr "$name" n
	out 101
}

times() {
	make_cache
	run 0 set "$name" key value
	run 0 ttl "$name" key
	out none
	run 0 touch "$name" key --ttl 1.5h
	run 0 ttl "$name" key
	left 5400
	run 0 touch "$name" key --ttl none
	run 0 ttl "$name" key
	out none
	run 0 touch "$name" key --at $(($(date +%s) + 100))
	run 0 ttl "$name" key
	left 100
	run 0 get "$name" key --touch 2d
	run 0 ttl "$name" key
	left 172800
	run 0 set "$name" key value --ttl 1ms
	sleep 0.05
	run 1 ttl "$name" key
	run 0 set "$name" key value
	run 0 touch "$name" key --at 1000
	run 1 get "$name" key
	run 0 set "$name" here value
	run 1 touch "$name" gone here --ttl 1h
	err "'gone'"
	run 0 ttl "$name" here
	left 3600
}

peek_counts_nothing() {
	need jq
	make_cache
	run 0 set "$name" key value
	run 0 get "$name" key --peek
	run 0 get "$name" key --peek --json
	"${shmcache%/*}/shmcache-stat" --json "$name" >"$work/out"
	[ "$(jq .counters.get_hits "$work/out")" = 0 ] || fail "it counted"
	run 0 get "$name" key
	"${shmcache%/*}/shmcache-stat" --json "$name" >"$work/out"
	[ "$(jq .counters.get_hits "$work/out")" = 1 ] || fail "not counted"
}

# --- many entries ----------------------------------------------------------------

# $1 entries "user:N", every tenth of 1 KiB, every second with a time to live
fill() {
	local i
	{
		echo '{"shmcache_dump": 1, "time_ms": '"$(date +%s)"'000}'
		for ((i = 0; i < $1; i++)); do
			printf '{"key": "user:%d", "value": "%*s"%s}\n' $i \
			    $((i % 10 == 0 ? 1024 : 10)) x \
			    "$( ((i % 2)) && echo ', "ttl_ms": 600000')"
		done
		echo '{"end": '"$1"'}'
	} >"$work/filling"
	run 0 load "$name" "$work/filling"
	err "$1 entries loaded"
}

delete_some() {
	make_cache
	fill 100
	run 0 del "$name" user:1 user:2
	no_out
	run 1 del "$name" user:1 user:3
	err "'user:1'"
	run 1 get "$name" user:3
	run 0 delete "$name" --prefix user:9 --yes
	out 11
	run 0 del "$name" --glob 'user:[5-8]?' --yes
	out 40
	run 0 count "$name"
	out 46
	run 0 del "$name" --glob 'nothing*' --yes
	out 0
}

list_keys() {
	make_cache
	fill 100
	run 0 keys "$name"
	no_err
	seq -f 'user:%.0f' 0 99 | out_lines
	run 0 keys "$name" 'user:[12]?'
	seq -f 'user:%.0f' 10 29 | out_lines
	run 0 keys "$name" --glob 'user:?' --prefix user:1
	out user:1
	run 0 keys "$name" --max-ttl 20m
	seq -f 'user:%.0f' 1 2 99 | out_lines
	run 0 keys "$name" --max-ttl 1m
	no_out
	run 0 keys "$name" --min-ttl none
	seq -f 'user:%.0f' 0 2 98 | out_lines
	run 0 keys "$name" --min-size 1K
	seq -f 'user:%.0f' 0 10 90 | out_lines
	run 0 keys "$name" --max-size 100 --prefix user:1
	printf 'user:%s\n' 1 11 12 13 14 15 16 17 18 19 | out_lines
	run 0 keys "$name" user:10 --long
	out '      1031            none           0  user:10'
	run 0 keys "$name" user:1 --long
	grep -qE '^ +16 +(600|5[0-9]{2})\.[0-9]{3} +0  user:1$' "$work/out" ||
	    fail "other columns"
}

list_keys_as_json() {
	need jq
	make_cache
	fill 100
	run 0 set "$name" -e '\xff' value --flags 7
	run 0 keys "$name" --json
	[ "$(jq -s length "$work/out")" = 101 ] || fail "not 101 objects"
	jq -r 'select(.key) | .key' "$work/out" >"$work/keys"
	seq -f 'user:%.0f' 0 99 | sort | diff - <(sort "$work/keys") ||
	    fail "other keys"
	jq -s -e 'map(select(.key_base64)) == [{ "key_base64": "/w==",
	    "bytes": 6, "flags": 7, "ttl_ms": null }]' "$work/out" >/dev/null ||
	    fail "other members"
}

# Page by page, every key is seen once.
list_by_cursor() {
	local cursor=0
	make_cache
	fill 500
	: >"$work/keys"
	while :; do
		run 0 keys "$name" --limit 37 --cursor "$cursor"
		[ "$(wc -l <"$work/out")" -le 37 ] || fail "above the limit"
		cat "$work/out" >>"$work/keys"
		cursor=$(sed -n 's/.*--cursor \([0-9]*\)$/\1/p' "$work/err")
		[ -n "$cursor" ] || break
		[ "$(wc -l <"$work/out")" = 37 ] || fail "below the limit"
	done
	cp "$work/keys" "$work/out"
	seq -f 'user:%.0f' 0 499 | out_lines
	run 1 keys "$name" --limit 1 --cursor 18446744073709551615
	no_out
	make_cache "$other"
	run 0 keys "$name" --limit 1
	cursor=$(sed -n 's/.*--cursor \([0-9]*\)$/\1/p' "$work/err")
	run 1 keys "$other" --cursor "$cursor"
	err "another cache"
}

list_big_keys() {
	local i
	make_cache
	fill 100
	for i in 1 2 3; do
		run 0 set "$name" "big:$i" < <(head -c $((i * 3000)) /dev/zero)
	done
	run 0 bigkeys "$name" -n 3
	[ "$(awk '{ print $1, $4 }' "$work/out" | paste -sd,)" = \
	    '9005 big:3,6005 big:2,3005 big:1' ] || fail "other keys"
	run 0 bigkeys "$name" 'big:[12]'
	[ "$(awk '{ print $4 }' "$work/out" | paste -sd,)" = big:2,big:1 ] ||
	    fail "other keys"
	run 0 bigkeys "$name"
	[ "$(wc -l <"$work/out")" = 10 ] || fail "not 10 lines"
	need jq
	run 0 bigkeys "$name" -n 1 --json
	[ "$(jq -r .key "$work/out")" = big:3 ] || fail "not big:3"
}

# With xargs, in both forms
keys_into_other_commands() {
	make_cache
	fill 100
	run 0 set "$name" -e 'user:\n2' value
	"$shmcache" keys "$name" --prefix user: -0 |
	    xargs -0 "$shmcache" del "$name" || fail "del of raw keys"
	run 0 count "$name"
	out 0
	fill 100
	run 0 set "$name" -e 'user:\n2' value
	"$shmcache" keys "$name" |
	    xargs -d '\n' "$shmcache" del "$name" -e || fail "del of escaped"
	run 0 count "$name"
	out 0
}

# --- dump and load ----------------------------------------------------------------

dump_and_load() {
	make_cache
	fill 200
	make_binary
	run 0 set "$name" binary --flags 77 <"$work/binary"
	run 0 set "$name" -e 'k\x00\xff\n' ''
	run 0 set "$name" text -e 'é\\n"\x00'
	run 0 dump "$name"
	no_err
	cp "$work/out" "$work/dump"
	[ "$(wc -l <"$work/dump")" = 205 ] || fail "not 205 lines"
	make_cache "$other"
	"$shmcache" load "$other" <"$work/dump" 2>"$work/err" ||
	    fail "load failed"
	err "203 entries loaded"
	run 0 get "$other" binary
	cmp -s "$work/out" "$work/binary" || fail "other bytes"
	run 0 get "$other" -e 'k\x00\xff\n'
	no_out
	run 0 dump "$other"
	# But for what is left of the times to live
	strip() {
		sed -e 1d -e 's/"ttl_ms": [0-9]*/"ttl_ms": N/' "$1" | sort
	}
	diff <(strip "$work/dump") <(strip "$work/out") >"$work/diff" ||
	    fail "another dump: $(head -n 5 "$work/diff")"
	run 0 dump "$name" --prefix user:1
	[ "$(wc -l <"$work/out")" = 113 ] || fail "not 113 lines"
	run 0 load "$other" --dry-run "$work/dump"
	err "203 entries can be loaded"
}

# What is there throughout is in the dump, whatever others do.
dump_beside_writers() {
	local writer
	make_cache
	fill 200
	"$shmcache" dump "$name" | sed 's/"user:/"other:/' >"$work/others"
	while "$shmcache" load "$name" "$work/others" 2>/dev/null; do :; done &
	writer=$!
	for _ in 1 2 3 4 5; do
		run 0 dump "$name"
		[ "$(grep -o '"user:[0-9]*"' "$work/out" | sort -u | wc -l)" \
		    = 200 ] || fail "not all of them"
		tail -n 1 "$work/out" | grep -q '"end"' || fail "no end"
	done
	run 0 destroy "$name" --yes
	wait $writer
}

dump_is_json() {
	need jq
	make_cache
	fill 50
	make_binary
	run 0 set "$name" binary --flags 77 <"$work/binary"
	run 0 dump "$name"
	jq -s -e '.[0].shmcache_dump == 1 and .[-1].end == 51 and
	    (.[0].time_ms | type) == "number" and length == 53' "$work/out" \
	    >/dev/null || fail "other lines"
	jq -r 'select(.key == "binary") | .value_base64' "$work/out" |
	    base64 -d | cmp -s - "$work/binary" || fail "other bytes"
	jq -s -e 'map(select(.key == "user:1"))[0].ttl_ms > 500000' \
	    "$work/out" >/dev/null || fail "no time to live"
	# What jq writes can be loaded.
	jq -c . "$work/out" >"$work/dump"
	run 0 flush "$name" --yes
	run 0 load "$name" "$work/dump"
	err "51 entries loaded"
}

dump_from_another_hour() {
	local then=$((($(date +%s) - 3600) * 1000))
	make_cache
	cat >"$work/dump" <<-END
	{"shmcache_dump": 1, "time_ms": $then}
	{"key": "gone", "value": "v", "ttl_ms": 3500000}
	{"key": "left", "value": "v", "ttl_ms": 3700000}
	{"key": "stays", "value": "v", "ttl_ms": null}
	{"end": 3}
	END
	run 0 load "$name" "$work/dump"
	err "2 entries loaded, 1 had expired"
	run 1 get "$name" gone
	run 0 ttl "$name" left
	left 100
	run 0 ttl "$name" stays
	out none
	run 0 load "$name" "$work/dump" --keep-ttl
	err "3 entries loaded"
	run 0 set "$name" left mine
	run 0 load "$name" "$work/dump" --add
	err "0 entries loaded, 2 were there already, 1 had expired"
	run 0 get "$name" left
	bytes mine
}

damaged_dumps() {
	local now
	now=$(date +%s)000
	make_cache
	run 0 set "$name" old value
	{
		echo '{"shmcache_dump": 1, "time_ms": '"$now"'}'
		echo '{"key": "a", "value": "1"}'
		echo '{"key": "b", "value": '
		echo 'nonsense'
		printf '\033]0;title\a\n'
		echo '[1, 2]'
		echo '{"key": "b"}'
		echo '{"value": "b"}'
		echo '{"key": "b", "value": 5}'
		echo '{"key": "b", "key_base64": "Yg==", "value": ""}'
		echo '{"key_base64": "%%%", "value": ""}'
		echo '{"key": "b", "value": "", "flags": -1}'
		echo '{"key": "b", "value": "", "ttl_ms": "soon"}'
		echo '{"key": "", "value": ""}'
		echo '{"key": "b", "value": "'"$(printf '\xff')"'"}'
		echo '{"key": "b", "value": "", "value": ""}'
		echo
		echo '{"key": "c", "value": "3", "color": "red"}'
		echo '{"end": 16}'
	} >"$work/dump"
	run 4 load "$name" "$work/dump"
	no_out
	for line in 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do
		err "line $line: "
	done
	err "2 entries loaded, 14 damaged"
	hasnt "$(printf '\033')" err
	run 0 get "$name" a
	run 0 get "$name" c
	run 0 get "$name" old
	run 1 get "$name" b
}

# However much is damaged, it is told shortly.
many_damaged_lines() {
	make_cache
	{
		echo '{"shmcache_dump": 1, "time_ms": 0}'
		yes '{"key": 1}' | head -n 1000
		echo '{"key": "a", "value": "1"}'
		echo '{"end": 1001}'
	} >"$work/dump"
	run 4 load "$name" "$work/dump"
	[ "$(wc -l <"$work/err")" = 21 ] || fail "not 20 lines and a summary"
	err "1 entries loaded, 1000 damaged"
}

truncated_dumps() {
	local bytes
	make_cache
	fill 50
	run 0 dump "$name"
	cp "$work/out" "$work/dump"
	bytes=$(stat -c %s "$work/dump")
	run 0 flush "$name" --yes
	head -c $((bytes / 2)) "$work/dump" >"$work/cut"
	run 4 load "$name" "$work/cut"
	err "ends early"
	head -n -1 "$work/dump" >"$work/cut"
	run 4 load "$name" "$work/cut"
	err "line 51: the dump ends early"
	err "50 entries loaded"
	run 0 load "$name" "$work/cut" --partial
	sed 10d "$work/dump" >"$work/cut"
	run 4 load "$name" "$work/cut"
	err "50 entries, and 49 were read"
	run 0 load "$name" "$work/cut" --partial
	head -c -1 "$work/dump" >"$work/cut"
	run 0 load "$name" "$work/cut"
	cat "$work/dump" "$work/dump" >"$work/twice"
	run 0 load "$name" "$work/twice"
	err "100 entries loaded"
}

no_dumps() {
	make_cache
	run 0 set "$name" old value
	run 4 load "$name" </dev/null
	err "it is empty"
	for text in hello '{"key": "a", "value": "b"}' '{}' '[]' \
	    '{"shmcache_dump": "one", "time_ms": 0}' '{"shmcache_dump": 1}' \
	    '{"shmcache_dump": 1, "time_ms": -9223372036854775808}'; do
		run 4 load "$name" <<<"$text"
		err "line 1: "
	done
	run 4 load "$name" <<<'{"shmcache_dump": 2, "time_ms": 0}
	{"key": "a", "value": "b"}
	{"end": 1}'
	err "another format"
	run 4 load "$name" <"$shmcache"
	run 1 load "$name" /no/such/file
	err "/no/such/file"
	run 1 load "$name" /
	run 1 get "$name" a
	run 0 get "$name" old
}

# A line that no entry could be is passed over in bounded memory.
huge_lines() {
	make_cache
	huge() {
		echo '{"shmcache_dump": 1, "time_ms": 0}'
		echo '{"key": "a", "value": "1"}'
		printf '{"key": "b", "value": "'
		head -c 300000000 /dev/zero | tr '\0' x
		echo '"}'
		printf '{"key": "big", "value": "%50000s"}\n' x
		echo '{"key": "c", "value": "3"}'
		echo '{"end": 4}'
	}
	# AddressSanitizer reserves more than that.
	[ -n "${ASAN_OPTIONS-}" ] || ulimit -v 150000
	run 4 load "$name" < <(huge)
	err "line 3: 300000025 bytes long"
	err "line 4: not stored: key and value are larger"
	err "2 entries loaded, 1 damaged, 1 not stored"
	run 0 get "$name" a
	run 0 get "$name" c
}

# A load that is killed leaves a sound cache with what it had stored.
killed_load() {
	local loader
	make_cache
	fill 1000
	run 0 dump "$name"
	cp "$work/out" "$work/dump"
	for wait in 0.002 0.005 0.01 0.02; do
		run 0 flush "$name" --yes
		while cat "$work/dump"; do :; done 2>/dev/null |
		    "$shmcache" load "$name" 2>/dev/null &
		loader=$!
		sleep $wait
		kill -KILL $loader
		wait $loader 2>/dev/null
		run 0 verify "$name"
		run 0 set "$name" key value
		run 0 get "$name" key
		bytes value
	done
}

larger_than_the_cache() {
	make_cache
	{
		echo '{"shmcache_dump": 1, "time_ms": 0}'
		awk 'BEGIN {
			value = sprintf("%4000s", "")
			for (i = 0; i < 3000; i++)
				printf "{\"key\": \"%d\", \"value\": \"%s\"}\n", i, value
		}'
		echo '{"end": 3000}'
	} >"$work/dump"
	run 0 load "$name" "$work/dump"
	err "3000 entries loaded"
	err "were evicted meanwhile"
	run 0 get "$name" 2999
	run 0 verify "$name"
}

# --- where the output goes ----------------------------------------------------------

closed_pipe() {
	local command
	make_cache
	fill 500
	for command in keys dump 'keys --json' 'keys --long'; do
		# shellcheck disable=SC2086
		{
			set -- $command
			"$shmcache" "$1" "$name" "${@:2}" 2>"$work/err"
			echo $? >"$work/code"
		} | head -n 1 >/dev/null
		[ "$(cat "$work/code")" = 0 ] || fail "$command: exit code"
		no_err
	done
	run 0 get "$name" user:0 > >(true)
}

full_device() {
	[ -w /dev/full ] || skip "there is no /dev/full"
	make_cache
	fill 500
	for command in keys dump count 'get user:1'; do
		# shellcheck disable=SC2086
		set -- $command
		"$shmcache" "$1" "$name" "${@:2}" >/dev/full 2>"$work/err"
		[ $? = 5 ] || fail "$command: not exit code 5"
		err "No space left"
	done
}

# Data come line by line, also into a pipe.
line_by_line() {
	make_cache
	fill 10
	mkfifo "$work/fifo"
	"$shmcache" keys "$name" >"$work/fifo" &
	exec 3<"$work/fifo"
	read -r -t 60 line <&3 || fail "no line"
	[[ $line == user:* ]] || fail "another line: $line"
	exec 3<&-
	wait
}

progress() {
	need script
	make_cache
	fill 10
	slowly() {
		head -n 5 "$work/filling"
		sleep 0.6
		tail -n +6 "$work/filling"
	}
	: >"$work/typed"
	mkfifo "$work/slow"
	slowly >"$work/slow" &
	on_terminal "$work/typed" "$shmcache" load "$name" "$work/slow" \
	    >"$work/out"
	wait
	grep -q 'bytes loaded: [0-9]' "$work/out" || fail "no progress"
	grep -q '10 entries loaded' "$work/out" || fail "no result"
	# Off a terminal there is none.
	run 0 load "$name" < <(slowly)
	hasnt 'bytes loaded:' err
	[ "$(wc -l <"$work/err")" = 1 ] || fail "more than a line"
}

color() {
	local escape
	escape=$(printf '\033')
	need script
	make_cache
	fill 3
	: >"$work/typed"
	on_terminal "$work/typed" "$shmcache" keys "$name" --long >"$work/out"
	grep -q "${escape}\[1m.*SIZE" "$work/out" || fail "no heading"
	NO_COLOR=1 on_terminal "$work/typed" "$shmcache" bigkeys "$name" \
	    >"$work/out"
	grep -q SIZE "$work/out" || fail "no heading"
	hasnt "$escape" out
	run 0 keys "$name" --long
	hasnt SIZE out
	hasnt "$escape" out
	on_terminal "$work/typed" "$shmcache" get "$name" user:1 >"$work/out"
	[ "$(wc -l <"$work/out")" = 1 ] || fail "no newline on a terminal"
}

# Who may only read, reads; and leaves no trace.
reading_only() {
	local as
	[ "$(id -u)" = 0 ] || skip "only root can become another user"
	need setpriv
	as="setpriv --reuid=65534 --regid=65534 --clear-groups"
	$as test -x "$shmcache" || skip "others may not run the tools here"
	run 0 create "$name" -c 4M -m 0644
	fill 10
	for command in count keys bigkeys dump 'ttl user:1' \
	    'get user:1 --peek'; do
		# shellcheck disable=SC2086
		set -- $command
		$as "$shmcache" "$1" "$name" "${@:2}" >"$work/out" \
		    2>"$work/err" || fail "$command"
		[ -s "$work/out" ] || fail "$command printed nothing"
	done
	$as "$shmcache" set "$name" key value >"$work/out" 2>"$work/err"
	[ $? = 3 ] || fail "not exit code 3"
	err "run as the owner"
}

tags() {
	run 0 create "$name" -c 16M --tags 100000 # so that no two share a word
	run 0 set "$name" both 1 --tag a --tag b
	run 0 add "$name" one 2 --tag b
	run 0 set "$name" raw 3 -e --tag 'x\x00y'
	run 0 invalidate-tag "$name" none a
	run 1 get "$name" both
	run 0 get "$name" one
	run 0 invalidate-tag -e "$name" 'x\x00y'
	run 1 get "$name" raw
	run 0 replace "$name" one 4 # without a tag
	run 0 invalidate-tag "$name" b
	run 0 get "$name" one
	run 2 set "$name" key value --tag ''
	err "at least one byte"
	eight="--tag 1 --tag 2 --tag 3 --tag 4 --tag 5 --tag 6 --tag 7 --tag 8"
	# shellcheck disable=SC2086
	run 0 set "$name" key value $eight
	# shellcheck disable=SC2086
	run 2 set "$name" key value $eight --tag 9
	err "8 tags, no more"
	run 2 invalidate-tag "$name" ''
	run 2 invalidate-tag "$name"
	run 2 append "$name" key value --tag a
}

keys_that_exist() {
	run 0 create "$name" -c 4M
	run 1 filter-build "$name"
	err "filter"
	run 0 filter-test "$name" any
	run 0 create "$other" -c 4M --filter-items 1000 --filter-error 100
	printf 'a\nb\nx\\x00y' >"$work/keys"
	run 0 filter-build -e "$other" <"$work/keys"
	out 3
	run 1 filter-test -e "$other" a c 'x\x00y'
	printf 'a\nx\\x00y\n' | cmp -s - "$work/out" || fail "not a and x"
	run 0 filter-save "$other" "$work/filter"
	printf 'only\n' >"$work/keys"
	run 0 filter-build "$other" <"$work/keys"
	run 1 filter-test "$other" a
	run 0 filter-load "$other" "$work/filter"
	run 0 filter-test "$other" a
	# What is wrong leaves the filter in use.
	printf 'fine\n\nfine\n' >"$work/keys"
	run 2 filter-build "$other" <"$work/keys"
	printf 'a\0b\n' >"$work/keys"
	run 2 filter-build "$other" <"$work/keys"
	head -c 100000000 /dev/zero | tr '\0' k >"$work/keys"
	run 2 filter-build "$other" <"$work/keys"
	err "longer than a key can be"
	printf 'a\n\033]0;x\a%s\\q\n' "$(printf '%0200d' 0)" >"$work/keys"
	run 2 filter-build -e "$other" <"$work/keys"
	err "'\\x1b]0;x"
	[ "$(LC_ALL=C tr -d '\n -~' <"$work/err")" = "" ] ||
	    fail "control characters on standard error"
	mkfifo "$work/fifo"
	run 1 filter-load "$other" "$work/fifo"
	err "is not a file"
	head -c 100 "$work/filter" >"$work/short"
	run 1 filter-load "$other" "$work/short"
	err "short"
	run 1 filter-load "$other" "$work/none"
	run 1 filter-load "$name" "$work/filter"
	run 0 filter-test "$other" a
	run 0 filter-drop "$other"
	run 0 filter-test "$other" anything
	run 1 filter-save "$other" "$work/filter"
}

locks() {
	run 0 create "$name" -c 4M
	# shellcheck disable=SC2016
	run 0 lock "$name" job -- sh -c 'echo $SHMCACHE_FENCE'
	out 1
	run 7 lock "$name" job -- sh -c 'exit 7'
	run 143 lock "$name" job -- sh -c 'kill $$'
	run 127 lock "$name" job -- "$work/no such command"
	run 2 lock "$name" job
	run 2 lock "$name" job -n -w 1 true
	run 2 lock "$name" "$(printf '%0241d' 0)" true
	# Held by another: not at once, not in time, but when that has ended.
	"$shmcache" lock "$name" job -- sh -c \
	    "echo \$\$ >$work/pid; exec sleep 60" &
	while [ ! -s "$work/pid" ]; do sleep 0.01; done
	run 1 lock -n "$name" job true
	err "locked by another"
	run 1 lock -w 50ms "$name" job true
	run 0 lock -n "$name" other true
	kill $! # is passed on to sleep
	run 0 lock "$name" job true
	wait $!
	[ $? = 143 ] || fail "the signal was not passed on"
	# Killed, it holds nothing; its command has to be ended by itself.
	rm "$work/pid"
	"$shmcache" lock "$name" job -- sh -c \
	    "echo \$\$ >$work/pid; exec sleep 60" &
	while [ ! -s "$work/pid" ]; do sleep 0.01; done
	kill -9 $!
	run 0 lock -w 60 "$name" job true
	kill "$(cat "$work/pid")"
}

# ------------------------------------------------------------------------------------

cases="help_and_version usage_errors contradictions no_such_cache
    create_and_destroy policies by_path no_space too_big confirmation
    confirmation_on_a_terminal verify set_and_get any_bytes escaped_keys
    get_json conditional_sets numbers numbers_at_once times
    peek_counts_nothing delete_some list_keys list_keys_as_json
    list_by_cursor list_big_keys keys_into_other_commands dump_and_load
    dump_beside_writers dump_is_json dump_from_another_hour damaged_dumps many_damaged_lines
    truncated_dumps no_dumps huge_lines killed_load larger_than_the_cache closed_pipe
    full_device line_by_line progress color reading_only
    tags keys_that_exist locks"

passed=0 failed=0
[ -x "$shmcache" ] || {
	echo "there is no $shmcache"
	exit 1
}
# shellcheck disable=SC2086
[ $# -gt 0 ] || set -- $cases
for case; do
	rm -rf "$work" "/dev/shm/shmcache.test-$$-"*
	mkdir -p "$work"
	: >"$work/out"
	: >"$work/err"
	if ! declare -F "$case" >/dev/null; then
		echo "there is no case $case"
		exit 2
	fi
	("$case") </dev/null >"$work/said" 2>&1
	case $? in
	0)
		passed=$((passed + 1))
		;;
	77)
		echo "skip $case: $(cat "$work/skip")"
		;;
	*)
		failed=$((failed + 1))
		echo "FAIL $case"
		cat "$work/said"
		;;
	esac
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
