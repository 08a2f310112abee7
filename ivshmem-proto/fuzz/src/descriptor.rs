//! What stands for a descriptor: it has a number, and it is known how many there are.

use std::cell::Cell;
use std::rc::Rc;

/// All descriptors of one conversation.
#[derive(Debug, Default)]
pub struct Descriptors {
    next: usize,
    alive: Rc<Cell<usize>>,
}

impl Descriptors {
    /// The next one.
    pub fn make(&mut self) -> Descriptor {
        let number = self.next;
        self.next += 1;
        self.alive.set(self.alive.get() + 1);
        Descriptor { number, alive: Rc::clone(&self.alive) }
    }

    /// How many are held by anybody: a real one that nobody held would stay open for good.
    pub fn alive(&self) -> usize {
        self.alive.get()
    }
}

/// One descriptor, closed when it is dropped.
#[derive(Debug)]
pub struct Descriptor {
    /// Which it is, in the order of their making.
    pub number: usize,
    alive: Rc<Cell<usize>>,
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.alive.set(self.alive.get() - 1);
    }
}
