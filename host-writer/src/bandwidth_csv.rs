//! `bandwidth_results.csv`: one row a frame; the first twelve columns are the prototype's.

use std::io::{self, Write};

use ivshmem_proto::frame::{BITS_PER_PIXEL, FrameFormat};
use serde::Serialize;

use crate::bandwidth::Row;

/// The columns.
pub const HEADER: &str = "iteration,frame_type,width,height,bpp,test_size_bytes,test_size_mb,duration_ns,duration_ms,\
     bandwidth_mbps,bandwidth_gbps,data_verified,write_ns,notify_ns,read_ns,verify_ns,status,guest_read_ns,guest_verify_ns";

/// Room a row may take, for allocating the file beforehand.
pub const ROW_BYTES_MAX: u64 = 320;

const MIB: f64 = 1048576.0;

/// A row as it stands in the file. The prototype's `mb`, `mbps` and `gbps` are MiB, MiB/s and GiB/s.
#[derive(Debug, Serialize)]
struct WireRow {
    iteration: u64,
    frame_type: &'static str,
    width: u32,
    height: u32,
    bpp: u32,
    test_size_bytes: u64,
    test_size_mb: f64,
    duration_ns: Option<u64>,
    duration_ms: Option<f64>,
    bandwidth_mbps: Option<f64>,
    bandwidth_gbps: Option<f64>,
    data_verified: u8,
    write_ns: u64,
    notify_ns: Option<u64>,
    read_ns: Option<u64>,
    verify_ns: Option<u64>,
    status: &'static str,
    guest_read_ns: Option<u64>,
    guest_verify_ns: Option<u64>,
}

impl From<&Row> for WireRow {
    fn from(row: &Row) -> Self {
        let FrameSize { width, height, bytes } = FrameSize::of(row.format);
        let mib = bytes as f64 / MIB;
        let t = &row.transfer;
        let mib_per_s = t.duration_ns.filter(|&ns| ns > 0).map(|ns| mib * 1e9 / ns as f64);
        Self {
            iteration: row.iteration,
            frame_type: row.format.name(),
            width,
            height,
            bpp: BITS_PER_PIXEL,
            test_size_bytes: bytes,
            test_size_mb: rounded(mib),
            duration_ns: t.duration_ns,
            duration_ms: t.duration_ns.map(|ns| ns as f64 / 1e6),
            bandwidth_mbps: mib_per_s.map(rounded),
            bandwidth_gbps: mib_per_s.map(|rate| rounded(rate / 1024.0)),
            data_verified: t.verified.into(),
            write_ns: t.write_ns,
            notify_ns: t.notify_ns,
            read_ns: t.read_ns,
            verify_ns: t.verify_ns,
            status: t.status.name(),
            guest_read_ns: t.guest_read_ns,
            guest_verify_ns: t.guest_verify_ns,
        }
    }
}

struct FrameSize {
    width: u32,
    height: u32,
    bytes: u64,
}

impl FrameSize {
    fn of(format: FrameFormat) -> Self {
        Self { width: format.width(), height: format.height(), bytes: format.bytes() }
    }
}

/// To six decimals: more would be noise.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// Writes all rows.
///
/// # Errors
/// The writer's.
pub fn write(out: &mut dyn Write, rows: &[Row]) -> io::Result<()> {
    // The header by itself: serde would write it with the first row, and there may be none.
    writeln!(out, "{HEADER}")?;
    let mut csv = csv::WriterBuilder::new().has_headers(false).from_writer(out);
    for row in rows {
        csv.serialize(WireRow::from(row)).map_err(io::Error::other)?;
    }
    csv.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::RowStatus;
    use crate::transfer::Transfer;

    #[test]
    fn a_frame_becomes_the_contracted_columns() {
        let transfer = Transfer {
            sequence: 7,
            duration_ns: Some(10_000_000),
            write_ns: 2_000_000,
            notify_ns: Some(200),
            read_ns: Some(7_999_800),
            verify_ns: Some(300_000_000),
            guest_read_ns: Some(7_990_000),
            guest_verify_ns: Some(299_000_000),
            verified: true,
            status: RowStatus::Ok,
        };
        let ok = Row { iteration: 1, format: FrameFormat::Uhd4k, transfer };
        let transfer = Transfer {
            duration_ns: None,
            notify_ns: None,
            read_ns: None,
            verify_ns: None,
            guest_read_ns: None,
            guest_verify_ns: None,
            verified: false,
            status: RowStatus::TimeoutReceived,
            ..transfer
        };
        let lost = Row { iteration: 2, transfer, ..ok };
        let mut text = Vec::new();
        write(&mut text, &[ok, lost]).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "iteration,frame_type,width,height,bpp,test_size_bytes,test_size_mb,duration_ns,duration_ms,\
             bandwidth_mbps,bandwidth_gbps,data_verified,write_ns,notify_ns,read_ns,verify_ns,status,guest_read_ns,\
             guest_verify_ns\n\
             1,4k,3840,2160,24,24883200,23.730469,10000000,10.0,2373.046875,2.317429,1,2000000,200,7999800,\
             300000000,ok,7990000,299000000\n\
             2,4k,3840,2160,24,24883200,23.730469,,,,,0,2000000,,,,timeout_received,,\n"
        );
    }
}
