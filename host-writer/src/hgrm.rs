//! `latency.hgrm`: HdrHistogram's percentile text format, in nanoseconds, for its plotters and diff tools.

use std::io::{self, Write};

use hdrhistogram::Histogram;

/// Three significant digits, as most tools record.
const SIGNIFICANT_DIGITS: u8 = 3;
/// Lines per halving of the distance to 100 %, HdrHistogram's default.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// The longest latency a histogram tells from longer ones: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// An empty histogram of nanoseconds; its size does not change with what is recorded.
///
/// # Errors
/// Never for these bounds; the constructor's error is passed on.
pub fn empty() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_max(LONGEST_NS, SIGNIFICANT_DIGITS)?)
}

/// Writes the percentile distribution.
///
/// # Errors
/// The writer's.
pub fn write(out: &mut dyn Write, histogram: &Histogram<u64>) -> io::Result<()> {
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut total = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (step.value_iterated_to(), step.quantile_iterated_to());
        write!(out, "{value:>12}.000 {quantile:>2.12} {total:>10}")?;
        if quantile < 1.0 {
            write!(out, " {:>14.2}", 1.0 / (1.0 - quantile))?;
        }
        writeln!(out)?;
    }
    writeln!(out, "#[Mean    = {:>12.3}, StdDeviation   = {:>12.3}]", histogram.mean(), histogram.stdev())?;
    writeln!(out, "#[Max     = {:>12.3}, Total count    = {:>12}]", histogram.max() as f64, histogram.len())?;
    let sub_buckets = 2 * 10u32.pow(SIGNIFICANT_DIGITS.into());
    writeln!(
        out,
        "#[Buckets = {:>12}, SubBuckets     = {:>12}]",
        histogram.buckets(),
        sub_buckets.next_power_of_two()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_ends_at_the_maximum_and_counts_every_value() {
        let mut histogram = empty().unwrap();
        (1..=1000).for_each(|v| histogram.saturating_record(v * 10));
        let mut text = Vec::new();
        write(&mut text, &histogram).unwrap();
        let text = String::from_utf8(text).unwrap();
        let rows: Vec<Vec<&str>> = text
            .lines()
            .skip(2)
            .filter(|l| !l.starts_with('#'))
            .map(|l| l.split_whitespace().collect())
            .collect();
        let last = rows.last().unwrap();
        assert_eq!((last.len(), last[1], last[2]), (3, "1.000000000000", "1000"));
        // The median of 10, 20, … 10000 is 5000, within three digits.
        let median = rows.iter().find(|r| r[1] == "0.500000000000").unwrap();
        let value: f64 = median[0].parse().unwrap();
        assert!((value - 5000.0).abs() <= 5.0, "{value}");
        assert!(text.contains("Total count    =         1000"), "{text}");
    }
}
