#!/usr/bin/env bash
# Speed, as ratios of figures measured side by side in one run. A missed target is printed as missed; it fails nothing.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/bench_analysis.sh
source "$ROOT/scripts/bench_analysis.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/bench.sh [--out DIR] [--rounds N] [--mode-rounds N] [--doorbell-rounds N] [--debian-rounds N]
                        [--analysis-rounds N]

Measures the project's speed targets and prints them as a table; also writes DIR/bench.json.

  --out DIR            where results go (default: results/bench-<UTC time>)
  --rounds N           rounds of floor, native, micro guest and bare boot; 0 for none (default: 5)
  --mode-rounds N      rounds of bandwidth modes, copy kernels, one-way latency and recording in a micro guest, and once
                       4K at 60 frames/s, a soak of 10^8 messages and a guest that sleeps; 0 for none (default: 3)
  --doorbell-rounds N  rounds of round trips by doorbell, adaptively and by polling, and once the CPU time of an idle pair, a
                       million messages at random moments, a thousand peers; 0 for none (default: 3)
  --debian-rounds N    rounds of image, cold boot, plain boot, restore, RTT of the Debian guest; each takes about four
                       minutes; 0 for none (default: 3)
  --analysis-rounds N  rounds of analyze on a thousand, a million and ten million rows, beside pandas and beside the csv
                       crate; each takes about a minute; 0 for none (default: 3)

Each figure is the median over its rounds.
USAGE
}

out=$ROOT/results/bench-$(date -u +%Y%m%dT%H%M%SZ)
rounds=5
mode_rounds=3
doorbell_rounds=3
debian_rounds=3
analysis_rounds=3
while [ $# -gt 0 ]; do
    case $1 in
    --out) out=${2:?--out needs a value} && shift 2 ;;
    --rounds) rounds=${2:?--rounds needs a value} && shift 2 ;;
    --mode-rounds) mode_rounds=${2:?--mode-rounds needs a value} && shift 2 ;;
    --doorbell-rounds) doorbell_rounds=${2:?--doorbell-rounds needs a value} && shift 2 ;;
    --debian-rounds) debian_rounds=${2:?--debian-rounds needs a value} && shift 2 ;;
    --analysis-rounds) analysis_rounds=${2:?--analysis-rounds needs a value} && shift 2 ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
done

need_cargo
install_missing "${NEEDED[@]}" jq:jq cpio:cpio
[ "$doorbell_rounds" = 0 ] || install_missing "${NEEDED_DRIVER[@]}"
[ "$analysis_rounds" = 0 ] || install_missing /usr/bin/time:time
[ "$debian_rounds" = 0 ] || install_missing "${NEEDED_DEBIAN[@]}" mformat:mtools
build_all
own_vm "bench-$$" "/dev/shm/ivshmem-bench-$$"
cargo build --manifest-path "$ROOT/Cargo.toml" --release --locked --package host-writer --example floor
[ "$analysis_rounds" = 0 ] || cargo build --manifest-path "$ROOT/Cargo.toml" --release --locked --workspace --example csv_read
mkdir -p "$out"
rm -f "$out"/micro.json "$out"/round-*.json "$out"/mode-*.json "$out"/doorbell-*.json "$out"/debian-*.json "$out"/analysis-*.json

# For jq: a row of the table from the rounds, a list of objects.
# shellcheck disable=SC2016 # these are jq's variables
JQ_ROWS='
    def median: sort | .[(length - 1) / 2 | floor];
    def row($name; $relation; $target; $unit):
        ([$rounds[][$name]] | median) as $value |
        {name: $name, value: ($value * 1000 | round / 1000), unit: $unit, target: "\($relation) \($target)",
         holds: (if $relation == "<=" then $value <= $target else $value >= $target end)};
    def row($name; $relation; $target): row($name; $relation; $target; "ratio");
'

seconds_of() { # COMMAND…: wall seconds of a command, its output hidden
    local start=$EPOCHREALTIME
    "$@" >"$out/last.log" 2>&1 || die "failed, see $out/last.log: $*"
    printf '%s %s' "$start" "$EPOCHREALTIME" | awk '{ printf "%.6f", $2 - $1 }'
}

