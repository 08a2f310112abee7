# Shared by the scripts beside it: where things are, what must be installed, how to build. Source it, do not run it.
# shellcheck shell=bash

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
GUEST_TRIPLE=x86_64-unknown-linux-gnu
BIN=$TARGET/release
export IVSHMEM_GUEST_READER=$TARGET/$GUEST_TRIPLE/release/guest-reader

say() { printf '== %s\n' "$*" >&2; }
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# A usage error of the script that sources this.
wrong() {
    printf '%s: %s (%s --help)\n' "$(basename "$0")" "$*" "$(basename "$0")" >&2
    exit 2
}

# take_options "NAME…" ARGUMENTS…: --NAME VALUE sets the variable NAME, --help prints the script's usage.
take_options() {
    local known=" $1 "
    shift
    while [ $# -gt 0 ]; do
        case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --*[!a-z]*) wrong "unknown option $1" ;;
        --*)
            [[ $known == *" ${1#--} "* ]] || wrong "unknown option $1"
            [ $# -gt 1 ] || wrong "$1 needs a value"
            declare -g "${1#--}=$2"
            shift 2
            ;;
        *) wrong "unknown option $1" ;;
        esac
    done
}

# install_missing COMMAND:PACKAGE…: installs the Debian packages whose command (or file) is not there.
install_missing() {
    local pair missing=()
    for pair in "$@"; do
        if ! command -v "${pair%%:*}" >/dev/null && ! [ -e "${pair%%:*}" ]; then
            missing+=("${pair#*:}")
        fi
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}")
    if ! command -v apt-get >/dev/null; then
        die "this is no Debian; install what these Debian packages hold: ${missing[*]}"
    fi
    say "installing ${missing[*]}"
    if [ "$(id -u)" = 0 ]; then
        apt-get update -qq && "${install[@]}" >&2
    elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        sudo apt-get update -qq && sudo "${install[@]}" >&2
    else
        die "missing packages and no rights to install them; run: sudo apt-get update && sudo apt-get install -y ${missing[*]}"
    fi
}

# What building and running a micro guest needs, as command:package or file:package; and a Debian guest in addition.
# shellcheck disable=SC2034 # used by the scripts that source this
NEEDED=(cc:gcc /usr/lib/x86_64-linux-gnu/libc.a:libc6-dev pkg-config:pkg-config /usr/include/openssl/ssl.h:libssl-dev
    qemu-system-x86_64:qemu-system-x86)
# shellcheck disable=SC2034
NEEDED_DEBIAN=(qemu-img:qemu-utils mmdebstrap:mmdebstrap /sbin/mke2fs:e2fsprogs newuidmap:uidmap ssh:openssh-client)

# Building the kernel driver of guests with a doorbell takes, in addition: the kernel's build tools need libelf.
# shellcheck disable=SC2034
NEEDED_DRIVER=(gcc:gcc make:make xz:xz-utils /usr/lib/x86_64-linux-gnu/libelf.so.1:libelf1)

need_cargo() { command -v cargo >/dev/null || die "no Rust toolchain; install one (rustup.rs), then run this again"; }

# The guest's binary is linked statically, so that it runs in any guest.
build_guest() {
    RUSTFLAGS="-C target-feature=+crt-static -C strip=symbols" cargo build --manifest-path "$ROOT/Cargo.toml" \
        --release --locked --target "$GUEST_TRIPLE" --package guest-reader
}

build_all() {
    say "building"
    build_guest
    cargo build --manifest-path "$ROOT/Cargo.toml" --release --locked --workspace
}

# python_env DIR REQUIREMENTS: a virtual environment with exactly these packages, made once.
python_env() {
    cmp -s "$2" "$1/requirements.txt" && return 0
    install_missing python3:python3
    python3 -c 'import ensurepip' 2>/dev/null || install_missing /nonexistent/ensurepip:python3-venv
    say "python packages of $(basename "$2")"
    rm -rf "$1"
    python3 -m venv "$1" && "$1/bin/pip" --quiet --disable-pip-version-check install --requirement "$2" >&2 && cp "$2" "$1/requirements.txt"
}

