//! A guest that lies: whatever it writes, the host neither crashes nor hangs nor calls a lie a result.

mod common;

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use common::{Place, assert_no_leftovers, complaint, double, stderr};
use ivshmem_proto::descriptor::Descriptor;
use ivshmem_proto::guest::{Done, Event, Guest};
use ivshmem_proto::layout::{guest_words as g, result_words as r};
use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::memory::ControlWords as _;
use ivshmem_proto::wire::{Digest, Status, Verdict};
use ivshmem_proto::word::{sequence_of, tag_of};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng as _, SeedableRng as _};

const FRAMES: [&str; 8] = ["--messages", "0", "--sizes", "64KiB", "--iterations", "4", "--timeout", "100ms"];

/// The sequence word of an event that has one.
fn word_of(event: Event) -> u64 {
    match event {
        Event::Ping { word, .. } | Event::Message { word, .. } => word,
        other => panic!("{other:?}"),
    }
}

fn violations(place: &Place) -> String {
    place.run_json()["peer_violations"].to_string()
}

#[test]
fn garbage_in_answers_to_pings_yields_rows_that_say_so() {
    let place = Place::with_region(1 << 20);
    let mut message = 0;
    let liar = double::guest(&place, move |map, _, event| {
        let Event::Ping { word, token } = event else { panic!("{event:?}") };
        message += 1;
        let (status, echo, ack) = match message % 4 {
            // A status of no meaning, a token it cannot have read, the truth about a message that is not there, the truth.
            1 => (u64::MAX, token, word),
            2 => (1, token ^ 1, word),
            3 => (1, token, word ^ 1 << 63),
            _ => (1, token, word),
        };
        map.store(g::status, status, Relaxed);
        map.store(g::token_echo, echo, Relaxed);
        map.store(g::seen_ticks, u64::MAX, Relaxed);
        map.store(g::answered, u64::MAX, Relaxed);
        map.store(g::processed, ack, Release);
    });
    let args = ["--messages", "8", "--warmup", "0", "--frames", "none", "--timeout", "50ms"];
    let output = place.run_host(&args);
    liar.join().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let cycle = ["protocol_error", "mismatch", "timeout_processed", "ok"];
    assert_eq!(place.statuses("latency_results.csv"), [cycle, cycle].concat());
    assert_eq!(place.run_json()["guest"]["kernel"], "?[31mred");
    assert!(violations(&place).contains("answered message 1 with a status that means nothing"));
}

#[test]
fn a_scribbled_page_never_crashes_or_hangs_the_host() {
    let place = Place::with_region(16 << 20);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let liar = double::guest(&place, move |map, guest, event| {
        if let Event::Message { descriptor: Descriptor::Measure { .. }, .. } = event {
            return double::answer(map, guest, event);
        }
        for i in 0..512 {
            let at = g::magic.plus(i);
            // The words that keep the run alive are left alone: identity, echo and heartbeat.
            if ![g::magic, g::layout_version, g::region_bytes, g::session_echo, g::heartbeat].contains(&at) {
                map.store(at, random.next_u64(), Relaxed);
            }
        }
        if let Event::Ping { token, .. } = event {
            map.store(g::token_echo, token, Relaxed);
        }
        let word = if random.next_u64().is_multiple_of(2) { word_of(event) } else { random.next_u64() };
        map.store(g::processed, word, Release);
        let _ = map.load(g::processed, Acquire);
    });
    let args =
        ["--messages", "20", "--warmup", "0", "--sizes", "64KiB", "--iterations", "4", "--timeout", "100ms"];
    let output = place.run_host(&args);
    liar.join().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(place.rows("latency_results.csv").len(), 20);
    assert_eq!(place.rows("bandwidth_results.csv").len(), 4);
    assert!(place.statuses("bandwidth_results.csv").iter().all(|status| status != "ok"));
    assert_no_leftovers(&place.out());
}

