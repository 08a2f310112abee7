//! The bandwidth section: tables with a line for each frame format and way, then the pace of streams.

use super::stream;
use super::text::{
    entry, four_digits, grouped, heading, named, optional, percent, plural, size, time, wrapped,
};
use crate::input::{BandwidthPlan, Mismatch};
use crate::summary::{BandwidthSummary, FrameSummary};

/// The section for one run.
pub(super) fn section(title: &str, summary: &BandwidthSummary, plan: Option<&BandwidthPlan>) -> String {
    let mut out = heading(&format!("BANDWIDTH · {title}"));
    let facts = facts(summary, plan);
    out += &facts.iter().map(|(key, value)| entry(key, value)).collect::<String>();
    if !facts.is_empty() {
        out.push('\n');
    }
    out += &table(["payload", "bytes", "sent", "ok", "failed", "lost", "success"], &summary.frames, |f| {
        [
            f.label.clone(),
            grouped(f.size_bytes),
            grouped(f.sent),
            grouped(f.ok),
            grouped(f.failed),
            grouped(f.lost),
            format!("{:.1} %", f.success_rate * 100.0),
        ]
    });
    for frame in &summary.frames {
        for (status, count) in &frame.failed_by_status {
            out += &wrapped(&format!("  {:<12} ", frame.label), &format!("{status}: {}", grouped(*count)));
        }
    }
    out += &rates(summary);
    out += &times(&summary.frames);
    out += &copies(&summary.frames);
    for frame in &summary.frames {
        out += &stream::section(frame);
    }
    out
}

/// Names, each with what is to be said of it: what the frames' ways have in common, and how many were checked, as far as
/// the rows or the plan say.
pub(super) fn facts(summary: &BandwidthSummary, plan: Option<&BandwidthPlan>) -> Vec<(String, String)> {
    let frames = &summary.frames;
    let mut parts: Vec<String> = Vec::new();
    let mut add = |name: &str, of: &dyn Fn(&FrameSummary) -> Option<String>| {
        let mut values: Vec<String> = Vec::new();
        for value in frames.iter().filter_map(of) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        if !values.is_empty() {
            parts.push(format!("{name} {}", values.join(" and ")));
        }
    };
    add("mode", &|f| f.setup.mode.clone());
    add("direction", &|f| f.setup.direction.clone());
    let at_once = plan.is_some_and(BandwidthPlan::is_both_ways);
    add("both", &|_| at_once.then(|| "at once".to_owned()));
    let overlapping = |of: Option<u64>, f: &FrameSummary| of.filter(|_| f.setup.overlaps());
    add("chunks of", &|f| overlapping(f.chunk_bytes, f).map(size));
    add("slots", &|f| f.slots.map(grouped));
    add("consume", &|f| f.setup.consume.clone());
    add("host", &|f| f.setup.host_copying());
    add("guest", &|f| f.setup.guest_copying());
    let has_cache = frames.iter().any(|f| f.setup.cache.is_some());
    add("cache", &|f| f.setup.cache.clone());
    let mut facts = Vec::new();
    if !parts.is_empty() {
        facts.push(("Way".to_owned(), parts.join(", ")));
    }
    if has_cache {
        facts.extend(cache(plan));
    }
    if frames.iter().any(|f| !f.digests.is_empty() || f.spared > 0) {
        facts.extend(coverage(frames, plan));
    }
    facts
}

fn cache(plan: Option<&BandwidthPlan>) -> Option<(String, String)> {
    let plan = plan?;
    let known = |name: &str, bytes: Option<u64>| bytes.map(|b| format!("{name} {}", size(b)));
    let parts: Vec<_> =
        [known("working set", plan.working_set_bytes), known("last-level cache", plan.llc_bytes)]
            .into_iter()
            .flatten()
            .collect();
    (!parts.is_empty()).then(|| ("Caches".to_owned(), parts.join(", ")))
}

