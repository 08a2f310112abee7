//! Two things at once: what does not wait for each other need not wait.

use std::panic::resume_unwind;
use std::thread;

/// Does `other` in a thread of its own while this one does `own`; the results of both.
pub(crate) fn beside<A: Send, B>(other: impl FnOnce() -> A + Send, own: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let other = scope.spawn(other);
        let own = own();
        (other.join().unwrap_or_else(|panic| resume_unwind(panic)), own)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn each_runs_while_the_other_does() {
        let (to_own, from_other) = channel();
        let (to_other, from_own) = channel();
        let other = move || {
            to_own.send(1).unwrap();
            from_own.recv().unwrap()
        };
        let own = || {
            to_other.send(2).unwrap();
            from_other.recv().unwrap()
        };
        assert_eq!(beside(other, own), (2, 1));
    }

    #[test]
    #[should_panic(expected = "of the other")]
    fn a_panic_is_passed_on() {
        beside(|| panic!("of the other"), || ());
    }
}
