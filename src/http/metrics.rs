//! The scrape endpoint, under the three paths at which scrapers look.

use actix_web::http::header::ACCEPT;
use actix_web::{HttpRequest, HttpResponse, web};
use tracing::error;

use super::AppState;
use crate::exposition::{self, Format};

pub(super) fn routes(config: &mut web::ServiceConfig) {
    for path in ["/metrics", "/api/metrics", "/api/health/metrics"] {
        config.route(path, web::get().to(metrics));
    }
}

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
