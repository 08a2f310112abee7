//! Being told instead of looking: how this guest rings the host, how it sleeps, and how long it looks first.

use std::time::Duration;

use ivshmem_proto::adaptive::{self, Adaptive, FIRST_LOOKS};
use ivshmem_proto::clock::{Clock, Ticks};
use ivshmem_proto::cpu;
use ivshmem_proto::doorbell::{GuestCounts, Ring};
use ivshmem_proto::event::{Event, Woken};
use ivshmem_proto::guest::Guest;
use ivshmem_proto::mapping::{Mapping, Registers};
use ivshmem_proto::peers::Peers;
use ivshmem_proto::wire::WaitWish;

/// The longest sleep: the heartbeat moves, and a message whose interrupt was lost is found.
pub(crate) const NET: Duration = Duration::from_millis(100);
/// How long a native guest waits for the server to tell of the host whose session it joins.
pub(crate) const INTRODUCTION: Duration = Duration::from_secs(1);

/// What rings.
#[derive(Debug)]
pub enum Bell {
    /// The device's register.
    Registers(Registers),
    /// The host's eventfd.
    Peers(Box<Peers>),
}

impl Bell {
    /// This side's own number at the server, rung at `vector`; `None` while the device has none.
    #[must_use]
    pub fn own_ring(&self, vector: u16) -> Option<Ring> {
        match self {
            Self::Registers(registers) => registers.iv_position().map(|peer| Ring { peer, vector }),
            Self::Peers(peers) => Some(peers.own_ring()),
        }
    }

    /// Rings a peer; one that is not there is nobody's harm.
    #[inline]
    pub fn ring(&mut self, ring: Ring) {
        match self {
            Self::Registers(registers) => registers.ring(ring),
            // A host that is gone need not be rung.
            Self::Peers(peers) => {
                let _ = peers.ring(ring);
            }
        }
    }

    /// A full fence where the CPU leaves out its own.
    #[inline]
    pub fn fence(&self) {
        if let Self::Registers(registers) = self
            && cpu::is_tcg()
        {
            registers.drain_stores();
        }
    }
}

/// What waits teach. Nothing is learnt between a message and its answer, but when this guest waits again.
#[derive(Debug, Default)]
struct Learner {
    adaptive: Adaptive,
    /// Waits that ended within their first looks.
    first_looks: u32,
    /// A wait that ended while looking: from when until when.
    looked: Option<(Ticks, Ticks)>,
}

impl Learner {
    /// When to stop looking, after first looks in vain that ended at `start`.
    fn until(&mut self, clock: &Clock, start: Ticks) -> Ticks {
        if let Some((from, to)) = self.looked.take() {
            self.adaptive.learn(clock.ns(from, to), false);
        }
        self.adaptive.learn_first_looks(std::mem::take(&mut self.first_looks));
        clock.after(start, Duration::from_nanos(self.adaptive.look_ns()))
    }
}

/// A guest's doorbell, in sessions with a host that has one.
#[derive(Debug)]
pub struct Doorbell {
    bell: Bell,
    /// What tells of messages; `None` when this guest looks.
    event: Option<Event>,
    /// How long to look before sleeping; `None` for not at all.
    adaptive: Option<Learner>,
    clock: Clock,
    counts: GuestCounts,
    /// The host of the present session.
    host: Option<Ring>,
    /// Phases of which a glance said that the host does not sleep for them; a look after a full fence is owed.
    owed: u64,
    /// Something to tell the user once.
    trouble: Option<String>,
}

impl Doorbell {
    /// A doorbell that `event` rings. `clock` is the cheapest one.
    #[must_use]
    pub fn new(bell: Bell, event: Option<Event>, is_adaptive: bool, clock: Clock) -> Self {
        let adaptive = is_adaptive.then(Learner::default);
        Self {
            bell,
            event,
            adaptive,
            clock,
            counts: GuestCounts::default(),
            host: None,
            owed: 0,
            trouble: None,
        }
    }

    /// A session was joined whose host is rung at `host`, if it can be. True when there are doorbells in that session.
    pub fn enter(&mut self, host: Option<Ring>) -> bool {
        (self.host, self.owed) = (host, 0);
        if let (Some(ring), Bell::Peers(peers)) = (host, &mut self.bell)
            && !peers.wait_for(ring, INTRODUCTION)
        {
            self.trouble = Some(format!("the server knows no host at {ring}; it has to look by itself"));
        }
        host.is_some()
    }

