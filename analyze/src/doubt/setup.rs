//! Looks in run.json for what the machine, and the way it was set up, do to the figures.

use serde_json::Value;

use super::Doubt;
use crate::input::Provenance;
use crate::latency_summary::LatencySummary;

/// A clock's step is near a result from this share of it on, and so is the cost of a reading from that.
const NEAR_STEP: f64 = 0.05;
const NEAR_OVERHEAD: f64 = 0.2;

/// Those of `provenance`; `latency` is what the clock is held against.
pub(super) fn doubts(provenance: &Provenance, latency: Option<&LatencySummary>) -> Vec<Doubt> {
    let json = &provenance.run;
    let accelerator = json.vm.as_ref().and_then(|vm| vm.accelerator.as_ref()?.effective.as_deref());
    let is_tcg = accelerator == Some("tcg");
    let mut doubts = Vec::new();
    // A field that is there and null: the writer knew that nothing was pinned.
    let is_free = |side: &str| {
        provenance.verbatim.get(side).and_then(|s| s.get("cpu_pinned")).is_some_and(Value::is_null)
    };
    let vcpus = json.vm.as_ref().and_then(|vm| vm.vcpus);
    let reader = if json.is_native() { "the reader" } else { "the reader in the guest" };
    let sides = [("the writer", is_free("host")), (reader, is_free("guest") && vcpus != Some(1))];
    let unpinned: Vec<_> = sides.into_iter().filter(|(_, is_free)| *is_free).map(|(side, _)| side).collect();
    if !unpinned.is_empty() {
        doubts.push(Doubt::Unpinned(unpinned));
    }
    let guest = json.guest.as_ref();
    let memory_type =
        guest.and_then(|guest| guest.memory_type.as_deref()).filter(|_| !is_tcg && !json.is_native());
    if let Some(note) = guest.and_then(|guest| guest.memory_note.clone()) {
        doubts.push(Doubt::Uncached(note));
    } else if let Some(memory_type) = memory_type.filter(|name| name.starts_with("uncached")) {
        doubts.push(Doubt::Uncached(format!("BAR2 is mapped {memory_type}")));
    }
    doubts.extend(coarse_clock(provenance, latency));
    if is_tcg {
        doubts.push(Doubt::Tcg);
    }
    doubts
}

fn coarse_clock(provenance: &Provenance, latency: Option<&LatencySummary>) -> Option<Doubt> {
    let clock = provenance.run.host.as_ref()?.clock.as_ref()?;
    let p50_ns = latency?.p50_ns()?;
    let [resolution_ns, overhead_ns] = [clock.resolution_ns, clock.overhead_ns].map(|ns| ns.unwrap_or(0.0));
    let is_near = resolution_ns > NEAR_STEP * p50_ns as f64 || overhead_ns > NEAR_OVERHEAD * p50_ns as f64;
    is_near.then_some(Doubt::CoarseClock { resolution_ns, overhead_ns, p50_ns })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doubt::Severity;
    use crate::latency_summary::Distribution;
    use serde_json::json;

    /// Of a run whose median round trip is 130 ns.
    fn found(run_json: Value) -> Vec<Doubt> {
        let run = serde_json::from_value(run_json.clone()).unwrap();
        let provenance = Provenance { run, verbatim: run_json };
        let latency = LatencySummary {
            loop_kind: "closed",
            sent: 50,
            ok: 50,
            failed: 0,
            lost: 0,
            failed_by_status: Default::default(),
            rtt_processed: Some(Distribution {
                count: 50,
                min_ns: 130,
                max_ns: 130,
                mean_ns: 130.0,
                stddev_ns: Some(0.0),
                p50_ns: Some(130),
                p90_ns: None,
                p95_ns: None,
                p99_ns: None,
                p99_9_ns: None,
                p99_99_ns: None,
            }),
            rtt_received: None,
            from_due_processed: None,
            from_due_received: None,
            send_delay: None,
            histogram: None,
            half_rtt_estimate: None,
            one_way: None,
        };
        doubts(&provenance, Some(&latency))
    }

    #[test]
    fn what_is_not_recorded_is_no_reason() {
        assert_eq!(found(json!({})), []);
        assert_eq!(found(json!({"host": {}, "guest": {}, "vm": {}})), []);
    }

    #[test]
    fn who_was_free_to_move() {
        let free = json!({"cpu_pinned": null});
        let pinned = json!({"cpu_pinned": 1});
        assert_eq!(found(json!({"host": free, "guest": pinned})), [Doubt::Unpinned(vec!["the writer"])]);
        let native = json!({"cpu_pinned": null, "map_kind": "file"});
        assert_eq!(
            found(json!({"host": free, "guest": native}))[0].to_string(),
            "UNPINNED: the writer and the reader may move from CPU to CPU, and pay for it in the tail."
        );
        // A guest of one vCPU has nowhere to move to.
        assert_eq!(found(json!({"host": pinned, "guest": free, "vm": {"vcpus": 1}})), []);
        let in_guest = Doubt::Unpinned(vec!["the reader in the guest"]);
        assert_eq!(found(json!({"host": pinned, "guest": free, "vm": {"vcpus": 2}})), [in_guest]);
    }

    #[test]
    fn tcg_is_noted_and_ignores_the_type_of_the_mapping() {
        let vm = |name: &str| json!({"vcpus": 1, "accelerator": {"effective": name}});
        let guest = json!({"memory_type": "uncached-minus", "map_kind": "resource2"});
        let tcg = found(json!({"vm": vm("tcg"), "guest": guest}));
        assert_eq!(tcg, [Doubt::Tcg]);
        assert_eq!(tcg[0].severity(), Severity::Note);
        let kvm = found(json!({"vm": vm("kvm"), "guest": guest}));
        assert_eq!(kvm, [Doubt::Uncached("BAR2 is mapped uncached-minus".into())]);
        // Where reads were measured, the measurement decides.
        let noted =
            json!({"memory_type": "unknown", "map_kind": "resource2", "memory_note": "reads run at 85 MB/s"});
        assert_eq!(
            found(json!({"vm": vm("kvm"), "guest": noted})),
            [Doubt::Uncached("reads run at 85 MB/s".into())]
        );
    }

    #[test]
    fn a_clock_is_held_against_what_it_measured() {
        let with = |resolution_ns: f64, overhead_ns: f64| {
            found(json!({"host": {"clock": {"resolution_ns": resolution_ns, "overhead_ns": overhead_ns}}}))
        };
        assert_eq!(with(0.4, 20.0), []);
        assert_eq!(with(6.0, 20.0), [], "6 ns are less than a twentieth of 130");
        assert_eq!(with(7.0, 20.0).len(), 1);
        let costly = with(0.5, 30.0);
        assert_eq!(
            costly[0].to_string(),
            "COARSE CLOCK: it steps by 0.500 ns and a reading costs 30 ns, near the p50 of 130 ns: part of the figures is \
             the clock."
        );
    }
}
