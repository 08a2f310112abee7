#!/usr/bin/env bash
# The whole matrix on one micro guest: modes × sizes × copy kernels × idle and loaded, and one report of it.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/experiments.sh [--out DIR] [--load SPEC] [--iterations N]

Boots a micro guest and runs host-writer once for each cell of the matrix: modes (whole, chunked, stream) × copy kernels
(the measured choice, and each of memcpy, sse2, avx2 on both sides) × idle and loaded, each over payloads of 4 KiB, 1 MiB,
a 1080p and a 4K frame; then round trips, closed loop and open loop, idle and loaded. Takes less than five minutes once
everything is built.

  --out DIR         where results go: DIR/cells/<cell>, DIR/report (default: results/experiments-<UTC time>)
  --load SPEC       the load of the loaded half, as for host-writer (default: cpu=1,memory=1)
  --iterations N    payloads of each size (default: 20)

Read DIR/report/experiments_report.txt first; DIR/report/matrix.csv has every cell.

Exit status: 0 every message ok, 1 failed, 2 usage, 3 measured but some messages are not ok, 130 interrupted.
USAGE
}

# In braces, so that bash has read all of it before it starts: a pull during the build must not change what runs.
{
out=$ROOT/results/experiments-$(date -u +%Y%m%dT%H%M%SZ)
load=cpu=1,memory=1
iterations=20
take_options "out load iterations" "$@"

mkdir -p "$out" || die "choose another directory with --out"
need_cargo
install_missing "${NEEDED[@]}" stress-ng:stress-ng
build_all
own_vm "experiments-$$" "/dev/shm/ivshmem-experiments-$$"
# Cells of an earlier run into the same directory would mix with this one's.
rm -rf "$out/cells" "$out/report"

# cell NAME HOST-WRITER-OPTIONS…: status 3 (measured, but not all ok) is remembered, any other failure ends the matrix.
worst=0
number=0
cell() {
    local name=$1 status=0
    shift
    number=$((number + 1))
    say "cell $number of $cells: $name"
    "$BIN/host-writer" --shm "$region" --out "$out/cells/$name" --quiet "$@" || status=$?
    case $status in
    0) ;;
    3) worst=3 ;;
    *) exit "$status" ;;
    esac
}

modes=(whole chunked stream)
kernels=(chosen memcpy sse2 avx2)
grep -qw avx2 /proc/cpuinfo || kernels=(chosen memcpy sse2)
cells=$((2 * (${#modes[@]} * ${#kernels[@]} + 2)))
start=$SECONDS
"$BIN/provision" up --guest micro --name "$vm" --shm "$region" --quiet
for state in idle loaded; do
    beside=()
    [ "$state" = idle ] || beside=(--load "$load")
    for mode in "${modes[@]}"; do
        for kernel in "${kernels[@]}"; do
            copy=()
            [ "$kernel" = chosen ] || copy=(--copy "$kernel" --guest-copy "$kernel")
            cell "$state-$mode-$kernel" --messages 0 --mode "$mode" --sizes 4KiB,1MiB --frames 1080p,4k --verify none \
                --iterations "$iterations" "${copy[@]}" "${beside[@]}"
        done
    done
    cell "$state-rtt" --frames none "${beside[@]}"
    cell "$state-rtt-open" --frames none --rate 50k --arrivals poisson --messages 100000 "${beside[@]}"
done
"$BIN/provision" down --name "$vm" >/dev/null
say "analysis"
"$BIN/analyze" --matrix "$out"/cells/* --out "$out/report"
say "$cells cells in $((SECONDS - start)) s; report: $out/report/experiments_report.txt"
exit $worst
}
