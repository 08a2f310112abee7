//! What a CSV holds, told by its header, and the type of each contracted column.

use std::path::Path;

use crate::error::Error;

/// The contracted files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Latency,
    Bandwidth,
    Doorbell,
}

/// How a column's fields are parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnType {
    /// A whole number from 0 to 2^64 - 1.
    Count,
    /// A whole number that may be below 0: the difference of two machines' clocks.
    Signed,
    /// A finite number, 0 or more.
    Real,
    /// Anything.
    Text,
}

const LATENCY: [&str; 3] = ["iteration", "latency_ns", "latency_us"];
const BANDWIDTH: [&str; 12] = [
    "iteration",
    "frame_type",
    "width",
    "height",
    "bpp",
    "test_size_bytes",
    "test_size_mb",
    "duration_ns",
    "duration_ms",
    "bandwidth_mbps",
    "bandwidth_gbps",
    "data_verified",
];

/// The columns that a doorbell file begins with.
const DOORBELL: [&str; 6] = ["iteration", "guest_wait", "host_wait", "rate_per_s", "load", "rtt_ns"];

/// Columns that a broadcast's file has, and no file that is read here.
const BROADCAST: [&str; 3] = ["slowest_ns", "fastest_ns", "spread_ns"];

impl Kind {
    /// Every kind; of those that a header fits equally well, the first.
    const ALL: [Self; 3] = [Self::Latency, Self::Bandwidth, Self::Doorbell];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Bandwidth => "bandwidth",
            Self::Doorbell => "doorbell",
        }
    }

    /// The columns a file of this kind begins with; of the first two the prototype's files have them, too.
    fn required(self) -> &'static [&'static str] {
        match self {
            Self::Latency => &LATENCY,
            Self::Bandwidth => &BANDWIDTH,
            Self::Doorbell => &DOORBELL,
        }
    }

    /// The kind whose columns a header has most of, if it has all of them.
    pub(super) fn of(path: &Path, header: &[String], line: u64) -> Result<Self, Error> {
        if BROADCAST.iter().all(|column| header.iter().any(|h| h == column)) {
            return Err(Error::Broadcast { path: path.into() });
        }
        let present = |kind: Self| kind.required().iter().filter(|c| header.iter().any(|h| h == *c)).count();
        // `iteration` alone belongs to anyone. Of equal ones `max_by_key` takes the last.
        let kind =
            Self::ALL.into_iter().rev().max_by_key(|kind| present(*kind)).filter(|kind| present(*kind) >= 2);
        let Some(kind) = kind else {
            let found = shorten(header.first().map_or("", String::as_str));
            return Err(Error::ForeignHeader { path: path.into(), line, found });
        };
        for column in kind.required() {
            if !header.iter().any(|h| h == column) {
                return Err(Error::MissingColumn { path: path.into(), line, column, kind: kind.name() });
            }
        }
        Ok(kind)
    }
}

impl ColumnType {
    /// The type of a column by its name; columns nobody contracted are text and left alone.
    pub(crate) fn of(column: &str) -> Self {
        match column {
            "iteration" | "latency_ns" | "received_ns" | "width" | "height" | "bpp" | "test_size_bytes"
            | "duration_ns" | "write_ns" | "notify_ns" | "read_ns" | "verify_ns" | "guest_read_ns"
            | "guest_verify_ns" | "guest_stall_ns" | "chunk_bytes" | "slots" | "start_ns" | "from_due_ns"
            | "late" | "gap_ns" | "switches" | "send_delay_ns" | "mismatch_offset" | "rtt_ns"
            | "rings_to_guest" | "rings_to_host" | "interrupts" | "coalesced" | "missed" => Self::Count,
            "to_guest_ns" | "to_host_ns" | "guest_wake_ns" | "host_wake_ns" => Self::Signed,
            "latency_us"
            | "test_size_mb"
            | "duration_ms"
            | "bandwidth_mbps"
            | "bandwidth_gbps"
            | "oneway_bound_ns"
            | "host_cpu_ns_per_message"
            | "vcpu_cpu_ns_per_message" => Self::Real,
            _ => Self::Text,
        }
    }