# The CPUs this shell may use, one a line.
allowed_cpus() {
    local range
    for range in $(sed -n 's/^Cpus_allowed_list:\s*//p' /proc/self/status | tr , ' '); do
        seq "${range%-*}" "${range#*-}"
    done
}

# native_run REGION OUT_DIR [host-writer options]: guest-reader and host-writer as two processes on this host. The
# region stays for whoever wants the same pages, and is removed by native_stop.
native_run() {
    local region=$1 out=$2 guest_cpu=() status=0
    shift 2
    NATIVE_REGION=$region
    if [ "$(allowed_cpus | wc -l)" -gt 1 ]; then
        guest_cpu=(--cpu "$(allowed_cpus | tail -n 1)")
    fi
    mkdir -p "$out"
    "$BIN/guest-reader" --map "$region" "${guest_cpu[@]}" 2>"$out/guest-reader.log" &
    NATIVE_GUEST=$!
    "$BIN/host-writer" --shm "$region" --out "$out" "$@" || status=$?
    end_native_guest
    return $status
}

# native_peer DIR WAIT: a doorbell server at DIR/server.sock and a guest-reader on this host that waits as told; native_stop
# ends both.
native_peer() {
    local guest_cpu=()
    if [ "$(allowed_cpus | wc -l)" -gt 1 ]; then
        guest_cpu=(--cpu "$(allowed_cpus | tail -n 1)")
    fi
    "$BIN/provision" doorbell-server --socket "$1/server.sock" 2>"$1/server.log" &
    NATIVE_SERVER=$!
    until [ -S "$1/server.sock" ]; do
        kill -0 "$NATIVE_SERVER" 2>/dev/null || die "no doorbell server, see $1/server.log"
        sleep 0.05
    done
    "$BIN/guest-reader" --server "$1/server.sock" --wait "$2" "${guest_cpu[@]}" 2>"$1/guest-reader.log" &
    NATIVE_GUEST=$!
}

# doorbell_vm WAIT VM_JSON: a micro guest with a doorbell that waits as told; vfio brings an IOMMU.
doorbell_vm() {
    local iommu=()
    [ "$1" != vfio ] || iommu=(--viommu)
    "$BIN/provision" up --guest micro --name "$vm" --shm "$region" --doorbell "${iommu[@]}" --guest-args "--wait $1" \
        --quiet --json >"$2"
}

# Asks until it is gone: a signal that comes between bash's fork and its exec of the program is lost.
end_native_guest() {
    while [ -n "${NATIVE_GUEST:-}" ] && kill "$NATIVE_GUEST" 2>/dev/null; do
        sleep 0.05
    done
    NATIVE_GUEST=
}

# native_region REGION: makes the region that guests of several starts are to share; native_stop removes it.
native_region() {
    NATIVE_REGION=$1
    fallocate -l 64M "$1"
}

# Ends and removes what native_run and native_peer left; for traps, too.
native_stop() {
    end_native_guest
    while [ -n "${NATIVE_SERVER:-}" ] && kill "$NATIVE_SERVER" 2>/dev/null; do
        sleep 0.05
    done
    NATIVE_SERVER=
    [ -z "${NATIVE_REGION:-}" ] || rm -f "$NATIVE_REGION"
}

# own_vm NAME REGION: the VM and region that this script starts ($vm, $region); the VM is down and the region gone
# however the script ends. A Debian VM keeps its disk.
own_vm() {
    vm=$1
    region=$2
    trap 'native_stop; "$BIN/provision" down --name "$vm" >/dev/null 2>&1 || true; rm -f "$region"' EXIT
    trap 'exit 130' INT TERM
}
