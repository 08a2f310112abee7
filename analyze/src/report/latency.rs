//! The latency section: what became of the messages, then the round trips in two columns.

use super::text::{NOT_AVAILABLE, entry, four_digits, grouped, heading, optional, plural, shown, time};
use crate::input::{LatencyPlan, OneWayPlan};
use crate::latency_summary::{Distribution, HistogramSummary, LatencySummary, OneWay, OneWaySummary};

/// The section for one run.
pub(super) fn section(title: &str, summary: &LatencySummary, plan: Option<&LatencyPlan>) -> String {
    let mut out = heading(&format!("LATENCY · {title}"));
    out += &entry("Messages", &outcome(summary));
    out += &entries(&how(summary, plan));
    out.push_str(match (&summary.histogram, summary.processed()) {
        (None, None) => return out + "  No message was acknowledged: there is nothing to measure.\n",
        _ => "\n",
    });
    if let Some(histogram) = &summary.histogram {
        out += &of_histogram(quantity(summary), histogram);
    } else if let Some(processed) = summary.processed() {
        out += &table(quantity(summary), processed, summary.received());
    }
    let derived = derived(summary, plan);
    if !derived.is_empty() {
        out.push('\n');
        out += &entries(&derived);
    }
    out
}

/// Names, each with what is to be said of it.
type Facts = Vec<(String, String)>;

/// All that the section says beside its table and what is in it.
pub(super) fn facts(summary: &LatencySummary, plan: Option<&LatencyPlan>) -> Facts {
    how(summary, plan).into_iter().chain(derived(summary, plan)).collect()
}

fn entries(facts: &[(String, String)]) -> String {
    facts.iter().map(|(key, value)| entry(key, value)).collect()
}

fn fact(key: &str, value: impl Into<String>) -> (String, String) {
    (key.to_owned(), value.into())
}

/// What is made of the samples beside the table.
fn derived(summary: &LatencySummary, plan: Option<&LatencyPlan>) -> Facts {
    let mut facts = Facts::new();
    if summary.histogram.is_some() {
        facts.push(fact(
            "Charts",
            "no latency charts: the writer kept a histogram and no samples (--record histogram), and its figures above \
             are as precise as its bins",
        ));
    }
    if let Some(delay) = &summary.send_delay {
        let (p50, p99, max) = (time(delay.p50_ns), time(delay.p99_ns), time(Some(delay.max_ns)));
        facts.push(fact(
            "Send delay",
            format!("p50 {p50}, p99 {p99}, max {max} from the due time to the publication"),
        ));
    }
    if let Some(half) = &summary.half_rtt_estimate {
        let (mean, p50) = (four_digits(half.mean_ns), nanoseconds(half.p50_ns));
        facts.push(fact("Half RTT", format!("mean {mean} ns, p50 {p50} (estimate: assumes symmetry)")));
    }
    facts.extend(one_way(summary.one_way.as_ref(), plan));
    facts
}

/// What the table's times are.
fn quantity(summary: &LatencySummary) -> &'static str {
    if summary.is_open() { "from due, ns" } else { "RTT, ns" }
}

/// Loop, rate, payload and order, as far as the run says, and what failed rows failed as.
fn how(summary: &LatencySummary, plan: Option<&LatencyPlan>) -> Facts {
    let mut facts = plan.map_or_else(Facts::new, planned);
    for (status, count) in &summary.failed_by_status {
        facts.push(fact("Failed as", format!("{status}: {}", grouped(*count))));
    }
    facts
}

fn planned(plan: &LatencyPlan) -> Facts {
    let mut facts = Facts::new();
    if plan.is_open() {
        let arrivals = plan.arrivals.as_deref().unwrap_or("not recorded");
        let missed = if plan.missed_rate == Some(true) { "; MISSED THE RATE" } else { "" };
        facts.push(fact(
            "Loop",
            format!(
                "open: {} messages due a second, {arrivals} arrivals, {} sent a second{missed}; times are latency \
                 from the due time, not round trips",
                optional(plan.rate_per_s),
                optional(plan.achieved_per_s)
            ),
        ));
    } else if plan.loop_kind.is_some() {
        facts.push(fact("Loop", "closed: each message after the acknowledgement of the one before"));
    }
    if let Some(bytes) = plan.payload_bytes {
        facts.push(fact("Payload", plural(bytes, "byte")));
    }
    if let (Some(duplicated), Some(reordered)) = (plan.duplicated, plan.reordered) {
        let lost = plan.lost.map_or_else(|| "not recorded".into(), grouped);
        let (duplicated, reordered) = (grouped(duplicated), grouped(reordered));
        facts.push(fact(
            "Answers",
            format!(
                "{lost} without an answer, warm-up included; {duplicated} answered twice, {reordered} out of order (the \
                 writer's count)"
            ),
        ));
    }
    facts
}