# The same machine without our program: an init that exits at once, whereupon the kernel panics and QEMU ends.
printf 'int main(void) { return 0; }\n' | cc -x c -O2 -static -o "$out/init" -
(cd "$out" && echo init | cpio --quiet -o -H newc >init.cpio)
bare_boot() { # VM_JSON
    local args
    mapfile -t args < <(jq -r '
        .qemu.args as $a | [range(0; $a | length)] |
        map(select($a[.] | IN("-machine", "-accel", "-cpu", "-smp", "-m", "-kernel", "-append"))) |
        map($a[.], $a[. + 1])[]' "$1")
    fallocate -l "$(jq .shm_bytes "$1")" "$region"
    "$(jq -r .qemu.path "$1")" -nodefaults -no-user-config -no-reboot -display none "${args[@]}" \
        -object "memory-backend-file,id=region,share=on,size=$(jq .shm_bytes "$1")B,mem-path=$region" \
        -device ivshmem-plain,memdev=region,master=on -serial null -serial null -initrd "$out/init.cpio"
    rm -f "$region"
}

# The median of a CSV's column, over its ok rows.
median() { # FILE COLUMN_NAME
    awk -F, -v name="$2" 'NR == 1 { for (i = 1; i <= NF; i++) { if ($i == name) c = i; if ($i == "status") s = i } next }
        $s == "ok" { print $c }' "$1" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

micro_rounds() {
    # A run before the first round leaves the kernel cached and everything in the page cache.
    "$BIN/provision" up --guest micro --name "$vm" --shm "$region" --quiet --json >"$out/vm.json"
    "$BIN/provision" down --name "$vm" >/dev/null
    for round in $(seq "$rounds"); do
        say "round $round of $rounds"
        floor=$("$BIN/examples/floor")
        bare_s=$(seconds_of bare_boot "$out/vm.json")
        # The VM shares the very pages that the baseline used: where a line lies in the cache changes its price.
        native_run "$region" "$out/native" --frames none --quiet
        ready_s=$(seconds_of "$BIN/provision" up --guest micro --name "$vm" --shm "$region" --quiet)
        "$BIN/host-writer" --shm "$region" --out "$out/vm" --frames 4k --iterations 20 --json >"$out/vm-run.json"
        "$BIN/provision" down --name "$vm" >/dev/null
        native_stop
        jq -n --argjson floor "$floor" --argjson bare_s "$bare_s" --argjson ready_s "$ready_s" \
            --argjson native_rtt "$(median "$out/native/latency_results.csv" latency_ns)" \
            --argjson vm_rtt "$(median "$out/vm/latency_results.csv" latency_ns)" \
            --argjson vm_received "$(median "$out/vm/latency_results.csv" received_ns)" \
            --argjson write_ns "$(median "$out/vm/bandwidth_results.csv" write_ns)" \
            --slurpfile run "$out/vm/run.json" '
            (24883200 / $write_ns) as $write | $run[0].copy_candidates as $host | $run[0].guest as $guest |
            ($guest.copy_candidates[] | select(.kernel == $guest.copy_kernel)) as $read |
            {
                floor_ns: $floor, native_rtt_ns: $native_rtt, vm_rtt_ns: $vm_rtt, vm_received_ns: $vm_received,
                write_gb_per_s: $write, bare_boot_s: $bare_s, micro_ready_s: $ready_s, dirty: $run[0].interference.dirty,
                rtt_vm_over_native: ($vm_rtt / $native_rtt),
                received_over_floor: ($vm_received / $floor),
                processed_over_floor: ($vm_rtt / $floor),
                write_over_best: ($write / ([$host[].region_gb_per_s] | max)),
                write_over_memcpy: ($write / ($host[] | select(.kernel == "memcpy") | .region_gb_per_s)),
                guest_read_over_anon: ($read.region_gb_per_s / $read.anon_gb_per_s),
                micro_ready: ($ready_s / $bare_s)
            }' >"$out/round-$round.json"
    done
    say "the whole main job, once more"
    run_s=$(seconds_of "$ROOT/scripts/run.sh" --out "$out/run")
    jq -s --argjson run_s "$run_s" '
        . as $rounds | '"$JQ_ROWS"'
        [
            row("rtt_vm_over_native"; "<="; 1.15),
            row("received_over_floor"; "<="; 1.25),
            row("processed_over_floor"; "<="; 1.7),
            row("write_over_best"; ">="; 0.95),
            row("write_over_memcpy"; ">="; 1.3),
            row("guest_read_over_anon"; ">="; 0.95),
            row("micro_ready"; "<="; 1.2),
            {name: "run_wall", value: ($run_s * 100 | round / 100), unit: "s", target: "<= 30", holds: ($run_s <= 30)}
        ]' "$out"/round-*.json >"$out/micro.json"
    jq -rs --arg rounds "$rounds" '
        def median: sort | .[(length - 1) / 2 | floor];
        "medians of \($rounds) rounds: floor \([.[].floor_ns] | median) ns, native RTT \([.[].native_rtt_ns] | median) ns, " +
        "VM RTT \([.[].vm_rtt_ns] | median) ns, 4K write \([.[].write_gb_per_s] | median * 10 | round / 10) GB/s, " +
        "bare boot \([.[].bare_boot_s] | median * 100 | round / 100) s, " +
        "ready \([.[].micro_ready_s] | median * 100 | round / 100) s; " +
        "dirty rounds: \([.[] | select(.dirty)] | length)"' "$out"/round-*.json
}

# hw NAME HOST-WRITER-OPTIONS…: a run on the VM that is up, into DIR/NAME. Some messages not ok (3) is for the rows to say.
hw() {
    local name=$1 status=0
    shift
    "$BIN/host-writer" --shm "$region" --out "$out/$name" --quiet "$@" || status=$?
    case $status in 0 | 3) ;; *) die "host-writer $* ended with status $status" ;; esac
}

