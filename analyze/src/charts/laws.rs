//! What every picture keeps to, whatever is drawn: tested on the shapes, of which the PNG and the SVG are made.

use std::fmt::Write as _;
use std::path::Path;

use super::drawing::{Anchor, Drawing, Layer, Shape, TextLine, UNITS};
use super::forest::{self, ForestHeading, ForestRow, ForestVerdict};
use super::trend::{self, Trend, TrendPoint, TrendUnit};
use super::{Picture, pictures};
use crate::analysis::Analysis;
use crate::input;

/// Left, top, right and bottom in pixels, of ink rather than of the line's box.
type Bounds = [f64; 4];

fn bounds_of(line: &TextLine) -> Bounds {
    let pixels = |units: i32| f64::from(units) / f64::from(UNITS);
    let (x, y, width) = (pixels(line.at.0), pixels(line.at.1), pixels(line.width));
    let before = match line.anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => width / 2.0,
        Anchor::End => width,
    };
    // Capitals are 0.71 of the em high, and reach 0.21 below; an em is 0.85 of the size.
    let (above, below) = (pixels(line.size) * 0.6, pixels(line.size) * 0.17);
    match line.upwards {
        false => [x - before, y - above, x - before + width, y + below],
        true => [x - above, y + before - width, x + below, y + before],
    }
}

fn texts(drawing: &Drawing) -> impl Iterator<Item = &TextLine> {
    drawing.shapes.iter().filter_map(|shape| match shape {
        Shape::Text(line) => Some(line),
        _ => None,
    })
}

/// The shapes of each stretch of a layer.
fn layers(drawing: &Drawing, wanted: Layer) -> Vec<&[Shape]> {
    let begins = |shape: &Shape| matches!(shape, Shape::Layer(_));
    let mut parts = Vec::new();
    let mut rest = drawing.shapes.as_slice();
    while let Some(begin) = rest.iter().position(begins) {
        let end = rest[begin + 1..].iter().position(begins).map_or(rest.len(), |end| begin + 1 + end);
        if rest[begin] == Shape::Layer(wanted) {
            parts.push(&rest[begin + 1..end]);
        }
        rest = &rest[end..];
    }
    parts
}

fn nothing_is_outside(name: &str, drawing: &Drawing) {
    let (width, height) = (drawing.width as i32, drawing.height as i32);
    let inside = |(x, y): (i32, i32)| (0..=width * UNITS).contains(&x) && (0..=height * UNITS).contains(&y);
    for shape in &drawing.shapes {
        let is_inside = match shape {
            Shape::Block { left, top, right, bottom, .. } => {
                *left >= 0 && *top >= 0 && *right <= width && *bottom <= height
            }
            Shape::Stroke { points, .. } | Shape::Polygon { points, .. } => points.iter().all(|p| inside(*p)),
            Shape::Circle { center, .. } => inside(*center),
            Shape::Text(line) => {
                let [left, top, right, bottom] = bounds_of(line);
                left >= -1.0 && top >= 0.0 && right <= f64::from(width) && bottom <= f64::from(height)
            }
            Shape::Layer(_) => true,
        };
        assert!(is_inside, "{name}: outside: {shape:?}");
    }
}

fn no_text_is_over_another(name: &str, drawing: &Drawing) {
    let all: Vec<(&str, Bounds)> =
        texts(drawing).map(|line| (line.content.as_str(), bounds_of(line))).collect();
    for (index, (one, a)) in all.iter().enumerate() {
        for (other, b) in &all[index + 1..] {
            let apart = a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1];
            assert!(apart, "{name}: `{one}` {a:?} and `{other}` {b:?}");
        }
    }
}

