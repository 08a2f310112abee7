//! Open loop: messages are due on a schedule, whether or not the one before has come back.
//!
//! A closed loop sends nothing while it waits, so a stall of a millisecond delays one message, however many a real
//! sender would have had to hold back. Here latency counts from the time a message was due, and a message that
//! leaves late carries its wait (Tene's "coordinated omission"). The price: above what the link can do the backlog
//! grows without end and the figures say how long the test was, which is why the accounting tells when that happened.

use clap::ValueEnum;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

/// The highest rate there is a schedule for, per second: due times are whole nanoseconds.
pub const RATE_MAX_PER_S: f64 = 1e9;

/// The lowest: a message in a quarter of an hour. Whoever writes less means something else.
pub const RATE_MIN_PER_S: f64 = 1e-3;

/// How due times are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Arrivals {
    /// At equal distances
    Uniform,
    /// At exponentially distributed distances, as independent senders produce them
    Poisson,
}

impl Arrivals {
    /// The name used on the command line and in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Poisson => "poisson",
        }
    }
}

/// A rate per second in words: `100`, `2.5k`, `1M`.
///
/// # Errors
/// One line, for anything but a number from [`RATE_MIN_PER_S`] to [`RATE_MAX_PER_S`] with one of these suffixes or none.
pub fn parse_rate(text: &str) -> Result<f64, String> {
    let (number, factor) = match text.strip_suffix(['k', 'M']) {
        Some(number) if text.ends_with('k') => (number, 1e3),
        Some(number) => (number, 1e6),
        None => (text, 1.0),
    };
    // Digits and a point only: `f64` also reads "nan", "inf" and "1e300".
    let is_plain = number.starts_with(|c: char| c.is_ascii_digit())
        && number.chars().all(|c| c.is_ascii_digit() || c == '.');
    let rate = is_plain.then(|| number.parse::<f64>().ok()).flatten().map(|number| number * factor);
    match rate {
        None => Err(format!("'{text}' is no rate; write messages per second, for example 100, 2.5k or 1M")),
        Some(0.0) => Err("a rate of 0 sends nothing; write messages per second, for example 50k".to_owned()),
        Some(rate) if rate > RATE_MAX_PER_S => {
            Err(format!("a rate of '{text}' is above the {}M per second there can be", RATE_MAX_PER_S / 1e6))
        }
        Some(rate) if rate < RATE_MIN_PER_S => {
            Err(format!("a rate of '{text}' is below the {RATE_MIN_PER_S} per second there can be"))
        }
        Some(rate) => Ok(rate),
    }
}

/// The due times of an endless test, in nanoseconds from its start.
#[derive(Debug, Clone)]
pub struct Schedule {
    gap_ns: f64,
    rate_per_s: f64,
    made: u64,
    random: Option<Xoshiro256PlusPlus>,
    sum_ns: f64,
}

impl Schedule {
    /// A schedule of `rate_per_s` as [`parse_rate`] permits it; `seed` is that of the Poisson gaps.
    #[must_use]
    pub fn new(rate_per_s: f64, arrivals: Arrivals, seed: u64) -> Self {
        let random = (arrivals == Arrivals::Poisson).then(|| Xoshiro256PlusPlus::seed_from_u64(seed));
        Self { gap_ns: 1e9 / rate_per_s, rate_per_s, made: 0, random, sum_ns: 0.0 }
    }

    /// When the next message is due. The first uniform one is due at 0, the first Poisson one after a gap.
    #[inline]
    pub fn next_due(&mut self) -> u64 {
        let due_ns = match &mut self.random {
            // From the count, not from the one before: what is rounded off must not add up.
            None => self.made as f64 * 1e9 / self.rate_per_s,
            Some(random) => {
                // Inverse transform; the unit interval is open at 1, so the logarithm is finite.
                let unit: f64 = random.random();
                self.sum_ns -= (-unit).ln_1p() * self.gap_ns;
                self.sum_ns
            }
        };
        self.made += 1;
        due_ns.round() as u64
    }
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        Some(self.next_due())
    }
}

