//! What becomes of the sequences of a lost worker: they go on with another one.
//!
//! The first time all of them go on together: nobody knows which one it was, or whether any was. When
//! a worker is lost again by its own doing before a sequence is beyond the place where that happened
//! first, the sequence goes on alone, until it is; then others may join it. One that kills the worker
//! it has to itself is ended, and the same request is refused from then on, as with every other
//! request. A worker that somebody else killed proves nothing; but that has a limit too.

use std::time::Instant;

use super::super::loss::Loss;
use super::sequence::{Record, Sequence};

/// Workers that a sequence may lose by their own doing in all, however far it comes between them.
const MOST_LOSSES: u32 = 10;

/// What is to be done with a sequence whose worker was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::serving) enum Verdict {
    /// It goes on.
    Resume,
    /// It killed the worker that it had to itself.
    Guilty,
    /// It has lost too many.
    GiveUp,
}

// === impl Sequence ===

impl Sequence {
    /// Holds a loss against a sequence that its worker had.
    pub(in crate::serving) fn lost(&mut self, loss: &Loss, accidents: u32) -> Verdict {
        let said = self.said();
        self.record.lost(said, loss.is_evidence(), accidents)
    }

    /// Tells whether anybody is there who would see it go on.
    pub(in crate::serving) fn is_worth_resuming(&self) -> bool {
        self.is_wanted(Instant::now())
    }
}

// === impl Record ===

impl Record {
    fn lost(&mut self, said: usize, evidence: bool, accidents: u32) -> Verdict {
        if !evidence {
            self.accidents += 1;
            return match self.accidents > accidents {
                true => Verdict::GiveUp,
                false => Verdict::Resume,
            };
        }
        if self.alone {
            return Verdict::Guilty;
        }
        self.losses += 1;
        self.losses_in_all += 1;
        self.alone = self.losses > 1;
        self.died_at = Some(said.max(self.died_at.unwrap_or_default()));
        match self.losses_in_all > MOST_LOSSES {
            true => Verdict::GiveUp,
            false => Verdict::Resume,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_loss_is_shared_the_second_is_met_alone_and_the_third_is_proof() {
        let mut record = Record::default();
        assert_eq!(record.lost(7, true, 3), Verdict::Resume);
        assert!(!record.alone, "nobody knows yet whose doing it was");
        assert_eq!(record.lost(7, true, 3), Verdict::Resume);
        assert!(record.alone);
        assert_eq!(record.lost(7, true, 3), Verdict::Guilty);
    }

    #[test]
    fn a_sequence_beyond_the_place_of_the_death_is_cleared_and_may_have_company() {
        let mut record = Record::default();
        record.lost(7, true, 3);
        record.lost(5, true, 3);
        record.went_on(7);
        assert!(record.alone, "the place is not behind it yet");
        record.went_on(8);
        assert_eq!((record.alone, record.died_at), (false, None));
        assert_eq!(record.lost(9, true, 3), Verdict::Resume);
        assert!(!record.alone);
    }

    #[test]
    fn a_sequence_that_kills_workers_ever_further_on_is_given_up_in_the_end() {
        let mut record = Record::default();
        for place in 1..=MOST_LOSSES as usize {
            assert_eq!(record.lost(place, true, 3), Verdict::Resume);
            record.went_on(place + 1);
        }
        assert_eq!(record.lost(99, true, 3), Verdict::GiveUp);
    }

    #[test]
    fn kills_from_outside_prove_nothing_and_have_a_limit_unless_it_gets_on_between_them() {
        let mut record = Record::default();
        for _ in 0..3 {
            assert_eq!(record.lost(4, false, 3), Verdict::Resume);
        }
        record.went_on(5);
        for _ in 0..3 {
            assert_eq!(record.lost(5, false, 3), Verdict::Resume);
            assert!(!record.alone);
        }
        assert_eq!(record.lost(5, false, 3), Verdict::GiveUp);
    }
}
