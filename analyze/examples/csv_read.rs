//! What merely reading a CSV costs: the csv crate goes through its records, nothing is made of them. bench.sh compares
//! `analyze` with it.

use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: csv_read FILE")?;
    let begin = Instant::now();
    let mut reader = csv::Reader::from_path(path)?;
    let mut record = csv::ByteRecord::new();
    let mut rows = 0_u64;
    while reader.read_byte_record(&mut record)? {
        rows += 1;
    }
    println!("{rows} {:.6}", begin.elapsed().as_secs_f64());
    Ok(())
}
