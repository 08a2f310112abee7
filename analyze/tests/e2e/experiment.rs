//! Runs of an experiment with known content: any sizes, mode, kernels, load and loop.

use std::fmt::Write as _;

use crate::scene::{BANDWIDTH_HEADER, LATENCY_HEADER, Scene, run_json};
use serde_json::{Value, json};

const NEW_BANDWIDTH_COLUMNS: &str = "mode,direction,cache,consume,verify,chunk_bytes,slots,copy_kernel,\
     guest_copy_kernel,guest_stall_ns,start_ns,from_due_ns,late,gap_ns,switches";

/// One run. Every host write goes at 10 bytes a nanosecond, every guest read at `read_rate`.
#[derive(Clone)]
pub(crate) struct Experiment {
    /// Names and bytes of what is sent.
    pub(crate) sizes: Vec<(String, u64)>,
    pub(crate) mode: &'static str,
    pub(crate) direction: &'static str,
    pub(crate) cache: &'static str,
    pub(crate) guest_kernel: &'static str,
    /// Bytes a nanosecond of the guest's copy.
    pub(crate) read_rate: f64,
    pub(crate) load: Option<&'static str>,
    /// Round trip of the fastest message.
    pub(crate) base_ns: u64,
    /// Frames of each size.
    pub(crate) frames: u64,
    pub(crate) dirty: bool,
}

impl Default for Experiment {
    fn default() -> Self {
        Self {
            sizes: vec![("4k".into(), 24_883_200)],
            mode: "whole",
            direction: "host-to-guest",
            cache: "warm",
            guest_kernel: "avx2",
            read_rate: 2.5,
            load: None,
            base_ns: 130,
            frames: 12,
            dirty: false,
        }
    }
}

/// 64 B to 16 MiB, each four times the one before.
pub(crate) fn plain_sizes() -> Vec<(String, u64)> {
    let name = |bytes: u64| match bytes.trailing_zeros() {
        0..10 => format!("{bytes}B"),
        10..20 => format!("{}KiB", bytes >> 10),
        _ => format!("{}MiB", bytes >> 20),
    };
    (3..=12).map(|n| 4_u64.pow(n)).map(|bytes| (name(bytes), bytes)).collect()
}

impl Experiment {
    /// Writes latency, bandwidth and run.json into `directory`.
    pub(crate) fn write(&self, scene: &Scene, directory: &str) {
        scene.file(&format!("{directory}/latency_results.csv"), self.latency());
        scene.file(&format!("{directory}/bandwidth_results.csv"), self.bandwidth());
        scene.file(&format!("{directory}/run.json"), self.run_json().to_string());
    }

    fn latency(&self) -> String {
        let mut csv = format!("{LATENCY_HEADER},send_delay_ns,to_guest_ns,to_host_ns\n");
        for i in 1..=2_000_u64 {
            let tail = if i % 50 == 0 { self.base_ns * (1 + i / 50 / 4) } else { 0 };
            let ns = self.base_ns + i * 7_919 % 21 + tail;
            writeln!(csv, "{i},{ns},{:.3},{},ok,,,", ns as f64 / 1e3, ns * 3 / 4).unwrap();
        }
        csv
    }

    fn bandwidth(&self) -> String {
        let mut csv = format!("{BANDWIDTH_HEADER},{NEW_BANDWIDTH_COLUMNS}\n");
        for (name, bytes) in &self.sizes {
            let mut start = 1_000;
            for i in 1..=self.frames {
                let write = bytes / 10 + 1;
                let copy = (*bytes as f64 / self.read_rate) as u64 + 1 + i;
                let overlap = if self.mode == "whole" { 0 } else { write.min(copy) * 9 / 10 };
                let duration = write + 130 + copy - overlap;
                let mib = *bytes as f64 / f64::from(1 << 20);
                let mib_per_s = mib / (duration as f64 / 1e9);
                let streamed = self.mode == "stream";
                if streamed && i % 10 == 0 {
                    start += 16_666_667;
                    writeln!(
                        csv,
                        "{i},{name},0,0,0,{bytes},{mib:.2},,,,,0,,,,,dropped,,,{},{},{},copy,none,,4,avx2_nt,{},,,,,0,0",
                        self.mode, self.direction, self.cache, self.guest_kernel
                    )
                    .unwrap();
                    continue;
                }
                let late = streamed && i % 8 == 0;
                let (due, late_column) = match (streamed, late) {
                    (false, _) => (String::new(), ""),
                    (true, false) => (format!("{}", duration + 50), "0"),
                    (true, true) => (format!("{}", duration * 5), "1"),
                };
                let (gap, switches) = if late && i % 16 == 0 { (4_000_000, 2) } else { (0, 0) };
                let checked = i % 4 == 1;
                writeln!(
                    csv,
                    "{i},{name},0,0,0,{bytes},{mib:.2},{duration},{:.3},{mib_per_s:.2},{:.6},{},{write},130,{copy},{},ok,{},\
                     {},{},{},{},copy,{},{},{},avx2_nt,{},{},{start},{due},{late_column},{gap},{switches}",
                    duration as f64 / 1e6,
                    mib_per_s / 1024.0,
                    u8::from(checked),
                    bytes * 2,
                    copy + overlap,
                    bytes * 2,
                    self.mode,
                    self.direction,
                    self.cache,
                    if checked { "xxh3" } else { "none" },
                    if overlap > 0 { "262144" } else { "" },
                    if streamed { 4 } else { 2 },
                    self.guest_kernel,
                    overlap,
                )
                .unwrap();
                start += if streamed { 16_666_667 } else { duration + 2_000 };
            }
        }
        csv
    }

