//! What the loop that answers does while there is nothing to answer, and after an answer.
//!
//! A trait, so that a session without doorbells runs through code in which there are none.

use ivshmem_proto::guest::Guest;
use ivshmem_proto::mapping::Mapping;

use crate::doorbell::Doorbell;

/// A way of waiting.
pub trait Waiting {
    /// Nothing to do. True when the loop should look whether it is to stop.
    fn rest(&mut self, guest: &mut Guest<'_, Mapping>) -> bool;

    /// An acknowledgement of `phase` ([`ivshmem_proto::doorbell::AT_PROCESSED`] or
    /// [`ivshmem_proto::doorbell::AT_RECEIVED`]) was stored.
    fn tell(&mut self, guest: &mut Guest<'_, Mapping>, phase: u64);

    /// The same of a ping, after which the next message may come at once: a host that is just falling asleep is rung when
    /// the next message keeps this guest waiting.
    fn tell_soon(&mut self, guest: &mut Guest<'_, Mapping>, phase: u64) {
        self.tell(guest, phase);
    }

    /// The loop ends: what is still to be told is told.
    fn finish(&mut self, _: &mut Guest<'_, Mapping>) {}

    /// What is to be told to the user.
    fn trouble(&mut self) -> Option<String> {
        None
    }
}

/// Looks again and again; what is done in between is no waiting but politeness.
#[derive(Debug)]
pub struct Looking<F>(pub F);

impl<F: Fn()> Waiting for Looking<F> {
    #[inline(always)]
    fn rest(&mut self, _: &mut Guest<'_, Mapping>) -> bool {
        self.0();
        false
    }

    #[inline(always)]
    fn tell(&mut self, _: &mut Guest<'_, Mapping>, _: u64) {}
}

/// The same, asking now and then whether to stop: what is done in between takes long.
#[derive(Debug)]
pub struct Sleeping<F>(pub F);

impl<F: Fn()> Waiting for Sleeping<F> {
    #[inline(always)]
    fn rest(&mut self, _: &mut Guest<'_, Mapping>) -> bool {
        self.0();
        true
    }

    #[inline(always)]
    fn tell(&mut self, _: &mut Guest<'_, Mapping>, _: u64) {}
}

/// Rings, and is rung.
#[derive(Debug)]
pub struct Rung<'a, F> {
    /// The doorbell.
    pub doorbell: &'a mut Doorbell,
    /// What is done between two looks.
    pub between: F,
    /// Looks between two readings of the clock.
    pub looks_per_reading: u32,
}

impl<F: Fn()> Waiting for Rung<'_, F> {
    #[inline]
    fn rest(&mut self, guest: &mut Guest<'_, Mapping>) -> bool {
        self.doorbell.rest(guest, &self.between, self.looks_per_reading)
    }

    #[inline]
    fn tell(&mut self, guest: &mut Guest<'_, Mapping>, phase: u64) {
        self.doorbell.tell(guest, phase);
    }

    #[inline]
    fn tell_soon(&mut self, guest: &mut Guest<'_, Mapping>, phase: u64) {
        self.doorbell.tell_soon(guest, phase);
    }

    fn finish(&mut self, guest: &mut Guest<'_, Mapping>) {
        self.doorbell.settle(guest);
    }

    fn trouble(&mut self) -> Option<String> {
        self.doorbell.take_trouble()
    }
}
