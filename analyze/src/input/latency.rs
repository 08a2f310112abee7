//! One latency file: the samples of its ok rows, its failed rows, and the iterations that are not there.

use std::path::PathBuf;

use super::status;
use super::table::Table;
use crate::error::Error;

/// One message that was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Its iteration number.
    pub iteration: u64,
    /// To PROCESSED, in nanoseconds: from the publication in a closed loop, from the due time in an open one.
    pub processed_ns: u64,
    /// To RECEIVED, in nanoseconds, where measured.
    pub received_ns: Option<u64>,
    /// Due time to publication, in nanoseconds; of an open loop only.
    pub send_delay_ns: Option<u64>,
    /// One way host to guest, in nanoseconds, below 0 by no more than the error of the clocks' offset.
    pub to_guest_ns: Option<i64>,
    /// One way guest to host, likewise.
    pub to_host_ns: Option<i64>,
}

/// One message that was not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its iteration number.
    pub iteration: u64,
    /// Its status, such as `timeout_received`.
    pub status: String,
}

/// Iterations absent from the file, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// First absent iteration.
    pub first: u64,
    /// Last absent iteration.
    pub last: u64,
}

impl Gap {
    /// How many iterations are absent.
    #[must_use]
    pub fn count(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

/// What a latency file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latency {
    /// The file.
    pub path: PathBuf,
    /// Ok rows, in the order of the file.
    pub samples: Vec<Sample>,
    /// Rows with another status.
    pub failures: Vec<Failure>,
    /// Gaps in the iteration column: messages the prototype lost, which left no row.
    pub gaps: Vec<Gap>,
}

impl Latency {
    pub(crate) fn from_table(table: &Table) -> Result<Self, Error> {
        let iterations = table.counts("iteration");
        let processed = table.counts("latency_ns");
        let received = table.counts("received_ns");
        let delays = table.counts("send_delay_ns");
        let (to_guest, to_host) = (table.signed("to_guest_ns"), table.signed("to_host_ns"));
        let has_status = table.has("status");
        let statuses = table.texts("status");

        let mut latency =
            Self { path: table.path().into(), samples: Vec::new(), failures: Vec::new(), gaps: Vec::new() };
        // The toolkit counts from 1; a file that counts from 0 has not lost its first message.
        let mut expected = 1;
        for row in 0..table.rows() {
            let Some(iteration) = iterations[row] else {
                return Err(table.problem(row, "iteration", "empty; every row has a number"));
            };
            if iteration < expected && !(row == 0 && iteration == 0) {
                let problem = format!("{iteration} after {}; iterations must increase", expected - 1);
                return Err(table.problem(row, "iteration", problem));
            }
            if iteration > expected {
                latency.gaps.push(Gap { first: expected, last: iteration - 1 });
            }
            expected = iteration.saturating_add(1);

            let ok = !has_status
                || status::is_ok(statuses[row]).map_err(|why| table.problem(row, "status", why))?;
            if ok {
                let Some(processed_ns) = processed[row] else {
                    return Err(table.problem(row, "latency_ns", "empty in a row that is ok"));
                };
                latency.samples.push(Sample {
                    iteration,
                    processed_ns,
                    received_ns: received[row],
                    send_delay_ns: delays[row],
                    to_guest_ns: to_guest[row],
                    to_host_ns: to_host[row],
                });
            } else {
                let status = statuses[row].unwrap_or_default().to_owned();
                latency.failures.push(Failure { iteration, status });
            }
        }
        Ok(latency)
    }

    /// Rows in the file.
    #[must_use]
    pub fn rows(&self) -> u64 {
        (self.samples.len() + self.failures.len()) as u64
    }

    /// Iterations that left no row, as far as the numbering shows.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.gaps.iter().fold(0, |sum, gap| sum.saturating_add(gap.count()))
    }

    /// Times to PROCESSED of the ok rows, in nanoseconds, in the order of the file.
    #[must_use]
    pub fn processed_ns(&self) -> Vec<u64> {
        self.samples.iter().map(|s| s.processed_ns).collect()
    }

    /// Times to RECEIVED of those ok rows that have one, in nanoseconds.
    #[must_use]
    pub fn received_ns(&self) -> Vec<u64> {
        self.samples.iter().filter_map(|s| s.received_ns).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::Text;
    use super::*;
    use std::path::Path;

    fn parse(rows: &str) -> Result<Latency, String> {
        let text = Text::parse(Path::new("f"), rows.as_bytes()).map_err(|e| e.to_string())?;
        let (_, table) = Table::load(text).map_err(|e| e.to_string())?;
        Latency::from_table(&table).map_err(|e| e.to_string())
    }

    #[test]
    fn the_prototypes_gaps_are_lost_messages() {
        let latency = parse("iteration,latency_ns,latency_us\n3,100,0.1\n4,110,0.11\n9,120,0.12\n").unwrap();
        assert_eq!(latency.gaps, [Gap { first: 1, last: 2 }, Gap { first: 5, last: 8 }]);
        assert_eq!((latency.lost(), latency.rows()), (6, 3));
        assert_eq!(latency.processed_ns(), [100, 110, 120]);
    }

    #[test]
    fn counting_from_zero_is_no_loss() {
        let latency = parse("iteration,latency_ns,latency_us\n0,100,0.1\n1,110,0.11\n").unwrap();
        assert_eq!(latency.lost(), 0);
    }

    #[test]
    fn failures_are_kept_apart_with_their_names() {
        let header = "iteration,latency_ns,latency_us,received_ns,status\n";
        let latency =
            parse(&format!("{header}1,130,0.13,98,ok\n2,,,,timeout_received\n3,140,0.14,,ok\n")).unwrap();
        assert_eq!(latency.failures, [Failure { iteration: 2, status: "timeout_received".into() }]);
        assert_eq!(latency.received_ns(), [98]);
        assert_eq!(latency.lost(), 0);
        assert!(parse(&format!("{header}1,,,98,ok\n")).unwrap_err().contains("column latency_ns: empty"));
        assert!(parse(&format!("{header}1,1,0,98,\n")).unwrap_err().contains("column status: empty"));
        assert!(parse(&format!("{header},1,0,98,ok\n")).unwrap_err().contains("column iteration: empty"));
    }

    #[test]
    fn one_way_times_may_be_below_zero_and_absent_columns_are_none() {
        let header =
            "iteration,latency_ns,latency_us,received_ns,status,send_delay_ns,to_guest_ns,to_host_ns\n";
        let latency = parse(&format!("{header}1,130,0.13,98,ok,7,-3,133\n2,130,0.13,98,ok,,,\n")).unwrap();
        let [first, second] = latency.samples.as_slice() else { panic!("two rows") };
        assert_eq!(
            (first.send_delay_ns, first.to_guest_ns, first.to_host_ns),
            (Some(7), Some(-3), Some(133))
        );
        assert_eq!((second.send_delay_ns, second.to_guest_ns, second.to_host_ns), (None, None, None));
        let old = parse("iteration,latency_ns,latency_us\n1,100,0.1\n").unwrap();
        assert_eq!(old.samples[0].to_guest_ns, None);
    }

    #[test]
    fn iterations_that_go_back_are_refused() {
        let error = parse("iteration,latency_ns,latency_us\n1,1,0\n2,1,0\n2,1,0\n").unwrap_err();
        assert_eq!(error, "f, line 4, column iteration: 2 after 2; iterations must increase");
    }
}
