//! From a folder to what kubectl makes of it, and from YAML to values.
//!
//! YAML is read by a Python module that the validation needs anyway, not by a crate: it is the
//! version of YAML that Kubernetes speaks, and the server depends on no reader of it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::Value;

use crate::manifests::Manifests;

/// The version of Kubernetes whose schemas hold.
pub const KUBERNETES: &str = "1.34";

/// Documents of YAML, held against the schemas.
#[derive(Debug, Deserialize)]
pub struct Validated {
    /// What they say.
    pub documents: Vec<Value>,
    /// What the schemas have against them.
    pub problems: Vec<String>,
    /// Kinds for which there is no schema.
    pub unknown: Vec<String>,
}

pub fn repo() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns what kubectl makes of a folder below `k8s/`.
pub fn yaml(folder: &str) -> String {
    kustomize(&repo().join("k8s").join(folder))
}

/// Returns what kubectl makes of a folder.
pub fn kustomize(folder: &Path) -> String {
    let fetched = repo().join(".test/bin/kubectl");
    let kubectl = if fetched.exists() {
        fetched
    } else {
        PathBuf::from("kubectl")
    };
    let output = Command::new(kubectl)
        .arg("kustomize")
        .arg(folder)
        .output()
        .unwrap_or_else(|error| {
            panic!("kubectl does not start ({error}): run scripts/install-kubernetes-tools.sh")
        });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", folder.display());
    assert!(said.trim().is_empty(), "{} warns: {said}", folder.display());
    String::from_utf8(output.stdout).unwrap()
}

/// Reads YAML.
pub fn read(yaml: &str) -> Manifests {
    Manifests(python(&[], yaml).documents)
}

/// Reads YAML and holds it against the schemas.
pub fn validate(yaml: &str) -> Validated {
    python(&[KUBERNETES], yaml)
}

fn python(args: &[&str], yaml: &str) -> Validated {
    let modules = repo().join(".test/kubernetes-validate");
    assert!(
        modules.is_dir(),
        "kubernetes-validate is missing: run scripts/install-kubernetes-tools.sh"
    );
    let mut child = Command::new("python3")
        .arg(repo().join("tests/kubernetes/read.py"))
        .args(args)
        .env("PYTHONPATH", modules)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(yaml.as_bytes()).unwrap();
    // Ends with the input.
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "read.py failed; see above");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns the manifests of a folder below `k8s/`.
pub fn manifests(folder: &str) -> Manifests {
    read(&yaml(folder))
}

/// Returns every folder below `k8s/` that has a kustomization of this kind, by its path from there.
pub fn kustomizations(kind: &str) -> Vec<String> {
    let mut found = Vec::new();
    collect(&repo().join("k8s"), kind, &mut found);
    found.sort();
    found
}

fn collect(folder: &Path, kind: &str, found: &mut Vec<String>) {
    let file = folder.join("kustomization.yaml");
    if let Ok(text) = std::fs::read_to_string(file)
        && text.lines().any(|line| line == format!("kind: {kind}"))
    {
        let below = folder.strip_prefix(repo().join("k8s")).unwrap();
        found.push(below.to_str().unwrap().to_owned());
    }
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, kind, found);
        }
    }
}
