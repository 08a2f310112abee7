#!/usr/bin/env bash
# The main job: boot a guest, measure the memory it shares with this host, report.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/run.sh [--guest micro] [--out DIR] [-- HOST-WRITER OPTIONS]

Installs what is missing, builds, measures two processes on this host (the native baseline), boots a guest,
measures through its PCI BAR2, and analyses both.

  --guest micro   the guest to boot: a Debian kernel and our static guest-reader, nothing else (default)
  --out DIR       where results go: DIR/native, DIR/vm, DIR/report (default: results/<UTC time>)

Examples:
  scripts/run.sh
  scripts/run.sh --out results/quick -- --messages 10000 --frames 4k

Exit status: 0 every message ok, 1 failed, 2 usage, 3 measured but some messages are not ok, 130 interrupted.
USAGE
}

wrong() {
    printf 'run.sh: %s (run.sh --help)\n' "$*" >&2
    exit 2
}

# In braces, so that bash has read all of it before it starts: a pull during the build must not change what runs.
{
guest=micro
out=$ROOT/results/$(date -u +%Y%m%dT%H%M%SZ)
while [ $# -gt 0 ]; do
    case $1 in
    --guest | --out)
        [ $# -gt 1 ] || wrong "$1 needs a value"
        [ "$1" = --out ] && out=$2 || guest=$2
        shift 2
        ;;
    --)
        shift
        break
        ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        wrong "unknown option $1; options of host-writer come after --"
        ;;
    esac
done
[ "$guest" = micro ] || wrong "no guest called $guest; use --guest micro"

own_vm run

# step COMMAND…: status 3 (measured, but not all ok) is remembered, any other failure ends the run.
worst=0
step() {
    local status=0
    "$@" || status=$?
    case $status in
    0) ;;
    3) worst=3 ;;
    *) exit "$status" ;;
    esac
}

mkdir -p "$out" || die "choose another directory with --out"
need_cargo
install_missing "${NEEDED[@]}"
build_all
say "native baseline: two processes on this host"
# The VM shares the very pages that the baseline used: where a line lies in the cache changes its price.
step native_run "$region" "$out/native" "$@"
say "guest: provision up --guest $guest"
"$BIN/provision" up --guest "$guest" --name "$vm" --shm "$region"
say "VM: through the guest's PCI BAR2"
step "$BIN/host-writer" --shm "$region" --out "$out/vm" "$@"
"$BIN/provision" console --name "$vm" >"$out/vm/guest-reader.log"
"$BIN/provision" down --name "$vm"
say "analysis"
"$BIN/analyze" "$out/vm" "$out/native" --out "$out/report"
say "report: $out/report/performance_report.txt"
exit $worst
}
