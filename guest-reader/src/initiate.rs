//! Asking instead of answering: the host's half of a lane, played by a guest, or by a peer on the host, against the
//! guest-reader that answers in the same lane.
//!
//! What the other side writes is taken as [`Host`] validates it: its acknowledgements carry session and number, each wait has
//! a deadline, a token that cannot be guessed shows that a message was read, and what was acknowledged before it was
//! published is no answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use ivshmem_proto::adaptive::{self, Adaptive, FIRST_LOOKS};
use ivshmem_proto::clock::{Clock, Ticks};
use ivshmem_proto::doorbell::{AT_PROCESSED, GuestWait, Ring};
use ivshmem_proto::event::{Event, Woken};
use ivshmem_proto::geometry::Geometry;
use ivshmem_proto::host::{Host, Presence};
use ivshmem_proto::lane::OtherLane;
use ivshmem_proto::layout::LAYOUT_VERSION;
use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::report::GuestReport;
use ivshmem_proto::token::{Secret, random_u64};
use ivshmem_proto::wait::{Waited, look_until, wait_until};

use crate::doorbell::{Bell, INTRODUCTION, NET};
use crate::outcome::{End, Outcome, Status};

/// Messages before those that count: the first ones meet cold caches and a peer that sleeps for long.
const WARMUP: u64 = 100;
/// Messages between two looks at what the peer ought not to do.
const MESSAGES_PER_LOOK: u64 = 1024;
/// Between two looks for somebody who answers: both guests may share a CPU of the host.
const NAP: Duration = Duration::from_millis(5);

/// How to ring, to be rung, and to wait.
#[derive(Debug)]
pub struct Way {
    /// What rings; `None` where there are no doorbells.
    pub bell: Option<Bell>,
    /// What tells of answers; `None` to look for them.
    pub event: Option<Event>,
    /// Where this side is rung.
    pub ring: Option<Ring>,
    /// How it waits, in words.
    pub wait: GuestWait,
    /// Longest wait for an answer.
    pub patience: Duration,
}

/// The asking side of one session.
#[derive(Debug)]
pub struct Initiator<'a> {
    map: &'a Mapping,
    host: Host<'a, Mapping>,
    clock: Clock,
    stop: &'a AtomicBool,
    way: Way,
    adaptive: Option<Adaptive>,
    peer_ring: Option<Ring>,
    peer_wait: GuestWait,
    /// A glance said that the peer does not sleep; a look after a full fence is owed.
    owes: bool,
    rings_sent: u64,
    rescued: u64,
}

impl<'a> Initiator<'a> {
    /// Opens a session; nobody has joined it yet.
    ///
    /// # Errors
    /// The region's size is none the layout allows.
    pub fn open(map: &'a Mapping, clock: Clock, stop: &'a AtomicBool, way: Way) -> anyhow::Result<Self> {
        let geometry = Geometry::for_payload(map.bytes(), 0)?;
        let mut host = Host::open_with_ring(map, &geometry, random_u64(), way.ring);
        host.declare(way.event.is_some());
        Ok(Self {
            map,
            host,
            clock,
            stop,
            adaptive: way.wait.adaptive.then(Adaptive::default),
            way,
            peer_ring: None,
            peer_wait: GuestWait::POLL,
            owes: false,
            rings_sent: 0,
            rescued: 0,
        })
    }