fn panels_are_whole(name: &str, drawing: &Drawing) {
    let axes = layers(drawing, Layer::Axes);
    let marks = layers(drawing, Layer::Marks);
    assert_eq!((axes.len(), marks.len()), (drawing.hover.len(), drawing.hover.len()), "{name}");
    for (axes, marks) in axes.iter().zip(&marks) {
        let labels = axes.iter().filter(|shape| matches!(shape, Shape::Text(_))).count();
        assert!(labels >= 3, "{name}: {labels} labels");
        let is_mark = |shape: &&Shape| !matches!(shape, Shape::Text(_));
        assert!(marks.iter().filter(is_mark).count() > 0, "{name}: an empty plot");
    }
    for panel in &drawing.hover {
        let [left, top, width, height] = panel.plot;
        assert!(width > 100.0 && height > 20.0, "{name}: {:?}", panel.plot);
        assert!(!panel.series.is_empty(), "{name}, {}: nothing to point at", panel.title);
        for series in &panel.series {
            assert!(!series.points.is_empty() && series.points.len() <= 400, "{name}: {}", series.name);
            for point in &series.points {
                let across = (left - 0.5..=left + width + 0.5).contains(&point.x);
                let down = (top - 0.5..=top + height + 0.5).contains(&point.y);
                assert!(across && down && !point.text.is_empty(), "{name}: {point:?} of {:?}", panel.plot);
            }
        }
    }
}

/// Tags that are opened and closed in turn, and texts.
fn is_well_formed(name: &str, markup: &str) -> usize {
    let mut open = Vec::new();
    let mut texts = 0;
    for piece in markup.split('<').skip(1) {
        let (tag, behind) = piece.split_once('>').unwrap_or_else(|| panic!("{name}: {piece}"));
        assert!(!behind.contains('>'), "{name}: {piece}");
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "{name}");
        } else if !tag.ends_with('/') {
            let element = tag.split(' ').next().unwrap_or_default();
            texts += usize::from(element == "text");
            open.push(element);
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{name}: {tag}");
    }
    assert!(open.is_empty(), "{name}: {open:?}");
    texts
}

fn keeps_the_laws(picture: &Picture<'_>, has_plots: bool) {
    let (name, drawing) = (picture.name, picture.drawing().unwrap());
    nothing_is_outside(name, drawing);
    no_text_is_over_another(name, drawing);
    assert_eq!(!drawing.hover.is_empty(), has_plots, "{name}");
    panels_are_whole(name, drawing);
    let svg = picture.svg().unwrap();
    assert_eq!(is_well_formed(name, &svg.markup), texts(drawing).count(), "{name}");
    assert!(!svg.markup.contains("NaN") && !svg.markup.contains("inf"), "{name}");
    let standalone = svg.standalone(picture.width, picture.height);
    assert!(standalone.contains("@font-face") && !standalone.contains("http://fonts"), "{name}");
    assert!(!picture.alt.is_empty() && !picture.title.is_empty(), "{name}");
}

const LATENCY: &str = "iteration,latency_ns,latency_us,received_ns,status";

fn latency_file(directory: &Path, values: impl IntoIterator<Item = u64>) {
    let mut csv = format!("{LATENCY}\n");
    for (ns, iteration) in values.into_iter().zip(1..) {
        writeln!(csv, "{iteration},{ns},0,{},ok", ns - ns / 4).unwrap();
    }
    std::fs::write(directory.join("latency_results.csv"), csv).unwrap();
}

fn bandwidth_file(directory: &Path, frames: &[(&str, u64)]) {
    let mut csv =
        "iteration,frame_type,width,height,bpp,test_size_bytes,test_size_mb,duration_ns,duration_ms,\
                   bandwidth_mbps,bandwidth_gbps,data_verified,write_ns,notify_ns,read_ns,verify_ns,status\n"
            .to_owned();
    for (name, bytes) in frames {
        for i in 1..=10_u64 {
            let (write, read, verify) = (bytes / 10 + i * 7, bytes / 3 + i * 900, bytes);
            let duration = write + 150 + read;
            let gib = *bytes as f64 / duration as f64 * 1e9 / f64::from(1 << 30);
            writeln!(
                csv,
                "{i},{name},1,1,24,{bytes},0,{duration},0,0,{gib:.4},1,{write},150,{read},{verify},ok"
            )
            .unwrap();
        }
    }
    std::fs::write(directory.join("bandwidth_results.csv"), csv).unwrap();
}

fn analysis(of: impl FnOnce(&Path)) -> Analysis {
    let directory = tempfile::tempdir().unwrap();
    of(directory.path());
    Analysis::of(input::read(&[directory.path().to_path_buf()]).unwrap())
}

