//! Runs of known content in temporary directories.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use tempfile::TempDir;

pub(crate) const LATENCY_HEADER: &str = "iteration,latency_ns,latency_us,received_ns,status";
pub(crate) const BANDWIDTH_HEADER: &str = "iteration,frame_type,width,height,bpp,test_size_bytes,test_size_mb,duration_ns,\
     duration_ms,bandwidth_mbps,bandwidth_gbps,data_verified,write_ns,notify_ns,read_ns,verify_ns,status,guest_read_ns,\
     guest_verify_ns";

/// A directory that is removed at the end of a test.
pub(crate) struct Scene(TempDir);

impl Scene {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, with its directories.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// `analyze` in this directory, so that paths in messages are short and the same everywhere.
    pub(crate) fn analyze(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_analyze"));
        command.current_dir(self.0.path()).args(arguments);
        command
    }

    /// What `analyze` prints when it succeeds.
    pub(crate) fn stdout(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.analyze(arguments).assert().success().get_output().stdout.clone()).unwrap()
    }

    /// The one line `analyze` prints when it could not do it.
    pub(crate) fn error(&self, arguments: &[&str]) -> String {
        self.error_of(arguments, 1)
    }

    /// The one line of an error with this exit status.
    pub(crate) fn error_of(&self, arguments: &[&str], code: i32) -> String {
        let assert = self.analyze(arguments).assert().code(code).stdout("");
        let text = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        text.trim_end().to_owned()
    }

    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(directory)).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A whole run: latency, bandwidth and run.json.
    pub(crate) fn run(&self, directory: &str, base_ns: u64, map_kind: &str) {
        self.file(&format!("{directory}/latency_results.csv"), latency(base_ns));
        self.file(&format!("{directory}/bandwidth_results.csv"), bandwidth(base_ns));
        self.file(&format!("{directory}/run.json"), run_json(map_kind));
    }
}

/// 12,000 ok rows: a triangular body above `base_ns`, and a tail up to 400 times that.
pub(crate) fn latency(base_ns: u64) -> String {
    let mut csv = format!("{LATENCY_HEADER}\n");
    for i in 1..=12_000_u64 {
        let body = base_ns + (i * 7_919 % 21) + (i * 104_729 % 21);
        let ns = if i % 500 == 0 { base_ns * (i / 500) * 400 / 24 } else { body };
        writeln!(csv, "{i},{ns},{:.3},{},ok", ns as f64 / 1e3, ns * 3 / 4).unwrap();
    }
    csv
}

/// Ten frames of each format, written at ten bytes a nanosecond and read at 100 / `base_ns`.
pub(crate) fn bandwidth(base_ns: u64) -> String {
    let mut csv = format!("{BANDWIDTH_HEADER}\n");
    for (name, width, height) in [("1080p", 1920, 1080), ("1440p", 2560, 1440), ("4k", 3840, 2160_u64)] {
        let bytes = width * height * 3;
        for i in 1..=10 {
            let (write, notify, read) = (bytes / 10, base_ns, bytes * base_ns / 100 + i * 1_000);
            let duration = write + notify + read;
            let mib = bytes as f64 / f64::from(1 << 20);
            let mib_per_s = mib / (duration as f64 / 1e9);
            writeln!(
                csv,
                "{i},{name},{width},{height},24,{bytes},{mib:.2},{duration},{:.3},{mib_per_s:.2},{:.3},1,{write},\
                 {notify},{read},{},ok,{},{}",
                duration as f64 / 1e6,
                mib_per_s / 1024.0,
                bytes * 12,
                read - 200,
                bytes * 12 - 500,
            )
            .unwrap();
        }
    }
    csv
}

pub(crate) fn run_json(map_kind: &str) -> String {
    let vm = if map_kind == "file" {
        "null"
    } else {
        r#"{"schema":"ivshmem-vm/1","qemu":{"path":"/usr/bin/qemu-system-x86_64","version":"7.2.22","args":[]},
            "accelerator":{"asked":"auto","effective":"tcg","why":"/dev/kvm opens but runs 2.1 million instructions a second"},
            "vcpus":1,"memory_bytes":536870912}"#
    };
    format!(
        r#"{{"schema":"ivshmem-run/1","tool":{{"name":"host-writer","version":"0.1.0","git_revision":"abc1234"}},
        "started_utc":"2026-11-20T20:00:00Z","wall_s":1.25,"completed":true,"interrupted":false,
        "command_line":["host-writer","--messages","12000"],"session":"0x1122334455667788",
        "region":{{"path":"/dev/shm/ivshmem","bytes":67108864,"layout_version":1,"slot_count":2,"prefaulted":true}},
        "host":{{"kernel":"6.1.0-host","cpu_model":"Host CPU","cpu_features":["avx2"],"cpus_online":2,"cpu_pinned":0,
            "governor":null,"transparent_hugepage_shmem":"never","load_average_1m":0.2,
            "clock":{{"source":"tsc","frequency_hz":2400000000,"resolution_ns":0.4,"overhead_ns":11.0}}}},
        "guest":{{"kernel":"6.1.0-guest","cpu_model":"Guest CPU","cpu_features":[],"map_kind":"{map_kind}",
            "memory_type":"write-combining","device":"0000:00:03.0 1af4:1110 BAR2","spin":"none","cpu_pinned":null,
            "clock":{{"source":"clock_monotonic","frequency_hz":null,"resolution_ns":1.0,"overhead_ns":30.0}},
            "copy_kernel":"avx2","copy_candidates":[]}},
        "vm":{vm},"copy_kernel":"avx2_nt",
        "copy_candidates":[{{"kernel":"memcpy","region_gb_per_s":11.5}},{{"kernel":"avx2_nt","region_gb_per_s":19.9}}],
        "latency":{{"messages":12000,"warmup":1000,"interval_ns":0,"ok":12000,"status_counts":{{"ok":12000}}}},
        "bandwidth":{{"frames":["1080p","1440p","4k"],"iterations":10,"verify":"sha256","seed":1,"status_counts":{{"ok":30}}}},
        "interference":{{"involuntary_context_switches":1,"steal_ms":0.0,"clock_gaps":2,"largest_clock_gap_ns":51234,
            "dirty":false,"reasons":[]}}}}"#
    )
}

/// Width, height and RGB pixels of a PNG.
pub(crate) fn decode(path: &Path) -> (u32, u32, Vec<u8>) {
    let mut decoder = png::Decoder::new(fs::File::open(path).unwrap());
    // A palette becomes the colours it stands for.
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(info.color_type, png::ColorType::Rgb);
    (info.width, info.height, pixels)
}

/// How many pixels of a rectangle of a picture in `out`, given in shares of the picture, have one of these colours or are close to it.
pub(crate) fn coloured(
    scene: &Scene,
    name: &str,
    size: (u32, u32),
    area: [f64; 4],
    colour: [u8; 3],
) -> usize {
    let (width, height, pixels) = decode(&scene.path(&format!("out/{name}")));
    assert_eq!((width, height), size, "{name}");
    let [left, top, right, bottom] = area;
    let (columns, rows) = (f64::from(width), f64::from(height));
    let mut count = 0;
    for y in (top * rows) as usize..(bottom * rows) as usize {
        for x in (left * columns) as usize..(right * columns) as usize {
            let pixel = &pixels[(y * width as usize + x) * 3..][..3];
            count += usize::from(pixel.iter().zip(colour).all(|(a, b)| a.abs_diff(b) < 40));
        }
    }
    count
}
