//! That a soak takes no more memory the longer it lasts. Alone in its binary: the kernel keeps the largest size of all
//! children that have ended.

mod common;

use common::{Place, stderr};
use nix::sys::resource::{UsageWho, getrusage};

#[test]
fn a_soak_of_many_more_messages_takes_the_same_memory() {
    let place = Place::with_region(1 << 20);
    let _guest = place.guest(&[]);
    // By time: on a machine whose CPUs are taken, millions of messages would take hours.
    let largest_kib = |duration: &str| {
        let output = place.run_host(&["--duration", duration, "--frames", "none"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let latency = &place.run_json()["latency"];
        let troubles = ["lost", "duplicated", "reordered"].map(|field| latency[field].as_u64());
        assert_eq!(troubles, [Some(0); 3]);
        let max_rss_kib = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
        (latency["ok"].as_u64().unwrap(), max_rss_kib)
    };
    let ((few, short_kib), (many, long_kib)) = (largest_kib("100ms"), largest_kib("3s"));
    assert!(many > few, "{few}, then {many} messages");
    assert!(
        long_kib - short_kib < 2048,
        "{short_kib} KiB for {few} messages, then {long_kib} KiB for {many}"
    );
}
