//! `bandwidth_results.csv`: one row a frame; the first twelve columns are the prototype's.

use std::io::{self, Write};

use ivshmem_proto::copy::Kernel;
use serde::Serialize;

use crate::bandwidth::Row;
use crate::config::BandwidthPlan;

/// The columns.
pub const HEADER: &str = "iteration,frame_type,width,height,bpp,test_size_bytes,test_size_mb,duration_ns,duration_ms,\
     bandwidth_mbps,bandwidth_gbps,data_verified,write_ns,notify_ns,read_ns,verify_ns,status,guest_read_ns,guest_verify_ns,\
     mode,direction,cache,consume,verify,chunk_bytes,slots,copy_kernel,guest_copy_kernel,guest_stall_ns,start_ns,\
     from_due_ns,late,gap_ns,switches,mismatch_offset";

/// Room a row may take, for allocating the file beforehand.
pub const ROW_BYTES_MAX: u64 = 512;

const MIB: f64 = 1048576.0;

/// A row as it stands in the file. The prototype's `mb`, `mbps` and `gbps` are MiB, MiB/s and GiB/s.
#[derive(Debug, Serialize)]
struct WireRow {
    iteration: u64,
    frame_type: String,
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
    write_ns: Option<u64>,
    notify_ns: Option<u64>,
    read_ns: Option<u64>,
    verify_ns: Option<u64>,
    status: &'static str,
    guest_read_ns: Option<u64>,
    guest_verify_ns: Option<u64>,
    mode: &'static str,
    direction: &'static str,
    cache: &'static str,
    consume: &'static str,
    verify: &'static str,
    chunk_bytes: Option<u64>,
    slots: u64,
    copy_kernel: &'static str,
    guest_copy_kernel: Option<&'static str>,
    guest_stall_ns: Option<u64>,
    start_ns: u64,
    from_due_ns: Option<u64>,
    late: Option<u8>,
    gap_ns: u64,
    switches: u64,
    mismatch_offset: Option<u64>,
}

impl WireRow {
    fn of(row: &Row, plan: &BandwidthPlan) -> Self {
        let ((width, height, bpp), bytes) = (row.size.picture(), row.size.bytes());
        let mib = bytes as f64 / MIB;
        let t = &row.transfer;
        let mib_per_s = t.duration_ns.filter(|&ns| ns > 0).map(|ns| mib * 1e9 / ns as f64);
        Self {
            iteration: row.iteration,
            frame_type: row.size.name(),
            width,
            height,
            bpp,
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
            guest_read_ns: t.guest_copy_ns,
            guest_verify_ns: t.guest_verify_ns,
            mode: plan.mode.name(),
            direction: t.direction.name(),
            cache: plan.cache.name(),
            consume: plan.consume.name(),
            verify: t.digest.name(),
            chunk_bytes: plan.mode.chunk_bytes(),
            slots: row.slots,
            copy_kernel: row.kernel.name(),
            guest_copy_kernel: row.guest_kernel.map(Kernel::name),
            guest_stall_ns: t.guest_stall_ns,
            start_ns: row.start_ns,
            from_due_ns: row.from_due_ns,
            late: row.late.map(u8::from),
            gap_ns: row.gap_ns,
            switches: row.switches,
            mismatch_offset: t.mismatch_offset,
        }
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
pub fn write(out: &mut dyn Write, rows: &[Row], plan: &BandwidthPlan) -> io::Result<()> {
    // The header by itself: serde would write it with the first row, and there may be none.
    writeln!(out, "{HEADER}")?;
    let mut csv = csv::WriterBuilder::new().has_headers(false).from_writer(out);
    for row in rows {
        csv.serialize(WireRow::of(row, plan)).map_err(io::Error::other)?;
    }
    csv.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Args, Direction};
    use crate::config::{Config, PayloadSize};
    use crate::status::RowStatus;
    use crate::transfer::Transfer;
    use clap::Parser as _;
    use ivshmem_proto::clock::Ticks;
    use ivshmem_proto::frame::FrameFormat;
    use ivshmem_proto::wire::Digest;

    #[test]
    fn a_payload_becomes_the_contracted_columns() {
        let lost = Transfer::published(7, Direction::HostToGuest, Digest::Sha256, Ticks(0));
        let transfer = Transfer {
            duration_ns: Some(10_000_000),
            write_ns: Some(2_000_000),
            notify_ns: Some(200),
            read_ns: Some(7_999_800),
            verify_ns: Some(300_000_000),
            guest_copy_ns: Some(7_990_000),
            guest_stall_ns: Some(0),
            guest_verify_ns: Some(299_000_000),
            verified: true,
            status: RowStatus::Ok,
            ..lost
        };
        let size = PayloadSize::Frame(FrameFormat::Uhd4k);
        let ok = Row { kernel: Kernel::Avx2Nt, start_ns: 5, switches: 1, ..Row::sample(size, transfer) };
        let lost = Transfer { write_ns: Some(9), ..lost };
        let lost =
            Row { iteration: 2, transfer: lost, size: PayloadSize::Bytes(4096), late: Some(true), ..ok };
        let config = Config::try_from(Args::parse_from(["host-writer"])).unwrap();
        let mut text = Vec::new();
        write(&mut text, &[ok, lost], &config.bandwidth.unwrap()).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "iteration,frame_type,width,height,bpp,test_size_bytes,test_size_mb,duration_ns,duration_ms,\
             bandwidth_mbps,bandwidth_gbps,data_verified,write_ns,notify_ns,read_ns,verify_ns,status,guest_read_ns,\
             guest_verify_ns,mode,direction,cache,consume,verify,chunk_bytes,slots,copy_kernel,guest_copy_kernel,\
             guest_stall_ns,start_ns,from_due_ns,late,gap_ns,switches,mismatch_offset\n\
             1,4k,3840,2160,24,24883200,23.730469,10000000,10.0,2373.046875,2.317429,1,2000000,200,7999800,\
             300000000,ok,7990000,299000000,whole,host-to-guest,warm,copy,sha256,,2,avx2_nt,,0,5,,,0,1,\n\
             2,4KiB,0,0,0,4096,0.003906,,,,,0,9,,,,timeout_received,,,whole,host-to-guest,warm,copy,sha256,,2,\
             avx2_nt,,,5,,1,0,1,\n"
        );
    }
}
