//! `/api/admin/healing`: pauses and resumes healing.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::{AppState, OrderRefusals, ROOT, record};
use crate::config::Period;
use crate::health::body::{HealingBody, timestamp};
use crate::http::error::ApiError;
use crate::http::openapi::refusals::refusals;
use crate::http::openapi::tag;

/// How long a pause lasts when nobody says so.
const PAUSE: Duration = Duration::from_secs(600);

#[derive(OpenApi)]
#[openapi(paths(show, order))]
pub(super) struct Api;

/// Pauses healing, or resumes it.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = HealingOrder, example = json!({"paused": true, "for": "10m"}))]
#[serde(deny_unknown_fields)]
struct Order {
    /// True pauses, false resumes.
    paused: bool,
    /// How long the pause lasts: 10 minutes when nobody says so, `admin.longest_pause` at most.
    #[serde(rename = "for")]
    #[schema(value_type = Option<String>, example = "10m")]
    lasting: Option<Period>,
}

/// Whether fallen actors are started again.
#[derive(Debug, Serialize, ToSchema)]
struct Healing {
    #[serde(flatten)]
    healing: HealingBody,
    #[schema(format = DateTime)]
    timestamp: String,
}

refusals! {
    /// What is answered to an order that is not carried out.
    HealingRefusals:
    (400, ["bad_order"], "the body is not an order"),
    (400, ["bad_pause"], "the pause is none, or longer than `admin.longest_pause`"),
    (403, ["not_local"], "the caller is not on this machine"),
    (413, ["too_large"], "an order has at most 4 KiB"),
    (415, ["unsupported_media_type"], "an order is `application/json`"),
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    let healing = web::resource("/healing")
        .route(web::get().to(show))
        .route(web::post().to(order));
    config.service(healing);
}

/// Whether healing is paused.
#[utoipa::path(
    get, path = "/api/admin/healing", operation_id = "healing", tag = tag::ADMIN,
    responses((status = 200, description = "How it is", body = Healing), OrderRefusals)
)]
async fn show(state: web::Data<AppState>) -> HttpResponse {
    shown(&state)
}

/// Pause or resume healing.
///
/// While it is paused, what has fallen stays as it lies, so that it can be looked at.
#[utoipa::path(
    post, path = "/api/admin/healing", operation_id = "order_healing", tag = tag::ADMIN, request_body = Order,
    responses((status = 200, description = "How it is now", body = Healing), HealingRefusals)
)]
async fn order(
    request: HttpRequest,
    state: web::Data<AppState>,
    order: web::Json<Order>,
) -> Result<HttpResponse, ApiError> {
    let healing = &state.plane.sources().healing;
    if order.paused {
        let lasting = lasting(order.lasting, state.config.admin.longest_pause)?;
        let text = humantime::format_duration(lasting);
        record(
            &request,
            &state,
            ROOT,
            &format!("pauses healing for {text}"),
        )?;
        healing.pause(lasting);
    } else {
        record(&request, &state, ROOT, "resumes healing")?;
        healing.resume();
    }
    Ok(shown(&state))
}

fn shown(state: &AppState) -> HttpResponse {
    let healing = HealingBody::from(state.plane.sources().healing.paused_for());
    HttpResponse::Ok().json(Healing {
        healing,
        timestamp: timestamp(state.plane.wall()),
    })
}

/// Returns how long a pause lasts that is wanted for so long.
fn lasting(wanted: Option<Period>, longest: Period) -> Result<Duration, ApiError> {
    let refused = |problem| Err(ApiError::bad_request("bad_pause", problem));
    match wanted {
        None => Ok(PAUSE.min(longest.get())),
        Some(wanted) if wanted.get().is_zero() => {
            refused("a pause of no time is none; {\"paused\": false} resumes healing".to_owned())
        }
        Some(wanted) if wanted > longest => refused(format!(
            "healing can be paused for {longest} at most (admin.longest_pause), not for {wanted}"
        )),
        Some(wanted) => Ok(wanted.get()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_has_a_default_and_a_bound() {
        let hour = Period::secs(3600);
        assert_eq!(lasting(None, hour).unwrap(), PAUSE);
        assert_eq!(
            lasting(None, Period::secs(5)).unwrap(),
            Duration::from_secs(5)
        );
        assert_eq!(lasting(Some(hour), hour).unwrap(), hour.get());
        for wrong in [Period::secs(0), Period::secs(3601)] {
            assert!(lasting(Some(wrong), hour).is_err(), "{wrong}");
        }
    }
}
