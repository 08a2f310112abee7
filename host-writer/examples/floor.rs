//! The floor under every round trip: two host threads bounce a number over two cache lines, and nothing else.
//!
//! Prints the median round trip in nanoseconds, timed one by one with the clock that host-writer uses, so that
//! the two can be divided. Usage: `floor [HOST_CPU PEER_CPU]`, by default the first two allowed CPUs.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use ivshmem_proto::affinity::{allowed_cpus, pin_current_thread};
use ivshmem_proto::clock::Clock;

const ROUNDS: u64 = 200_000;
const WARMUP: u64 = 1_000;

/// A word with a pair of cache lines to itself.
#[repr(align(128))]
struct Line(AtomicU64);

static PING: Line = Line(AtomicU64::new(0));
static PONG: Line = Line(AtomicU64::new(0));

fn main() -> anyhow::Result<()> {
    let asked: Vec<u32> = std::env::args().skip(1).map(|cpu| cpu.parse()).collect::<Result<_, _>>()?;
    let cpus = if asked.is_empty() { allowed_cpus()? } else { asked };
    let &[host, peer, ..] = cpus.as_slice() else { anyhow::bail!("the floor needs two CPUs, got {cpus:?}") };
    pin_current_thread(host).context("pin")?;
    let echo = std::thread::spawn(move || {
        pin_current_thread(peer)?;
        for round in 1..=ROUNDS + WARMUP {
            while PING.0.load(Ordering::Acquire) != round {}
            PONG.0.store(round, Ordering::Release);
        }
        anyhow::Ok(())
    });
    let clock = Clock::calibrated();
    let mut samples_ns = Vec::with_capacity(ROUNDS as usize);
    for round in 1..=ROUNDS + WARMUP {
        let start = clock.now();
        PING.0.store(round, Ordering::Release);
        while PONG.0.load(Ordering::Acquire) != round {}
        let end = clock.now();
        if round > WARMUP {
            samples_ns.push(clock.ns(start, end));
        }
    }
    echo.join().map_err(|_| anyhow::anyhow!("the echoing thread panicked"))??;
    samples_ns.sort_unstable();
    println!("{}", samples_ns[samples_ns.len() / 2]);
    Ok(())
}
