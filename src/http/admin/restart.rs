//! `POST /api/admin/actors/{name}/restart`: one actor, in order, its failures forgotten.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use impetus_supervision::{ActorId, SupervisorError};
use serde_json::json;

use super::{AppState, record};
use crate::health::Phase;
use crate::health::body::timestamp;
use crate::http::error::ApiError;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    // Names have slashes in them, and not everybody encodes those.
    config.route("/actors/{name:.+}/restart", web::post().to(restart));
}

async fn restart(
    request: HttpRequest,
    state: web::Data<AppState>,
    name: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = ActorId::from(name.as_str());
    let board = state.plane.sources().board.get();
    let (Some(board), Some(root)) = (board, state.tree.get()) else {
        return Err(not_now("the supervision tree has not been started yet"));
    };
    if board.get(&id).is_none() {
        return Err(ApiError::unknown_actor(&name));
    }
    if id == *root.id() {
        return Err(conflict(
            "not_restartable",
            "root supervises all others and is supervised by nobody; it is restarted with the process",
        ));
    }
    if state.lifecycle.phase() != Phase::Serving {
        return Err(conflict(
            "ending",
            "the server is ending and starts nothing any more",
        ));
    }
    record(&request, &state, &name, "restarts it")?;
    let within = state.config.admin.restart_timeout.get();
    root.restart_below(&id, within)
        .await
        .map_err(|error| refused(&id, error))?;
    let generation = board.get(&id).map(|actor| actor.generation);
    Ok(HttpResponse::Ok().json(json!({
        "restarted": id,
        "generation": generation,
        "timestamp": timestamp(state.plane.wall()),
    })))
}

fn refused(id: &ActorId, error: SupervisorError) -> ApiError {
    match error {
        SupervisorError::Unknown(id) => ApiError::unknown_actor(id.as_str()),
        SupervisorError::Itself(_) | SupervisorError::Duplicate(_) => {
            conflict("not_restartable", error.to_string())
        }
        SupervisorError::NotLaunched(reason) => not_now(format!("{id} did not start: {reason}")),
        SupervisorError::NoAnswer(error) => not_now(format!(
            "the supervisor of {id} did not say that it is under way: {error}; is it running itself?"
        )),
    }
}

fn conflict(code: &'static str, message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, code, message)
}

fn not_now(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not_restarted", message)
}
