//! When each message was sent, as far as a latency file lets it be known: it has no time stamps.

use serde::Serialize;

use crate::input::{Latency, LatencyPlan, Run};

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
pub struct Timeline {
    /// Nanoseconds from the beginning of the test, one for each sample.
    pub sent_ns: Vec<u64>,
    /// What they rest on.
    pub base: TimeBase,
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

impl Timeline {
    /// Of `run`; `None` where nothing tells the times: without samples, and in an open loop with random arrivals.
    #[must_use]
    pub fn of(run: &Run) -> Option<Self> {
        let latency = run.latency.as_ref().filter(|latency| !latency.samples.is_empty())?;
        match run.latency_plan() {
            Some(plan) if plan.is_open() => scheduled(latency, plan),
            plan => Some(one_after_the_other(latency, plan)),
        }
    }
}

fn scheduled(latency: &Latency, plan: &LatencyPlan) -> Option<Timeline> {
    let rate = plan.rate_per_s.filter(|rate| *rate > 0.0 && plan.arrivals.as_deref() == Some("uniform"))?;
    // The first message, number 1, is due at 0.
    let due_ns = |iteration: u64| (iteration.saturating_sub(1) as f64 * 1e9 / rate) as u64;
    let sent =
        latency.samples.iter().map(|s| due_ns(s.iteration).saturating_add(s.send_delay_ns.unwrap_or(0)));
    Some(Timeline { sent_ns: sent.collect(), base: TimeBase::Schedule })
}

fn one_after_the_other(latency: &Latency, plan: Option<&LatencyPlan>) -> Timeline {
    let count = latency.samples.len() as f64;
    let taken_ns: f64 = latency.samples.iter().map(|s| s.processed_ns as f64).sum();
    let rate = plan.and_then(|plan| plan.achieved_per_s).filter(|rate| *rate > 0.0);
    let pause_ns = rate.map_or(0.0, |rate| (1e9 / rate - taken_ns / count).max(0.0));
    let base = if rate.is_some() { TimeBase::RoundTripsAndPauses } else { TimeBase::RoundTrips };
    let mut now_ns = 0.0;
    let sent = latency.samples.iter().map(|sample| {
        let sent_ns = now_ns as u64;
        now_ns += sample.processed_ns as f64 + pause_ns;
        sent_ns
    });
    Timeline { sent_ns: sent.collect(), base }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{Provenance, Sample};
    use serde_json::{Value, json};

    fn timeline(plan: &Value) -> Option<Timeline> {
        let sample = |iteration: u64| Sample {
            iteration,
            processed_ns: 100 * iteration,
            received_ns: None,
            send_delay_ns: (iteration == 4).then_some(7),
            to_guest_ns: None,
            to_host_ns: None,
        };
        let samples = [1, 2, 4].into_iter().map(sample).collect();
        let latency = Latency { path: "l.csv".into(), samples, failures: Vec::new(), gaps: Vec::new() };
        let run = serde_json::from_value(json!({ "latency": plan })).unwrap();
        let provenance = Some(Provenance { run, verbatim: Value::Null });
        Timeline::of(&Run { directory: "r".into(), provenance, latency: Some(latency), bandwidth: None })
    }

    #[test]
    fn a_closed_loop_adds_up() {
        let alone = timeline(&Value::Null).unwrap();
        assert_eq!((alone.sent_ns, alone.base), (vec![0, 100, 300], TimeBase::RoundTrips));
        // 700 ns of round trips and a rate of 4 million a second, so 250 ns each: 17 ns are missing to each.
        let paused = timeline(&json!({"loop": "closed", "achieved_per_s": 4e6})).unwrap();
        assert_eq!((paused.sent_ns, paused.base), (vec![0, 116, 333], TimeBase::RoundTripsAndPauses));
    }

    #[test]
    fn an_open_loop_has_its_schedule_if_it_is_uniform() {
        let plan = json!({"loop": "open", "rate_per_s": 1e6, "arrivals": "uniform"});
        let uniform = timeline(&plan).unwrap();
        assert_eq!((uniform.sent_ns, uniform.base), (vec![0, 1000, 3007], TimeBase::Schedule));
        assert_eq!(timeline(&json!({"loop": "open", "rate_per_s": 1e6, "arrivals": "poisson"})), None);
    }
}
