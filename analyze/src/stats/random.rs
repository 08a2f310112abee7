//! Random numbers that are the same on every machine and in every version, so that an interval can be computed again.
//!
//! The generator is named, xoshiro256++ (Blackman and Vigna 2021, "Scrambled linear pseudorandom number generators"), and so will
//! not become another one. How numbers are drawn from its bits is written out here, as rand may change that in another version.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng as _, SeedableRng as _};

/// The seed where none is given.
pub const DEFAULT_SEED: u64 = 1;

/// A sequence of random numbers that its seed decides.
#[derive(Debug, Clone)]
pub struct Random(Xoshiro256PlusPlus);

impl Random {
    /// The sequence of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// A whole number from 0 to `limit` - 1.
    ///
    /// By the high half of a product (Lemire 2019, "Fast random integer generation in an interval") without its rejection:
    /// no number is likelier than another by more than `limit` / 2^64.
    pub fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.0.next_u64()) * limit as u128) >> 64) as usize
    }

    /// A number from 0 up to and without 1.
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Series of known properties for the tests of the estimators.
#[cfg(test)]
pub(super) mod series {
    use super::Random;

    /// A standard normal number, by the polar form of Box and Muller.
    pub(crate) fn normal(random: &mut Random) -> f64 {
        let radius = (-2.0 * (1.0 - random.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * random.unit()).cos()
    }

    /// A stationary autoregressive series of order 1 with variance 1; `phi` of 0 makes it independent.
    pub(crate) fn ar1(random: &mut Random, phi: f64, count: usize) -> Vec<f64> {
        let mut value = normal(random);
        let mut next = || {
            let this = value;
            value = phi * value + (1.0 - phi * phi).sqrt() * normal(random);
            this
        };
        (0..count).map(|_| next()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_the_published_one() {
        // The first numbers of the reference implementation, https://prng.di.unimi.it/xoshiro256plusplus.c, with the state 1, 2, 3, 4.
        let mut seed = [0; 32];
        for (place, byte) in [1, 2, 3, 4].into_iter().enumerate() {
            seed[place * 8] = byte;
        }
        let mut generator = Xoshiro256PlusPlus::from_seed(seed);
        let expected = [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386];
        assert_eq!([(); 4].map(|()| generator.next_u64()), expected);
    }

    #[test]
    fn the_draws_of_a_seed_are_fixed() {
        let mut random = Random::new(DEFAULT_SEED);
        assert_eq!([(); 8].map(|()| random.below(1000)), [811, 747, 100, 746, 184, 590, 986, 523]);
    }

    #[test]
    fn every_number_below_the_limit_is_as_likely() {
        let mut random = Random::new(DEFAULT_SEED);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[random.below(7)] += 1;
        }
        // Six standard deviations of a binomial with p = 1 / 7.
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 556), "{counts:?}");
        assert!((0..1000).map(|_| random.unit()).all(|u| (0.0..1.0).contains(&u)));
    }
}
