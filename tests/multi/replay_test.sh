#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# replay_test.sh - shmcache-replay: the formats, published miss ratios, the
# library's own, several processes, and bad input

set -u
export LC_ALL=C
cd "$(dirname "$0")/../.." || exit 1

replay=${SHMCACHE_BUILD:-$PWD/build}/tools/shmcache-replay
web12=tests/data/web12.csv.xz
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

passed=0 failed=0

# $1: what is tested; the command that follows succeeds
check() {
	if "${@:2}"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL $1"
	fi
}

# $1: exit status, $2: what is said, rest: arguments
refuses() {
	"$replay" "${@:3}" >"$work/out" 2>"$work/err"
	[ $? = "$1" ] && grep -qF -- "$2" "$work/err" && return
	cat "$work/err"
	return 1
}

# Column 5 of the line of size $1 and policy $2 in the table
miss() {
	awk -v size="$1" -v policy="$2" \
	    '$1 == size && $4 == policy { print $5 }' "$work/table"
}

# --- published miss ratios, to three digits ---------------------------------

# $1: trace; the input: size, policy, its published miss ratio, and how far off
# ours may be, half of the last digit unless given
published() {
	while read -r size policy want off; do
		check "$1: $policy at $size % is $want" \
		    awk -v got="$(miss "$size" "$policy")" -v want="$want" \
		    -v off="${off:-0.00055}" 'BEGIN { exit !(got != "" &&
			got - want <= off && want - got <= off) }'
	done
}

"$replay" -u -g -s 1%,10% -r all -p none $web12 >"$work/table" 2>/dev/null
published web12 <<-'END'
	1.000 fifo .623
	1.000 random .626 .003
	1.000 even .643 .003
	1.000 lru .602
	1.000 clock .597
	1.000 clock2 .588
	1.000 sieve .597
	1.000 s3fifo .589
	1.000 arc .592
	1.000 tinylfu1 .629
	1.000 tinylfu10 .611
	1.000 belady .415
	10.000 fifo .355
	10.000 random .357 .003
	10.000 lru .315
	10.000 clock .308
	10.000 clock2 .294
	10.000 sieve .283
	10.000 s3fifo .277
	10.000 arc .291
	10.000 tinylfu1 .294
	10.000 tinylfu10 .286
	10.000 belady .200
END
"$replay" -u -g -s 1%,10% -r fifo,random,lru,arc,tinylfu1,tinylfu10 -p none \
    demo/data/orm-busy.csv.xz >"$work/table" 2>/dev/null
published orm-busy <<-'END'
	1.000 fifo .241
	1.000 random .257 .003
	1.000 lru .230
	1.000 arc .233
	1.000 tinylfu1 .405
	1.000 tinylfu10 .286
	10.000 fifo .132
	10.000 random .140 .003
	10.000 lru .120
	10.000 arc .120
	10.000 tinylfu1 .117
	10.000 tinylfu10 .104
END

# --- the library ------------------------------------------------------------

# The default's log costs it a few percent of what the policy could do.
"$replay" -s 10% -r ideal -p s3fifo $web12 >"$work/table" 2>/dev/null
check "the default is within 6 % of itself without a log, and not better" \
    awk '$4 == "ideal" { ideal = $5 }
	$4 == "s3fifo" { ratio = $5 / ideal }
	END { exit !(ratio > 1 && ratio < 1.06) }' "$work/table"

"$replay" -s 10% -p s3fifo,clock,fifo,lru,lfu,mru,random $web12 \
    >"$work/table" 2>/dev/null
check "no value is wrong, none is refused" \
    sh -c '! grep -qE "WRONG|refused|failed" '"$work/table"
# $1 misses less than $2 in the table, by a share of $3 at least
better() {
	awk -v a="$(miss 10.000 "$1")" -v b="$(miss 10.000 "$2")" \
	    -v by="$3" 'BEGIN { exit !(a > 0 && a < b * (1 - by)) }'
}
for policy in clock fifo mru random; do
	check "the default beats the library's $policy" \
	    better s3fifo $policy 0.02
done
awk '$4 == "s3fifo" && NF > 7 { ours = $5 }
    $4 == "lru" && NF <= 7 { theirs = $5 }
    END { exit !(ours > 0 && ours < theirs * 0.95) }' "$work/table"
check "the default beats LRU by 5 % at equal bytes" test $? = 0

