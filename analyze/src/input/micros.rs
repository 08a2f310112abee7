//! `latency_us`, which says once more what `latency_ns` says, with as many digits as its writer took for enough.

use super::rows::whole;

/// A time written in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Micros {
    ns: u64,
    /// What its last digit stands for; 0 where nothing is written.
    step_ns: u64,
}

/// Of more than three decimals; both columns may be rounded from what had a fraction of a nanosecond.
const FINE_STEP_NS: u64 = 2;

impl Micros {
    /// Whether no rounding, to the nearest or downwards, makes this of `ns`.
    pub(super) fn is_other_than(self, ns: u64) -> bool {
        let (above, below) = (self.ns.saturating_sub(ns), ns.saturating_sub(self.ns));
        self.step_ns > 0 && (above > self.step_ns / 2 || below >= self.step_ns)
    }

    /// The field that `text` begins with, and what is behind it; `None` if it needs care.
    #[inline]
    pub(super) fn plain(text: &[u8]) -> Option<(Self, &[u8])> {
        let (micros, rest) = whole(text)?;
        let Some(micros) = micros else { return Some((Self::default(), rest)) };
        let ns = micros.checked_mul(1000)?;
        let Some(fraction) = rest.strip_prefix(b".") else { return Some((Self { ns, step_ns: 1000 }, rest)) };
        // A point without a digit is no number.
        let (Some(decimals), rest) = whole(fraction)? else { return None };
        let count = (fraction.len() - rest.len()) as u32;
        let (fraction_ns, step_ns) = match 3_u32.checked_sub(count) {
            Some(missing) => (decimals * 10_u64.pow(missing), 10_u64.pow(missing)),
            None => (decimals / 10_u64.pow(count - 3), FINE_STEP_NS),
        };
        Some((Self { ns: ns.checked_add(fraction_ns)?, step_ns }, rest))
    }

    /// A whole field, which is empty or a number.
    pub(super) fn of(field: &str) -> Self {
        if let Some((micros, b"")) = Self::plain(field.as_bytes()) {
            return micros;
        }
        let Ok(value) = field.parse::<f64>() else { return Self::default() };
        let (mantissa, exponent) = field.split_once(['e', 'E']).unwrap_or((field, "0"));
        let decimals = mantissa.split_once('.').map_or(0, |(_, decimals)| decimals.len() as i32);
        let step_ns = 1000.0 * 10_f64.powi(exponent.parse::<i32>().unwrap_or(0).saturating_sub(decimals));
        // Conversions end at the largest number there is.
        Self { ns: (value * 1000.0).round() as u64, step_ns: (step_ns.ceil() as u64).max(FINE_STEP_NS) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rounding_makes_is_no_other_time() {
        let same = [
            ("0.130", 130),
            ("0.13", 130),
            ("0.13", 134),
            ("0.13", 126),
            ("0", 999),
            ("1", 1_499),
            ("1.24", 1_235),
            ("0.1305", 131),
            ("12.3456789", 12_345),
            ("1.3e-1", 130),
            ("1.5e3", 1_500_000),
            (".5", 500),
            ("18446744073709551615", u64::MAX),
            ("", 7),
        ];
        for (field, ns) in same {
            assert!(!Micros::of(field).is_other_than(ns), "{field} {ns}");
        }
        let other = [
            ("0.130", 131),
            ("0.13", 140),
            ("0.13", 124),
            ("1", 130),
            ("1", 2_000),
            ("0", 1_000),
            ("0.1305", 128),
            ("1.3e-1", 230),
            ("130", 130),
        ];
        for (field, ns) in other {
            assert!(Micros::of(field).is_other_than(ns), "{field} {ns}");
        }
    }

    #[test]
    fn what_follows_a_field_is_left() {
        assert_eq!(Micros::plain(b"0.5,ok"), Some((Micros { ns: 500, step_ns: 100 }, &b",ok"[..])));
        assert_eq!(Micros::plain(b",ok"), Some((Micros::default(), &b",ok"[..])));
        assert_eq!(Micros::plain(b"5.,"), None);
    }
}
