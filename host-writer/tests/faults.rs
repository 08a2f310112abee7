//! Faults that a real guest-reader commits on request: each is seen, each is a row or a sentence, none ends in a hang.

mod common;

use common::{Place, stderr};
use nix::sys::signal::Signal;

const SIZE: u64 = 256 << 10;
const MODES: [&str; 3] = ["whole", "chunked", "stream"];

/// What a run with a fault showed.
struct Seen {
    shown: String,
    statuses: Vec<String>,
    violations: String,
    rows: Vec<std::collections::HashMap<String, String>>,
}

/// Frames with a fault, 20 of them unless `args` say otherwise.
fn frames(fault: &str, args: &[&str]) -> Seen {
    let place = Place::with_region(4 << 20);
    let _guest = place.guest(&["--inject", fault]);
    let size = SIZE.to_string();
    let common = ["--messages", "0", "--sizes", &size, "--timeout", "300ms"];
    let chunk: &[&str] = if args.contains(&"chunked") { &["--chunk", "16KiB"] } else { &[] };
    let iterations: &[&str] = if args.contains(&"--iterations") { &[] } else { &["--iterations", "20"] };
    let output = place.host(&common).args(chunk).args(iterations).args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{fault} {args:?}: {}", stderr(&output));
    assert_eq!(stderr(&output), "", "{fault} {args:?}");
    let run = place.run_json();
    let violations = run["peer_violations"].clone();
    // Whatever the guest did is said on the terminal, too: each kind once, with the first of it.
    let shown = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = shown.lines().filter_map(|line| line.strip_prefix("PROTOCOL ")).collect();
    let kinds = run["peer_violation_kinds"].as_array().unwrap();
    assert_eq!(
        (lines.len(), kinds.is_empty()),
        (kinds.len(), violations == serde_json::json!([])),
        "{shown}"
    );
    for (line, kind) in lines.iter().zip(kinds) {
        let first = kind["first"].as_str().unwrap();
        let more = match kind["count"].as_u64().unwrap() {
            1 => String::new(),
            count => format!(" (and {} more of this kind)", count - 1),
        };
        assert_eq!(*line, format!("{first}{more}"));
    }
    // And how the messages ended that are not ok.
    let counts = run["bandwidth"]["status_counts"].as_object().unwrap();
    for (name, count) in counts.iter().filter(|(name, _)| *name != "ok") {
        assert!(shown.contains(&format!("{count} {name}")), "{shown}");
    }
    Seen {
        shown,
        statuses: place.statuses("bandwidth_results.csv"),
        violations: violations.to_string(),
        rows: place.rows("bandwidth_results.csv"),
    }
}

/// All messages ok but those named.
fn all_ok_but(count: usize, exceptions: &[(usize, &str)]) -> Vec<String> {
    let mut statuses = vec!["ok".to_owned(); count];
    for &(iteration, status) in exceptions {
        statuses[iteration - 1] = status.to_owned();
    }
    statuses
}

#[test]
fn a_torn_or_corrupted_frame_is_a_mismatch_under_every_check_in_every_mode() {
    for mode in MODES {
        for verify in ["sha256", "xxh3", "crc32c", "pattern"] {
            for (fault, offset) in [("torn=3", SIZE / 2), ("corrupt=3", 0)] {
                let seen = frames(fault, &["--mode", mode, "--verify", verify, "--iterations", "4"]);
                assert_eq!(seen.statuses, all_ok_but(4, &[(3, "mismatch")]), "{mode} {verify} {fault}");
                let expected = if verify == "pattern" { offset.to_string() } else { String::new() };
                assert_eq!(seen.rows[2]["mismatch_offset"], expected, "{mode} {verify} {fault}");
                let counted = format!("{verify} checked 4 of 4, 1 mismatch");
                assert!(seen.shown.contains(&counted), "{}", seen.shown);
                let at = if verify == "pattern" {
                    format!(", at byte {offset}\n")
                } else {
                    "; --verify pattern tells the byte\n".into()
                };
                let first = format!("first mismatch: 256KiB 3, message 3 of the session{at}");
                assert!(seen.shown.contains(&first), "{}", seen.shown);
                assert_eq!((seen.rows[2]["data_verified"].as_str(), seen.violations.as_str()), ("0", "[]"));
            }
        }
    }
}

