//! Which copy kernel is the best of a side at which sizes, where the trials are apart; where they are not, that.

use super::KernelRate;
use super::findings::{NAMED, caution, times};
use super::kernels::trials;
use crate::report::text::payload;

/// What the trials of one size say.
enum Verdict<'a> {
    /// One is ahead: of memcpy, which everyone has, or of the next if memcpy wins.
    Best(&'a KernelRate, &'a KernelRate),
    /// The spread of trials covers the difference of these.
    Alike(Vec<&'a KernelRate>),
}

impl<'a> Verdict<'a> {
    /// Of the rates of one size, the fastest first; `None` of a single kernel.
    fn of(rates: &'a [KernelRate]) -> Option<Self> {
        let [best, others @ ..] = rates else { return None };
        let next = others.first()?;
        let alike: Vec<_> = rates.iter().filter(|rate| best.is_alike(rate)).collect();
        if alike.len() > 1 {
            return Some(Self::Alike(alike));
        }
        let memcpy = others.iter().find(|rate| rate.kernel == "memcpy");
        Some(Self::Best(best, memcpy.unwrap_or(next)))
    }

    /// The rates it rests on, the fastest first.
    fn rates(&self) -> Vec<&'a KernelRate> {
        match self {
            Self::Best(best, over) => vec![best, over],
            Self::Alike(alike) => alike.clone(),
        }
    }

    /// Whether both belong into one sentence.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Best(a, over_a), Self::Best(b, over_b)) => {
                a.kernel == b.kernel && over_a.kernel == over_b.kernel
            }
            (Self::Alike(_), Self::Alike(_)) => true,
            _ => false,
        }
    }

    fn ratio(&self) -> Option<f64> {
        let Self::Best(best, over) = self else { return None };
        Some(best.gb_per_s / over.gb_per_s)
    }
}

/// A sentence for each side and each run of neighbouring sizes that have one verdict.
pub(super) fn of(kernels: &[KernelRate]) -> Vec<String> {
    let several = kernels.iter().any(|rate| !rate.is_of_like_place(&kernels[0]));
    let is_side = |a: &KernelRate, b: &KernelRate| a.is_of_like_place(b) && a.side == b.side;
    let mut findings = Vec::new();
    for group in kernels.chunk_by(is_side) {
        let by_size = group.chunk_by(|a, b| a.size_bytes == b.size_bytes);
        let verdicts: Vec<Verdict<'_>> = by_size.filter_map(Verdict::of).collect();
        findings.extend(verdicts.chunk_by(Verdict::is_like).map(|run| {
            let place = several.then(|| group[0].place(kernels));
            sentence(run, place.as_deref())
        }));
    }
    findings
}

/// `place`: whose kernels they are, where there are several machines or mappings.
fn sentence(run: &[Verdict<'_>], place: Option<&str>) -> String {
    let rates: Vec<&KernelRate> = run.iter().flat_map(Verdict::rates).collect();
    let (first, last) = (rates[0], rates[rates.len() - 1]);
    let sizes = match run.len() {
        1 => format!("at {}", payload(&first.size)),
        _ => format!("from {} to {}", payload(&first.size), payload(&last.size)),
    };
    let what = if first.side == "host" { "host write" } else { "guest read" };
    let place = place.map_or_else(String::new, |place| format!(" of {place},"));
    let subject = format!("best {what} kernel{place} {sizes}");
    let count = trials(rates.iter().copied());
    let dirty = caution(rates.iter().any(|rate| rate.dirty));
    if let Verdict::Best(best, over) = &run[0] {
        let ratios = || run.iter().filter_map(Verdict::ratio);
        let least = times(ratios().fold(f64::INFINITY, f64::min));
        let most = times(ratios().fold(0.0, f64::max));
        let range = if least == most { least } else { format!("{least} to {most}") };
        return format!("{subject}: {}, {range} times {} ({count}){dirty}", best.kernel, over.kernel);
    }
    format!("no {subject}: {count} cannot tell {} apart{dirty}", names(&rates))
}

/// The kernels without repeats: all of a few, of more the first.
fn names(rates: &[&KernelRate]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for rate in rates {
        if !names.contains(&rate.kernel.as_str()) {
            names.push(&rate.kernel);
        }
    }
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let last = if more > 0 { format!("{more} more") } else { names.pop().unwrap_or_default().to_owned() };
    format!("{} and {last}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(size: &str, bytes: u64, kernel: &str, trials: &[f64]) -> KernelRate {
        KernelRate {
            machine: "VM".into(),
            mapping: None,
            side: "guest".into(),
            size_bytes: bytes,
            size: size.into(),
            kernel: kernel.into(),
            gb_per_s: trials[trials.len() / 2],
            low_gb_per_s: trials[0],
            high_gb_per_s: trials[trials.len() - 1],
            trials: trials.len() as u64,
            source: "trial",
            mode: Some("whole".into()),
            dirty: false,
        }
    }

    #[test]
    fn the_best_kernel_is_said_once_for_neighbouring_sizes() {
        let mut rates = [
            kernel("64B", 64, "memcpy", &[3.0]),
            kernel("64B", 64, "avx2", &[2.0]),
            kernel("1KiB", 1024, "avx2", &[3.9]),
            kernel("1KiB", 1024, "sse2", &[3.5]),
            kernel("1KiB", 1024, "memcpy", &[3.0]),
            kernel("4k", 24_883_200, "avx2", &[3.5, 3.6, 3.7]),
            kernel("4k", 24_883_200, "memcpy", &[2.9, 3.0]),
        ];
        assert_eq!(
            of(&rates),
            [
                "best guest read kernel at 64 B: memcpy, 1.50 times avx2 (one trial)",
                "best guest read kernel from 1 KiB to 4K frame: avx2, 1.20 to 1.30 times memcpy (1 to 3 trials)"
            ]
        );
        rates[6].dirty = true;
        assert!(of(&rates)[1].ends_with("(1 to 3 trials); of a DIRTY run"), "{:?}", of(&rates));
        assert!(!of(&rates)[0].contains("DIRTY"));
        assert!(of(&rates[..1]).is_empty());
    }

    #[test]
    fn no_winner_is_called_where_the_trials_overlap() {
        let rates = [
            kernel("64B", 64, "avx2", &[2.5, 3.0, 3.5]),
            kernel("64B", 64, "sse2", &[2.4, 2.6, 2.8]),
            kernel("64B", 64, "memcpy", &[2.0]),
            kernel("1KiB", 1024, "rep_movsb", &[3.0, 3.1]),
            kernel("1KiB", 1024, "memcpy", &[2.9, 3.0]),
        ];
        assert_eq!(
            of(&rates[..3]),
            ["no best guest read kernel at 64 B: 3 trials cannot tell avx2 and sse2 apart"]
        );
        assert_eq!(
            of(&rates),
            ["no best guest read kernel from 64 B to 1 KiB: 2 to 3 trials cannot tell avx2, sse2, \
              rep_movsb and 1 more apart"]
        );
    }
}