"$replay" -s 10% -r none -n 4 $web12 >"$work/table" 2>/dev/null
four=$(miss 10.000 s3fifo)
"$replay" -s 10% -r none $web12 >"$work/table" 2>/dev/null
one=$(miss 10.000 s3fifo)
check "four processes miss as one does ($four, $one)" \
    awk -v a="$four" -v b="$one" \
    'BEGIN { exit !(a > 0 && a < b * 1.05 && b < a * 1.05) }'

awk -v kind=sizes -f bench/synthetic.awk | head -n 200000 >"$work/sizes"
"$replay" -s 10% -r s3fifo "$work/sizes" >"$work/table" 2>/dev/null
check "the index is made for the small entries that stay" \
    awk '/items=/ { ours = $5; next }
	$4 == "s3fifo" { theirs = $5 }
	END { exit !(ours > 0 && ours < theirs) }' "$work/table"

check "values near a quarter of an extent are stored" sh -c "
    seq 2000 | $replay -u --unit-bytes 1990 -j -r none -s 50% - 2>/dev/null |
    grep -q '\"refused\": 0,'"

# $1: a process; how many children it has
children() {
	grep -ls "^PPid:[[:space:]]*$1\$" /proc/[0-9]*/status | wc -l
}
# Its children take 64 requests a second, and would for half an hour.
terminated() {
	"$replay" -n 2 --rate 64 -r none -s 10% "$web12" >/dev/null \
	    2>"$work/said" & local replay_pid=$!
	while [ "$(children $replay_pid)" != 2 ]; do
		kill -0 $replay_pid 2>/dev/null || return 1
		sleep 0.05
	done
	kill -TERM $replay_pid
	timeout 60 tail --pid=$replay_pid -f /dev/null || return 1
	wait $replay_pid
	[ $? = 1 ] && [ ! -e "/dev/shm/shmcache.replay-$replay_pid" ]
}
check "a signal to it alone ends its children, too" terminated

# --- formats ----------------------------------------------------------------

printf '0,a,10,0,get\n1,b,20,60,set\n2,a,10,0,get\n3,b,20,0,delete\n4,b,20,0,get\n' \
    >"$work/ours"
printf 'a\nb\na\n' >"$work/keys"
printf 'time,key,size\n1,a,100\n2,b,200\n3,a,100\n' >"$work/csv"
printf '10 3 0 1\n10 1 0 2\n' >"$work/blocks.lis"
# Two records: time 1, key 7, size 100, next use
for time in 1 2; do
	printf "\\00$time\\0\\0\\0\\007\\0\\0\\0\\0\\0\\0\\0\\144\\0\\0\\0"
	printf '\377\377\377\377\377\377\377\377'
done >"$work/oracle"
# $1: file, $2: format, $3: gets, $4: misses of a cache with room for all
reads() {
	"$replay" -j -s 1M -r lru -p none "$work/$1" >"$work/json" 2>&1
	grep -q "\"format\": \"$2\"" "$work/json" &&
	    grep -q "\"gets\": $3,\$" "$work/json" &&
	    grep -q "\"misses\": $4,\$" "$work/json" && return
	cat "$work/json"
	return 1
}
check "our format, with operations" reads ours shmcache 3 2
check "plain keys" reads keys keys 3 2
check "csv with a heading" reads csv csv 3 2
check "ARC's blocks" reads blocks.lis lis 4 3
check "oracleGeneral" reads oracle oracle 2 1
{ echo timestamp_s,key,size_bytes,ttl_s,op; cat "$work/ours"; } >"$work/names"
check "our format with a heading" reads names shmcache 3 2
printf '0,%0400d,10,0,set\n1,a,10,0.5,get\n2,a,10,0,get\n3,b,7e9,0,get\n' 0 \
    >"$work/wide"
