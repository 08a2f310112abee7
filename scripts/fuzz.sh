#!/usr/bin/env bash
# What a server could send to a peer, at random: libFuzzer over the decoder of its words and over the table of peers.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/fuzz.sh [SECONDS]

Builds the fuzz targets of ivshmem-proto/fuzz and runs each for SECONDS (default: 60), after the inputs of its corpus,
which are the specification's vectors. What is found to be of use stays in target/fuzz/found and is where the next run begins.

Exit status: 0 nothing found, 1 failed: the input is kept and named, 2 usage.
USAGE
}

seconds=60
case ${1:-} in
-h | --help)
    usage
    exit 0
    ;;
esac
[ $# -le 1 ] || { usage >&2; exit 2; }
[ $# -eq 0 ] || seconds=$1
case $seconds in
'' | *[!0-9]* | 0*)
    printf "fuzz.sh: SECONDS is a number above 0, not '%s' (fuzz.sh --help)\n" "$seconds" >&2
    exit 2
    ;;
esac

cd "$ROOT"
need_cargo
# libFuzzer comes as C++ source.
install_missing c++:g++
FUZZ=$ROOT/ivshmem-proto/fuzz
OUT=$TARGET/fuzz
# Coverage counters and comparisons, as libFuzzer reads them. No sanitizer, which would take a nightly toolchain: what is fuzzed
# has no unsafe code.
flags=(-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing)
say "building the fuzz targets"
# With --target the flags are not those of build scripts and macros.
RUSTFLAGS="${flags[*]}" CARGO_TARGET_DIR=$OUT cargo build --manifest-path "$FUZZ/Cargo.toml" --release --locked \
    --target "$GUEST_TRIPLE"

for target in server_words peer_table; do
    found=$OUT/found/$target
    log=$OUT/$target.log
    mkdir -p "$found" "$OUT/failed/$target"
    program=$OUT/$GUEST_TRIPLE/release/$target
    say "$target for $seconds s"
    # The first directory is the one that grows.
    if ! "$program" -max_total_time="$seconds" -max_len=4096 -rss_limit_mb=1024 -artifact_prefix="$OUT/failed/$target/" \
        "$found" "$FUZZ/corpus/$target" >"$log" 2>&1; then
        tail -n 60 "$log" >&2
        die "$target failed, see above and $log; the input it names fails again with: $program FILE"
    fi
    tail -n 1 "$log" >&2
done
