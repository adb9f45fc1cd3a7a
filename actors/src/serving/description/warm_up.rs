//! Samples that a model is run with when it is loaded.
//!
//! A sample names every input with its shape and with what fills it: a word, a number, or a file
//! in the model's folder. Whether it fits the graph is found out by the worker that has loaded it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use impetus_engine::{DType, Fill, WarmUpInput, WarmUpSample};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::files::inside;

/// One full set of inputs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmUp {
    /// Where it is stated, for messages; its place among the `[[warm_up]]` when empty.
    #[serde(skip)]
    pub key: String,
    /// What each input of the model is given.
    pub inputs: BTreeMap<String, SampleInput>,
}

/// What one input is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct SampleInput {
    /// The element type, where it is stated; the graph's otherwise.
    pub dtype: Option<DType>,
    /// The extent of every dimension.
    pub shape: Vec<usize>,
    /// The elements.
    pub fill: Fill,
}

/// A [`SampleInput`] as it is written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    shape: Vec<usize>,
    fill: Option<WrittenFill>,
    file: Option<PathBuf>,
}

/// What fills an input, as it is written: a word or a number.
#[derive(Clone)]
enum WrittenFill {
    Zeros,
    Random,
    Value(f64),
}

// === impl WarmUp ===

impl WarmUp {
    /// Returns the sample for the worker; `index` is its place among those of its model.
    #[must_use]
    pub fn sample(&self, index: usize) -> WarmUpSample {
        let inputs = self.inputs.iter().map(|(name, input)| WarmUpInput {
            name: name.clone(),
            dtype: input.dtype,
            shape: input.shape.clone(),
            fill: input.fill.clone(),
        });
        WarmUpSample {
            key: match self.key.as_str() {
                "" => format!("warm_up[{index}]"),
                key => key.to_owned(),
            },
            inputs: inputs.collect(),
        }
    }

    /// Makes the files it names those in the model's folder.
    pub(super) fn resolve(&mut self, folder: &Path) -> Result<(), String> {
        for (name, input) in &mut self.inputs {
            if let Fill::File { path, .. } = &mut input.fill {
                *path = inside(folder, &format!("warm_up.inputs.{name}.file"), path)?;
            }
        }
        Ok(())
    }

    /// Returns the files it names.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.inputs.values().filter_map(|input| match &input.fill {
            Fill::File { path, .. } => Some(path),
            _ => None,
        })
    }
}

// === impl SampleInput ===

impl TryFrom<Written> for SampleInput {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let fill = match (written.fill, written.file) {
            (Some(WrittenFill::Zeros), None) => Fill::Zeros,
            (Some(WrittenFill::Random), None) => Fill::Random,
            (Some(WrittenFill::Value(value)), None) => Fill::Value(value),
            (None, Some(path)) => Fill::File { path, times: 1 },
            (None, None) => return Err("an input of a sample needs fill or file"),
            (Some(_), Some(_)) => return Err("an input of a sample has fill or file, not both"),
        };
        Ok(Self {
            dtype: None,
            shape: written.shape,
            fill,
        })
    }
}

impl From<SampleInput> for Written {
    fn from(input: SampleInput) -> Self {
        let (fill, file) = match input.fill {
            Fill::Zeros => (Some(WrittenFill::Zeros), None),
            Fill::Random => (Some(WrittenFill::Random), None),
            Fill::Value(value) => (Some(WrittenFill::Value(value)), None),
            Fill::File { path, .. } => (None, Some(path)),
        };
        Self {
            shape: input.shape,
            fill,
            file,
        }
    }
}

// === impl WrittenFill ===

impl Serialize for WrittenFill {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Zeros => serializer.serialize_str("zeros"),
            Self::Random => serializer.serialize_str("random"),
            Self::Value(value) => serializer.serialize_f64(*value),
        }
    }
}

impl<'de> Deserialize<'de> for WrittenFill {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FillVisitor)
    }
}

struct FillVisitor;

impl Visitor<'_> for FillVisitor {
    type Value = WrittenFill;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"zeros\", \"random\" or a number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<WrittenFill, E> {
        match text {
            "zeros" => Ok(WrittenFill::Zeros),
            "random" => Ok(WrittenFill::Random),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_f64<E>(self, value: f64) -> Result<WrittenFill, E> {
        Ok(WrittenFill::Value(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<WrittenFill, E> {
        Ok(WrittenFill::Value(value as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Description;
    use super::*;

    fn read(text: &str) -> Result<Description, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn every_way_to_fill_an_input_is_read_and_written() {
        let text = r#"
            [[warm_up]]
            inputs = { a = { shape = [8, 3], fill = "zeros" }, b = { shape = [], fill = "random" } }
            [[warm_up]]
            [warm_up.inputs]
            a = { shape = [1, 3], fill = -1 }
            b = { shape = [2], file = "sample.bin" }
        "#;
        let read = read(text).unwrap();
        let [first, second] = read.warm_up.as_slice() else {
            panic!("{read:?}");
        };
        assert_eq!(first.inputs["a"].shape, [8, 3]);
        assert_eq!(first.inputs["b"].fill, Fill::Random);
        assert_eq!(second.inputs["a"].fill, Fill::Value(-1.0));
        let path = PathBuf::from("sample.bin");
        assert_eq!(second.inputs["b"].fill, Fill::File { path, times: 1 });
        let written = toml::to_string(&read).unwrap();
        assert_eq!(toml::from_str::<Description>(&written).unwrap(), read);
    }

    #[test]
    fn a_sample_that_is_not_whole_is_refused_with_what_it_needs() {
        for (input, expected) in [
            ("{ fill = 0 }", "shape"),
            ("{ shape = [1] }", "needs fill or file"),
            ("{ shape = [1], fill = 0, file = \"x\" }", "not both"),
            (
                "{ shape = [1], fill = \"ones\" }",
                "\"zeros\", \"random\" or a number",
            ),
            ("{ shape = [-1], fill = 0 }", "-1"),
            ("{ shape = [1], fill = 0, times = 2 }", "times"),
        ] {
            let refused = read(&format!("[[warm_up]]\ninputs = {{ x = {input} }}")).unwrap_err();
            assert!(refused.contains(expected), "{input}: {refused}");
        }
    }

    #[test]
    fn a_sample_is_named_by_its_key_or_its_place() {
        let mut warm_up = WarmUp::default();
        assert_eq!(warm_up.sample(3).key, "warm_up[3]");
        warm_up.key = "model_warmup[0]".to_owned();
        assert_eq!(warm_up.sample(3).key, "model_warmup[0]");
    }
}