check "a long key, half a second, a size above 4 GiB" reads wide shmcache 3 3
{ printf '\357\273\277'; cat "$work/ours"; } >"$work/marked"
check "after the mark of UTF-8" reads marked shmcache 3 2
printf '#a\nb\n#a\n' >"$work/hashes"
check "keys that begin with #" reads hashes keys 3 2
# It begins like a remark: time 35.
{ printf '#'; tail -c +2 "$work/oracle"; } >"$work/at35"
check "a time whose byte is #" reads at35 oracle 2 1
mkdir "$work/x.lista.oracleGeneral"
cp "$work/ours" "$work/x.lista.oracleGeneral/"
check "a folder tells no format" reads x.lista.oracleGeneral/ours shmcache 3 2
{ xz -c "$work/ours"; xz -c "$work/ours"; } >"$work/two.xz"
check "two xz files in one" reads two.xz shmcache 6 3
check "references refuse what has no room" sh -c "
    timeout -s KILL 60 $replay -j -s 1 -r all -p none $work/keys 2>/dev/null |
    awk '/\"misses\": 3,/ { n++ } END { exit n < 10 }'"
check "a size too small names the policy" sh -c "
    $replay -j -r none $work/keys 2>/dev/null |
    awk '/\"policy\": \"s3fifo\"/ { n++ } END { exit n != 2 }'"
check "standard input" sh -c "xz -dc $web12 2>/dev/null | head -n 100 |
    $replay -r lru -p none -s 10% - >/dev/null 2>&1"
check "a plot" sh -c "$replay -c -p none --plot $work/plot $web12 \
    >/dev/null 2>&1 && grep -q '^plot ' $work/plot"
check "a sample of the keys" sh -c "$replay --sample 0.2 -r lru -p none \
    -s 10% $web12 2>&1 | grep -q ' 2[0-9]\{3\} keys'"

# --- operations -------------------------------------------------------------

# $1: gets, $2: misses of each policy with room for all, references and the
# library's; the lines are on standard input
plays() {
	cat >"$work/lines"
	"$replay" -j -s 1M -r all -p s3fifo,lru "$work/lines" >"$work/json" 2>&1
	policies=$(grep -c '"policy"' "$work/json")
	[ "$policies" -gt 10 ] &&
	    [ "$(grep -c "^ *\"gets\": $1,\$" "$work/json")" -gt "$policies" ] &&
	    [ "$(grep -c "\"misses\": $2,\$" "$work/json")" = "$policies" ] &&
	    ! grep -qE '"(failed|wrong|refused|shared_misses)": [1-9]' "$work/json" && return
	cat "$work/json"
	return 1
}
check "a touch gives another time to live" plays 5 3 <<-'END'
	0,longer,10,2,set
	0,shorter,10,60,set
	0,endless,10,2,set
	0,left,10,2,set
	1,longer,0,10,touch
	1,shorter,0,1,touch
	1,endless,0,0,touch
	1,nothing,0,60,touch
	5,longer,10,0,get
	5,shorter,10,0,get
	5,endless,10,0,get
	5,left,10,0,get
	5,nothing,10,0,get
END
check "an increment stores what is not there, and is no get" plays 4 2 <<-'END'
	0,a,16,4,incr
	2,a,16,2,decr
	3,a,16,0,get
	5,a,16,0,get
	6,b,16,0,incr
	7,b,16,0,get
	8,b,0,0,delete
	9,b,16,0,get
END
# $1: increments of one counter among 20,000 keys, one in so many; how many
# policies of a small cache have it at the end
counted() {
	awk -v every="$1" 'BEGIN { for (i = 0; i < 20000; i++) {
		printf "%d,%d,1000,0,set\n", i, i
		if (i % every == 0) printf "%d,counter,16,0,incr\n", i }
	    printf "%d,counter,16,0,get\n", i }' >"$work/lines"
	"$replay" -j -s 1M -r lru,clock,arc,belady -p s3fifo,lru \
	    "$work/lines" 2>/dev/null | grep -c '"misses": 0,'
}
check "increments keep a counter" test "$(counted 100)" = 6
# One at the beginning, when there are no ghosts: later one key in some hundreds
# has the fingerprint of another that has gone, and stays for it.
check "which goes without them" test "$(counted 20000)" = 1 # MIN knows
check "a flush empties it" plays 6 4 <<-'END'
	0,a,10,0,get
	0,b,10,0,get
	1,a,10,0,get
	2,,0,0,flush
	3,a,10,0,get
	3,b,10,0,get
	4,-,0,0,flush
	4,a,0,0,touch
	5,c,10,0,set
	6,c,10,0,get
END
check "what is set after a flush stays, though it had missed before" \
    plays 2 1 <<-'END'
	0,a,0,0,miss
	1,,0,0,flush
	2,a,10,0,set
	3,a,10,0,get
