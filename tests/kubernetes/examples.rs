//! The manifests that the READMEs show: they are what somebody will copy.

use std::fs;
use std::path::{Path, PathBuf};

use crate::render::{self, repo, validate};

/// Returns every README below a folder.
fn readmes(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            readmes(&path, found);
        } else if path.ends_with("README.md") {
            found.push(path);
        }
    }
}

/// Returns what stands between two marks, without the indentation of a list's item.
fn between(text: &str, from: &str, to: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(opening) = lines.find(|line| line.trim_start().ends_with(from)) {
        let indentation = opening.len() - opening.trim_start().len();
        let body = lines.by_ref().take_while(|line| line.trim() != to);
        found.push(
            body.map(|line| line.get(indentation..).unwrap_or("").to_owned() + "\n")
                .collect(),
        );
    }
    found
}

/// Renders a kustomization that builds upon ours, in a folder of its own.
fn render(example: &str) -> String {
    let kept = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let folder = kept.path().canonicalize().unwrap();
    // Kustomize takes relative paths alone.
    let up = "../".repeat(folder.components().count() - 1);
    let ours = format!(
        "{up}{}/k8s",
        repo()
            .canonicalize()
            .unwrap()
            .strip_prefix("/")
            .unwrap()
            .display()
    );
    let example = example.replace("../impetus/k8s", &ours);
    fs::write(folder.join("kustomization.yaml"), example).unwrap();
    render::kustomize(&folder)
}

#[test]
fn every_kustomization_in_a_readme_renders_and_is_valid() {
    let mut files = Vec::new();
    readmes(&repo().join("k8s"), &mut files);
    let mut seen = 0;
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for example in between(&text, "```yaml", "```") {
            if example.contains("../impetus/k8s") {
                let problems = validate(&render(&example)).problems;
                assert_eq!(problems, Vec::<String>::new(), "{}", file.display());
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 3, "the examples are found");
}

#[test]
fn the_startup_probe_of_the_base_can_be_changed_as_its_readme_says() {
    let readme = fs::read_to_string(repo().join("k8s/base/README.md")).unwrap();
    let example = &between(&readme, "```yaml", "```")[0];
    let rendered = render(example);
    assert!(rendered.contains("path: /api/health/startup"), "{rendered}");
}

#[test]
fn the_split_overlay_without_postgresql_has_nothing_of_it() {
    let readme = fs::read_to_string(repo().join("k8s/overlays/split/README.md")).unwrap();
    let example = &between(&readme, "```yaml", "```")[0];
    let rendered = render(example);
    assert!(rendered.contains("logging-service"), "{rendered}");
    assert!(
        !rendered.contains("name: impetus-postgresql\n"),
        "{rendered}"
    );
}

#[test]
fn the_pod_that_publishes_a_model_is_valid() {
    let readme = fs::read_to_string(repo().join("k8s/overlays/production/README.md")).unwrap();
    let pods = between(&readme, "<<'PUBLISHER'", "PUBLISHER");
    let read = validate(&pods[0]);
    assert_eq!(read.problems, Vec::<String>::new());
    let image = read.documents[0]["spec"]["containers"][0]["image"]
        .as_str()
        .unwrap();
    assert!(image.ends_with(env!("CARGO_PKG_VERSION")), "{image}");
}
