#!/bin/sh
# run.sh: every test. `make test` calls it, with the program under test in VIPD.
# The network tests wait nearly all of the time. What computes (the simulator, units, documents) runs beside
# them, at the lowest priority, and is told about afterwards.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
log=target/test-beside.log

"$cargo" test --quiet --locked --no-run
"$cargo" test --quiet --locked --profile sim --test sim --test exhaustive --no-run

computes() {
    failed=0
    WITHOUT_NET=1 nice -n 19 "$cargo" test --locked --no-fail-fast || failed=$?
    nice -n 19 "$cargo" test --locked --profile sim --test sim --test exhaustive --no-fail-fast || failed=$?
    return $failed
}
computes >"$log" 2>&1 &
status=0
"$cargo" test --quiet --locked --test net || status=$?
wait $! || status=$?
cat "$log"
exit $status
