#!/bin/sh
# Tells the host how far the boot has come, in one line on a virtio-serial port.
# Usage: ivshmem-report PORT network|sshd|finished
port=/dev/virtio-ports/$1

# The first report may come before udev has made the link, and some images have no rule for it.
[ -e "$port" ] || udevadm wait --timeout=20 "$port"
if [ ! -e "$port" ]; then
    for name in /sys/class/virtio-ports/*/name; do
        [ -e "$name" ] && [ "$(cat "$name")" = "$1" ] && port=/dev/$(basename "${name%/name}")
    done
fi
if [ ! -c "$port" ]; then
    echo "ivshmem-report: there is no virtio-serial port named $1" >&2
    exit 1
fi

device() {
    for slot in /sys/bus/pci/devices/*; do
        { read -r vendor <"$slot/vendor" && read -r id <"$slot/device"; } || continue
        if [ "$vendor:$id" = 0x1af4:0x1110 ]; then
            echo "${slot##*/}"
            return
        fi
    done
    echo none
}

# What cloud-init says of itself, in one line. It says nothing when it was killed: then what systemd knows.
result() {
    if [ -s /run/cloud-init/result.json ]; then
        tr '\000-\037' ' ' </run/cloud-init/result.json
        return
    fi
    errors=
    for unit in cloud-init-local cloud-init cloud-config cloud-final; do
        systemctl is-failed --quiet "$unit.service" || continue
        why=$(systemctl show --property=Result --value "$unit.service")
        errors="$errors${errors:+, }\"$unit.service failed ($why)\""
    done
    [ -n "$errors" ] || errors='"cloud-init left no result"'
    echo "{\"v1\":{\"errors\":[$errors]}}"
}

case $2 in
finished) printf 'FINISHED device=%s kernel=%s result=%s\n' "$(device)" "$(uname -r)" "$(result)" >"$port" ;;
*) echo "PHASE $2" >"$port" ;;
esac
