//! The protocol's names of element types.
//!
//! There are two sets of them: requests and metadata say `FP32`, a model's configuration says
//! `TYPE_FP32` and calls strings differently.

use impetus_engine::DType;

/// Returns the name that requests, answers and metadata use.
#[must_use]
pub fn name(dtype: DType) -> &'static str {
    // A configuration's name is this one behind a prefix, but for strings.
    match dtype {
        DType::Bytes => "BYTES",
        other => &in_config(other)["TYPE_".len()..],
    }
}

/// Returns the element type of a name that requests use, if there is one of that name.
#[must_use]
pub fn parse(name: &str) -> Option<DType> {
    DType::ALL
        .into_iter()
        .find(|dtype| self::name(*dtype) == name)
}

/// Returns the name that a model's configuration uses.
#[must_use]
pub fn in_config(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "TYPE_BOOL",
        DType::U8 => "TYPE_UINT8",
        DType::U16 => "TYPE_UINT16",
        DType::U32 => "TYPE_UINT32",
        DType::U64 => "TYPE_UINT64",
        DType::I8 => "TYPE_INT8",
        DType::I16 => "TYPE_INT16",
        DType::I32 => "TYPE_INT32",
        DType::I64 => "TYPE_INT64",
        DType::F16 => "TYPE_FP16",
        DType::BF16 => "TYPE_BF16",
        DType::F32 => "TYPE_FP32",
        DType::F64 => "TYPE_FP64",
        DType::Bytes => "TYPE_STRING",
    }
}

/// Returns the names that requests use, for messages.
#[must_use]
pub fn all() -> String {
    DType::ALL.map(name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found_under_its_own_name_and_no_other() {
        for dtype in DType::ALL {
            assert_eq!(parse(name(dtype)), Some(dtype));
        }
        assert_eq!(name(DType::F32), "FP32");
        assert_eq!(name(DType::Bytes), "BYTES");
        for wrong in ["", "fp32", "TYPE_FP32", "STRING", "FP8"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
