//! Another guest that serves the same region: from a virtual machine, where no lock of this host reaches it.
//!
//! Two guests on one page would write over each other's report and answers, and a host could not tell whose they are. A
//! page that a dead guest left behind looks the same but for its heartbeat, which stands still.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ivshmem_proto::layout::{GUEST_MAGIC, LAYOUT_VERSION, guest_words as g};
use ivshmem_proto::memory::ControlWords;
use ivshmem_proto::report::GuestReport;
use ivshmem_proto::wire::{MapKind, State};

/// How long a heartbeat is watched: three times as long as a guest sleeps that waits for an interrupt.
const WATCH: Duration = Duration::from_millis(300);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(1);

/// A guest that is alive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("another guest serves this region ({0}): stop it first")]
pub struct Rival(String);

/// Looks whether a living guest serves the region. Returns at once where none has announced itself, or where the last one
/// has left in good order.
///
/// # Errors
/// There is one.
pub fn check(memory: &impl ControlWords) -> Result<(), Rival> {
    if memory.load(g::magic, Relaxed) != GUEST_MAGIC || has_left(memory) {
        return Ok(());
    }
    let (first, begun) = (memory.load(g::heartbeat, Relaxed), Instant::now());
    while begun.elapsed() < WATCH {
        std::thread::sleep(LOOK);
        if has_left(memory) {
            return Ok(());
        }
        if memory.load(g::heartbeat, Relaxed) != first {
            return Err(Rival(description(memory)));
        }
    }
    Ok(())
}

fn has_left(memory: &impl ControlWords) -> bool {
    memory.load(g::state, Relaxed) == State::Closed.to_wire()
}

/// What it says of itself.
fn description(memory: &impl ControlWords) -> String {
    let version = memory.load(g::layout_version, Relaxed);
    if version != LAYOUT_VERSION {
        return format!("one that speaks layout version {version}");
    }
    match GuestReport::read(memory) {
        Ok(report) => {
            let place = match report.map_kind {
                MapKind::File => "a process on its host".to_owned(),
                kind => format!("device {} by {kind}", report.device),
            };
            format!("{place}, kernel {}", report.kernel_release)
        }
        Err(_) => "one whose report means nothing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ivshmem_proto::layout::SLOTS_OFFSET;
    use ivshmem_proto::memory::HeapRegion;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    /// A page as a guest leaves it behind that is killed.
    fn page(state: State) -> Arc<HeapRegion> {
        let region = HeapRegion::new(SLOTS_OFFSET);
        region.store(g::layout_version, LAYOUT_VERSION, Relaxed);
        region.store(g::state, state.to_wire(), Relaxed);
        region.store(g::heartbeat, 77, Relaxed);
        region.store(g::magic, GUEST_MAGIC, Relaxed);
        Arc::new(region)
    }

    /// What is found while the heartbeat of `region` moves.
    fn beside_a_heart(region: &Arc<HeapRegion>) -> Result<(), Rival> {
        let stop = Arc::new(AtomicBool::new(false));
        let heart = std::thread::spawn({
            let (region, stop) = (Arc::clone(region), Arc::clone(&stop));
            move || {
                for beat in 78.. {
                    region.store(g::heartbeat, beat, Relaxed);
                    if stop.load(Relaxed) {
                        return;
                    }
                    std::thread::yield_now();
                }
            }
        });
        let found = check(&**region);
        stop.store(true, Relaxed);
        heart.join().unwrap();
        found
    }

    #[test]
    fn a_page_left_behind_is_no_rival() {
        assert_eq!(check(&HeapRegion::new(SLOTS_OFFSET)), Ok(()));
        for state in [State::Ready, State::Attached, State::Closed] {
            assert_eq!(check(&*page(state)), Ok(()), "{state}");
        }
    }

    #[test]
    fn a_heartbeat_that_moves_is_one_whatever_its_report_says() {
        for state in [State::Ready, State::Attached, State::Refused] {
            let line = beside_a_heart(&page(state)).unwrap_err().to_string();
            assert_eq!(
                line, "another guest serves this region (one whose report means nothing): stop it first",
                "{state}"
            );
        }
        let old = page(State::Attached);
        old.store(g::layout_version, 1, Relaxed);
        assert_eq!(beside_a_heart(&old), Err(Rival("one that speaks layout version 1".into())));
    }
}
