//! `GET /export`: everything that was logged, as a file.
//!
//! It pages through the log as any client could, and sends each page before it reads the next one.
//! So it takes the memory of a few pages however long it is, its client's pace is its own, and
//! between two pages it holds nothing of the database. A client that goes ends it where it is.
//!
//! **Invariant:** a file that ends is whole. What fails before the first byte is an answer with a
//! status; what fails later cuts the connection, and a body without its end is no body to any
//! client.

mod csv;
mod encoder;
mod format;
mod json_lines;
#[cfg(feature = "parquet")]
mod parquet;
mod record;
#[cfg(test)]
mod tests;

use std::num::NonZeroU64;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::Stream;
use futures_util::stream::try_unfold;
use impetus_actors::predlog::{Page, PredictionLog, Query, ReadError};
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::warn;
use utoipa::IntoParams;

use self::encoder::{Encode, EncodeError};
use self::format::Format;
use super::{AppState, log_of, read, time};
use crate::http::error::ApiError;
use crate::http::openapi::refusals::refusals;
use crate::http::openapi::tag;

/// As many exports run at once; each may hold some tens of megabytes.
const AT_ONCE: usize = 4;
static RUNNING: Semaphore = Semaphore::const_new(AT_ONCE);

refusals! {
    /// What is answered instead of a file.
    ExportRefusals:
    (400, ["bad_query"], "a parameter has a value that is not possible"),
    (404, ["kept_elsewhere"], "this server forwards its predictions to another one, which is named; ask there"),
    (501, ["no_parquet"], "this server was built without Parquet; the other formats are there"),
    (503, ["log_unavailable", "too_many_exports"], "the database does not answer, or as many exports run as may; ask again after `Retry-After`"),
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ExportQuery {
    /// `csv`, `jsonl` or `parquet`; what `Accept` names when not given, and else `csv`.
    format: Option<String>,
    /// How many, at most; all when not given.
    #[param(value_type = Option<u64>, minimum = 1)]
    limit: Option<String>,
    /// Those of this device alone.
    edge_device_id: Option<String>,
    /// Those alone that found a defect.
    #[param(value_type = Option<bool>)]
    defect_only: Option<String>,
    /// Those of this model alone.
    model: Option<String>,
    /// Those made then or later, by their own time.
    from: Option<String>,
    /// Those made before, by their own time.
    to: Option<String>,
}

/// What was logged as a file, newest first.
///
/// Takes the filters of `/predictions`. The file is sent while it is read; when that fails midway the connection is
/// cut, so that a file which ends is whole. CSV and Parquet have the fields of the contract, JSON Lines whatever was
/// sent.
#[utoipa::path(
    get, path = "/export", operation_id = "export", tag = tag::LOG, params(ExportQuery),
    responses(
        (status = 200, description = "The file", content(
            (String = "text/csv"), (String = "application/x-ndjson"),
            (Vec<u8> = "application/vnd.apache.parquet"),
        )),
        ExportRefusals,
    )
)]
pub(super) async fn export(
    state: web::Data<AppState>,
    request: HttpRequest,
    query: web::Query<ExportQuery>,
) -> Result<HttpResponse, ApiError> {
    let query = query.into_inner();
    let format = Format::asked_for(query.format.as_deref(), request.headers())?;
    let limit: Option<NonZeroU64> = read("limit", query.limit.as_deref())?;
    let left = limit.map(NonZeroU64::get);
    let query = Query {
        edge_device_id: query.edge_device_id,
        defect_only: read("defect_only", query.defect_only.as_deref())?.unwrap_or(false),
        model: query.model,
        from: time("from", query.from.as_deref())?,
        to: time("to", query.to.as_deref())?,
        ..Query::default()
    };
    let encoder = format.encoder()?;
    let running = RUNNING.try_acquire().map_err(|_| too_many())?;
    let log = log_of(&state).clone();
    let mut export = Export {
        file: log.file(),
        pages: log,
        query,
        left,
        encoder,
        read: None,
        running: Some(running),
    };
    // What fails now can still be said.
    let first = export.page().await?;
    export.read = Some(first);
    let file = format!("attachment; filename=\"predictions.{}\"", format.name());
    Ok(HttpResponse::Ok()
        .content_type(format.content_type())
        .insert_header((CONTENT_DISPOSITION, file))
        .streaming(export.stream()))
}

/// Where pages come from.
trait Pages {
    /// Returns which file they are of: it changes before a page of another one can come.
    fn file(&self) -> u64;

    async fn page(&self, query: &Query) -> Result<Page, ReadError>;
}

impl Pages for PredictionLog {
    fn file(&self) -> u64 {
        self.status().file_generation()
    }

    async fn page(&self, query: &Query) -> Result<Page, ReadError> {
        self.predictions(query).await
    }
}

/// An export under way.
struct Export<P> {
    pages: P,
    /// The file that it began with. What a new one has after a damaged one was set aside is not the
    /// rest of it.
    file: u64,
    query: Query,
    /// How many predictions are still asked for, if not all.
    left: Option<u64>,
    encoder: Box<dyn Encode>,
    /// A page that has been read and not sent.
    read: Option<Page>,
    running: Option<SemaphorePermit<'static>>,
}

/// Why an export ended before its end.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error("the prediction log was replaced by a new file")]
    Replaced,
    #[error("no thread is free to write a part of it")]
    NoThread,
}

/// What of an export is left after a part of it.
type Rest<P> = Option<Export<P>>;

// === impl Export ===

impl<P: Pages> Export<P> {
    /// Returns the file in parts. Each is made when the one before has been taken.
    fn stream(self) -> impl Stream<Item = Result<Bytes, ExportError>> {
        try_unfold(Some(self), |export| async move {
            match export {
                Some(export) => export.part().await.map(Some).inspect_err(
                    |error| warn!(%error, "export broken off, its connection is closed"),
                ),
                None => Ok(None),
            }
        })
    }

    /// Reads the next page.
    async fn page(&mut self) -> Result<Page, ReadError> {
        let most = u64::from(Query::MAX_LIMIT);
        let limit = self.left.map_or(most, |left| left.min(most));
        self.query.limit = u32::try_from(limit).ok();
        self.pages.page(&self.query).await
    }

    /// Returns the next part of the file, and what is left.
    async fn part(mut self) -> Result<(Bytes, Rest<P>), ExportError> {
        loop {
            let page = match self.read.take() {
                Some(page) => page,
                None => self.page().await?,
            };
            if self.pages.file() != self.file {
                return Err(ExportError::Replaced);
            }
            let count = page.predictions.len() as u64;
            self.left = self.left.map(|left| left.saturating_sub(count));
            self.query.cursor = page.next_cursor;
            let is_last = self.query.cursor.is_none() || self.left == Some(0);
            let mut encoder = self.encoder;
            // A thousand predictions take milliseconds to write, and longer to compress.
            let encoding = web::block(move || {
                encoder.add(&page.predictions)?;
                if is_last {
                    encoder.end()?;
                }
                let bytes = encoder.take()?;
                Ok::<_, EncodeError>((encoder, bytes))
            });
            let (encoder, bytes) = encoding.await.map_err(|_| ExportError::NoThread)??;
            self.encoder = encoder;
            if is_last {
                self.running = None;
                return Ok((bytes.into(), None));
            }
            if !bytes.is_empty() {
                return Ok((bytes.into(), Some(self)));
            }
        }
    }
}

fn too_many() -> ApiError {
    let message = format!("{AT_ONCE} exports are running, as many as may; ask again when one ends");
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_exports", message)
        .retry_after(Duration::from_secs(10))
}
