//! The open session: the mapped region, the host's half of the handshake, the clock, and the waits on them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::bail;
use ivshmem_proto::adaptive::{self, FIRST_LOOKS};
use ivshmem_proto::clock::{Clock, Ticks};
use ivshmem_proto::descriptor::{Operation, RawDescriptor};
use ivshmem_proto::doorbell::{AT_PROCESSED, AT_RECEIVED, Ring};
use ivshmem_proto::geometry::Geometry;
use ivshmem_proto::guest::Refusal;
use ivshmem_proto::host::{Host, Outcome, Presence};
use ivshmem_proto::layout::{LAYOUT_VERSION, RING_ENTRIES};
use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::token::random_u64;
use ivshmem_proto::wait::{Waited, wait_until};
use ivshmem_proto::wire::{Kind, Status, Verdict, WaitWish};

use crate::bell::{Bell, Slept};
use crate::interference::GapWatch;
use crate::numbering::{At, Numbering};
use crate::violations::Violations;

/// Why a measurement ended before its last message. The rows so far are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// A signal asked for it.
    #[error("interrupted")]
    Interrupted,
    /// The guest's heartbeat stands still.
    #[error(
        "the guest stopped answering at {at} and its heartbeat stands still; {kept}; start the guest again",
        kept = .at.kept()
    )]
    GuestDead {
        /// The message it did not answer.
        at: At,
    },
    /// The guest is no peer of the server any more.
    #[error(
        "the guest left the server ({ring}) at {at}: its VM or its guest-reader has ended; {kept}; start it again",
        kept = .at.kept()
    )]
    GuestLeft {
        /// Where it was rung.
        ring: Ring,
        /// The latest message.
        at: At,
    },
    /// The guest did not do what was asked of it beside the test.
    #[error("the guest could not {what}: {status}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// What it answered.
        status: &'static str,
    },
    /// No guest of a broadcast is left.
    #[error("every guest is lost; the rows so far are kept; start them again")]
    NobodyLeft,
    /// The session has used up its sequence numbers.
    #[error("the session ran out of sequence numbers")]
    Exhausted,
}

/// An open session.
#[derive(Debug)]
pub struct Link<'a> {
    /// The region.
    pub map: &'a Mapping,
    /// The host's half of the handshake.
    pub host: Host<'a, Mapping>,
    /// Times everything.
    pub clock: &'a Clock,
    /// Set by a signal.
    stop: &'a AtomicBool,
    /// Longest wait for one acknowledgement, in ticks of the clock.
    timeout_ticks: u64,
    /// Notices when this thread was not running.
    pub gaps: GapWatch,
    /// What the guest did against the protocol.
    pub violations: Violations,
    /// What to call messages.
    pub numbering: Numbering,
    /// How to ring the guest and be rung, with `--server`.
    pub bell: Option<Bell>,
    /// Verdicts that were taken and still stand in the guest's ring, to notice when it changes one.
    verdicts: [Option<(u64, Option<Verdict>)>; RING_ENTRIES as usize],
}

/// What completes "the guest answered message N " when it writes a status that does not exist.
pub const NO_STATUS: &str = "with a status that means nothing";

/// Where nothing is, and what to do.
fn nobody_in(map: &Mapping, is_servers: bool) -> String {
    let region = map.path().display();
    match map.lane_of(map.bytes()).filter(|lane| !lane.is_whole()) {
        Some(lane) => format!(
            "nothing has announced itself in lane {lane} of {region}; start a guest with --lane {lane} (provision up --guest \
             micro{} --guest-args '--lane {lane}'), or take the lane of one that is there",
            if is_servers { " --doorbell --join VM" } else { "" }
        ),
        None if is_servers => format!(
            "nothing has announced itself in {region}; start one (provision up --guest micro --doorbell; in a Debian VM, \
             provision run; guest-reader --server for the native baseline), or give the --lane of one that is there"
        ),
        None => format!(
            "nothing has announced itself in {region}; start one (provision up --guest micro; in a Debian VM, provision run), \
             or guest-reader --map {region} for the native baseline"
        ),
    }
}

