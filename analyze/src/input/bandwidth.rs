//! One bandwidth file: its rows by frame format and the way the frames took, smallest frame first.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::kind::shorten;
use super::setup::Setup;
use super::status;
use super::table::Table;
use crate::error::Error;

/// Status given to an unverified row of a file that has no status column.
const NOT_VERIFIED: &str = "not_verified";

/// Status of a frame whose content was not what was sent.
const MISMATCH: &str = "mismatch";

/// Status of a frame that was due while no slot was free.
pub const DROPPED: &str = "dropped";

/// One frame that arrived. Durations in nanoseconds on the host's clock; `None` where not measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// Its iteration number.
    pub iteration: u64,
    /// First byte written to PROCESSED.
    pub duration_ns: u64,
    /// Writing the frame into the region.
    pub write_ns: Option<u64>,
    /// Publication to RECEIVED.
    pub notify_ns: Option<u64>,
    /// RECEIVED to PROCESSED: the receiver reads.
    pub read_ns: Option<u64>,
    /// PROCESSED to the verdict, outside the duration.
    pub verify_ns: Option<u64>,
    /// The guest's copy, or its write when it is the sender, on the guest's own clock.
    pub guest_read_ns: Option<u64>,
    /// How much of that it waited for the other side.
    pub guest_stall_ns: Option<u64>,
    /// First byte written, since the start of the test.
    pub start_ns: Option<u64>,
    /// Due time to PROCESSED; of an open-loop stream only.
    pub from_due_ns: Option<u64>,
    /// Whether it came after the next one was due.
    pub late: bool,
    /// Largest clock gap of the host's thread meanwhile.
    pub gap_ns: Option<u64>,
    /// Involuntary context switches of it meanwhile.
    pub switches: Option<u64>,
    /// Whether the receiver's digest matched.
    pub verified: bool,
    /// Whether it was left unchecked on purpose: the row's digest is none.
    pub spared: bool,
}

impl Transfer {
    /// The guest's copy without its waiting for the other side, in nanoseconds.
    #[must_use]
    pub fn guest_copy_ns(&self) -> Option<u64> {
        Some(self.guest_read_ns?.saturating_sub(self.guest_stall_ns.unwrap_or(0))).filter(|ns| *ns > 0)
    }

    /// First byte written to PROCESSED, as a moment since the start of the test, in nanoseconds.
    #[must_use]
    pub fn end_ns(&self) -> Option<u64> {
        Some(self.start_ns?.saturating_add(self.duration_ns))
    }
}

/// A frame whose content was not what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// Its iteration number.
    pub iteration: u64,
    /// The first wrong byte, where the check can tell.
    pub offset: Option<u64>,
}

/// All rows of one frame format that took the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Name, such as `1080p` or `64B`.
    pub name: String,
    /// What tells it from others of its name in the file, such as `chunked`; empty if nothing does.
    pub way: String,
    /// How it was carried.
    pub setup: Setup,
    /// Bytes published at a time, of the last row that says so.
    pub chunk_bytes: Option<u64>,
    /// Slots in turn, likewise.
    pub slots: Option<u64>,
    /// Digests its rows name, none of them `none`.
    pub digests: Vec<String>,
    /// Payload bytes, each counted once.
    pub bytes: u64,
    /// Ok rows in the order of the file.
    pub transfers: Vec<Transfer>,
    /// Other rows, counted by status.
    pub failures: BTreeMap<String, u64>,
    /// Those of them with a mismatch, in the order of the file.
    pub mismatches: Vec<Mismatch>,
    /// Gaps in the iteration column.
    pub lost: u64,
}

impl Frame {
    fn new(name: String, bytes: u64) -> Self {
        Self {
            name,
            way: String::new(),
            setup: Setup::default(),
            chunk_bytes: None,
            slots: None,
            digests: Vec::new(),
            bytes,
            transfers: Vec::new(),
            failures: BTreeMap::new(),
            mismatches: Vec::new(),
            lost: 0,
        }
    }

