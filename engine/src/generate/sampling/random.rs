//! Random numbers that are a function of what they are for.
//!
//! A generation that is resumed in another process has to draw the numbers that it would have drawn
//! where it began, without anybody handing a state over. So there is no state: the number is made of
//! seed, choice and position by Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random
//! numbers: as easy as 1, 2, 3", SC 2011), a counter-based generator that passes the usual tests.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// Returns a number from 0 to below 1, with 53 random bits.
pub(super) fn uniform(seed: u64, choice: u32, position: u64) -> f64 {
    let counter = [position as u32, (position >> 32) as u32, choice, 0];
    let [low, high, ..] = philox(counter, [seed as u32, (seed >> 32) as u32]);
    let bits = u64::from(low) | u64::from(high) << 32;
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// Returns the four words that the generator has at this counter under this key.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..ROUNDS {
        if round > 0 {
            key[0] = key[0].wrapping_add(WEYL[0]);
            key[1] = key[1].wrapping_add(WEYL[1]);
        }
        let first = u64::from(MULTIPLIERS[0]) * u64::from(counter[0]);
        let second = u64::from(MULTIPLIERS[1]) * u64::from(counter[2]);
        counter = [
            (second >> 32) as u32 ^ counter[1] ^ key[0],
            second as u32,
            (first >> 32) as u32 ^ counter[3] ^ key[1],
            first as u32,
        ];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_that_its_authors_publish() {
        // From `kat_vectors` of the Random123 library.
        let known = [
            (
                [0; 4],
                [0; 2],
                [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
            ),
            (
                [u32::MAX; 4],
                [u32::MAX; 2],
                [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
            ),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, words) in known {
            assert_eq!(philox(counter, key), words);
        }
    }

    #[test]
    fn every_part_of_what_a_number_is_for_changes_it() {
        let number = uniform(7, 0, 3);
        assert_eq!(number, uniform(7, 0, 3));
        for other in [
            uniform(8, 0, 3),
            uniform(7 | 1 << 40, 0, 3),
            uniform(7, 1, 3),
            uniform(7, 0, 4),
        ] {
            assert_ne!(number, other);
        }
    }

    #[test]
    fn numbers_are_spread_evenly() {
        let mut counts = [0; 10];
        for position in 0..100_000 {
            counts[(uniform(1, 2, position) * 10.0) as usize] += 1;
        }
        // Five standard deviations of a count of 10,000 are below 500.
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)));
    }
}
