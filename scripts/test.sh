#!/usr/bin/env bash
# All tests: formatting, lints, documentation, unit, model and end-to-end tests with real virtual machines.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [ $# -gt 0 ]; then
    printf 'Usage: scripts/test.sh\n\nRuns all tests of the project; installs what is missing first.\n' >&2
    [ "$1" = --help ] || [ "$1" = -h ] && exit 0
    exit 2
fi

cd "$ROOT"
need_cargo
install_missing "${NEEDED[@]}" "${NEEDED_DEBIAN[@]}" "${NEEDED_DRIVER[@]}" shellcheck:shellcheck mtype:mtools /usr/sbin/sshd:openssh-server \
    /sbin/debugfs:e2fsprogs stress-ng:stress-ng chromium:chromium
say "shell scripts"
shellcheck --external-sources scripts/*.sh .ci/run provision/src/*/*.sh provision/src/image/recipe/*.sh
say "formatting"
cargo fmt --all --check
cargo fmt --manifest-path ivshmem-proto/fuzz/Cargo.toml --check
say "lints"
# Everything is built with one profile: the dependencies are large and compile once.
cargo clippy --release --locked --workspace --all-targets -- -D warnings
say "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --workspace --no-deps --document-private-items
say "handshake under loom"
RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=$TARGET/loom cargo test --release --locked --package ivshmem-proto --test loom
say "what a server could say, at random"
scripts/fuzz.sh 10
say "guest binary"
build_guest
say "tests"
# Also builds the programs that the end-to-end tests run.
cargo test --release --locked --workspace
say "exports in DuckDB"
scripts/export_check.sh
