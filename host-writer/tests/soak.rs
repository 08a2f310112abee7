//! That a soak takes no more memory the longer it lasts. Alone in its binary: the kernel keeps the largest size of all
//! children that have ended.

mod common;

use common::{Place, stderr};
use nix::sys::resource::{UsageWho, getrusage};

#[test]
fn thirty_times_the_messages_take_the_same_memory() {
    let place = Place::with_region(1 << 20);
    let _guest = place.guest(&[]);
    let largest_kib = |messages: &str| {
        let output = place.run_host(&["--messages", messages, "--frames", "none", "--record", "histogram"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let latency = &place.run_json()["latency"];
        assert_eq!(latency["ok"].to_string(), messages);
        let troubles = ["lost", "duplicated", "reordered"].map(|field| latency[field].as_u64());
        assert_eq!(troubles, [Some(0); 3]);
        getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss()
    };
    let (short, long) = (largest_kib("100000"), largest_kib("3000000"));
    assert!(long - short < 2048, "{short} KiB, then {long} KiB");
}