fn coverage(frames: &[FrameSummary], plan: Option<&BandwidthPlan>) -> Vec<(String, String)> {
    let (mut checked, mut of, mut mismatches) = (0, 0, 0);
    let mut digests: Vec<&str> = Vec::new();
    for frame in frames {
        checked += frame.checked;
        mismatches += frame.mismatches.len() as u64;
        of += arrived(frame);
        for digest in &frame.digests {
            if !digests.contains(&digest.as_str()) {
                digests.push(digest);
            }
        }
    }
    let every = plan
        .and_then(|plan| plan.verify_every)
        .filter(|every| *every > 1)
        .map_or_else(String::new, |every| format!(", one in {every} asked for"));
    let digests = if digests.is_empty() { "none".into() } else { digests.join(" and ") };
    let (checked, of) = (grouped(checked), plural(of, "frame"));
    let found = plural(mismatches, "mismatch");
    let all = format!("checked {checked} of {of} by {digests}, {found}{every}");
    std::iter::once(("Verified".to_owned(), all)).chain(frames.iter().filter_map(mismatched)).collect()
}

/// Frames whose content could have been checked.
fn arrived(frame: &FrameSummary) -> u64 {
    frame.ok + frame.mismatches.len() as u64
}

/// Mismatches named one by one; the others are counted.
const NAMED: usize = 5;

/// Which frames did not hold what was sent, and from where on.
fn mismatched(frame: &FrameSummary) -> Option<(String, String)> {
    let one = |mismatch: &Mismatch| {
        let iteration = grouped(mismatch.iteration);
        let from = mismatch.offset.map(|offset| format!(" from byte {} on", grouped(offset)));
        format!("iteration {iteration}{}", from.unwrap_or_default())
    };
    let mut parts: Vec<String> = frame.mismatches.iter().take(NAMED).map(one).collect();
    if parts.is_empty() {
        return None;
    }
    let more = frame.mismatches.len().saturating_sub(NAMED);
    if more > 0 {
        parts.push(format!("and {} more", grouped(more as u64)));
    }
    Some(("Mismatch".to_owned(), format!("{}: {}", frame.label, parts.join(", "))))
}

fn rates(summary: &BandwidthSummary) -> String {
    let roofed = summary.frames.iter().any(|f| f.roof.is_some());
    let last = if roofed { "of roof" } else { "> limit" };
    let streamed = summary.frames.iter().any(|f| f.stream.is_some());
    let of = if streamed { "; a stream's from one frame's end to the next" } else { "" };
    let mut out = format!("\n  Rate, GB/s (1e9 bytes/s{of})\n");
    out += &table(["payload", "mean", "stddev", "median", "min", "max", last], &summary.frames, |f| {
        let figure = |of: fn(&crate::summary::Rate) -> Option<f64>| optional(f.rate.as_ref().and_then(of));
        [
            f.label.clone(),
            figure(|r| Some(r.mean_gb_per_s)),
            figure(|r| r.stddev_gb_per_s),
            figure(|r| Some(r.median_gb_per_s)),
            figure(|r| Some(r.min_gb_per_s)),
            figure(|r| Some(r.max_gb_per_s)),
            match roofed {
                true if f.is_at_asked_rate() => "asked rate".into(),
                true => percent(f.share_of_roof.and_then(|s| s.total)),
                false => grouped(f.above_limit),
            },
        ]
    });
    for frame in summary.frames.iter().filter(|f| f.is_at_asked_rate()) {
        let due = optional(frame.due_fps);
        out += &wrapped(
            "  ",
            &format!(
                "{}: at the asked rate of {due} frames/s, which says nothing of the link's limit",
                frame.label
            ),
        );
    }
    if roofed {
        out.push('\n');
        out += &roofs(&summary.frames);
        out += &wrapped(
            "  ",
            "of roof: the median over what plain copies of that size reached in this run: 1 / (1 / write + 1 / read) \
             where a whole frame is written, then read, and the lower of the two where both go on at once",
        );
    }
    if let Some(limit) = &summary.believable_limit {
        let source = match &limit.copy_kernel {
            Some(kernel) => format!("the fastest copy measured in this run ({kernel})"),
            None => "as no copy was measured in this run".into(),
        };
        out += &wrapped("  ", &format!("limit: {} GB/s, {source}", four_digits(limit.gb_per_s)));
    }
    out
}

