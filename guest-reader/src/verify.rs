//! Checking private copies after PROCESSED, and preparing content for fetches before they are timed.

use ivshmem_proto::descriptor::{Check, FETCH_SHIFT_BYTES_MAX};
use ivshmem_proto::digest::digest_words;
use ivshmem_proto::pattern::{check_pattern, fill_pattern};
use ivshmem_proto::wire::{Digest, Verdict};

/// What the check says of `payload`, and the first wrong byte where it can tell.
#[must_use]
pub fn judge(payload: &[u8], check: &Check) -> (Verdict, Option<u64>) {
    let offset = match check.digest {
        Digest::Pattern => check_pattern(payload, check.token).map(|offset| offset as u64),
        digest => {
            let intact = digest.algorithm().is_none_or(|kind| digest_words(kind, payload) == check.expected);
            return (if intact { Verdict::Match } else { Verdict::Mismatch }, None);
        }
    };
    (if offset.is_none() { Verdict::Match } else { Verdict::Mismatch }, offset)
}

/// Fills `outbox` with `length` bytes of the pattern of `token`, and as many more as a fetch may begin further on; returns
/// the digest of the first `length`, zeros for none.
pub fn produce(outbox: &mut Vec<u8>, length: usize, token: u64, digest: Digest) -> [u64; 4] {
    outbox.resize(length + FETCH_SHIFT_BYTES_MAX, 0);
    fill_pattern(outbox, token);
    digest.algorithm().map_or([0; 4], |kind| digest_words(kind, &outbox[..length]))
}