# One figure of a run.json.
fact() { # NAME JQ_FILTER
    jq "$2" "$out/$1/run.json"
}

mode_rounds() {
    local round frame kernel kernels chosen_ns best_ns ns
    local bare=(--messages 0 --verify none)
    for round in $(seq "$mode_rounds"); do
        say "mode round $round of $mode_rounds"
        "$BIN/provision" up --guest micro --name "$vm" --shm "$region" --quiet
        hw whole "${bare[@]}" --frames 4k --iterations 30
        hw chunked "${bare[@]}" --frames 4k --iterations 30 --mode chunked
        hw stream "${bare[@]}" --frames 4k --iterations 60 --mode stream
        # The guest's kernels, each forced, over all frame sizes; the sums of their median read times.
        hw reads "${bare[@]}" --iterations 15
        chosen_ns=0 best_ns=0
        kernels=$(fact reads '[.copy_by_size[] | select(.side == "guest") | .candidates[].kernel] | unique[]' | tr -d '"')
        for kernel in $kernels; do
            hw "reads-$kernel" "${bare[@]}" --iterations 15 --guest-copy "$kernel"
        done
        for frame in 1080p 1440p 4k; do
            ns=$(frame_median "$out/reads/bandwidth_results.csv" "$frame" guest_read_ns)
            chosen_ns=$((chosen_ns + ns))
            best_ns=$((best_ns + $(for kernel in $kernels; do
                frame_median "$out/reads-$kernel/bandwidth_results.csv" "$frame" guest_read_ns
            done | cat - <(echo "$ns") | sort -n | head -n 1)))
        done
        hw one-way --frames none --one-way --messages 50000
        hw samples --frames none --messages 1000000 --record samples
        hw histogram --frames none --messages 1000000 --record histogram
        "$BIN/provision" down --name "$vm" >/dev/null
        jq -n --argjson write_ns "$(median "$out/whole/bandwidth_results.csv" write_ns)" \
            --argjson read_ns "$(median "$out/whole/bandwidth_results.csv" guest_read_ns)" \
            --argjson whole_ns "$(median "$out/whole/bandwidth_results.csv" duration_ns)" \
            --argjson chunked_ns "$(median "$out/chunked/bandwidth_results.csv" duration_ns)" \
            --argjson period_ns "$(fact stream '.bandwidth.period_ns_p50["4k"]')" \
            --argjson chosen_ns "$chosen_ns" --argjson best_ns "$best_ns" \
            --argjson bound_ns "$(fact one-way .latency.one_way.bound_ns)" \
            --argjson one_way_rtt_ns "$(median "$out/one-way/latency_results.csv" latency_ns)" \
            --argjson samples_ns "$(fact samples .latency.rtt_ns.p50)" \
            --argjson histogram_ns "$(fact histogram .latency.rtt_ns.p50)" '
            ([$write_ns, $read_ns] | max) as $slower |
            {
                write_ns: $write_ns, read_ns: $read_ns, whole_ns: $whole_ns, chunked_ns: $chunked_ns, period_ns: $period_ns,
                bound_ns: $bound_ns, rtt_ns: $samples_ns,
                chunked_over_slower_side: ($chunked_ns / $slower), chunked_over_whole: ($chunked_ns / $whole_ns),
                stream_over_slower_side: ($period_ns / $slower), guest_best_kernel: ($best_ns / $chosen_ns),
                oneway_bound: ($bound_ns / $one_way_rtt_ns), sampling_cost: ($samples_ns / $histogram_ns)
            }' >"$out/mode-$round.json"
    done
    say "4K at 60 frames a second, a soak of 10^8 messages, a guest that sleeps 10 us"
    "$BIN/provision" up --guest micro --name "$vm" --shm "$region" --quiet
    hw 4k60 --preset 4k60
    hw soak --frames none --messages 100000000 --record histogram
    "$BIN/provision" down --name "$vm" >/dev/null
    "$BIN/provision" up --guest micro --name "$vm" --shm "$region" --quiet --guest-args '--spin sleep=10us'
    hw sleeping --frames none --messages 5000 --warmup 100
    "$BIN/provision" down --name "$vm" >/dev/null
    jq -s --argjson late "$(fact 4k60 .bandwidth.late)" \
        --argjson unexplained "$(late_unexplained "$out/4k60/bandwidth_results.csv")" \
        --argjson stream "$(fact 4k60 .bandwidth.status_counts)" \
        --argjson soak "$(fact soak '.latency | [.lost, .duplicated, .reordered]')" \
        --argjson sent "$(fact soak .latency.sent)" \
        --argjson sleeping_ns "$(fact sleeping .latency.rtt_ns.p50)" '
        . as $rounds | '"$JQ_ROWS"'
        ($stream | add) as $frames | ($frames - $stream.ok) as $lost |
        ([$rounds[].rtt_ns] | median) as $rtt_ns |
        [
            row("chunked_over_slower_side"; "<="; 1.15),
            row("chunked_over_whole"; "<="; 0.9),
            row("stream_over_slower_side"; "<="; 1.1),
            {name: "stream_4k60", value: "\($lost) lost, \($late) late", unit: "of \($frames)",
             target: "0 lost, <= 1 % late", holds: ($lost == 0 and $late * 100 <= $frames),
             note: "\($unexplained) late without interference seen beside them"},
            row("guest_best_kernel"; ">="; 0.97),
            row("oneway_bound"; "<="; 0.6),
            row("sampling_cost"; "<="; 1.05),
            {name: "soak", value: "\($soak[0]), \($soak[1]), \($soak[2])", unit: "of \($sent)",
             target: "0, 0, 0", holds: ($soak == [0, 0, 0] and $sent >= 100000000)},
            ($sleeping_ns / $rtt_ns) as $ratio |
            {name: "seed_ratio", value: ($ratio * 10 | round / 10), unit: "ratio", target: ">= 300", holds: ($ratio >= 300)}
        ]' "$out"/mode-[0-9]*.json >"$out/mode-rows.json"
    jq -rs --arg rounds "$mode_rounds" '
        def median: sort | .[(length - 1) / 2 | floor];
        def ms($name): "\([.[][$name]] | median / 1e4 | round / 100) ms";
        "medians of \($rounds) mode rounds, 4K frames: write \(ms("write_ns")), read \(ms("read_ns")), whole " +
        "\(ms("whole_ns")), chunked \(ms("chunked_ns")), stream period \(ms("period_ns")); one-way bound " +
        "\([.[].bound_ns] | median) ns, RTT \([.[].rtt_ns] | median) ns"' "$out"/mode-[0-9]*.json
}

