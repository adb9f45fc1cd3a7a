//! The listening side: HTTP and gRPC.
//!
//! Every number here bounds what a stranger can make the server hold: sockets,
//! bytes, time. None of them may be switched off.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{Bytes, Period};

/// The HTTP server on the main port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Request worker threads. 0 = as many as the CPU quota allows, at least 2.
    #[schemars(range(max = 1024))]
    pub workers: usize,
    /// Largest request body. A larger one is refused with 413.
    #[schemars(extend("x-min" = "1KiB", "x-max" = "4GiB"))]
    pub max_body: Bytes,
    /// Most pixels of a picture. One with more is refused with 413 before it is decoded.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub max_image_pixels: u64,
    /// Longest time from the end of a request's head to the first byte of its answer, waiting for a worker included. For generated text it is `generation.timeout`.
    #[schemars(extend("x-min" = "1ms"))]
    pub request_timeout: Period,
    /// Longest time a client may take to send the head of a request. It is kept by a clock that may be half a second behind.
    #[schemars(extend("x-min" = "1s"))]
    pub client_header_timeout: Period,
    /// Longest time from the end of a request's head to the end of its body. A slower client gets 408 and its connection is closed.
    #[schemars(extend("x-min" = "1ms"))]
    pub client_body_timeout: Period,
    /// Longest time between two parts of a request's body. A slower client gets 408 and its connection is closed.
    #[schemars(extend("x-min" = "1ms"))]
    pub client_idle_timeout: Period,
    /// Longest time a client may take to make room for the next part of an answer. A slower client's connection is closed.
    #[schemars(extend("x-min" = "1ms"))]
    pub write_timeout: Period,
    /// How soon a connection is closed whose client is gone without a word, or takes nothing. Asking whether it is there begins after half of it.
    #[schemars(extend("x-min" = "1s", "x-max" = "12h"))]
    pub half_open_timeout: Period,
    /// How long an idle connection is kept open. Longer than the idle time of the load balancer in front, or it meets closed connections.
    #[schemars(extend("x-min" = "1ms"))]
    pub keep_alive: Period,
    /// Most connections open at one time, over all workers. Further ones wait in the backlog. Each takes two file descriptors.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: usize,
    /// Connections that the kernel holds until a worker accepts them.
    #[schemars(range(min = 1, max = 65_535))]
    pub backlog: u32,
}

/// gRPC: `inference.GRPCInferenceService`, `grpc.health.v1` and reflection. It has as many threads as there are request workers, and the limits of `[http]` on slow clients hold here as well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GrpcConfig {
    /// Port for gRPC. 0 = none.
    pub port: u16,
    /// Largest message, compressed or not. A larger one is refused with RESOURCE_EXHAUSTED. 0 = as `http.max_body`.
    #[schemars(extend("x-max" = "2GiB"))]
    pub max_message: Bytes,
    /// Longest time for a call, or for one request of a stream, to be answered; a client's own deadline may be shorter. 0 = as `http.request_timeout`.
    pub request_timeout: Period,
    /// Most connections open at one time. A few more are let in for probes alone, and then none.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: usize,
    /// Most calls under way on one connection. A client keeps further ones back until there is room.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_concurrent_streams: u32,
    /// How often a client is asked whether it is there.
    #[schemars(extend("x-min" = "1s"))]
    pub keepalive_interval: Period,
    /// How long a client that was asked may be silent. Then its connection is closed.
    #[schemars(extend("x-min" = "1s"))]
    pub keepalive_timeout: Period,
    /// How long a connection without a call is kept open; then its client is told to open another one when it needs one.
    #[schemars(extend("x-min" = "1s"))]
    pub idle_timeout: Period,
    /// Most requests of one ModelStreamInfer stream that are worked on at a time. Further ones wait on the stream.
    #[schemars(range(min = 1, max = 10_000))]
    pub stream_in_flight: usize,
    /// How long a ModelStreamInfer stream may be silent. Then it is ended.
    #[schemars(extend("x-min" = "1s"))]
    pub stream_idle_timeout: Period,
}

// === impl HttpConfig ===

impl HttpConfig {
    /// Returns how many worker threads to start where the CPU quota is worth `cores` cores.
    pub fn workers_for(&self, cores: usize) -> usize {
        match self.workers {
            0 => cores.max(2),
            fixed => fixed,
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            workers: 0,
            max_body: Bytes::mib(64),
            max_image_pixels: 32 * 1024 * 1024,
            request_timeout: Period::secs(30),
            client_header_timeout: Period::secs(5),
            client_body_timeout: Period::secs(30),
            client_idle_timeout: Period::secs(10),
            write_timeout: Period::secs(30),
            half_open_timeout: Period::secs(60),
            keep_alive: Period::secs(75),
            max_connections: 10_000,
            backlog: 1024,
        }
    }
}

// === impl GrpcConfig ===

impl Default for GrpcConfig {
    fn default() -> Self {
        Self {
            port: 9000,
            max_message: Bytes::mib(0),
            request_timeout: Period::secs(0),
            max_connections: 1024,
            max_concurrent_streams: 256,
            keepalive_interval: Period::secs(30),
            keepalive_timeout: Period::secs(20),
            idle_timeout: Period::secs(300),
            stream_in_flight: 32,
            stream_idle_timeout: Period::secs(3600),
        }
    }
}
