//! The figures of a histogram, as run.json has them.

use hdrhistogram::Histogram;
use ivshmem_proto::percentile::nearest_rank;
use serde::Serialize;

/// A histogram's figures in nanoseconds, of three significant digits; null where fewer than ten samples lie beyond.
#[derive(Debug, Serialize)]
pub struct Percentiles {
    min: Option<u64>,
    p50: Option<u64>,
    p90: Option<u64>,
    p99: Option<u64>,
    #[serde(rename = "p99.9")]
    p99_9: Option<u64>,
    #[serde(rename = "p99.99")]
    p99_99: Option<u64>,
    max: Option<u64>,
    mean: Option<f64>,
    count: u64,
}

impl Percentiles {
    /// Median, p90, p99 and the largest.
    #[must_use]
    pub const fn shown(&self) -> [Option<u64>; 4] {
        [self.p50, self.p90, self.p99, self.max]
    }
}

impl From<&Histogram<u64>> for Percentiles {
    fn from(histogram: &Histogram<u64>) -> Self {
        let count = histogram.len();
        let any = count > 0;
        let at = |hundredths: u64| {
            nearest_rank(hundredths, count).map(|_| histogram.value_at_quantile(hundredths as f64 / 10_000.0))
        };
        Self {
            min: any.then(|| histogram.min()),
            p50: at(5000),
            p90: at(9000),
            p99: at(9900),
            p99_9: at(9990),
            p99_99: at(9999),
            max: any.then(|| histogram.max()),
            mean: any.then(|| (histogram.mean() * 10.0).round() / 10.0),
            count,
        }
    }
}
