//! The latency test: one message at a time, each timed to both acknowledgements.
//!
//! In a closed loop the next message waits for the last; in an open loop messages are due on a schedule and latency
//! counts from the due time.

use std::time::Duration;

use anyhow::anyhow;
use hdrhistogram::Histogram;
use ivshmem_proto::clock::{Clock, Ticks};
use ivshmem_proto::copy::Kernel;
use ivshmem_proto::descriptor::Operation;
use ivshmem_proto::doorbell::{AT_PROCESSED, AT_RECEIVED};
use ivshmem_proto::geometry::{Geometry, PayloadRange};
use ivshmem_proto::host::Host;
use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::memory::Payload as _;
use ivshmem_proto::token::{Secret, random_u64};
use ivshmem_proto::wire::Kind;

use crate::bell::Bell;
use crate::cli::{HostWait, Record};
use crate::config::{Extent, LatencyPlan, Pace};
use crate::hgrm;
use crate::link::{Link, NO_STATUS, Stopped};
use crate::numbering::Numbering;
use crate::progress::Progress;
use crate::schedule::{Kept, OpenLoop, Schedule};
use crate::status::{Counts, RowStatus};
use crate::usage::Usage;

/// Messages between two looks at the progress bar.
const MESSAGES_PER_PROGRESS: u64 = 4096;
/// Exchanges of timestamps before and after the test.
const BURST: u64 = 1000;

/// One message, in ticks of the link's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When it was published.
    pub start: Ticks,
    /// Due time to publication; zero in a closed loop.
    pub delay_ticks: u64,
    /// Publication to RECEIVED, when that came.
    pub received_ticks: Option<u64>,
    /// Publication to PROCESSED, when that came.
    pub processed_ticks: Option<u64>,
    /// The guest's clock when it saw the message, in its own ticks; zero unless it was asked.
    pub seen_ticks: u64,
    /// How it ended.
    pub status: RowStatus,
}

impl Sample {
    /// Due time to RECEIVED.
    #[must_use]
    pub fn received_from_due(&self) -> Option<u64> {
        self.received_ticks.map(|ticks| ticks + self.delay_ticks)
    }

    /// Due time to PROCESSED.
    #[must_use]
    pub fn processed_from_due(&self) -> Option<u64> {
        self.processed_ticks.map(|ticks| ticks + self.delay_ticks)
    }
}

/// What a test brought.
#[derive(Debug)]
pub struct Measured {
    /// Every message that counts, unless a histogram only is kept.
    pub samples: Vec<Sample>,
    /// Exchanges of timestamps before and after the test.
    pub bursts: Vec<Sample>,
    /// Round trips to PROCESSED in nanoseconds, of messages that ended well.
    pub rtt: Histogram<u64>,
    /// Round trips to RECEIVED.
    pub received: Histogram<u64>,
    /// How messages ended.
    pub counts: Counts,
    /// Messages published, warm-up and bursts included.
    pub published: u64,
    /// Of these without PROCESSED.
    pub lost: u64,
    /// Answers beyond one a message, by the guest's own count.
    pub duplicated: u64,
    /// Answers that belong to another message.
    pub reordered: u64,
    /// What the counted part cost and how often bells rang; with a doorbell only.
    pub usage: Option<Usage>,
    /// How the schedule of an open loop was kept.
    pub kept: Option<Kept>,
    /// Length of the counted part in nanoseconds.
    pub elapsed_ns: u64,
}

impl Measured {
    /// Nothing yet.
    ///
    /// # Errors
    /// Never; see [`hgrm::empty`].
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            samples: Vec::new(),
            bursts: Vec::new(),
            rtt: hgrm::empty()?,
            received: hgrm::empty()?,
            counts: Counts::default(),
            published: 0,
            lost: 0,
            duplicated: 0,
            reordered: 0,
            usage: None,
            kept: None,
            elapsed_ns: 0,
        })
    }

    /// Makes room for `messages` samples.
    ///
    /// # Errors
    /// There is not memory enough.
    pub fn reserve(&mut self, messages: u64) -> anyhow::Result<()> {
        let samples = usize::try_from(messages)?.saturating_sub(self.samples.len());
        self.samples.try_reserve_exact(samples).map_err(|_| {
            anyhow!("no memory for {messages} samples; give fewer --messages, or --record histogram")
        })
    }

    #[inline(always)]
    fn take(&mut self, sample: Sample, clock: &Clock, record: Record) {
        self.counts.add(sample.status);
        if record == Record::Samples {
            self.samples.push(sample);
        } else {
            self.record(&sample, clock);
        }
    }

    /// Puts kept samples into the histograms, after the test.
    pub fn fill_histograms(&mut self, clock: &Clock) {
        let samples = std::mem::take(&mut self.samples);
        samples.iter().for_each(|sample| self.record(sample, clock));
        self.samples = samples;
    }

    /// Puts a message that ended well into the histograms.
    #[inline(always)]
    fn record(&mut self, sample: &Sample, clock: &Clock) {
        if sample.status != RowStatus::Ok {
            return;
        }
        let ns = |ticks| clock.ns(Ticks(0), Ticks(ticks));
        // Saturating: values beyond the histogram's hour count as that.
        if let Some(ticks) = sample.processed_from_due() {
            self.rtt.saturating_record(ns(ticks));
        }
        if let Some(ticks) = sample.received_from_due() {
            self.received.saturating_record(ns(ticks));
        }
    }
}

