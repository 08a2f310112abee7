//! Open loop, soak and one-way latencies over a native pair.

mod common;

use std::fs;

use common::{Place, stderr};

#[test]
fn a_rate_that_nobody_can_reach_is_no_success_and_the_verdict_follows_from_the_rows() {
    for arrivals in ["uniform", "poisson"] {
        let place = Place::with_region(1 << 20);
        let _guest = place.guest(&[]);
        let run = |rate: &str, messages: &str| {
            let args = ["--frames", "none", "--messages", messages, "--rate", rate, "--arrivals", arrivals];
            let output = place.run_host(&args);
            let latency = place.run_json()["latency"].clone();
            let is_half =
                latency["achieved_per_s"].as_f64() >= latency["rate_per_s"].as_f64().map(|r| r / 2.0);
            let code = if is_half { 0 } else { 3 };
            assert_eq!(output.status.code(), Some(code), "{arrivals} {rate}: {}", stderr(&output));
            (String::from_utf8(output.stdout).unwrap(), latency)
        };
        let (text, latency) = run("50M", "20000");
        assert!(text.contains("RATE MISSED: "), "{text}");
        assert_eq!((&latency["missed_rate"], &latency["loop"]), (&true.into(), &"open".into()));
        assert!(latency["achieved_per_s"].as_f64().unwrap() < 25e6, "{latency}");

        // Whether this machine keeps an easy rate is its own affair; that the verdict follows from the rows is ours.
        let (text, latency) = run("1k", "300");
        let missed = latency["missed_rate"] == true;
        assert_eq!((text.contains("RATE MISSED"), &latency["arrivals"]), (missed, &arrivals.into()));
        assert_eq!(latency["rate_per_s"], 1000.0);
        let rows = place.rows("latency_results.csv");
        assert_eq!(rows.len(), 300);
        let ns = |row: &std::collections::HashMap<String, String>, column: &str| {
            row[column].parse::<u64>().unwrap()
        };
        for row in &rows {
            // Both are rounded on their own.
            assert!(ns(row, "send_delay_ns") <= ns(row, "latency_ns") + 1, "{row:?}");
        }
        if arrivals == "uniform" {
            // 299 gaps of a millisecond, and what the last message was later than the first.
            let delay = |row| ns(row, "send_delay_ns") as f64;
            let span_ns = 299e6 + delay(&rows[299]) - delay(&rows[0]);
            let is_below = 299e9 / span_ns < 990.0 - 0.1;
            assert!(missed || !is_below, "{} sent in {span_ns} ns is no kept rate", rows.len());
        }
    }
}

#[test]
fn a_soak_by_time_keeps_a_histogram_and_loses_doubles_and_swaps_nothing() {
    let place = Place::with_region(1 << 20);
    let _guest = place.guest(&[]);
    let output = place.run_host(&["--duration", "1s", "--payload", "64"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let latency = &place.run_json()["latency"];
    for field in ["lost", "duplicated", "reordered"] {
        assert_eq!(latency[field], 0, "{field}");
    }
    let (sent, counted) = (latency["sent"].as_u64().unwrap(), latency["ok"].as_u64().unwrap());
    assert_eq!(sent, counted + latency["warmup"].as_u64().unwrap());
    assert_eq!((&latency["record"], &latency["duration_s"]), (&"histogram".into(), &1.0.into()));
    assert!(!place.out().join("latency_results.csv").exists());
    let histogram = fs::read_to_string(place.out().join("latency.hgrm")).unwrap();
    assert!(histogram.contains(&format!("Total count    = {counted:>12}]")), "{histogram}");
}

#[test]
fn one_way_latencies_are_accepted_with_a_bound_and_sum_to_the_round_trip() {
    let place = Place::with_region(1 << 20);
    let _guest = place.guest(&[]);
    // On a machine so busy that neither burst of timestamps is undisturbed they are refused, as they must be.
    let (output, run) = (0..10)
        .map(|_| {
            let output = place.run_host(&["--messages", "20000", "--frames", "none", "--one-way"]);
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            (output, place.run_json())
        })
        .find(|(_, run)| run["latency"]["one_way"]["accepted"] == true)
        .expect("accepted once in ten times");
    let latency = &run["latency"];
    let one_way = &latency["one_way"];
    let (bound, rtt) = (one_way["bound_ns"].as_f64().unwrap(), latency["rtt_ns"]["p50"].as_f64().unwrap());
    assert!(0.0 < bound && bound < rtt, "{bound} {rtt}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("one way  p50 "));
    let rows = place.rows("latency_results.csv");
    assert_eq!(rows.len(), 20_000);
    for row in rows {
        let ns = |column: &str| row[column].parse::<i64>().unwrap_or_else(|_| panic!("{row:?}"));
        // Three figures, each rounded on its own.
        assert!((ns("to_guest_ns") + ns("to_host_ns") - ns("latency_ns")).abs() <= 2, "{row:?}");
    }
}

#[test]
fn an_open_loop_too_short_for_a_message_says_so() {
    let place = Place::with_region(1 << 20);
    let _guest = place.guest(&[]);
    let args = ["--frames", "none", "--rate", "0.001", "--arrivals", "poisson", "--duration", "1ms"];
    let output = place.run_host(&args);
    insta::assert_debug_snapshot!(common::complaint(&place, &output));
}
