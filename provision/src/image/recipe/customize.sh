#!/bin/sh
# Runs when everything is installed: settles the system and makes the file system image of it. $1 is the root of the
# system, $IVSHMEM_OUT where vmlinuz, initrd.img and root.img go, $IVSHMEM_PACKAGES where packages are kept,
# $IVSHMEM_DISK_BYTES the size of the file system.
set -eu
root=$1
PATH=$PATH:/usr/sbin:/sbin

# Keep the packages, each whole or not at all, and drop the versions they replace.
for package in "$root"/var/cache/apt/archives/*.deb; do
    name=${package##*/}
    [ -e "$IVSHMEM_PACKAGES/$name" ] && continue
    find "$IVSHMEM_PACKAGES" -maxdepth 1 -name "${name%%_*}_*.deb" -delete
    cp --reflink=auto "$package" "$IVSHMEM_PACKAGES/$name.part"
    mv "$IVSHMEM_PACKAGES/$name.part" "$IVSHMEM_PACKAGES/$name"
done

# Whatever tells one machine from another is made by the guest, or given to it.
rm -f "$root"/etc/ssh/ssh_host_*
: > "$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id"
echo localhost > "$root/etc/hostname"

# The inode tables are written already: no thread of the kernel's has to do it while the guest boots.
echo 'LABEL=root / ext4 noatime,noinit_itable 0 1' > "$root/etc/fstab"

# The name server of QEMU's user-mode network.
rm -f "$root/etc/resolv.conf"
echo 'nameserver 10.0.2.3' > "$root/etc/resolv.conf"

# The network is always QEMU's user-mode one. cloud-init's settings for systemd-networkd, which Debian leaves disabled,
# cannot say that no router is to be asked for: that would cost twelve seconds at each boot. This file comes before them.
chroot "$root" systemctl --quiet enable systemd-networkd.service
cat > "$root/etc/systemd/network/05-qemu-user.network" <<'CONF'
[Match]
Driver=virtio_net

[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
DNS=10.0.2.3
LinkLocalAddressing=no
IPv6AcceptRA=no
CONF

# A VM within the VM is seldom wanted, and loading KVM for it takes three seconds of a boot under TCG. modprobe still
# loads it.
printf 'blacklist %s\n' kvm_amd kvm_intel > "$root/etc/modprobe.d/ivshmem.conf"

# Nothing of its own accord shall start work in the middle of a measurement. (e2scrub is for logical volumes, of which
# there are none.)
chroot "$root" systemctl --quiet disable apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer

# No metadata service will answer here: do not look for one. No locales are installed: do not try to generate one,
# which fails after seconds; C.UTF-8 needs none.
cat > "$root/etc/cloud/cloud.cfg.d/50_ivshmem.cfg" <<'CONF'
datasource_list: [NoCloud, None]
locale: false
CONF
echo 'LANG=C.UTF-8' > "$root/etc/default/locale"

# What the build itself put there: apt's and dpkg's options, and the stand-ins that keep services from being started.
# mmdebstrap takes these away after this script, when the image is made already.
rm -f "$root"/etc/apt/apt.conf.d/*mmdebstrap "$root"/etc/dpkg/dpkg.cfg.d/*mmdebstrap
rm -f "$root/usr/sbin/policy-rc.d"
if [ -e "$root/sbin/start-stop-daemon.REAL" ]; then
    mv "$root/sbin/start-stop-daemon.REAL" "$root/sbin/start-stop-daemon"
fi
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/cache/ldconfig/aux-cache
find "$root/run" "$root/tmp" -xdev -mindepth 1 -maxdepth 1 ! -path "$root/run/lock" -exec rm -rf {} +
rm -rf "$root"/var/log/apt/* "$root/var/log/dpkg.log" "$root/var/log/alternatives.log"

cd "$IVSHMEM_OUT"
cp "$root"/boot/vmlinuz-* vmlinuz
cp "$root"/boot/initrd.img-* initrd.img
chmod 0644 vmlinuz initrd.img

# A bind mount that is not recursive shows the system without /proc, /sys and /dev, which are mounted in it now.
mkdir root
mount --bind "$root" root
mke2fs -q -t ext4 -L root -d root -i 65536 -E lazy_itable_init=0,lazy_journal_init=0 root.img \
    "$((IVSHMEM_DISK_BYTES / 1024))k"
umount root
rmdir root
