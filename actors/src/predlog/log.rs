//! The way into the log and out of it, for everybody but the writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use impetus_supervision::{ActorRef, AskError};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::timeout;

use super::batch::LogBatch;
use super::buffer::{Buffer, Pushed};
use super::config::{PredictionLogConfig, SinkSettings};
use super::error::{LogError, ReadError};
use super::query::{Page, Query, Stats};
use super::reader::Reader;
use super::records::Records;
use super::row::Row;
use super::status::PredictionLogStatus;
use crate::db_writer::{DbMsg, LogRequest};
use crate::forwarder::Shared;

/// A handle to the prediction log; cheap to clone, good for the life of the server.
#[derive(Clone, Debug)]
pub struct PredictionLog {
    writer: ActorRef<DbMsg>,
    records: Records,
    status: Arc<PredictionLogStatus>,
    reader: Arc<Reader>,
    buffer: Arc<Buffer>,
    room: Room,
}

/// What a log is put together from.
pub(crate) struct Handles {
    pub(crate) writer: ActorRef<DbMsg>,
    pub(crate) records: Records,
    /// Reads the file, whoever keeps the predictions.
    pub(crate) reader: Arc<Reader>,
    pub(crate) status: Arc<PredictionLogStatus>,
    pub(crate) buffer: Arc<Buffer>,
    /// The most memory that waiting batches hold, in bytes.
    pub(crate) room_bytes: usize,
}

/// The batch is on the disk. A replay gets the same answer as the original.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Ack {
    /// The number of predictions in the batch.
    pub logged: usize,
}

/// Batches that had not been dealt with when the time for it was over.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{batches} batches and {recorded} single predictions have not been committed")]
pub struct NotFlushed {
    /// How many batches there were.
    pub batches: usize,
    /// How many predictions that nobody waits for.
    pub recorded: usize,
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
    pub(crate) fn new(handles: Handles) -> Self {
        let Handles {
            writer,
            records,
            reader,
            status,
            buffer,
            room_bytes,
        } = handles;
        Self {
            writer,
            records,
            reader,
            status,
            buffer,
            room: Room::new(room_bytes),
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
        self.require_backlog()?;
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

    /// Logs a batch without waiting for it: it is committed within the flush interval, together with
    /// others.
    ///
    /// # Errors
    /// There is no room for more that wait; the batch is not logged, and counted as dropped.
    pub fn record(&self, batch: LogBatch) -> Result<(), LogError> {
        if batch.is_empty() {
            return Ok(());
        }
        let rows: Arc<[Row]> = batch.into_rows().into();
        let count = rows.len();
        if let Err(error) = self.require_backlog() {
            self.status.dropped(count as u64);
            return Err(error);
        }
        match self.buffer.push(rows) {
            Some(Pushed::First) => {
                // One that finds no room in the inbox is superfluous: a batch that is committed
                // takes along what waits here.
                let _full_of_batches = self.writer.try_send(DbMsg::Recorded);
                Ok(())
            }
            Some(Pushed::More) => Ok(()),
            None => {
                self.status.dropped(count as u64);
                Err(LogError::Overloaded {
                    retry_after: Duration::from_secs(1),
                })
            }
        }
    }

    /// Returns what a forwarder to `sink` works with, for the log of `config`, which has one.
    pub(crate) fn to_forward(&self, config: &PredictionLogConfig, sink: SinkSettings) -> Shared {
        let status = self.status.sink();
        Shared {
            settings: sink,
            check_every: config.check_every,
            check_within: config.check_within,
            remove_within: config.commit_within,
            log: Arc::clone(&self.status),
            status: Arc::clone(status.expect("a log with a sink has its status")),
            reader: Arc::clone(&self.reader),
            writer: self.writer.clone(),
        }
    }

    /// Returns how many batches wait for their commit, the ones it is tried with included.
    pub fn waiting(&self) -> usize {
        *self.room.batches.borrow()
    }

    /// Returns how many predictions wait that nobody waits for, and how many of them may.
    pub fn recorded(&self) -> (usize, usize) {
        (self.buffer.rows(), self.buffer.limit())
    }

    /// Waits until nothing waits any more: each batch has been committed, or its sender told why
    /// not, and what nobody waits for has been committed.
    ///
    /// # Errors
    /// Some wait still when the time is over.
    pub async fn flush(&self, within: Duration) -> Result<(), NotFlushed> {
        // It comes by itself when there is no room for the message.
        let _full = self.writer.try_send(DbMsg::Flush);
        let mut batches = self.room.batches.subscribe();
        let emptied = async {
            // The sender lives in the room, which `self` keeps.
            let _emptied = batches.wait_for(|batches| *batches == 0).await;
            self.buffer.emptied().await;
        };
        timeout(within, emptied).await.map_err(|_| NotFlushed {
            batches: self.waiting(),
            recorded: self.buffer.rows(),
        })
    }

    /// Returns one page of predictions, the newest first.
    pub async fn predictions(&self, query: &Query) -> Result<Page, ReadError> {
        self.records.predictions(query).await
    }

    /// Counts all predictions.
    pub async fn stats(&self) -> Result<Stats, ReadError> {
        let mut stats = self.records.stats().await?;
        stats.drift = self.status.drift();
        stats.errors = self.status.errors();
        Ok(stats)
    }

    /// Returns what reads the file, whoever keeps the predictions.
    pub(crate) fn reader(&self) -> &Arc<Reader> {
        &self.reader
    }

    /// Returns the published figures.
    pub fn status(&self) -> &Arc<PredictionLogStatus> {
        &self.status
    }

    /// Refuses what would be more than may wait for the sink.
    fn require_backlog(&self) -> Result<(), LogError> {
        if !self.status.backlog_is_full() {
            return Ok(());
        }
        self.status.turned_away();
        Err(LogError::Unavailable {
            reason: "as many predictions wait for their sink as may (sink.max_backlog)".into(),
            retry_after: Duration::from_secs(5),
        })
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
