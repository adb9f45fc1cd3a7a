//! Passes over all scores of a vocabulary, which are what sampling costs.
//!
//! A vocabulary has up to 150,000 tokens and a step scores it for every sequence, so each pass is a
//! plain loop over blocks that the compiler turns into vector instructions, and what few tokens are
//! wanted for is found by the maxima of the blocks: the k best tokens lie in the k best blocks.
//!
//! The loops over lanes go by number: iterators over two of them are not turned into vector instructions
//! in a build of several units.

use std::cmp::Ordering;

/// Scores in a block.
const BLOCK: usize = 64;
const LANES: usize = 8;
const BIN_LANES: usize = 4;
/// Leaves a weight's exponent and five bits behind its point.
const BIN_SHIFT: u32 = f32::MANTISSA_DIGITS - 1 - 5;

/// A token with its score or weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) token: u32,
    pub(super) score: f32,
}

/// The maxima of a row's blocks.
#[derive(Default)]
pub(super) struct Maxima {
    blocks: Vec<f32>,
    sorted: Vec<f32>,
    best: f32,
}

/// Weights of a whole row: `exp((score - best) / temperature)`, 1 for the best.
#[derive(Default)]
pub(super) struct Weights {
    weights: Vec<f32>,
    sums: Vec<f64>,
    total: f64,
    /// The weight of all tokens in each bin of [`bin`].
    bins: Vec<[f64; BIN_LANES]>,
    border: Vec<Candidate>,
}

/// Returns `e` to the power of `x`, for `x` up to 0, within a few units in the last place.
///
/// The polynomial is that of Cephes' `expf`; written without a branch or a call, so that it can be
/// done for several numbers at once.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// Adding it rounds to an integer and leaves that in the low bits.
    const MAGIC: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let shifted = x * std::f32::consts::LOG2_E + MAGIC;
    let power = shifted - MAGIC;
    let rest = x - power * LN2_HIGH - power * LN2_LOW;
    let sum = 1.987_569_1e-4 * rest + 1.398_199_9e-3;
    let sum = sum * rest + 8.333_452e-3;
    let sum = sum * rest + 4.166_579_6e-2;
    let sum = sum * rest + 1.666_666_5e-1;
    let sum = sum * rest + 0.5;
    let sum = sum * rest * rest + rest + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(MAGIC.to_bits());
    let scaled = f32::from_bits(sum.to_bits().wrapping_add(exponent << 23));
    // Below, the exponent would wrap around.
    if x < -87.0 { 0.0 } else { scaled }
}

// === impl Maxima ===

impl Maxima {
    /// Finds the maxima of a row.
    pub(super) fn find(&mut self, scores: &[f32]) {
        self.blocks.clear();
        self.blocks.extend(scores.chunks(BLOCK).map(maximum));
        self.best = maximum(&self.blocks);
    }

    /// Returns the best score; not finite if no token can be chosen.
    pub(super) fn best(&self) -> f32 {
        self.best
    }

    /// Returns the first token with the best score.
    pub(super) fn first_best(&self, scores: &[f32]) -> u32 {
        let block = self.blocks.iter().position(|max| *max == self.best);
        let start = block.unwrap_or(0) * BLOCK;
        let within = scores[start..].iter().position(|score| *score == self.best);
        (start + within.unwrap_or(0)) as u32
    }

    /// Appends every token with at least this score, in the order of their numbers.
    pub(super) fn at_least(&self, scores: &[f32], least: f32, found: &mut Vec<Candidate>) {
        for (block, max) in self.blocks.iter().enumerate() {
            if *max < least {
                continue;
            }
            let start = block * BLOCK;
            let end = scores.len().min(start + BLOCK);
            for (index, score) in scores[start..end].iter().enumerate() {
                if *score >= least && *score > f32::NEG_INFINITY {
                    found.push(Candidate {
                        token: (start + index) as u32,
                        score: *score,
                    });
                }
            }
        }
    }

    /// Returns a score that at least `count` tokens reach, and few more.
    pub(super) fn bound_of_best(&mut self, count: usize) -> f32 {
        if count == 0 || count >= self.blocks.len() {
            return f32::NEG_INFINITY;
        }
        self.sorted.clear();
        self.sorted.extend_from_slice(&self.blocks);
        let (_, bound, _) = self
            .sorted
            .select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
        *bound
    }
}

// === impl Weights ===

impl Weights {
    /// Weighs a row whose best score is known.
    pub(super) fn weigh(&mut self, scores: &[f32], best: f32, temperature: f32) {
        let factor = temperature.recip();
        self.weights.clear();
        let (blocks, rest) = scores.as_chunks::<BLOCK>();
        for block in blocks {
            let mut weights = [0.0; BLOCK];
            for lane in 0..BLOCK {
                weights[lane] = exp((block[lane] - best) * factor);
            }
            self.weights.extend_from_slice(&weights);
        }
        for score in rest {
            self.weights.push(exp((score - best) * factor));
        }
        self.sum();
    }

    /// Returns the sum of all.
    pub(super) fn total(&self) -> f64 {
        self.total
    }

