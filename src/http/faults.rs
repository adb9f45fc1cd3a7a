//! `POST /api/faults`: breaks something on purpose, for game days and for the project's own tests.
//!
//! It exists only where `faults.enabled` is set, and only for callers on this machine.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use impetus_supervision::{ActorId, Fault};
use serde::{Deserialize, Serialize};
use tracing::warn;
use utoipa::{OpenApi, ToSchema};

use super::body::Body;
use super::error::ApiError;
use super::openapi::refusals::refusals;
use super::openapi::tag;
use super::{AppState, local};
use crate::config::Period;

/// "For ever", for a fault that ends by itself only in theory.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

#[derive(OpenApi)]
#[openapi(paths(order))]
pub(super) struct Api;

/// What is to be broken.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = FaultOrder, example = json!({"target": "model_loader", "fault": "panic"}))]
#[serde(deny_unknown_fields)]
struct Order {
    /// An actor's name, or `http` for the request worker that takes this very request.
    target: String,
    fault: Kind,
    /// How many incarnations are struck, one after the other.
    #[serde(default = "once")]
    times: u32,
    /// How long a block lasts; for ever when absent.
    #[serde(rename = "for")]
    #[schema(value_type = Option<String>, example = "30s")]
    lasting: Option<Period>,
}

/// How it is broken; `none` takes back what has been ordered and has not struck.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[schema(as = Fault)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Panic,
    Error,
    Block,
    Starve,
    Kill,
    /// Takes back what has been ordered and has not struck.
    None,
}

/// What has been ordered.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Ordered {
    /// The actor will break.
    Armed {
        /// Name of the actor.
        armed: String,
        /// How many of its incarnations.
        times: u32,
    },
    /// What was ordered has been taken back.
    Disarmed {
        /// Name of the actor.
        disarmed: String,
    },
    /// The request worker has stood still.
    Blocked {
        /// For so many seconds.
        blocked: f64,
    },
}

refusals! {
    /// What is answered when nothing is broken.
    FaultRefusals:
    (400, ["bad_order", "bad_body"], "the order cannot be read"),
    (400, ["wrong_fault"], "http workers can only be blocked"),
    (403, ["not_local"], "the caller is not on this machine"),
    (404, ["unknown_actor"], "no actor of that name"),
    (408, ["body_timeout"], "the body did not come in time"),
    (413, ["too_large"], "more than `http.max_body` bytes"),
    (415, ["unsupported_media_type"], "orders are `application/json`"),
}

fn once() -> u32 {
    1
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/api/faults", web::post().to(order));
}

/// Break something on purpose.
#[utoipa::path(
    post, path = "/api/faults", operation_id = "order_fault", tag = tag::FAULTS, request_body = Order,
    responses((status = 200, description = "It is ordered, or done", body = Ordered), FaultRefusals)
)]
async fn order(
    request: HttpRequest,
    state: web::Data<AppState>,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    local::require(&request, "faults can be injected")?;
    let faults = state.faults.as_ref();
    let faults = faults.expect("the route exists only with a fault kit");
    let order = read(&request, &body).await?;
    let lasting = order.lasting.map_or(FOR_EVER, Period::get);
    warn!(target = %order.target, fault = ?order.fault, times = order.times, "fault ordered");
    if order.target == "http" {
        return block_this_worker(order.fault, lasting);
    }
    let actor = ActorId::from(order.target.as_str());
    let known = state
        .plane
        .sources()
        .board
        .get()
        .is_some_and(|board| board.get(&actor).is_some());
    if !known {
        return Err(ApiError::unknown_actor(&order.target));
    }
    let fault = match order.fault {
        Kind::Panic => Fault::Panic,
        Kind::Error => Fault::Error,
        Kind::Block => Fault::Block(lasting),
        Kind::Starve => Fault::Starve,
        Kind::Kill => Fault::Kill,
        Kind::None => {
            faults.disarm(&actor);
            return Ok(HttpResponse::Ok().json(Ordered::Disarmed {
                disarmed: order.target,
            }));
        }
    };
    faults.arm(&actor, fault, order.times);
    Ok(HttpResponse::Ok().json(Ordered::Armed {
        armed: order.target,
        times: order.times,
    }))
}

/// Reads an order. It has to call itself JSON, which no web page of somebody else's can have a
/// browser send.
async fn read(request: &HttpRequest, body: &Body) -> Result<Order, ApiError> {
    if request.content_type() != "application/json" {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "orders are application/json",
        ));
    }
    serde_json::from_slice(&body.whole().await?).map_err(|error| {
        ApiError::bad_request("bad_order", format!("the order cannot be read: {error}"))
    })
}

/// Blocks the event loop this very handler runs on, as a handler with a bug would.
fn block_this_worker(fault: Kind, lasting: Duration) -> Result<HttpResponse, ApiError> {
    match fault {
        Kind::Block => {
            #[expect(clippy::disallowed_methods, reason = "blocking is the purpose")]
            std::thread::sleep(lasting);
            Ok(HttpResponse::Ok().json(Ordered::Blocked {
                blocked: lasting.as_secs_f64(),
            }))
        }
        _ => Err(ApiError::bad_request(
            "wrong_fault",
            "http workers can only be blocked",
        )),
    }
}