# bell NAME SOCKET HOST_WAIT HOST-WRITER-OPTIONS…: a latency run as a peer of a server, into DIR/NAME.
bell() {
    local name=$1 socket=$2 host_wait=$3 status=0
    shift 3
    "$BIN/host-writer" --server "$socket" --wait "$host_wait" --frames none --out "$out/$name" --quiet "$@" || status=$?
    case $status in 0 | 3) ;; *) die "host-writer $* ended with status $status" ;; esac
}

# CPU time that QEMU, all its threads, has used so far, in milliseconds.
qemu_cpu_ms() { # PID
    awk -v hz="$(getconf CLK_TCK)" '{ sub(/^.*\) /, ""); print int(($12 + $13) * 1000 / hz) }' "/proc/$1/stat"
}

doorbell_rounds() {
    local round mode host_wait socket pid idle_ms busy_ms before thousand=no
    for round in $(seq "$doorbell_rounds"); do
        say "doorbell round $round of $doorbell_rounds"
        native_peer "$out" doorbell
        bell floor "$out/server.sock" doorbell --messages 20000
        native_stop
        for mode in uio vfio adaptive poll; do
            case $mode in poll | adaptive) host_wait=$mode ;; *) host_wait=doorbell ;; esac
            doorbell_vm "$mode" "$out/doorbell.json"
            bell "$mode" "$(jq -r .doorbell.socket "$out/doorbell.json")" "$host_wait" --messages 20000
            "$BIN/provision" down --name "$vm" >/dev/null
        done
        jq -n --argjson floor "$(fact floor .latency.rtt_ns.p50)" --argjson uio "$(fact uio .latency.rtt_ns.p50)" \
            --argjson vfio "$(fact vfio .latency.rtt_ns.p50)" --argjson adaptive "$(fact adaptive .latency.rtt_ns.p50)" \
            --argjson poll "$(fact poll .latency.rtt_ns.p50)" '
            {
                floor_ns: $floor, uio_ns: $uio, vfio_ns: $vfio, adaptive_ns: $adaptive, poll_ns: $poll,
                doorbell_uio_over_floor: ($uio / $floor), doorbell_vfio_over_uio: ($vfio / $uio),
                adaptive_busy_over_poll: ($adaptive / $poll)
            }' >"$out/doorbell-$round.json"
    done
    say "an idle VM, ten messages a second, a million messages at random moments, a thousand peers"
    doorbell_vm adaptive "$out/doorbell.json"
    socket=$(jq -r .doorbell.socket "$out/doorbell.json")
    pid=$(jq .pid "$out/doorbell.json")
    sleep 1
    before=$(qemu_cpu_ms "$pid")
    sleep 20
    idle_ms=$(($(qemu_cpu_ms "$pid") - before))
    # Its calibration and bursts are no part of what ten messages a second cost: the figures of the counted part are.
    bell ten "$socket" adaptive --interval 100ms --messages 200 --warmup 5
    busy_ms=$(fact ten '.doorbell | (.host_cpu_ns_per_message + .vcpu_cpu_ns_per_message) * .messages / 1e6')
    bell million "$socket" adaptive --rate 8k --arrivals poisson --messages 1000000 --record histogram
    "$BIN/provision" down --name "$vm" >/dev/null
    if cargo test --manifest-path "$ROOT/Cargo.toml" --release --locked --package provision --test doorbell_server \
        -- a_thousand_peers >"$out/last.log" 2>&1; then
        thousand=yes
    fi
    jq -s --argjson idle_ms "$idle_ms" --argjson busy_ms "$busy_ms" --arg thousand "$thousand" \
        --argjson million "$(fact million '[.latency.lost, .doorbell.missed, .latency.sent]')" '
        . as $rounds | '"$JQ_ROWS"'
        (($busy_ms - $idle_ms) / 20000 * 100) as $share |
        [
            row("doorbell_uio_over_floor"; "<="; 1.5),
            row("doorbell_vfio_over_uio"; "<="; 1.15),
            row("adaptive_busy_over_poll"; "<="; 1.15),
            {name: "adaptive_idle_cpu", value: ($share * 100 | round / 100), unit: "%", target: "<= 3", holds: ($share <= 3)},
            {name: "lost_wakeups", value: ($million[0] + $million[1]), unit: "of \($million[2])", target: "0",
             holds: ($million[0] + $million[1] == 0 and $million[2] >= 1000000)},
            {name: "server_peers", value: $thousand, unit: "", target: "yes", holds: ($thousand == "yes")}
        ]' "$out"/doorbell-[0-9]*.json >"$out/doorbell-rows.json"
    jq -rs --arg rounds "$doorbell_rounds" '
        def median: sort | .[(length - 1) / 2 | floor];
        "medians of \($rounds) doorbell rounds, RTT p50 in ns: two host processes \([.[].floor_ns] | median), " +
        "uio \([.[].uio_ns] | median), vfio \([.[].vfio_ns] | median), adaptive \([.[].adaptive_ns] | median), " +
        "poll \([.[].poll_ns] | median)"' "$out"/doorbell-[0-9]*.json
}

