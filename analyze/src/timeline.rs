//! When each message was sent, as far as a latency file lets it be known: it has no time stamps.

use serde::Serialize;

use crate::input::{LatencyPlan, Run, Sample, Samples};

/// What the times rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeBase {
    /// The schedule of an open loop with uniform arrivals, and each message's send delay.
    Schedule,
    /// The round trips of a closed loop one after the other, and the mean pause between them by run.json's rate.
    RoundTripsAndPauses,
    /// The round trips of a closed loop one after the other: whatever was between them is missing.
    RoundTrips,
}

/// Times at which the messages of the ok rows were sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline<'a> {
    samples: &'a Samples,
    pace: Pace,
    /// What they rest on.
    pub base: TimeBase,
}

/// How the time of a message follows from the samples.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Pace {
    /// By its number, and how late it was sent.
    Due { rate_per_s: f64 },
    /// From what the messages before it took, and a pause after each that makes up the rate.
    After { rate_per_s: Option<f64> },
}

impl TimeBase {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Schedule => "the schedule",
            Self::RoundTripsAndPauses => "round trips and mean pauses added up",
            Self::RoundTrips => "round trips added up",
        }
    }
}

impl<'a> Timeline<'a> {
    /// Of `run`; `None` where nothing tells the times: without samples, and in an open loop with random arrivals.
    #[must_use]
    pub fn of(run: &'a Run) -> Option<Self> {
        let samples = run.latency.as_ref().map(|l| &l.samples).filter(|samples| !samples.is_empty())?;
        match run.latency_plan() {
            Some(plan) if plan.is_open() => Self::scheduled(samples, plan),
            plan => Some(Self::one_after_the_other(samples, plan)),
        }
    }

    fn scheduled(samples: &'a Samples, plan: &LatencyPlan) -> Option<Self> {
        let is_uniform = plan.arrivals.as_deref() == Some("uniform");
        let rate_per_s = plan.rate_per_s.filter(|rate| *rate > 0.0 && is_uniform)?;
        Some(Self { samples, pace: Pace::Due { rate_per_s }, base: TimeBase::Schedule })
    }

    /// Of a closed loop.
    pub(crate) fn one_after_the_other(samples: &'a Samples, plan: Option<&LatencyPlan>) -> Self {
        let rate_per_s = plan.and_then(|plan| plan.achieved_per_s).filter(|rate| *rate > 0.0);
        let base = if rate_per_s.is_some() { TimeBase::RoundTripsAndPauses } else { TimeBase::RoundTrips };
        Self { samples, pace: Pace::After { rate_per_s }, base }
    }

    /// When the samples at `places`, which ascend, were sent: nanoseconds from the beginning of the test. A few are asked
    /// for of ten million, whose times are not kept for that.
    #[must_use]
    pub fn sent_ns_at(&self, places: impl IntoIterator<Item = usize>) -> Vec<u64> {
        match self.pace {
            Pace::Due { rate_per_s } => {
                // The first message, number 1, is due at 0.
                let due_ns = |number: u64| (number.saturating_sub(1) as f64 * 1e9 / rate_per_s) as u64;
                let late_ns = |sample: Sample| sample.send_delay_ns.unwrap_or(0);
                pick(self.samples.iter().map(|s| due_ns(s.iteration).saturating_add(late_ns(s))), places)
            }
            Pace::After { rate_per_s } => {
                let mean_ns = || {
                    self.samples.processed_ns().map(|ns| ns as f64).sum::<f64>() / self.samples.len() as f64
                };
                let pause_ns = rate_per_s.map_or(0.0, |rate| (1e9 / rate - mean_ns()).max(0.0));
                let mut now_ns = 0.0;
                let sent = self.samples.processed_ns().map(|taken_ns| {
                    let sent_ns = now_ns as u64;
                    now_ns += taken_ns as f64 + pause_ns;
                    sent_ns
                });
                pick(sent, places)
            }
        }
    }
}

/// The elements at `places`, which ascend.
fn pick(mut elements: impl Iterator<Item = u64>, places: impl IntoIterator<Item = usize>) -> Vec<u64> {
    let (mut next, mut latest) = (0, None);
    let element_at = |place: usize| {
        if place >= next {
            latest = elements.nth(place - next);
            next = place + 1;
        }
        latest
    };
    places.into_iter().map_while(element_at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{Latency, Provenance};
    use serde_json::{Value, json};

    fn sent(plan: &Value) -> Option<(Vec<u64>, TimeBase)> {
        let sample = |iteration: u64| Sample {
            iteration,
            processed_ns: 100 * iteration,
            received_ns: None,
            send_delay_ns: (iteration == 4).then_some(7),
            to_guest_ns: None,
            to_host_ns: None,
        };
        let samples = [1, 2, 4].map(sample).into_iter().collect();
        let latency = Latency::of_ok_rows(samples);
        let run = serde_json::from_value(json!({ "latency": plan })).unwrap();
        let provenance = Some(Provenance { run, verbatim: Value::Null });
        let run = Run { directory: "r".into(), provenance, latency: Some(latency), bandwidth: None };
        Timeline::of(&run).map(|timeline| (timeline.sent_ns_at(0..3), timeline.base))
    }

    #[test]
    fn a_closed_loop_adds_up() {
        let alone = sent(&Value::Null).unwrap();
        assert_eq!(alone, (vec![0, 100, 300], TimeBase::RoundTrips));
        // 700 ns of round trips and a rate of 4 million a second, so 250 ns each: 17 ns are missing to each.
        let paused = sent(&json!({"loop": "closed", "achieved_per_s": 4e6})).unwrap();
        assert_eq!(paused, (vec![0, 116, 333], TimeBase::RoundTripsAndPauses));
    }

    #[test]
    fn an_open_loop_has_its_schedule_if_it_is_uniform() {
        let plan = json!({"loop": "open", "rate_per_s": 1e6, "arrivals": "uniform"});
        let uniform = sent(&plan).unwrap();
        assert_eq!(uniform, (vec![0, 1000, 3007], TimeBase::Schedule));
        assert_eq!(sent(&json!({"loop": "open", "rate_per_s": 1e6, "arrivals": "poisson"})), None);
    }
}