/// What plain copies reached, with the lowest of the measurements where the run has them.
fn roofs(frames: &[FrameSummary]) -> String {
    let spread = frames.iter().any(|f| f.roof.is_some_and(|roof| roof.write_low_gb_per_s.is_some()));
    if !spread {
        return table(["roof", "write", "read", "total", "", "", ""], frames, |f| {
            let roof = f.roof.unwrap_or_default();
            let [write, read, total] =
                [roof.write_gb_per_s, roof.read_gb_per_s, roof.total_gb_per_s].map(optional);
            [f.label.clone(), write, read, total, String::new(), String::new(), String::new()]
        });
    }
    let rows = table(["roof", "write", "lowest", "read", "lowest", "total", "lowest"], frames, |f| {
        let roof = f.roof.unwrap_or_default();
        let [write, write_low, read, read_low, total, total_low] = [
            roof.write_gb_per_s,
            roof.write_low_gb_per_s,
            roof.read_gb_per_s,
            roof.read_low_gb_per_s,
            roof.total_gb_per_s,
            roof.total_low_gb_per_s,
        ]
        .map(optional);
        [f.label.clone(), write, write_low, read, read_low, total, total_low]
    });
    let note = "the roof is the best of what was measured before and after the test; lowest: the worst of these, of \
         total with both sides at their lowest";
    rows + &wrapped("  ", note)
}

fn times(frames: &[FrameSummary]) -> String {
    let stalls = frames.iter().any(|f| f.guest_stall_median_ns.is_some_and(|ns| ns > 0));
    let note = if frames.iter().any(|f| f.setup.overlaps()) {
        "write and read overlap and do not add up"
    } else {
        "a frame's parts add up, the medians of them need not"
    };
    let mut out = format!("\n  Median times ({note})\n");
    let stall = if stalls { "stall" } else { "" };
    out += &table(["payload", "duration", "write", "notify", "read", stall, "verify"], frames, |f| {
        [
            f.label.clone(),
            time(f.duration_median_ns),
            time(f.write_median_ns),
            time(f.notify_median_ns),
            time(f.read_median_ns),
            if stalls { time(f.guest_stall_median_ns) } else { String::new() },
            time(f.verify_median_ns),
        ]
    });
    if stalls {
        out += &wrapped("  ", "stall: the guest waiting for the other side, on its own clock");
    }
    out
}

fn copies(frames: &[FrameSummary]) -> String {
    let to_host = frames.iter().any(|f| f.setup.is_guest_to_host());
    let from_host = frames.iter().any(|f| !f.setup.is_guest_to_host());
    let clock = match (from_host, to_host) {
        (_, false) => "read",
        (false, true) => "write",
        (true, true) => "the guest's",
    };
    let stalled = frames.iter().any(|f| f.guest_stall_median_ns.is_some_and(|ns| ns > 0));
    let stalled = if stalled { "guest's clock, less its stall" } else { "on the guest's own clock" };
    let mut out = format!("\n  Median copy rate, GB/s ({clock}: {stalled}); frames checked\n");
    let of_roof = if frames.iter().any(|f| f.roof.is_some()) { "of roof" } else { "" };
    let header = if of_roof.is_empty() {
        ["payload", "write", "read", "", "", "", "checked"]
    } else {
        ["payload", "write", of_roof, "read", of_roof, "", "checked"]
    };
    out += &table(header, frames, |f| {
        let (write, read) = (optional(f.write_median_gb_per_s), optional(f.read_median_gb_per_s));
        let checked = format!("{}/{}", f.checked, arrived(f));
        let nothing = String::new;
        if of_roof.is_empty() {
            return [f.label.clone(), write, read, nothing(), nothing(), nothing(), checked];
        }
        let share = f.share_of_roof;
        let of_write = percent(share.and_then(|s| s.write));
        let of_read = percent(share.and_then(|s| s.read));
        [f.label.clone(), write, of_write, read, of_read, nothing(), checked]
    });
    out
}

/// The first column flush left, six more flush right.
fn table(header: [&str; 7], frames: &[FrameSummary], cells: impl Fn(&FrameSummary) -> [String; 7]) -> String {
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(frames.iter().map(cells));
    let cells = |row: &[String; 7]| row[1..].iter().map(|cell| format!(" {cell:>10}")).collect::<String>();
    rows.iter().map(|row| named(&row[0], 12, &cells(row))).collect()
}