/// Opens a session of a host with this doorbell, if any.
fn open<'a>(map: &'a Mapping, geometry: &Geometry, bell: Option<&Bell>) -> Host<'a, Mapping> {
    let mut host = Host::open_with_ring(map, geometry, random_u64(), bell.map(Bell::own_ring));
    host.declare(bell.is_some_and(Bell::sleeps));
    host
}

impl<'a> Link<'a> {
    /// Opens a session on `map`; the guest has yet to join.
    #[must_use]
    pub fn open(
        map: &'a Mapping,
        geometry: &Geometry,
        clock: &'a Clock,
        stop: &'a AtomicBool,
        timeout: Duration,
        bell: Option<Bell>,
    ) -> Self {
        let host = open(map, geometry, bell.as_ref());
        Self { bell, ..Self::of(map, host, clock, stop, timeout) }
    }

    /// Around a session that is open, of a host whose doorbell, if any, is somebody else's care.
    #[must_use]
    pub fn of(
        map: &'a Mapping,
        host: Host<'a, Mapping>,
        clock: &'a Clock,
        stop: &'a AtomicBool,
        timeout: Duration,
    ) -> Self {
        Self {
            map,
            host,
            clock,
            stop,
            timeout_ticks: clock.after(Ticks(0), timeout).0,
            gaps: GapWatch::new(clock),
            violations: Violations::default(),
            numbering: Numbering::default(),
            bell: None,
            verdicts: Default::default(),
        }
    }

    /// Looks for what a guest that keeps to the protocol never does; true when there was something. Not for timed
    /// sections.
    pub fn look_for_trouble(&mut self) -> bool {
        let (before, numbering) = (self.violations.count(), self.numbering);
        if let Some(sequence) = self.host.foretold() {
            self.violations.add("acknowledged what had not been published", || {
                format!("the guest acknowledged {}, which had not been published", numbering.at(sequence))
            });
        }
        if let Some(tampered) = self.host.mend() {
            self.violations.add("wrote to the host's page", || tampered.to_string());
        }
        for taken in &mut self.verdicts {
            if let Some((sequence, verdict)) = *taken
                && self.host.verdict(sequence).is_some_and(|now| now.verdict != verdict)
            {
                *taken = None;
                self.violations.add("changed a verdict", || {
                    format!("the guest changed its verdict on {}", numbering.at(sequence))
                });
            }
        }
        self.violations.count() > before
    }

    /// Looks for trouble before a message is published. True when the guest has acknowledged that message already: then
    /// its acknowledgement means nothing.
    pub fn is_foretold(&mut self) -> bool {
        let is_foretold = self.host.foretold().is_some();
        self.look_for_trouble();
        is_foretold
    }

    /// A message was acknowledged before one that was published earlier.
    pub fn note_disorder(&mut self, sequence: u64) {
        let at = self.numbering.at(sequence);
        self.violations.add("acknowledged out of order", || {
            format!("the guest acknowledged a later message before {at}")
        });
    }

    /// An answer to a message that no guest gives that keeps to the protocol; `what` completes "the guest answered message
    /// N ".
    pub fn note_nonsense(&mut self, sequence: u64, what: &'static str) {
        let at = self.numbering.at(sequence);
        self.violations.add(what, || format!("the guest answered {at} {what}"));
    }

    /// What the guest says of message `sequence`, which it has acknowledged.
    pub fn outcome(&mut self, sequence: u64) -> Option<Outcome> {
        let outcome = self.host.outcome(sequence);
        match outcome {
            None => self.note_nonsense(sequence, "without a result"),
            Some(Outcome { status: None, .. }) => self.note_nonsense(sequence, NO_STATUS),
            Some(_) => {}
        }
        outcome
    }

    /// Keeps a verdict that was taken, so that a change of it is noticed.
    pub fn remember_verdict(&mut self, sequence: u64, verdict: Option<Verdict>) {
        self.verdicts[(sequence % RING_ENTRIES) as usize] = Some((sequence, verdict));
        if verdict.is_none() {
            self.note_nonsense(sequence, "with a verdict that means nothing");
        }
    }

