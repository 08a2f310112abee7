//! What a guest tells of itself in its page: mapping, clock, CPU, copy kernels. Read once a session, validated.

use std::sync::atomic::Ordering::Relaxed;

use crate::clock::Clock;
use crate::copy::Kernel;
use crate::doorbell::{GuestWait, Ring};
use crate::layout::{CANDIDATES_MAX, Candidate, WordOffset, guest_words as g};
use crate::memory::ControlWords;
use crate::wire::{ClockSource, MapKind, MemoryType, Spin};

/// Words of a row of the table of rates.
const CANDIDATE_WORDS: usize = size_of::<Candidate>() / 8;
/// Bytes of the longer text fields.
const LONG_TEXT_WORDS: usize = 16;
/// Bytes of the shorter text fields.
const SHORT_TEXT_WORDS: usize = 8;

/// A guest's description of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct GuestReport {
    /// How it maps the region.
    pub map_kind: MapKind,
    /// The memory type its kernel gave the mapping.
    pub memory_type: MemoryType,
    /// Its clock.
    pub clock: ClockReport,
    /// The clock that stamps timed pings; `None` when the guest does not say.
    pub stamp_source: Option<ClockSource>,
    /// Its ticks per second.
    pub stamp_frequency_hz: f64,
    /// Its CPU's features; see [`crate::cpu::feature_names`].
    pub cpu_features: u64,
    /// What it does between two looks.
    pub spin: Spin,
    /// How long it sleeps between two looks, for [`Spin::Sleep`].
    pub spin_sleep_ns: u64,
    /// How it waits.
    pub wait: GuestWait,
    /// How it is rung; `None` when it cannot be.
    pub ring: Option<Ring>,
    /// The thread that answers, of a guest that is a process of the host.
    pub thread: Option<GuestThread>,
    /// The CPU it is pinned to.
    pub cpu_pinned: Option<u32>,
    /// What it measured at its start.
    pub rates: RateReport,
    /// Its kernel's release.
    pub kernel_release: String,
    /// Its CPU's model.
    pub cpu_model: String,
    /// PCI address of the device, or why there is none.
    pub device: String,
    /// Version of its program.
    pub tool_version: String,
}

/// A thread of this machine, by the numbers of the kernel that both sides share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestThread {
    /// Its process.
    pub pid: u32,
    /// Its own number.
    pub tid: u32,
}

impl GuestThread {
    const fn to_wire(self) -> u64 {
        (self.pid as u64) << 32 | self.tid as u64
    }

    /// `None` for a blank word; any other may name a thread, or nothing.
    const fn from_wire(word: u64) -> Option<Self> {
        if word == 0 { None } else { Some(Self { pid: (word >> 32) as u32, tid: word as u32 }) }
    }
}

/// A clock's description.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClockReport {
    /// What ticks.
    pub source: ClockSource,
    /// Ticks per second.
    pub frequency_hz: f64,
    /// Smallest difference in nanoseconds.
    pub resolution_ns: f64,
    /// Cost of one reading in nanoseconds.
    pub overhead_ns: f64,
}

impl From<&Clock> for ClockReport {
    fn from(clock: &Clock) -> Self {
        Self {
            source: clock.source(),
            frequency_hz: clock.frequency_hz(),
            resolution_ns: clock.resolution_ns(),
            overhead_ns: clock.overhead_ns(),
        }
    }
}

/// What a guest measured of copies of one size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RateReport {
    /// The size in bytes.
    pub bytes: u64,
    /// The kernel it reads payloads of that size with; `None` before the first measurement.
    pub chosen: Option<Kernel>,
    /// Best rate of reading the region and keeping nothing, in bytes per second.
    pub scan_region_bytes_per_s: u64,
    /// The same of private memory.
    pub scan_anon_bytes_per_s: u64,
    /// Every kernel measured, the chosen one first.
    pub candidates: Vec<CopyRate>,
}

/// The measured rates of one copy kernel, in bytes per second; zero where not measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyRate {
    /// Which.
    pub kernel: Kernel,
    /// From the region into private memory.
    pub region: Rate,
    /// From private memory into private memory.
    pub anon: Rate,
    /// From private memory into the region.
    pub write: Rate,
}

/// A rate over several samples, in bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rate {
    /// The median sample.
    pub typical: u64,
    /// The fastest sample.
    pub best: u64,
}

/// A word of the report that means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the guest's report is malformed: {field} is {value:#x}")]
pub struct ReportError {
    /// Which word.
    pub field: &'static str,
    /// What it holds.
    pub value: u64,
}