    /// The run.json; tests change what they need to.
    pub(crate) fn run_json(&self) -> Value {
        let mut json: Value = serde_json::from_str(&run_json("resource2_wc")).unwrap();
        let side = |write: f64, copy: f64| {
            json!({"write_region_gb_per_s": write, "write_region_kernel": "avx2_nt", "write_anon_gb_per_s": write,
                "write_region_low_gb_per_s": write * 0.75, "copy_region_low_gb_per_s": copy * 0.9,
                "copy_region_gb_per_s": copy, "copy_region_kernel": "avx2", "copy_anon_gb_per_s": copy,
                "scan_region_gb_per_s": copy * 1.5, "scan_anon_gb_per_s": copy * 1.5})
        };
        let roofs: Vec<_> = self
            .sizes
            .iter()
            .map(|(_, bytes)| json!({"bytes": bytes, "host": side(12.0, 10.0), "guest": side(2.0, 3.0)}))
            .collect();
        let candidates = |scale: f64| {
            json!([{"kernel": "memcpy", "region_gb_per_s": 2.0 * scale, "anon_gb_per_s": 2.5 * scale},
                {"kernel": "avx2", "region_gb_per_s": 2.6 * scale, "anon_gb_per_s": 3.0 * scale}])
        };
        let mut by_size = Vec::new();
        for (place, (_, bytes)) in self.sizes.iter().enumerate() {
            let grown = 1.0 + place as f64 / 10.0;
            for (side, scale) in [("host", 4.0 * grown), ("guest", grown)] {
                by_size.push(json!({"bytes": bytes, "side": side, "chosen": "avx2",
                    "forced": side == "guest" && self.guest_kernel == "memcpy",
                    "candidates": candidates(scale)}));
            }
        }
        json["roof"] = json!({"sizes": roofs, "exceeded": []});
        json["copy_by_size"] = json!(by_size);
        json["latency"] = json!({"messages": 2000, "warmup": 100, "interval_ns": 0, "loop": "closed", "rate_per_s": null,
            "arrivals": null, "payload_bytes": 64, "record": "samples", "duration_s": null, "sent": 2000, "lost": 0,
            "duplicated": 0, "reordered": 0, "missed_rate": false, "achieved_per_s": 5e6, "rtt_ns": null,
            "one_way": null});
        json["bandwidth"] = json!({"frames": self.sizes.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "iterations": self.frames, "verify": "xxh3", "seed": 1, "mode": self.mode, "direction": self.direction,
            "chunk_bytes": 262_144, "slots": 2, "fps": null, "duration_s": null, "cache": self.cache,
            "working_set_bytes": 134_217_728, "llc_bytes": 33_554_432, "consume": "copy", "verify_every": 4});
        json["load"] = self.load.map_or(Value::Null, |label| {
            json!({"host": {"cpu": 2, "memory": 0, "io": 0}, "host_command": "stress-ng --cpu 2", "guest_command": null,
                "label": label})
        });
        for (key, value) in [
            ("page_bytes", json!(2 << 20)),
            ("huge", json!(true)),
            ("numa_node", json!(0)),
            ("filesystem", json!("hugetlbfs")),
        ] {
            json["region"][key] = value;
        }
        json["guest"]["memory_note"] = json!("reads are uncached: expect a tenth of the speed");
        json["host"]["llc_bytes"] = json!(33_554_432);
        json["interference"]["frequency_mhz_before"] = json!(2400.0);
        json["interference"]["frequency_mhz_after"] = json!(2395.0);
        json["interference"]["throttle_events"] = json!(0);
        json["interference"]["dirty"] = json!(self.dirty);
        json["peer_violations"] = json!([]);
        json
    }
}
