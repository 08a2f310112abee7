//! Where, on what and how a run was taken, from its run.json.

use super::text::{entry, four_digits, grouped, heading, payload, plural, size};
use crate::input::{Candidate, Clock, Load, RunJson, Side, Vm};

const NOT_RECORDED: &str = "not recorded";

/// The section for one run.
pub(super) fn section(title: &str, run: Option<&RunJson>) -> String {
    let mut out = heading(&format!("PROVENANCE · {title}"));
    let Some(run) = run else {
        return out + "  NO PROVENANCE: no run.json beside the CSV.\n";
    };
    out += &facts(run).iter().map(|(key, value)| entry(key, value)).collect::<String>();
    out
}

/// Names, each with what run.json says of it; an empty name goes on with the one before.
#[must_use]
pub fn facts(run: &RunJson) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    let mut add = |key: &str, value: &str| out.push((key.to_owned(), value.to_owned()));
    add("Taken", &taken(run));
    add("Tool", &tool(run));
    if let Some(command) = &run.command_line {
        add("Command", &command.join(" "));
    }
    accelerator(run, &mut add);
    let (host, guest) = (run.host.as_ref(), run.guest.as_ref());
    add("Host", &host.map_or_else(missing, machine));
    add("Guest", &guest.map_or_else(missing, machine));
    add("Device", text(guest.and_then(|g| g.device.as_ref())));
    let map_kind = text(guest.and_then(|g| g.map_kind.as_ref()));
    add("Mapping", &format!("{map_kind}, memory type {}", text(guest.and_then(|g| g.memory_type.as_ref()))));
    if let Some(cost) = mapping_cost(guest) {
        add("Mapping costs", &cost);
    }
    if let Some(note) = guest.and_then(|g| g.memory_note.as_ref()) {
        add("Memory note", note);
    }
    add("Region", &region(run));
    add("Host clock", &host.and_then(|s| s.clock.as_ref()).map_or_else(missing, clock));
    add("Guest clock", &guest.and_then(|s| s.clock.as_ref()).map_or_else(missing, clock));
    if let Some(copies) = copies(run) {
        add("Copies", &copies);
    }
    add("Plan", &plan(run));
    if let Some(load) = &run.load {
        add("Load", &load_made(load));
    }
    add("Interference", &interference(run));
    out
}

/// Reads of the region may take so much longer than those of private memory before it is called a cost: trial copies of
/// one run and the next differ by as much.
const FREE_UNTIL: f64 = 1.1;

/// What reading through the mapping costs, by the guest's best kernel; `None` where it was not measured.
fn mapping_cost(guest: Option<&Side>) -> Option<String> {
    let (region, anon, kernel) = guest?.copy_candidates.iter().flatten().find_map(region_and_private)?;
    let cost = if anon / region > FREE_UNTIL {
        format!("reads that take {} times as long", four_digits(anon / region))
    } else {
        "nothing".into()
    };
    let (region, anon) = (four_digits(region), four_digits(anon));
    Some(format!("{cost}: region read at {region} GB/s, private memory at {anon} ({kernel})"))
}

/// Rates out of the region and within private memory, if both were measured, and the kernel.
fn region_and_private(candidate: &Candidate) -> Option<(f64, f64, &str)> {
    let is_rate = |rate: &f64| rate.is_finite() && *rate > 0.0;
    let region = candidate.region_gb_per_s.filter(is_rate)?;
    let anon = candidate.anon_gb_per_s.filter(is_rate)?;
    Some((region, anon, text(candidate.kernel.as_ref())))
}

fn missing() -> String {
    NOT_RECORDED.into()
}

fn text(value: Option<&String>) -> &str {
    value.map_or(NOT_RECORDED, String::as_str)
}

/// The parts there are, with commas between.
fn list(parts: impl IntoIterator<Item = Option<String>>) -> String {
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if parts.is_empty() { missing() } else { parts.join(", ") }
}