    /// Leaves the least number of best tokens that have this part of the weight of all.
    ///
    /// Tokens are counted by the bin that their weight falls into, so that only those in the bin in
    /// which the border lies have to be compared with each other.
    pub(super) fn keep_nucleus(&mut self, part: f64) {
        let wanted = part * self.total;
        // All tokens below this weight together have less than what may be left out.
        let negligible = ((1.0 - part) * self.total / self.weights.len() as f64).min(1.0) as f32;
        self.count(negligible);
        let mut above = 0.0;
        let mut border = self.bins.len() - 1;
        while border > bin(negligible) && above + self.bins[border].iter().sum::<f64>() < wanted {
            above += self.bins[border].iter().sum::<f64>();
            border -= 1;
        }
        let (least, beyond) = (least_of_bin(border), least_of_bin(border + 1));
        self.border.clear();
        for (token, weight) in self.weights.iter_mut().enumerate() {
            if *weight >= least && *weight < beyond {
                self.border.push(Candidate {
                    token: token as u32,
                    score: *weight,
                });
            }
            *weight = if *weight >= beyond { *weight } else { 0.0 };
        }
        self.border.sort_unstable_by(by_rank);
        for candidate in &self.border {
            if above >= wanted {
                break;
            }
            above += f64::from(candidate.score);
            self.weights[candidate.token as usize] = candidate.score;
        }
        self.sum();
    }

    /// Adds up the weights from `least` on in each bin, in several lanes: neighbours are often in the same bin, and one
    /// sum would have to wait for the other.
    fn count(&mut self, least: f32) {
        self.bins.clear();
        self.bins.resize(bin(1.0) + 1, [0.0; BIN_LANES]);
        for group in self.weights.chunks(BIN_LANES) {
            for (lane, weight) in group.iter().enumerate() {
                if *weight < least {
                    continue;
                }
                if let Some(sums) = self.bins.get_mut(bin(*weight)) {
                    sums[lane] += f64::from(*weight);
                }
            }
        }
    }

    /// Leaves the tokens with at least this weight.
    pub(super) fn keep_at_least(&mut self, least: f32) {
        for weight in &mut self.weights {
            *weight = if *weight >= least { *weight } else { 0.0 };
        }
        self.sum();
    }

    fn sum(&mut self) {
        self.sums.clear();
        self.sums.extend(self.weights.chunks(BLOCK).map(sum));
        self.total = self.sums.iter().sum();
    }

    /// Returns the token at this part of the whole, from 0 to below 1.
    pub(super) fn at(&self, part: f64) -> u32 {
        let mut left = part * self.total;
        // What rounding leaves over goes to the last token that can be chosen.
        let mut last = 0;
        for (block, sum) in self.sums.iter().enumerate() {
            if *sum <= 0.0 {
                continue;
            }
            if left < *sum {
                return self.within(block, left);
            }
            left -= sum;
            last = block;
        }
        self.within(last, f64::INFINITY)
    }

    fn within(&self, block: usize, mut left: f64) -> u32 {
        let start = block * BLOCK;
        let end = self.weights.len().min(start + BLOCK);
        let mut chosen = 0;
        for (index, weight) in self.weights[start..end].iter().enumerate() {
            if *weight > 0.0 {
                chosen = index;
                left -= f64::from(*weight);
                if left < 0.0 {
                    break;
                }
            }
        }
        (start + chosen) as u32
    }
}

/// Returns the sum of the weights of a row, which is not kept.
pub(super) fn sum_of_exp(scores: &[f32], best: f32) -> f64 {
    let (blocks, rest) = scores.as_chunks::<BLOCK>();
    let mut total = 0.0;
    for block in blocks {
        let mut weights = [0.0; BLOCK];
        for lane in 0..BLOCK {
            weights[lane] = exp(block[lane] - best);
        }
        total += sum(&weights);
    }
    for score in rest {
        total += f64::from(exp(score - best));
    }
    total
}

/// Returns where a weight is counted; a greater one never before a smaller one.
fn bin(weight: f32) -> usize {
    (weight.to_bits() >> BIN_SHIFT) as usize
}

/// Returns the least weight that is counted in a bin.
fn least_of_bin(bin: usize) -> f32 {
    f32::from_bits((bin as u32) << BIN_SHIFT)
}

/// Best first; of equals the one with the lower number.
pub(super) fn by_rank(a: &Candidate, b: &Candidate) -> Ordering {
    b.score.total_cmp(&a.score).then(a.token.cmp(&b.token))
}

fn maximum(scores: &[f32]) -> f32 {
    let greater = |a: f32, b: f32| if a > b { a } else { b };
    let (groups, rest) = scores.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for group in groups {
        for lane in 0..LANES {
            lanes[lane] = greater(group[lane], lanes[lane]);
        }
    }
    let mut best = f32::NEG_INFINITY;
    for score in lanes.iter().chain(rest) {
        best = greater(*score, best);
    }
    best
}

fn sum(weights: &[f32]) -> f64 {
    let (groups, rest) = weights.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for group in groups {
        for lane in 0..LANES {
            lanes[lane] += group[lane];
        }
    }
    let mut sum = 0.0;
    for weight in lanes.iter().chain(rest) {
        sum += weight;
    }
    f64::from(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_that_of_the_library_within_rounding() {
        let mut x = 0.0f32;
        while x > -87.0 {
            let (ours, theirs) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((ours - theirs).abs() <= theirs * 3e-7, "{x}: {ours}");
            x -= 0.0137;
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-88.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn equal_scores_give_the_lowest_token() {
        let mut scores = vec![0.0; 300];
        for token in [170, 171, 260] {
            scores[token] = 2.5;
        }
        let mut maxima = Maxima::default();
        maxima.find(&scores);
        assert_eq!(maxima.first_best(&scores), 170);
    }
}