    /// Asks the guest for something beside the test and waits for it.
    ///
    /// # Errors
    /// A signal, a guest that died, or one that says it cannot.
    pub fn ask(&mut self, descriptor: &RawDescriptor) -> anyhow::Result<Outcome> {
        let what = match Operation::from_wire(descriptor.operation).map(|o| o.kind) {
            Some(Kind::Measure) => "measure its copies",
            Some(Kind::Produce) => "prepare content",
            _ => "do what was asked",
        };
        self.look_for_trouble();
        let has_result = |host: &Host<'_, Mapping>| host.outcome(host.next_sequence()).is_some();
        if has_result(&self.host) {
            // A result that stands there already would be taken for this one's. It is spent on a message that asks the
            // same and whose answer nobody reads.
            self.publish(descriptor)?;
            if has_result(&self.host) {
                return Err(Stopped::Refused { what, status: "it answers what it was not asked" }.into());
            }
        }
        let sequence = self.publish(descriptor)?;
        // Not by PROCESSED, which a guest that broke the protocol may have left ahead of us.
        let answered = self.acknowledged(self.clock.now(), |host| host.outcome(sequence).is_some())?;
        if answered.is_none() {
            self.host.retract(sequence);
            self.check_alive(sequence)?;
            return Err(Stopped::Refused { what, status: "no answer in time (--timeout)" }.into());
        }
        match self.host.outcome(sequence) {
            Some(outcome) if outcome.status == Some(Status::Ok) => Ok(outcome),
            outcome => {
                let status =
                    outcome.and_then(|o| o.status).map_or("no answer that means anything", Status::name);
                Err(Stopped::Refused { what, status }.into())
            }
        }
    }

    /// Leaves the session for a new one, whose messages count from 1; the guest has yet to join it.
    pub fn open_next(&mut self, geometry: &Geometry) {
        self.look_for_trouble();
        (self.verdicts, self.numbering) = (Default::default(), Numbering::default());
        self.host = open(self.map, geometry, self.bell.as_ref());
    }

    /// Waits until a guest serves this session.
    ///
    /// # Errors
    /// None does before the deadline; the message says what was seen instead. Or a signal came: `Ok(false)`.
    pub fn wait_for_guest(&mut self, limit: Duration) -> anyhow::Result<bool> {
        let deadline = self.clock.after(self.clock.now(), limit);
        let (host, stop, map, bell) = (&mut self.host, self.stop, self.map, &mut self.bell);
        let first_beat = host.guest_heartbeat();
        loop {
            // Short turns, so that the host's heartbeat moves and a live guest of another layout is refused at once.
            let turn = self.clock.after(self.clock.now(), Duration::from_millis(10)).min(deadline);
            let attached = || matches!(host.presence(), Presence::Attached { .. }).then_some(());
            match wait_until(self.clock, turn, attached, |_| !stop.load(Ordering::Relaxed)) {
                Waited::Done(()) => return Ok(true),
                Waited::Stopped => return Ok(false),
                Waited::TimedOut => host.beat(),
            }
            if let Some(bell) = bell {
                bell.tell_whoever_is_there(host);
            }
            map.check_not_shrunk()?;
            let alive = host.guest_heartbeat() != first_beat;
            let expired = self.clock.now() >= deadline;
            let waited = format!("after {} s", (limit.as_secs_f64() * 1e3).round() / 1e3);
            match host.presence() {
                Presence::Attached { .. } => return Ok(true),
                Presence::OtherLayout { version } if alive || expired => bail!(
                    "the guest speaks layout version {version}, this host version {LAYOUT_VERSION}; use matching builds"
                ),
                Presence::OtherSize { bytes } if alive || expired => {
                    match map.other_lanes(map.bytes(), bytes) {
                        Some(lanes) => bail!("{lanes}"),
                        None => bail!("{}", Refusal::RegionBytes { host: map.bytes(), guest: bytes }),
                    }
                }
                Presence::Refused if alive && expired => {
                    bail!("the guest refused this session; its log says why (provision console)")
                }
                Presence::Absent if expired => bail!("no guest {waited}: {}", nobody_in(map, bell.is_some())),
                Presence::Foreign { magic } if expired => bail!(
                    "no guest {waited}: the guest page of {} starts with {magic:#018x}, which no guest-reader wrote; \
                     is something else using the region?",
                    map.path().display()
                ),
                _ if expired => bail!(
                    "no guest {waited}: an earlier one announced itself in {} and {}; start it again ({})",
                    map.path().display(),
                    if alive { "is alive but did not join" } else { "shows no sign of life" },
                    match map.lane_of(map.bytes()).filter(|lane| !lane.is_whole()) {
                        Some(lane) => format!("guest-reader --lane {lane}"),
                        None => "provision up --guest micro".to_owned(),
                    }
                ),
                _ => {}
            }
        }
    }