    /// Payload rate of one transfer, in GB/s: bytes / nanoseconds, since 1e9 bytes/s is one byte a nanosecond.
    #[must_use]
    pub fn gb_per_s(&self, transfer: &Transfer) -> f64 {
        self.bytes as f64 / transfer.duration_ns as f64
    }

    /// Payload rates of all ok rows, in GB/s. Several frames of a stream are in flight at a time, so what counts there is
    /// the time from the end of one frame to the end of the next: the rates are of neighbours that both arrived.
    #[must_use]
    pub fn rates_gb_per_s(&self) -> Vec<f64> {
        if self.setup.is_stream() {
            return self.periods_ns().map(|ns| self.bytes as f64 / ns as f64).collect();
        }
        self.transfers.iter().map(|t| self.gb_per_s(t)).collect()
    }

    /// Times from PROCESSED of one frame to PROCESSED of the next, in nanoseconds, where both arrived.
    pub fn periods_ns(&self) -> impl Iterator<Item = u64> + '_ {
        let pairs = self.transfers.windows(2);
        let neighbours = pairs.filter(|pair| pair[0].iteration.saturating_add(1) == pair[1].iteration);
        let period = |pair: &[Transfer]| pair[1].end_ns()?.checked_sub(pair[0].end_ns()?);
        neighbours.filter_map(period).filter(|ns| *ns > 0)
    }

    /// How many ok rows say that the guest read for more than twice as long as the host, which did nothing else, saw it read.
    #[must_use]
    pub fn seen_late(&self) -> u64 {
        if self.setup.is_guest_to_host() || self.setup.overlaps() {
            return 0;
        }
        let is_late = |transfer: &&Transfer| {
            let seen_ns = transfer.read_ns.map(|ns| ns.saturating_mul(2));
            seen_ns.is_some() && transfer.guest_copy_ns() > seen_ns
        };
        self.transfers.iter().filter(is_late).count() as u64
    }

    /// Rows in the file.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.transfers.len() as u64 + self.failures.values().sum::<u64>()
    }
}

/// What a bandwidth file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Bandwidth {
    /// The file.
    pub path: PathBuf,
    /// Frames by size.
    pub frames: Vec<Frame>,
    /// Ok rows whose `bandwidth_gbps` is not bytes / 2^30 / duration within 1 %: how many, and the first one's line.
    pub disagreeing_rates: Option<(u64, u64)>,
}

