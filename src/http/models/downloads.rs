//! Downloads by request: `POST /api/models/download`, `GET /api/models/downloads`, and their cancellation.
//!
//! Whoever may load models may have them fetched: what has been fetched is loaded.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use impetus_actors::downloader::{DownloadError, DownloadStatus, Downloads};
use impetus_sources::Location;
use impetus_supervision::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::orders::control;
use crate::config::is_model_name;
use crate::http::AppState;
use crate::http::body::Body;
use crate::http::error::ApiError;
use crate::http::openapi::refusals::refusals;
use crate::http::openapi::tag;

#[derive(OpenApi)]
#[openapi(paths(start, list, cancel))]
pub(in crate::http) struct Api;

/// Which model is to be fetched.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DownloadOrder)]
#[serde(deny_unknown_fields)]
struct Order {
    /// The name under which it is served; that in the registry, or of the folder or the file, when absent.
    #[schema(example = "surface")]
    name: Option<String>,
    /// Where it comes from.
    #[schema(example = "models:/surface@champion")]
    source: String,
}

/// Every download that is remembered.
#[derive(Debug, Serialize, ToSchema)]
struct DownloadList {
    /// The newest first.
    downloads: Vec<DownloadStatus>,
}

refusals! {
    /// What is answered where nothing is fetched.
    DownloadRefusals:
    (400, ["bad_order", "bad_body"], "the body does not say what is to be fetched, or no place where a model can be"),
    (403, ["not_local"], "the caller is not on this machine, and `models.control` lets nobody else"),
    (404, ["no_models"], "this process serves no models"),
    (404, ["unknown_download"], "there is no download of that number"),
    (408, ["body_timeout"], "the body did not come in time"),
    (409, ["configured"], "the configuration names another source for that model"),
    (413, ["too_large"], "more than `http.max_body` bytes"),
    (422, ["no_registry"], "it is a model of a registry, and none is configured"),
    (429, ["too_many"], "as many models come from elsewhere as may"),
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/api/models/download", web::post().to(start))
        .route("/api/models/downloads", web::get().to(list))
        .route("/api/models/downloads/{id}", web::delete().to(cancel));
}

/// Have a model fetched and, when it is here, loaded.
///
/// The answer does not wait for it: `/api/models/downloads` and `/api/models/list` say how far it is. What serves under
/// that name serves on until it is loaded. One that has failed or was cancelled is resumed. It is forgotten when the
/// server ends, and its files stay in the cache; `models.remote` is for models that are to be there after every start.
#[utoipa::path(
    post, path = "/api/models/download", operation_id = "download_model", tag = tag::MODELS, request_body = Order,
    responses((status = 202, description = "It is on its way", body = DownloadStatus), DownloadRefusals)
)]
async fn start(
    request: HttpRequest,
    state: web::Data<AppState>,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let downloads = downloads(&request, &state)?;
    let bad = |message: String| ApiError::bad_request("bad_order", message);
    let order: Order = serde_json::from_slice(&body.whole().await?).map_err(|error| {
        bad(format!(
            "{error}; send {{\"source\": \"models:/<model>@<alias>\"}}"
        ))
    })?;
    let source: Location = order
        .source
        .parse()
        .map_err(|error| bad(format!("{error}")))?;
    let name = order.name.unwrap_or_else(|| source.usual_name());
    if !is_model_name(&name) {
        let message = format!(
            "{name:?} is not a name for a model: give it one in \"name\", of letters, digits, \"-\", \"_\" and \".\""
        );
        return Err(bad(message));
    }
    let at = Timestamp::from(state.plane.wall());
    let download = downloads.start(&name, source, at)?;
    Ok(HttpResponse::Accepted().json(download.status()))
}

/// Every download there is, and the last ones there were.
#[utoipa::path(
    get, path = "/api/models/downloads", operation_id = "list_downloads", tag = tag::MODELS,
    responses((status = 200, description = "All that are remembered", body = DownloadList), DownloadRefusals)
)]
async fn list(state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    let downloads = state.downloads.as_ref().ok_or_else(no_models)?.all();
    Ok(HttpResponse::Ok().json(DownloadList { downloads }))
}

/// Cancel a download. What has come stays in the cache, and is resumed when it is asked for again.
#[utoipa::path(
    delete, path = "/api/models/downloads/{id}", operation_id = "cancel_download", tag = tag::MODELS,
    params(("id" = u64, Path, description = "Its number")),
    responses((status = 200, description = "It is cancelled, or was over", body = DownloadStatus), DownloadRefusals)
)]
async fn cancel(
    request: HttpRequest,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let downloads = downloads(&request, &state)?;
    let at = Timestamp::from(state.plane.wall());
    let number = id.parse().ok();
    let cancelled = number.and_then(|id| downloads.cancel(id, at));
    let download = cancelled.ok_or_else(|| {
        let message = format!("there is no download {id:?}; GET /api/models/downloads lists them");
        ApiError::new(StatusCode::NOT_FOUND, "unknown_download", message)
    })?;
    Ok(HttpResponse::Ok().json(download.status()))
}

/// Returns the hand that has models fetched, if this request may use it.
fn downloads<'a>(request: &HttpRequest, state: &'a AppState) -> Result<&'a Downloads, ApiError> {
    control(request, state)?;
    state.downloads.as_ref().ok_or_else(no_models)
}

fn no_models() -> ApiError {
    let message = "this process serves no models";
    ApiError::new(StatusCode::NOT_FOUND, "no_models", message)
}

impl From<DownloadError> for ApiError {
    fn from(error: DownloadError) -> Self {
        let (status, code) = match &error {
            DownloadError::NoRegistry { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "no_registry"),
            DownloadError::Configured { .. } => (StatusCode::CONFLICT, "configured"),
            DownloadError::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, "too_many"),
        };
        Self::new(status, code, error.to_string())
    }
}
