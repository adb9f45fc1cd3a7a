//! Rules about the source itself that no compiler checks: where unsafe code may stand, and that
//! ARCHITECTURE.md names it and every library.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn repo() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                rust_files(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    rust_files(&repo(), &mut files);
    files
        .into_iter()
        .map(|path| {
            let name = path
                .strip_prefix(repo())
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let text = fs::read_to_string(&path).unwrap();
            (name, text)
        })
        .collect()
}

/// Returns the section of ARCHITECTURE.md under that heading.
fn section(heading: &str) -> String {
    let text = fs::read_to_string(repo().join("ARCHITECTURE.md")).unwrap();
    let after = text
        .split(&format!("## {heading}\n"))
        .nth(1)
        .expect("the section exists");
    after.split("\n## ").next().unwrap().to_owned()
}

#[test]
fn unsafe_code_stands_only_in_the_modules_that_the_architecture_names() {
    // Spelled apart, so that this file is none of them.
    let allowance = format!("allow({}", "unsafe_code");
    let allowing: BTreeSet<String> = sources()
        .into_iter()
        .filter(|(name, text)| !name.starts_with("benches/") && text.contains(&allowance))
        .map(|(name, _)| name)
        .collect();
    let named: BTreeSet<String> = section("Unsafe code")
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    assert_eq!(allowing, named);
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    // Spelled apart, so that this file has none of them.
    let word = ["un", "safe"].concat();
    let openings = [format!("{word} {{"), format!("{word} impl")];
    for (name, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap();
            if !openings.iter().any(|opening| code.contains(opening)) {
                continue;
            }
            let before = &lines[index.saturating_sub(12)..index];
            assert!(
                before.iter().any(|line| line.contains("SAFETY:")),
                "{name}:{}: no SAFETY comment",
                index + 1
            );
        }
    }
}

#[test]
fn modules_are_files_beside_their_folders() {
    for (name, _) in sources() {
        assert!(
            !name.ends_with("/mod.rs"),
            "{name} should stand beside its folder"
        );
    }
}

#[test]
fn the_architecture_names_every_library_with_its_reason() {
    let listed = section("Libraries");
    for manifest in [
        "Cargo.toml",
        "actors/Cargo.toml",
        "actors/supervision/Cargo.toml",
        "engine/Cargo.toml",
    ] {
        let text = fs::read_to_string(repo().join(manifest)).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        for library in manifest["dependencies"].as_table().unwrap().keys() {
            let known = library.starts_with("impetus-") || listed.contains(library.as_str());
            assert!(known, "{library} is not in ARCHITECTURE.md");
        }
    }
}