    /// Whether this guest sleeps when it has nothing to do.
    #[must_use]
    pub fn sleeps(&self) -> bool {
        self.event.is_some()
    }

    /// What is to be told to the user.
    pub fn take_trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }

    /// An acknowledgement was stored: rings the host if it sleeps and asked for this phase.
    #[inline]
    pub fn tell(&mut self, guest: &mut Guest<'_, Mapping>, phase: u64) {
        self.owed |= phase;
        self.settle(guest);
    }

    /// The same at a glance. A host that is just falling asleep may be missed; [`Self::rest`] makes up for it.
    #[inline]
    pub fn tell_soon(&mut self, guest: &mut Guest<'_, Mapping>, phase: u64) {
        if self.host.is_none() {
            return;
        }
        if guest.host_seems_armed(phase) {
            self.ring(guest);
        } else {
            self.owed |= phase;
        }
    }

    /// Looks where a glance was not enough.
    #[inline]
    pub fn settle(&mut self, guest: &mut Guest<'_, Mapping>) {
        let owed = std::mem::take(&mut self.owed);
        if owed != 0 && self.host.is_some() && guest.host_is_armed(owed, || self.bell.fence()) {
            self.ring(guest);
        }
    }

    #[inline(never)]
    fn ring(&mut self, guest: &mut Guest<'_, Mapping>) {
        if let Some(host) = self.host {
            self.bell.ring(host);
            self.counts.rings_sent += 1;
            guest.show(&self.counts);
        }
    }

    /// Nothing to do: looks for a while and sleeps, as this guest is set. True when it has slept, or would have. `between` is
    /// done between two looks, and the clock is read after so many of them.
    #[inline]
    pub fn rest(
        &mut self,
        guest: &mut Guest<'_, Mapping>,
        between: impl Fn(),
        looks_per_reading: u32,
    ) -> bool {
        let only_looks = self.event.is_none() || guest.wish() == WaitWish::Poll;
        let news = |guest: &Guest<'_, Mapping>| guest.has_news().then_some(());
        let looks_first = if only_looks { self.owed != 0 } else { self.adaptive.is_some() };
        if looks_first && adaptive::look(FIRST_LOOKS, || news(guest)).is_some() {
            if let Some(learner) = self.adaptive.as_mut().filter(|_| !only_looks) {
                learner.first_looks = learner.first_looks.saturating_add(1);
            }
            return false;
        }
        self.settle(guest);
        if only_looks {
            between();
            return false;
        }
        let start = self.clock.now();
        if let Some(learner) = &mut self.adaptive {
            let until = learner.until(&self.clock, start);
            let mut now = start;
            while now < until {
                let look = || {
                    between();
                    news(guest)
                };
                if adaptive::look(looks_per_reading, look).is_some() {
                    // To the last reading: another one would keep the message waiting.
                    learner.looked = Some((start, now));
                    return false;
                }
                now = self.clock.now();
            }
        }
        self.sleep(guest, start);
        true
    }

    fn sleep(&mut self, guest: &mut Guest<'_, Mapping>, start: Ticks) {
        let Some(event) = &mut self.event else { return };
        let mut slept = false;
        let result = event.drain().and_then(|()| {
            self.counts.interrupts = event.count();
            guest.show(&self.counts);
            guest.arm();
            self.bell.fence();
            if guest.has_news() {
                return Ok(None);
            }
            slept = true;
            let socket = match &self.bell {
                Bell::Peers(peers) => peers.socket(),
                Bell::Registers(_) => None,
            };
            event.sleep(NET, socket).map(Some)
        });
        guest.disarm();
        let has_news = guest.has_news();
        match result {
            Ok(Some(Woken::Nothing)) if has_news => self.counts.rescued += u64::from(!event.has_come()),
            Ok(Some(Woken::Other)) => {
                if let Bell::Peers(peers) = &mut self.bell
                    && let Err(error) = peers.update()
                {
                    self.trouble = Some(error.to_string());
                }
            }
            Ok(_) => {}
            Err(error) => {
                self.trouble = Some(format!("{error}; looking instead from now on"));
                self.event = None;
            }
        }
        if has_news && let Some(learner) = &mut self.adaptive {
            learner.adaptive.learn(self.clock.ns(start, self.clock.now()), slept);
        }
        guest.beat();
    }
}
