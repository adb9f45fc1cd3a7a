//! The one connection that writes.
//!
//! SQLite has one writer at a time, so there is one connection for it, and its owner decides what
//! goes into a transaction. The connection lives on a thread of its own (the driver's), because a
//! disk may take as long as it likes: the owner waits with a deadline and, when it is over, throws
//! the connection away. What the thread then still does is harmless: a row that is committed after
//! all is found by its key when it comes again.
//!
//! **Invariants:** a transaction that [`insert`](Store::insert) has returned from is on the disk
//! (write-ahead log, `synchronous=FULL`). No transaction commits without the consent of the guard
//! that was given at opening, which SQLite asks on its own thread as the last thing before the
//! commit: an owner that was replaced can write nothing any more, however late it wakes.

mod removal;

use std::path::PathBuf;
use std::sync::Arc;

use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqlSafeStr, SqlStr, Sqlite};

use super::config::PredictionLogConfig;
use super::disk::{self, FileIdentity, ThreadBudget};
use super::error::StoreError;
use super::migrations;
use super::rollups::{Rollups, Rows};
use super::row::Row;

pub(crate) use removal::Removal;

/// An open database that can be written.
#[derive(Debug)]
pub(crate) struct Store {
    connection: SqliteConnection,
    file: PathBuf,
    identity: FileIdentity,
    disk_reserve: u64,
    /// Bytes on the disk when it was last looked at.
    size_bytes: u64,
    threads: ThreadBudget,
    inserts: Inserts,
    rollups: Rollups,
    free_bytes: Option<u64>,
    is_old: bool,
    no_room: Option<StoreError>,
}

/// Asked before every commit; `false` turns it into a rollback.
pub(crate) type CommitGuard = Box<dyn Fn() -> bool + Send>;

/// What a transaction added; rows that were there already are not among it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Inserted {
    pub(crate) rows: u64,
    pub(crate) defects: u64,
}

/// How much lies in the file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Extent {
    /// Rows, as their numbers tell.
    pub(crate) rows: u64,
    /// Bytes of all pages that hold something.
    pub(crate) used_bytes: u64,
    /// When the oldest row was committed, in milliseconds since 1970.
    pub(crate) oldest: Option<i64>,
}

/// Insert statements with their numbers of rows, the largest first.
type Inserts = [(usize, SqlStr); Store::ROWS_PER_INSERT.len()];

// === impl Store ===

impl Store {
    /// A statement costs a trip to the connection's thread whatever it carries, so rows travel
    /// together; few sizes keep the statements few enough to stay prepared.
    const ROWS_PER_INSERT: [usize; 5] = [256, 64, 16, 4, 1];

    /// Opens the database, makes it if it is not there, and writes to it once, unless
    /// [there is no room](Self::had_room). Where it holds rows
    /// of an older schema, [`migrate`](Self::migrate) comes before anything else.
    pub(crate) async fn open(
        config: &PredictionLogConfig,
        threads: &ThreadBudget,
        may_commit: CommitGuard,
    ) -> Result<Self, StoreError> {
        let file = config.file();
        let opening = format!("opening {}", file.display());
        let (folder, database) = (config.folder.clone(), file.clone());
        threads
            .run(&opening, move || disk::prepare(&folder, &database))
            .await?;
        let mut connection = connect(config, &opening, threads, may_commit).await?;
        let is_old = migrations::is_pending(&mut connection).await?;
        if !is_old {
            migrations::run(&mut connection).await?;
        }
        let (folder, database) = (config.folder.clone(), file.clone());
        let facts = threads
            .run(&opening, move || disk::settle(&folder, &database))
            .await?;
        let mut store = Self {
            connection,
            file,
            identity: facts.identity,
            disk_reserve: config.disk_reserve,
            size_bytes: facts.size_bytes,
            threads: threads.clone(),
            inserts: Self::ROWS_PER_INSERT.map(|rows| (rows, insert_statement(rows))),
            rollups: Rollups::new(config.drift.is_some()),
            free_bytes: facts.free_bytes,
            is_old,
            no_room: None,
        };
        let mut proven = store.require_room();
        if proven.is_ok() && !is_old {
            proven = store.probe_write().await;
        }
        match proven {
            Err(error) if error.lacks_room => store.no_room = Some(error),
            proven => proven?,
        }
        Ok(store)
    }