/// Runs the test; results are taken in as they come, so that they survive an early end. `measured` has room for the samples
/// that are kept of so many messages.
///
/// # Errors
/// A signal, a guest that died, a payload that does not fit.
pub fn run(
    link: &mut Link<'_>,
    plan: &LatencyPlan,
    geometry: &Geometry,
    measured: &mut Measured,
    progress: &Progress,
) -> anyhow::Result<()> {
    if link.bell.is_some() {
        send::<true>(link, plan, geometry, measured, progress)
    } else {
        send::<false>(link, plan, geometry, measured, progress)
    }
}

/// `RUNG` says whether there are doorbells: code without them is code in which there are none.
fn send<const RUNG: bool>(
    link: &mut Link<'_>,
    plan: &LatencyPlan,
    geometry: &Geometry,
    measured: &mut Measured,
    progress: &Progress,
) -> anyhow::Result<()> {
    let mut sender = Sender::<RUNG>::new(plan, geometry)?;
    let answered_before = link.host.processed().answered;
    let ended = sender.all(link, plan, measured, progress);
    measured.published = sender.published;
    let answered = link.host.processed().answered.saturating_sub(answered_before);
    measured.duplicated = answered.saturating_sub(sender.published);
    link.look_for_trouble();
    link.numbering = Numbering::default();
    Ok(ended?)
}

/// Makes messages.
struct Sender<const RUNG: bool> {
    /// `None` for a plain ping.
    operation: Option<u64>,
    range: Option<PayloadRange>,
    payload: Vec<u8>,
    secret: Secret,
    published: u64,
}

impl<const RUNG: bool> Sender<RUNG> {
    fn new(plan: &LatencyPlan, geometry: &Geometry) -> anyhow::Result<Self> {
        let bytes = usize::try_from(plan.payload_bytes)?;
        let kind = if bytes > 0 { Kind::Inline } else { Kind::Ping };
        let operation = Operation { timed: plan.one_way, ..Operation::of(kind) };
        Ok(Self {
            operation: (bytes > 0 || plan.one_way).then(|| operation.to_wire()),
            range: (bytes > 0).then(|| geometry.payload(0, plan.payload_bytes)).flatten(),
            payload: (0..bytes).map(|i| i as u8).collect(),
            secret: Secret::random(),
            published: 0,
        })
    }

    fn all(
        &mut self,
        link: &mut Link<'_>,
        plan: &LatencyPlan,
        measured: &mut Measured,
        progress: &Progress,
    ) -> Result<(), Stopped> {
        if plan.one_way {
            self.burst(link, measured)?;
        }
        let interval = match plan.pace {
            Pace::Closed(interval) => interval,
            Pace::Open { .. } => Duration::ZERO,
        };
        link.numbering = Numbering::rows_after_warmup(link.latest(), plan.warmup);
        self.closed(link, interval, Extent::Count(plan.warmup), progress, |sample| {
            if sample.processed_ticks.is_none() {
                measured.lost += 1;
            }
        })?;
        let before = RUNG.then(|| Usage::now(link));
        let begun = link.clock.now();
        let ended = match plan.pace {
            Pace::Closed(interval) => {
                let clock = link.clock;
                self.closed(link, interval, plan.extent, progress, |sample| {
                    measured.lost += u64::from(sample.processed_ticks.is_none());
                    measured.reordered += u64::from(sample.status == RowStatus::Mismatch);
                    measured.take(sample, clock, plan.record);
                })
            }
            Pace::Open { rate_per_s, arrivals } => {
                let schedule = Schedule::new(rate_per_s, arrivals, random_u64());
                let mut account = OpenLoop::new(rate_per_s);
                let ended = self.open(link, schedule, plan, &mut account, measured, progress);
                measured.kept = Some(account.finish());
                ended
            }
        };
        measured.elapsed_ns = link.clock.ns(begun, link.clock.now());
        measured.usage = before.map(|before| Usage::settled(link).since(&before));
        ended?;
        if plan.one_way {
            link.numbering = Numbering::default();
            self.burst(link, measured)?;
        }
        Ok(())
    }

