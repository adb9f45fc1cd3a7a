//! This crate against transformers' own results, and against every way of cutting a text.
//!
//! What is compared with was made by `tests/make_goldens.py` and is committed.

#![allow(clippy::unwrap_used)]

mod detokenizing;
mod folders;
mod stopping;
mod templates;
mod tokens;
mod tool_calls;

use std::path::PathBuf;

/// Returns the path of something committed beside the tests.
fn beside(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

/// Reads goldens.
fn goldens(name: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(beside("goldens").join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Loads one of the committed tokenizers' folders.
fn model(name: &str) -> impetus_text::TextModel {
    impetus_text::TextModel::load(&beside("tokenizers").join(name)).unwrap()
}

/// The names of the committed tokenizers.
const TOKENIZERS: [&str; 6] = [
    "byte_level",
    "byte_fallback",
    "byte_fallback_unstripped",
    "unigram",
    "word_piece",
    "ends_ignored",
];
