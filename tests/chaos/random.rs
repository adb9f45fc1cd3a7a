//! The one source of chance: everything a run decides comes from its seed.

use std::time::Duration;

/// SplitMix64, of Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

// === impl Random ===

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a generator for somebody who draws at a time of their own.
    pub fn split(&mut self) -> Self {
        Self(self.next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 to `end - 1`.
    pub fn below(&mut self, end: usize) -> usize {
        let product = u128::from(self.next()) * end as u128;
        usize::try_from(product >> 64).expect("it is below an usize")
    }

    /// Returns a number from 0 up to 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        let span = usize::try_from(to - from).expect("a short time");
        Duration::from_millis(from + self.below(span + 1) as u64)
    }

    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }
}

#[test]
fn the_generator_gives_the_numbers_of_its_reference_implementation() {
    let mut random = Random::new(1_234_567);
    let first = [random.next(), random.next(), random.next()];
    assert_eq!(
        first,
        [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423
        ]
    );
}

#[test]
fn drawn_numbers_stay_within_their_bounds_and_reach_them() {
    let mut random = Random::new(1);
    let drawn: Vec<usize> = (0..1000).map(|_| random.below(3)).collect();
    assert!((0..3).all(|number| drawn.contains(&number)));
    assert!(drawn.iter().all(|number| *number < 3));
    assert!((0..1000).all(|_| (0.0..1.0).contains(&random.unit())));
}
