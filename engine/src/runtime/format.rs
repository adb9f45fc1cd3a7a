//! What a model's file is, which decides what loads it.

use std::path::Path;

/// The form of a model on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelFormat {
    /// A graph in ONNX's form.
    Onnx,
    /// A Core ML model: a package or a compiled model, which are folders, or a specification.
    CoreMl,
}

/// The endings of Core ML models, in the order in which they are looked for: a package says the most,
/// a compiled model loads without being compiled again.
const CORE_ML: [&str; 3] = ["mlpackage", "mlmodelc", "mlmodel"];

// === impl ModelFormat ===

impl ModelFormat {
    /// Returns the form by the ending of the file's name; whatever is unknown is taken for ONNX.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let ending = path.extension().and_then(|ending| ending.to_str());
        match ending {
            Some(ending) if CORE_ML.contains(&ending) => Self::CoreMl,
            _ => Self::Onnx,
        }
    }

    /// Returns the names that a Core ML model has where nobody says otherwise.
    pub fn core_ml_names() -> impl Iterator<Item = String> {
        CORE_ML.iter().map(|ending| format!("model.{ending}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_tells_what_a_model_is() {
        let of = |name: &str| ModelFormat::of(Path::new(name));
        for name in ["m/model.mlpackage", "m/model.mlmodelc", "model.mlmodel"] {
            assert_eq!(of(name), ModelFormat::CoreMl, "{name}");
        }
        for name in ["m/model.onnx", "m/best", "m.mlpackage/model.onnx"] {
            assert_eq!(of(name), ModelFormat::Onnx, "{name}");
        }
    }
}
