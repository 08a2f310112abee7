//! One latency file: the samples of its ok rows, where rows failed, and the iterations that are not there.

use std::path::PathBuf;

use super::header::Header;
use super::places::{Failures, Gap, Places};
use super::rows::{Problem, Row, RowReader, Take};
use super::samples::{Sample, Samples};
use super::source::Source;
use super::workers::for_each_block;
use crate::error::Error;

/// What a latency file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latency {
    /// The file.
    pub path: PathBuf,
    /// Ok rows, in the order of the file.
    pub samples: Samples,
    /// Rows with another status.
    pub failures: Failures,
    /// Gaps in the iteration column: messages the prototype lost, which left no row.
    pub gaps: Places,
    /// Ok rows whose `latency_us` is another time than their `latency_ns`.
    pub disagreeing: Disagreeing,
}

/// Rows that contradict themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Disagreeing {
    /// How many.
    pub count: u64,
    /// Iteration of the first.
    pub first: u64,
}

impl Disagreeing {
    /// Adds those behind these.
    fn add(&mut self, later: Self) {
        if self.count == 0 {
            self.first = later.first;
        }
        self.count += later.count;
    }
}

/// Rows that follow each other.
#[derive(Debug, Default)]
struct Rows {
    samples: Samples,
    failures: Failures,
    gaps: Places,
    disagreeing: Disagreeing,
    /// Iteration of the first.
    first: u64,
    /// The iteration that leaves no gap; `None` before any row.
    expected: Option<u64>,
}

impl Rows {
    /// Those of a whole file, from whose beginning rows may be missing, too.
    fn of_file() -> Self {
        // The toolkit counts from 1; a file that counts from 0 has not lost its first message.
        Self { expected: Some(1), ..Self::default() }
    }

    fn count(&self) -> u64 {
        self.samples.len() as u64 + self.failures.count()
    }

    /// Whether `iteration` may be the next.
    fn admits(&self, iteration: u64) -> bool {
        self.expected.is_none_or(|expected| iteration >= expected || (iteration == 0 && self.count() == 0))
    }

    /// Makes what lies before `iteration` a gap.
    fn skip_to(&mut self, iteration: u64) {
        if let Some(expected) = self.expected.filter(|expected| *expected < iteration) {
            self.gaps.add(Gap { first: expected, last: iteration - 1 });
        }
    }

    /// Puts `later` behind these, unless their numbers do not increase.
    fn join(&mut self, later: &Self) -> bool {
        let Some(expected) = later.expected.filter(|_| self.admits(later.first)) else { return false };
        self.skip_to(later.first);
        later.gaps.iter().for_each(|gap| self.gaps.add(*gap));
        self.samples.append(&later.samples);
        self.disagreeing.add(later.disagreeing);
        self.expected = Some(expected);
        true
    }
}

impl Take for Rows {
    #[inline]
    fn take(&mut self, row: &Row, status: &str) -> Result<(), Problem> {
        let Some(iteration) = row.iteration() else {
            return Err(Problem::new("iteration", "empty; every row has a number"));
        };
        if !self.admits(iteration) {
            let before = self.expected.unwrap_or(iteration).saturating_sub(1);
            let problem = format!("{iteration} after {before}; iterations must increase");
            return Err(Problem::new("iteration", problem));
        }
        let processed_ns = match row.processed_ns() {
            Some(_) if row.is_failed => None,
            None if !row.is_failed => return Err(Problem::new("latency_ns", "empty in a row that is ok")),
            processed_ns => processed_ns,
        };
        if self.expected.is_none() {
            self.first = iteration;
        }
        self.skip_to(iteration);
        self.expected = Some(iteration.saturating_add(1));
        let Some(processed_ns) = processed_ns else {
            self.failures.add(iteration, status);
            return Ok(());
        };
        if row.disagrees() {
            self.disagreeing.add(Disagreeing { count: 1, first: iteration });
        }
        self.samples.push(&Sample {
            iteration,
            processed_ns,
            received_ns: row.received_ns(),
            send_delay_ns: row.send_delay_ns(),
            to_guest_ns: row.to_guest_ns(),
            to_host_ns: row.to_host_ns(),
        });
        Ok(())
    }
}

impl Latency {
    /// A file of these rows only, all of them ok.
    #[cfg(test)]
    pub(crate) fn of_ok_rows(samples: Samples) -> Self {
        Self {
            path: "l.csv".into(),
            samples,
            failures: Failures::default(),
            gaps: Places::default(),
            disagreeing: Disagreeing::default(),
        }
    }