    /// Longest wait for one acknowledgement, in ticks of the clock.
    #[must_use]
    pub fn timeout_ticks(&self) -> u64 {
        self.timeout_ticks
    }

    /// Whether a signal asked to stop.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Spins until `ready` holds for the host's half; ends at the deadline counted from `from`, or by a signal.
    #[inline(always)]
    pub fn wait<T>(&mut self, from: Ticks, ready: impl Fn(&Host<'_, Mapping>) -> Option<T>) -> Waited<T> {
        let deadline = Ticks(from.0.saturating_add(self.timeout_ticks));
        let (host, stop, gaps) = (&self.host, self.stop, &mut self.gaps);
        let mut last = from;
        wait_until(
            self.clock,
            deadline,
            || ready(host),
            |now| {
                gaps.look(last, now);
                last = now;
                !stop.load(Ordering::Relaxed)
            },
        )
    }

    /// Publishes a message of the ring, and rings the guest if it sleeps; returns the message's number.
    ///
    /// # Errors
    /// [`Stopped::Exhausted`].
    pub fn publish(&mut self, descriptor: &RawDescriptor) -> Result<u64, Stopped> {
        let sequence = self.host.publish(descriptor).map_err(|_| Stopped::Exhausted)?;
        self.tell();
        Ok(sequence)
    }

    /// After a message was published: rings the guest if it sleeps.
    #[inline(always)]
    pub fn tell(&mut self) {
        if let Some(bell) = &mut self.bell {
            bell.tell(&self.host);
        }
    }

    /// The same before a wait for the answer: a guest that is just falling asleep is rung during that wait.
    #[inline(always)]
    pub fn tell_soon(&mut self) {
        if let Some(bell) = &mut self.bell {
            bell.tell_soon(&self.host);
        }
    }

    /// Before a wait by looking: looks a few times, and then whether the guest was just falling asleep.
    #[inline(always)]
    fn settle_unless<T>(&mut self, ready: impl Fn(&Host<'_, Mapping>) -> Option<T>) {
        let host = &self.host;
        if let Some(bell) = &mut self.bell
            && bell.owes()
            && adaptive::look(FIRST_LOOKS, || ready(host)).is_none()
        {
            bell.settle(host);
        }
    }

    /// Waits until `ready` holds for the host's half, as this host waits: asleep until rung for one of `phases`
    /// ([`AT_PROCESSED`], [`AT_RECEIVED`]), or looking. Yields the moment, too.
    ///
    /// # Errors
    /// A signal, or the guest has left the server.
    pub fn wait_told<T>(
        &mut self,
        from: Ticks,
        phases: u64,
        ready: impl Fn(&Host<'_, Mapping>) -> Option<T>,
    ) -> Result<Option<(T, Ticks)>, Stopped> {
        if !self.bell.as_ref().is_some_and(Bell::sleeps) {
            self.settle_unless(&ready);
            return match self.wait(from, &ready) {
                Waited::Done(value) => Ok(Some((value, self.clock.now()))),
                Waited::TimedOut => Ok(None),
                Waited::Stopped => Err(Stopped::Interrupted),
            };
        }
        self.wait_asleep(from, phases, ready)
    }

    fn wait_asleep<T>(
        &mut self,
        from: Ticks,
        phases: u64,
        ready: impl Fn(&Host<'_, Mapping>) -> Option<T>,
    ) -> Result<Option<(T, Ticks)>, Stopped> {
        let (clock, host, numbering) = (self.clock, &mut self.host, self.numbering);
        let Some(bell) = &mut self.bell else { return Ok(None) };
        if let Some(found) = bell.look_first(host, clock, from, &ready) {
            return Ok(Some(found));
        }
        let deadline = Ticks(from.0.saturating_add(self.timeout_ticks));
        loop {
            let now = clock.now();
            if now >= deadline {
                return Ok(ready(host).map(|found| (found, now)));
            }
            let left = Duration::from_nanos(clock.ns(now, deadline));
            match bell.sleep_unless(host, clock, phases, left, &ready) {
                Slept::Ready(found, seen) => {
                    bell.learn(clock.ns(from, seen));
                    return Ok(Some((found, seen)));
                }
                Slept::InVain => {}
                Slept::PeersChanged => {
                    bell.check_guest(numbering.at(host.next_sequence() - 1))?;
                }
                Slept::Broken(_) => bell.look_only(true),
            }
            if self.stop.load(Ordering::Relaxed) {
                return Err(Stopped::Interrupted);
            }
            if !bell.sleeps() {
                return self.wait_told(from, phases, ready);
            }
        }
    }

    /// The moment the guest's acknowledgement was seen; `None` when it did not come by the deadline, counted
    /// from `from`.
    ///
    /// # Errors
    /// A signal, or the guest has left the server.
    #[inline(always)]
    pub fn acknowledged(
        &mut self,
        from: Ticks,
        is_acknowledged: impl Fn(&Host<'_, Mapping>) -> bool,
    ) -> Result<Option<Ticks>, Stopped> {
        let seen =
            self.wait_told(from, AT_PROCESSED | AT_RECEIVED, |host| is_acknowledged(host).then_some(()));
        Ok(seen?.map(|((), seen)| seen))
    }

    /// The same by looking, whatever this host was told.
    ///
    /// # Errors
    /// [`Stopped::Interrupted`] by a signal.
    #[inline(always)]
    pub fn looked_for(
        &mut self,
        from: Ticks,
        is_acknowledged: impl Fn(&Host<'_, Mapping>) -> bool,
    ) -> Result<Option<Ticks>, Stopped> {
        self.settle_unless(|host| is_acknowledged(host).then_some(()));
        match self.wait(from, |host| is_acknowledged(host).then_some(())) {
            Waited::Done(()) => Ok(Some(self.clock.now())),
            Waited::TimedOut => Ok(None),
            Waited::Stopped => Err(Stopped::Interrupted),
        }
    }

    /// Has both sides look, or wait as they were told again.
    pub fn look_only(&mut self, only: bool) {
        self.host.wish(if only { WaitWish::Poll } else { WaitWish::AsSet });
        if let Some(bell) = &mut self.bell {
            bell.look_only(only);
            self.host.declare(bell.sleeps());
        }
    }

    /// The session's number of the latest message; 0 before the first.
    #[must_use]
    pub fn latest(&self) -> u64 {
        self.host.next_sequence() - 1
    }

    /// Whether the guest is still a peer of the server. Not for timed sections.
    ///
    /// # Errors
    /// [`Stopped::GuestLeft`].
    pub fn check_peers(&mut self) -> Result<(), Stopped> {
        let at = self.numbering.at(self.latest());
        self.bell.as_mut().map_or(Ok(()), |bell| bell.check_guest(at))
    }

    /// After a missed deadline: whether the guest still lives. A live guest's heartbeat moves within another
    /// deadline.
    ///
    /// # Errors
    /// [`Stopped::GuestDead`], [`Stopped::GuestLeft`], or [`Stopped::Interrupted`] by a signal.
    pub fn check_alive(&mut self, sequence: u64) -> Result<(), Stopped> {
        self.check_peers()?;
        self.host.beat();
        let beat = self.host.guest_heartbeat();
        match self.looked_for(self.clock.now(), |host| host.guest_heartbeat() != beat)? {
            Some(_) => Ok(()),
            None => Err(Stopped::GuestDead { at: self.numbering.at(sequence) }),
        }
    }
}