    /// Exchanges of timestamps as fast as they go: nobody sleeps.
    fn burst(&mut self, link: &mut Link<'_>, measured: &mut Measured) -> Result<(), Stopped> {
        if RUNG {
            link.look_only(true);
        }
        let ended = (0..BURST).try_for_each(|_| {
            let sample = self.exchange(link, None)?;
            measured.bursts.push(sample);
            check_alive(link, &sample)
        });
        if RUNG {
            link.look_only(false);
        }
        ended
    }

    fn closed(
        &mut self,
        link: &mut Link<'_>,
        interval: Duration,
        extent: Extent,
        progress: &Progress,
        mut take: impl FnMut(Sample),
    ) -> Result<(), Stopped> {
        let interval_ticks = link.clock.after(Ticks(0), interval).0;
        let mut due = link.clock.now();
        let (count, end) = limits(extent, link.clock, due);
        let mut message = 0;
        while message < count {
            if interval_ticks > 0 {
                due = Ticks(due.0.saturating_add(interval_ticks));
                pace(link.clock, due, is_spinner(link), || link.is_stopped());
            }
            let sample = self.exchange(link, None)?;
            take(sample);
            check_alive(link, &sample)?;
            if sample.status.is_timeout() {
                due = link.clock.now();
            }
            self.now_and_then(link, &mut message, progress)?;
            if sample.start >= end {
                break;
            }
        }
        Ok(())
    }

    fn open(
        &mut self,
        link: &mut Link<'_>,
        mut schedule: Schedule,
        plan: &LatencyPlan,
        account: &mut OpenLoop,
        measured: &mut Measured,
        progress: &Progress,
    ) -> Result<(), Stopped> {
        let begun = link.clock.now();
        let (count, end) = limits(plan.extent, link.clock, begun);
        let mut message = 0;
        while message < count {
            let due_ns = schedule.next_due();
            let due = link.clock.after(begun, Duration::from_nanos(due_ns));
            if due >= end {
                break;
            }
            pace(link.clock, due, is_spinner(link), || link.is_stopped());
            let sample = self.exchange(link, Some(due))?;
            let since = |ticks: u64| link.clock.ns(begun, Ticks(ticks));
            let processed = sample.processed_ticks.map(|ticks| since(sample.start.0 + ticks));
            account.record(due_ns, since(sample.start.0), processed);
            measured.lost += u64::from(processed.is_none());
            measured.reordered += u64::from(sample.status == RowStatus::Mismatch);
            measured.take(sample, link.clock, plan.record);
            check_alive(link, &sample)?;
            self.now_and_then(link, &mut message, progress)?;
        }
        Ok(())
    }

    /// What is done between messages, seldom.
    #[inline(always)]
    fn now_and_then(
        &mut self,
        link: &mut Link<'_>,
        message: &mut u64,
        progress: &Progress,
    ) -> Result<(), Stopped> {
        if message.is_multiple_of(MESSAGES_PER_PROGRESS) {
            progress.at(*message);
            link.host.beat();
            link.look_for_trouble();
            if RUNG {
                link.check_peers()?;
            }
        }
        *message += 1;
        Ok(())
    }

    /// One timed exchange and what belongs around it.
    #[inline(always)]
    fn exchange(&mut self, link: &mut Link<'_>, due: Option<Ticks>) -> Result<Sample, Stopped> {
        if link.is_stopped() {
            return Err(Stopped::Interrupted);
        }
        let token = self.secret.token(self.published);
        let expected = token ^ self.stamp(token);
        let is_foretold = link.host.foretold().is_some();
        self.published += 1;
        let (sequence, mut sample) = self.timed(link, token, expected)?;
        sample.delay_ticks = due.map_or(0, |due| sample.start.0.saturating_sub(due.0));
        if is_foretold || sample.status != RowStatus::Ok {
            sort_out(link, sequence, &mut sample, is_foretold);
        }
        Ok(sample)
    }

