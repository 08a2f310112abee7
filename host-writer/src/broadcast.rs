//! One message to many guests: published in every lane, then rung where somebody sleeps, then waited for until the last
//! guest has done with it.
//!
//! Each guest has a lane, and with it a session, of its own; one vector of this host is rung by all. The words in the lanes
//! are the truth, so it does not matter whose ring woke us. A guest that is lost is asked no more; the others go on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use ivshmem_proto::adaptive::Adaptive;
use ivshmem_proto::clock::{Clock, Ticks};
use ivshmem_proto::doorbell::{AT_PROCESSED, Ring};
use ivshmem_proto::event::{Event, Woken};
use ivshmem_proto::geometry::Geometry;
use ivshmem_proto::host::Host;
use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::peers::Peers;
use ivshmem_proto::report::GuestReport;
use ivshmem_proto::token::{Secret, random_u64};
use ivshmem_proto::wait::{Waited, look_until, wait_until};

use crate::bell::{HostCounts, INTRODUCTION, NET, SERVER_HAS_ENDED};
use crate::cli::HostWait;
use crate::config::BroadcastPlan;
use crate::interference::GapWatch;
use crate::latency::pace;
use crate::link::{Link, NO_STATUS, Stopped};
use crate::numbering::Numbering;
use crate::progress::Progress;
use crate::status::RowStatus;

/// Messages between two looks at the server, at the progress bar, and at what guests ought not to do.
const MESSAGES_PER_LOOK: u64 = 4096;

/// What became of a message in one lane, in ticks since it was published in the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// When RECEIVED was seen; never by a host that sleeps.
    pub received_ticks: Option<u64>,
    /// When PROCESSED was seen.
    pub processed_ticks: Option<u64>,
    /// How it ended.
    pub status: RowStatus,
}

/// What became of all messages, lane by lane; `None` where the guest was lost before.
#[derive(Debug)]
pub struct Rows {
    lanes: usize,
    answers: Vec<Option<Answer>>,
}

impl Rows {
    /// Room for so many messages.
    ///
    /// # Errors
    /// There is not memory enough.
    pub fn reserve(lanes: u64, messages: u64) -> anyhow::Result<Self> {
        let no_memory =
            || anyhow!("no memory for {messages} messages to {lanes} guests; give fewer --messages");
        let lanes = usize::try_from(lanes)?;
        let mut answers = Vec::new();
        let room = usize::try_from(messages)?.checked_mul(lanes).with_context(no_memory)?;
        answers.try_reserve_exact(room).map_err(|_| no_memory())?;
        Ok(Self { lanes, answers })
    }

    /// One message more.
    pub fn take(&mut self, answers: impl Iterator<Item = Option<Answer>>) {
        self.answers.extend(answers);
    }

    /// Lanes.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// Message by message.
    pub fn iter(&self) -> impl Iterator<Item = &[Option<Answer>]> {
        self.answers.chunks_exact(self.lanes)
    }
}

/// Why a guest is asked no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// It left the server, or stopped answering.
    pub why: &'static str,
    /// The message it happened at, warm-up included.
    pub sequence: u64,
}

/// A guest and its lane.
#[derive(Debug)]
pub struct Member<'a> {
    /// Its session.
    pub link: Link<'a>,
    /// What it says of itself.
    pub guest: Option<GuestReport>,
    /// Whether it is asked no more.
    pub lost: Option<Lost>,
    ring: Option<Ring>,
    sequence: u64,
    is_foretold: bool,
    /// Whether the latest message went to it, and whether it is waited for.
    is_asked: bool,
    is_pending: bool,
    answer: Answer,
}