#[test]
fn a_slot_that_the_guest_did_not_write_again_is_a_mismatch_under_every_check() {
    for verify in ["sha256", "xxh3", "crc32c", "pattern"] {
        let args = ["--mode", "stream", "--direction", "guest-to-host", "--verify", verify];
        // Message 1 has content prepared; by message 13 every slot has been used.
        let seen = frames("stale=13", &args);
        assert_eq!(seen.statuses, all_ok_but(20, &[(12, "mismatch")]), "{verify}");
        let offset = &seen.rows[11]["mismatch_offset"];
        assert_eq!(offset.parse::<u64>().is_ok_and(|at| at < 8), verify == "pattern", "{verify}: {offset}");
        // Each message by itself prepares content of its own.
        let seen = frames("stale=8", &["--direction", "guest-to-host", "--verify", verify]);
        assert_eq!(seen.statuses, all_ok_but(20, &[(4, "mismatch")]), "{verify}");
    }
}

#[test]
fn an_acknowledgement_that_never_comes_is_a_timeout_and_in_a_stream_one_out_of_order() {
    for mode in ["whole", "chunked"] {
        let seen = frames("drop-ack=2", &["--mode", mode]);
        assert_eq!(seen.statuses, all_ok_but(20, &[(2, "timeout_processed")]), "{mode}");
    }
    let fetched = frames("drop-ack=2", &["--direction", "guest-to-host"]);
    assert_eq!(
        fetched.statuses,
        all_ok_but(20, &[(1, "timeout_processed")]),
        "message 1 has content prepared"
    );
    let last = frames("drop-ack=5", &["--mode", "stream", "--iterations", "5"]);
    assert_eq!(last.statuses, all_ok_but(5, &[(5, "timeout_processed")]));
    let seen = frames("drop-ack=2", &["--mode", "stream"]);
    assert_eq!((seen.statuses.len(), seen.statuses[1].as_str()), (20, "protocol_error"));
    assert!(seen.violations.contains("acknowledged a later message before message 2"), "{}", seen.violations);
}

#[test]
fn acknowledgements_out_of_order_are_seen_and_a_late_one_satisfies_nothing() {
    for mode in ["whole", "chunked"] {
        let seen = frames("reorder=2", &["--mode", mode]);
        assert_eq!(seen.statuses, all_ok_but(20, &[(2, "timeout_processed")]), "{mode}");
    }
    for direction in ["host-to-guest", "guest-to-host"] {
        let seen = frames("reorder=3", &["--mode", "stream", "--direction", direction]);
        let at = if direction == "host-to-guest" { 3 } else { 2 };
        assert_eq!(
            (seen.statuses.len(), seen.statuses[at - 1].as_str()),
            (20, "protocol_error"),
            "{direction}"
        );
        assert!(seen.statuses[..at - 1].iter().all(|status| status == "ok"), "{:?}", seen.statuses);
        // No more than what was in flight is in doubt.
        assert!(seen.statuses[at + 3..].iter().all(|status| status == "ok"), "{:?}", seen.statuses);
        assert!(
            seen.violations.contains("acknowledged a later message before message 3"),
            "{}",
            seen.violations
        );
    }
    let both = frames("reorder=2", &["--direction", "both"]);
    assert_eq!(both.statuses[..2], ["protocol_error", "protocol_error"]);
    assert!(both.statuses[2..].iter().all(|status| status == "ok"), "{:?}", both.statuses);
}

