//! `POST /api/admin/actors/{name}/restart`: one actor, in order, its failures forgotten.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use impetus_supervision::{ActorId, Generation, SupervisorError};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use super::{AppState, record};
use crate::health::Phase;
use crate::health::body::timestamp;
use crate::http::error::ApiError;
use crate::http::openapi::refusals::refusals;
use crate::http::openapi::tag;

#[derive(OpenApi)]
#[openapi(paths(restart))]
pub(super) struct Api;

/// An actor that is under way again.
#[derive(Debug, Serialize, ToSchema)]
struct Restarted {
    /// The number of its new incarnation.
    #[schema(required)]
    generation: Option<Generation>,
    restarted: ActorId,
    #[schema(format = DateTime)]
    timestamp: String,
}

refusals! {
    /// What is answered when nothing was restarted.
    RestartRefusals:
    (403, ["not_local"], "the caller is not on this machine"),
    (404, ["unknown_actor"], "no actor of that name"),
    (409, ["not_restartable"], "the root is restarted with the process"),
    (409, ["ending"], "the server is ending and starts nothing any more"),
    (503, ["not_restarted"], "its supervisor did not say within `admin.restart_timeout` that it is under way, or the tree does not stand yet"),
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    // Names have slashes in them, and not everybody encodes those.
    config.route("/actors/{name:.+}/restart", web::post().to(restart));
}

/// Restart one actor, its failures forgotten.
#[utoipa::path(
    post, path = "/api/admin/actors/{name}/restart", operation_id = "restart_actor", tag = tag::ADMIN,
    params(("name" = String, Path, description = "Name of the actor, percent-encoded or not", example = "worker:surface/0")),
    responses((status = 200, description = "It is under way", body = Restarted), RestartRefusals)
)]
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
    Ok(HttpResponse::Ok().json(Restarted {
        generation,
        restarted: id,
        timestamp: timestamp(state.plane.wall()),
    }))
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
