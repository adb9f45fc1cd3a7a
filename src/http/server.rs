//! The HTTP servers: the main one with its request workers, and the health plane's own.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::error::QueryPayloadError;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, HttpServer, web};

use super::connection::{Lookout, greeter};
use super::measuring::measure;
use super::{
    AppState, Endpoint, busy_routes, error::ApiError, health_routes, request, work_routes,
};

/// Bytes of body that the health port takes: its endpoints read none.
const HEALTH_BODY: usize = 4096;
/// Connections the health port holds at a time.
const HEALTH_CONNECTIONS: usize = 256;
/// Threads on which one request worker has pictures decoded: there are as many workers as cores, and
/// a large picture is not to hold up the small one behind it.
const DECODERS: usize = 2;
/// How long a client may take to close its side.
pub(super) const DISCONNECT_WITHIN: Duration = Duration::from_secs(1);

/// Makes the main server on a socket that listens already.
///
/// # Errors
/// The socket cannot be used.
pub fn main_server(state: AppState, listener: TcpListener, workers: usize) -> io::Result<Server> {
    let http = state.config.http.clone();
    let edge = Arc::clone(&state.plane.sources().edge);
    let lifecycle = Arc::clone(&state.lifecycle);
    let data = web::Data::new(state);
    let limits = http.clone();
    let server = HttpServer::new(move || {
        let state = data.clone();
        // What is data of the application lasts as long as it and its connections.
        App::new()
            .app_data(edge.start_here())
            .app_data(Lookout::start_here(&limits, Arc::clone(&state.traffic)))
            .app_data(state.clone())
            .app_data(query_config())
            .wrap(from_fn(request::every))
            .configure(|config| busy_routes(config, &state))
            .configure(|config| health_routes(config, &state))
            .configure(|config| work_routes(config, &state))
            .default_service(web::to(not_found).wrap(from_fn(|request, next| {
                measure(Endpoint::Other, request, next)
            })))
    });
    Ok(server
        .on_connect(greeter(&http, lifecycle))
        .disable_signals()
        // Who has closed its side waits for no answer: what is computed for it is given up.
        .h1_allow_half_closed(false)
        .keep_alive(http.keep_alive.get())
        .client_request_timeout(http.client_header_timeout.get())
        .client_disconnect_timeout(DISCONNECT_WITHIN)
        .shutdown_timeout(1)
        .workers(workers)
        .worker_max_blocking_threads(DECODERS)
        .backlog(http.backlog)
        .max_connections((http.max_connections / workers.max(1)).max(1))
        .listen(listener)?
        .run())
}

/// Makes the health plane's server on a socket that listens already.
///
/// # Errors
/// The socket cannot be used.
pub fn health_server(state: AppState, listener: TcpListener) -> io::Result<Server> {
    let http = state.config.http.clone();
    let lifecycle = Arc::clone(&state.lifecycle);
    let data = web::Data::new(state);
    let limits = http.clone();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(Lookout::start_here(&limits, Arc::clone(&data.traffic)))
            .app_data(data.clone())
            .app_data(web::PayloadConfig::new(HEALTH_BODY))
            .wrap(from_fn(request::probe))
            .configure(|config| health_routes(config, &data))
            .default_service(web::to(not_found))
    });
    Ok(server
        .on_connect(greeter(&http, lifecycle))
        .disable_signals()
        .keep_alive(http.keep_alive.get())
        .client_request_timeout(http.client_header_timeout.get())
        .client_disconnect_timeout(DISCONNECT_WITHIN)
        .shutdown_timeout(1)
        .workers(1)
        .max_connections(HEALTH_CONNECTIONS)
        .listen(listener)?
        .run())
}

/// Has a query that cannot be read refused as everything else is.
fn query_config() -> web::QueryConfig {
    let refused = |error: QueryPayloadError| ApiError::bad_request("bad_query", error.to_string());
    web::QueryConfig::default().error_handler(move |error, _| refused(error).into())
}

async fn not_found(request: actix_web::HttpRequest) -> Result<HttpResponse, ApiError> {
    Err(ApiError::new(
        actix_web::http::StatusCode::NOT_FOUND,
        "not_found",
        format!(
            "there is nothing at {} {}",
            request.method(),
            request.path()
        ),
    ))
}
