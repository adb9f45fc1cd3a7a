//! gRPC: `grpc.health.v1`, Check and Watch.
//!
//! The empty service name and `readiness` answer as `/api/health/ready` does, `liveness` as
//! `/api/health/live`; each model is a service of its own name. The answers are brought up to
//! date once a second, and at once when the server is told to end; Watch streams every change.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};
use tracing::error;

use crate::health::HealthPlane;

const EVERY: Duration = Duration::from_secs(1);

/// Starts the gRPC server on a thread of its own, on a socket that listens already.
///
/// # Errors
/// The operating system has no thread left.
pub fn start(plane: Arc<HealthPlane>, listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("grpc".to_owned())
        .spawn(move || {
            if let Err(problem) = runtime.block_on(serve(plane, listener)) {
                error!(%problem, "the grpc server has ended");
            }
        })?;
    Ok(())
}

async fn serve(plane: Arc<HealthPlane>, listener: TcpListener) -> anyhow::Result<()> {
    let (reporter, service) = health_reporter();
    tokio::spawn(keep_up_to_date(plane, reporter));
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .timeout(Duration::from_secs(30))
        .max_concurrent_streams(128)
        .add_service(service)
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

async fn keep_up_to_date(plane: Arc<HealthPlane>, mut reporter: HealthReporter) {
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