# The median of a column over the ok rows of one frame type.
frame_median() { # FILE FRAME_TYPE COLUMN_NAME
    awk -F, -v frame="$2" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "frame_type") c = i } NR == 1 || $c == frame' \
        "$1" >"$out/frame.csv"
    median "$out/frame.csv" "$3"
}

# Late rows beside which no clock gap and no preemption was seen.
late_unexplained() { # FILE
    awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
        $at["late"] == 1 && $at["gap_ns"] == 0 && $at["switches"] == 0 { n++ } END { print n + 0 }' "$1"
}

# What the prototype gave to cloud-init, without its upgrade of all packages: a user, a key, everything else as it
# comes. Printed: the seconds from QEMU's start to cloud-init's own last line.
plain_boot() { # VM_JSON
    local args base start line
    mapfile -t args < <(jq -r '
        .qemu.args as $a | [range(0; $a | length)] |
        map(select($a[.] | IN("-machine", "-accel", "-cpu", "-smp", "-m", "-kernel", "-initrd", "-append"))) |
        map($a[.], $a[. + 1])[]' "$1")
    base=$(jq -r .base_image.path "$(dirname "$(jq -r .disk.path "$1")")/disk.json")
    rm -f "$out"/plain.qcow2 "$out"/plain-seed.img
    qemu-img create -q -f qcow2 -b "$base" -F qcow2 "$out/plain.qcow2" 20G
    printf 'instance-id: plain\nlocal-hostname: debian-ivshmem\n' >"$out/meta-data"
    cat >"$out/user-data" <<CONFIG
#cloud-config
hostname: debian-ivshmem
users:
  - name: debian
    sudo: ALL=(ALL) NOPASSWD:ALL
    shell: /bin/bash
    ssh_authorized_keys: ["$(cat "$(jq -r .ssh.identity_file "$1").pub")"]
ssh_pwauth: false
package_update: false
package_upgrade: false
runcmd:
  - [echo, cloud-init is done]
CONFIG
    mformat -C -i "$out/plain-seed.img" -v CIDATA -f 1440 ::
    mcopy -i "$out/plain-seed.img" "$out/user-data" "$out/meta-data" ::
    start=$EPOCHREALTIME
    coproc PLAIN { exec "$(jq -r .qemu.path "$1")" -nodefaults -no-user-config -no-reboot -display none "${args[@]}" \
        -drive "if=virtio,format=qcow2,file=$out/plain.qcow2" \
        -drive "if=virtio,format=raw,readonly=on,file=$out/plain-seed.img" \
        -netdev user,id=net0 -device virtio-net-pci,netdev=net0 -device virtio-rng-pci -serial stdio 2>&1; }
    # shellcheck disable=SC2153 # set by coproc
    local pid=$PLAIN_PID
    while IFS= read -r line <&"${PLAIN[0]}"; do
        case $line in *"Cloud-init v. "*" finished at "*) break ;; esac
    done
    printf '%s %s' "$start" "$EPOCHREALTIME" | awk '{ printf "%.6f", $2 - $1 }'
    kill "$pid"
    wait "$pid" 2>/dev/null || true
    rm -f "$out/plain.qcow2" "$out/plain-seed.img"
}