END
check "a get that touches" plays 3 1 <<-'END'
	0,a,0,5,touch
	0,a,0,0,miss
	0,a,10,5,set
	3,a,0,5,touch
	3,a,10,5,get
	7,a,10,1,get
END
printf '0,a,10,0,get\n1,,0,0,flush\n2,a,10,0,get\n' >"$work/flush"
check "as gets only there is no flush" sh -c "$replay -g -j -s 1M -r lru \
    -p none $work/flush 2>/dev/null | grep -q '\"misses\": 1,'"
check "a sample of the keys keeps flushes" sh -c "
    { seq -f '0,%g,9,0,get' 500; echo 1,,0,0,flush
    seq -f '2,%g,9,0,get' 500; } >$work/lines
    $replay --sample 0.5 -j -s 10M -r lru -p none $work/lines 2>/dev/null |
    awk '/\"gets\"/ { gets = \$2 } /\"misses\"/ { misses = \$2 }
    END { exit gets != misses || gets == 0 }'"

# --- recorded from a cache at work ------------------------------------------

tools=${replay%/*}
name=test-$$-replay
trap 'rm -rf "$work"; "$tools/shmcache" destroy --yes "$name" >/dev/null 2>&1' \
    EXIT
# $1: share of the keys; a trace of unit sizes is played into a cache
record() {
	rm -f "$work/log" # it tells when the recorder is at work
	"$tools/shmcache" create --capacity 4M $name &&
	    { "$tools/shmcache-stat" --record "$work/log" --sample "$1" $name \
	    2>"$work/said" & } && recorder=$! &&
	    timeout 60 sh -c "until [ -s '$work/log' ]; do sleep 0.05; done" &&
	    "$replay" --into $name --rate 50000 -u $web12 2>/dev/null \
	    >"$work/table" && kill -INT $recorder && wait $recorder &&
	    "$tools/shmcache" destroy --yes $name >/dev/null
}
# What the file says of $1
noted() {
	sed -n "s/^# $1 //p" "$work/log"
}
# $1: line of the answer, awk's field $2 is within $3 of $4; of what a recorder
# that got no processor has missed it says nothing
answers() {
	[ "$(noted lost)" -lt 500 ] && [ "$(noted gaps)" = 0 ] || {
		echo "  $1: not judged, $(noted lost) records were lost," \
		    "$(noted gaps) gaps"
		return 0
	}
	awk -v line="$1" -v field="$2" -v off="$3" -v want="$4" '
	$0 ~ line { found = $field - want < off && want - $field < off }
	END { exit !found }' "$work/table" && return
	cat "$work/table"
	return 1
}

check "a whole recording" record 1
hits=$(awk '$4 == "s3fifo" { print (1 - $5) * 100 }' "$work/table")
check "it knows all gets" test "$(noted gets)" = 95607
check "sets that follow a miss are no requests" sh -c "
    $replay -c -r none $work/log >$work/table 2>$work/err &&
    grep -q 'just missed' $work/err"
check "a curve of ten sizes" \
    sh -c "[ \$(grep -c ' s3fifo ' $work/table) = 10 ]"
check "it answers what happened ($hits %)" \
    answers '^With the 4' 8 1 "$hits"
check "and what twice the memory would bring" answers '^Twice' 6 1 85.6
check "a fifth of the keys" record 0.2
check "of which the shares are known" sh -c "
    $replay -c -r none $work/log >$work/table 2>$work/err &&
    grep -q '^shmcache-replay: .* 20 % of the keys' $work/err"
check "answers about the same" answers '^With the 4' 8 3 "$hits"
check "in JSON too" sh -c "$replay -c -j -r none $work/log 2>/dev/null |
    grep -q '\"share\": 0.2'"
head -n 2000 "$work/log" >"$work/killed"
check "without its end it is a sample" refuses 0 'was the recorder killed' \
    -s 1M -r lru -p none "$work/killed"
sed 's/^# gets .*/# gets many/' "$work/log" >"$work/nonsense"
check "a number that is none" refuses 1 "'# gets many' has no number" \
    "$work/nonsense"
sed 's/^# share .*/# share 2/' "$work/log" >"$work/nonsense"
check "a share above 1" refuses 1 "'# share 2' has no number" "$work/nonsense"
printf '# share 1\n# unknown 3\n0,a,9,0,get\n' >"$work/unknown"
check "what the recorder did not know is said" refuses 0 \
    '3 requests are missing, as they were of kinds' -s 1M -r lru -p none \
    "$work/unknown"
check "a cache that is there keeps what it has" sh -c "
    $tools/shmcache create --capacity 4M $name &&
    $tools/shmcache set $name mine value &&
    $replay --into $name $work/flush 2>&1 |
    grep -q '1 flushes are not played' &&
    [ \"\$($tools/shmcache get $name mine)\" = value ] &&
    $tools/shmcache destroy --yes $name"
check "a miss that nobody stores" sh -c "
    printf '0,a,0,0,miss\n1,b,9,0,get\n2,a,0,0,miss\n' >$work/log
    $replay -j -s 1M -r lru -p none $work/log 2>/dev/null |
    grep -q '\"misses\": 3,'"

# --- bad input --------------------------------------------------------------

head -c 1000 $web12 >"$work/cut.xz"
head -c 20 "$work/oracle" >"$work/short.oracleGeneral"
: >"$work/empty"
printf '0,a,10,0\n' >"$work/four"
printf '0,a,10,0,get\n0,a,10,0,get,x\n' >"$work/six"
printf '0,a,10,0,frobnicate\n' >"$work/op"
printf '0,a,10,0,get\n0,a,10,,touch\n' >"$work/touch"
printf '0,a,10,-1,touch\n' >"$work/negative"
printf '0,a,16,incr\n' >"$work/incr"
printf '0,,10,0,incr\n' >"$work/nokey"
printf '0,,0,0,flush\n' >"$work/flushes"
printf '0,a,-3,0,get\n' >"$work/size"
printf '0,a,10,0,set\n' >"$work/noget"
printf '5,a,10,0,get\n3,b,0,0,get\n9,c,99999,0,get\n' >"$work/odd"
check "missing" refuses 1 'No such file' "$work/none"
check "empty" refuses 1 'no request in it' "$work/empty"
check "cut short" refuses 1 'damaged or cut short' "$work/cut.xz"
gzip -c "$work/ours" >"$work/ours.gz"
check "packed by gzip" refuses 1 'zcat FILE' "$work/ours.gz"
printf '\050\265\057\375and so on' >"$work/ours.zst"
check "packed by zstd" refuses 1 'zstdcat FILE' "$work/ours.zst"
check "half a record" refuses 1 'no multiple of the 24' \
    "$work/short.oracleGeneral"
check "a column too few" refuses 1 'line 1: 4 columns' -f shmcache \
    "$work/four"
check "a column too many" refuses 1 'line 2: 6 columns' "$work/six"
check "unknown operation" refuses 1 "'frobnicate' is none of get, miss, set" \
    "$work/op"
check "a touch without a time to live" refuses 1 \
    "line 2: '' is no time to live" "$work/touch"
check "a touch with a negative one" refuses 1 "'-1' is no time to live" \
    "$work/negative"
check "an increment with a column too few" refuses 1 'line 1: 4 columns' \
    -f shmcache "$work/incr"
check "no key" refuses 1 'the key is empty' "$work/nokey"
check "flushes only" refuses 1 'no get in it' "$work/flushes"
check "flushes only, as gets" refuses 1 'no get in it' -g "$work/flushes"
check "negative size" refuses 1 "'-3' is no size" "$work/size"
check "no get" refuses 1 'no get in it' "$work/noget"
check "sizes of 0 are said" refuses 0 '1 requests without a size' -s 1M \
    "$work/odd"
check "sizes above the limit are said" refuses 0 \
    '1 requests with a size above the limit' -s 1M "$work/odd"
check "times out of order are said" refuses 0 \
    '1 requests with a time before' -s 1M "$work/odd"
check "not text" refuses 1 'this is not text' -f keys "$work/oracle"
check "no trace" refuses 2 'TRACE is missing'
check "two traces" refuses 2 'too much' "$work/keys" "$work/keys"
check "unknown reference" refuses 2 'none of them' -r best "$work/keys"
check "unknown format" refuses 2 '--format' -f best "$work/keys"
check "no size" refuses 2 'is no size' -s 0 "$work/keys"
check "unknown policy" sh -c "$replay -s 1M -r none -p best $work/keys \
    2>/dev/null | grep -q 'there are: s3fifo'"

echo "$passed passed, $failed failed"
[ $failed = 0 ]
