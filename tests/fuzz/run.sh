#!/bin/sh
# run.sh [SECONDS [TARGET...]]: every fuzz target in turn, SECONDS each, with what it managed in a second.
# Needs any stable Rust and a C++ compiler (libFuzzer is built from libfuzzer-sys), and no cargo-fuzz; with a
# nightly and that, `cargo fuzz run --fuzz-dir tests/fuzz TARGET` does the same under AddressSanitizer.
set -eu
cd "$(dirname "$0")"
seconds=${1:-10}
[ $# -eq 0 ] || shift
targets=${*:-advert ah hmac frames netlink ini control http show_info state dns smtp import getsocks node}
${CXX:-c++} --version >/dev/null 2>&1 || { echo "no C++ compiler: install g++" >&2; exit 1; }
host=$(rustc -vV | sed -n 's/^host: //p')
out=$PWD/../../target/fuzz
# --target keeps the coverage counters out of build scripts.
RUSTFLAGS='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing' \
    ${CARGO:-cargo} build --quiet --locked --release --target "$host" --target-dir "$out"
bin=$out/$host/release
CORPUS=$out/corpus "$bin/seeds" -runs=0 >/dev/null 2>&1
failed=0
for t in $targets; do
    mkdir -p "$out/artifacts/$t"
    # 10 s for one input, on a machine that does other things too, is far beyond what the loop of a daemon may
    # spend on anything that comes from outside.
    if "$bin/$t" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=512 -max_len=4096 -print_final_stats=1 \
        -artifact_prefix="$out/artifacts/$t/" "$out/corpus/$t" >"$out/$t.log" 2>&1; then
        sed -n 's/^stat::number_of_executed_units: *//p; s/^stat::average_exec_per_sec: *//p; s/^stat::peak_rss_mb: *//p' "$out/$t.log" |
            { read -r n; read -r rate; read -r rss; printf '%-10s %9s executions, %7s in a second, peak %s MiB\n' "$t" "$n" "$rate" "$rss"; }
    else
        failed=1
        echo "$t FAILED: $(grep -m1 -E 'panicked|ERROR' "$out/$t.log"); see $out/$t.log"
    fi
done
exit $failed