    /// Waits for somebody who answers, and learns how to ring it; false when a signal came first.
    ///
    /// # Errors
    /// Nobody does within `limit`, or it cannot be talked to.
    pub fn meet(&mut self, limit: Duration) -> anyhow::Result<bool> {
        let deadline = Instant::now() + limit;
        loop {
            match self.host.presence() {
                Presence::Attached { .. } => break,
                _ if self.stop.load(Ordering::Relaxed) => return Ok(false),
                seen if Instant::now() >= deadline => {
                    let waited = humantime::format_duration(limit);
                    bail!("nobody answers in this lane after {waited}: {}", in_words(seen, self.map))
                }
                _ => {}
            }
            self.host.beat();
            if let Some(Bell::Peers(peers)) = &mut self.way.bell {
                let _ = peers.update();
            }
            if self.host.guest_is_armed()
                && let (Some(bell), Some(ring)) = (&mut self.way.bell, self.host.guest_ring())
            {
                bell.ring(ring);
            }
            std::thread::sleep(NAP);
        }
        let report = GuestReport::read(self.map).context("the peer joined, but")?;
        ensure!(
            report.wait.can_ring || self.way.event.is_none(),
            "the peer cannot ring: it is at no server (it maps a file, or its device is ivshmem-plain); wait with --wait poll"
        );
        if let (Some(ring), Some(Bell::Peers(peers))) = (report.ring, &mut self.way.bell) {
            ensure!(
                peers.wait_for(ring, INTRODUCTION),
                "the peer says that it is rung at {ring}, and this server knows no such: is it at another server?"
            );
        }
        (self.peer_ring, self.peer_wait) = (report.ring, report.wait);
        Ok(true)
    }

    /// So many round trips, one after the other. What goes wrong on the way is part of the outcome.
    #[must_use]
    pub fn ask(mut self, messages: u64) -> Outcome {
        let mut outcome = Outcome::new(messages, WARMUP, self.way.wait, self.peer_wait);
        (outcome.ring, outcome.peer_ring) = (self.way.ring, self.peer_ring);
        let answered_before = self.host.processed().answered;
        let secret = Secret::random();
        let mut begun = self.clock.now();
        let (mut before, mut published) = ((0, 0, 0), 0);
        for number in 0..WARMUP.saturating_add(messages) {
            if number == WARMUP {
                before = self.counts();
                begun = self.clock.now();
            }
            if number.is_multiple_of(MESSAGES_PER_LOOK) {
                self.look_for_trouble(&mut outcome);
            }
            let (status, rtt_ns) = match self.round_trip(secret.token(number)) {
                Ok(trip) => trip,
                Err(end) => {
                    outcome.end = end;
                    break;
                }
            };
            published += 1;
            if number >= WARMUP {
                outcome.take(status, rtt_ns);
            }
            if matches!(status, Status::TimeoutReceived | Status::TimeoutProcessed)
                && let Err(end) = self.check_alive()
            {
                outcome.end = end;
                break;
            }
        }
        outcome.elapsed_ns = self.clock.ns(begun, self.clock.now());
        self.look_for_trouble(&mut outcome);
        let answered = self.host.processed().answered.saturating_sub(answered_before);
        outcome.duplicated = answered.saturating_sub(published);
        // What is still to be read counts, too.
        if let Some(event) = &mut self.way.event
            && event.has_come()
        {
            let _ = event.drain();
        }
        let now = self.counts();
        outcome.interrupts = now.0.saturating_sub(before.0);
        (outcome.rings_sent, outcome.rescued) = (now.1 - before.1, now.2 - before.2);
        outcome.trouble = outcome.trouble.or_else(|| self.trouble_of(outcome.end));
        self.host.close();
        outcome
    }

    /// Interrupts, rings, rescues.
    fn counts(&self) -> (u64, u64, u64) {
        (self.way.event.as_ref().map_or(0, Event::count), self.rings_sent, self.rescued)
    }

    fn trouble_of(&self, end: End) -> Option<String> {
        let last = self.host.next_sequence() - 1;
        let at = match last.checked_sub(WARMUP) {
            None | Some(0) => format!("warm-up message {last}"),
            Some(number) => format!("message {number}"),
        };
        let what = match end {
            End::Done | End::Interrupted => return None,
            End::PeerDead => "stopped answering, and its heartbeat stands still",
            End::PeerLeft => "left the server",
            End::Broken => {
                "could not be asked: the session's numbers are used up, or the interrupt's device is gone"
            }
        };
        Some(format!("the peer {what} at {at}; start it again"))
    }

