//! What a guest did against the protocol: each kind counted, the first few in words.

use serde::Serialize;

/// Violations put in words at the most.
const SENTENCES_MAX: usize = 20;

/// One kind of violation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// In a few words.
    pub what: &'static str,
    /// How often.
    pub count: u64,
    /// The first of them, in a sentence.
    pub first: String,
}

/// All violations of a run.
#[derive(Debug, Clone, Default)]
pub struct Violations {
    /// The first few, in sentences and in the order they were noticed.
    pub sentences: Vec<String>,
    /// Every kind there was.
    pub kinds: Vec<Breach>,
}

impl Violations {
    /// One more of the kind `what`.
    pub fn add(&mut self, what: &'static str, sentence: impl Fn() -> String) {
        match self.kinds.iter_mut().find(|kind| kind.what == what) {
            Some(kind) => kind.count += 1,
            None => self.kinds.push(Breach { what, count: 1, first: sentence() }),
        }
        if self.sentences.len() < SENTENCES_MAX {
            self.sentences.push(sentence());
        }
    }

    /// Those of one of several guests.
    pub fn add_all(&mut self, whose: &str, others: Self) {
        for breach in others.kinds {
            let first = format!("{whose}: {}", breach.first);
            match self.kinds.iter_mut().find(|kind| kind.what == breach.what) {
                Some(kind) => kind.count += breach.count,
                None => self.kinds.push(Breach { first, ..breach }),
            }
        }
        let room = SENTENCES_MAX - self.sentences.len();
        self.sentences
            .extend(others.sentences.iter().take(room).map(|sentence| format!("{whose}: {sentence}")));
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_by_kind_and_the_first_few_are_kept_in_words() {
        let mut violations = Violations::default();
        violations.add_all("lane 0/2", Violations::default());
        for sequence in 1..=50 {
            violations.add("early", || format!("message {sequence} came early"));
        }
        violations.add("wrong", || "something else".to_owned());
        assert_eq!((violations.count(), violations.sentences.len()), (51, SENTENCES_MAX));
        assert_eq!(
            violations.kinds,
            [
                Breach { what: "early", count: 50, first: "message 1 came early".to_owned() },
                Breach { what: "wrong", count: 1, first: "something else".to_owned() }
            ]
        );
        let mut all = Violations::default();
        all.add_all("lane 0/2", violations.clone());
        all.add_all("lane 1/2", violations);
        assert_eq!((all.count(), all.sentences.len(), all.kinds.len()), (102, SENTENCES_MAX, 2));
        assert_eq!(
            (all.kinds[0].count, all.kinds[0].first.as_str()),
            (100, "lane 0/2: message 1 came early")
        );
    }
}
