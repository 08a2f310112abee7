//! Random numbers that are the same on every machine and in every version, so that an interval can be computed again.
//!
//! SplitMix64: Steele, Lea and Flood (2014), "Fast splittable pseudorandom number generators". Written out here because the
//! generators of libraries reserve the right to give other numbers in another version.

/// The seed where none is given.
pub const DEFAULT_SEED: u64 = 1;

/// A sequence of random numbers that its seed decides.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A whole number from 0 to `limit` - 1.
    ///
    /// By the high half of a product (Lemire 2019, "Fast random integer generation in an interval") without its rejection:
    /// no number is likelier than another by more than `limit` / 2^64.
    pub fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next_u64()) * limit as u128) >> 64) as usize
    }

    /// A number from 0 up to and without 1.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
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
    fn the_published_sequence() {
        // The first five of seed 1234567: rosettacode.org, "Pseudo-random numbers/Splitmix64".
        let mut random = Random::new(1_234_567);
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!([(); 5].map(|()| random.next_u64()), expected);
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
