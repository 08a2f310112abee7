#!/bin/sh
# Runs before anything is installed. $1 is the root of the system being made, $IVSHMEM_PACKAGES where packages are
# kept from one build to the next.
set -eu
archives="$1/var/cache/apt/archives"
mkdir -p "$archives"
# apt checks each against the signed lists before it is used, and fetches anew what does not match.
find "$IVSHMEM_PACKAGES" -maxdepth 1 -name '*.deb' -exec cp --reflink=auto -t "$archives" {} +