    /// Nothing happens between the first and the last reading of the clock but writing the payload, publication and
    /// looking at the two acknowledgement words.
    #[inline(always)]
    fn timed(&self, link: &mut Link<'_>, token: u64, expected: u64) -> Result<(u64, Sample), Stopped> {
        let start = link.clock.now();
        let published = match (self.operation, self.range) {
            (None, _) => link.host.publish_ping(token),
            (Some(operation), None) => link.host.publish_short(operation, 0, token),
            (Some(operation), Some(range)) => {
                link.map.write(range, &self.payload, Kernel::Memcpy);
                link.host.publish_short(operation, range.len() as u64, token)
            }
        };
        let sequence = published.map_err(|_| Stopped::Exhausted)?;
        if RUNG {
            link.tell_soon();
        }
        let mut sample = Sample {
            start,
            delay_ticks: 0,
            received_ticks: None,
            processed_ticks: None,
            seen_ticks: 0,
            status: RowStatus::TimeoutReceived,
        };
        // Being told of RECEIVED makes the guest ring once more before it answers: who sleeps does without unless asked.
        let processed = if RUNG && link.bell.as_ref().is_some_and(Bell::sleeps_through_received) {
            let told = Self::wait(link, start, AT_PROCESSED, |host| host.is_processed(sequence))?;
            if told.is_none() && link.host.is_received(sequence) {
                sample.status = RowStatus::TimeoutProcessed;
            }
            told
        } else {
            let Some(received) = Self::wait(link, start, AT_RECEIVED, |host| host.is_received(sequence))?
            else {
                return Ok((sequence, sample));
            };
            sample.received_ticks = Some(received.0.saturating_sub(start.0));
            sample.status = RowStatus::TimeoutProcessed;
            Self::wait(link, received, AT_PROCESSED, |host| host.is_processed(sequence))?
        };
        let Some(processed) = processed else { return Ok((sequence, sample)) };
        let answer = link.host.processed();
        sample.status = match RowStatus::of_guest(answer.status) {
            RowStatus::Ok if answer.token_echo != expected => RowStatus::Mismatch,
            status => status,
        };
        sample.seen_ticks = answer.seen_ticks;
        sample.processed_ticks = Some(processed.0.saturating_sub(start.0));
        Ok((sequence, sample))
    }

    /// The moment an acknowledgement was seen, as this host waits: asleep until rung for `phase`, or looking.
    #[inline(always)]
    fn wait(
        link: &mut Link<'_>,
        from: Ticks,
        phase: u64,
        is_acknowledged: impl Fn(&Host<'_, Mapping>) -> bool,
    ) -> Result<Option<Ticks>, Stopped> {
        if !RUNG {
            return link.looked_for(from, is_acknowledged);
        }
        match link.wait_told(from, phase, |host| is_acknowledged(host).then_some(())) {
            // The message is counted before `check_alive` ends the test.
            Err(Stopped::GuestLeft { .. }) => Ok(None),
            told => Ok(told?.map(|((), seen)| seen)),
        }
    }

    /// Puts a word that depends on the token at the payload's end and returns it as the guest will read it; zero without
    /// payload.
    #[inline(always)]
    fn stamp(&mut self, token: u64) -> u64 {
        if self.payload.is_empty() {
            return 0;
        }
        let bytes = token.rotate_left(17).to_le_bytes();
        let length = self.payload.len();
        let tail = &mut self.payload[length.saturating_sub(8)..];
        let mut word = [0; 8];
        word[..tail.len()].copy_from_slice(&bytes[..tail.len()]);
        tail.copy_from_slice(&bytes[..tail.len()]);
        u64::from_le_bytes(word)
    }
}

/// A message that went wrong: whether the guest broke the protocol.
#[cold]
fn sort_out(link: &mut Link<'_>, sequence: u64, sample: &mut Sample, is_foretold: bool) {
    if link.look_for_trouble() || is_foretold {
        sample.status = RowStatus::ProtocolError;
    } else if sample.status == RowStatus::ProtocolError {
        link.note_nonsense(sequence, NO_STATUS);
    }
}

/// Whether the guest lives that did not answer the latest message. To be asked when the message has been counted: a guest
/// that does not ends the test.
#[inline(always)]
fn check_alive(link: &mut Link<'_>, sample: &Sample) -> Result<(), Stopped> {
    match sample.processed_ticks {
        Some(_) => Ok(()),
        None => link.check_alive(link.latest()),
    }
}

/// How many messages at the most, and when the last may start.
fn limits(extent: Extent, clock: &Clock, begun: Ticks) -> (u64, Ticks) {
    match extent {
        Extent::Count(count) => (count, Ticks(u64::MAX)),
        Extent::Time(length) => (u64::MAX, clock.after(begun, length)),
    }
}

fn is_spinner(link: &Link<'_>) -> bool {
    link.bell.as_ref().is_none_or(|bell| bell.wait() == HostWait::Poll)
}

/// Waits until `due`, asleep while that is far off and spinning at the end. Not timed. A host that sleeps for its
/// acknowledgements, which is no spinner, sleeps here, too: the time it spins would count as theirs.
pub(crate) fn pace(clock: &Clock, due: Ticks, is_spinner: bool, is_stopped: impl Fn() -> bool) {
    let spin = if is_spinner { Duration::from_micros(100) } else { Duration::ZERO };
    // A signal does not end a sleep.
    const NAP: Duration = Duration::from_millis(50);
    loop {
        let left = Duration::from_nanos(clock.ns(clock.now(), due));
        match left.checked_sub(spin).filter(|left| !left.is_zero() && !is_stopped()) {
            Some(left) => std::thread::sleep(left.min(NAP)),
            None => break,
        }
    }
    while clock.now() < due && !is_stopped() {}
}
