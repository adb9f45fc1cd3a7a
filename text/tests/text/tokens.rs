//! Tokenizers, id for id and character for character as transformers has them.

use serde_json::Value;

use crate::{TOKENIZERS, beside, goldens, model};
use impetus_text::{TextError, Tokenizer};

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn every_text_is_encoded_as_by_transformers() {
    let goldens = goldens("tokens.json");
    for name in TOKENIZERS {
        let model = model(name);
        for case in goldens[name]["encode"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            assert_eq!(
                model.tokenizer().encode(text, false).unwrap(),
                ids(&case["plain"]),
                "{name}: {text:?}"
            );
            assert_eq!(
                model.tokenizer().encode(text, true).unwrap(),
                ids(&case["with_special"]),
                "{name}: {text:?}"
            );
        }
    }
}

#[test]
fn every_sequence_is_decoded_as_by_transformers() {
    let goldens = goldens("tokens.json");
    for name in TOKENIZERS {
        let model = model(name);
        for case in goldens[name]["decode"].as_array().unwrap() {
            let ids = ids(&case["ids"]);
            assert_eq!(
                model.tokenizer().decode(&ids, false).unwrap(),
                case["all"],
                "{name}: {ids:?}"
            );
            assert_eq!(
                model.tokenizer().decode(&ids, true).unwrap(),
                case["without_special"],
                "{name}: {ids:?}"
            );
        }
    }
}

#[test]
fn a_tokenizer_that_would_cut_and_fill_does_neither() {
    let file = std::fs::read_to_string(beside("tokenizers/byte_level/tokenizer.json")).unwrap();
    let described: Value = serde_json::from_str(&file).unwrap();
    assert_eq!(described["truncation"]["max_length"], 8);
    assert_eq!(described["padding"]["strategy"]["Fixed"], 12);
    let model = model("byte_level");
    assert!(
        model
            .tokenizer()
            .encode(&"Hello, world! ".repeat(9), false)
            .unwrap()
            .len()
            > 12
    );
    assert!(model.tokenizer().encode("a", false).unwrap().len() < 8);
}

#[test]
fn a_batch_is_its_texts_one_by_one() {
    let model = model("unigram");
    let texts = ["Hello", "", "the server answers"];
    let batch = model.tokenizer().encode_batch(&texts, true).unwrap();
    let alone: Vec<_> = texts
        .iter()
        .map(|text| model.tokenizer().encode(text, true).unwrap())
        .collect();
    assert_eq!(batch, alone);
}

#[test]
fn the_bytes_of_a_texts_tokens_are_the_bytes_of_the_text() {
    let text = "Grüße 你好, the server\n👩‍👩‍👧‍👦!";
    for (name, expected) in [
        ("byte_level", text.to_owned()),
        ("byte_fallback", format!(" {text}")),
    ] {
        let model = model(name);
        let ids = model.tokenizer().encode(text, false).unwrap();
        let bytes: Vec<u8> = ids
            .iter()
            .flat_map(|id| model.tokenizer().token_bytes(*id).unwrap().to_vec())
            .collect();
        assert_eq!(String::from_utf8(bytes).unwrap(), expected, "{name}");
    }
}

#[test]
fn the_table_knows_special_tokens_and_ends() {
    let model = model("byte_level");
    let table = model.tokenizer().vocabulary();
    let end = model.tokenizer().id_of("<|im_end|>").unwrap();
    let call = model.tokenizer().id_of("<tool_call>").unwrap();
    assert_eq!(table.eos, [end]);
    assert_eq!(model.eos_tokens(), [end]);
    assert!(table.tokens[end as usize].special);
    assert_eq!(table.tokens[end as usize].bytes, b"<|im_end|>");
    assert!(!table.tokens[call as usize].special);
    assert_eq!(table.tokens.len(), call as usize + 2);
    assert_eq!(
        table
            .tokens
            .iter()
            .filter(|entry| entry.bytes.is_empty())
            .count(),
        0
    );
}

#[test]
fn a_token_is_shown_as_text_and_as_bytes() {
    let model = model("byte_level");
    let tokenizer = model.tokenizer();
    let half = tokenizer.encode("é", false).unwrap()[0];
    assert_eq!(
        tokenizer.token_text(half).as_deref(),
        Some(if tokenizer.token_bytes(half) == Some("é".as_bytes()) {
            "é"
        } else {
            "\u{FFFD}"
        })
    );
    let space = tokenizer.id_of("Ġ").unwrap();
    assert_eq!(
        (
            tokenizer.token_text(space).as_deref(),
            tokenizer.token_bytes(space)
        ),
        (Some(" "), Some(&b" "[..]))
    );
    assert_eq!(tokenizer.token_text(1_000_000), None);
    assert_eq!(tokenizer.token_bytes(1_000_000), None);
}

#[test]
fn a_file_that_is_missing_or_no_tokenizer_is_named() {
    let missing = Tokenizer::from_file(&beside("nothing.json")).unwrap_err();
    assert!(
        matches!(&missing, TextError::Read { .. }) && missing.to_string().contains("nothing.json"),
        "{missing}"
    );
    let other = Tokenizer::from_file(&beside("goldens/templates.json")).unwrap_err();
    assert!(
        matches!(&other, TextError::Tokenizer { .. })
            && other.to_string().contains("templates.json"),
        "{other}"
    );
}
