#!/bin/sh
# Runs once the essential packages are there and before the kernel is: what has to stand when the kernel's package
# makes its initial RAM disk. $1 is the root of the system being made.
set -eu
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
# Only what this virtual machine's disk needs: a small RAM disk is unpacked sooner, which counts where every
# instruction is emulated.
cat > "$1/etc/initramfs-tools/conf.d/ivshmem" <<'CONF'
MODULES=list
COMPRESS=gzip
CONF
printf '%s\n' virtio_pci virtio_blk ext4 > "$1/usr/share/initramfs-tools/modules.d/ivshmem"
