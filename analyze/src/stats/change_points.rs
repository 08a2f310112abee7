//! Where a series of runs changed its level.
//!
//! The series is cut in two if few shuffled series can be cut as well, and both parts are looked at in turn: the procedure
//! of Matteson and James (2014), "A nonparametric approach for multiple change point analysis of multivariate data"
//! (E-divisive), with Pettitt's (1979) rank sums, each over its spread, for how well. The cut is where the distances to the
//! medians of both parts are least. Ranks and medians, because one bad run is an outlier and no change. If nothing ever changed, the chance
//! that a series shows any change at all is that of the first cut: the level.

use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom as _;
use serde::Serialize;

use super::shift::median;

/// Fewer runs than this on a side of a cut are outliers, not a level.
const LEAST_RUNS: usize = 3;

/// Fewer runs than this, and no cut can be told from chance at 95 %: of 7 runs cut in the best place, one shuffled series
/// in nine is as tidy.
pub const LEAST_SERIES: usize = 8;

/// A new level.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ChangePoint {
    /// Its first run, counted from 0.
    pub index: usize,
    /// How often a shuffled series can be cut as well.
    pub p_value: f64,
    /// The median since the change before it, or since the beginning.
    pub before: f64,
    /// The median until the change after it, or to the end.
    pub after: f64,
}

/// The changes in `values`, which are in the order of time, with the first run of each new level. `alarm` is the chance
/// that a series without any change shows one.
#[must_use]
pub fn change_points(values: &[f64], alarm: f64, permutations: u32, seed: u64) -> Vec<ChangePoint> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut cuts = Vec::new();
    divide(values, 0, alarm, permutations, &mut random, &mut cuts);
    cuts.sort_by_key(|(index, _)| *index);
    let ends: Vec<usize> =
        std::iter::once(0).chain(cuts.iter().map(|(index, _)| *index)).chain([values.len()]).collect();
    let level = |place: usize| median(values[ends[place]..ends[place + 1]].to_vec()).unwrap_or(f64::NAN);
    let point = |(place, (index, p_value))| ChangePoint {
        index,
        p_value,
        before: level(place),
        after: level(place + 1),
    };
    cuts.into_iter().enumerate().map(point).collect()
}

fn divide(
    values: &[f64],
    offset: usize,
    alarm: f64,
    permutations: u32,
    random: &mut Xoshiro256PlusPlus,
    cuts: &mut Vec<(usize, f64)>,
) {
    let mut ranks = centred_ranks(values);
    let Some(height) = heights(&ranks).map(|(_, height)| height).reduce(f64::max) else { return };
    let Some(cut) = most_likely_cut(values) else { return };
    let as_good = (0..permutations)
        .filter(|_| {
            ranks.shuffle(random);
            heights(&ranks).any(|(_, other)| is_reached(height, other))
        })
        .count();
    // The series itself is one of the shuffled ones; so the level holds for any number of them.
    let p_value = (1 + as_good) as f64 / (1.0 + f64::from(permutations));
    if p_value > alarm || height == 0.0 {
        return;
    }
    cuts.push((offset + cut, p_value));
    divide(&values[..cut], offset, alarm, permutations, random, cuts);
    divide(&values[cut..], offset + cut, alarm, permutations, random, cuts);
}

/// How well each cut divides: its place and the rank sum before it, over its spread.
fn heights(ranks: &[f64]) -> impl Iterator<Item = (usize, f64)> + '_ {
    let count = ranks.len();
    let sums = ranks.iter().scan(0.0, |sum, rank| {
        *sum += rank;
        Some(*sum)
    });
    let cuts =
        (1..).zip(sums).filter(move |(before, _)| *before >= LEAST_RUNS && before + LEAST_RUNS <= count);
    cuts.map(move |(before, sum)| (before, sum.abs() / ((before * (count - before)) as f64).sqrt()))
}

/// Where the runs lie closest to the medians of their sides, by the sum of their distances. Ranks tell well whether there is
/// a change, and this where: a run of middle rank fits either side of a cut.
fn most_likely_cut(values: &[f64]) -> Option<usize> {
    let distance = |side: &[f64]| {
        let middle = median(side.to_vec()).unwrap_or_default();
        side.iter().map(|value| (value - middle).abs()).sum::<f64>()
    };
    let cost = |cut: usize| distance(&values[..cut]) + distance(&values[cut..]);
    let cuts = LEAST_RUNS..=values.len().checked_sub(LEAST_RUNS)?;
    // The first of equal ones, whatever rounding does to them.
    let less =
        |best: (usize, f64), next: (usize, f64)| if next.1 < best.1 * (1.0 - 1e-9) { next } else { best };
    cuts.map(|cut| (cut, cost(cut))).reduce(less).map(|(cut, _)| cut)
}