    fn look_for_trouble(&mut self, outcome: &mut Outcome) {
        self.host.beat();
        while let Some(tampered) = self.host.mend() {
            outcome.tampered += 1;
            outcome.trouble.get_or_insert_with(|| tampered.to_string());
        }
    }

    fn round_trip(&mut self, token: u64) -> Result<(Status, u64), End> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(End::Interrupted);
        }
        let is_foretold = self.host.foretold().is_some();
        let start = self.clock.now();
        let sequence = self.host.publish_ping(token).map_err(|_| End::Broken)?;
        self.tell();
        let Some(seen) = self.wait(start, |host| host.is_processed(sequence))? else {
            let status = match self.host.is_received(sequence) {
                true => Status::TimeoutProcessed,
                false => Status::TimeoutReceived,
            };
            return Ok((if is_foretold { Status::ProtocolError } else { status }, 0));
        };
        let answer = self.host.processed();
        let status = match Status::of_answer(answer.status, answer.token_echo == token) {
            _ if is_foretold => Status::ProtocolError,
            status => status,
        };
        Ok((status, self.clock.ns(start, seen)))
    }

    /// Rings the peer if a glance shows that it sleeps; else a look after a full fence is owed.
    #[inline]
    fn tell(&mut self) {
        let (Some(bell), Some(ring)) = (&mut self.way.bell, self.peer_ring) else { return };
        self.owes = !self.host.guest_seems_armed();
        if !self.owes {
            bell.ring(ring);
            self.rings_sent += 1;
        }
    }

    /// Looks where a glance was not enough.
    #[inline]
    fn settle(&mut self) {
        if !std::mem::take(&mut self.owes) {
            return;
        }
        let (Some(bell), Some(ring)) = (&mut self.way.bell, self.peer_ring) else { return };
        // Where the fence in `guest_is_armed` is left out, the peer's sleep would begin unseen.
        bell.fence();
        if self.host.guest_is_armed() {
            bell.ring(ring);
            self.rings_sent += 1;
        }
    }

    /// The moment the answer was seen; `None` when it did not come in time, counted from `from`.
    fn wait(
        &mut self,
        from: Ticks,
        ready: impl Fn(&Host<'_, Mapping>) -> bool,
    ) -> Result<Option<Ticks>, End> {
        let looks_first = self.adaptive.is_some() || (self.owes && self.way.event.is_none());
        if looks_first && adaptive::look(FIRST_LOOKS, || ready(&self.host).then_some(())).is_some() {
            let seen = self.clock.now();
            self.learn(from, seen, false);
            return Ok(Some(seen));
        }
        self.settle();
        let deadline = self.clock.after(from, self.way.patience);
        if self.way.event.is_some() {
            return self.wait_asleep(from, deadline, ready);
        }
        let (host, stop) = (&self.host, self.stop);
        let ready = || ready(host).then_some(());
        match wait_until(&self.clock, deadline, ready, |_| !stop.load(Ordering::Relaxed)) {
            Waited::Done(()) => Ok(Some(self.clock.now())),
            Waited::TimedOut => Ok(None),
            Waited::Stopped => Err(End::Interrupted),
        }
    }

    fn wait_asleep(
        &mut self,
        from: Ticks,
        deadline: Ticks,
        ready: impl Fn(&Host<'_, Mapping>) -> bool,
    ) -> Result<Option<Ticks>, End> {
        if let Some(adaptive) = &self.adaptive {
            let until = self.clock.after(from, Duration::from_nanos(adaptive.look_ns()));
            if let Some(((), seen)) = look_until(&self.clock, until, || ready(&self.host).then_some(())) {
                self.learn(from, seen, false);
                return Ok(Some(seen));
            }
        }
        loop {
            let now = self.clock.now();
            if now >= deadline {
                return Ok(ready(&self.host).then_some(now));
            }
            let left = Duration::from_nanos(self.clock.ns(now, deadline));
            if let Some(seen) = self.sleep(left.min(NET), &ready)? {
                self.learn(from, seen, true);
                return Ok(Some(seen));
            }
            if self.stop.load(Ordering::Relaxed) {
                return Err(End::Interrupted);
            }
        }
    }

    fn learn(&mut self, from: Ticks, seen: Ticks, slept: bool) {
        if let Some(adaptive) = &mut self.adaptive {
            adaptive.learn(self.clock.ns(from, seen), slept);
        }
    }

    /// One sleep, unless the answer is there when the peer can see that it is to ring.
    fn sleep(
        &mut self,
        longest: Duration,
        ready: impl Fn(&Host<'_, Mapping>) -> bool,
    ) -> Result<Option<Ticks>, End> {
        let Some(event) = &mut self.way.event else { return Ok(None) };
        event.drain().map_err(|_| End::Broken)?;
        self.host.arm(AT_PROCESSED);
        if let Some(bell) = &self.way.bell {
            bell.fence();
        }
        if ready(&self.host) {
            let seen = self.clock.now();
            self.host.disarm();
            return Ok(Some(seen));
        }
        let socket = match &self.way.bell {
            Some(Bell::Peers(peers)) => peers.socket(),
            _ => None,
        };
        let woken = event.sleep(longest, socket).map_err(|_| End::Broken)?;
        let is_ready = ready(&self.host);
        let now = self.clock.now();
        self.host.disarm();
        if is_ready {
            self.rescued += u64::from(woken == Woken::Nothing && !event.has_come());
            return Ok(Some(now));
        }
        if woken == Woken::Other {
            self.check_peer()?;
        }
        Ok(None)
    }

    /// Whether the peer is still at the server, as far as a process on the host can know.
    fn check_peer(&mut self) -> Result<(), End> {
        let (Some(Bell::Peers(peers)), Some(ring)) = (&mut self.way.bell, self.peer_ring) else {
            return Ok(());
        };
        // A server that has ended takes no doorbell along.
        let _ = peers.update();
        if peers.has(ring) { Ok(()) } else { Err(End::PeerLeft) }
    }

    /// After a missed deadline: a live peer's heartbeat moves within another.
    fn check_alive(&mut self) -> Result<(), End> {
        self.check_peer()?;
        let beat = self.host.guest_heartbeat();
        let deadline = Instant::now() + self.way.patience;
        while self.host.guest_heartbeat() == beat {
            if self.stop.load(Ordering::Relaxed) {
                return Err(End::Interrupted);
            }
            if Instant::now() >= deadline {
                return Err(End::PeerDead);
            }
            std::thread::sleep(NAP.min(self.way.patience));
        }
        Ok(())
    }
}

/// What stands in the other page of the lane.
fn in_words(seen: Presence, map: &Mapping) -> String {
    match seen {
        Presence::Absent => {
            "start a guest-reader with the same --lane, or give it longer with --peer-timeout".into()
        }
        Presence::OtherLayout { version } => {
            format!(
                "the peer speaks layout version {version}, this one {LAYOUT_VERSION}; use matching builds"
            )
        }
        Presence::OtherSize { bytes } => match map.other_lanes(map.bytes(), bytes) {
            Some(OtherLane { host, guest }) => format!(
                "whoever was there last was in lane {guest} of the region, this one is in lane {host}; give both the same \
                 --lane"
            ),
            None => format!("whoever was there last used {bytes} bytes; start it with the same --lane"),
        },
        Presence::Refused => "the peer refused this session; its log says why".into(),
        Presence::Foreign { magic } => {
            format!(
                "its page starts with {magic:#018x}, which no guest-reader wrote; is something else using the region?"
            )
        }
        Presence::Announced | Presence::Attached { .. } => {
            "one was there and shows no interest; start it again, with the same --lane".into()
        }
    }
}
