//! What a request is known by, and what is kept of it.

use std::fmt;

use impetus_engine::Tensor;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

/// What a request is known by: the first half of a SHA-256 over model, version and content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ToSchema)]
#[schema(value_type = String, pattern = "^[0-9a-f]{32}$")]
pub struct Fingerprint([u8; 16]);

/// A request under suspicion: what it was for, and what it holds.
#[derive(Debug, Clone, Copy)]
pub struct Suspect<'a> {
    /// The model it was for.
    pub model: &'a str,
    /// The version of the model.
    pub version: &'a str,
    /// Its content.
    pub inputs: &'a [Tensor],
    /// Its id, if it had one.
    pub request_id: Option<&'a str>,
}

// === impl Fingerprint ===

impl Fingerprint {
    /// Computes what a request is known by. Every part is led by its length, so that no two
    /// requests run together to the same bytes.
    #[must_use]
    pub fn of(suspect: &Suspect<'_>) -> Self {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(suspect.model.as_bytes());
        part(suspect.version.as_bytes());
        for input in suspect.inputs {
            part(input.name().as_bytes());
            part(input.dtype().to_string().as_bytes());
            let shape: Vec<u8> = input
                .shape()
                .iter()
                .flat_map(|extent| (*extent as u64).to_le_bytes())
                .collect();
            part(&shape);
            part(input.data());
        }
        let digest = hash.finalize();
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        Self(short)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Returns a line of JSON that names the tensors, then their bytes.
pub(super) fn body_of(suspect: &Suspect<'_>) -> Vec<u8> {
    let inputs: Vec<serde_json::Value> = suspect
        .inputs
        .iter()
        .map(|input| {
            serde_json::json!({
                "name": input.name(),
                "datatype": input.dtype().to_string(),
                "shape": input.shape(),
                "bytes": input.data().len(),
            })
        })
        .collect();
    let head = serde_json::json!({
        "model": suspect.model,
        "version": suspect.version,
        "request_id": suspect.request_id,
        "inputs": inputs,
    });
    let mut body = head.to_string().into_bytes();
    body.push(b'\n');
    for input in suspect.inputs {
        body.extend_from_slice(input.data());
    }
    body
}