/// Whether a frame came too late to be shown: done more than one `period_ns` after it was due, when the next one is.
#[must_use]
pub const fn is_late(due_ns: u64, done_ns: u64, period_ns: u64) -> bool {
    done_ns.saturating_sub(due_ns) > period_ns
}

/// What the schedule makes of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FromDue {
    /// Due to published: the wait behind earlier messages.
    pub send_delay_ns: u64,
    /// Due to PROCESSED, when that came.
    pub latency_ns: Option<u64>,
}

/// Accounts for the messages of an open loop, in the order they were sent; allocates nothing after [`OpenLoop::new`].
///
/// All times are nanoseconds from the start of the test; one that lies before the due time counts as the due time.
#[derive(Debug, Clone)]
pub struct OpenLoop {
    gap_ns: f64,
    sent: u64,
    lost: u64,
    first_ns: Option<Stamp>,
    last_ns: Stamp,
    send_delay_max_ns: u64,
    backlog: Backlog,
}

#[derive(Debug, Clone, Copy, Default)]
struct Stamp {
    due: u64,
    sent: u64,
}

/// How the schedule was kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kept {
    /// Messages sent.
    pub sent: u64,
    /// Of these without PROCESSED.
    pub lost: u64,
    /// The longest send delay.
    pub send_delay_max_ns: u64,
    /// What the schedule asked for from the first message to the last, per second: with Poisson arrivals not quite
    /// the nominal rate. `None` with fewer than two messages.
    pub asked_per_s: Option<f64>,
    /// What was sent from the first message to the last, per second.
    pub achieved_per_s: Option<f64>,
    /// Whether ever more messages were waiting when the test ended; see [`OpenLoop::finish`].
    pub backlog_grew: bool,
    /// Whether the rate was too high: figures from the due time then describe the length of the test.
    pub missed_rate: bool,
}

/// The share of the asked rate that counts as achieved.
const ACHIEVED_SHARE: f64 = 0.99;

impl OpenLoop {
    /// An account of messages at `rate_per_s` on average.
    #[must_use]
    pub fn new(rate_per_s: f64) -> Self {
        Self {
            gap_ns: 1e9 / rate_per_s,
            sent: 0,
            lost: 0,
            first_ns: None,
            last_ns: Stamp::default(),
            send_delay_max_ns: 0,
            backlog: Backlog::default(),
        }
    }

    /// Takes the next message: due, published, and acknowledged as PROCESSED unless that never came.
    pub fn record(&mut self, due_ns: u64, sent_ns: u64, processed_ns: Option<u64>) -> FromDue {
        let stamp = Stamp { due: due_ns, sent: sent_ns.max(due_ns) };
        let send_delay_ns = stamp.sent - due_ns;
        self.sent += 1;
        self.lost += u64::from(processed_ns.is_none());
        self.first_ns.get_or_insert(stamp);
        self.last_ns = stamp;
        self.send_delay_max_ns = self.send_delay_max_ns.max(send_delay_ns);
        self.backlog.add(send_delay_ns);
        FromDue { send_delay_ns, latency_ns: processed_ns.map(|processed| processed.saturating_sub(due_ns)) }
    }

    /// How the schedule was kept.
    ///
    /// The rate was missed if less than 99 % of it was achieved, first message to last, or if the backlog grew at the
    /// end: the test's messages are divided into 32 to 64 equal runs, and in each of the last four the message that
    /// waited least waited longer than in the run before, by one mean gap in total at least. A stall that was worked
    /// off, long or short, is no growth, because some messages of the runs after it leave at once or ever sooner.
    /// Below 16 messages there are too few to speak of growth.
    #[must_use]
    pub fn finish(&self) -> Kept {
        let first = self.first_ns.unwrap_or_default();
        let per_s = |from: u64, to: u64| {
            let span_ns = to.saturating_sub(from);
            (self.sent > 1 && span_ns > 0).then(|| (self.sent - 1) as f64 * 1e9 / span_ns as f64)
        };
        let asked_per_s = per_s(first.due, self.last_ns.due);
        let achieved_per_s = per_s(first.sent, self.last_ns.sent);
        let is_below =
            asked_per_s.zip(achieved_per_s).is_some_and(|(asked, got)| got < ACHIEVED_SHARE * asked);
        let backlog_grew = self.backlog.grows_by(self.gap_ns);
        Kept {
            sent: self.sent,
            lost: self.lost,
            send_delay_max_ns: self.send_delay_max_ns,
            asked_per_s,
            achieved_per_s,
            backlog_grew,
            missed_rate: is_below || backlog_grew,
        }
    }
}

