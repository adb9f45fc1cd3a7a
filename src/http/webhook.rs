//! `POST /webhook/mlflow`: where the registry says that something has changed.
//!
//! A webhook carries nothing that is believed but that: it makes the registry be asked at once instead
//! of at its pace. What is not signed with the configured secret, is not of now or has come before is
//! refused, since each costs a call to the registry.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::{HttpRequest, HttpResponse, web};
use impetus_actors::registry::RegistryMsg;
use impetus_sources::webhook::{
    DELIVERY_ID, Headers, Refusal, SIGNATURE, TIMESTAMP, WebhookVerifier,
};
use impetus_supervision::ActorRef;
use serde::Serialize;
use tracing::{info, warn};
use utoipa::{OpenApi, ToSchema};

use super::AppState;
use super::body::Body;
use super::error::ApiError;
use super::openapi::refusals::refusals;
use super::openapi::tag;

#[derive(OpenApi)]
#[openapi(paths(receive))]
pub(super) struct Api;

/// Who judges webhooks, and who is told of those that are good.
pub struct Webhook {
    verifier: WebhookVerifier,
    registry: ActorRef<RegistryMsg>,
}

/// What was heard.
#[derive(Debug, Serialize, ToSchema)]
struct Heard {
    /// What it was about.
    #[schema(example = "model_version_alias")]
    entity: String,
    /// What had happened to it.
    #[schema(example = "created")]
    action: String,
}

refusals! {
    /// What is answered to what is no webhook of the registry.
    WebhookRefusals:
    (400, ["bad_webhook", "bad_body"], "it is not what MLflow sends"),
    (401, ["not_signed"], "it is not signed with the configured secret, or too old or too new"),
    (404, ["no_webhook"], "no secret is configured (`registry.webhook_secret_file`), so no webhook is believed"),
    (408, ["body_timeout"], "the body did not come in time"),
    (409, ["replayed"], "it has come before"),
    (413, ["too_large"], "more than `http.max_body` bytes"),
    (503, ["not_now"], "more come than can be told from repetitions, or the registry's actor cannot be told; it may be sent again"),
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/webhook/mlflow", web::post().to(receive));
}

/// Hear that something has changed in the MLflow registry.
///
/// The registry is asked at once which versions are meant. Signed as MLflow 3 signs its webhooks: `X-MLflow-Signature`,
/// `X-MLflow-Timestamp`, `X-MLflow-Delivery-Id`.
#[utoipa::path(
    post, path = "/webhook/mlflow", operation_id = "mlflow_webhook", tag = tag::MODELS,
    request_body(content = Object, description = "The event as MLflow sends it"),
    responses((status = 200, description = "The registry is asked", body = Heard), WebhookRefusals)
)]
async fn receive(
    request: HttpRequest,
    state: web::Data<AppState>,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let webhook = state.webhook.as_ref().ok_or_else(|| {
        let message = "no webhook is believed here: set registry.webhook_secret_file";
        ApiError::new(StatusCode::NOT_FOUND, "no_webhook", message)
    })?;
    let body = body.whole().await?;
    let heard = webhook.hear(request.headers(), &body, state.plane.wall())?;
    Ok(HttpResponse::Ok().json(heard))
}

// === impl Webhook ===

impl Webhook {
    /// Makes one that believes what is signed with one of these secrets.
    #[must_use]
    pub fn new(secrets: &[String], registry: ActorRef<RegistryMsg>) -> Self {
        Self {
            verifier: WebhookVerifier::new(secrets),
            registry,
        }
    }

    fn hear(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: std::time::SystemTime,
    ) -> Result<Heard, ApiError> {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let of_delivery = Headers {
            signature: header(SIGNATURE),
            timestamp: header(TIMESTAMP),
            delivery_id: header(DELIVERY_ID),
        };
        let delivery = self.verifier.verify(of_delivery, body, now)?;
        if self
            .registry
            .try_send_priority(RegistryMsg::Changed)
            .is_err()
        {
            // It is sent again, and has to be believed then.
            self.verifier.forget(&delivery);
            let message = "the registry's actor cannot be told now; send it again";
            return Err(ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "not_now",
                message,
            ));
        }
        let event = delivery.event;
        info!(entity = %event.entity, action = %event.action, model = event.model, "registry says that something has changed");
        Ok(Heard {
            entity: event.entity,
            action: event.action,
        })
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match &refusal {
            Refusal::Malformed(_) => (StatusCode::BAD_REQUEST, "bad_webhook"),
            Refusal::Missing(_) | Refusal::WrongSignature | Refusal::Stale(_) => {
                (StatusCode::UNAUTHORIZED, "not_signed")
            }
            Refusal::Replayed => (StatusCode::CONFLICT, "replayed"),
            Refusal::TooMany => (StatusCode::SERVICE_UNAVAILABLE, "not_now"),
        };
        warn!(%refusal, "webhook refused");
        Self::new(status, code, refusal.to_string())
    }
}
