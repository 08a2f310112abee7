//! The roof over a rate: what the two cores reach with plain copies of the same size, and the share of it a run kept.
//!
//! A frame is written by one side and read by the other. One after the other (whole) the times add up, so the roof of
//! the whole is 1 / (1 / W + 1 / R); overlapping (chunked, stream) the slower of the two decides: min(W, R).

use serde::Serialize;

use crate::input::{Provenance, RoofSide, Setup};

/// The roof of one size and way, 1e9 bytes a second; `None` where not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Ceiling {
    /// The sender's best write into the region.
    pub write_gb_per_s: Option<f64>,
    /// The receiver's best copy out of it, or its best scan where it only scans.
    pub read_gb_per_s: Option<f64>,
    /// Of both together.
    pub total_gb_per_s: Option<f64>,
    /// The lowest of what the measurements before and after the test reached, by which the roof is uncertain.
    pub write_low_gb_per_s: Option<f64>,
    /// The lowest of reading.
    pub read_low_gb_per_s: Option<f64>,
    /// Of both together at their lowest.
    pub total_low_gb_per_s: Option<f64>,
}

impl Ceiling {
    /// Over frames of `bytes` that went as `setup` says; `None` if the run has no roof.
    #[must_use]
    pub fn of(provenance: Option<&Provenance>, bytes: u64, setup: &Setup) -> Option<Self> {
        let roof = provenance?.run.roof.as_ref()?;
        let size = roof.sizes.iter().find(|size| size.bytes == bytes);
        let (host, guest) = (size.and_then(|s| s.host), size.and_then(|s| s.guest));
        let (sender, receiver) = if setup.is_guest_to_host() { (guest, host) } else { (host, guest) };
        let (sender, receiver) = (sender.unwrap_or_default(), receiver.unwrap_or_default());
        let read = |side: RoofSide| match setup.consume.as_deref() {
            Some("scan") => (side.scan_region_gb_per_s, side.scan_region_low_gb_per_s),
            Some("none") => (None, None),
            _ => (side.copy_region_gb_per_s, side.copy_region_low_gb_per_s),
        };
        let (read, read_low) = read(receiver);
        let [write_gb_per_s, read_gb_per_s, total_gb_per_s] =
            together(setup, sender.write_region_gb_per_s, read);
        let [write_low_gb_per_s, read_low_gb_per_s, total_low_gb_per_s] =
            together(setup, sender.write_region_low_gb_per_s, read_low);
        Some(Self {
            write_gb_per_s,
            read_gb_per_s,
            total_gb_per_s,
            write_low_gb_per_s,
            read_low_gb_per_s,
            total_low_gb_per_s,
        })
    }
}

/// The rates of writing and reading, if they mean anything, and that of both together.
fn together(setup: &Setup, write: Option<f64>, read: Option<f64>) -> [Option<f64>; 3] {
    let [write, read] = [write, read].map(|rate| rate.filter(|rate| rate.is_finite() && *rate > 0.0));
    let both = |(write, read): (f64, f64)| {
        if setup.overlaps() { write.min(read) } else { 1.0 / (1.0 / write + 1.0 / read) }
    };
    // Where nobody reads, writing is all there is.
    let unread = setup.consume.as_deref() == Some("none");
    [write, read, if unread { write } else { write.zip(read).map(both) }]
}

/// `rate` as a share of `roof`, 1 at the roof.
#[must_use]
pub fn share(rate: Option<f64>, roof: Option<f64>) -> Option<f64> {
    rate.zip(roof).map(|(rate, roof)| rate / roof)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::RunJson;
    use serde_json::{Value, json};

    fn provenance(roof: &Value) -> Provenance {
        let run: RunJson = serde_json::from_value(json!({ "roof": roof })).unwrap();
        Provenance { run, verbatim: Value::Null }
    }

    fn setup(mode: &str, direction: &str, consume: &str) -> Setup {
        let some = |text: &str| Some(text.to_owned());
        Setup { mode: some(mode), direction: some(direction), consume: some(consume), ..Setup::default() }
    }

    #[test]
    fn the_roof_depends_on_mode_direction_and_what_is_done_with_the_bytes() {
        let side = |write: f64, copy: f64, scan: f64| json!({"write_region_gb_per_s": write, "copy_region_gb_per_s": copy, "scan_region_gb_per_s": scan});
        let size = json!({"bytes": 64, "host": side(12.0, 10.0, 30.0), "guest": side(2.0, 4.0, 6.0)});
        let provenance = provenance(&json!({"sizes": [size], "exceeded": []}));
        let total = |mode, direction, consume| {
            Ceiling::of(Some(&provenance), 64, &setup(mode, direction, consume))
                .unwrap()
                .total_gb_per_s
                .unwrap()
        };
        // 1 / (1/12 + 1/4) = 3; 1 / (1/2 + 1/10) = 1.667; 1 / (1/12 + 1/6) = 4.
        assert!((total("whole", "host-to-guest", "copy") - 3.0).abs() < 1e-12);
        assert!((total("whole", "guest-to-host", "copy") - 10.0 / 6.0).abs() < 1e-12);
        assert!((total("whole", "host-to-guest", "scan") - 4.0).abs() < 1e-12);
        assert_eq!(total("chunked", "host-to-guest", "copy"), 4.0);
        assert_eq!(total("stream", "guest-to-host", "copy"), 2.0);
        assert_eq!(total("whole", "host-to-guest", "none"), 12.0);
        let other = Ceiling::of(Some(&provenance), 65, &Setup::default()).unwrap();
        assert_eq!(other, Ceiling::default());
    }

    #[test]
    fn the_spread_of_a_roof_is_that_of_its_measurements() {
        let side = |rate: f64| {
            json!({"write_region_gb_per_s": rate, "write_region_low_gb_per_s": rate / 2.0,
            "copy_region_gb_per_s": rate, "copy_region_low_gb_per_s": rate / 4.0})
        };
        let size = json!({"bytes": 64, "host": side(12.0), "guest": side(4.0)});
        let provenance = provenance(&json!({"sizes": [size], "exceeded": []}));
        let of = |mode| Ceiling::of(Some(&provenance), 64, &setup(mode, "host-to-guest", "copy")).unwrap();
        assert_eq!((of("whole").write_low_gb_per_s, of("whole").read_low_gb_per_s), (Some(6.0), Some(1.0)));
        assert!((of("whole").total_low_gb_per_s.unwrap() - 6.0 / 7.0).abs() < 1e-12);
        assert_eq!(of("chunked").total_low_gb_per_s, Some(1.0));
    }

    #[test]
    fn without_a_roof_there_is_no_ceiling() {
        assert_eq!(Ceiling::of(Some(&provenance(&Value::Null)), 64, &Setup::default()), None);
        assert_eq!(Ceiling::of(None, 64, &Setup::default()), None);
        assert_eq!(share(Some(1.0), Some(4.0)), Some(0.25));
        assert_eq!(share(Some(1.0), None), None);
    }
}
