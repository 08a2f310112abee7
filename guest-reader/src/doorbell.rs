//! Being told instead of looking: how this guest rings the host, how it sleeps, and how long it looks first.

use std::time::Duration;

use ivshmem_proto::adaptive::Adaptive;
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

/// A guest's doorbell, in sessions with a host that has one.
#[derive(Debug)]
pub struct Doorbell {
    bell: Bell,
    /// What tells of messages; `None` when this guest looks.
    event: Option<Event>,
    /// How long to look before sleeping; `None` for not at all.
    adaptive: Option<Adaptive>,
    clock: Clock,
    counts: GuestCounts,
    /// The host of the present session.
    host: Option<Ring>,
    /// Something to tell the user once.
    trouble: Option<String>,
}

impl Doorbell {
    /// A doorbell that `event` rings. `clock` is the cheapest one.
    #[must_use]
    pub fn new(bell: Bell, event: Option<Event>, is_adaptive: bool, clock: Clock) -> Self {
        let adaptive = is_adaptive.then(Adaptive::default);
        Self { bell, event, adaptive, clock, counts: GuestCounts::default(), host: None, trouble: None }
    }

    /// A session was joined whose host is rung at `host`, if it can be. True when there are doorbells in that session.
    pub fn enter(&mut self, host: Option<Ring>) -> bool {
        self.host = host;
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
        if let Some(host) = self.host
            && guest.host_is_armed(phase, || self.bell.fence())
        {
            self.bell.ring(host);
            self.counts.rings_sent += 1;
            guest.show(&self.counts);
        }
    }

    /// Nothing to do: looks for a while and sleeps, as this guest is set. True when it has slept, or would have.
    #[inline]
    pub fn rest(&mut self, guest: &mut Guest<'_, Mapping>, between: impl Fn()) -> bool {
        if self.event.is_none() || guest.wish() == WaitWish::Poll {
            between();
            return false;
        }
        let start = self.clock.now();
        if let Some(adaptive) = &mut self.adaptive {
            let until = self.clock.after(start, Duration::from_nanos(adaptive.look_ns()));
            loop {
                if guest.has_news() {
                    adaptive.learn(self.clock.ns(start, self.clock.now()), false);
                    return false;
                }
                if self.clock.now() >= until {
                    break;
                }
                between();
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
        if has_news && let Some(adaptive) = &mut self.adaptive {
            adaptive.learn(self.clock.ns(start, self.clock.now()), slept);
        }
        guest.beat();
    }
}
