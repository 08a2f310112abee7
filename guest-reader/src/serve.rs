//! The loop that answers the host.
//!
//! Between a published word and its acknowledgement there is nothing but the copy: no system call, no
//! allocation, no formatting. Memory for a session's payloads is prepared before the session is joined.

use std::sync::atomic::{AtomicBool, Ordering};

use ivshmem_proto::clock::Clock;
use ivshmem_proto::copy::Kernel;
use ivshmem_proto::geometry::PayloadRange;
use ivshmem_proto::guest::{Event, Guest};
use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::memory::Payload as _;
use ivshmem_proto::wire::{Spin, Status, Verdict};
use ivshmem_proto::word::sequence_of;
use sha2::{Digest as _, Sha256};

use crate::inject::Injection;
use crate::rates::touched;

/// Looks at the published word between two heartbeats.
const LOOKS_PER_BEAT: u32 = 4096;

/// What the loop works with.
#[derive(Debug)]
pub struct Server<'a> {
    /// The region.
    pub map: &'a Mapping,
    /// The guest's half of the handshake over the same region.
    pub guest: Guest<'a, Mapping>,
    /// Times copies and hashes.
    pub clock: Clock,
    /// Copies payloads.
    pub kernel: Kernel,
    /// What to do between two looks.
    pub spin: Spin,
    /// A fault to commit.
    pub inject: Option<Injection>,
}

impl Server<'_> {
    /// Answers sessions until `stop` is set, then leaves in good order. `log` is called on rare events only,
    /// never between a message and its acknowledgement.
    pub fn serve(mut self, stop: &AtomicBool, mut log: impl FnMut(&str)) {
        match self.spin {
            Spin::None => self.answer_until(stop, &mut log, || ()),
            Spin::Pause => self.answer_until(stop, &mut log, std::hint::spin_loop),
        }
        self.guest.leave();
    }

    #[inline(always)]
    fn answer_until(&mut self, stop: &AtomicBool, log: &mut impl FnMut(&str), between: impl Fn()) {
        let mut private: Vec<u8> = Vec::new();
        let mut closed = true;
        while !stop.load(Ordering::Relaxed) {
            for _ in 0..LOOKS_PER_BEAT {
                match self.guest.poll() {
                    Event::Idle => between(),
                    Event::Ping { word, token } => {
                        if self.inject.is_none_or(|fault| !fault.drops_ack(sequence_of(word))) {
                            self.guest.complete_ping(word, token);
                        }
                    }
                    Event::Frame { word, range, digest } => {
                        self.answer_frame(word, range, digest, &mut private);
                    }
                    Event::Invited { session, geometry } => {
                        // Present, not merely reserved: no first touch may land inside a copy. A slot is smaller
                        // than the mapped region, so its size is a usize.
                        private = touched(geometry.slot_bytes() as usize);
                        self.guest.join(session, geometry);
                        closed = false;
                        log(&format!("joined session {session}"));
                    }
                    Event::Malformed { sequence, error } => {
                        log(&format!("message {sequence} refused: {error}"));
                    }
                    Event::Refused(refusal) => {
                        log(&format!("session refused: {refusal}"));
                    }
                }
            }
            self.guest.beat();
            if !closed && self.guest.host_closed() {
                closed = true;
                log("session closed by the host");
            }
        }
    }

    #[inline(never)]
    fn answer_frame(&mut self, word: u64, range: PayloadRange, digest: Option<[u8; 32]>, private: &mut [u8]) {
        let start = self.clock.now();
        let private = &mut private[..range.len()];
        self.map.read(range, private, self.kernel);
        let read_ns = self.clock.ns(start, self.clock.now());
        let status = if self.guest.is_current(word) { Status::Ok } else { Status::Superseded };
        let sequence = sequence_of(word);
        if self.inject.is_some_and(|fault| fault.drops_ack(sequence)) {
            return;
        }
        self.guest.complete(word, status, 0, read_ns);
        if self.inject.is_some_and(|fault| fault.corrupts(sequence))
            && let Some(byte) = private.first_mut()
        {
            *byte ^= 1;
        }
        if let Some(expected) = digest {
            let start = self.clock.now();
            let actual = Sha256::digest(private);
            let verify_ns = self.clock.ns(start, self.clock.now());
            let verdict = if actual.as_slice() == expected { Verdict::Match } else { Verdict::Mismatch };
            self.guest.judge(word, verdict, verify_ns);
        }
    }
}
