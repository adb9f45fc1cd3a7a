//! When the parts of answers came, and what follows from it.

use std::time::Instant;

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Track {
    /// Which connection it came on.
    pub(crate) lane: usize,
    pub(crate) asked: Instant,
    /// When each event with text came.
    pub(crate) events: Vec<Instant>,
    /// How many tokens the server says it had. Text is held back until a character is whole, so there
    /// may be fewer events.
    pub(crate) tokens: usize,
}

/// A time within which something counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) begins: Instant,
    pub(crate) ends: Instant,
}

// === impl Track ===

impl Track {
    /// Returns how long the first token took, in milliseconds.
    pub(crate) fn to_first(&self) -> f64 {
        let first = self.events.first().copied().unwrap_or(self.asked);
        millis(self.asked, first)
    }
}

// === impl Window ===

impl Window {
    pub(crate) fn seconds(&self) -> f64 {
        (self.ends - self.begins).as_secs_f64()
    }

    /// Tells whether that is within.
    pub(crate) fn has(&self, moment: Instant) -> bool {
        (self.begins..self.ends).contains(&moment)
    }
}

/// Returns how many tokens came in a second of a window: events, each worth as many tokens as events
/// were on average.
pub(crate) fn rate(tracks: &[Track], window: Window) -> f64 {
    let events: usize = tracks.iter().map(|track| track.events.len()).sum();
    let tokens: usize = tracks.iter().map(|track| track.tokens).sum();
    let all = tracks.iter().flat_map(|track| &track.events);
    let within = all.filter(|event| window.has(**event)).count();
    within as f64 * tokens as f64 / events.max(1) as f64 / window.seconds()
}

/// Returns the milliseconds between events of each answer, of those whose later one lies in a window.
pub(crate) fn gaps(tracks: &[Track], window: Window) -> Vec<f64> {
    let pairs = tracks.iter().flat_map(|track| track.events.windows(2));
    pairs
        .filter(|pair| window.has(pair[1]))
        .map(|pair| millis(pair[0], pair[1]))
        .collect()
}

fn millis(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn tokens_whose_text_came_together_count_all_the_same() {
        let began = Instant::now();
        let at = |millis| began + Duration::from_millis(millis);
        let track = Track {
            lane: 0,
            asked: began,
            events: vec![at(100), at(200), at(400), at(1200)],
            tokens: 8,
        };
        let window = Window {
            begins: began,
            ends: at(1000),
        };
        assert_eq!(track.to_first(), 100.0);
        assert_eq!(rate(std::slice::from_ref(&track), window), 6.0);
        assert_eq!(gaps(&[track], window), [100.0, 200.0]);
    }
}