impl GuestReport {
    /// Writes the report into the guest page. Call it before announcing, and before joining a session.
    pub fn write(&self, memory: &impl ControlWords) {
        let put = |at, value| memory.store(at, value, Relaxed);
        put(g::map_kind, self.map_kind.to_wire());
        put(g::memory_type, self.memory_type.to_wire());
        put(g::clock_source, self.clock.source.to_wire());
        put(g::clock_frequency_hz, self.clock.frequency_hz as u64);
        put(g::clock_resolution_ps, (self.clock.resolution_ns * 1e3) as u64);
        put(g::clock_overhead_ps, (self.clock.overhead_ns * 1e3) as u64);
        put(g::stamp_source, self.stamp_source.map_or(0, ClockSource::to_wire));
        put(g::stamp_frequency_hz, self.stamp_frequency_hz as u64);
        put(g::cpu_features, self.cpu_features);
        put(g::spin, self.spin.to_wire());
        put(g::cpu_pinned_plus_1, self.cpu_pinned.map_or(0, |cpu| u64::from(cpu) + 1));
        put(g::spin_sleep_ns, self.spin_sleep_ns);
        put(g::wait, self.wait.to_wire());
        put(g::ring, self.ring.map_or(0, Ring::to_wire));
        put(g::thread, self.thread.map_or(0, GuestThread::to_wire));
        self.rates.write(memory);
        put_text(memory, g::kernel_release, LONG_TEXT_WORDS, &self.kernel_release);
        put_text(memory, g::cpu_model, LONG_TEXT_WORDS, &self.cpu_model);
        put_text(memory, g::device, SHORT_TEXT_WORDS, &self.device);
        put_text(memory, g::tool_version, SHORT_TEXT_WORDS, &self.tool_version);
    }

    /// Reads the report out of the guest page.
    ///
    /// # Errors
    /// The first word that means nothing. Text is made printable instead of being refused.
    pub fn read(memory: &impl ControlWords) -> Result<Self, ReportError> {
        let get = |at| memory.load(at, Relaxed);
        let source = |v| if v == 0 { Some(None) } else { ClockSource::from_wire(v).map(Some) };
        let pinned = |v: u64| u32::try_from(v).ok().map(|plus_1| plus_1.checked_sub(1));
        Ok(Self {
            map_kind: known("map_kind", get(g::map_kind), MapKind::from_wire)?,
            memory_type: known("memory_type", get(g::memory_type), MemoryType::from_wire)?,
            clock: ClockReport {
                source: known("clock_source", get(g::clock_source), ClockSource::from_wire)?,
                frequency_hz: get(g::clock_frequency_hz) as f64,
                resolution_ns: get(g::clock_resolution_ps) as f64 / 1e3,
                overhead_ns: get(g::clock_overhead_ps) as f64 / 1e3,
            },
            stamp_source: known("stamp_source", get(g::stamp_source), source)?,
            stamp_frequency_hz: get(g::stamp_frequency_hz) as f64,
            cpu_features: get(g::cpu_features),
            spin: known("spin", get(g::spin), Spin::from_wire)?,
            cpu_pinned: known("cpu_pinned", get(g::cpu_pinned_plus_1), pinned)?,
            spin_sleep_ns: get(g::spin_sleep_ns),
            wait: known("wait", get(g::wait), GuestWait::from_wire)?,
            ring: known("ring", get(g::ring), Ring::from_word)?,
            thread: GuestThread::from_wire(get(g::thread)),
            rates: RateReport::read(memory)?,
            kernel_release: get_text(memory, g::kernel_release, LONG_TEXT_WORDS),
            cpu_model: get_text(memory, g::cpu_model, LONG_TEXT_WORDS),
            device: get_text(memory, g::device, SHORT_TEXT_WORDS),
            tool_version: get_text(memory, g::tool_version, SHORT_TEXT_WORDS),
        })
    }
}

impl RateReport {
    /// Writes the rates into the guest page. Call it before PROCESSED of the message that asked for them.
    pub fn write(&self, memory: &impl ControlWords) {
        let put = |at, value| memory.store(at, value, Relaxed);
        put(g::measured_bytes, self.bytes);
        put(g::copy_kernel, self.chosen.map_or(0, Kernel::to_wire));
        put(g::scan_region_bytes_per_s, self.scan_region_bytes_per_s);
        put(g::scan_anon_bytes_per_s, self.scan_anon_bytes_per_s);
        let candidates = &self.candidates[..self.candidates.len().min(CANDIDATES_MAX)];
        put(g::candidate_count, candidates.len() as u64);
        for (i, rate) in candidates.iter().enumerate() {
            let pairs = [rate.region, rate.anon, rate.write].map(|r| [r.typical, r.best]);
            put(g::candidates.plus(i * CANDIDATE_WORDS), rate.kernel.to_wire());
            for (j, value) in pairs.into_iter().flatten().enumerate() {
                put(g::candidates.plus(i * CANDIDATE_WORDS + 1 + j), value);
            }
        }
    }

