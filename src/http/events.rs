//! `GET /api/health/events`: the history of the actors.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::AppState;
use super::error::ApiError;
use crate::health::events::{EventsWanted, UnknownActor};

/// Events of an answer when nobody says how many.
const LIMIT: usize = 100;
/// Events of an answer at most.
const MOST: usize = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    actor: Option<String>,
    limit: Option<usize>,
    since: Option<u64>,
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/api/health/events", web::get().to(events));
}

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