fn of_histogram(quantity: &str, histogram: &HistogramSummary) -> String {
    let mut out = row(quantity, "to PROCESSED", None);
    for (name, value) in [
        ("samples", Some(histogram.count)),
        ("p50", histogram.p50_ns),
        ("p90", histogram.p90_ns),
        ("p99", histogram.p99_ns),
        ("p99.9", histogram.p99_9_ns),
        ("max", histogram.max_ns),
    ] {
        out += &row(name, &shown(value, grouped), None);
    }
    out
}

/// One-way latencies with their error bound, or why there are none.
fn one_way(summary: Option<&OneWay>, plan: Option<&LatencyPlan>) -> Option<(String, String)> {
    let plan = plan.and_then(|plan| plan.one_way.as_ref())?;
    let Some(summary) = summary else {
        let why = plan.why.as_deref().unwrap_or("no reason recorded");
        return Some(fact("One way", format!("refused: {why}")));
    };
    let direction =
        |way: &OneWaySummary| format!("p50 {}, p99 {}", nanoseconds(way.p50_ns), nanoseconds(way.p99_ns));
    let bound = optional(summary.bound_ns);
    Some(fact(
        "One way",
        format!(
            "to guest {}; to host {}; each ±{bound} ns, the error bound of the clocks' offset{}",
            direction(&summary.to_guest),
            direction(&summary.to_host),
            clocks(plan)
        ),
    ))
}

/// As precise as run.json has one-way figures, and no more: `284.5`, `285`.
fn tenths(ns: f64) -> String {
    let tenths = (ns * 10.0).round() / 10.0;
    if tenths.abs() < 1e3 { tenths.to_string() } else { four_digits(tenths) }
}

/// Always in nanoseconds, unlike [`time`]: what stands beside it is, too.
fn nanoseconds(ns: Option<f64>) -> String {
    shown(ns, |ns| format!("{} ns", tenths(ns)))
}

fn clocks(plan: &OneWayPlan) -> String {
    let exchanges = plan.exchanges.map(|n| plural(n, "exchange"));
    let drift = plan.drift_ppm.map(|ppm| format!("drift {} ppm", four_digits(ppm)));
    let known: Vec<_> = exchanges.into_iter().chain(drift).collect();
    if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) }
}

fn outcome(summary: &LatencySummary) -> String {
    let share = summary.ok as f64 * 100.0 / summary.sent as f64;
    format!(
        "{} sent, {} ok ({share:.3} %), {} failed, {} lost",
        grouped(summary.sent),
        grouped(summary.ok),
        grouped(summary.failed),
        grouped(summary.lost)
    )
}

fn table(quantity: &str, processed: &Distribution, received: Option<&Distribution>) -> String {
    let mut out = row(quantity, "to PROCESSED", received.map(|_| "to RECEIVED"));
    let mut add = |name: &str, of: &dyn Fn(&Distribution) -> Option<String>| {
        let cell = |d| of(d).unwrap_or_else(|| NOT_AVAILABLE.into());
        out += &row(name, &cell(processed), received.map(cell).as_deref());
    };
    add("samples", &|d| Some(grouped(d.count)));
    add("min", &|d| Some(grouped(d.min_ns)));
    add("max", &|d| Some(grouped(d.max_ns)));
    add("mean", &|d| Some(four_digits(d.mean_ns)));
    add("stddev", &|d| d.stddev_ns.map(four_digits));
    for (index, (name, _)) in processed.percentiles().iter().enumerate() {
        add(name, &|d| d.percentiles()[index].1.map(grouped));
    }
    out
}

fn row(name: &str, processed: &str, received: Option<&str>) -> String {
    let line = format!("  {name:<14}{processed:>28}{:>28}", received.unwrap_or_default());
    format!("{}\n", line.trim_end())
}