fn taken(run: &RunJson) -> String {
    let ending = match (run.interrupted, run.completed) {
        (Some(true), _) => Some("INTERRUPTED".to_owned()),
        (_, Some(false)) => Some("NOT COMPLETED".to_owned()),
        (_, Some(true)) => Some("completed".to_owned()),
        (_, None) => None,
    };
    list([
        run.started_utc.clone(),
        run.wall_s.map(|s| format!("{s:.1} s")),
        ending,
        run.session.as_ref().map(|s| format!("session {s}")),
    ])
}

fn tool(run: &RunJson) -> String {
    let Some(tool) = &run.tool else { return missing() };
    let revision = text(tool.git_revision.as_ref());
    format!("{} {}, git revision {revision}", text(tool.name.as_ref()), text(tool.version.as_ref()))
}

fn accelerator(run: &RunJson, add: &mut impl FnMut(&str, &str)) {
    let Some(vm) = &run.vm else {
        let why = if run.is_native() { "none: reader and writer on one host" } else { NOT_RECORDED };
        return add("Accelerator", why);
    };
    match &vm.accelerator {
        Some(accelerator) => {
            let (asked, effective) = (text(accelerator.asked.as_ref()), text(accelerator.effective.as_ref()));
            add("Accelerator", &format!("{effective} in effect, {asked} asked"));
            add("", &format!("why: {}", text(accelerator.why.as_ref())));
        }
        None => add("Accelerator", NOT_RECORDED),
    }
    add("QEMU", &qemu(vm));
}

fn qemu(vm: &Vm) -> String {
    let version = vm.qemu.as_ref().and_then(|q| q.version.clone());
    list([version, vm.vcpus.map(|n| plural(n, "vCPU")), vm.memory_bytes.map(mebibytes)])
}

fn machine(side: &Side) -> String {
    list([
        side.cpu_model.clone(),
        Some(format!("kernel {}", text(side.kernel.as_ref()))),
        side.cpus_online.map(|n| format!("{} online", plural(n, "CPU"))),
        Some(side.cpu_pinned.map_or_else(|| "not pinned".into(), |cpu| format!("pinned to CPU {cpu}"))),
        side.governor.as_ref().map(|g| format!("governor {g}")),
        side.transparent_hugepage_shmem.as_ref().map(|t| format!("huge pages {t}")),
        side.load_average_1m.map(|l| format!("load {l:.2}")),
        side.spin.as_ref().map(|s| format!("spin {s}")),
        side.fifo_priority.map(|p| format!("real-time priority {p}")),
        side.mlock.filter(|locked| *locked).map(|_| "memory locked".into()),
        side.llc_bytes.map(|bytes| format!("last-level cache {}", size(bytes))),
    ])
}

fn region(run: &RunJson) -> String {
    let Some(region) = &run.region else { return missing() };
    list([
        region.path.clone(),
        region.bytes.map(mebibytes),
        region.layout_version.map(|v| format!("layout {v}")),
        region.prefaulted.map(|p| if p { "prefaulted" } else { "NOT prefaulted" }.into()),
        region.filesystem.clone(),
        region.page_bytes.map(|bytes| {
            format!("pages of {}{}", size(bytes), if region.huge == Some(true) { " (huge)" } else { "" })
        }),
        region.numa_node.map(|node| format!("NUMA node {node}")),
    ])
}

fn mebibytes(bytes: u64) -> String {
    format!(
        "{} MiB",
        four_digits(bytes as f64 / f64::from(1 << 20)).trim_end_matches('0').trim_end_matches('.')
    )
}

fn clock(clock: &Clock) -> String {
    list([
        clock.source.clone(),
        clock.frequency_hz.map(|hz| format!("{} GHz", four_digits(hz / 1e9))),
        clock.resolution_ns.map(|ns| format!("resolution {} ns", four_digits(ns))),
        clock.overhead_ns.map(|ns| format!("overhead {} ns", four_digits(ns))),
    ])
}

