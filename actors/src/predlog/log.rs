//! The way into the log and out of it, for everybody but the writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use impetus_supervision::{ActorRef, AskError};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::timeout;

use super::batch::LogBatch;
use super::error::{LogError, ReadError};
use super::query::{Page, Query, Stats};
use super::reader::Reader;
use super::row::Row;
use super::status::PredictionLogStatus;
use crate::db_writer::{DbMsg, LogRequest};

/// A handle to the prediction log; cheap to clone, good for the life of the server.
#[derive(Clone, Debug)]
pub struct PredictionLog {
    writer: ActorRef<DbMsg>,
    reader: Arc<Reader>,
    status: Arc<PredictionLogStatus>,
    room: Room,
}

/// The batch is on the disk. A replay gets the same answer as the original.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Ack {
    /// The number of predictions in the batch.
    pub logged: usize,
}

/// Batches that had not been dealt with when the time for it was over.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{batches} batches of predictions have not been committed")]
pub struct NotFlushed {
    /// How many there were.
    pub batches: usize,
}

/// Memory for batches that wait. An inbox counts messages, and a message can be large.
#[derive(Clone, Debug)]
struct Room {
    taken: Arc<AtomicUsize>,
    limit: usize,
    /// How many batches there are in it.
    batches: Arc<watch::Sender<usize>>,
}

/// A part of the room, given back when the batch has been dealt with.
#[derive(Debug)]
pub(crate) struct RoomTaken {
    room: Room,
    bytes: usize,
}

// === impl PredictionLog ===

impl PredictionLog {
    pub(crate) fn new(
        writer: ActorRef<DbMsg>,
        reader: Arc<Reader>,
        status: Arc<PredictionLogStatus>,
        room_bytes: usize,
    ) -> Self {
        let room = Room::new(room_bytes);
        Self {
            writer,
            reader,
            status,
            room,
        }
    }

    /// Logs a batch and returns when it is on the disk.
    ///
    /// A writer that is replaced while it has the batch is asked once more: the keys of the rows
    /// make that harmless, whatever the first one got done.
    pub async fn log(&self, batch: LogBatch, within: Duration) -> Result<Ack, LogError> {
        let ack = Ack {
            logged: batch.len(),
        };
        if batch.is_empty() {
            return Ok(ack);
        }
        let rows: Arc<[Row]> = batch.into_rows().into();
        let room = self
            .room
            .take(rows.iter().map(Row::weight).sum())
            .ok_or_else(|| self.overloaded())?;
        let room = Arc::new(room);
        let asking = async {
            match self.ask(&rows, &room, within).await {
                Err(LogError::Interrupted) => self.ask(&rows, &room, within).await,
                answer => answer,
            }
        };
        timeout(within, asking)
            .await
            .unwrap_or(Err(LogError::TimedOut { within }))?;
        Ok(ack)
    }

    /// Returns how many batches wait for their commit, the ones it is tried with included.
    pub fn waiting(&self) -> usize {
        *self.room.batches.borrow()
    }

    /// Waits until no batch waits any more: each has been committed, or its sender told why not.
    ///
    /// # Errors
    /// Some wait still when the time is over.
    pub async fn flush(&self, within: Duration) -> Result<(), NotFlushed> {
        let mut batches = self.room.batches.subscribe();
        let emptied = timeout(within, batches.wait_for(|batches| *batches == 0)).await;
        match emptied {
            // The sender lives in the room, which `self` keeps.
            Ok(_) => Ok(()),
            Err(_) => Err(NotFlushed {
                batches: self.waiting(),
            }),
        }
    }

    /// Returns one page of predictions, the newest first.
    pub async fn predictions(&self, query: &Query) -> Result<Page, ReadError> {
        self.reader.predictions(query).await
    }

    /// Counts all predictions.
    pub async fn stats(&self) -> Result<Stats, ReadError> {
        self.reader.stats().await
    }

    /// Returns the published figures.
    pub fn status(&self) -> &Arc<PredictionLogStatus> {
        &self.status
    }

    /// Turns a batch away because too many wait.
    fn overloaded(&self) -> LogError {
        self.status.turned_away();
        LogError::Overloaded {
            retry_after: Duration::from_secs(1),
        }
    }

    async fn ask(
        &self,
        rows: &Arc<[Row]>,
        room: &Arc<RoomTaken>,
        within: Duration,
    ) -> Result<(), LogError> {
        let (rows, room) = (Arc::clone(rows), Arc::clone(room));
        let question = |reply| DbMsg::Log(LogRequest::new(rows, reply, room));
        match self.writer.ask(question, within).await {
            Ok(answer) => answer,
            Err(AskError::Full) => Err(self.overloaded()),
            Err(AskError::Timeout) => Err(LogError::TimedOut { within }),
            Err(AskError::Lost) => Err(LogError::Interrupted),
            Err(AskError::Closed) => Err(LogError::Closed),
        }
    }
}

// === impl Room ===

impl Room {
    fn new(limit: usize) -> Self {
        Self {
            taken: Arc::default(),
            limit,
            batches: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Takes a part of the room; a batch larger than all of it is let in when it is alone.
    fn take(&self, bytes: usize) -> Option<RoomTaken> {
        let take = |taken: usize| {
            let fits = taken == 0 || taken.saturating_add(bytes) <= self.limit;
            fits.then(|| taken.saturating_add(bytes))
        };
        self.taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take)
            .ok()?;
        self.batches.send_modify(|batches| *batches += 1);
        Some(RoomTaken {
            room: self.clone(),
            bytes,
        })
    }
}

impl Drop for RoomTaken {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.bytes, Ordering::AcqRel);
        self.room
            .batches
            .send_modify(|batches| *batches = batches.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_and_given_back() {
        let room = Room::new(100);
        let first = room.take(60).expect("there is room");
        assert!(room.take(60).is_none());
        let second = room.take(40).expect("there is just enough");
        drop((first, second));
        assert!(
            room.take(1_000).is_some(),
            "a large batch is let in when it is alone"
        );
        assert_eq!(*room.batches.borrow(), 0);
    }
}
