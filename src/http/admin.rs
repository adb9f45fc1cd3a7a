//! `/api/admin`: what the person who is paged may do to a running server.
//!
//! Pausing healing to look at what has fallen, taking the server out of traffic, restarting one actor, letting a request
//! in again that killed its worker. On the main port
//! and on the health port alike, because the case for which it exists is the one in which request workers are blocked.
//!
//! **Invariant.** Only callers on this machine get here, whatever is asked for, and everything that is done leaves a line
//! in the log and an event in the history, both with the peer. Nothing done here lasts longer than the process.
//!
//! **How it fails.** It takes no actor's health to pause, resume or drain: those are switches in memory. A restart is an
//! order to a supervisor, and has a deadline.

mod drain;
mod healing;
mod quarantine;
mod restart;

use std::net::SocketAddr;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::JsonPayloadError;
use actix_web::http::StatusCode;
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, HttpRequest, web};
use impetus_supervision::ActorId;
use tracing::warn;
use utoipa::OpenApi;

use super::error::ApiError;
use super::openapi::refusals::refusals;
use super::{AppState, local};

/// Bytes of an order.
const LONGEST_ORDER: usize = 4096;

/// Under whose name the history keeps what concerns the whole server.
const ROOT: &str = "root";

refusals! {
    /// What is answered to those who may not ask.
    OrderRefusals: (403, ["not_local"], "the caller is not on this machine: another address, a proxy's `Forwarded` or `X-Forwarded-*`, or another page's `Origin`"),
}

/// Returns what can be ordered here, for the document.
pub(super) fn api() -> utoipa::openapi::OpenApi {
    let mut api = healing::Api::openapi();
    api.merge(drain::Api::openapi());
    api.merge(quarantine::Api::openapi());
    api.merge(restart::Api::openapi());
    api
}

pub(super) fn routes(config: &mut web::ServiceConfig, state: &AppState) {
    if !state.config.admin.enabled {
        return;
    }
    let orders = web::JsonConfig::default()
        .limit(LONGEST_ORDER)
        .error_handler(|error, _| refused(&error).into());
    let scope = web::scope("/api/admin")
        .app_data(orders)
        .wrap(from_fn(from_here))
        .configure(healing::routes)
        .configure(drain::routes)
        .configure(quarantine::routes)
        .configure(restart::routes);
    config.service(scope);
}

/// Lets nobody in who is not on this machine.
async fn from_here(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    peer(request.request())?;
    next.call(request).await
}

fn peer(request: &HttpRequest) -> Result<SocketAddr, ApiError> {
    local::require(request, "the server can be administered")
}

fn refused(error: &JsonPayloadError) -> ApiError {
    match error {
        JsonPayloadError::ContentType => ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "an order is sent as application/json",
        ),
        JsonPayloadError::Overflow { .. } | JsonPayloadError::OverflowKnownLength { .. } => {
            let message = format!("an order has at most {LONGEST_ORDER} bytes");
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
        }
        other => ApiError::bad_request("bad_order", other.to_string()),
    }
}

/// Leaves what an operator has done in the log and in the history of the actor it concerns.
fn record(
    request: &HttpRequest,
    state: &AppState,
    actor: &str,
    what: &str,
) -> Result<(), ApiError> {
    let peer = peer(request)?;
    warn!(%peer, %actor, "an operator {what}");
    if let Some(board) = state.plane.sources().board.get() {
        board.note(
            &ActorId::from(actor),
            format!("an operator {what} (from {peer})"),
        );
    }
    Ok(())
}
