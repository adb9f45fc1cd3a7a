//! The scrape endpoint, under the three paths at which scrapers look.

use actix_web::http::header::ACCEPT;
use actix_web::{HttpRequest, HttpResponse, web};
use tracing::error;
use utoipa::OpenApi;

use super::AppState;
use super::openapi::tag;
use crate::exposition::{self, Format};

/// Where the scrape is.
pub(super) const PATHS: [&str; 3] = ["/metrics", "/api/metrics", "/api/health/metrics"];

#[derive(OpenApi)]
#[openapi(paths(metrics))]
pub(super) struct Api;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    for path in PATHS {
        config.route(path, web::get().to(metrics));
    }
}

/// Every metric of this process.
///
/// In Prometheus' text format, or as OpenMetrics when `Accept` asks for that.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = tag::METRICS,
    responses(
        (status = 200, description = "All metrics", content(
            (String = "text/plain; version=0.0.4; charset=utf-8"),
            (String = "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        )),
        (status = 500, description = "A metric could not be written, which is a defect", content_type = "text/plain", body = String),
    )
)]
async fn metrics(request: HttpRequest, state: web::Data<AppState>) -> HttpResponse {
    let accept = request
        .headers()
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok());
    let format = Format::accepted(accept);
    match exposition::scrape(&state, format) {
        Ok(text) => HttpResponse::Ok()
            .content_type(format.content_type())
            .body(text),
        Err(problem) => {
            error!(%problem, "metrics could not be made");
            HttpResponse::InternalServerError().body(problem.to_string())
        }
    }
}