/// A triangular body, a second level, and a tail over four decades.
fn typical(count: u64) -> impl Iterator<Item = u64> {
    (1..=count).map(|i| {
        let body = 120 + i * 7_919 % 21 + i * 104_729 % 21 + if i % 7 == 0 { 90 } else { 0 };
        if i % 400 == 0 { body * (i / 4 % 9_000 + 2) } else { body }
    })
}

#[test]
fn latency_of_many_runs_of_figures() {
    let scenes: [(&str, Vec<u64>); 9] = [
        ("typical", typical(20_000).collect()),
        ("few", typical(90).collect()),
        ("one", vec![130]),
        ("two", vec![130, 131]),
        ("all equal", vec![130; 3_000]),
        ("zeros", vec![0; 40]),
        ("zero and more", vec![0, 0, 130, 90]),
        ("wrapped", vec![130, 13_000, 13_000_000, u64::MAX]),
        ("slow", (0..5_000).map(|i| 3_000_000_000 + i * 1_000_003 % 70_000_000).collect()),
    ];
    for (name, values) in scenes {
        let analysis = analysis(|directory| latency_file(directory, values));
        let all = pictures(&analysis);
        let names: Vec<&str> = all.iter().map(|picture| picture.name).collect();
        let expected = [
            "latency_histogram",
            "latency_over_time",
            "latency_percentiles",
            "latency_ccdf",
            "latency_heatmap",
        ];
        assert_eq!(names, expected, "{name}");
        for picture in &all {
            keeps_the_laws(picture, true);
        }
    }
}

#[test]
fn a_run_without_an_acknowledged_message_says_so() {
    let none = format!("{LATENCY}\n1,,,,timeout_received\n2,,,,timeout_received\n");
    let analysis = analysis(|directory| std::fs::write(directory.join("latency_results.csv"), none).unwrap());
    for picture in pictures(&analysis) {
        keeps_the_laws(&picture, false);
        let sentence = texts(picture.drawing().unwrap()).next().unwrap().content.clone();
        assert_eq!(sentence, "Nothing to draw: 2 messages and none acknowledged");
    }
}

#[test]
fn bandwidth_of_frames_and_of_sizes() {
    let frames = [("1080p", 6_220_800), ("1440p", 11_059_200), ("4k", 24_883_200)];
    let sizes: Vec<(String, u64)> =
        (6..24).map(|power| (format!("{}B", 1_u64 << power), 1 << power)).collect();
    let sizes: Vec<(&str, u64)> = sizes.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    for frames in [&frames[..], &frames[..1], &sizes] {
        let analysis = analysis(|directory| bandwidth_file(directory, frames));
        let all = pictures(&analysis);
        let names: Vec<&str> = all.iter().map(|picture| picture.name).collect();
        assert_eq!(names, ["bandwidth_analysis", "phase_breakdown"]);
        for picture in &all {
            keeps_the_laws(picture, true);
        }
    }
}

