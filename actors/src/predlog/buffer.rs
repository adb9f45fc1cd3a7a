//! Predictions that wait to be committed and that nobody waits for.
//!
//! What is answered first is committed a moment later, many at once. Until then it lies here,
//! outside of the writer, so that a writer that is replaced loses nothing: what it had in hand is
//! handed to its successor, and the keys of the rows make it harmless if the first one had got it
//! to the disk after all.
//!
//! **Invariant:** a row that was let in leaves only when it has been committed. Whoever finds no
//! room is told so, and counts it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::row::Row;

/// Rows in the order in which they came.
#[derive(Debug)]
pub(crate) struct Buffer {
    inner: Mutex<Inner>,
    limit: usize,
    /// How many rows there are, for whoever waits until there are none.
    rows: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Arc<[Row]>>,
    in_hand: Vec<Arc<[Row]>>,
    rows: usize,
}

/// What a push has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pushed {
    /// There was nothing before: somebody should see to it in a while.
    First,
    /// There were some before.
    More,
}

// === impl Buffer ===

impl Buffer {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            inner: Mutex::default(),
            limit,
            rows: watch::Sender::new(0),
        }
    }

    /// Lets rows in, all or none of them; `None` when there is no room. More rows than there is
    /// room for at all are let in when there are no others.
    pub(crate) fn push(&self, rows: Arc<[Row]>) -> Option<Pushed> {
        let mut inner = self.lock();
        let before = inner.rows;
        if before > 0 && before.saturating_add(rows.len()) > self.limit {
            return None;
        }
        inner.rows += rows.len();
        inner.waiting.push_back(rows);
        self.rows.send_replace(inner.rows);
        Some(if before == 0 {
            Pushed::First
        } else {
            Pushed::More
        })
    }

    /// Takes about `rows` rows to commit them, those first that somebody else had taken and never
    /// finished. The last batch may overrun the number.
    pub(crate) fn take(&self, rows: usize) -> Vec<Arc<[Row]>> {
        let mut inner = self.lock();
        inner.put_back();
        let mut taken = 0;
        while taken < rows {
            let Some(batch) = inner.waiting.pop_front() else {
                break;
            };
            taken += batch.len();
            inner.in_hand.push(batch);
        }
        inner.in_hand.clone()
    }

    /// What was taken has been committed.
    pub(crate) fn committed(&self) {
        let mut inner = self.lock();
        let rows: usize = inner.in_hand.drain(..).map(|batch| batch.len()).sum();
        inner.rows = inner.rows.saturating_sub(rows);
        self.rows.send_replace(inner.rows);
    }

    /// Returns how many rows there are, those in hand included.
    pub(crate) fn rows(&self) -> usize {
        *self.rows.borrow()
    }

    /// Returns how many there may be.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Waits until there are none.
    pub(crate) async fn emptied(&self) {
        let mut rows = self.rows.subscribe();
        // The sender lives in `self`.
        let _emptied = rows.wait_for(|rows| *rows == 0).await;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that is done under the lock can panic half-way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn put_back(&mut self) {
        while let Some(batch) = self.in_hand.pop() {
            self.waiting.push_front(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predlog::testing::{prediction, rows};

    fn batch(images: &[&str]) -> Arc<[Row]> {
        let images = images.iter();
        let predictions: Vec<_> = images
            .map(|image| prediction(image, "2025-01-01T12:00:00Z", false))
            .collect();
        rows("edge", &predictions)
    }

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let buffer = Buffer::new(3);
        assert_eq!(buffer.push(batch(&["a", "b"])), Some(Pushed::First));
        assert_eq!(buffer.push(batch(&["c", "d"])), None);
        assert_eq!(buffer.push(batch(&["c"])), Some(Pushed::More));
        assert_eq!((buffer.rows(), buffer.limit()), (3, 3));
        assert_eq!(buffer.take(2).len(), 1, "one batch has the two rows");
        assert_eq!(buffer.rows(), 3, "in hand is not yet on the disk");
        buffer.committed();
        assert_eq!(buffer.rows(), 1);
        let large = Buffer::new(1);
        assert_eq!(
            large.push(batch(&["a", "b"])),
            Some(Pushed::First),
            "more than all the room is let in when it is alone"
        );
    }

    #[test]
    fn what_a_writer_had_in_hand_comes_first_when_another_one_takes() {
        let buffer = Buffer::new(10);
        let (first, second, third) = (batch(&["a"]), batch(&["b"]), batch(&["c"]));
        for rows in [&first, &second, &third] {
            buffer.push(Arc::clone(rows));
        }
        assert_eq!(buffer.take(2), [first.clone(), second.clone()]);
        assert_eq!(buffer.take(3), [first, second, third]);
        buffer.committed();
        assert_eq!(buffer.rows(), 0);
    }
}