#[test]
fn results_of_no_meaning_are_protocol_errors_in_every_mode() {
    for mode in ["whole", "chunked", "stream"] {
        let place = Place::with_region(1 << 20);
        let liar = double::guest(&place, |map, guest, event| {
            double::answer(map, guest, event);
            if let Event::Message { word, descriptor: Descriptor::Frame { check, .. } } = event
                && check.digest != Digest::None
            {
                // An unknown status under the right word, before PROCESSED can have been seen or after: both happen.
                map.store(r::status(sequence_of(word)), u64::MAX, Relaxed);
                map.store(r::verdict_status(sequence_of(word)), u64::MAX, Relaxed);
                map.store(r::mismatch_offset(sequence_of(word)), u64::MAX - 1, Relaxed);
                map.store(r::copy_ns(sequence_of(word)), u64::MAX, Relaxed);
                map.store(r::stall_ns(sequence_of(word)), u64::MAX, Relaxed);
            }
        });
        let chunk: &[&str] = if mode == "chunked" { &["--chunk", "16KiB"] } else { &[] };
        let output = place.host(&FRAMES).args(["--mode", mode]).args(chunk).output().unwrap();
        liar.join().unwrap();
        assert_eq!(output.status.code(), Some(3), "{mode}: {}", stderr(&output));
        assert_eq!(place.rows("bandwidth_results.csv").len(), 4, "{mode}");
        assert_ne!(violations(&place), "[]", "{mode}");
    }
}

#[test]
fn a_guest_that_could_not_take_a_payload_is_a_row_that_says_so() {
    for status in [Status::Stalled, Status::Superseded, Status::Unsupported, Status::BadDescriptor] {
        let place = Place::with_region(1 << 20);
        let liar = double::guest(&place, move |map, guest, event| match event {
            Event::Message { word, descriptor: Descriptor::Frame { .. } } => {
                guest.complete(word, &Done { status, copy_ns: 1_000_000, stall_ns: 999, ..Done::default() });
            }
            _ => double::answer(map, guest, event),
        });
        let output = place.host(&FRAMES).args(["--mode", "chunked", "--chunk", "16KiB"]).output().unwrap();
        liar.join().unwrap();
        assert_eq!(output.status.code(), Some(3), "{status}: {}", stderr(&output));
        assert_eq!(place.statuses("bandwidth_results.csv"), ["guest_error"; 4], "{status}");
        assert!(place.rows("bandwidth_results.csv").iter().all(|row| row["data_verified"] == "0"));
        assert_eq!(violations(&place), "[]", "{status}");
    }
}

#[test]
fn durations_beyond_all_measure_break_no_sum() {
    let place = Place::with_region(1 << 20);
    let liar = double::guest(&place, |map, guest, event| match event {
        Event::Message { word, descriptor: Descriptor::Frame { .. } } => {
            guest.complete(word, &Done { copy_ns: u64::MAX, stall_ns: 1, ..Done::default() });
            guest.judge(word, Verdict::Match, u64::MAX, Some(u64::MAX - 1));
        }
        _ => double::answer(map, guest, event),
    });
    let output = place.run_host(&FRAMES);
    liar.join().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for row in place.rows("bandwidth_results.csv") {
        assert_eq!(row["guest_read_ns"], u64::MAX.to_string());
        assert_eq!(
            (row["status"].as_str(), row["mismatch_offset"].as_str()),
            ("ok", ""),
            "nothing mismatched"
        );
    }
}

#[test]
fn a_watermark_beyond_the_payload_is_held_to_it_and_one_that_stops_short_is_no_transfer() {
    let fetch = |watermark: fn(u64) -> Option<u64>, verify: &str| {
        let place = Place::with_region(1 << 20);
        let liar = double::guest(&place, move |map, guest, event| {
            if let Event::Message { word, descriptor: Descriptor::Fetch { range, .. } } = event
                && let Some(bytes) = watermark(range.len() as u64)
            {
                guest.advance(word, bytes);
            }
            double::answer(map, guest, event);
        });
        let args =
            ["--mode", "chunked", "--chunk", "4KiB", "--direction", "guest-to-host", "--verify", verify];
        let output = place.host(&FRAMES).args(args).output().unwrap();
        liar.join().unwrap();
        (output.status.code(), place.statuses("bandwidth_results.csv").join(" "), violations(&place))
    };
    let beyond = fetch(|_| Some((1 << 40) - 1), "pattern");
    assert_eq!((beyond.0, beyond.1.as_str()), (Some(3), "mismatch mismatch mismatch mismatch"));
    for (_, short) in
        ["none at all", "half"].iter().zip([(|_| None) as fn(u64) -> Option<u64>, |length| Some(length / 2)])
    {
        let (code, statuses, violations) = fetch(short, "none");
        assert_eq!(
            (code, statuses.as_str()),
            (Some(3), "protocol_error protocol_error protocol_error protocol_error")
        );
        assert!(violations.contains("before its watermark had reached the end"), "{violations}");
    }
}

