#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Run the demo that was built in folder $1: `make demo`.  What follows is
# handed to the program; `demo/run.sh build --help` tells what there is.

build=${1:?"say the build folder, or use: make demo"}
shift
exec "$build/demo/demo" --data "$(dirname "$0")/data" \
	--janitor "$build/tools/shmcache-janitor" "$@"
