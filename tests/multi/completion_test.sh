#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# completion_test.sh - what the shells complete is what the tools take
#
# Makes the completions of the tools in SHMCACHE_BUILD/tools, else of those in
# build/tools, and presses tab.  zsh and fish are asked if they are there.

set -u
export LC_ALL=C
cd "$(dirname "$0")/../.." || exit 1

tools=${SHMCACHE_BUILD:-$PWD/build}/tools
work=$(mktemp -d)
name=test-$$-completion
trap 'rm -rf "$work" "/dev/shm/shmcache.test-$$-"*' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
export PATH=$tools:$PATH

passed=0 failed=0

# $1: what is wrong if the command that follows fails
check() {
	if "${@:2}"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL $1"
	fi
}

# The options that a tool takes, as it says itself
options() {
	"$@" --help | grep -oE -- '^ +(-., )?--[a-z-]+' | tr -d ' ' | tr , '\n'
}

commands() {
	shmcache --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p'
}

# --- bash ---------------------------------------------------------------------

# $1: what is typed, with a space at the end if a new word begins; prints the
# words offered
offers() {
	local COMP_WORDS COMP_CWORD
	local -a COMPREPLY=()
	read -r -a COMP_WORDS <<<"$1"
	[[ $1 != *' ' ]] || COMP_WORDS+=("")
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	_shmcache
	printf '%s\n' "${COMPREPLY[@]}"
}

# $1: what is typed, $2...: the words that are offered, all of them
offered() {
	local typed=$1
	shift
	check "'$typed' offers: $(offers "$typed" | tr '\n' ' ')" \
	    [ "$(offers "$typed" | sort)" = "$(printf '%s\n' "$@" | sort)" ]
}

in_bash() {
	local tool command
	# Outside of a completion there is nothing to set.
	compopt() { :; }
	# shellcheck source=/dev/null
	. "$work/completions/shmcache.bash"

	# shellcheck disable=SC2046
	offered "shmcache " $(commands) --help --version
	offered "shmcache ge" get
	for command in $(commands); do
		# shellcheck disable=SC2046
		offered "shmcache $command -" $(options shmcache "$command")
	done
	for tool in "$tools"/shmcache-*; do
		tool=${tool##*/}
		# shellcheck disable=SC2046
		offered "$tool -" $(options "$tool")
		# It takes the file of a trace, not the name of a cache.
		[ "$tool" = shmcache-replay ] ||
			offered "$tool test-$$-" "$name" "$name-2"
	done
	offered "shmcache get test-$$-" "$name" "$name-2"
	offered "shmcache get --json test-$$-" "$name" "$name-2"
	offered "shmcache set --ttl 10s $name-" "$name-2"
	offered "shmcache set --ttl = 10s $name-" "$name-2"
	offered "shmcache set --ttl " ""
	offered "shmcache get $name " ""
	offered "shmcache load $name $work/dum" "$work/dump one"
	offered "shmcache nonsense " ""
	# An option of a tool that names a file, and a word before the name
	if shmcache-stat --help | grep -q '\[top\]'; then
		offered "shmcache-stat --output $work/dum" "$work/dump one"
		offered "shmcache-stat top $name-" "$name-2"
		offered "shmcache-stat to" top
	fi
}

# --- the others -----------------------------------------------------------------

in_zsh() {
	check "zsh: syntax" zsh -n "$work/completions/_shmcache"
	zsh -f -c '
		# What _arguments is told of, one a line
		_arguments() { print -l -- "$@" }
		words=(shmcache keys "") CURRENT=3 service=shmcache
		source "$1"' zsh "$work/completions/_shmcache" >"$work/zsh"
	for option in $(options shmcache keys); do
		check "zsh: no $option" \
		    grep -qE -- "^\([^)]*\)$option(=|\+|\[)" "$work/zsh"
	done
	check "zsh: no names" grep -qx '1:NAME:_shmcache_names' "$work/zsh"
}

in_fish() {
	local option file=$work/completions/shmcache.fish
	asked() {
		HOME=$work fish --no-config -c "source $file; complete -C '$1'" |
		    cut -f 1
	}
	check "fish: syntax" fish -n "$file"
	asked 'shmcache keys -' >"$work/fish"
	asked 'shmcache keys --' >>"$work/fish"
	for option in $(options shmcache keys); do
		check "fish: no $option" grep -qx -- "$option" "$work/fish"
	done
	check "fish: no names" [ "$(asked "shmcache get $name-")" = "$name-2" ]
	check "fish: no commands" [ "$(asked 'shmcache ge')" = get ]
}

# --------------------------------------------------------------------------------

shmcache create "$name" -c 4M && shmcache create "$name-2" -c 4M || exit 1
: >"$work/dump one"
scripts/completions.sh "$tools" "$work/completions" || exit 1
in_bash
if command -v zsh >/dev/null; then
	in_zsh
else
	echo "zsh is not installed"
fi
if command -v fish >/dev/null; then
	in_fish
else
	echo "fish is not installed"
fi
echo "$passed passed, $failed failed"
[ $failed = 0 ]
