//! `GET /api/health/events`: the history of the actors.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::{IntoParams, OpenApi};

use super::AppState;
use super::error::ApiError;
use super::openapi::refusals::refusals;
use super::openapi::tag;
use crate::health::events::{EventsBody, EventsWanted, UnknownActor};

/// Events of an answer when nobody says how many.
const LIMIT: usize = 100;
/// Events of an answer at most.
const MOST: usize = 1000;

#[derive(OpenApi)]
#[openapi(paths(events))]
pub(super) struct Api;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    /// Of this actor alone.
    #[param(example = "model_loader")]
    actor: Option<String>,
    /// At most so many.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// After this number, oldest first; the latest there are when absent.
    since: Option<u64>,
}

refusals! {
    /// What is answered instead of the history.
    EventsRefusals:
    (400, ["bad_query"], "a parameter has another name or value than is possible"),
    (404, ["unknown_actor"], "there is no actor of that name, and no event of one"),
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/api/health/events", web::get().to(events));
}

/// What has happened to the actors.
///
/// To follow, pass `next_since` of one answer as `since` of the next.
#[utoipa::path(
    get, path = "/api/health/events", operation_id = "events", tag = tag::HEALTH, params(EventsQuery),
    responses((status = 200, description = "Events", body = EventsBody), EventsRefusals)
)]
async fn events(
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let wanted = wanted(request.query_string())?;
    match state.plane.events(&wanted) {
        Ok(body) => Ok(HttpResponse::Ok().json(body)),
        Err(UnknownActor(name)) => Err(ApiError::unknown_actor(&name)),
    }
}

fn wanted(query: &str) -> Result<EventsWanted, ApiError> {
    let query = web::Query::<EventsQuery>::from_query(query)
        .map_err(|error| ApiError::bad_request("bad_query", error.to_string()))?
        .into_inner();
    let limit = query.limit.unwrap_or(LIMIT);
    if !(1..=MOST).contains(&limit) {
        let message = format!("limit is {limit}, 1 to {MOST} are possible");
        return Err(ApiError::bad_request("bad_query", message));
    }
    Ok(EventsWanted {
        actor: query.actor,
        limit,
        since: query.since,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_defaults_and_bounds_and_no_unknown_names() {
        let all = EventsWanted {
            actor: None,
            limit: LIMIT,
            since: None,
        };
        assert_eq!(wanted("").unwrap(), all);
        let some = wanted("actor=worker%3Asurface%2F0&limit=1000&since=7").unwrap();
        assert_eq!(some.actor.as_deref(), Some("worker:surface/0"));
        assert_eq!((some.limit, some.since), (1000, Some(7)));
        for wrong in [
            "limit=0",
            "limit=1001",
            "limit=x",
            "since=-1",
            "since=",
            "actors=a",
        ] {
            assert!(wanted(wrong).is_err(), "{wrong}");
        }
    }
}
