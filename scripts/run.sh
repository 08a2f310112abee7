#!/usr/bin/env bash
# The main job: boot a guest, measure the memory it shares with this host, report.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/run.sh [--guest micro|debian] [--doorbell] [--out DIR] [-- HOST-WRITER OPTIONS]

Installs what is missing, builds, measures two processes on this host (the native baseline), boots a guest,
measures through its PCI BAR2, and analyses both.

  --guest micro    a Debian kernel and our static guest-reader, nothing else: ready in seconds (default)
  --guest debian   Debian 12 with cloud-init and SSH, the VM of 'provision up'. The first time its image is fetched or
                   built and booted, which takes minutes; from then on it returns to a snapshot in seconds
  --doorbell       with interrupts: the micro guest sleeps until it is rung, and so does this host. Measured beside two
                   processes of this host that do the same; 4K frames and 10000 round trips unless options say otherwise
  --out DIR        where results go: DIR/native, DIR/vm, DIR/report (default: results/<UTC time>)

Examples:
  scripts/run.sh
  scripts/run.sh --doorbell
  scripts/run.sh --guest debian
  scripts/run.sh --out results/quick -- --messages 10000 --frames 4k

Exit status: 0 every message ok, 1 failed, 2 usage, 3 measured but some messages are not ok, 130 interrupted.
USAGE
}

# In braces, so that bash has read all of it before it starts: a pull during the build must not change what runs.
{
guest=micro
doorbell=no
out=$ROOT/results/$(date -u +%Y%m%dT%H%M%SZ)
while [ $# -gt 0 ]; do
    case $1 in
    --guest | --out)
        [ $# -gt 1 ] || wrong "$1 needs a value"
        [ "$1" = --out ] && out=$2 || guest=$2
        shift 2
        ;;
    --doorbell)
        doorbell=yes
        shift
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
case $guest in
micro | debian) ;;
*) wrong "no guest called $guest; use --guest micro or --guest debian" ;;
esac

[ "$doorbell-$guest" != yes-debian ] ||
    wrong "--doorbell boots a micro guest; for a Debian guest: provision up --doorbell, provision deploy --driver, provision run"

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
[ "$guest" = micro ] || install_missing "${NEEDED_DEBIAN[@]}"
[ "$doorbell" = no ] || install_missing "${NEEDED_DRIVER[@]}" jq:jq
build_all
if [ "$doorbell" = yes ]; then
    own_vm "run-$$" "/dev/shm/ivshmem-run-$$"
    [ $# -gt 0 ] || set -- --messages 10000 --frames 4k
    say "native baseline: two processes on this host that ring each other"
    native_peer "$out" doorbell
    step "$BIN/host-writer" --server "$out/server.sock" --wait doorbell --out "$out/native" "$@"
    native_stop
    say "guest: provision up --guest micro --doorbell, asleep until it is rung (UIO)"
    doorbell_vm uio "$out/vm.json"
    say "VM: doorbells through the guest's PCI BAR0, data through BAR2"
    step "$BIN/provision" run --name "$vm" --out "$out/vm" -- --wait doorbell "$@"
    "$BIN/provision" down --name "$vm"
    say "analysis"
    "$BIN/analyze" "$out/vm" "$out/native" --out "$out/report"
    say "poll, vfio and adaptive beside it: scripts/doorbell.sh"
    say "report: $out/report/report.html"
    exit $worst
fi
case $guest in
micro) own_vm "run-$$" "/dev/shm/ivshmem-run-$$" ;;
debian)
    # The user's own VM: its disk and snapshot serve 'provision up', too, and the other way round.
    if "$BIN/provision" status --name debian >/dev/null 2>&1; then
        die "VM debian is up: measure it with 'provision run', or stop it with 'provision down' and run this again"
    fi
    own_vm debian /dev/shm/ivshmem
    ;;
esac
say "native baseline: two processes on this host"
# The VM shares the very pages that the baseline used: where a line lies in the cache changes its price.
step native_run "$region" "$out/native" "$@"
say "guest: provision up --guest $guest"
"$BIN/provision" up --guest "$guest" --name "$vm" --shm "$region"
say "VM: through the guest's PCI BAR2"
step "$BIN/provision" run --name "$vm" --out "$out/vm" -- "$@"
"$BIN/provision" down --name "$vm"
say "analysis"
"$BIN/analyze" "$out/vm" "$out/native" --out "$out/report"
say "report: $out/report/report.html"
exit $worst
}
