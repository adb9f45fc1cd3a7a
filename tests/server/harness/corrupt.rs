//! A server whose only model is none, until it is mended.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Server, Setup, repo};

/// A server whose only model is none, evaluated this often.
pub fn with_a_corrupt_model(evaluate_every: &str) -> Setup {
    let setup = Setup::new().set("health.evaluate_every", evaluate_every);
    fs::write(model_file(setup.path()), b"this is no model").unwrap();
    setup
}

/// Puts the whole model where the corrupt one is.
pub fn mend(server: &Server) {
    let whole = repo().join("models/surface/model.onnx");
    // As one step: a file that is there in part would be one more corrupt one.
    let beside = server.dir.path().join("mended.onnx");
    fs::copy(whole, &beside).unwrap();
    fs::rename(beside, model_file(server.dir.path())).unwrap();
}

fn model_file(dir: &Path) -> PathBuf {
    dir.join("models/surface/model.onnx")
}