impl Member<'_> {
    /// Where it is rung.
    #[must_use]
    pub fn ring(&self) -> Option<Ring> {
        self.ring
    }

    fn lose(&mut self, why: &'static str) {
        self.is_pending = false;
        self.lost.get_or_insert(Lost { why, sequence: self.sequence });
    }

    /// Sorts out how the latest message ended.
    fn conclude(&mut self, token: u64) {
        let host = &self.link.host;
        self.is_pending = false;
        self.answer.status = if self.answer.processed_ticks.is_some() {
            let processed = host.processed();
            match RowStatus::of_guest(processed.status) {
                RowStatus::Ok if processed.token_echo != token => RowStatus::Mismatch,
                status => status,
            }
        } else if host.is_received(self.sequence) {
            RowStatus::TimeoutProcessed
        } else {
            RowStatus::TimeoutReceived
        };
        if self.is_foretold || (self.answer.status != RowStatus::Ok && self.link.look_for_trouble()) {
            self.link.look_for_trouble();
            self.answer.status = RowStatus::ProtocolError;
        } else if self.answer.status == RowStatus::ProtocolError {
            self.link.note_nonsense(self.sequence, NO_STATUS);
        }
    }
}

/// The guests of a broadcast, and how they are told and waited for.
#[derive(Debug)]
pub struct Group<'a> {
    /// By lane.
    pub members: Vec<Member<'a>>,
    /// Notices when this thread was not running.
    pub gaps: GapWatch,
    peers: Peers,
    event: Event,
    wait: HostWait,
    adaptive: Adaptive,
    clock: &'a Clock,
    stop: &'a AtomicBool,
    timeout: Duration,
    counts: HostCounts,
}

