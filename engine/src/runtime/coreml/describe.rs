//! What a model says of an input or output, read from the words that Core ML has for people.
//!
//! coreml-rs passes on nothing else: `image : MultiArray (Float32, 1 × 3 × 224 × 224)`. What does not
//! read so is refused with the text, so that whoever sees it knows what the model has there.

use crate::tensor::{DType, Dim, TensorSpec};

/// Reads one feature.
///
/// # Errors
/// It is no array, of an element type that nobody can send, or without fixed extents.
pub(super) fn feature(text: &str) -> Result<TensorSpec, String> {
    let refused = |why: &str| format!("\"{text}\" {why}");
    let (name, kind) = text
        .split_once(" : ")
        .ok_or_else(|| refused("is no description that is understood"))?;
    let inner = kind
        .trim()
        .trim_end_matches('?')
        .strip_prefix("MultiArray")
        .and_then(|rest| rest.trim().strip_prefix('('))
        .and_then(|rest| rest.split_once(')'))
        .map(|(inner, _)| inner)
        .ok_or_else(|| refused("is no array: arrays of numbers alone are served"))?;
    let (element, extents) = inner
        .split_once(',')
        .ok_or_else(|| refused("states no shape: fixed extents alone are served"))?;
    let dtype = match element.trim() {
        "Float32" => DType::F32,
        "Float16" => DType::F16,
        "Int32" => DType::I32,
        "Double" | "Float64" => DType::F64,
        _ => return Err(refused("has an element type that is not served")),
    };
    let shape = extents
        .split(['×', 'x', 'X'])
        .map(|extent| extent.trim().parse().map(Dim::Fixed))
        .collect::<Result<Vec<Dim>, _>>()
        .map_err(|_| refused("states no fixed shape: fixed extents alone are served"))?;
    Ok(TensorSpec {
        name: name.trim().to_owned(),
        dtype,
        shape,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_read_with_its_type_and_extents() {
        let spec = feature("image : MultiArray (Float32, 1 × 3 × 224 × 224)").unwrap();
        assert_eq!((spec.name.as_str(), spec.dtype), ("image", DType::F32));
        assert_eq!(spec.smallest_shape(), [1, 3, 224, 224]);
        let spec = feature("ids : MultiArray (Int32, 8)?").unwrap();
        assert_eq!((spec.dtype, spec.smallest_shape()), (DType::I32, vec![8]));
    }

    #[test]
    fn what_is_no_array_of_fixed_extents_is_refused_with_its_own_words() {
        for text in [
            "classLabel : String",
            "image : Image (Color, 224 x 224)",
            "probabilities : Dictionary (String → Double)",
            "x : MultiArray (Float32)",
            "x : MultiArray (Float32, 1...8 × 3)",
            "x : MultiArray (UInt7, 3)",
            "nonsense",
        ] {
            let error = feature(text).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }
}