    /// Reads the rows of `source`, which begins with `header`, in memory that grows with the samples only.
    pub(crate) fn read(mut source: Source, header: Header) -> Result<Self, Error> {
        let path = source.path.clone();
        source.skip(header.bytes)?;
        let mut reader = RowReader::new(&path, header);
        let mut all = Rows::of_file();
        let roles = reader.roles.clone();
        for_each_block(&mut source, &roles, |block, part, is_last| {
            reader.read(block, part, &mut all, Rows::join, is_last)
        })?;
        reader.end()?;
        let Rows { samples, failures, gaps, disagreeing, .. } = all;
        Ok(Self { path, samples, failures, gaps, disagreeing })
    }

    /// Rows in the file.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.samples.len() as u64 + self.failures.count()
    }

    /// Iterations that left no row, as far as the numbering shows.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.gaps.count()
    }
}

#[cfg(test)]
mod tests {
    use super::super::BAD_ROWS;
    use super::*;
    use proptest::prelude::*;

    fn parse(rows: &str) -> Result<Latency, String> {
        let mut source = Source::in_memory(rows.as_bytes());
        let header = Header::peek(&mut source).map_err(|e| e.to_string())?;
        Latency::read(source, header).map_err(|e| e.to_string())
    }

    #[test]
    fn the_prototypes_gaps_are_lost_messages() {
        let latency = parse("iteration,latency_ns,latency_us\n3,100,0.1\n4,110,0.11\n9,120,0.12\n").unwrap();
        let gaps: Vec<Gap> = latency.gaps.iter().copied().collect();
        assert_eq!(gaps, [Gap { first: 1, last: 2 }, Gap { first: 5, last: 8 }]);
        assert_eq!((latency.lost(), latency.rows()), (6, 3));
        assert_eq!(latency.samples.processed_ns().collect::<Vec<_>>(), [100, 110, 120]);
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
        assert_eq!(latency.failures.places.iter().copied().collect::<Vec<_>>(), [Gap { first: 2, last: 2 }]);
        assert_eq!(latency.failures.by_status, [("timeout_received".to_owned(), 1)].into());
        assert_eq!(latency.samples.received_ns().collect::<Vec<_>>(), [98]);
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
        let [first, second] = latency.samples.iter().collect::<Vec<_>>()[..] else { panic!("two rows") };
        assert_eq!(
            (first.send_delay_ns, first.to_guest_ns, first.to_host_ns),
            (Some(7), Some(-3), Some(133))
        );
        assert_eq!((second.send_delay_ns, second.to_guest_ns, second.to_host_ns), (None, None, None));
        let old = parse("iteration,latency_ns,latency_us\n1,100,0.1\n").unwrap();
        assert_eq!(old.samples.iter().next().unwrap().to_guest_ns, None);
    }

    #[test]
    fn rows_whose_columns_of_time_disagree_are_counted() {
        let header = "iteration,latency_ns,latency_us,received_ns,status\n";
        let rows = "1,130,0.130,98,ok\n2,130,0.13,,ok\n3,130,,98,ok\n4,130,130.0,98,ok\n5,,9,,timeout_received\n6,130,1,98,ok\n7,130,\"9\",98,ok\n";
        let latency = parse(&format!("{header}{rows}")).unwrap();
        assert_eq!(latency.disagreeing, Disagreeing { count: 3, first: 4 });
        // In any order of the columns, and wherever blocks of a long file are cut.
        let long: String =
            (1..60_000).map(|i| format!("{i},{},130\n", if i < 40_000 { "0.13" } else { "0.14" })).collect();
        let latency = parse(&format!("iteration,latency_us,latency_ns\n{long}")).unwrap();
        assert_eq!(latency.disagreeing, Disagreeing { count: 20_000, first: 40_000 });
    }

    #[test]
    fn iterations_that_go_back_are_refused() {
        let error = parse("iteration,latency_ns,latency_us\n1,1,0\n2,1,0\n2,1,0\n").unwrap_err();
        assert_eq!(error, "f, line 4, column iteration: 2 after 2; iterations must increase");
    }

    #[test]
    fn every_bad_value_is_named_by_line_and_column() {
        let header = "iteration,latency_ns,latency_us,received_ns,status\n";
        let own = [
            ("2,7,.,9,ok", "column latency_us: `.` is not a number"),
            ("2,7,0.007,5,\"ok", "column status: a quote that nothing closes in this line"),
        ];
        for (row, expected) in BAD_ROWS.into_iter().chain(own) {
            let error = parse(&format!("{header}1,130,0.130,98,ok\n{row}\n3,130,0.130,98,ok\n")).unwrap_err();
            assert!(error.starts_with("f, line 3, ") && error.ends_with(expected), "{row}: {error}");
        }
    }

