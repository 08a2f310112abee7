//! Sides of many runs for compare, gate and history: whole runs that scatter by known factors.

use std::fmt::Write as _;

use crate::scene::{LATENCY_HEADER, Scene, bandwidth, run_json};
use serde_json::Value;

/// What runs of one side differ by: factors around 1, up to 3 % off.
const SCATTER: [f64; 10] = [1.0, 0.99, 1.01, 0.98, 1.02, 0.995, 1.005, 0.97, 1.03, 1.001];

/// Runs `first` to `first + count` of `side`, messages `factor` times 400 ns and frames accordingly, a minute apart.
pub(crate) fn runs(scene: &Scene, side: &str, first: usize, count: usize, factor: f64) {
    for run in first..first + count {
        let scatter = SCATTER[run % SCATTER.len()] * (1.0 + 1e-4 * run as f64);
        let directory = format!("{side}/{run:02}");
        scene.file(&format!("{directory}/latency_results.csv"), latency(400.0 * factor * scatter));
        scene.file(
            &format!("{directory}/bandwidth_results.csv"),
            bandwidth((100.0 * factor * scatter) as u64),
        );
        scene.file(&format!("{directory}/run.json"), provenance(side, run).to_string());
    }
}

/// The run.json of such a run, with a session and a time of its own.
pub(crate) fn provenance(side: &str, run: usize) -> Value {
    let mut json: Value = serde_json::from_str(&run_json("resource2_wc")).unwrap();
    json["session"] = format!("0x{side}{run:04}").into();
    json["started_utc"] = format!("2026-11-20T20:{run:02}:00Z").into();
    json["latency"]["messages"] = 1_000.into();
    json
}

/// 1,000 rows around `middle_ns`.
fn latency(middle_ns: f64) -> String {
    let mut csv = format!("{LATENCY_HEADER}\n");
    for i in 1..=1_000_u64 {
        let tail = if i % 40 == 0 { 1.0 + i as f64 / 200.0 } else { 1.0 };
        let ns = (middle_ns * tail * (0.95 + 0.1 * (i * 7_919 % 101) as f64 / 101.0)) as u64;
        writeln!(csv, "{i},{ns},{:.3},{},ok", ns as f64 / 1e3, ns * 3 / 4).unwrap();
    }
    csv
}
