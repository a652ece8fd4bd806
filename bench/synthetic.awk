# SPDX-License-Identifier: LGPL-2.1-or-later
#
# synthetic.awk - requests of a kind, a key in a line, always the same
#
#   awk -v kind=KIND -f synthetic.awk
#
# zipf      Zipf 0.8 of 60,000 keys
# churn     Zipf 1.0 of 100,000, every fifth request a new key takes a place
# scans     Zipf 0.9 of 50,000, and now and then 8,000 keys in a row
# distances no popular keys: the distance since the last use is log-normal
# loops     Zipf 1.0 of 20,000, and three in ten from a loop over 9,000 others
# twice     7 in 10 for 3,750 keys alike, the others for keys that come twice
# sizes     Zipf 0.9 of 50,000 of 64 bytes, one in ten a new key of 2,000 bytes
#           (lines as shmcache-replay has them)

# Park and Miller's: every awk has the same.
function random() {
	seed = (seed * 16807) % 2147483647
	return seed / 2147483647
}

function normal() {
	return sqrt(-2 * log(random())) * cos(6.283185307 * random())
}

function zipf_begin(n, a,    i) {
	for (i = 1; i <= n; i++)
		sum[i] = sum[i - 1] + i ^ -a
	keys = n
}

function zipf(    low, high, middle, at) {
	low = 1
	high = keys
	at = random() * sum[keys]
	while (low < high) {
		middle = int((low + high) / 2)
		if (sum[middle] < at)
			low = middle + 1
		else
			high = middle
	}
	return low
}

function churn(    i, place) {
	for (i = 0; i < 500000; i++) {
		if (i % 5 == 0) {
			place = 1 + int(keys * random() ^ 3)
			name[place] = "n" i
		}
		place = zipf()
		print place in name ? name[place] : place
	}
}

function scans(    i, j) {
	for (i = 0; i < 500000; i++) {
		if (random() < 1 / 40000)
			for (j = 0; j < 8000; j++)
				print "s" i "-" j
		print zipf()
	}
}

# The stack is a log: a key that is used again leaves its old place empty, so a
# distance counts places, not keys.
function distances(    i, back, key, end, fresh) {
	for (i = 0; i < 300000; i++) {
		back = int(exp(6.5 + 2 * normal()))
		key = back < end ? stack[end - back] : ""
		if (random() < 0.25 || key == "")
			key = ++fresh
		else
			delete stack[end - back]
		stack[++end] = key
		print key
	}
}

function loops(    i, at) {
	for (i = 0; i < 400000; i++)
		print random() < 0.3 ? "l" (at++ % 9000) : zipf()
}

# The second time comes 500 to 6,000 new keys after the first.
function twice(    i, fresh, at) {
	for (i = 0; i < 600000; i++) {
		if (random() < 0.7) {
			print "m" int(3750 * random())
			continue
		}
		printf "%s%s\n", due[++fresh], fresh
		at = fresh + int(500 * 12 ^ random())
		due[at] = due[at] fresh "\n"
		delete due[fresh]
	}
}

function sizes(    i) {
	for (i = 0; i < 500000; i++)
		print random() < 0.1 ? "0,s" i ",2000,0,get" : \
		    "0," zipf() ",64,0,get"
}

BEGIN {
	seed = 12345
	if (kind == "zipf") {
		zipf_begin(60000, 0.8)
		for (i = 0; i < 500000; i++)
			print zipf()
	} else if (kind == "churn") {
		zipf_begin(100000, 1)
		churn()
	} else if (kind == "scans") {
		zipf_begin(50000, 0.9)
		scans()
	} else if (kind == "distances") {
		distances()
	} else if (kind == "loops") {
		zipf_begin(20000, 1)
		loops()
	} else if (kind == "twice") {
		twice()
	} else if (kind == "sizes") {
		zipf_begin(50000, 0.9)
		sizes()
	} else {
		print "synthetic: there is no kind " kind > "/dev/stderr"
		exit 1
	}
}