#[test]
fn a_machine_beside_its_baseline_with_failures_and_losses() {
    let directory = tempfile::tempdir().unwrap();
    let run = |name: &str, map_kind: &str, slower: u64| {
        let path = directory.path().join(name);
        std::fs::create_dir(&path).unwrap();
        latency_file(&path, typical(9_000).map(|ns| ns * slower));
        bandwidth_file(&path, &[("1080p", 6_220_800), ("4k", 24_883_200 + slower)]);
        let run = format!(r#"{{"schema":"ivshmem-run/1","guest":{{"map_kind":"{map_kind}"}}}}"#);
        std::fs::write(path.join("run.json"), run).unwrap();
        path
    };
    let (native, vm) = (run("native", "file", 1), run("vm", "resource2_wc", 3));
    let csv = std::fs::read_to_string(vm.join("latency_results.csv")).unwrap();
    let rows = csv.lines().enumerate().filter(|(place, _)| !(3_000..3_200).contains(place));
    let rows: Vec<String> = rows
        .map(|(place, row)| if place == 700 { "700,,,,timeout_received".into() } else { row.to_owned() })
        .collect();
    std::fs::write(vm.join("latency_results.csv"), rows.join("\n") + "\n").unwrap();
    let analysis = Analysis::of(input::read(&[native, vm]).unwrap());
    let all = pictures(&analysis);
    assert_eq!(all.len(), 7);
    for picture in &all {
        keeps_the_laws(picture, true);
        let drawing = picture.drawing().unwrap();
        let is_of = |name: &str| {
            drawing.hover.iter().flat_map(|panel| &panel.series).any(|series| series.name.contains(name))
        };
        let is_of_one = ["phase_breakdown", "latency_heatmap"].contains(&picture.name);
        assert!(is_of_one || is_of("native") && is_of("VM"), "{}", picture.name);
    }
    let map = all.iter().find(|picture| picture.name == "latency_heatmap").unwrap();
    let lines: Vec<&str> = texts(map.drawing().unwrap()).map(|line| line.content.as_str()).collect();
    assert!(lines.contains(&"1 failed") && lines.contains(&"200 lost"), "{lines:?}");
}

#[test]
fn doorbells_of_more_ways_than_can_be_drawn() {
    let mut csv =
        "iteration,guest_wait,host_wait,rate_per_s,load,rtt_ns,status,host_cpu_ns_per_message\n".to_owned();
    for place in 0..16_u64 {
        for load in ["idle", "cpu=2", "cpu=2,io=1", "cpu=2,io=2", "cpu=4"] {
            for (ns, i) in typical(40).zip(1..) {
                let (ns, cpu) = (ns * (place + 1), 1_000 * (place + 1));
                writeln!(csv, "{i},adaptive=way-{place:02},adaptive=both,20,\"{load}\",{ns},ok,{cpu}.0")
                    .unwrap();
            }
        }
    }
    let analysis = analysis(|directory| std::fs::write(directory.join("doorbell_results.csv"), csv).unwrap());
    for picture in &pictures(&analysis) {
        keeps_the_laws(picture, true);
    }
}

#[test]
fn doorbells_idle_and_loaded() {
    let mut csv =
        "iteration,guest_wait,host_wait,rate_per_s,load,rtt_ns,status,host_cpu_ns_per_message\n".to_owned();
    for (place, (guest, host)) in
        [("poll", "poll"), ("uio", "doorbell"), ("doorbell", "doorbell")].iter().enumerate()
    {
        for (load, slower) in [("idle", 1), ("cpu=2", 3)] {
            for rate in [20_u64, 1_000] {
                for (ns, i) in typical(60).zip(1..) {
                    let ns = ns * slower * 10_u64.pow(place as u32) + rate;
                    let cpu = 1_000 * (place + 1) as u64 * 100_000 / rate;
                    writeln!(csv, "{i},{guest},{host},{rate},{load},{ns},ok,{cpu}.0").unwrap();
                }
            }
        }
    }
    let analysis = analysis(|directory| std::fs::write(directory.join("doorbell_results.csv"), csv).unwrap());
    let all = pictures(&analysis);
    let names: Vec<&str> = all.iter().map(|picture| picture.name).collect();
    assert_eq!(names, ["doorbell_latency_cdf", "doorbell_latency_vs_cpu"]);
    for picture in &all {
        keeps_the_laws(picture, true);
    }
}

#[test]
fn a_legend_has_one_entry_a_series() {
    let analysis = analysis(|directory| latency_file(directory, typical(20_000)));
    let entries = |name: &str| -> Vec<Vec<String>> {
        let all = pictures(&analysis);
        let picture = all.iter().find(|picture| picture.name == name).unwrap();
        let entries = |layer: &[Shape]| {
            let names = layer.iter().filter_map(|shape| match shape {
                Shape::Text(line) => Some(line.content.clone()),
                _ => None,
            });
            names.collect()
        };
        layers(picture.drawing().unwrap(), Layer::Legend).into_iter().map(entries).collect()
    };
    let [processed, received] =
        ["PROCESSED", "RECEIVED"].map(|to| format!("run without provenance, to {to}"));
    let unknown = "n/a: fewer than 10 messages beyond".to_owned();
    assert_eq!(entries("latency_percentiles"), [[processed.clone(), received.clone(), unknown.clone()]]);
    assert_eq!(
        entries("latency_ccdf"),
        [vec![processed.clone(), received.clone()], vec![processed, received, unknown]]
    );
    assert_eq!(entries("latency_histogram"), [["run without provenance, 20,000 messages"]; 2]);
}

#[test]
fn a_picture_drawn_twice_is_the_same_to_the_byte() {
    let analysis = analysis(|directory| {
        latency_file(directory, typical(5_000));
        bandwidth_file(directory, &[("4k", 24_883_200)]);
    });
    let (first, second) = (pictures(&analysis), pictures(&analysis));
    assert_eq!(first.len(), 7);
    for (one, other) in first.iter().zip(&second) {
        assert_eq!(one.svg().unwrap(), other.svg().unwrap(), "{}", one.name);
        assert!(one.png().unwrap() == other.png().unwrap(), "{}", one.name);
    }
}

#[test]
fn a_picture_of_many_messages_has_no_more_shapes_than_one_of_fewer() {
    let shapes = |count: u64| -> Vec<usize> {
        let analysis = analysis(|directory| latency_file(directory, typical(count)));
        let count = |picture: &Picture<'_>| {
            let points = |shape: &Shape| match shape {
                Shape::Stroke { points, .. } => points.len(),
                _ => 1,
            };
            picture.drawing().unwrap().shapes.iter().map(points).sum()
        };
        pictures(&analysis).iter().map(count).collect()
    };
    for (few, many) in shapes(20_000).into_iter().zip(shapes(400_000)) {
        assert!(many < few * 3, "{few} {many}");
    }
}

