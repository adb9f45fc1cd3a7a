//! The OpenAPI document: everything that this process answers over HTTP, for people and for programs that make clients.
//!
//! Every handler is described where it stands, by an attribute with its path, what it takes and what it answers; the
//! schemas are derived from the structs that are serialised. Each module has its own `Api`, and this one puts them
//! together and adds what is true of all: ids of requests, when to ask again, which port.
//!
//! **Invariant.** The document and the routes follow the same [`Contents`]: what this process does not serve is not in
//! its document, and nothing is served that is not. `impetus openapi` prints it without a server, byte for byte as
//! `/openapi.json` answers it.
//!
//! **How it fails.** It is made once, at the start, from what the compiler has checked; there is nothing left to fail
//! when it is asked for.

mod finish;
pub(super) mod refusals;
pub(super) mod tag;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use actix_web::{HttpResponse, web};
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;

use super::{
    AppState, admin, docs, events, faults, health, metrics, models, openai, predict, predlog,
    services, v1, v2, webhook,
};
use crate::config::Config;

pub(super) use finish::{also_under, with_versions};

/// Where the document is. Beside `/docs`, and where other servers have theirs.
pub const PATH: &str = "/openapi.json";

/// What a process answers, as its configuration decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// It serves models.
    pub infers: bool,
    /// It keeps a prediction log.
    pub logs: bool,
    /// An operator on this machine may order things.
    pub admin: bool,
    /// Faults can be injected.
    pub faults: bool,
    /// The port of the health plane's own, if it has one.
    pub health_port: Option<u16>,
}

/// What the document begins with.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Impetus",
        description = include_str!("openapi/introduction.md"),
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "The main port (8080 by default): everything"))
)]
struct Head;

/// The document and its page.
#[derive(OpenApi)]
#[openapi(paths(document_of_this_process))]
struct Api;

// === impl Contents ===

impl Contents {
    /// Returns what a process of this configuration answers.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            infers: config.role.infers(),
            logs: config.role.logs(),
            admin: config.admin.enabled,
            faults: config.faults.enabled,
            health_port: Some(config.health.port).filter(|port| *port != 0),
        }
    }

    /// Makes the document.
    #[must_use]
    pub fn document(self) -> Document {
        let mut document = Head::openapi();
        // Whatever both ports answer says so.
        for part in [
            health::Api::openapi(),
            events::Api::openapi(),
            services::Api::openapi(),
            metrics::Api::openapi(),
            models::Api::openapi(),
        ] {
            document.merge(part);
        }
        if self.admin {
            document.merge(admin::api());
        }
        finish::metrics_under_every_path(&mut document);
        finish::also_on_the_health_port(&mut document, self.health_port);
        document.merge(Api::openapi());
        document.merge(docs::Api::openapi());
        if self.infers {
            document.merge(models::OrdersApi::openapi());
            document.merge(models::DownloadsApi::openapi());
            document.merge(webhook::Api::openapi());
            document.merge(predict::Api::openapi());
            document.merge(v1::Api::openapi());
            document.merge(v2::api());
            document.merge(openai::api());
            document.merge(openai::models_api());
        }
        if self.logs {
            document.merge(predlog::Api::openapi());
        }
        if self.faults {
            document.merge(faults::Api::openapi());
        }
        document.tags = Some(tag::used_in(&document));
        finish::with_what_is_true_of_all(&mut document);
        document
    }

    /// Returns the document as `/openapi.json` and `impetus openapi` give it.
    #[must_use]
    pub fn text(self) -> String {
        let mut text = self
            .document()
            .to_pretty_json()
            .expect("every part of it has text for keys");
        text.push('\n');
        text
    }
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route(PATH, web::get().to(document_of_this_process));
}

/// The document of this process, made when somebody first asks for it: it takes some milliseconds, and more
/// memory than anything else the server does at its start.
pub type Text = OnceLock<web::Bytes>;

/// This document.
///
/// It describes what this very process answers, which follows from its configuration. `impetus openapi` prints the
/// same without a server.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapi", tag = tag::DOCUMENT,
    responses((status = 200, description = "An OpenAPI 3.1 document", body = Value))
)]
async fn document_of_this_process(state: web::Data<AppState>) -> HttpResponse {
    let make = || Contents::of(&state.config).text().into();
    let text = state.openapi.get_or_init(make);
    HttpResponse::Ok()
        .content_type("application/json")
        .body(text.clone())
}