/// The kernels of both sides and how fast the host's were; `None` of a run that copied no payload and ranked none.
fn copies(run: &RunJson) -> Option<String> {
    let tried: Vec<String> = run
        .copy_candidates
        .iter()
        .flatten()
        .map(|c| {
            let rate = c.region_gb_per_s.map_or_else(missing, |r| format!("{} GB/s", four_digits(r)));
            format!("{} {rate}", text(c.kernel.as_ref()))
        })
        .collect();
    if run.bandwidth.is_none() && run.copy_kernel.is_none() && tried.is_empty() {
        return None;
    }
    let guest = run.guest.as_ref().and_then(|g| g.copy_kernel.as_ref());
    let tried = if tried.is_empty() { String::new() } else { format!(" (tried: {})", tried.join(", ")) };
    Some(format!("host {}{tried}; guest {}", text(run.copy_kernel.as_ref()), text(guest)))
}

fn plan(run: &RunJson) -> String {
    let latency = run.latency.as_ref().map(|plan| {
        list([
            plan.messages.map(|n| plural(n, "message")),
            plan.warmup.map(|n| format!("{} of warm-up before them, in no row", plural(n, "message"))),
            plan.interval_ns
                .filter(|ns| *ns > 0)
                .map(|ns| format!("one every {}", super::text::duration(ns as f64))),
            plan.duration_s.map(|s| format!("for {} s", four_digits(s))),
        ])
    });
    let bandwidth = run.bandwidth.as_ref().map(|plan| {
        let names = plan.frames.as_ref().map(|f| f.iter().map(|name| payload(name)).collect::<Vec<_>>());
        list([
            plan.iterations.map(|n| format!("{} each of", grouped(n))),
            names.map(|names| names.join(", ")),
            plan.verify.as_ref().map(|v| format!("verify {v}")),
            plan.seed.map(|s| format!("seed {s}")),
            plan.fps.map(|fps| format!("{} frames due a second", four_digits(fps))),
            plan.duration_s.map(|s| format!("for {} s", four_digits(s))),
        ])
        .replacen("each of,", "each of", 1)
    });
    match (latency, bandwidth) {
        (Some(latency), Some(bandwidth)) => format!("{latency}; {bandwidth}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => missing(),
    }
}

fn load_made(load: &Load) -> String {
    let label = text(load.label.as_ref());
    let commands = [("host", &load.host_command), ("guest", &load.guest_command)];
    let commands = commands.map(|(side, command)| command.as_ref().map(|c| format!("{side}: {c}")));
    let commands: Vec<_> = commands.into_iter().flatten().collect();
    if commands.is_empty() { label.into() } else { format!("{label} ({})", commands.join("; ")) }
}

fn frequency(before: Option<f64>, after: Option<f64>) -> Option<String> {
    let mhz = |mhz: Option<f64>| mhz.map_or_else(missing, |mhz| format!("{} MHz", four_digits(mhz)));
    (before.is_some() || after.is_some()).then(|| format!("{} before, {} after", mhz(before), mhz(after)))
}

fn interference(run: &RunJson) -> String {
    let Some(seen) = &run.interference else { return missing() };
    let verdict = match seen.is_dirty() {
        Some(true) => {
            let loaded = run.load_label().is_some();
            let word = if loaded { "disturbed, as its load was meant to" } else { "DIRTY" };
            format!("{word}: {}", seen.reasons.clone().unwrap_or_default().join("; "))
        }
        Some(false) => "clean".into(),
        None => "no verdict recorded".into(),
    };
    let seen = list([
        seen.involuntary_context_switches.map(|n| plural(n, "involuntary context switch")),
        seen.steal_ms.map(|ms| format!("{ms:.1} ms stolen")),
        seen.clock_gaps.map(|n| plural(n, "clock gap")),
        seen.largest_clock_gap_ns.map(|ns| format!("the largest {}", super::text::duration(ns as f64))),
        seen.vcpu_run_delay_ns.map(|ns| {
            format!("vCPUs {} without a CPU they were ready for", super::text::duration(ns as f64))
        }),
        seen.vcpu_involuntary_context_switches.map(|n| format!("vCPUs preempted {}", plural(n, "time"))),
        frequency(seen.frequency_mhz_before, seen.frequency_mhz_after),
        seen.throttle_events.map(|n| format!("throttled {}", plural(n, "time"))),
    ]);
    format!("{verdict} ({seen})")
}