fn row(label: &str, ratio: f64, low: f64, high: f64, verdict: ForestVerdict) -> ForestRow {
    ForestRow { label: label.into(), ratio, low, high, verdict, allowed: None }
}

#[test]
fn a_forest_shows_every_ratio_whatever_it_is() {
    let heading = ForestHeading {
        title: "new: 8 runs of b, base: 8 runs of a".into(),
        facts: vec!["ratio of the medians of the runs' percentiles, 95 % bootstrap intervals".into()],
        same_within: Some(0.02),
    };
    let rows = vec![
        row("p50 to PROCESSED", 0.934, 0.912, 0.957, ForestVerdict::Faster),
        row("p99 to PROCESSED", 1.31, 1.12, 1.53, ForestVerdict::Slower),
        row("p99.9 to PROCESSED", 1.004, 0.99, 1.01, ForestVerdict::Same),
        row(
            "a quantity with a name that is far too long for its place",
            2.0,
            0.4,
            9.0,
            ForestVerdict::CannotTell,
        ),
        row("0 over something", 0.0, f64::NAN, f64::INFINITY, ForestVerdict::CannotTell),
        row("unknown", f64::NAN, f64::NAN, f64::NAN, ForestVerdict::CannotTell),
    ];
    let picture = forest::picture(heading, rows);
    keeps_the_laws(&picture, true);
    let lines = texts(picture.drawing().unwrap()).map(|line| line.content.clone()).collect::<Vec<_>>();
    assert!(lines.contains(&"0.934 × [0.912, 0.957]  faster".to_owned()), "{lines:?}");
    assert!(lines.contains(&"n/a × [n/a, n/a]  cannot tell".to_owned()), "{lines:?}");
    let limited = |row: ForestRow, allowed| ForestRow { allowed: Some(allowed), ..row };
    let rows = vec![
        limited(row("p50", 1.1, 1.08, 1.12, ForestVerdict::Regressed), 1.05),
        limited(row("4k_rate", 0.99, 0.98, 1.01, ForestVerdict::Allowed), 0.5),
    ];
    let heading = ForestHeading { title: "gate".into(), ..ForestHeading::default() };
    let picture = forest::picture(heading, rows);
    keeps_the_laws(&picture, true);
    let lines = texts(picture.drawing().unwrap()).map(|line| line.content.clone()).collect::<Vec<_>>();
    for words in ["1.100 × [1.080, 1.120]  REGRESSED", "the worst that is allowed"] {
        assert!(lines.contains(&words.to_owned()), "{lines:?}");
    }
    let one = vec![row("p50", 1.0, 1.0, 1.0, ForestVerdict::Same)];
    let heading = ForestHeading { title: "one".into(), ..ForestHeading::default() };
    keeps_the_laws(&forest::picture(heading, one), true);
}

