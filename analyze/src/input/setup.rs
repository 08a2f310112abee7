//! How a frame was carried: the columns that tell one kind of transfer from another of the same size.

use serde::Serialize;

use super::kind::shorten;
use super::status::is_name;
use super::table::Table;
use crate::error::Error;

/// What a bandwidth row says of the way its frame took. A field is `None` in files that do not have the column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Setup {
    /// `whole`, `chunked` or `stream`.
    pub mode: Option<String>,
    /// `host-to-guest` or `guest-to-host`.
    pub direction: Option<String>,
    /// `warm` or `cold`.
    pub cache: Option<String>,
    /// What the receiver does with the bytes: `copy`, `scan` or `none`.
    pub consume: Option<String>,
    /// The host's copy kernel.
    pub copy_kernel: Option<String>,
    /// The guest's copy kernel.
    pub guest_copy_kernel: Option<String>,
}

/// The columns, in the order of the fields.
const COLUMNS: [&str; 6] = ["mode", "direction", "cache", "consume", "copy_kernel", "guest_copy_kernel"];

/// How many of [`COLUMNS`] say what was asked; the kernels behind them are often chosen by size.
const ASKED: usize = 4;

impl Setup {
    /// The setup of every row.
    pub(super) fn of_rows(table: &Table) -> Result<Vec<Self>, Error> {
        let columns = COLUMNS.map(|column| table.texts(column));
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-+=".contains(c);
        let of_row = |row: usize| {
            let mut values: [Option<String>; 6] = Default::default();
            for ((value, column), name) in values.iter_mut().zip(&columns).zip(COLUMNS) {
                let Some(text) = column[row].filter(|text| !text.is_empty()) else { continue };
                if !is_name(text, allowed) {
                    return Err(table.problem(row, name, format!("`{}` is not a name", shorten(text))));
                }
                *value = Some(text.to_owned());
            }
            let [mode, direction, cache, consume, copy_kernel, guest_copy_kernel] = values;
            Ok(Self { mode, direction, cache, consume, copy_kernel, guest_copy_kernel })
        };
        (0..table.rows()).map(of_row).collect()
    }

    fn values(&self) -> [Option<&str>; 6] {
        [&self.mode, &self.direction, &self.cache, &self.consume, &self.copy_kernel, &self.guest_copy_kernel]
            .map(Option::as_deref)
    }

    /// Whether both may be one setup: a row that failed early leaves fields empty, which contradict nothing.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        self.values().iter().zip(other.values()).all(|(a, b)| a.is_none() || b.is_none() || *a == b)
    }

    /// Fills what is unknown from `other`.
    pub(super) fn complete_from(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.mode, &other.mode),
            (&mut self.direction, &other.direction),
            (&mut self.cache, &other.cache),
            (&mut self.consume, &other.consume),
            (&mut self.copy_kernel, &other.copy_kernel),
            (&mut self.guest_copy_kernel, &other.guest_copy_kernel),
        ] {
            if mine.is_none() {
                mine.clone_from(theirs);
            }
        }
    }

    /// Whether both were asked for alike: all but the kernels, which each run chooses for itself.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self.values()[..ASKED] == other.values()[..ASKED]
    }

    /// Whether the guest wrote and the host read.
    #[must_use]
    pub fn is_guest_to_host(&self) -> bool {
        self.direction.as_deref() == Some("guest-to-host")
    }

    /// What the host copies with: `writes with avx2`; `None` where it keeps nothing, or nothing is recorded.
    #[must_use]
    pub fn host_copying(&self) -> Option<String> {
        let verb = if self.is_guest_to_host() { "reads" } else { "writes" };
        let keeps = !self.is_guest_to_host() || self.is_kept();
        self.copy_kernel.as_ref().filter(|_| keeps).map(|kernel| format!("{verb} with {kernel}"))
    }

    /// The same of the guest, of which only the kernel it reads with is always recorded: what it writes with is its own
    /// choice unless one was forced.
    #[must_use]
    pub fn guest_copying(&self) -> Option<String> {
        match &self.guest_copy_kernel {
            Some(kernel) if self.is_guest_to_host() => Some(format!("writes with {kernel}")),
            None if self.is_guest_to_host() => {
                Some("writes with a kernel of its own choice, not recorded".into())
            }
            kernel => kernel.as_ref().filter(|_| self.is_kept()).map(|kernel| format!("reads with {kernel}")),
        }
    }

    /// Whether the receiver keeps a copy of the bytes.
    fn is_kept(&self) -> bool {
        !matches!(self.consume.as_deref(), Some("scan" | "none"))
    }

    /// Whether the receiver reads while the sender still writes, so that the parts of a frame's time overlap.
    #[must_use]
    pub fn overlaps(&self) -> bool {
        matches!(self.mode.as_deref(), Some("chunked" | "stream"))
    }

    /// Whether frames were due on a schedule or sent back to back through several slots.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.mode.as_deref() == Some("stream")
    }

    /// What tells `self` from the others of `all`, such as `chunked cold`; empty if nothing does. Kernels are named only
    /// where what was asked for does not tell.
    pub(super) fn distinction(&self, all: &[&Self]) -> String {
        let mine = self.values();
        let rivals = |index: usize| all.iter().filter(move |other| index < ASKED || other.is_like(self));
        let differing = |index: &usize| rivals(*index).any(|other| other.values()[*index] != mine[*index]);
        (0..mine.len()).filter(differing).filter_map(|index| mine[index]).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(mode: &str, cache: &str) -> Setup {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Setup { mode: some(mode), cache: some(cache), ..Setup::default() }
    }

    #[test]
    fn empty_fields_contradict_nothing() {
        assert!(setup("whole", "").agrees_with(&setup("", "cold")));
        assert!(!setup("whole", "").agrees_with(&setup("chunked", "")));
        let mut one = setup("whole", "");
        one.complete_from(&setup("chunked", "cold"));
        assert_eq!(one, setup("whole", "cold"));
    }

    #[test]
    fn a_kernel_is_said_of_who_copied_with_it() {
        let copying = |direction: &str, consume: &str, guest: Option<&str>| {
            let some = |text: &str| Some(text.to_owned());
            let setup = Setup {
                direction: some(direction),
                consume: some(consume),
                copy_kernel: some("avx2"),
                guest_copy_kernel: guest.map(str::to_owned),
                ..Setup::default()
            };
            [setup.host_copying(), setup.guest_copying()].map(Option::unwrap_or_default)
        };
        assert_eq!(copying("host-to-guest", "copy", Some("sse2")), ["writes with avx2", "reads with sse2"]);
        assert_eq!(copying("host-to-guest", "scan", Some("sse2")), ["writes with avx2", ""]);
        assert_eq!(copying("guest-to-host", "copy", Some("sse2")), ["reads with avx2", "writes with sse2"]);
        let own = "writes with a kernel of its own choice, not recorded";
        assert_eq!(copying("guest-to-host", "scan", None), ["", own]);
    }

    #[test]
    fn only_what_differs_is_named() {
        let all = [setup("whole", "cold"), setup("chunked", "cold")];
        assert_eq!(all[1].distinction(&[&all[0], &all[1]]), "chunked");
        assert_eq!(all[0].distinction(&[&all[0]]), "");
        let with = |mode, kernel: &str| Setup { copy_kernel: Some(kernel.into()), ..setup(mode, "") };
        let all = [with("whole", "sse2"), with("chunked", "avx2"), with("chunked", "memcpy")];
        let named: Vec<_> = all.iter().map(|one| one.distinction(&all.each_ref())).collect();
        assert_eq!(named, ["whole", "chunked avx2", "chunked memcpy"]);
    }
}