/// Runs kept at the most; when they are full, every two become one.
const RUNS_MAX: usize = 64;
/// Runs that must each be worse than the one before.
const RUNS_RISING: usize = 4;
/// Runs without which nothing is said.
const RUNS_MIN: usize = 16;

/// The least send delay of each of some runs of equally many messages, whatever the length of the test.
#[derive(Debug, Clone)]
struct Backlog {
    least_ns: [u64; RUNS_MAX],
    runs: usize,
    run_messages: u64,
    open_messages: u64,
    open_least_ns: u64,
}

impl Default for Backlog {
    fn default() -> Self {
        Self { least_ns: [0; RUNS_MAX], runs: 0, run_messages: 1, open_messages: 0, open_least_ns: u64::MAX }
    }
}

impl Backlog {
    fn add(&mut self, send_delay_ns: u64) {
        if self.runs == RUNS_MAX {
            for run in 0..RUNS_MAX / 2 {
                self.least_ns[run] = self.least_ns[2 * run].min(self.least_ns[2 * run + 1]);
            }
            self.runs = RUNS_MAX / 2;
            self.run_messages *= 2;
        }
        self.open_messages += 1;
        self.open_least_ns = self.open_least_ns.min(send_delay_ns);
        if self.open_messages == self.run_messages {
            self.least_ns[self.runs] = self.open_least_ns;
            self.runs += 1;
            (self.open_messages, self.open_least_ns) = (0, u64::MAX);
        }
    }