#[test]
fn a_trend_shows_every_run_and_every_change() {
    let point = |i: usize, value: f64| TrendPoint {
        when_utc: format!("2026-11-{:02}T20:{:02}:00Z", 1 + i / 3, i),
        label: format!("run-{i}"),
        value,
        low: value * 0.97,
        high: value * 1.05,
        is_change_point: i == 12,
    };
    for count in [1, 2, 30] {
        let values = (0..count).map(|i| point(i, if i < 12 { 130.0 } else { 180.0 } + i as f64)).collect();
        let unknown = TrendPoint { low: f64::NAN, high: f64::INFINITY, ..point(0, f64::NAN) };
        let trends = vec![
            Trend { name: "p50 to PROCESSED".into(), unit: TrendUnit::Nanoseconds, points: values },
            Trend {
                name: "4K frame".into(),
                unit: TrendUnit::GigabytesPerSecond,
                points: vec![point(0, 2.0), unknown, point(2, 80.0)],
            },
        ];
        let picture = trend::picture("History of results", vec!["30 runs".into(), "more".into()], trends);
        keeps_the_laws(&picture, true);
        let drawing = picture.drawing().unwrap();
        assert_eq!(drawing.hover.iter().map(|p| p.series[0].points.len()).collect::<Vec<_>>(), [count, 2]);
        let changes = texts(drawing).filter(|line| line.content == "run-12").count();
        assert_eq!(changes, usize::from(count > 12));
    }
}

#[test]
fn runs_of_one_minute_are_told_apart_by_the_second() {
    let labels = |times: [&str; 2]| {
        let point = |time: &str| TrendPoint {
            when_utc: format!("2026-11-20T{time}Z"),
            label: "a run".into(),
            value: 400.0,
            low: 390.0,
            high: 410.0,
            is_change_point: false,
        };
        let points = times.map(point).into();
        let trends = vec![Trend { name: "p50".into(), unit: TrendUnit::Nanoseconds, points }];
        let picture = trend::picture("History", vec![], trends);
        keeps_the_laws(&picture, true);
        let all: Vec<String> = texts(picture.drawing().unwrap()).map(|line| line.content.clone()).collect();
        all.into_iter().filter(|text| text.starts_with("20:")).collect::<Vec<_>>()
    };
    assert_eq!(labels(["20:00:05", "20:01:05"]), ["20:00", "20:01"]);
    assert_eq!(labels(["20:00:05", "20:00:35"]), ["20:00:05", "20:00:35"]);
}

/// Height and length of a line in the colour of levels, in units of the drawing.
fn level_of(shape: &Shape) -> Option<(i32, i32)> {
    match shape {
        Shape::Stroke { points, ink, .. } if ink.color == (230, 159, 0) => {
            let (first, last) = (points.first()?, points.last()?);
            Some((first.1, last.0 - first.0))
        }
        _ => None,
    }
}

#[test]
fn a_level_of_an_even_number_of_runs_lies_between_the_two_in_the_middle() {
    let drawn = |values: &[f64]| {
        let point = |(i, value): (usize, &f64)| TrendPoint {
            when_utc: format!("2026-11-20T20:{i:02}:00Z"),
            label: format!("run-{i}"),
            value: *value,
            low: f64::NAN,
            high: f64::NAN,
            is_change_point: false,
        };
        let points = values.iter().enumerate().map(point).collect();
        let trends = vec![Trend { name: "p50".into(), unit: TrendUnit::Nanoseconds, points }];
        trend::picture("History", vec![], trends)
    };
    let level = |values: &[f64]| {
        let picture = drawn(values);
        let orange = picture.drawing().unwrap().shapes.iter().filter_map(level_of).max_by_key(|line| line.1);
        // The longest: the legend has a short one.
        orange.unwrap().0
    };
    // The same ends, so the same axis: the median of four is that of five with 450 in their middle.
    assert_eq!(level(&[400.0, 420.0, 480.0, 500.0]), level(&[400.0, 420.0, 450.0, 480.0, 500.0]));
    assert_ne!(level(&[400.0, 420.0, 480.0, 500.0]), level(&[400.0, 410.0, 420.0, 480.0, 500.0]));
}
