//! One file: the attempts that it takes, and the judgement at their end.

use std::path::Path;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::part::Part;
use super::writer::Writer;
use super::{FetchError, FetchLimits, ManifestFile, PROGRESS, Progress, blocking};
use crate::remote::{ByteStream, Remote, RemoteError, RemoteFile};

/// What all files of a download share.
pub(super) struct Fetching<'a> {
    pub(super) remote: &'a dyn Remote,
    pub(super) into: &'a Path,
    pub(super) limits: &'a FetchLimits,
    pub(super) progress: &'a Progress,
}

/// How one attempt at a file stands.
struct Attempt<'a> {
    file: &'a RemoteFile,
    writer: Writer,
    /// How many bytes of the file are there.
    there: u64,
    /// How many of them were there before this download.
    resumed: u64,
}

// === impl Fetching ===

impl Fetching<'_> {
    /// Brings a file to where it belongs.
    pub(super) async fn file(&self, file: &RemoteFile) -> Result<ManifestFile, FetchError> {
        self.progress.file_begun(&file.path);
        let part = Part::of(self.into, file);
        let before = part.clone();
        if let Some(done) = blocking(move || before.finished()).await? {
            self.progress.found(done.size);
            self.progress.file_done();
            return Ok(done);
        }
        let mut attempt = self.begin(file, &part, true).await?;
        loop {
            let resumed = attempt.resumed;
            match self.through(attempt, &part).await {
                // What was kept may be what is wrong: the content is judged anew from its first byte.
                Err(FetchError::Checksum { .. }) if resumed > 0 => {
                    warn!(file = %file.path, "a part that was kept does not fit; beginning anew");
                    self.progress.retried();
                    attempt = self.begin(file, &part, false).await?;
                }
                result => return result,
            }
        }
    }

    async fn begin<'f>(
        &self,
        file: &'f RemoteFile,
        part: &Part,
        keep: bool,
    ) -> Result<Attempt<'f>, FetchError> {
        let (writer, there) = Writer::begin(part.clone(), keep, file.checksum.clone()).await?;
        self.progress.found(there);
        Ok(Attempt {
            file,
            writer,
            there,
            resumed: there,
        })
    }

    /// Reads until the file is whole, then judges it and gives it its name.
    async fn through<'f>(
        &self,
        mut attempt: Attempt<'f>,
        part: &Part,
    ) -> Result<ManifestFile, FetchError> {
        let file = attempt.file;
        let (mut failures, mut mark) = (0, attempt.there);
        while let Err(error) = self.pour(&mut attempt).await {
            if attempt.there >= mark.saturating_add(PROGRESS) {
                failures = 0;
            }
            mark = attempt.there;
            failures += 1;
            if !may_be_tried_again(&error) || failures > self.limits.retries {
                attempt.writer.keep().await;
                return Err(error);
            }
            info!(file = %file.path, at = attempt.there, %error, "trying again");
            self.progress.retried();
            sleep(self.limits.pause(failures)).await;
            let too_long = file.size.is_some_and(|size| attempt.there > size);
            // Without a size it is not known whether anything is missing at all.
            if too_long || file.size.is_none() || !self.remote.recognises(file) {
                self.progress.lost(attempt.there);
                attempt = self.begin(file, part, false).await?;
                mark = attempt.there;
            }
        }
        self.conclude(attempt, part).await
    }

    /// Reads from where the file stands to its end.
    async fn pour(&self, attempt: &mut Attempt<'_>) -> Result<(), FetchError> {
        let Attempt { file, .. } = *attempt;
        if attempt.there > 0 && file.size == Some(attempt.there) {
            return Ok(());
        }
        let opening = self.remote.read(file, attempt.there);
        let mut bytes = self.in_time(file, opening).await??;
        while let Some(chunk) = self.next(file, &mut bytes).await? {
            attempt.there += chunk.len() as u64;
            let in_all = self.progress.came(chunk.len() as u64);
            if let Some(expected) = file.size.filter(|size| attempt.there > *size) {
                return Err(length(file, expected, attempt.there));
            }
            if in_all > self.limits.bytes {
                return Err(FetchError::TooMuch {
                    what: "bytes",
                    found: in_all,
                    most: self.limits.bytes,
                });
            }
            let missing = file.size.map(|size| size.saturating_sub(attempt.there));
            let written = attempt.writer.write(chunk).await;
            written.map_err(|error| with_need(error, missing))?;
        }
        match file.size {
            Some(expected) if attempt.there != expected => {
                Err(length(file, expected, attempt.there))
            }
            _ => Ok(()),
        }
    }

    async fn next(
        &self,
        file: &RemoteFile,
        bytes: &mut ByteStream,
    ) -> Result<Option<Bytes>, FetchError> {
        let chunk = self.in_time(file, bytes.next()).await?;
        Ok(chunk.transpose()?)
    }

    async fn in_time<T>(
        &self,
        file: &RemoteFile,
        what: impl Future<Output = T>,
    ) -> Result<T, FetchError> {
        let stalled = |_| FetchError::Stalled {
            path: file.path.clone(),
            seconds: self.limits.stall.as_secs(),
        };
        timeout(self.limits.stall, what).await.map_err(stalled)
    }

    async fn conclude(
        &self,
        attempt: Attempt<'_>,
        part: &Part,
    ) -> Result<ManifestFile, FetchError> {
        let Attempt {
            file,
            writer,
            there,
            ..
        } = attempt;
        let digests = writer
            .finish()
            .await
            .map_err(|error| with_need(error, None))?;
        let differs = file
            .checksum
            .as_ref()
            .and_then(|promised| digests.differs_from(promised));
        let part = part.clone();
        if let Some((expected, found)) = differs {
            self.progress.lost(there);
            blocking(move || part.discard()).await?;
            return Err(FetchError::Checksum {
                path: file.path.clone(),
                expected,
                found,
            });
        }
        let sha256 = digests.sha256;
        let digest = sha256.clone();
        blocking(move || part.finish(&digest)).await?;
        self.progress.file_done();
        Ok(ManifestFile {
            path: file.path.clone(),
            size: there,
            sha256,
        })
    }
}

fn length(file: &RemoteFile, expected: u64, found: u64) -> FetchError {
    FetchError::Length {
        path: file.path.clone(),
        expected,
        found,
    }
}

/// Tells whether another attempt at the same file, as it is listed, makes sense.
fn may_be_tried_again(error: &FetchError) -> bool {
    match error {
        FetchError::Remote(error) => matches!(error, RemoteError::Unreachable { .. }),
        FetchError::Stalled { .. } | FetchError::Length { .. } => true,
        _ => false,
    }
}

/// Adds to a full disk how much there still was to come.
fn with_need(error: FetchError, missing: Option<u64>) -> FetchError {
    match error {
        FetchError::DiskFull { at, free, .. } => FetchError::DiskFull {
            at,
            needed: missing,
            free,
        },
        error => error,
    }
}