impl<'a> Group<'a> {
    /// Opens a session in each of `lanes`; nobody has joined one yet.
    ///
    /// # Errors
    /// A lane is too small, or there are no more descriptors.
    pub fn open(
        lanes: impl Iterator<Item = &'a Mapping>,
        peers: Peers,
        wait: HostWait,
        clock: &'a Clock,
        stop: &'a AtomicBool,
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        let ring = peers.own_ring();
        let member = |map: &'a Mapping| {
            let geometry = Geometry::for_payload(map.bytes(), 0)?;
            let mut host = Host::open_with_ring(map, &geometry, random_u64(), Some(ring));
            host.declare(wait != HostWait::Poll);
            Ok(Member {
                link: Link::of(map, host, clock, stop, timeout),
                guest: None,
                lost: None,
                ring: None,
                sequence: 0,
                is_foretold: false,
                is_asked: false,
                is_pending: false,
                answer: Answer {
                    received_ticks: None,
                    processed_ticks: None,
                    status: RowStatus::TimeoutReceived,
                },
            })
        };
        Ok(Self {
            members: lanes.map(member).collect::<anyhow::Result<_>>()?,
            gaps: GapWatch::new(clock),
            event: peers.own_event()?,
            peers,
            wait,
            adaptive: Adaptive::default(),
            clock,
            stop,
            timeout,
            counts: HostCounts::default(),
        })
    }

    /// Where the guests ring this host.
    #[must_use]
    pub fn own_ring(&self) -> Ring {
        self.peers.own_ring()
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> HostCounts {
        HostCounts { interrupts: self.event.count(), ..self.counts }
    }

    /// Waits until there is a guest in every lane, and learns how to ring each; false when a signal came first.
    ///
    /// # Errors
    /// A lane without a guest after `limit`, or with one that cannot be talked to.
    pub fn meet(&mut self, limit: Duration) -> anyhow::Result<bool> {
        let deadline = Instant::now() + limit;
        let count = self.members.len();
        for index in 0..count {
            let lane = || format!("lane {index}/{count}");
            // Those that sleep have been told by nobody yet.
            let _ = self.peers.update();
            for member in &self.members {
                let host = &member.link.host;
                if let Some(ring) = host.guest_ring().filter(|_| host.guest_is_armed()) {
                    self.peers.ring(ring);
                }
            }
            let member = &mut self.members[index];
            let left = deadline.saturating_duration_since(Instant::now());
            if !member.link.wait_for_guest(left).with_context(lane)? {
                return Ok(false);
            }
            let guest =
                GuestReport::read(member.link.map).context("the guest joined, but").with_context(lane)?;
            ensure!(
                guest.wait.can_ring || self.wait == HostWait::Poll,
                "{}: the guest cannot ring: it is no peer of the server; wait with --wait poll",
                lane()
            );
            if let Some(ring) = guest.ring {
                ensure!(
                    self.peers.wait_for(ring, INTRODUCTION),
                    "{}: the guest says that it is rung at {ring}, and this server knows no such: is it at another server?",
                    lane()
                );
            }
            (member.ring, member.guest) = (guest.ring, Some(guest));
        }
        Ok(true)
    }

    /// Sends all messages; rows are taken in as they come, so that they survive an early end. `before_counting` is called
    /// between the warm-up and the first that counts.
    ///
    /// # Errors
    /// A signal, or every guest is lost.
    pub fn run(
        &mut self,
        plan: &BroadcastPlan,
        rows: &mut Rows,
        progress: &Progress,
        mut before_counting: impl FnMut(&Self),
    ) -> Result<(), Stopped> {
        for member in &mut self.members {
            member.link.numbering = Numbering::rows_after_warmup(0, plan.warmup);
        }
        let secret = Secret::random();
        let interval_ticks = self.clock.after(Ticks(0), plan.interval).0;
        let mut due = self.clock.now();
        for number in 0..plan.warmup.saturating_add(plan.messages) {
            if number == plan.warmup {
                before_counting(self);
            }
            if number.is_multiple_of(MESSAGES_PER_LOOK) {
                progress.at(number);
                self.look_around();
            }
            if interval_ticks > 0 {
                due = Ticks(due.0.saturating_add(interval_ticks));
                pace(self.clock, due, self.wait == HostWait::Poll, || self.stop.load(Ordering::Relaxed));
            }
            self.exchange(secret.token(number))?;
            if number >= plan.warmup {
                rows.take(self.members.iter().map(|member| member.is_asked.then_some(member.answer)));
            }
            if self.members.iter().any(|member| member.lost.is_none() && member.answer.status.is_timeout()) {
                self.look_for_the_lost()?;
                due = self.clock.now();
            }
            if self.members.iter().all(|member| member.lost.is_some()) {
                return Err(Stopped::NobodyLeft);
            }
        }
        Ok(())
    }

    fn look_around(&mut self) {
        for member in &mut self.members {
            member.link.host.beat();
            member.link.look_for_trouble();
        }
        self.check_peers();
    }

    /// Whoever is no peer any more is lost. A server that has ended is told of once.
    fn check_peers(&mut self) {
        if self.peers.update().is_err() {
            eprintln!("host-writer: {SERVER_HAS_ENDED}");
        }
        for member in &mut self.members {
            if member.ring.is_some_and(|ring| !self.peers.has(ring)) {
                member.lose("left the server");
            }
        }
    }

    /// After a missed deadline: whoever's heartbeat stands still is lost.
    fn look_for_the_lost(&mut self) -> Result<(), Stopped> {
        self.check_peers();
        for member in &mut self.members {
            if member.lost.is_none() && member.answer.status.is_timeout() {
                match member.link.check_alive(member.sequence) {
                    Err(Stopped::Interrupted) => return Err(Stopped::Interrupted),
                    Err(_) => member.lose("stopped answering"),
                    Ok(()) => {}
                }
            }
        }
        Ok(())
    }

    /// One message to all, and all their answers.
    fn exchange(&mut self, token: u64) -> Result<(), Stopped> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Stopped::Interrupted);
        }
        for member in &mut self.members {
            member.is_asked = member.lost.is_none();
            member.is_foretold = member.link.host.foretold().is_some();
        }
        let start = self.clock.now();
        // In memory for all before anybody is rung: a ring is a system call, and the next guest would wait for it.
        for member in self.members.iter_mut().filter(|member| member.is_asked) {
            (member.answer.received_ticks, member.answer.processed_ticks) = (None, None);
            member.sequence = member.link.host.publish_ping(token).map_err(|_| Stopped::Exhausted)?;
            member.is_pending = true;
        }
        for member in self.members.iter_mut().filter(|member| member.is_asked) {
            if let Some(ring) = member.ring.filter(|_| member.link.host.guest_is_armed()) {
                self.peers.ring(ring);
                self.counts.rings_sent += 1;
            }
        }
        let ended = match self.wait {
            HostWait::Poll => self.wait_looking(start),
            HostWait::Doorbell | HostWait::Adaptive => self.wait_asleep(start),
        };
        for member in self.members.iter_mut().filter(|member| member.is_asked) {
            member.conclude(token);
        }
        ended
    }

    fn wait_looking(&mut self, start: Ticks) -> Result<(), Stopped> {
        let deadline = self.clock.after(start, self.timeout);
        let (clock, members, gaps, stop) = (self.clock, &mut self.members, &mut self.gaps, self.stop);
        let mut last = start;
        let all = || look(members, clock, start, true).then_some(());
        let waited = wait_until(clock, deadline, all, |now| {
            gaps.look(last, now);
            last = now;
            !stop.load(Ordering::Relaxed)
        });
        if matches!(waited, Waited::Stopped) { Err(Stopped::Interrupted) } else { Ok(()) }
    }

    fn wait_asleep(&mut self, start: Ticks) -> Result<(), Stopped> {
        if self.wait == HostWait::Adaptive {
            let (clock, members) = (self.clock, &mut self.members);
            let until = clock.after(start, Duration::from_nanos(self.adaptive.look_ns()));
            let all = || look(members, clock, start, false).then_some(());
            if let Some(((), now)) = look_until(clock, until, all) {
                self.adaptive.learn(clock.ns(start, now), false);
                return Ok(());
            }
        }
        for member in self.members.iter_mut().filter(|member| member.is_pending) {
            member.link.host.arm(AT_PROCESSED);
        }
        let ended = self.sleep_for_all(start);
        for member in &mut self.members {
            member.link.host.disarm();
        }
        self.adaptive.learn(self.clock.ns(start, self.clock.now()), true);
        ended
    }

    /// Every guest that is waited for knows that it is to ring.
    fn sleep_for_all(&mut self, start: Ticks) -> Result<(), Stopped> {
        let deadline = self.clock.after(start, self.timeout);
        let pending = |members: &[Member<'_>]| members.iter().filter(|member| member.is_pending).count();
        loop {
            // First what came, then a look, then a sleep that anything later ends.
            if self.event.drain().is_err() {
                self.wait = HostWait::Poll;
                return self.wait_looking(start);
            }
            let now = self.clock.now();
            if look(&mut self.members, self.clock, start, false) || now >= deadline {
                return Ok(());
            }
            let left = Duration::from_nanos(self.clock.ns(now, deadline));
            let before = pending(&self.members);
            let woken = self.event.sleep(left.min(NET), self.peers.socket());
            look(&mut self.members, self.clock, start, false);
            match woken {
                Ok(Woken::Nothing) if pending(&self.members) < before => {
                    self.counts.rescued += u64::from(!self.event.has_come());
                }
                Ok(Woken::Other) => self.check_peers(),
                Ok(_) => {}
                Err(_) => {
                    self.wait = HostWait::Poll;
                    return self.wait_looking(start);
                }
            }
            if self.stop.load(Ordering::Relaxed) {
                return Err(Stopped::Interrupted);
            }
        }
    }
}

/// Looks once at every lane that is waited for; true when none is left.
#[inline(always)]
fn look(members: &mut [Member<'_>], clock: &Clock, start: Ticks, sees_received: bool) -> bool {
    let mut is_all = true;
    for member in members.iter_mut().filter(|member| member.is_pending) {
        let (host, answer) = (&member.link.host, &mut member.answer);
        let since = || clock.now().0.saturating_sub(start.0);
        if sees_received && answer.received_ticks.is_none() && host.is_received(member.sequence) {
            answer.received_ticks = Some(since());
        }
        if host.is_processed(member.sequence) {
            let ticks = since();
            answer.processed_ticks = Some(ticks);
            if sees_received {
                // Both came between two looks.
                answer.received_ticks.get_or_insert(ticks);
            }
            member.is_pending = false;
        } else {
            is_all = false;
        }
    }
    is_all
}
