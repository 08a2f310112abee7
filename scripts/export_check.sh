#!/usr/bin/env bash
# Runs of two processes on this host, exported; DuckDB's answers to the queries of docs/analysis.md against the reports'.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# = 0 ] || {
    printf 'Usage: scripts/export_check.sh\n\nTests analyze export with DuckDB; everything is built already.\n' >&2
    exit 2
}

env=$TARGET/python-export-check
python_env "$env" "$ROOT/scripts/export_check.requirements.txt"
out=$(mktemp -d)
trap 'native_stop; rm -rf "$out"' EXIT
for run in first second; do
    native_run "/dev/shm/ivshmem-export-$$" "$out/$run" --messages 20000 --frames 1080p --iterations 3 --verify none --quiet
    native_stop
    "$BIN/analyze" "$out/$run" --quiet
done
# Twice: no row may be there twice.
for _ in 1 2; do
    "$BIN/analyze" export --parquet "$out/fleet" "$out/first" "$out/second" 2>/dev/null >&2
done
"$env/bin/python" "$ROOT/scripts/export_check.py" "$ROOT/docs/analysis.md" "$out/fleet" "$out"/*/summary.json
