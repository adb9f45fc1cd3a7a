//! `POST /log`, `GET /predictions`, `GET /stats`, `GET /export`.

mod export;

use std::fmt::Display;
use std::str::FromStr;

use actix_web::guard::Get;
use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, web};
use impetus_actors::predlog::{
    BatchError, LogBatch, LogError, Page, PredictionLog, PredictionTime, Query, ReadError, Stats,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::body::Body;
use super::error::{ApiError, Detail};
use super::measuring::measure;
use super::openapi::refusals::refusals;
use super::openapi::tag;
use super::{AppState, Endpoint};

#[derive(OpenApi)]
#[openapi(paths(log, predictions, stats, export::export))]
pub(super) struct Api;

/// The batch is committed and synced to the disk.
#[derive(Debug, Serialize, ToSchema)]
struct Logged {
    /// How many predictions it has.
    logged: usize,
    #[schema(example = "logged")]
    status: &'static str,
}

refusals! {
    /// What is answered to a batch that is not logged.
    LogRefusals:
    (400, ["not_json", "bad_body"], "the body is no JSON, or cannot be read"),
    (408, ["body_timeout"], "the body did not come in time"),
    (413, ["too_large", "too_many_predictions"], "more than `http.max_body` bytes or `predlog.max_batch_rows` predictions"),
    (422, ["invalid_batch"], "`details` names each wrong field, as `predictions[3].timestamp`"),
    (503, ["log_unavailable", "log_overloaded", "log_timed_out"], "not committed; send it again after `Retry-After`"),
    (503, ["draining"], "the server is ending and the connection is a new one; another server takes it"),
}

refusals! {
    /// What is answered instead of what was logged.
    ReadRefusals:
    (400, ["bad_query"], "a parameter has a value that is not possible"),
    (404, ["kept_elsewhere"], "this server forwards its predictions to another one, which is named; ask there"),
    (503, ["log_unavailable"], "the database does not answer; ask again after `Retry-After`"),
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    let log = web::resource("/log")
        .wrap(from_fn(|request, next| {
            measure(Endpoint::Log, request, next)
        }))
        .route(web::post().to(log));
    let predictions = web::resource("/predictions")
        .guard(Get())
        .wrap(from_fn(|request, next| {
            measure(Endpoint::Predictions, request, next)
        }))
        .to(predictions);
    let stats = web::resource("/stats")
        .guard(Get())
        .wrap(from_fn(|request, next| {
            measure(Endpoint::Stats, request, next)
        }))
        .to(stats);
    let export = web::resource("/export")
        .guard(Get())
        .wrap(from_fn(|request, next| {
            measure(Endpoint::Export, request, next)
        }))
        .to(export::export);
    config
        .service(log)
        .service(predictions)
        .service(stats)
        .service(export);
}

fn log_of(state: &AppState) -> &PredictionLog {
    state
        .predlog
        .as_ref()
        .expect("the route exists only with a prediction log")
}

/// Log predictions that were made elsewhere.
///
/// A batch is taken whole or not at all. A prediction's key is its `id`, or else a hash of device, image, timestamp, model
/// and index, so that a batch that is sent twice makes no second row and gets the same answer.
#[utoipa::path(
    post, path = "/log", operation_id = "log", tag = tag::LOG, request_body = LogBatch,
    responses((status = 200, description = "It is on the disk", body = Logged), LogRefusals)
)]
async fn log(state: web::Data<AppState>, body: Body) -> Result<HttpResponse, ApiError> {
    let predlog = log_of(&state);
    let batch = LogBatch::parse(&body.whole().await?).map_err(refused)?;
    let most = state.config.predlog.max_batch_rows;
    if batch.len() > most {
        let message = format!(
            "the batch has {} predictions, {most} are allowed",
            batch.len()
        );
        return Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_many_predictions",
            message,
        ));
    }
    let ack = predlog.log(batch, body.time_left()).await?;
    Ok(HttpResponse::Ok().json(Logged {
        logged: ack.logged,
        status: "logged",
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PredictionsQuery {
    /// How many, at most.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// Where the page before ended: its `next_cursor`.
    cursor: Option<String>,
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

/// What was logged, newest first.
///
/// Ask again with `cursor` set to `next_cursor` until that is null.
#[utoipa::path(
    get, path = "/predictions", operation_id = "predictions", tag = tag::LOG, params(PredictionsQuery),
    responses((status = 200, description = "A page", body = Page), ReadRefusals)
)]
async fn predictions(
    state: web::Data<AppState>,
    query: web::Query<PredictionsQuery>,
) -> Result<HttpResponse, ApiError> {
    let predlog = log_of(&state);
    let query = query.into_inner();
    let page = predlog
        .predictions(&Query {
            limit: read("limit", query.limit.as_deref())?,
            cursor: query.cursor,
            edge_device_id: query.edge_device_id,
            defect_only: read("defect_only", query.defect_only.as_deref())?.unwrap_or(false),
            model: query.model,
            from: time("from", query.from.as_deref())?,
            to: time("to", query.to.as_deref())?,
        })
        .await?;
    Ok(HttpResponse::Ok().json(page))
}

/// What was logged, counted.
#[utoipa::path(
    get, path = "/stats", operation_id = "stats", tag = tag::LOG,
    responses((status = 200, description = "Counts", body = Stats), ReadRefusals)
)]
async fn stats(state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    let predlog = log_of(&state);
    Ok(HttpResponse::Ok().json(predlog.stats().await?))
}

/// Reads a value of a query. What reads a query as a whole does not say which value is wrong.
fn read<T: FromStr<Err: Display>>(name: &str, text: Option<&str>) -> Result<Option<T>, ApiError> {
    text.map(str::parse)
        .transpose()
        .map_err(|error| ApiError::bad_request("bad_query", format!("`{name}`: {error}")))
}

/// Reads a time of a query.
fn time(name: &str, text: Option<&str>) -> Result<Option<PredictionTime>, ApiError> {
    text.map(PredictionTime::parse)
        .transpose()
        .map_err(|error| ApiError::bad_request("bad_query", format!("`{name}`: {error}")))
}

fn refused(error: BatchError) -> ApiError {
    let message = error.to_string();
    match error {
        BatchError::NotJson { .. } => ApiError::bad_request("not_json", message),
        BatchError::Invalid { problems, .. } => {
            let details = problems.into_iter().map(|problem| Detail {
                field: problem.field,
                problem: problem.problem,
            });
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_batch", message)
                .with_details(details.collect())
        }
    }
}

impl From<LogError> for ApiError {
    fn from(error: LogError) -> Self {
        let code = match &error {
            LogError::Overloaded { .. } => "log_overloaded",
            LogError::TimedOut { .. } => "log_timed_out",
            _ => "log_unavailable",
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, error.to_string())
            .retry_after(error.retry_after())
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        if let ReadError::Elsewhere { .. } = &error {
            Self::new(StatusCode::NOT_FOUND, "kept_elsewhere", error.to_string())
        } else if error.is_client_fault() {
            Self::bad_request("bad_query", error.to_string())
        } else {
            Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "log_unavailable",
                error.to_string(),
            )
            .retry_after(std::time::Duration::from_secs(1))
        }
    }
}