    /// Why `field` is not a value of this type; `None` if it is one. An empty field is.
    pub(crate) fn problem(self, field: &str) -> Option<String> {
        let shown = shorten(field);
        match self {
            _ if field.is_empty() => None,
            Self::Text => None,
            Self::Count if field.bytes().all(|b| b.is_ascii_digit()) => {
                field.parse::<u64>().is_err().then(|| format!("`{shown}` is larger than {}", u64::MAX))
            }
            Self::Count => match field.strip_prefix('-') {
                Some(rest) if rest.bytes().all(|b| b.is_ascii_digit()) => {
                    Some(format!("`{shown}` is negative"))
                }
                _ => Some(format!("`{shown}` is not a whole number")),
            },
            Self::Signed => match field.parse::<i64>() {
                Ok(_) => None,
                Err(_) => Some(format!("`{shown}` is not a whole number of 64 bits")),
            },
            Self::Real => match field.parse::<f64>() {
                Err(_) => Some(format!("`{shown}` is not a number")),
                Ok(value) if !value.is_finite() => Some(format!("`{shown}` is not a finite number")),
                Ok(value) if value < 0.0 => Some(format!("`{shown}` is negative")),
                Ok(_) => None,
            },
        }
    }
}

/// A field fit to be shown in a message: escaped, at most 40 characters.
pub(crate) fn shorten(field: &str) -> String {
    let mut shown: String = field.chars().take(40).flat_map(char::escape_debug).collect();
    if field.chars().nth(40).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::super::header::Header;
    use super::*;

    fn kind_of(header: &str) -> Result<Kind, String> {
        let path = Path::new("f");
        Header::find(path, header.as_bytes()).unwrap().kind(path).map_err(|e| e.to_string())
    }

    #[test]
    fn the_header_tells_the_kind() {
        assert_eq!(kind_of("iteration,latency_ns,latency_us\n"), Ok(Kind::Latency));
        assert_eq!(kind_of("iteration,latency_ns,latency_us,received_ns,status,new\n"), Ok(Kind::Latency));
        assert_eq!(kind_of(&BANDWIDTH.join(",")), Ok(Kind::Bandwidth));
        assert_eq!(kind_of(&DOORBELL.join(",")), Ok(Kind::Doorbell));
    }

    #[test]
    fn headers_of_other_things_are_refused_by_name() {
        assert!(kind_of("time,price\n").unwrap_err().contains("column time: not a file of this toolkit"));
        assert!(kind_of("iteration,price\n").unwrap_err().contains("not a file of this toolkit"));
        let broadcast =
            "iteration,peers,slowest_ns,fastest_ns,spread_ns,status,received_ns_0,processed_ns_0\n";
        assert!(
            kind_of(broadcast)
                .unwrap_err()
                .starts_with("f: the rows of a broadcast, which analyze does not read")
        );
        assert_eq!(
            kind_of("iteration,latency_ns\n").unwrap_err(),
            "f, line 1, column latency_us: missing from the header of this latency file"
        );
        assert_eq!(
            kind_of("iteration,guest_wait,host_wait,rate_per_s,rtt_ns\n").unwrap_err(),
            "f, line 1, column load: missing from the header of this doorbell file"
        );
        assert_eq!(
            kind_of("iteration,latency_ns,latency_us,latency_ns\n").unwrap_err(),
            "f, line 1, column latency_ns: named twice in the header"
        );
    }

    #[test]
    fn problems_say_what_is_wrong() {
        let count = |field| ColumnType::Count.problem(field);
        assert_eq!(count("18446744073709551615"), None);
        assert_eq!(
            count("18446744073709551616").unwrap(),
            "`18446744073709551616` is larger than 18446744073709551615"
        );
        assert_eq!(count("-5").unwrap(), "`-5` is negative");
        assert_eq!(count("NaN").unwrap(), "`NaN` is not a whole number");
        assert_eq!(count("1.5").unwrap(), "`1.5` is not a whole number");
        let signed = |field| ColumnType::Signed.problem(field);
        assert_eq!(signed("-5"), None);
        assert_eq!(signed("").or(signed("0")), None);
        assert_eq!(signed("1.5").unwrap(), "`1.5` is not a whole number of 64 bits");
        let real = |field| ColumnType::Real.problem(field);
        assert_eq!(real("1.5"), None);
        assert_eq!(real("1e400").unwrap(), "`1e400` is not a finite number");
        assert_eq!(real("-inf").unwrap(), "`-inf` is not a finite number");
        assert_eq!(real("-0.5").unwrap(), "`-0.5` is negative");
        assert_eq!(real("x\u{1b}[0m").unwrap(), "`x\\u{1b}[0m` is not a number");
    }
}