impl Bandwidth {
    pub(crate) fn from_table(table: &Table) -> Result<Self, Error> {
        let column = |name| table.counts(name);
        let (sizes, durations) = (column("test_size_bytes"), column("duration_ns"));
        let (writes, notifies) = (column("write_ns"), column("notify_ns"));
        let (reads, verifies) = (column("read_ns"), column("verify_ns"));
        let (guest_reads, guest_stalls) = (column("guest_read_ns"), column("guest_stall_ns"));
        let (starts, from_dues, lates) = (column("start_ns"), column("from_due_ns"), column("late"));
        let (gaps, switches) = (column("gap_ns"), column("switches"));
        let (chunks, slots) = (column("chunk_bytes"), column("slots"));
        let offsets = column("mismatch_offset");
        let digests = table.texts("verify");
        let setups = Setup::of_rows(table)?;
        let rates = table.reals("bandwidth_gbps");
        let verdicts = table.texts("data_verified");
        let (names, statuses) = (table.texts("frame_type"), table.texts("status"));
        let has_status = table.has("status");

        let mut frames: Vec<Frame> = Vec::new();
        let mut numbering = Numbering::of(table)?;
        let mut disagreeing_rates = None;
        for row in 0..table.rows() {
            let problem = |column: &str, why: &str| table.problem(row, column, why);
            let name = frame_name(names[row], table, row)?;
            let bytes =
                sizes[row].filter(|&b| b > 0).ok_or_else(|| problem("test_size_bytes", "empty or 0"))?;
            let verified = is_verified(verdicts[row]).map_err(|why| problem("data_verified", why))?;
            let ok = if has_status {
                status::is_ok(statuses[row]).map_err(|why| problem("status", why))?
            } else {
                verified
            };
            let setup = &setups[row];
            let same = |f: &Frame| f.name == name && f.bytes == bytes && f.setup.agrees_with(setup);
            let index = frames.iter().position(same).unwrap_or_else(|| {
                frames.push(Frame::new(name, bytes));
                frames.len() - 1
            });
            let frame = &mut frames[index];
            frame.setup.complete_from(setup);
            frame.chunk_bytes = chunks[row].or(frame.chunk_bytes);
            frame.slots = slots[row].or(frame.slots);
            let digest = digests[row].filter(|digest| *digest != "none");
            if let Some(digest) = digest.filter(|digest| !frame.digests.iter().any(|d| d == digest)) {
                frame.digests.push(shorten(digest));
            }
            frame.lost = frame.lost.saturating_add(numbering.absent_before(table, row, index)?);
            if !ok {
                let status = statuses[row].unwrap_or(NOT_VERIFIED).to_owned();
                if status == MISMATCH {
                    let iteration = numbering.iterations[row];
                    frame.mismatches.push(Mismatch { iteration, offset: offsets[row] });
                }
                *frame.failures.entry(status).or_default() += 1;
                continue;
            }
            let duration_ns = durations[row]
                .filter(|&d| d > 0)
                .ok_or_else(|| problem("duration_ns", "empty or 0 in a row that is ok"))?;
            let gib_per_s = bytes as f64 / duration_ns as f64 * 1e9 / (1_u64 << 30) as f64;
            // Two decimals are what the prototype printed.
            if rates[row].is_some_and(|r| (r - gib_per_s).abs() > (0.01 * gib_per_s).max(0.006)) {
                disagreeing_rates.get_or_insert((0, table.line(row))).0 += 1;
            }
            frame.transfers.push(Transfer {
                iteration: numbering.iterations[row],
                duration_ns,
                write_ns: writes[row],
                notify_ns: notifies[row],
                read_ns: reads[row],
                verify_ns: verifies[row],
                guest_read_ns: guest_reads[row],
                guest_stall_ns: guest_stalls[row],
                start_ns: starts[row],
                from_due_ns: from_dues[row],
                late: lates[row].is_some_and(|late| late > 0),
                gap_ns: gaps[row],
                switches: switches[row],
                verified,
                spared: digests[row] == Some("none"),
            });
        }
        // Stable: ways of one size stay in the order of the file.
        frames.sort_by(|a, b| (a.bytes, &a.name).cmp(&(b.bytes, &b.name)));
        tell_apart(&mut frames);
        Ok(Self { path: table.path().into(), frames, disagreeing_rates })
    }
}

/// Tells frames of one name apart by what differs among them.
fn tell_apart(frames: &mut [Frame]) {
    let keys: Vec<_> = frames.iter().map(|f| (f.name.clone(), f.bytes, f.setup.clone())).collect();
    for frame in frames {
        let same = keys.iter().filter(|(name, bytes, _)| *name == frame.name && *bytes == frame.bytes);
        frame.way = frame.setup.distinction(&same.map(|(_, _, setup)| setup).collect::<Vec<_>>());
    }
}

/// Formats are lower-case, as the prototype wrote `4K`; plain sizes keep their unit's letters.
fn frame_name(name: Option<&str>, table: &Table, row: usize) -> Result<String, Error> {
    let name = name.unwrap_or_default();
    let name = if name.ends_with('B') { name.to_owned() } else { name.to_lowercase() };
    if status::is_name(&name, |c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        return Ok(name);
    }
    Err(table.problem(row, "frame_type", format!("`{}` is not a frame's name", shorten(&name))))
}

fn is_verified(verdict: Option<&str>) -> Result<bool, &'static str> {
    match verdict.map(str::to_ascii_lowercase).as_deref() {
        Some("1" | "true") => Ok(true),
        Some("0" | "false") | None => Ok(false),
        Some(_) => Err("expected 1 or 0"),
    }
}

/// How iterations are counted: through the whole file, or anew for each frame format.
struct Numbering {
    iterations: Vec<u64>,
    through_file: bool,
    /// Next expected number, by frame index; only the first is used when counting through the file.
    expected: Vec<u64>,
}

