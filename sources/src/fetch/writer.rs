//! The end of a download that blocks: it hashes and writes, on a thread of its own.
//!
//! Bytes come in batches through one bounded channel, so that the connection is read while the last
//! batch is hashed, and a slow disk slows the connection down instead of filling the memory.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};

use super::digest::{Digests, Hasher};
use super::part::Part;
use super::{FetchError, ended};
use crate::remote::Checksum;

/// How many bytes make a batch.
const BATCH: usize = 512 << 10;
/// How many batches may wait.
const WAITING: usize = 8;

/// Writes one part. Dropped, it still writes what it was given, without making it durable.
pub(super) struct Writer {
    batches: Option<mpsc::Sender<Vec<Bytes>>>,
    batch: Vec<Bytes>,
    batched: usize,
    end: Option<JoinHandle<Result<Digests, FetchError>>>,
    stop: Arc<AtomicBool>,
}

// === impl Writer ===

impl Writer {
    /// Opens a part and returns how many of its bytes are there already, hashed.
    pub(super) async fn begin(
        part: Part,
        keep: bool,
        checksum: Option<Checksum>,
    ) -> Result<(Self, u64), FetchError> {
        let (batches, waiting) = mpsc::channel(WAITING);
        let (told, there) = oneshot::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let end = spawn_blocking(move || {
            let mut hasher = Hasher::for_checksum(checksum.as_ref());
            let (file, size) = part.open(keep, &mut hasher)?;
            if told.send(size).is_err() {
                return Ok(hasher.finish());
            }
            write(&part, file, hasher, waiting, &stopped)
        });
        let mut writer = Self {
            batches: Some(batches),
            batch: Vec::new(),
            batched: 0,
            end: Some(end),
            stop,
        };
        match there.await {
            Ok(size) => Ok((writer, size)),
            Err(_) => Err(writer.failure().await),
        }
    }

    /// Hands over bytes. Waits while the disk is behind.
    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), FetchError> {
        self.batched += bytes.len();
        self.batch.push(bytes);
        if self.batched < BATCH {
            return Ok(());
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), FetchError> {
        let batch = std::mem::take(&mut self.batch);
        self.batched = 0;
        let Some(batches) = &self.batches else {
            return Ok(());
        };
        match batches.send(batch).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failure().await),
        }
    }

    /// Waits until all is written and durable, and returns the digests.
    pub(super) async fn finish(mut self) -> Result<Digests, FetchError> {
        self.flush().await?;
        self.batches = None;
        match self.end.take() {
            Some(end) => end.await.unwrap_or_else(|error| Err(ended(&error))),
            None => Err(gone()),
        }
    }

    /// Waits until what has come is written, for a later attempt to go on with.
    pub(super) async fn keep(mut self) {
        if self.flush().await.is_ok() {
            self.stop.store(true, Ordering::Relaxed);
            self.batches = None;
            if let Some(end) = self.end.take() {
                let _ = end.await;
            }
        }
    }

    async fn failure(&mut self) -> FetchError {
        match self.end.take() {
            Some(end) => match end.await {
                Ok(Err(error)) => error,
                Ok(Ok(_)) => gone(),
                Err(error) => ended(&error),
            },
            None => gone(),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn write(
    part: &Part,
    mut file: File,
    mut hasher: Hasher,
    mut waiting: mpsc::Receiver<Vec<Bytes>>,
    stop: &AtomicBool,
) -> Result<Digests, FetchError> {
    let failed = |doing| move |error| FetchError::disk(&part.path, doing, &error);
    while let Some(batch) = waiting.blocking_recv() {
        for bytes in batch {
            file.write_all(&bytes).map_err(failed("written"))?;
            hasher.update(&bytes);
        }
    }
    if stop.load(Ordering::Relaxed) {
        return Ok(hasher.finish());
    }
    file.sync_all().map_err(failed("made durable"))?;
    Ok(hasher.finish())
}

/// A writer that ended without an error before it was told to.
fn gone() -> FetchError {
    FetchError::Disk {
        at: std::path::PathBuf::new(),
        doing: "written",
        why: "its writer has ended".to_owned(),
    }
}