    /// Reads the rates out of the guest page.
    ///
    /// # Errors
    /// The first word that means nothing.
    pub fn read(memory: &impl ControlWords) -> Result<Self, ReportError> {
        let get = |at| memory.load(at, Relaxed);
        let small = |v: u64| (v <= CANDIDATES_MAX as u64).then_some(v as usize);
        let count = known("candidate_count", get(g::candidate_count), small)?;
        let candidates = (0..count)
            .map(|i| {
                let word = |j| get(g::candidates.plus(i * CANDIDATE_WORDS + j));
                let rate = |j| Rate { typical: word(j), best: word(j + 1) };
                let kernel = known("candidate kernel", word(0), Kernel::from_wire)?;
                Ok(CopyRate { kernel, region: rate(1), anon: rate(3), write: rate(5) })
            })
            .collect::<Result<_, ReportError>>()?;
        let chosen = |v| if v == 0 { Some(None) } else { Kernel::from_wire(v).map(Some) };
        Ok(Self {
            bytes: get(g::measured_bytes),
            chosen: known("copy_kernel", get(g::copy_kernel), chosen)?,
            scan_region_bytes_per_s: get(g::scan_region_bytes_per_s),
            scan_anon_bytes_per_s: get(g::scan_anon_bytes_per_s),
            candidates,
        })
    }
}

fn known<T>(field: &'static str, value: u64, from: impl Fn(u64) -> Option<T>) -> Result<T, ReportError> {
    from(value).ok_or(ReportError { field, value })
}

fn put_text(memory: &impl ControlWords, at: WordOffset, words: usize, text: &str) {
    let bytes = text.as_bytes();
    for i in 0..words {
        let word = std::array::from_fn(|j| bytes.get(i * 8 + j).copied().unwrap_or(0));
        memory.store(at.plus(i), u64::from_le_bytes(word), Relaxed);
    }
}

/// Text up to the first NUL; anything but printable ASCII becomes `?`, so that a guest cannot send escape
/// sequences to a terminal or break a line of a log.
fn get_text(memory: &impl ControlWords, at: WordOffset, words: usize) -> String {
    (0..words)
        .flat_map(|i| memory.load(at.plus(i), Relaxed).to_le_bytes())
        .take_while(|&b| b != 0)
        .map(|b| if (b' '..=b'~').contains(&b) { char::from(b) } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::HeapRegion;
    use crate::wire::WaitSource;
    use proptest::prelude::*;

    fn sample() -> GuestReport {
        GuestReport {
            map_kind: MapKind::Resource2Wc,
            memory_type: MemoryType::WriteCombining,
            clock: ClockReport {
                source: ClockSource::Tsc,
                frequency_hz: 2.6e9,
                resolution_ns: 0.384,
                overhead_ns: 10.25,
            },
            stamp_source: Some(ClockSource::Tsc),
            stamp_frequency_hz: 2.5e9,
            cpu_features: 5,
            spin: Spin::Pause,
            cpu_pinned: Some(0),
            spin_sleep_ns: 0,
            wait: GuestWait { source: WaitSource::Uio, adaptive: true, can_ring: true },
            ring: Some(Ring { peer: 3, vector: 1 }),
            thread: Some(GuestThread { pid: 70_000, tid: 70_001 }),
            rates: RateReport {
                bytes: 4096,
                chosen: Some(Kernel::Avx2),
                scan_region_bytes_per_s: 10,
                scan_anon_bytes_per_s: 11,
                candidates: vec![CopyRate {
                    kernel: Kernel::Memcpy,
                    region: Rate { typical: 1, best: 2 },
                    anon: Rate { typical: 3, best: 4 },
                    write: Rate { typical: 5, best: 6 },
                }],
            },
            kernel_release: "6.1.0-49-cloud-amd64".into(),
            cpu_model: "QEMU TCG CPU version 2.5+".into(),
            device: "0000:00:03.0".into(),
            tool_version: "0.1.0".into(),
        }
    }

    #[test]
    fn a_report_reads_back_as_it_was_written() {
        let region = HeapRegion::new(8192);
        sample().write(&region);
        assert_eq!(GuestReport::read(&region).unwrap(), sample());
    }

    #[test]
    fn a_guest_cannot_smuggle_escape_sequences() {
        let region = HeapRegion::new(8192);
        GuestReport { cpu_model: "\x1b[2Jevil\nline\u{e9}".into(), ..sample() }.write(&region);
        assert_eq!(GuestReport::read(&region).unwrap().cpu_model, "?[2Jevil?line??");
    }

    #[test]
    fn text_that_is_too_long_is_cut_and_never_runs_into_its_neighbour() {
        let region = HeapRegion::new(8192);
        GuestReport { device: "x".repeat(500), ..sample() }.write(&region);
        let report = GuestReport::read(&region).unwrap();
        assert_eq!((report.device.len(), report.tool_version.as_str()), (64, "0.1.0"));
    }

    proptest! {
        #[test]
        fn an_arbitrary_page_is_a_report_or_an_error_and_never_a_panic(
            page in proptest::collection::vec(any::<u64>(), 512), tame: bool,
        ) {
            let region = HeapRegion::new(8192);
            for (i, word) in page.iter().enumerate() {
                region.store(g::magic.plus(i), if tame { word % 4 } else { *word }, Relaxed);
            }
            let _ = GuestReport::read(&region);
        }
    }
}