    #[test]
    fn blank_lines_crlf_quotes_and_a_byte_order_mark_change_nothing_but_line_numbers() {
        let plain = parse("iteration,latency_ns,latency_us\n1,100,0.1\n3,4294967295,1.5\n").unwrap();
        for same in [
            "\u{feff}\r\n\"iteration\",latency_ns , latency_us\r\n\r\n1,100,0.1\r\n  \r\n3,4294967295,1.5\r\n",
            "iteration,latency_ns,latency_us\n\"1\",100,\"0.1\"\n3,\"4294967295\",1.5\n\n",
            "iteration,latency_ns,latency_us\n1, 100,0.1\n3,4294967295 ,1.5e0\n",
        ] {
            assert_eq!(parse(same).unwrap(), plain, "{same:?}");
        }
        let error =
            parse("\r\niteration,latency_ns,latency_us\r\n\r\n1,100,0.1\r\n\r\nx,1,1\r\n").unwrap_err();
        assert_eq!(error, "f, line 6, column iteration: `x` is not a whole number");
    }

    #[test]
    fn columns_nobody_contracted_may_hold_anything() {
        let rows =
            "iteration,note,latency_ns,latency_us\n1,\"a, \"\"b\"\"\",100,0.1\n2,5\" disk,110,0.1\n3,,120,\n";
        assert_eq!(parse(rows).unwrap().samples.processed_ns().collect::<Vec<_>>(), [100, 110, 120]);
    }

    #[test]
    fn a_file_that_ends_early_is_refused() {
        let header = "iteration,latency_ns,latency_us,received_ns,status\n";
        let whole = format!("{header}1,130,0.130,98,ok\n2,140,0.140,99,ok");
        assert!(
            parse(&whole).unwrap_err().contains("line 3, column status: the last line has no line ending")
        );
        let short = &whole[..whole.len() - 4];
        assert!(
            parse(short).unwrap_err().ends_with("4 fields where the header has 5; the file is cut short")
        );
        assert_eq!(
            parse(header).unwrap_err(),
            "f, line 2: no rows after the header; the run measured nothing"
        );
        for nothing in ["", "\n \n"] {
            assert_eq!(parse(nothing).unwrap_err(), "f, line 1: the file is empty; expected a CSV header");
        }
    }

    #[test]
    fn the_line_of_a_mistake_is_right_many_blocks_into_a_file() {
        let row = |i: u64| format!("{i},{},0.130,98,ok\n", 130 + i % 7);
        let good = |range: std::ops::Range<u64>| range.map(row).collect::<String>();
        let header = "iteration,latency_ns,latency_us,received_ns,status\n";
        let short = format!("{header}{}50000,130\n{}", good(1..50_000), good(50_001..60_000));
        assert_eq!(
            parse(&short).unwrap_err(),
            "f, line 50001, column latency_us: 2 fields where the header has 5"
        );
        let rows = format!("{header}{}50000,x,0.1,9,ok\n{}", good(1..50_000), good(50_001..60_000));
        assert_eq!(parse(&rows).unwrap_err(), "f, line 50001, column latency_ns: `x` is not a whole number");
        let mut bytes = format!("{header}{}", good(1..60_000)).into_bytes();
        let place = bytes.len() - 3;
        bytes[place] = 0xff;
        let mut source = Source::in_memory(&bytes);
        let header = Header::peek(&mut source).unwrap();
        let error = Latency::read(source, header).unwrap_err().to_string();
        assert_eq!(error, "f, line 60000, column byte 20: not UTF-8 text (binary or UTF-16?)");
    }

    proptest! {
        #[test]
        fn no_bytes_at_all_make_it_panic(
            begin in prop::sample::select(vec!["", "iteration,latency_ns,latency_us,status,to_guest_ns\n"]),
            rows in prop::collection::vec("[0-9,.ok\"\\-\r\n \u{e9}_]{0,12}", 0..12),
        ) {
            let _ = parse(&format!("{begin}{}", rows.concat()));
        }

        #[test]
        fn plain_and_careful_reading_agree(
            fields in prop::collection::vec(("[0-9]{1,21}", "[0-9]{0,3}(\\.[0-9]{0,2})?", "-?[0-9]{0,20}"), 1..6),
        ) {
            let rows = |quoted: bool| {
                let mut text = "iteration,latency_ns,latency_us,to_guest_ns\n".to_owned();
                for (i, (ns, us, way)) in (1..).zip(&fields) {
                    let q = if quoted { "\"" } else { "" };
                    text += &format!("{q}{i}{q},{ns},{us},{way}\n");
                }
                text
            };
            prop_assert_eq!(parse(&rows(false)), parse(&rows(true)));
        }
    }
}
