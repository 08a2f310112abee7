//! Checking private copies after PROCESSED, and preparing content for fetches before they are timed.

use ivshmem_proto::descriptor::Check;
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

/// Fills `outbox` with the pattern of `token` and returns the digest of it, zeros for none.
pub fn produce(outbox: &mut [u8], token: u64, digest: Digest) -> [u64; 4] {
    fill_pattern(outbox, token);
    digest.algorithm().map_or([0; 4], |kind| digest_words(kind, outbox))
}
