//! `POST /log`, `GET /predictions`, `GET /stats`.

use actix_web::guard::Get;
use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, web};
use impetus_actors::predlog::{BatchError, LogBatch, LogError, Query, ReadError};
use serde::Deserialize;
use serde_json::json;

use super::body::Body;
use super::error::{ApiError, Detail};
use super::measuring::measure;
use super::{AppState, Endpoint};

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
    config.service(log).service(predictions).service(stats);
}

async fn log(state: web::Data<AppState>, body: Body) -> Result<HttpResponse, ApiError> {
    let predlog = state
        .predlog
        .as_ref()
        .expect("the route exists only with a prediction log");
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
    Ok(HttpResponse::Ok().json(json!({"status": "logged", "logged": ack.logged})))
}

#[derive(Debug, Deserialize)]
struct PredictionsQuery {
    limit: Option<u32>,
    cursor: Option<String>,
    edge_device_id: Option<String>,
    defect_only: Option<bool>,
    model: Option<String>,
}

async fn predictions(
    state: web::Data<AppState>,
    query: web::Query<PredictionsQuery>,
) -> Result<HttpResponse, ApiError> {
    let predlog = state
        .predlog
        .as_ref()
        .expect("the route exists only with a prediction log");
    let query = query.into_inner();
    let page = predlog
        .predictions(&Query {
            limit: query.limit,
            cursor: query.cursor,
            edge_device_id: query.edge_device_id,
            defect_only: query.defect_only.unwrap_or(false),
            model: query.model,
        })
        .await?;
    Ok(HttpResponse::Ok().json(page))
}

async fn stats(state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    let predlog = state
        .predlog
        .as_ref()
        .expect("the route exists only with a prediction log");
    Ok(HttpResponse::Ok().json(predlog.stats().await?))
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
        if error.is_client_fault() {
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
