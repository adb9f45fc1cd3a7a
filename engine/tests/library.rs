//! Runtime libraries that are none. On its own, because a process can load only one that is.
#![allow(clippy::unwrap_used, reason = "a failed test is what a panic is for")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use impetus_engine::runtime::Runtime;
use impetus_engine::runtime::onnx::OnnxRuntime;
use impetus_engine::{EngineError, Fault, LoadSpec, Providers};

fn start(library: &Path) -> EngineError {
    let error = OnnxRuntime.start(library).unwrap_err();
    assert_eq!(error.fault(), Fault::Internal);
    // Loading a model meets the same error; no order of calls panics.
    let spec = LoadSpec {
        model: "m".into(),
        version: "1".into(),
        path: "/nowhere.onnx".into(),
        intra_threads: 1,
        warm_up: true,
        samples: Vec::new(),
        runtime: library.to_owned(),
        providers: Providers::default(),
        self_check_every: Duration::ZERO,
        generation: None,
    };
    assert_eq!(OnnxRuntime.load(&spec).err(), Some(error.clone()));
    error
}

/// Compiles a shared library that pretends to be ONNX Runtime.
fn library(folder: &Path, name: &str, source: &str) -> PathBuf {
    let code = folder.join("code.c");
    let library = folder.join(name);
    std::fs::write(&code, source).unwrap();
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &code])
        .status()
        .expect("a C compiler is needed, as it is to build Impetus");
    assert!(status.success());
    library
}

#[test]
fn a_library_that_is_not_there_is_missing() {
    let path = Path::new("/nowhere/libonnxruntime.so");
    let error = start(path);
    assert!(
        matches!(&error, EngineError::RuntimeMissing { path: missing, .. } if missing == path),
        "{error:?}"
    );
    assert!(error.to_string().contains("/nowhere/libonnxruntime.so"));
    // A bare name is not searched for among the system's libraries.
    let error = start(Path::new("libc.so.6"));
    assert!(
        matches!(error, EngineError::RuntimeMissing { .. }),
        "{error:?}"
    );
}

#[test]
fn a_file_that_is_no_library_is_unusable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("libonnxruntime.so");
    for content in [b"".as_slice(), b"#!/bin/sh\n", b"\x7fELF and nothing else"] {
        std::fs::write(&path, content).unwrap();
        let error = start(&path);
        assert!(
            matches!(error, EngineError::RuntimeUnusable { .. }),
            "{error:?}"
        );
    }
    let error = start(folder.path());
    assert!(
        matches!(error, EngineError::RuntimeUnusable { .. }),
        "{error:?}"
    );
}

#[test]
fn a_library_of_something_else_is_unusable() {
    let folder = tempfile::tempdir().unwrap();
    let path = library(
        folder.path(),
        "libother.so",
        "int answer(void) { return 42; }",
    );
    let error = start(&path);
    assert!(error.to_string().contains("OrtGetApiBase"), "{error}");
}

#[test]
fn a_library_that_is_too_old_is_unusable_and_both_versions_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = library(
        folder.path(),
        "libold.so",
        r#"
        typedef struct { const void *(*get_api)(unsigned); const char *(*version)(void); } Base;
        static const void *get_api(unsigned version) { (void)version; return 0; }
        static const char *version(void) { return "1.10.3"; }
        static const Base base = { get_api, version };
        const Base *OrtGetApiBase(void) { return &base; }
        "#,
    );
    let error = start(&path);
    let text = error.to_string();
    assert!(text.contains("1.10.3") && text.contains("1.24"), "{text}");
}