    /// Returns whether there was room to write when it was opened: without any, rows can still be
    /// read, forwarded and removed.
    pub(crate) fn had_room(&mut self) -> Result<(), StoreError> {
        self.no_room.take().map_or(Ok(()), Err)
    }

    /// Returns which file it is.
    pub(crate) fn identity(&self) -> FileIdentity {
        self.identity
    }

    /// Returns whether the database has to be brought up to date first.
    pub(crate) fn is_old(&self) -> bool {
        self.is_old
    }

    /// Brings a database of an older schema up to date; interrupted, it goes on the next time.
    pub(crate) async fn migrate(&mut self) -> Result<(), StoreError> {
        migrations::run(&mut self.connection).await?;
        self.is_old = false;
        self.probe_write().await
    }

    /// Writes the rows of all `batches` in one transaction and returns what was new. When this
    /// returns, they are on the disk.
    pub(crate) async fn insert(
        &mut self,
        batches: &[Arc<[Row]>],
        created_at: i64,
    ) -> Result<Inserted, StoreError> {
        let failed = |error| StoreError::database("committing", &error);
        let rows: Vec<&Row> = batches.iter().flat_map(|batch| batch.iter()).collect();
        let mut transaction = self
            .connection
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(failed)?;
        let last: i64 = sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM predictions")
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
        let mut left = rows.as_slice();
        while let Some((size, sql)) = self.inserts.iter().find(|(size, _)| *size <= left.len()) {
            let (chunk, rest) = left.split_at(*size);
            insert_query(sql, chunk, created_at)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            left = rest;
        }
        let added = self
            .rollups
            .add(&mut transaction, Rows::After(last))
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(Inserted {
            rows: added.rows.unsigned_abs(),
            defects: added.defects.unsigned_abs(),
        })
    }

    /// Returns whether the database is still there, has room, can be read and is nobody else's to
    /// write. Leaves nothing behind.
    pub(crate) async fn check(&mut self) -> Result<(), StoreError> {
        let database = self.file.clone();
        let doing = "looking for the database";
        let facts = self
            .threads
            .run(doing, move || disk::inspect(&database))
            .await?;
        if facts.identity != self.identity {
            return Err(StoreError::lost(
                "the database was replaced by another file",
            ));
        }
        self.size_bytes = facts.size_bytes;
        self.free_bytes = facts.free_bytes;
        self.require_room()?;
        let failed = |error| StoreError::database("checking", &error);
        sqlx::query("SELECT seq FROM predictions ORDER BY seq DESC LIMIT 1")
            .fetch_optional(&mut self.connection)
            .await
            .map_err(failed)?;
        let transaction = self
            .connection
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(failed)?;
        transaction.rollback().await.map_err(failed)
    }

    /// Proves that a write reaches the disk, in a row that is overwritten in place.
    pub(crate) async fn probe_write(&mut self) -> Result<(), StoreError> {
        sqlx::query("UPDATE write_probe SET written_at = written_at + 1")
            .execute(&mut self.connection)
            .await
            .map(drop)
            .map_err(|error| StoreError::database("writing", &error))
    }

