//! `grpc.health.v1`: what the server says of itself and of each model.
//!
//! The empty service name, `readiness` and the inference service's own name answer as
//! `/api/health/ready` does, `liveness` as `/api/health/live`; each model is a service of its own
//! name. The answers are brought up to date once a second, and at once when the server is told to
//! end; Watch streams every change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::proto::grpc_inference_service_server::SERVICE_NAME;
use crate::health::HealthPlane;

const EVERY: Duration = Duration::from_secs(1);

/// Keeps the answers up to date for as long as the server runs.
pub(super) async fn keep_up_to_date(plane: Arc<HealthPlane>, mut reporter: HealthReporter) {
    let mut told: BTreeMap<String, bool> = BTreeMap::new();
    let mut tick = tokio::time::interval(EVERY);
    let mut phase = plane.sources().lifecycle.watch();
    loop {
        // The end is told at once. What tells of it lives in the plane, and so does not end.
        tokio::select! {
            _ = tick.tick() => {}
            _ = phase.changed() => {}
        }
        let now = services(&plane);
        // Every report wakes every watcher, so only changes are reported.
        for (service, well) in &now {
            if told.get(service) != Some(well) {
                reporter.set_service_status(service, status(*well)).await;
            }
        }
        for gone in told.keys().filter(|service| !now.contains_key(*service)) {
            reporter.clear_service_status(gone).await;
        }
        told = now;
    }
}

/// Returns every service and whether it serves.
fn services(plane: &HealthPlane) -> BTreeMap<String, bool> {
    let ready = plane.is_ready();
    let models = plane.facts().models.all.into_iter();
    models
        .map(|model| (model.name, model.state.is_usable()))
        .chain([
            (String::new(), ready),
            ("readiness".to_owned(), ready),
            (SERVICE_NAME.to_owned(), ready),
            ("liveness".to_owned(), plane.live().alive),
        ])
        .collect()
}

fn status(well: bool) -> ServingStatus {
    if well {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}
