//! Payloads for cold caches: more of them, made beforehand, than the last-level cache holds, taken in turn.

use anyhow::{Context as _, ensure};
use ivshmem_proto::available_memory;
use ivshmem_proto::wire::Digest;

use crate::content::{self, Proof};

/// How much larger than the last-level cache the set is, in quarters.
const QUARTERS: u64 = 5;
/// The last-level cache assumed where the kernel names none.
const LLC_BYTES_ASSUMED: u64 = 64 << 20;

/// Prepared payloads of one size.
#[derive(Debug)]
pub struct WorkingSet {
    bytes: Vec<u8>,
    payload_bytes: usize,
    proofs: Vec<Proof>,
}

impl WorkingSet {
    /// Payloads of `payload_bytes` each that together exceed a last-level cache of `llc_bytes`.
    ///
    /// # Errors
    /// There is not memory enough.
    pub fn prepare(
        llc_bytes: Option<u64>,
        payload_bytes: u64,
        seed: u64,
        digest: Digest,
    ) -> anyhow::Result<Self> {
        let llc_bytes = llc_bytes.unwrap_or(LLC_BYTES_ASSUMED);
        let wanted = llc_bytes / 4 * QUARTERS;
        let available = available_memory::now().unwrap_or(u64::MAX);
        ensure!(
            wanted.saturating_add(payload_bytes) < available / 2,
            "--cache cold needs {} MiB of memory, a quarter more than the last-level cache of {} MiB, and only {} MiB are \
             available",
            wanted >> 20,
            llc_bytes >> 20,
            available >> 20
        );
        let payload_bytes = usize::try_from(payload_bytes)?.max(1);
        let count = usize::try_from(wanted)?.div_ceil(payload_bytes);
        let mut bytes = Vec::new();
        // Under a limit, and all the more when memory is locked, what is available is not all to be had.
        bytes
            .try_reserve_exact(count * payload_bytes)
            .with_context(|| format!("--cache cold: no {} MiB of memory", wanted >> 20))?;
        bytes.resize(count * payload_bytes, 0);
        Ok(Self::filled(bytes, payload_bytes, seed, digest))
    }

    /// A set of `count` payloads for a stream, which has no time to make content between two frames.
    #[must_use]
    pub fn of_count(count: usize, payload_bytes: usize, seed: u64, digest: Digest) -> Self {
        Self::filled(vec![0; count * payload_bytes], payload_bytes, seed, digest)
    }

    fn filled(mut bytes: Vec<u8>, payload_bytes: usize, seed: u64, digest: Digest) -> Self {
        let proofs = bytes
            .chunks_exact_mut(payload_bytes.max(1))
            .zip(0..)
            .map(|(payload, number)| content::produce(payload, seed, number, digest))
            .collect();
        Self { bytes, payload_bytes, proofs }
    }

    /// Its size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The payload whose turn it is, and how it can be checked.
    ///
    /// # Panics
    /// When `bytes` is not the size it was prepared for: a bug of this side.
    #[must_use]
    pub fn payload(&self, number: u64, bytes: usize) -> (&[u8], Proof) {
        assert_eq!(bytes, self.payload_bytes, "a working set is of one size");
        let index = (number % self.proofs.len() as u64) as usize;
        (&self.bytes[index * bytes..(index + 1) * bytes], self.proofs[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_take_turns_and_differ() {
        let set = WorkingSet::of_count(3, 100, 1, Digest::Xxh3);
        let (first, proof) = set.payload(0, 100);
        assert_eq!((set.bytes(), set.payload(3, 100)), (300, (first, proof)));
        assert_ne!(first, set.payload(1, 100).0);
        assert_ne!(proof, set.payload(1, 100).1);
    }

    #[test]
    fn a_set_that_does_not_fit_memory_is_refused_with_numbers() {
        let error = WorkingSet::prepare(None, 1 << 50, 1, Digest::None).unwrap_err().to_string();
        assert!(error.starts_with("--cache cold needs "), "{error}");
    }
}
