#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# run.sh WORKDIR [small|full] - search the models exhaustively
#
# Each row of the table below is a model with options.  A row that `holds` must
# be searched to the end without an error; a row that is `caught` is a mutant,
# and must violate an assertion.  Besides, each statement of a model must be
# reached in one of its rows that hold, or it says less than it seems to.
#
# small  every model and every mutant; about two minutes, below 1.5 GB of memory
# full   the same, and larger configurations; some ten minutes, below 4 GB
#
# No row depends on time or chance.  What a row that failed has left is in
# WORKDIR; README.md says how to replay a trail.  Exit: 0, 1 if a row is not as
# it must be, 2 for wrong arguments, 77 if spin or a C compiler is missing.

set -u

table() {
	cat <<'END'
small holds  pin
small caught pin -DM_NO_PIN
small caught pin -DM_NO_RECHECK
small caught pin -DM_NO_FENCE
small caught pin -DM_SCAN_FIRST
small caught pin -DM_EARLY_RELEASE
small caught pin -DM_EARLY_UNPIN
small holds  extents -DLAST1=0
small holds  extents -DLAST1=0 -DWRITERS=2 -DEVICTORS=1
small caught extents -DLAST1=0 -DEVICTORS=1 -DM_NO_DRAIN
small caught extents -DLAST1=0 -DEVICTORS=1 -DM_NO_STATE_CHECK
small caught extents -DLAST1=0 -DEVICTORS=1 -DM_NO_RECHECK
small caught extents -DLAST1=0 -DEVICTORS=1 -DM_NO_LIMBO_SCAN
small caught extents -DLAST1=0 -DEVICTORS=1 -DM_SKIP_TENTATIVE
small caught extents -DLAST1=0 -DM_NO_EVICTOR_PIN
small caught extents -DLAST1=0 -DM_NO_EVICTOR_RECHECK
small caught extents -DLAST1=0 -DM_NO_GENERATION
small holds  install
small holds  install -DONE_LOG
small caught install -DM_HINT_STORE
small caught install -DM_HINT_NO_GENERATION
small caught install -DM_NO_GENERATION
small caught install -DM_REPLACE_FREE
small caught install -DM_ACTIVATE_FIRST
small caught install -DM_NO_LOG
small holds  insert
small holds  insert -DSLOTS=2 -DSETTERS=3 -DDELETES_ONLY
small holds  insert -DSLOTS=2 -DALONE
small caught insert -DSLOTS=2 -DSETTERS=3 -DDELETES_ONLY -DM_FINALISE_OTHER
small caught insert -DM_PLAIN_STORE
small caught insert -DM_NO_RESCAN
small caught insert -DM_HALF_RESCAN
small caught insert -DM_BLIND_REPLACE
small caught insert -DSLOTS=2 -DALONE -DM_NO_ABORT
small holds  peers
small holds  peers -DSAME
small caught peers -DM_EARLY_CLAIM
small caught peers -DM_LATE_CLAIM
small caught peers -DM_ADOPT
small caught peers -DM_NO_ZERO
small caught peers -DM_ORPHAN_IS_FREE
small caught peers -DM_LATE_REACH
small caught peers -DM_LATE_BUMP
small caught peers -DSAME -DM_NO_BUMP
small caught peers -DSAME -DM_NO_BUMP -DV_NO_FREE
small holds  invalidate
small holds  invalidate -DWORDS=1
small caught invalidate -DM_LATE_SNAPSHOT
small caught invalidate -DM_INVALIDATE_FIRST
small caught invalidate -DWORDS=1 -DM_NO_MAX
small caught invalidate -DROUNDS=2 -DM_NO_FETCH_ADD
small caught invalidate -DM_WORD_FIRST
small caught invalidate -DM_EQUAL
small caught invalidate -DM_NEW_SEQ
small caught invalidate -DM_ONE_WORD
full  holds  invalidate -DLOADS=2
small holds  frozen
small holds  frozen -DSETTER -DINCRERS=1 -DINCRS=2
small caught frozen -DM_NO_FREEZE
small caught frozen -DM_READ_FIRST
small caught frozen -DM_IGNORE_FROZEN
small caught frozen -DM_STORE
small caught frozen -DM_LINK_BY_STORE
small caught frozen -DM_REPLACE_UNREAD
full  holds  frozen -DSETTER
small holds  token
small holds  token -DSET
small caught token -DM_NO_BUMP
small caught token -DM_LATE_BUMP
small caught token -DM_NO_ABORT
small caught token -DM_EARLY_CHECK
small caught token -DM_NO_CHECK_AGAIN
small caught token -DM_LATE_INSTALL
small caught token -DM_NO_COUNT
small caught token -DSET -DM_NO_BUMP
small caught token -DSET -DM_EARLY_CHECK
small holds  lease
small holds  lease -DKILL
small holds  lease -DLATE
small holds  lease -DLATE -DKILL
small caught lease -DM_NO_SECOND_LOOK
small caught lease -DKILL -DM_NO_SEQ
small caught lease -DM_NO_WAKE
small caught lease -DM_WAKE_FIRST
small caught lease -DM_SLEEP_BLIND
small caught lease -DKILL -DM_NO_LIVENESS
small caught lease -DLATE -DM_BLIND_RELEASE
small holds  places
small holds  places -DKILL
small caught places -DM_NO_OTHER_LOOK
small caught places -DM_LOOK_FIRST
small caught places -DM_FREE_FIRST
small caught places -DM_NO_SECOND_LOOK
small caught places -DM_WAKE_OTHER
small caught places -DM_SLEEP_BLIND
small holds  lock
small holds  lock -DKILL
small caught lock -DM_NO_RIVALS
small caught lock -DM_HALF
small caught lock -DM_STORE
small caught lock -DM_EARLY_LOOK
small caught lock -DTAKERS=3 -DM_BLIND_UNLOCK
small caught lock -DM_FENCE_FIRST
small caught lock -DM_NO_WAKE
small caught lock -DM_SLEEP_BLIND
small caught lock -DKILL -DM_NO_LIVENESS
small holds  recording
small holds  recording -DRECORDERS=1 -DCALLER -DREMOVES
small caught recording -DRECORDERS=1 -DCALLER -DM_CLEAR_STORE
small caught recording -DM_SET_STORE
small caught recording -DREMOVES -DM_FLUSH_STORE
small caught recording -DM_RENEW_STORE
small caught recording -DM_NO_CLEAR
small caught recording -DREMOVES -DM_RAISE_DEAD
full  holds  places -DCALLERS=3 -DTURNS=0
full  holds  lock -DOTHER
full  holds  lock -DTAKERS=3 -DUNLOCKS=1 -DROUNDS=0
full  holds  pin -DREADERS=2 -DWRITERS=1
full  holds  extents
full  holds  extents -DWRITERS=2 -DEVICTORS=1
full  holds  install -DWORKERS=3
full  holds  install -DEXTENTS=3
full  holds  insert -DSLOTS=2 -DSETTERS=3
full  holds  insert -DALONE
full  holds  peers -DV_CLAIM_THEN_PIN
full  holds  peers -DV_FREE_THEN_BUMP
full  holds  peers -DSAME -DV_FREE_THEN_BUMP
full  holds  peers -DSAME -DV_NO_FREE
full  holds  token -DLEADERS=2 -DTRIES=1 -DNO_OTHER
full  holds  token -DLEADERS=2 -DTRIES=1 -DNO_COPIES
END
}

