//! What a model is for, as its folder says.

use std::fmt;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// What a model is for, which decides how it is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// Tensors become tensors.
    #[default]
    Tensors,
    /// Text becomes more text, token by token.
    Generation,
    /// Text becomes a vector. Tensors are served as well.
    Embedding,
}

/// What tells a folder that onnxruntime-genai's model builder has written.
const GENAI_CONFIG: &str = "genai_config.json";
/// What tells a folder that Optimum has written, with the architectures in it.
const TRANSFORMERS: &str = "config.json";
/// What tells a folder that sentence-transformers has written.
const SENTENCE_TRANSFORMERS: &str = "modules.json";

/// Tells whether a configuration is that of a model which goes on with a text.
fn is_causal(config: &Path) -> bool {
    let text = std::fs::read_to_string(config).unwrap_or_default();
    let config: Value = serde_json::from_str(&text).unwrap_or_default();
    let architectures = config["architectures"].as_array();
    architectures.is_some_and(|all| {
        let mut names = all.iter().filter_map(Value::as_str);
        names.any(|name| name.ends_with("ForCausalLM"))
    })
}

// === impl ModelKind ===

impl ModelKind {
    /// Returns what a model is for: what its description calls its task, or else what kind of folder its
    /// file lies in. Blocks on the file system.
    #[must_use]
    pub fn of(task: Option<&str>, file: &Path) -> Self {
        match task {
            Some("text-generation") => return Self::Generation,
            Some("embedding" | "feature-extraction" | "sentence-similarity") => {
                return Self::Embedding;
            }
            Some(_) => return Self::Tensors,
            None => {}
        }
        let folders = file.ancestors().skip(1).take(2);
        for folder in folders {
            if folder.join(GENAI_CONFIG).is_file() {
                return Self::Generation;
            }
            if folder.join(SENTENCE_TRANSFORMERS).is_file() {
                return Self::Embedding;
            }
            if is_causal(&folder.join(TRANSFORMERS)) {
                return Self::Generation;
            }
        }
        Self::Tensors
    }

    /// Says how a model of this kind is asked.
    #[must_use]
    pub fn asked_by(self) -> &'static str {
        match self {
            Self::Tensors => "/v2/models/NAME/infer or /predict",
            Self::Generation => "/v1/chat/completions or /v1/completions",
            Self::Embedding => "/v1/embeddings or /v2/models/NAME/infer",
        }
    }
}

impl fmt::Display for ModelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tensors => "takes tensors",
            Self::Generation => "generates text",
            Self::Embedding => "embeds text",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn kind(files: &[(&str, &str)], task: Option<&str>, model: &str) -> ModelKind {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        ModelKind::of(task, &dir.path().join(model))
    }

    #[test]
    fn the_files_beside_the_graph_tell_what_it_is_for_and_the_description_knows_better() {
        let causal = r#"{"architectures": ["LlamaForCausalLM"]}"#;
        let bert = r#"{"architectures": ["BertModel"]}"#;
        let plain = "model.onnx";
        assert_eq!(kind(&[], None, plain), ModelKind::Tensors);
        assert_eq!(
            kind(&[("genai_config.json", "{}")], None, plain),
            ModelKind::Generation
        );
        assert_eq!(
            kind(&[("config.json", causal)], None, plain),
            ModelKind::Generation
        );
        assert_eq!(
            kind(&[("config.json", bert)], None, plain),
            ModelKind::Tensors
        );
        let exported = [("modules.json", "[]"), ("config.json", bert)];
        assert_eq!(
            kind(&exported, None, "onnx/model.onnx"),
            ModelKind::Embedding
        );
        assert_eq!(kind(&exported, Some("tensors"), plain), ModelKind::Tensors);
        assert_eq!(
            kind(&[], Some("text-generation"), plain),
            ModelKind::Generation
        );
    }
}