    /// Moves the write-ahead log into the database and closes it.
    pub(crate) async fn close(mut self) -> Result<(), StoreError> {
        let failed = |error| StoreError::database("closing", &error);
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&mut self.connection)
            .await
            .map_err(failed)?;
        self.connection.close().await.map_err(failed)
    }

    /// Returns the bytes it took on the disk when that was last looked at.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Returns the room that was left on the disk when that was last looked at.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        self.free_bytes
    }

    /// Returns how much lies in the file, without reading all of it.
    pub(crate) async fn extent(&mut self) -> Result<Extent, StoreError> {
        let failed = |error| StoreError::database("measuring", &error);
        let (first, last, oldest): (Option<i64>, Option<i64>, Option<i64>) = sqlx::query_as(
            "SELECT min(seq), (SELECT max(seq) FROM predictions), \
             (SELECT created_at FROM predictions ORDER BY seq LIMIT 1) FROM predictions",
        )
        .fetch_one(&mut self.connection)
        .await
        .map_err(failed)?;
        let used: i64 = sqlx::query_scalar(
            "SELECT (page_count - freelist_count) * page_size \
             FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
        )
        .fetch_one(&mut self.connection)
        .await
        .map_err(failed)?;
        let rows = first.zip(last).map_or(0, |(first, last)| last - first + 1);
        Ok(Extent {
            rows: rows.unsigned_abs(),
            used_bytes: used.unsigned_abs(),
            oldest,
        })
    }

    fn require_room(&self) -> Result<(), StoreError> {
        match self.free_bytes {
            Some(free) if free < self.disk_reserve => Err(StoreError {
                reason: format!(
                    "the disk is full: {free} bytes left, {} needed",
                    self.disk_reserve
                ),
                connection_is_sound: true,
                file_is_damaged: false,
                lacks_room: true,
            }),
            _ => Ok(()),
        }
    }
}

/// Connects on a task of its own: when nobody waits for it any more, it still holds its permit
/// until the driver's thread is back, and then closes what was opened.
async fn connect(
    config: &PredictionLogConfig,
    opening: &str,
    threads: &ThreadBudget,
    may_commit: CommitGuard,
) -> Result<SqliteConnection, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(config.file())
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // The journal of one statement, at most `max_rows_per_commit` rows of it. In a file it would
        // need a folder other than that of the data, which a read-only root may not have.
        .pragma("temp_store", "memory")
        .pragma("cache_size", CACHE)
        .busy_timeout(config.lock_wait)
        .thread_name(|_| "predlog-write".into())
        .disable_statement_logging();
    let permit = threads.take()?;
    let connecting = tokio::spawn(async move {
        let mut connection = options.connect().await?;
        connection.lock_handle().await?.set_commit_hook(move || {
            // The hook lives as long as the connection and holds the thread's permit for it.
            let _held = &permit;
            may_commit()
        });
        Ok::<_, sqlx::Error>(connection)
    });
    match connecting.await {
        Ok(connected) => connected.map_err(|error| StoreError::database(opening, &error)),
        Err(error) => Err(StoreError::lost(format!("{opening}: {error}"))),
    }
}

/// SQLite's page cache, in KiB below zero. A row goes into up to nine indices, and with 2 MiB, the
/// usual, a transaction reads and writes most of their pages more than once.
const CACHE: &str = "-32768";

fn insert_statement(rows: usize) -> SqlStr {
    let values = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"; rows].join(", ");
    // Nothing but the number of rows goes into the text.
    AssertSqlSafe(Arc::<str>::from(format!(
        "INSERT INTO predictions (key, edge_device_id, model_name, model_version, taken_at, \
         created_at, defect_detected, named, latency, class, confidence, body) VALUES {values} ON CONFLICT (key) DO NOTHING"
    )))
    .into_sql_str()
}

fn insert_query<'q>(
    sql: &SqlStr,
    rows: &[&Row],
    created_at: i64,
) -> Query<'q, Sqlite, SqliteArguments> {
    rows.iter().fold(sqlx::query(sql.clone()), |query, row| {
        query
            .bind(row.key.as_bytes().to_vec())
            .bind(Arc::clone(&row.device))
            .bind(Arc::clone(&row.model_name))
            .bind(Arc::clone(&row.model_version))
            .bind(row.taken_at)
            .bind(created_at)
            .bind(row.defect_detected)
            .bind(row.named)
            .bind(row.latency.number())
            .bind(row.class.clone())
            .bind(row.confidence)
            .bind(Arc::clone(&row.body))
    })
}

#[cfg(test)]
mod tests;