impl Numbering {
    fn of(table: &Table) -> Result<Self, Error> {
        let mut iterations = Vec::with_capacity(table.rows());
        for (row, iteration) in table.counts("iteration").into_iter().enumerate() {
            iterations.push(
                iteration.ok_or_else(|| table.problem(row, "iteration", "empty; every row has a number"))?,
            );
        }
        let through_file = iterations.windows(2).all(|pair| pair[0] < pair[1]);
        Ok(Self { iterations, through_file, expected: Vec::new() })
    }

    /// How many iterations are absent just before `row`.
    fn absent_before(&mut self, table: &Table, row: usize, frame: usize) -> Result<u64, Error> {
        let counter = if self.through_file { 0 } else { frame };
        let first = self.expected.len() <= counter;
        if first {
            self.expected.resize(counter + 1, 1);
        }
        let (iteration, expected) = (self.iterations[row], self.expected[counter]);
        if iteration < expected && !(first && iteration == 0) {
            let problem =
                format!("{iteration} after {}; iterations of a frame type must increase", expected - 1);
            return Err(table.problem(row, "iteration", problem));
        }
        self.expected[counter] = iteration.saturating_add(1);
        Ok(iteration.saturating_sub(expected))
    }
}

#[cfg(test)]
mod tests {
    use super::super::header::Header;
    use super::super::text::Text;
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    const TWELVE: &str = "iteration,frame_type,width,height,bpp,test_size_bytes,test_size_mb,duration_ns,duration_ms,\
                          bandwidth_mbps,bandwidth_gbps,data_verified";

    fn parse(csv: &str) -> Result<Bandwidth, String> {
        let text = Text::parse(Path::new("f"), csv.as_bytes()).map_err(|e| e.to_string())?;
        let header = Header::find(Path::new("f"), text.clean.as_bytes()).map_err(|e| e.to_string())?;
        let table = Table::load(text, &header).map_err(|e| e.to_string())?;
        Bandwidth::from_table(&table).map_err(|e| e.to_string())
    }

    fn row(iteration: u64, frame: &str, verified: u8) -> String {
        format!("{iteration},{frame},1920,1080,24,6220800,5.93,6220800,6.22,953.67,0.93,{verified}\n")
    }

    #[test]
    fn rates_are_decimal_gigabytes_from_bytes_and_nanoseconds() {
        let bandwidth = parse(&format!("{TWELVE}\n{}", row(1, "1080P", 1))).unwrap();
        assert_eq!(bandwidth.frames[0].name, "1080p");
        assert_eq!(bandwidth.frames[0].rates_gb_per_s(), [1.0]);
        assert_eq!(bandwidth.disagreeing_rates, None);
    }

    #[test]
    fn without_a_status_an_unverified_row_is_a_failure() {
        let bandwidth = parse(&format!("{TWELVE}\n{}{}", row(1, "1080p", 1), row(2, "1080p", 0))).unwrap();
        assert_eq!(bandwidth.frames[0].failures, BTreeMap::from([("not_verified".into(), 1)]));
        assert_eq!(bandwidth.frames[0].rows(), 2);
    }

    #[test]
    fn gaps_are_counted_in_either_numbering() {
        let anew = [row(1, "1080p", 1), row(4, "1080p", 1), row(1, "4k", 1), row(2, "4k", 1)].concat();
        let lost = |csv: &str| -> Vec<u64> {
            parse(&format!("{TWELVE}\n{csv}")).unwrap().frames.iter().map(|f| f.lost).collect()
        };
        assert_eq!(lost(&anew), [2, 0]);
        let through = [row(1, "1080p", 1), row(2, "1080p", 1), row(4, "4k", 1), row(5, "4k", 1)].concat();
        assert_eq!(lost(&through), [0, 1]);
        let twice = [row(1, "1080p", 1), row(1, "4k", 1), row(1, "4k", 1)].concat();
        assert_eq!(
            parse(&format!("{TWELVE}\n{twice}")).unwrap_err(),
            "f, line 4, column iteration: 1 after 1; iterations of a frame type must increase"
        );
    }

    const NEW: &str = "write_ns,notify_ns,read_ns,verify_ns,status,guest_read_ns,guest_verify_ns,mode,direction,cache,\
                       consume,verify,chunk_bytes,slots,copy_kernel,guest_copy_kernel,guest_stall_ns,start_ns,\
                       from_due_ns,late,gap_ns,switches";