    fn grows_by(&self, gap_ns: f64) -> bool {
        let runs = &self.least_ns[..self.runs];
        let last = &runs[self.runs.saturating_sub(RUNS_RISING + 1)..];
        runs.len() >= RUNS_MIN
            && last.windows(2).all(|pair| pair[0] < pair[1])
            && (last[RUNS_RISING] - last[0]) as f64 >= gap_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rates_are_numbers_with_a_suffix_or_none() {
        for (text, rate) in [
            ("50k", 50_000.0),
            ("1M", 1e6),
            ("2.5k", 2500.0),
            ("100", 100.0),
            ("0.5", 0.5),
            ("1000M", 1e9),
            ("1000000000", 1e9),
        ] {
            assert_eq!(parse_rate(text), Ok(rate), "{text}");
        }
        for text in
            ["", "k", "M", "nan", "inf", "-1", "+1", "1e3", "1 k", "1m", "1K", "50kk", ".5", "1.2.3", "1G"]
        {
            assert!(parse_rate(text).unwrap_err().contains("is no rate"), "{text}");
        }
        assert!(parse_rate("0").unwrap_err().contains("sends nothing"));
        assert!(parse_rate("0.0M").unwrap_err().contains("sends nothing"));
        let error = parse_rate("1001M").unwrap_err();
        assert_eq!(error, "a rate of '1001M' is above the 1000M per second there can be");
        assert!(parse_rate("1000000001").is_err());
        let error = parse_rate("0.00000000000000000001").unwrap_err();
        assert_eq!(error, "a rate of '0.00000000000000000001' is below the 0.001 per second there can be");
    }

    #[test]
    fn uniform_due_times_do_not_drift() {
        // A third of a millisecond: sums of rounded gaps would be a third of a nanosecond short each time.
        let mut schedule = Schedule::new(3000.0, Arrivals::Uniform, 1);
        let first: Vec<u64> = schedule.by_ref().take(5).collect();
        assert_eq!(first, [0, 333_333, 666_667, 1_000_000, 1_333_333]);
        assert_eq!(schedule.nth(3_000_000 - 6), Some(999_999_666_667));
        assert_eq!(schedule.next_due(), 1_000_000_000_000);
        assert_eq!(schedule.next_due(), 1_000_000_333_333);
    }

    #[test]
    fn poisson_gaps_are_exponential() {
        const COUNT: usize = 200_000;
        let due: Vec<u64> = Schedule::new(1000.0, Arrivals::Poisson, 7).take(COUNT).collect();
        assert!(due.is_sorted());
        let mut gaps: Vec<f64> = std::iter::once(0)
            .chain(due.iter().copied())
            .zip(&due)
            .map(|(from, to)| (to - from) as f64)
            .collect();
        // The mean of n exponential gaps has a standard error of the mean over sqrt(n), and so has their deviation,
        // times sqrt(2).
        let error = 1e6 / (COUNT as f64).sqrt();
        let mean = due[COUNT - 1] as f64 / COUNT as f64;
        assert!((mean - 1e6).abs() < 4.0 * error, "{mean}");
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / (COUNT - 1) as f64;
        assert!((variance.sqrt() - 1e6).abs() < 4.0 * 2f64.sqrt() * error, "{}", variance.sqrt());
        // Kolmogorov and Smirnov: the largest distance to the distribution stays below 1.63 / sqrt(n) at 1 %.
        gaps.sort_by(f64::total_cmp);
        let distance = gaps
            .iter()
            .enumerate()
            .map(|(i, gap)| {
                let expected = 1.0 - (-gap / 1e6).exp();
                (expected - i as f64 / COUNT as f64)
                    .abs()
                    .max((expected - (i + 1) as f64 / COUNT as f64).abs())
            })
            .fold(0.0, f64::max);
        assert!(distance < 1.63 / (COUNT as f64).sqrt(), "{distance}");
    }

    #[test]
    fn poisson_due_times_depend_on_the_seed_alone() {
        let due = |seed| Schedule::new(1e6, Arrivals::Poisson, seed).take(100).collect::<Vec<_>>();
        assert_eq!(due(1), due(1));
        assert_ne!(due(1), due(2));
    }

    /// One sender in a simulated clock, who takes `service_ns` a message and stops for `stall_ns` before message
    /// `stalled`. Rows are (send delay, latency from due).
    fn simulate(
        rate_per_s: f64,
        arrivals: Arrivals,
        service_ns: u64,
        messages: usize,
        stalled: usize,
        stall_ns: u64,
    ) -> (Vec<(u64, u64)>, Kept) {
        let mut account = OpenLoop::new(rate_per_s);
        let mut free_ns = 0;
        let rows = Schedule::new(rate_per_s, arrivals, 3)
            .take(messages)
            .enumerate()
            .map(|(i, due_ns)| {
                let stall_ns = if i == stalled { stall_ns } else { 0 };
                let sent_ns = due_ns.max(free_ns) + stall_ns;
                free_ns = sent_ns + service_ns;
                let row = account.record(due_ns, sent_ns, Some(free_ns));
                (row.send_delay_ns, row.latency_ns.unwrap())
            })
            .collect();
        (rows, account.finish())
    }

    proptest! {
        #[test]
        fn a_stall_delays_exactly_the_messages_that_were_due_meanwhile(
            gap_us in 1_u64..100, service_share in 0.01..0.95_f64, stall_us in 0_u64..5000, stalled in 0_usize..500,
        ) {
            let gap_ns = gap_us * 1000;
            let service_ns = (gap_ns as f64 * service_share) as u64;
            let stall_ns = stall_us * 1000;
            let (rows, kept) = simulate(1e9 / gap_ns as f64, Arrivals::Uniform, service_ns, 2000, stalled, stall_ns);
            for (i, &(send_delay_ns, latency_ns)) in rows.iter().enumerate() {
                // The k-th message after the stall waits for what is left of it: every message before it took a
                // service time and gained a gap.
                let gained_ns = i.checked_sub(stalled).map(|k| k as u64 * (gap_ns - service_ns));
                let expected = gained_ns.map_or(0, |gained| stall_ns.saturating_sub(gained));
                prop_assert_eq!(send_delay_ns, expected, "message {}", i);
                prop_assert_eq!(latency_ns, expected + service_ns);
            }
            let delayed = rows.iter().filter(|row| row.0 > 0).count();
            let due_meanwhile = stall_ns.div_ceil(gap_ns - service_ns) as usize;
            prop_assert_eq!(delayed, due_meanwhile.min(2000 - stalled));
            prop_assert_eq!((kept.sent, kept.lost, kept.send_delay_max_ns), (2000, 0, stall_ns));
            prop_assert!(!kept.backlog_grew);
        }
    }

    #[test]
    fn a_stall_that_was_worked_off_misses_no_rate() {
        let (_, kept) = simulate(10_000.0, Arrivals::Uniform, 50_000, 10_000, 5000, 100_000_000);
        assert!(!kept.missed_rate, "{kept:?}");
        assert_eq!(kept.asked_per_s, Some(10_000.0));
        assert_eq!(kept.achieved_per_s, Some(10_000.0));
    }

    #[test]
    fn a_sender_slower_than_the_rate_misses_it_by_rate_or_by_backlog() {
        // Ten per cent too slow, and half a per cent: the second only the backlog tells.
        for (service_ns, achieved) in [(110_000, 9_090.9), (100_500, 9_950.2)] {
            let (_, kept) = simulate(10_000.0, Arrivals::Uniform, service_ns, 10_000, 0, 0);
            assert!((kept.achieved_per_s.unwrap() - achieved).abs() < 0.1, "{kept:?}");
            assert!(kept.missed_rate && kept.backlog_grew, "{kept:?}");
        }
        let (_, kept) = simulate(10_000.0, Arrivals::Uniform, 100_000, 10_000, 0, 0);
        assert!(!kept.missed_rate, "{kept:?}");
    }

    #[test]
    fn a_stall_at_the_very_end_misses_the_rate_when_it_is_more_than_a_hundredth_of_the_test() {
        for (stall_ns, missed) in [(5_000_000, false), (20_000_000, true)] {
            let (_, kept) = simulate(10_000.0, Arrivals::Uniform, 1000, 10_000, 9_999, stall_ns);
            assert_eq!((kept.missed_rate, kept.backlog_grew), (missed, false), "{kept:?}");
        }
    }

    #[test]
    fn poisson_arrivals_below_capacity_are_kept_and_above_are_not() {
        let (rows, kept) = simulate(10_000.0, Arrivals::Poisson, 50_000, 200_000, 0, 0);
        assert!(!kept.missed_rate, "{kept:?}");
        // Pollaczek and Khinchine for M/D/1: the mean wait is load * service / (2 * (1 - load)) = 25 us at a half.
        let mean = rows.iter().map(|row| row.0 as f64).sum::<f64>() / rows.len() as f64;
        assert!((mean - 25_000.0).abs() < 1000.0, "{mean}");
        let (_, kept) = simulate(10_000.0, Arrivals::Poisson, 102_000, 200_000, 0, 0);
        assert!(kept.missed_rate, "{kept:?}");
    }

    #[test]
    fn lost_messages_have_no_latency_and_few_messages_no_rate() {
        let mut account = OpenLoop::new(1000.0);
        assert_eq!(account.finish().achieved_per_s, None);
        assert_eq!(account.record(0, 5, None), FromDue { send_delay_ns: 5, latency_ns: None });
        assert_eq!(account.finish().asked_per_s, None);
        // A clock that reads a little less than the due time: sent in time, not before.
        let row = account.record(1_000_000, 999_990, Some(1_000_400));
        assert_eq!(row, FromDue { send_delay_ns: 0, latency_ns: Some(400) });
        let kept = account.finish();
        assert_eq!((kept.sent, kept.lost, kept.send_delay_max_ns, kept.missed_rate), (2, 1, 5, false));
        assert_eq!(kept.asked_per_s, Some(1000.0));
    }

    #[test]
    fn a_frame_is_late_once_the_next_is_due() {
        assert!(!is_late(100, 110, 10));
        assert!(is_late(100, 111, 10));
        assert!(!is_late(100, 90, 10));
    }
}
