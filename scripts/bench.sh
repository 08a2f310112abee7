#!/usr/bin/env bash
# Speed, as ratios of figures measured side by side in one run. A missed target is printed as missed; it fails nothing.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'USAGE'
Usage: scripts/bench.sh [--out DIR] [--rounds N]

Measures the project's speed targets and prints them as a table; also writes DIR/bench.json.

  --out DIR     where results go (default: results/bench-<UTC time>)
  --rounds N    rounds of floor, native, VM and bare boot; each ratio is the median over rounds (default: 5)
USAGE
}

out=$ROOT/results/bench-$(date -u +%Y%m%dT%H%M%SZ)
rounds=5
while [ $# -gt 0 ]; do
    case $1 in
    --out) out=${2:?--out needs a value} && shift 2 ;;
    --rounds) rounds=${2:?--rounds needs a value} && shift 2 ;;
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

own_vm bench

need_cargo
install_missing "${NEEDED[@]}" jq:jq cpio:cpio
build_all
cargo build --manifest-path "$ROOT/Cargo.toml" --release --locked --package host-writer --example floor
mkdir -p "$out"
rm -f "$out"/round-*.json

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
    . as $rounds |
    def median: sort | .[(length - 1) / 2 | floor];
    def row($name; $relation; $target):
        ([$rounds[][$name]] | median) as $value |
        {name: $name, value: ($value * 1000 | round / 1000), unit: "ratio", target: "\($relation) \($target)",
         holds: (if $relation == "<=" then $value <= $target else $value >= $target end)};
    [
        row("rtt_vm_over_native"; "<="; 1.15),
        row("received_over_floor"; "<="; 1.25),
        row("processed_over_floor"; "<="; 1.7),
        row("write_over_best"; ">="; 0.95),
        row("write_over_memcpy"; ">="; 1.3),
        row("guest_read_over_anon"; ">="; 0.95),
        row("micro_ready"; "<="; 1.2),
        {name: "run_wall", value: ($run_s * 100 | round / 100), unit: "s", target: "<= 30", holds: ($run_s <= 30)}
    ]' "$out"/round-*.json >"$out/bench.json"

jq -rs --arg rounds "$rounds" '
    def median: sort | .[(length - 1) / 2 | floor];
    "medians of \($rounds) rounds: floor \([.[].floor_ns] | median) ns, native RTT \([.[].native_rtt_ns] | median) ns, " +
    "VM RTT \([.[].vm_rtt_ns] | median) ns, 4K write \([.[].write_gb_per_s] | median * 10 | round / 10) GB/s, " +
    "bare boot \([.[].bare_boot_s] | median * 100 | round / 100) s, ready \([.[].micro_ready_s] | median * 100 | round / 100) s; " +
    "dirty rounds: \([.[] | select(.dirty)] | length)"' "$out"/round-*.json
jq -r '.[] | [.name, .value, .unit, .target, if .holds then "holds" else "MISSED" end] | @tsv' "$out/bench.json" |
    awk -F'\t' 'BEGIN { printf "%-22s %9s %-6s %-8s %s\n", "name", "value", "unit", "target", "" }
        { printf "%-22s %9s %-6s %-8s %s\n", $1, $2, $3, $4, $5 }'
echo "$out/bench.json"
