//! Rules about the source itself that no compiler checks: where unsafe code may stand, that
//! ARCHITECTURE.md names it and every library, and that the image is built from what is there.

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

fn text_of(file: &str) -> String {
    fs::read_to_string(repo().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Returns the instructions of the Dockerfile, each on one line, without comments.
fn dockerfile() -> Vec<String> {
    let lines: Vec<String> = text_of("Dockerfile")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    joined
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn the_image_is_built_by_the_pinned_compiler_and_no_other() {
    let toolchain: toml::Table = text_of("rust-toolchain.toml").parse().unwrap();
    let version = toolchain["toolchain"]["channel"].as_str().unwrap();
    let expected = format!("ARG RUST_IMAGE=rust:{version}-slim-bookworm");
    assert!(dockerfile().contains(&expected), "no line {expected:?}");
    let build = dockerfile().join("\n");
    assert!(build.contains("cargo build --release --locked"), "{build}");
}

#[test]
fn what_the_image_is_built_from_exists_and_is_handed_to_the_build() {
    let ignore = text_of(".dockerignore");
    let handed: Vec<&str> = ignore
        .lines()
        .filter_map(|line| line.strip_prefix("!/"))
        .collect();
    assert!(ignore.lines().any(|line| line == "*"), "an allowlist");
    let copied: Vec<String> = dockerfile()
        .iter()
        .filter(|line| line.starts_with("COPY ") && !line.contains("--from="))
        .flat_map(|line| {
            let words: Vec<&str> = line.split(' ').skip(1).collect();
            let sources = &words[..words.len() - 1];
            sources
                .iter()
                .map(|&source| source.to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    for source in &copied {
        assert!(repo().join(source).exists(), "{source} is not there");
        assert!(handed.contains(&source.as_str()), "{source} is ignored");
    }
    let unused: Vec<_> = handed
        .iter()
        .filter(|handed| !copied.iter().any(|source| source == *handed))
        .collect();
    assert!(unused.is_empty(), "handed over for nothing: {unused:?}");
    // A member that is left out fails the build on its first line.
    let manifest: toml::Table = text_of("Cargo.toml").parse().unwrap();
    for member in manifest["workspace"]["members"].as_array().unwrap() {
        let member = member.as_str().unwrap();
        let top = member.split('/').next().unwrap();
        assert!(top == "." || copied.iter().any(|s| s == top), "{member}");
    }
}

#[test]
fn the_image_starts_the_server_itself_as_a_user_without_a_name() {
    let lines = dockerfile();
    for expected in [
        "USER 65532:65532",
        "STOPSIGNAL SIGTERM",
        "ENTRYPOINT [\"/usr/local/bin/impetus\"]",
        "CMD [\"serve\"]",
    ] {
        assert!(lines.iter().any(|line| line == expected), "no {expected}");
    }
    // Every variable of ours is one that the server knows.
    let reference = text_of("docs/configuration.md");
    let all = lines.join(" ");
    let ours = all.split(' ').filter_map(|word| word.split_once('='));
    let mut seen = 0;
    for (name, _) in ours.filter(|(name, _)| name.starts_with("IMPETUS_")) {
        assert!(reference.contains(&format!("`{name}`")), "{name}");
        seen += 1;
    }
    assert!(seen > 3, "the image sets where things are");
}
