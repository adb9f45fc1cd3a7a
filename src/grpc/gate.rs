//! How many connections there may be, and what the last of them are for.
//!
//! Beyond the limit a few more connections are let in for probes alone. Whoever looks after the
//! server has to hear that it is well also, and most of all, while its clients have taken every
//! place.

use std::sync::Arc;

use crate::http::Traffic;

/// Connections beyond the limit, on which only probes are answered.
const RESERVE: usize = 16;

/// Lets connections in.
#[derive(Debug)]
pub(super) struct Gate {
    limit: usize,
    traffic: Arc<Traffic>,
}

/// What may be asked on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Everything.
    Whole,
    /// How the server is: every other place is taken.
    Probes,
    /// How the server is: it takes no new work.
    Late,
}

/// A connection's place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Traffic>);

// === impl Gate ===

impl Gate {
    pub(super) fn new(limit: usize, traffic: Arc<Traffic>) -> Self {
        Self { limit, traffic }
    }

    /// Lets a connection in, unless there are too many.
    pub(super) fn enter(&self, late: bool) -> Option<(Place, Admission)> {
        let before = self.traffic.grpc_opened();
        let place = Place(Arc::clone(&self.traffic));
        if before >= self.limit + RESERVE {
            self.traffic.count_grpc_refused();
            return None;
        }
        let admission = match (late, before >= self.limit) {
            (true, _) => Admission::Late,
            (false, true) => Admission::Probes,
            (false, false) => Admission::Whole,
        };
        Some((place, admission))
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        self.0.grpc_ended();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_limit_a_few_connections_are_for_probes_and_then_none_is_let_in() {
        let traffic = Arc::<Traffic>::default();
        let gate = Gate::new(2, Arc::clone(&traffic));
        let mut places: Vec<_> = (0..2).map(|_| gate.enter(false).unwrap()).collect();
        assert!(places.iter().all(|(_, a)| *a == Admission::Whole));
        places.extend((0..RESERVE).map(|_| gate.enter(false).unwrap()));
        assert!(places[2..].iter().all(|(_, a)| *a == Admission::Probes));
        assert!(gate.enter(false).is_none());
        assert_eq!(traffic.grpc_connections(), 2 + RESERVE);
        assert_eq!(traffic.grpc_refused(), 1);
        places.clear();
        assert_eq!(gate.enter(false).unwrap().1, Admission::Whole);
        assert_eq!(gate.enter(true).unwrap().1, Admission::Late);
    }
}