#[test]
fn a_guest_that_runs_ahead_of_a_stream_is_found_out() {
    let place = Place::with_region(1 << 20);
    let liar = double::guest(&place, |map, guest, event| {
        double::answer(map, guest, event);
        if let Event::Message { word, descriptor: Descriptor::Frame { check, .. } } = event
            && check.digest != Digest::None
        {
            map.store(g::processed, tag_of(word) << 40 | (sequence_of(word) + 1000), Release);
        }
    });
    let output = place.host(&FRAMES).args(["--mode", "stream"]).output().unwrap();
    liar.join().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(place.rows("bandwidth_results.csv").len(), 4);
    assert!(violations(&place).contains("which had not been published"), "{}", violations(&place));
}

/// How a run ends whose guest answers the question for its rates with `report`.
fn with_rates(report: impl Fn(&Mapping) + Send + 'static) -> (Place, std::process::Output) {
    let place = Place::with_region(1 << 20);
    let liar = double::guest(&place, move |map, guest, event| match event {
        Event::Message { word, descriptor: Descriptor::Measure { .. } } => {
            report(map);
            guest.complete(word, &Done::default());
        }
        _ => double::answer(map, guest, event),
    });
    let output = place.run_host(&FRAMES);
    liar.join().unwrap();
    (place, output)
}

#[test]
fn rates_that_no_machine_has_are_an_error_or_a_roof_and_never_a_crash() {
    let (place, output) = with_rates(|map| double::rates(u64::MAX).write(map));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(place.rows("bandwidth_results.csv").len(), 4);
    let (_, output) = with_rates(|map| ivshmem_proto::report::RateReport::default().write(map));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));

    let (place, output) = with_rates(|map| {
        double::rates(1).write(map);
        map.store(g::candidates, 99, Relaxed);
    });
    let unknown = complaint(&place, &output);
    let (place, output) = with_rates(|map| map.store(g::candidate_count, u64::MAX, Relaxed));
    insta::assert_debug_snapshot!([unknown, complaint(&place, &output)]);
    assert!(!place.out().join("run.json").exists(), "nothing was measured");
}

#[test]
fn a_guest_that_claims_to_copy_faster_than_it_can_fails_the_run_and_the_files_show_it() {
    let place = Place::with_region(4 << 20);
    let liar = double::guest(&place, |map, guest, event| match event {
        Event::Message { word, descriptor: Descriptor::Frame { .. } } => {
            guest.complete(word, &Done { copy_ns: 1, ..Done::default() });
            guest.judge(word, Verdict::Match, 1, None);
        }
        _ => double::answer(map, guest, event),
    });
    let output = place.run_host(&["--messages", "0", "--sizes", "1MiB", "--iterations", "3"]);
    liar.join().unwrap();
    let (code, line) = complaint(&place, &output);
    assert_eq!(code, Some(1));
    let expected =
        "host-writer: 1MiB payloads appear read at 1048576.00 GB/s, above the 10.00 GB/s that the same core";
    assert!(line.starts_with(expected) && line.ends_with("this figure is wrong"), "{line}");
    assert_eq!(place.rows("bandwidth_results.csv").len(), 3);
    assert_eq!(place.run_json()["roof"]["exceeded"].as_array().unwrap().len(), 1);
}

#[test]
fn a_guest_that_answers_all_but_what_is_asked_beside_the_test_ends_the_run_in_one_line() {
    let place = Place::with_region(1 << 20);
    let liar = double::guest(&place, |map, guest: &mut Guest<'_, Mapping>, event| match event {
        Event::Message { descriptor: Descriptor::Measure { .. }, .. } => {}
        _ => double::answer(map, guest, event),
    });
    let output = place.run_host(&FRAMES);
    liar.join().unwrap();
    insta::assert_debug_snapshot!(complaint(&place, &output));
}
