//! Prompts that mean nothing.

/// Ids below this have a meaning of their own.
const SPECIAL: u64 = 4;

/// Where prompts come from: tokens in an order that looks like chance (xorshift).
#[derive(Debug)]
pub(crate) struct Prompts {
    vocabulary: u64,
    state: u64,
}

// === impl Prompts ===

impl Prompts {
    /// Begins always the same.
    pub(crate) fn new(vocabulary: u32) -> Self {
        Self {
            vocabulary: u64::from(vocabulary),
            state: 0x2545_f491_4f6c_dd1d,
        }
    }

    /// Returns a prompt of so many tokens, another one each time.
    pub(crate) fn draw(&mut self, length: usize) -> Vec<u32> {
        (0..length).map(|_| self.token()).collect()
    }

    fn token(&mut self) -> u32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let token = SPECIAL + self.state % (self.vocabulary - SPECIAL);
        u32::try_from(token).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_prompts_begin_the_same_and_none_has_a_special_token() {
        let mut prompts = Prompts::new(49_152);
        let drawn: Vec<Vec<u32>> = (0..100).map(|_| prompts.draw(8)).collect();
        let mut beginnings: Vec<u32> = drawn.iter().map(|prompt| prompt[0]).collect();
        beginnings.sort_unstable();
        beginnings.dedup();
        assert!(beginnings.len() > 95, "{}", beginnings.len());
        let all = drawn.iter().flatten();
        assert!(all.clone().all(|token| (4..49_152).contains(token)));
    }
}