#[test]
fn an_acknowledgement_of_the_future_is_never_a_short_duration() {
    for mode in ["whole", "chunked"] {
        let seen = frames("future-ack=2", &["--mode", mode]);
        let expected = all_ok_but(20, &[(2, "protocol_error"), (3, "protocol_error")]);
        assert_eq!(seen.statuses, expected, "{mode}");
        let sentence =
            "acknowledged message 3 of the session (warm-up included), which had not been published";
        assert!(seen.violations.contains(sentence), "{mode}: {}", seen.violations);
    }
    for direction in ["host-to-guest", "guest-to-host"] {
        let seen = frames("future-ack=3", &["--mode", "stream", "--direction", direction]);
        let at = if direction == "host-to-guest" { 3 } else { 2 };
        assert_eq!(seen.statuses[at - 1..=at], ["protocol_error", "protocol_error"], "{direction}");
        assert!(seen.statuses[..at - 1].iter().chain(&seen.statuses[at + 3..]).all(|status| status == "ok"));
        assert_ne!(seen.violations, "[]");
    }
    for mode in ["whole", "chunked"] {
        // The next message asks for content: it is asked for once more.
        let seen = frames("future-ack=2", &["--mode", mode, "--direction", "guest-to-host"]);
        assert_eq!(seen.statuses, all_ok_but(20, &[(1, "protocol_error")]), "{mode}");
    }
    let both = frames("future-ack=2", &["--direction", "both"]);
    assert_eq!(both.statuses[..2], ["protocol_error", "protocol_error"]);
}

#[test]
fn a_verdict_that_changes_is_noticed() {
    for mode in MODES {
        let seen = frames("flip-verdict=2", &["--mode", mode, "--verify", "xxh3"]);
        let found = seen.violations.contains("changed its verdict on message 2");
        // In a stream the first verdict may not have been seen.
        let too_late = mode == "stream" && seen.statuses == all_ok_but(20, &[(2, "mismatch")]);
        assert!(found || too_late, "{mode}: {} {:?}", seen.violations, seen.statuses);
    }
}

#[test]
fn a_guest_that_writes_to_the_hosts_page_is_named_and_the_run_goes_on() {
    for mode in MODES {
        let seen = frames("scribble=2", &["--mode", mode]);
        assert_eq!(seen.statuses, all_ok_but(20, &[]), "{mode}");
        let sentence = "the guest wrote to the host's page: 0xffffffffffffffff stands at offset 0x28";
        assert!(seen.violations.contains(sentence), "{mode}: {}", seen.violations);
    }
}

#[test]
fn faults_on_pings_are_rows_or_sentences_too() {
    for (fault, exceptions, sentence) in [
        ("drop-ack=5", &[(5, "timeout_processed")][..], ""),
        (
            "future-ack=5",
            &[(5, "protocol_error"), (6, "protocol_error")],
            "acknowledged message 6, which had not",
        ),
        ("scribble=5", &[], "the guest wrote to the host's page"),
    ] {
        for payload in ["0", "64"] {
            let place = Place::with_region(1 << 20);
            let _guest = place.guest(&["--inject", fault]);
            let args = ["--messages", "20", "--warmup", "0", "--frames", "none", "--timeout", "100ms"];
            let output = place.host(&args).args(["--payload", payload]).output().unwrap();
            assert_eq!(output.status.code(), Some(3), "{fault}: {}", stderr(&output));
            assert_eq!(place.statuses("latency_results.csv"), all_ok_but(20, exceptions), "{fault}");
            let run = place.run_json();
            assert!(
                run["peer_violations"].to_string().contains(sentence),
                "{fault}: {}",
                run["peer_violations"]
            );
            let not_ok = exceptions.len() as u64;
            assert_eq!(
                run["latency"]["rtt_ns"]["count"],
                20 - not_ok,
                "only what ended well is in the histogram"
            );
        }
    }
}

#[test]
fn a_fault_says_when_it_was_committed_and_when_it_never_was() {
    for (fault, args, line) in [
        ("drop-ack=3", &["--messages", "5", "--frames", "none"][..], "fault drop-ack=3 was committed"),
        (
            "torn=1005",
            &["--messages", "5", "--frames", "none"],
            "fault torn=1005 was not committed: the session had 5 messages",
        ),
        (
            "torn=3",
            &["--messages", "5", "--frames", "none"],
            "fault torn=3 was not committed: message 3 was of a kind that it does not exist for",
        ),
        (
            "corrupt=2",
            &["--messages", "0", "--sizes", "64", "--iterations", "3"],
            "fault corrupt=2 was committed",
        ),
    ] {
        let place = Place::with_region(1 << 20);
        let mut guest = place.guest(&["--inject", fault]);
        place.run_host(&[args, &["--warmup", "0", "--timeout", "100ms"]].concat());
        // Its log ends with it, so that a line that is missing is no line to wait for.
        guest.signal(Signal::SIGTERM);
        guest.wait_for_line(line);
    }
}
