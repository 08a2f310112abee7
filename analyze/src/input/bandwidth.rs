//! One bandwidth file: its rows by frame format, smallest frame first.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::kind::shorten;
use super::status;
use super::table::Table;
use crate::error::Error;

/// Status given to an unverified row of a file that has no status column.
const NOT_VERIFIED: &str = "not_verified";

/// One frame that arrived. Durations in nanoseconds on the host's clock; `None` where not measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// First byte written to PROCESSED.
    pub duration_ns: u64,
    /// Writing the frame into the region.
    pub write_ns: Option<u64>,
    /// Publication to RECEIVED.
    pub notify_ns: Option<u64>,
    /// RECEIVED to PROCESSED: the guest reads.
    pub read_ns: Option<u64>,
    /// PROCESSED to the verdict, outside the duration.
    pub verify_ns: Option<u64>,
    /// The guest's copy on the guest's own clock.
    pub guest_read_ns: Option<u64>,
    /// Whether the guest's digest matched.
    pub verified: bool,
}

/// All rows of one frame format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Lower-case name, such as `1080p`.
    pub name: String,
    /// Payload bytes, each counted once.
    pub bytes: u64,
    /// Ok rows in the order of the file.
    pub transfers: Vec<Transfer>,
    /// Other rows, counted by status.
    pub failures: BTreeMap<String, u64>,
    /// Gaps in the iteration column.
    pub lost: u64,
}

impl Frame {
    /// Payload rate of one transfer, in GB/s: bytes / nanoseconds, since 1e9 bytes/s is one byte a nanosecond.
    #[must_use]
    pub fn gb_per_s(&self, transfer: &Transfer) -> f64 {
        self.bytes as f64 / transfer.duration_ns as f64
    }

    /// Payload rates of all ok rows, in GB/s.
    #[must_use]
    pub fn rates_gb_per_s(&self) -> Vec<f64> {
        self.transfers.iter().map(|t| self.gb_per_s(t)).collect()
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
        let guest_reads = column("guest_read_ns");
        let rates = table.reals("bandwidth_gbps");
        let verdicts = table.texts("data_verified");
        let statuses = table.texts("status");
        let has_status = table.has("status");

        let mut frames: Vec<Frame> = Vec::new();
        let mut numbering = Numbering::of(table)?;
        let mut disagreeing_rates = None;
        for row in 0..table.rows() {
            let problem = |column: &str, why: &str| table.problem(row, column, why);
            let name = frame_name(table, row)?;
            let bytes =
                sizes[row].filter(|&b| b > 0).ok_or_else(|| problem("test_size_bytes", "empty or 0"))?;
            let verified = is_verified(verdicts[row]).map_err(|why| problem("data_verified", why))?;
            let ok = if has_status {
                status::is_ok(statuses[row]).map_err(|why| problem("status", why))?
            } else {
                verified
            };
            let index = frames.iter().position(|f| f.name == name && f.bytes == bytes).unwrap_or_else(|| {
                let (transfers, failures) = (Vec::new(), BTreeMap::new());
                frames.push(Frame { name, bytes, transfers, failures, lost: 0 });
                frames.len() - 1
            });
            let frame = &mut frames[index];
            frame.lost = frame.lost.saturating_add(numbering.absent_before(table, row, index)?);
            if !ok {
                let status = statuses[row].unwrap_or(NOT_VERIFIED).to_owned();
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
                duration_ns,
                write_ns: writes[row],
                notify_ns: notifies[row],
                read_ns: reads[row],
                verify_ns: verifies[row],
                guest_read_ns: guest_reads[row],
                verified,
            });
        }
        frames.sort_by(|a, b| (a.bytes, &a.name).cmp(&(b.bytes, &b.name)));
        Ok(Self { path: table.path().into(), frames, disagreeing_rates })
    }
}

fn frame_name(table: &Table, row: usize) -> Result<String, Error> {
    let name = table.texts("frame_type")[row].unwrap_or_default().to_lowercase();
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
    use super::super::text::Text;
    use super::*;
    use std::path::Path;

    const TWELVE: &str = "iteration,frame_type,width,height,bpp,test_size_bytes,test_size_mb,duration_ns,duration_ms,\
                          bandwidth_mbps,bandwidth_gbps,data_verified";

    fn parse(csv: &str) -> Result<Bandwidth, String> {
        let text = Text::parse(Path::new("f"), csv.as_bytes()).map_err(|e| e.to_string())?;
        let (_, table) = Table::load(text).map_err(|e| e.to_string())?;
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
