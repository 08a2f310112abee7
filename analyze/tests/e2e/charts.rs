//! The pictures can be decoded, have their size, and show data where data belongs, whatever the samples.

use crate::scene::{LATENCY_HEADER, Scene, coloured};

const BLUE: [u8; 3] = [0, 114, 178];
const TRANSLUCENT_BLUE: [u8; 3] = [64, 149, 197];
const SKY: [u8; 3] = [162, 214, 242];
const ORANGE: [u8; 3] = [230, 159, 0];
const GREEN: [u8; 3] = [0, 158, 115];
const TRANSLUCENT_GREEN: [u8; 3] = [38, 173, 136];
const VERMILLION: [u8; 3] = [213, 94, 0];

/// Where the plots of a picture with one panel are.
const PLOT: [f64; 4] = [0.08, 0.13, 0.97, 0.93];
const UPPER: [f64; 4] = [0.08, 0.16, 0.97, 0.45];
const LOWER: [f64; 4] = [0.08, 0.62, 0.97, 0.95];

#[test]
fn every_picture_shows_both_runs() {
    let scene = Scene::new();
    scene.run("native", 120, "file");
    scene.run("vm", 130, "resource2_wc");
    scene.stdout(&["native", "vm", "--out", "out"]);
    let count = |name, size, area, colour| coloured(&scene, name, size, area, colour);
    for panel in [UPPER, LOWER] {
        assert!(count("latency_histogram.png", (1200, 1000), panel, TRANSLUCENT_BLUE) > 2_000);
        assert!(count("latency_histogram.png", (1200, 1000), panel, ORANGE) > 200);
    }
    assert!(count("latency_over_time.png", (1200, 800), PLOT, BLUE) > 500);
    assert!(count("latency_over_time.png", (1200, 800), PLOT, SKY) > 2_000);
    assert!(count("latency_over_time.png", (1200, 800), PLOT, ORANGE) > 200);
    for colour in [BLUE, GREEN, ORANGE] {
        assert!(count("latency_percentiles.png", (1200, 800), PLOT, colour) > 500);
    }
    for panel in [UPPER, LOWER] {
        for colour in [BLUE, GREEN, ORANGE] {
            assert!(count("latency_ccdf.png", (1200, 1000), panel, colour) > 300, "{colour:?}");
        }
    }
    for colour in [[158, 202, 225], [33, 113, 181], [8, 81, 156]] {
        assert!(count("latency_heatmap.png", (1200, 800), PLOT, colour) > 200, "{colour:?}");
    }
    let sides = [[0.06, 0.2, 0.49, 0.9], [0.56, 0.2, 0.98, 0.9]];
    for side in sides {
        assert!(count("phase_breakdown.png", (1400, 580), side, BLUE) > 2_000);
    }
    let quarters = [
        [0.06, 0.1, 0.48, 0.46],
        [0.56, 0.1, 0.98, 0.46],
        [0.06, 0.62, 0.48, 0.95],
        [0.56, 0.62, 0.98, 0.95],
    ];
    for (quarter, colour) in quarters.into_iter().zip([BLUE, BLUE, BLUE, TRANSLUCENT_GREEN]) {
        assert!(count("bandwidth_analysis.png", (1400, 1060), quarter, colour) > 100, "{quarter:?}");
    }
}

#[test]
fn pictures_come_in_the_formats_asked_for() {
    let scene = Scene::new();
    scene.run("vm", 130, "resource2_wc");
    scene.stdout(&["vm", "--out", "both", "--pictures", "both"]);
    scene.stdout(&["vm", "--out", "svg", "--pictures", "svg"]);
    let endings = |directory: &str, ending: &str| {
        scene.names(directory).iter().filter(|name| name.ends_with(ending)).count()
    };
    assert_eq!((endings("both", ".png"), endings("both", ".svg")), (7, 7));
    assert_eq!((endings("svg", ".png"), endings("svg", ".svg")), (0, 7));
    let svg = std::fs::read_to_string(scene.path("svg/latency_ccdf.svg")).unwrap();
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1200 1000\""));
    assert!(svg.contains(" width=\"1200\" height=\"1000\"><style>@font-face") && svg.ends_with("</svg>\n"));
    assert!(svg.contains(">VM (tcg), to PROCESSED</text>"));
    scene.analyze(&["vm", "--pictures", "jpeg"]).assert().code(2);
}

#[test]
fn one_sample_equal_samples_and_extreme_ones_can_be_drawn() {
    let huge = u64::MAX.to_string();
    let cases: [(&str, Vec<&str>); 5] = [
        ("one", vec!["130"]),
        ("equal", vec!["130"; 300]),
        ("zero", vec!["0", "0", "130"]),
        ("all zero", vec!["0"; 30]),
        ("five decades and a wrapped counter", vec!["130", "13000", "13000000", &huge]),
    ];
    for (name, values) in cases {
        let scene = Scene::new();
        let rows: String = (1..).zip(&values).map(|(i, v)| format!("{i},{v},0,{v},ok\n")).collect();
        scene.file("l.csv", format!("{LATENCY_HEADER}\n{rows}"));
        scene.stdout(&["l.csv", "--out", "out"]);
        let count = |picture, size, area, colour| coloured(&scene, picture, size, area, colour);
        assert!(count("latency_histogram.png", (1200, 1000), LOWER, TRANSLUCENT_BLUE) > 20, "{name}");
        // A sample may lie on the frame of the plot.
        let whole = [0.06, 0.13, 1.0, 0.95];
        assert!(count("latency_over_time.png", (1200, 800), whole, BLUE) > 10, "{name}");
        let either = count("latency_percentiles.png", (1200, 800), whole, BLUE)
            + count("latency_percentiles.png", (1200, 800), whole, GREEN);
        assert!(either > 100, "{name}");
    }
}

#[test]
fn failures_are_marked_at_the_foot_of_the_time_series() {
    let scene = Scene::new();
    let rows = |failed: bool| -> String {
        (1..=50)
            .map(|i| {
                if failed && i == 25 { format!("{i},,,,mismatch\n") } else { format!("{i},130,0.1,98,ok\n") }
            })
            .collect()
    };
    let foot = [0.3, 0.85, 0.7, 0.935];
    let marks = |failed: bool| {
        scene.file("l.csv", format!("{LATENCY_HEADER}\n{}", rows(failed)));
        scene.stdout(&["l.csv", "--out", "out"]);
        coloured(&scene, "latency_over_time.png", (1200, 800), foot, VERMILLION)
    };
    assert_eq!(marks(false), 0);
    assert!(marks(true) > 20);
}
