//! The connections that read.
//!
//! A connection's socket belongs to the runtime in which it was made, and the server has several: one
//! that has been made by one of them is used by that one only, or a runtime that has ended or is
//! busy would stand between a reader and its answer. So each is kept with the name of its runtime.
//! No task looks after them; one that has died is found out when it is taken.
//!
//! **Invariant:** no more connections read than may, and no more than that are kept. One whose
//! reading was not brought to its end is closed.

use std::sync::{Mutex, PoisonError};

use sqlx::{Connection, PgConnection};
use tokio::runtime::{Handle, Id};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::super::error::ReadError;
use super::server::{Purpose, Server};

/// Connections, and how many there may be.
#[derive(Debug)]
pub(super) struct Connections {
    idle: Mutex<Vec<(Id, PgConnection)>>,
    most: usize,
    permits: Semaphore,
}

/// A connection in use.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) connection: PgConnection,
    runtime: Id,
    _permit: SemaphorePermit<'a>,
}

// === impl Connections ===

impl Connections {
    pub(super) fn new(most: u32) -> Self {
        let most = usize::try_from(most.max(1)).unwrap_or(usize::MAX);
        Self {
            idle: Mutex::new(Vec::new()),
            most,
            permits: Semaphore::new(most.min(Semaphore::MAX_PERMITS)),
        }
    }

    /// Waits for its turn and takes a connection of this runtime that works, or makes one.
    pub(super) async fn take(&self, server: &Server) -> Result<Reading<'_>, ReadError> {
        let permit = self
            .permits
            .acquire()
            .await
            .map_err(ReadError::unavailable)?;
        let runtime = Handle::current().id();
        let mut kept = self.kept(runtime);
        if let Some(connection) = &mut kept
            && connection.ping().await.is_err()
        {
            kept = None;
        }
        let connection = match kept {
            Some(connection) => connection,
            None => server
                .connect(Purpose::Read)
                .await
                .map_err(ReadError::unavailable)?,
        };
        Ok(Reading {
            connection,
            runtime,
            _permit: permit,
        })
    }

    /// Keeps a connection whose reading has come to its end.
    pub(super) fn give_back(&self, reading: Reading<'_>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= self.most {
            // Those of runtimes that have ended leave like this.
            idle.remove(0);
        }
        idle.push((reading.runtime, reading.connection));
    }

    fn kept(&self, runtime: Id) -> Option<PgConnection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let place = idle.iter().position(|(id, _)| *id == runtime)?;
        Some(idle.swap_remove(place).1)
    }
}
