//! Folders as exporters write them.

use std::path::Path;

use impetus_text::{Chat, TextError, TextModel};
use serde_json::{Map, json};
use tempfile::TempDir;
use time::OffsetDateTime;

use crate::beside;

/// A folder with a tokenizer and further files.
fn folder(files: &[(&str, String)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    let tokenizer = beside("tokenizers/byte_fallback/tokenizer.json");
    std::fs::copy(tokenizer, folder.path().join("tokenizer.json")).unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn rendered(model: &TextModel, tools: Option<&serde_json::Value>) -> String {
    let messages = json!([{"role": "user", "content": "Hello"}]);
    let chat = Chat {
        messages: &messages,
        tools,
        add_generation_prompt: true,
        continue_final_message: false,
        extra: &Map::new(),
        now: OffsetDateTime::UNIX_EPOCH,
    };
    model.template().unwrap().render(&chat).unwrap()
}

#[test]
fn a_tokenizer_alone_makes_a_base_model() {
    let folder = folder(&[]);
    let model = TextModel::load(folder.path()).unwrap();
    assert!(
        model.template().is_none() && model.genai().is_none() && model.context_length().is_none()
    );
    assert!(model.eos_tokens().is_empty());
    assert_eq!(
        model.defaults(),
        &impetus_text::GenerationDefaults::default()
    );
}

#[test]
fn a_folder_of_the_model_builder_says_everything() {
    let genai = json!({
        "model": {
            "type": "llama", "context_length": 2048, "vocab_size": 640, "eos_token_id": [2, 4], "bos_token_id": 1,
            "decoder": {
                "filename": "model.onnx", "head_size": 64, "hidden_size": 256, "num_attention_heads": 4,
                "num_hidden_layers": 3, "num_key_value_heads": 2, "session_options": {"provider_options": []},
                "inputs": {"input_ids": "input_ids", "past_key_names": "past_key_values.%d.key"},
                "outputs": {"logits": "logits", "present_value_names": "present.%d.value"},
            },
        },
        "search": {"do_sample": true, "temperature": 0.7, "top_k": 40, "past_present_share_buffer": true, "max_length": 2048},
    });
    let folder = folder(&[
        ("genai_config.json", genai.to_string()),
        (
            "config.json",
            json!({"max_position_embeddings": 4096}).to_string(),
        ),
        (
            "tokenizer_config.json",
            json!({"eos_token": "<|im_start|>", "bos_token": {"content": "<s>"}}).to_string(),
        ),
    ]);
    let model = TextModel::load(folder.path()).unwrap();
    assert_eq!(model.eos_tokens(), [2, 3, 4]);
    assert_eq!(model.bos_token(), Some(1));
    assert_eq!(model.context_length(), Some(2048));
    assert_eq!(
        (model.defaults().temperature, model.defaults().top_k),
        (Some(0.7), Some(40))
    );
    let genai = model.genai().unwrap();
    assert!(genai.search.past_present_share_buffer);
    assert_eq!(genai.decoder().num_key_value_heads, 2);
    assert_eq!(
        genai
            .decoder()
            .inputs
            .of_layer("past_key_names", 2)
            .as_deref(),
        Some("past_key_values.2.key")
    );
    assert_eq!(genai.decoder().outputs.get("logits"), Some("logits"));
    let table = model.tokenizer().vocabulary();
    assert_eq!(
        table.tokens.len(),
        640,
        "the table reaches as far as the logits"
    );
    assert!(table.tokens[639].special && table.tokens[639].bytes.is_empty());
}

#[test]
fn generation_config_goes_before_the_model_builders_search() {
    let folder = folder(&[
        (
            "generation_config.json",
            json!({"temperature": 0.2, "eos_token_id": 4, "max_new_tokens": null}).to_string(),
        ),
        (
            "genai_config.json",
            json!({"model": {"eos_token_id": 2}, "search": {"temperature": 0.9, "top_k": 5}})
                .to_string(),
        ),
    ]);
    let model = TextModel::load(folder.path()).unwrap();
    assert_eq!(
        (model.defaults().temperature, model.defaults().top_k),
        (Some(0.2), None)
    );
    assert_eq!(model.eos_tokens(), [2, 4]);
}

#[test]
fn a_length_that_stands_for_infinity_is_none() {
    let length = |config: serde_json::Value| {
        let folder = folder(&[("tokenizer_config.json", config.to_string())]);
        TextModel::load(folder.path()).unwrap().context_length()
    };
    assert_eq!(length(json!({"model_max_length": 512})), Some(512));
    assert_eq!(length(json!({"model_max_length": 1e30})), None);
}

#[test]
fn a_template_is_found_wherever_it_is() {
    let ends = json!({"bos_token": "<s>"});
    let one = json!({"chat_template": "{{ bos_token }}one"});
    let named = json!({"chat_template": [
        {"name": "default", "template": "default"},
        {"name": "tool_use", "template": "tools"},
    ]});
    let load = |files: &[(&str, String)]| TextModel::load(folder(files).path()).unwrap();
    let alone = load(&[
        ("tokenizer_config.json", one.to_string()),
        ("special_tokens_map.json", ends.to_string()),
    ]);
    assert_eq!(rendered(&alone, None), "<s>one");
    let several = load(&[("tokenizer_config.json", named.to_string())]);
    assert_eq!(rendered(&several, None), "default");
    assert_eq!(rendered(&several, Some(&json!([]))), "tools");
    let file = load(&[
        ("tokenizer_config.json", one.to_string()),
        ("chat_template.jinja", "file".to_owned()),
    ]);
    assert_eq!(rendered(&file, None), "file");
}

#[test]
fn a_file_that_cannot_be_understood_is_named() {
    let broken = |name: &str, text: &str| {
        TextModel::load(folder(&[(name, text.to_owned())]).path()).unwrap_err()
    };
    let error = broken("generation_config.json", "{");
    assert!(
        matches!(&error, TextError::Parse { .. })
            && error.to_string().contains("generation_config.json"),
        "{error}"
    );
    let error = broken("chat_template.jinja", "{% if %}");
    assert!(
        matches!(&error, TextError::Template { .. })
            && error.to_string().contains("chat_template.jinja"),
        "{error}"
    );
    let error = TextModel::load(Path::new("/nowhere")).unwrap_err();
    assert!(matches!(&error, TextError::Read { .. }), "{error}");
}
