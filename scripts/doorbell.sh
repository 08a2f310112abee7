#!/usr/bin/env bash
# Being told beside looking: round trips through doorbells and through polling, what each costs in CPU time, one report.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/doorbell.sh [--out DIR] [--load SPEC] [--messages N]

Measures round trips that wait in four ways (poll, uio, vfio, adaptive), each in a micro guest of its own, and between two
processes of this host that wait on eventfds (the floor); each back to back, 1000 times and 10 times a second, idle and
loaded. Whoever sleeps does so once more, idle, with the host told of RECEIVED, too (--phases both). Takes about five minutes
once everything is built.

  --out DIR       where results go: DIR/cells/<cell>, DIR/doorbell_results.csv, DIR/report
                  (default: results/doorbell-<UTC time>)
  --load SPEC     the load of the loaded half, as for host-writer (default: cpu=1,memory=1)
  --messages N    messages back to back (default: 10000), and 30 times as many where these are over too soon for the kernel to
                  tell the guest's CPU time; 1000 a second are sent for 3 s, 10 a second for 10 s

Read DIR/report/report.html; DIR/doorbell_results.csv has every message.

Exit status: 0 every message ok, 1 failed, 2 usage, 3 measured but some messages are not ok, 130 interrupted.
USAGE
}

# In braces, so that bash has read all of it before it starts: a pull during the build must not change what runs.
{
out=$ROOT/results/doorbell-$(date -u +%Y%m%dT%H%M%SZ)
load=cpu=1,memory=1
messages=10000
take_options "out load messages" "$@"
case $messages in
'' | *[!0-9]* | 0) wrong "--messages takes a number above 0, not '$messages'" ;;
esac

mkdir -p "$out" || die "choose another directory with --out"
need_cargo
install_missing "${NEEDED[@]}" "${NEEDED_DRIVER[@]}" jq:jq stress-ng:stress-ng
build_all
own_vm "doorbell-$$" "/dev/shm/ivshmem-doorbell-$$"
rm -rf "$out/cells" "$out/report" "$out/doorbell_results.csv"

# cell NAME TITLE PACE SOCKET HOST-WRITER-OPTIONS…: one of them. Status 3 (measured, but not all ok) is remembered.
worst=0
number=0
cell() {
    local name=$1 title=$2 pace=$3 socket=$4 status=0
    shift 4
    case $pace in
    max) pacing=(--messages "$messages") ;;
    1k) pacing=(--interval 1ms --messages 3000 --warmup 100) ;;
    10) pacing=(--interval 100ms --messages 100 --warmup 5) ;;
    esac
    number=$((number + 1))
    say "cell $number of 42: $title, $pace a second"
    measure() {
        status=0
        "$BIN/host-writer" --server "$socket" --frames none --quiet --out "$out/cells/$name-$pace" "${pacing[@]}" "$@" || status=$?
    }
    measure "$@"
    # Sides that look take a microsecond a message. As many for those that sleep would take many seconds.
    if [ "$pace,$status" = max,0 ] && jq -e .doorbell.guest_cpu_unknown_because "$out/cells/$name-max/run.json" >/dev/null; then
        pacing=(--messages $((messages * 30)))
        measure "$@"
    fi
    case $status in
    0) ;;
    3) worst=3 ;;
    *) exit "$status" ;;
    esac
}

# cells MODE SOCKET HOST_WAIT: all paces, idle and loaded, and idle with the host told of both phases.
cells() {
    local state pace beside
    for state in idle loaded; do
        beside=()
        [ "$state" = idle ] || beside=(--load "$load")
        for pace in max 1k 10; do
            cell "$state-$1" "$1, $state" "$pace" "$2" --wait "$3" "${beside[@]}"
        done
    done
    # Who polls sees both anyhow.
    [ "$3" != poll ] || return 0
    for pace in max 1k 10; do
        cell "idle-$1-both" "$1, told of both phases, idle" "$pace" "$2" --wait "$3" --phases both
    done
}

start=$SECONDS
native_peer "$out" doorbell
cells floor "$out/server.sock" doorbell
native_stop
for mode in poll uio vfio adaptive; do
    case $mode in poll | adaptive) host_wait=$mode ;; *) host_wait=doorbell ;; esac
    doorbell_vm "$mode" "$out/vm.json"
    cells "$mode" "$(jq -r .doorbell.socket "$out/vm.json")" "$host_wait"
    "$BIN/provision" down --name "$vm" >/dev/null
done
say "analysis"
awk 'FNR == 1 && NR > 1 { next } { print }' "$out"/cells/*/doorbell_results.csv >"$out/doorbell_results.csv"
# The cells' own files, which have their provenance beside them.
"$BIN/analyze" "$out"/cells/*/doorbell_results.csv --out "$out/report"
say "$number cells in $((SECONDS - start)) s; report: $out/report/report.html"
exit $worst
}