/// Whether `other` is as high, but for rounding.
fn is_reached(height: f64, other: f64) -> bool {
    other >= height * (1.0 - 1e-12)
}

/// Ranks less their mean; equal values share the mean of their ranks.
fn centred_ranks(values: &[f64]) -> Vec<f64> {
    let middle = (values.len() as f64 + 1.0) / 2.0;
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count() as f64;
        let equal = values.iter().filter(|other| *other == value).count() as f64;
        below + (equal + 1.0) / 2.0 - middle
    };
    values.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEED: u64 = 1;

    fn points(values: &[f64]) -> Vec<usize> {
        change_points(values, 0.05, 999, SEED).iter().map(|point| point.index).collect()
    }

    /// `count` figures around `level`, each up to 2 % off.
    fn noisy(random: &mut Xoshiro256PlusPlus, level: f64, count: usize) -> Vec<f64> {
        (0..count).map(|_| level * (1.0 + 0.04 * (random.random::<f64>() - 0.5))).collect()
    }

    #[test]
    fn steps_are_found_where_they_are() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
        let series =
            [noisy(&mut random, 400.0, 14), noisy(&mut random, 440.0, 12), noisy(&mut random, 380.0, 11)];
        let found = change_points(&series.concat(), 0.05, 999, SEED);
        assert_eq!(found.iter().map(|point| point.index).collect::<Vec<_>>(), [14, 26]);
        assert!((found[0].before / 400.0 - 1.0).abs() < 0.02 && (found[0].after / 440.0 - 1.0).abs() < 0.02);
        assert!((found[1].after / 380.0 - 1.0).abs() < 0.02 && found[1].p_value <= 0.05);
    }

    #[test]
    fn the_nile_fell_in_1899() {
        // Annual flow at Aswan from 1871, 1e8 m^3 (Cobb 1978): every method finds the year after the dam was begun.
        const NILE: [u32; 100] = [
            1120, 1160, 963, 1210, 1160, 1160, 813, 1230, 1370, 1140, 995, 935, 1110, 994, 1020, 960, 1180,
            799, 958, 1140, 1100, 1210, 1150, 1250, 1260, 1220, 1030, 1100, 774, 840, 874, 694, 940, 833,
            701, 916, 692, 1020, 1050, 969, 831, 726, 456, 824, 702, 1120, 1100, 832, 764, 821, 768, 845,
            864, 862, 698, 845, 744, 796, 1040, 759, 781, 865, 845, 944, 984, 897, 822, 1010, 771, 676, 649,
            846, 812, 742, 801, 1040, 860, 874, 848, 890, 744, 749, 838, 1050, 918, 986, 797, 923, 975, 815,
            1020, 906, 901, 1170, 912, 746, 919, 718, 714, 740,
        ];
        let flow: Vec<f64> = NILE.iter().map(|flow| f64::from(*flow)).collect();
        assert_eq!(points(&flow), [28]);
    }

    #[test]
    fn one_bad_run_is_no_change() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(4);
        let mut series = noisy(&mut random, 400.0, 20);
        series[9] = 4_000.0;
        assert_eq!(points(&series), [0; 0]);
    }

    #[test]
    fn series_that_are_short_or_all_alike_have_no_changes() {
        assert_eq!(points(&[]), [0; 0]);
        assert_eq!(points(&[1.0, 1.0, 1.0, 9.0, 9.0, 9.0, 9.0]), [0; 0]);
        assert_eq!(points(&[1.0, 1.1, 1.2, 1.3, 9.0, 9.1, 9.2, 9.3]), [4]);
        assert_eq!(points(&[7.0; 50]), [0; 0]);
    }

    #[test]
    fn a_series_without_a_change_shows_one_as_rarely_as_said() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(5);
        let series = 1_000;
        let alarms = (0..series)
            .filter(|_| !change_points(&noisy(&mut random, 400.0, 25), 0.05, 199, SEED).is_empty())
            .count();
        // 5 % of 1,000, and three binomial deviations of 6.9.
        assert!((30..=71).contains(&alarms), "{alarms} of {series}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn scale_and_the_direction_of_time_change_nothing(
            before in prop::collection::vec(100_u32..110, 6..12),
            after in prop::collection::vec(140_u32..150, 6..12),
            factor in 0.01_f64..100.0,
        ) {
            let series: Vec<f64> = before.iter().chain(&after).map(|v| f64::from(*v)).collect();
            prop_assert!(points(&series).contains(&before.len()), "{:?}", points(&series));
            let scaled: Vec<f64> = series.iter().map(|value| value * factor).collect();
            prop_assert_eq!(points(&scaled), points(&series));
            let back: Vec<f64> = series.iter().rev().copied().collect();
            prop_assert!(points(&back).contains(&after.len()));
        }
    }
}
