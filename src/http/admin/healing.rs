//! `/api/admin/healing`: pauses and resumes healing.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use super::{AppState, ROOT, record};
use crate::config::Period;
use crate::health::body::{HealingBody, timestamp};
use crate::http::error::ApiError;

/// How long a pause lasts when nobody says so.
const PAUSE: Duration = Duration::from_secs(600);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    paused: bool,
    #[serde(rename = "for")]
    lasting: Option<Period>,
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    let healing = web::resource("/healing")
        .route(web::get().to(show))
        .route(web::post().to(order));
    config.service(healing);
}

async fn show(state: web::Data<AppState>) -> HttpResponse {
    shown(&state)
}

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
    HttpResponse::Ok().json(json!({
        "paused": healing.paused,
        "resumes_in_seconds": healing.resumes_in_seconds,
        "timestamp": timestamp(state.plane.wall()),
    }))
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