die() {
	echo "run.sh: $2" >&2
	exit "$1"
}

# A signal must not leave a search behind.
child=
in_background() {
	"$@" &
	child=$!
	wait "$child"
	rc=$?
	child=
	return $rc
}
trap '[ -z "$child" ] || kill "$child" 2>/dev/null' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# The options must be ones that the model knows: none may be lost in silence.
known_options() {
	for option; do
		name=${option#-D}
		grep -qw -- "${name%%=*}" "$models/$model.pml" || return 1
	done
}

# Mutants fail early: there the compiler costs more than the search.  Without
# -o3 spin merges statements, and some that are never reached aren't reported.
build() {
	optimise=-O2
	[ "$expected" = holds ] || optimise=-O0
	cp "$models/$model.pml" . &&
	    spin -a -o3 "$@" "$model.pml" >spin.out 2>&1 &&
	    $cc $optimise -w -DSAFETY $compress -DMEMLIM=$megabytes \
		-o pan pan.c >cc.out 2>&1
}

search() {
	in_background ./pan -m$depth >pan.out 2>&1
}

# What pan.out says: holds, caught, or why it says neither.
judge() {
	if grep -q 'max search depth too small' pan.out; then
		echo "incomplete: depth $depth"
	elif grep -q 'MEMLIM\|out of memory' pan.out; then
		echo "incomplete: $megabytes MB"
	elif grep -q '^pan:1: assertion violated' pan.out; then
		echo caught
	elif grep -q '^pan:1:' pan.out; then
		sed -n 's/^pan:1: \(.*\) (at depth.*/\1/p' pan.out
	elif grep -q 'Search not completed' pan.out; then
		echo incomplete
	elif grep -q 'errors: 0$' pan.out; then
		echo holds
	else
		echo 'no verdict'
	fi
}

# Statements that the search never reached: process, line, text.
unreached() {
	awk -F '\t' '/^unreached in/ { split($1, a, " "); process = a[4] }
	    /^\t[^ ]*pml:.*, state/ && !/-end-/ {
		sub(/, state [0-9]+,/, "", $2); print process, $2 }' pan.out |
	    sort -u
}

note_unreached() {
	unreached >unreached.now
	if [ -f "../$model.unreached" ]; then
		comm -12 unreached.now "../$model.unreached" >unreached.both
		mv unreached.both "../$model.unreached"
	else
		mv unreached.now "../$model.unreached"
	fi
}

row() {
	printf '%-8s %-56s %10s %7s  %s\n' "$@"
}

count() {
	if [ "$1" = "$2" ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
	fi
}

run() {
	expected=$1
	model=$2
	shift 2
	number=$((number + 1))
	place="$work/$number-$model"
	states=-
	seconds=-
	mkdir -p "$place" || die 2 "can't make $place"
	cd "$place" || exit 2
	if ! known_options "$@"; then
		verdict='unknown option'
	elif ! build "$@"; then
		verdict='not built: see spin.out, cc.out'
	else
		search
		verdict=$(judge)
		states=$(awk '/states, stored/ { print $1; exit }' pan.out)
		seconds=$(awk '/elapsed time/ { print $4; exit }' pan.out)
	fi
	[ "$verdict" != holds ] || note_unreached
	count "$verdict" "$expected"
	cd "$work" || exit 2
	if [ "$verdict" = "$expected" ]; then
		rm -rf "$place"
	else
		verdict="FAILED: $verdict, not $expected ($place)"
	fi
	row "$model" "${*:--}" "${states:--}" "${seconds:--}" "$verdict"
}

all_reached() {
	verdict=holds
	if [ ! -f "$1.unreached" ]; then
		verdict='FAILED: no row holds'
	elif [ -s "$1.unreached" ]; then
		verdict="FAILED: $work/$1.unreached"
	fi
	count "$verdict" holds
	row "$1" 'every statement is reached' - - "$verdict"
}

[ $# -ge 1 ] || die 2 'usage: run.sh WORKDIR [small|full]'
size=${2:-small}
case $size in
small) depth=1500000 megabytes=1400 compress='' sizes=small ;;
full) depth=4000000 megabytes=4000 compress=-DCOLLAPSE sizes='small|full' ;;
*) die 2 "'$size' is no size: small or full" ;;
esac
cc=${CC:-gcc}
for tool in spin "${cc%% *}"; do
	if ! command -v "$tool" >/dev/null; then
		echo "skipped: $tool is not installed (Debian: apt install" \
		    "spin gcc)"
		exit 77
	fi
done
models=$(cd "$(dirname "$0")" && pwd) || exit 2
mkdir -p "$1" || die 2 "can't make $1"
work=$(cd "$1" && pwd) || exit 2
rm -rf "$work"/[0-9]*-* "$work"/*.unreached
table >"$work/table"

passed=0
failed=0
number=0
echo "models: $(spin -V), $size; every search is exhaustive (no seed)"
row model options states seconds verdict
while read -r row_size expected model options <&3; do
	case "|$sizes|" in
	*"|$row_size|"*)
		# Word splitting is meant: options hold no spaces.
		# shellcheck disable=SC2086
		run "$expected" "$model" $options
		;;
	esac
done 3<"$work/table"
for model in pin extents install insert frozen peers invalidate token lease \
    places lock; do
	all_reached "$model"
done
rm -f "$work/table"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