    #[test]
    fn rows_are_grouped_by_the_way_they_took_and_named_by_what_differs() {
        let row = |i: u64, mode: &str, kernel: &str| {
            format!(
                "{i},4KiB,0,0,0,4096,0.00,4096,0.00,953.67,0.93,1,9,9,9,9,ok,100,9,{mode},host-to-guest,warm,copy,xxh3,\
                 64,2,{kernel},avx2,60,1000,,,0,0\n"
            )
        };
        let dropped =
            "3,4KiB,0,0,0,4096,0.00,,,,,0,,,,,dropped,,,chunked,host-to-guest,warm,copy,none,64,2,,,,,,,,\n";
        let rows =
            [row(1, "whole", "memcpy"), row(1, "chunked", "memcpy"), row(2, "chunked", "memcpy")].concat();
        let bandwidth = parse(&format!("{TWELVE},{NEW}\n{rows}{dropped}")).unwrap();
        let ways: Vec<_> = bandwidth.frames.iter().map(|f| f.way.as_str()).collect();
        assert_eq!(ways, ["whole", "chunked"]);
        let chunked = &bandwidth.frames[1];
        // A row without kernels belongs to the group whose other columns it shares.
        assert_eq!(chunked.failures, BTreeMap::from([(DROPPED.into(), 1)]));
        assert_eq!(chunked.digests, ["xxh3"]);
        assert_eq!(chunked.transfers[0].guest_copy_ns(), Some(40));
        assert_eq!(chunked.transfers[0].end_ns(), Some(5096));
        // 40 ns of copying in what the host saw as 9 ns; beside its own writing it may look late.
        assert_eq!([&bandwidth.frames[0], chunked].map(Frame::seen_late), [1, 0]);
        assert_eq!((chunked.chunk_bytes, chunked.slots, chunked.lost), (Some(64), Some(2), 0));
    }

    proptest! {
        /// However rows are mixed and whatever they leave empty, each one is in exactly one group, and no group holds
        /// two ways.
        #[test]
        fn every_row_belongs_to_one_way(
            ways in prop::collection::vec((0_usize..3, 0_usize..3, prop::bool::ANY), 1..40),
        ) {
            let rows: String = (1..)
                .zip(&ways)
                .map(|(i, (mode, kernel, ok))| {
                    let (mode, kernel) = (["", "whole", "chunked"][*mode], ["", "memcpy", "avx2"][*kernel]);
                    let duration = if *ok { "4096" } else { "" };
                    let status = if *ok { "ok" } else { DROPPED };
                    format!("{i},4KiB,0,0,0,4096,0,{duration},,,,1,,,,,{status},,,{mode},,,,,,,{kernel},,,,,,,\n")
                })
                .collect();
            let bandwidth = parse(&format!("{TWELVE},{NEW}\n{rows}")).unwrap();
            let sum: u64 = bandwidth.frames.iter().map(Frame::rows).sum();
            prop_assert_eq!(sum, ways.len() as u64);
            for (place, one) in bandwidth.frames.iter().enumerate() {
                for other in &bandwidth.frames[..place] {
                    prop_assert!(one.setup != other.setup, "{:?}", one.setup);
                }
            }
        }
    }

    #[test]
    fn values_without_meaning_are_refused() {
        let with =
            |from: &str, to: &str| parse(&format!("{TWELVE}\n{}", row(1, "1080p", 1).replacen(from, to, 1)));
        assert!(with("1080p", "").unwrap_err().contains("column frame_type"));
        assert!(with(",6220800,5.93", ",0,5.93").unwrap_err().contains("column test_size_bytes: empty or 0"));
        assert!(with(",6220800,6.22", ",0,6.22").unwrap_err().contains("column duration_ns: empty or 0"));
        assert!(with("0.93,1", "0.93,yes").unwrap_err().contains("column data_verified: expected 1 or 0"));
        assert_eq!(with("0.93", "93").unwrap().disagreeing_rates, Some((1, 2)));
    }
}