debian_rounds() {
    local round cold_s restore_s plain_s debian_rtt
    local lean=(--image mirror --no-dev-tools --name "$vm" --shm "$region" --ssh-port auto)
    say "a first image, so that the packages are in the cache"
    export IVSHMEM_CACHE_DIR=$out/cache
    "$BIN/provision" up "${lean[@]}" --quiet --json >"$out/debian.json"
    "$BIN/provision" down --name "$vm" --destroy >/dev/null
    for round in $(seq "$debian_rounds"); do
        say "Debian round $round of $debian_rounds"
        rm -rf "$out/cache/images"
        native_region "$region"
        cold_s=$(seconds_of "$BIN/provision" up "${lean[@]}" --quiet --json)
        cp "$out/last.log" "$out/debian.json"
        "$BIN/provision" down --name "$vm" >/dev/null
        plain_s=$(plain_boot "$out/debian.json")
        restore_s=$(seconds_of "$BIN/provision" up "${lean[@]}" --quiet --json)
        jq -e '.start == "restored"' "$out/last.log" >/dev/null || die "not restored, see $out/last.log"
        "$BIN/provision" run --name "$vm" --out "$out/debian-vm" -- --frames none --quiet
        "$BIN/provision" down --name "$vm" --destroy >/dev/null
        debian_rtt=$(median "$out/debian-vm/latency_results.csv" latency_ns)
        # The micro guest shares the very same pages.
        "$BIN/provision" up --guest micro --name "$vm" --shm "$region" --quiet
        "$BIN/provision" run --name "$vm" --out "$out/micro-vm" -- --frames none --quiet
        "$BIN/provision" down --name "$vm" >/dev/null
        native_stop
        jq -n --slurpfile cold "$out/debian.json" --argjson cold_s "$cold_s" --argjson plain_s "$plain_s" \
            --argjson restore_s "$restore_s" --argjson debian_rtt "$debian_rtt" \
            --argjson micro_rtt "$(median "$out/micro-vm/latency_results.csv" latency_ns)" '
            ($cold[0].prepare_ms / 1e3) as $image_s | ($cold[0].phases_ms.ready / 1e3) as $ready_s |
            {
                image_mirror: $image_s, debian_restore: $restore_s, cold_ready_s: $ready_s, plain_s: $plain_s,
                debian_rtt_ns: $debian_rtt, micro_rtt_ns: $micro_rtt,
                debian_restore_over_cold: (($cold_s - $image_s) / $restore_s),
                debian_cold_over_plain: ($ready_s / $plain_s),
                rtt_debian_over_micro: ($debian_rtt / $micro_rtt)
            }' >"$out/debian-$round.json"
    done
    rm -rf "$out/cache"
    unset IVSHMEM_CACHE_DIR
    jq -s '. as $rounds | '"$JQ_ROWS"'
        [
            row("debian_restore"; "<="; 3; "s"),
            row("debian_restore_over_cold"; ">="; 12),
            row("debian_cold_over_plain"; "<="; 0.6),
            row("image_mirror"; "<="; 90; "s"),
            row("rtt_debian_over_micro"; "<="; 1.1)
        ]' "$out"/debian-[0-9]*.json >"$out/debian-rows.json"
    jq -rs --arg rounds "$debian_rounds" '
        def median: sort | .[(length - 1) / 2 | floor];
        "medians of \($rounds) Debian rounds: cold boot to ready \([.[].cold_ready_s] | median * 10 | round / 10) s, " +
        "plain seed \([.[].plain_s] | median * 10 | round / 10) s, " +
        "RTT \([.[].debian_rtt_ns] | median) ns, micro guest \([.[].micro_rtt_ns] | median) ns"' "$out"/debian-[0-9]*.json
}

[ "$rounds" = 0 ] || micro_rounds
[ "$mode_rounds" = 0 ] || mode_rounds
[ "$doorbell_rounds" = 0 ] || doorbell_rounds
[ "$debian_rounds" = 0 ] || debian_rounds
[ "$analysis_rounds" = 0 ] || analysis_rounds
for rows in micro mode-rows doorbell-rows debian-rows analysis-rows; do
    [ ! -e "$out/$rows.json" ] || cat "$out/$rows.json"
done | jq -s add >"$out/bench.json"
jq -r '.[] | [.name, .value, .unit, .target, if .holds then "holds" else "MISSED" end] | @tsv' "$out/bench.json" |
    awk -F'\t' 'BEGIN { printf "%-24s %9s %-6s %-8s %s\n", "name", "value", "unit", "target", "" }
        { printf "%-24s %9s %-6s %-8s %s\n", $1, $2, $3, $4, $5 }'
echo "$out/bench.json"
