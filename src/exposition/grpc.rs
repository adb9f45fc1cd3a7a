//! The port for gRPC: its connections, and what is in flight on them.

use super::descriptor::Kind::{Counter, Gauge};
use super::descriptor::{Descriptor, subject};
use super::families::Families;
use crate::http::{AppState, Port};

subject! { "gRPC";
    IN_FLIGHT = Descriptor::new("impetus_grpc_requests_in_flight", Gauge, "requests")
        .help("Calls of the inference service over gRPC, and requests of its streams, that are being answered.");
    CONNECTIONS = Descriptor::new("impetus_grpc_connections", Gauge, "connections")
        .help("Connections for gRPC that are open.");
    REFUSED = Descriptor::new("impetus_grpc_connections_refused_total", Counter, "connections")
        .help("Connections for gRPC that were refused, because as many were open as may.");
}

pub(super) fn expose(state: &AppState, out: &mut Families) {
    let traffic = &state.traffic;
    out.one(&IN_FLIGHT, traffic.in_flight_over(Port::Grpc) as f64);
    out.one(&CONNECTIONS, traffic.grpc_connections() as f64);
    out.one(&REFUSED, traffic.grpc_refused() as f64);
}
