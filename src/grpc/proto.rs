//! The messages, and the server's half of the service.
//!
//! Made from `proto/` by `tests/grpc_wire`, which fails when they are not what it says; a machine
//! that builds the server needs no protobuf compiler.

// Their words are the protocol's, and their layout the generator's.
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[rustfmt::skip]
mod inference;

pub use inference::*;

/// The descriptors of it all, as reflection hands them out.
pub(super) const DESCRIPTORS: &[u8] = include_bytes!("proto/inference.binpb");
