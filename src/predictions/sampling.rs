//! Which requests are chosen where only a part of them is logged.
//!
//! The id of a request decides, and nothing else: the same request is chosen by every server and
//! each time, and whoever knows its id knows whether it was. Ids that differ in one character are
//! chosen independently of each other.

/// Tells whether the request of this id belongs to the chosen `part` of 0 to 1.
pub(super) fn is_chosen(id: &str, part: f64) -> bool {
    // 53 bits are what a number of 0 to 1 has.
    let place = (mixed(id) >> 11) as f64 / (1_u64 << 53) as f64;
    place < part
}

/// Returns 64 bits that each depend on every character: FNV-1a, and the finaliser of `SplitMix64`,
/// since the last characters move only the lower bits of the former.
fn mixed(id: &str) -> u64 {
    let fnv = id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_chosen_as_the_part_says_and_always_the_same() {
        for part in [0.01, 0.1, 0.5] {
            let ids = (0..100_000).map(|n| format!("req-{n}"));
            let chosen: Vec<String> = ids.filter(|id| is_chosen(id, part)).collect();
            let off = (chosen.len() as f64 / 100_000.0 - part).abs();
            // Five times the standard deviation of such a share.
            let expected = 5.0 * (part * (1.0 - part) / 100_000.0).sqrt();
            assert!(off < expected, "{part}: {}", chosen.len());
            assert!(chosen.iter().all(|id| is_chosen(id, part)));
        }
    }

    #[test]
    fn none_and_all_are_meant_as_they_are_said() {
        assert!((0..1000).all(|n| !is_chosen(&n.to_string(), 0.0)));
        assert!((0..1000).all(|n| is_chosen(&n.to_string(), 1.0)));
    }
}
