//! The pictures of doorbell files: every way to wait is there, idle and loaded, whatever the rows.

use crate::doorbell::{HEADER, POLL, UIO, Ways, many_runs};
use crate::scene::{Scene, coloured, decode};

#[test]
fn the_pictures_show_every_way_to_wait_idle_and_loaded() {
    let scene = Scene::new();
    scene.file("all.csv", many_runs());
    scene.stdout(&["all.csv", "--out", "out"]);
    assert_eq!(
        scene.names("out"),
        [
            "doorbell_latency_cdf.png",
            "doorbell_latency_vs_cpu.png",
            "performance_report.txt",
            "report.html",
            "summary.json"
        ]
    );
    let cdf = |area, colour| coloured(&scene, "doorbell_latency_cdf.png", (1520, 600), area, colour);
    let cpu = |area, colour| coloured(&scene, "doorbell_latency_vs_cpu.png", (1200, 800), area, colour);
    let (left, right) = ([0.05, 0.3, 0.48, 0.9], [0.55, 0.3, 0.98, 0.9]);
    let plot = [0.08, 0.2, 0.97, 0.92];
    for colour in [[0, 114, 178], [230, 159, 0], [34, 34, 34]] {
        for panel in [left, right] {
            assert!(cdf(panel, colour) > 200, "{colour:?} {panel:?}");
        }
        assert!(cpu(plot, colour) > 200, "{colour:?}");
    }
    let pixels = |name: &str| decode(&scene.path(&format!("out/{name}"))).2;
    let [with_load, idle_only] = [many_runs(), format!("{HEADER}\n{}", POLL.rows("1000", "idle", 1_200))]
        .map(|csv| {
            scene.file("all.csv", csv);
            scene.stdout(&["all.csv", "--out", "out"]);
            pixels("doorbell_latency_vs_cpu.png")
        });
    assert_ne!(with_load, idle_only);
    assert_eq!(decode(&scene.path("out/doorbell_latency_cdf.png")).0, 1200);
}

#[test]
fn eight_ways_are_drawn_idle_and_loaded_and_those_there_is_no_room_for_are_named() {
    let scene = Scene::new();
    let rows = |ways: &[&'static str]| {
        let mut csv = format!("{HEADER}\n");
        for (place, guest) in (1..).zip(ways) {
            for load in ["idle", "cpu=1"] {
                csv += &Ways { guest, base_ns: 9_000 * place, ..UIO }.rows("1000", load, 40);
            }
        }
        csv
    };
    let svgs = || {
        scene.stdout(&["all.csv", "--pictures", "svg"]);
        ["doorbell_latency_cdf.svg", "doorbell_latency_vs_cpu.svg"]
            .map(|name| std::fs::read_to_string(scene.path(name)).unwrap())
    };
    scene.file("all.csv", rows(&["a", "b", "c", "d", "e", "f", "g", "h"]));
    for svg in svgs() {
        assert!(!svg.contains("NOT DRAWN") && svg.contains(">h/doorbell<"), "{svg}");
    }
    scene.file("all.csv", rows(&["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]));
    for svg in svgs() {
        assert!(svg.contains(": 10 of 12 ways drawn<"), "{svg}");
        assert!(svg.contains("NOT DRAWN, in the report only: k/doorbell, l/doorbell<"), "{svg}");
    }
    assert!(scene.stdout(&["all.csv"]).contains("\n   l/doorbell"));
}

#[test]
fn what_there_is_too_little_of_is_drawn_as_far_as_it_goes() {
    let scene = Scene::new();
    let bare = "iteration,guest_wait,host_wait,rate_per_s,load,rtt_ns,status\n";
    scene.file("f.csv", format!("{bare}1,uio,doorbell,10,idle,,timeout_received\n"));
    scene.stdout(&["f.csv", "--out", "out"]);
    let upper = [0.0, 0.1, 1.0, 0.4];
    assert!(coloured(&scene, "doorbell_latency_vs_cpu.png", (1200, 800), upper, [213, 94, 0]) > 100);
    assert_eq!(decode(&scene.path("out/doorbell_latency_cdf.png")).0, 1200);
    // A message of 0 ns, and a wrapped counter.
    for ns in [0, u64::MAX] {
        scene.file("f.csv", format!("{bare}1,uio,doorbell,10,idle,{ns},ok\n"));
        scene.stdout(&["f.csv", "--out", "out"]);
    }
}
