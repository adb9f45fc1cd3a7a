//! gRPC: `inference.GRPCInferenceService` as Triton Inference Server speaks it, `grpc.health.v1`,
//! and reflection.
//!
//! A runtime of its own, with as many threads as there are request workers over HTTP, serves one
//! socket. What a call passes on its way: the [`listener`] lets its connection in, the [`edge`] puts
//! its id, its deadline and the books around it, generated code turns bytes into messages, and the
//! [`service`] has them answered by the protocol-neutral half ([`oip`](crate::oip)) that REST uses
//! as well.
//!
//! **Invariant:** probes are answered while clients have taken every place and every worker: they
//! have connections of their own, wait in no queue of a model, and no thread is held while it
//! unpacks a large message.
//!
//! How it fails: a port that cannot be bound is found before the server starts; a connection that
//! misbehaves is closed and takes nobody with it.

mod answer;
mod call;
mod contents;
mod describe;
mod edge;
mod gate;
mod health;
mod listener;
mod orders;
mod plain;
pub mod proto;
mod request;
mod sending;
mod service;
mod standing;
mod status;
mod stream;
mod within;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tonic::codec::CompressionEncoding;
use tracing::error;

use crate::http::{AppState, Traffic};
use edge::{Shared, handler};
use gate::Gate;
use listener::Listener;
use proto::grpc_inference_service_server::GrpcInferenceServiceServer;
use service::Inference;

/// How long connections may take to close at the very end.
const STOP_WITHIN: Duration = Duration::from_millis(250);
/// Threads that may take over from one that is held by a large message.
const STAND_INS: usize = 64;

/// The server; its threads run until the process ends.
pub struct GrpcServer {
    _runtime: Runtime,
    traffic: Arc<Traffic>,
    stop: watch::Sender<bool>,
}

/// Starts the gRPC server on a socket that listens already.
///
/// # Errors
/// The operating system has no thread left.
pub fn start(
    state: &AppState,
    listener: TcpListener,
    threads: usize,
) -> anyhow::Result<GrpcServer> {
    listener.set_nonblocking(true)?;
    let traffic = Arc::clone(&state.traffic);
    let gate = Gate::new(state.config.grpc.max_connections, Arc::clone(&traffic));
    let (stop, stopped) = watch::channel(false);
    let runtime = runtime(threads)?;
    let listening = Listener {
        shared: Arc::new(shared(state, &runtime)?),
        gate,
        stop: stopped,
    };
    runtime.spawn(async move {
        if let Err(problem) = listening.run(listener).await {
            error!(%problem, "the grpc server has ended");
        }
    });
    Ok(GrpcServer {
        _runtime: runtime,
        traffic,
        stop,
    })
}

fn runtime(threads: usize) -> io::Result<Runtime> {
    let number = AtomicUsize::new(0);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(STAND_INS)
        .thread_name_fn(move || format!("grpc-{}", number.fetch_add(1, Ordering::Relaxed)))
        .enable_all()
        .build()
}

fn shared(state: &AppState, runtime: &Runtime) -> anyhow::Result<Shared> {
    let most = state.config.grpc_max_message().as_usize();
    let service = Inference {
        state: state.clone(),
    };
    let inference = GrpcInferenceServiceServer::new(service.clone())
        .max_decoding_message_size(most)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Deflate)
        .send_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Deflate);
    let (reporter, health) = tonic_health::server::health_reporter();
    runtime.spawn(health::keep_up_to_date(Arc::clone(&state.plane), reporter));
    let others = vec![
        ("grpc.health.v1.Health", handler(health)),
        (
            "grpc.reflection.v1.ServerReflection",
            handler(reflection().build_v1()?),
        ),
        (
            "grpc.reflection.v1alpha.ServerReflection",
            handler(reflection().build_v1alpha()?),
        ),
    ];
    Ok(Shared {
        state: state.clone(),
        service,
        inference,
        most,
        others,
    })
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

// === impl GrpcServer ===

impl GrpcServer {
    /// Has every connection closed, as soon as what was answered on it has been sent.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let closed = async {
            // Looked at and not signalled: it happens once, at the end, and has a deadline, and a
            // connection that ends has nobody to tell.
            while self.traffic.grpc_connections() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // Each connection has this time itself; none can have more.
        let _ = tokio::time::timeout(STOP_WITHIN * 2, closed).await;
    }
}
