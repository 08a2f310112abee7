//! The floor under every round trip: two host threads bounce a number over two cache lines, and nothing else.
//!
//! Prints the median round trip in nanoseconds, timed one by one with the clock that host-writer uses, so that
//! the two can be divided. What a line costs depends on which slice of the cache its address falls to, so the
//! figure is the median over many pairs of lines. Usage: `floor [HOST_CPU PEER_CPU]`, by default the first and the
//! last allowed CPU.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use ivshmem_proto::affinity::{allowed_cpus, pin_current_thread};
use ivshmem_proto::clock::Clock;

const PLACES: usize = 32;
const ROUNDS: u64 = 10_000;
const WARMUP: u64 = 1_000;

/// Two words in cache lines far enough apart to share nothing, in a page of their own.
#[repr(align(4096))]
#[derive(Default)]
struct Pair {
    ping: AtomicU64,
    _gap: [u64; 31],
    pong: AtomicU64,
}

fn main() -> anyhow::Result<()> {
    let asked: Vec<u32> = std::env::args().skip(1).map(|cpu| cpu.parse()).collect::<Result<_, _>>()?;
    let cpus = if asked.is_empty() { allowed_cpus()? } else { asked };
    let (&[host, ..], &[.., peer]) = (cpus.as_slice(), cpus.as_slice()) else {
        anyhow::bail!("no CPU to run on");
    };
    anyhow::ensure!(host != peer, "the floor needs two CPUs, got {cpus:?}");
    let pairs: Vec<Pair> = (0..PLACES).map(|_| Pair::default()).collect();
    pin_current_thread(host).context("pin")?;
    let clock = Clock::calibrated();
    let mut medians_ns = Vec::with_capacity(PLACES);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Unpinned, the figure would be another's; the run would show it, so a failure is only printed.
            if let Err(errno) = pin_current_thread(peer) {
                eprintln!("floor: cannot pin to CPU {peer}: {errno}");
            }
            for Pair { ping, pong, .. } in &pairs {
                for round in 1..=ROUNDS + WARMUP {
                    while ping.load(Ordering::Acquire) != round {}
                    pong.store(round, Ordering::Release);
                }
            }
        });
        for Pair { ping, pong, .. } in &pairs {
            let mut samples_ns = Vec::with_capacity(ROUNDS as usize);
            for round in 1..=ROUNDS + WARMUP {
                let start = clock.now();
                ping.store(round, Ordering::Release);
                while pong.load(Ordering::Acquire) != round {}
                let end = clock.now();
                if round > WARMUP {
                    samples_ns.push(clock.ns(start, end));
                }
            }
            medians_ns.push(median(&mut samples_ns));
        }
    });
    println!("{}", median(&mut medians_ns));
    Ok(())
}

fn median(samples: &mut [u64]) -> u64 {
    samples.sort_unstable();
    samples[samples.len() / 2]
}
