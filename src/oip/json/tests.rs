//! The codec as a whole: whatever is written is read as the same, and whatever is broken is refused.

use std::fmt::Write;

use bytes::Bytes;
use impetus_engine::tensor::{elements, encode_strings};
use impetus_engine::{DType, Tensor};
use proptest::prelude::*;

use super::{read, write_data, write_nested};
use crate::oip::binary::decode;
use crate::oip::{InferRequest, datatype};

/// A tensor of any type and of a small shape, whose values JSON has.
fn tensor() -> impl Strategy<Value = Tensor> {
    let shape = prop::collection::vec(0usize..4, 0..4);
    let dtype = prop::sample::select(DType::ALL.to_vec());
    (dtype, shape, any::<u64>()).prop_map(|(dtype, shape, seed)| {
        let count = elements(&shape).unwrap();
        let data = match dtype.size() {
            None => encode_strings((0..count).map(|index| text(seed, index))).unwrap(),
            Some(size) => (0..count)
                .flat_map(|index| element(dtype, mixed(seed, index))[..size].to_vec())
                .collect(),
        };
        Tensor::try_new("x", dtype, shape, data).unwrap()
    })
}

/// Numbers that look like any, from a seed.
fn mixed(seed: u64, index: usize) -> u64 {
    let mut z = seed.wrapping_add((index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 27)
}

fn text(seed: u64, index: usize) -> &'static [u8] {
    let texts = [
        "",
        "a",
        "größe",
        "\"quoted\\\"",
        "\u{0}\n\t",
        "😀",
        "]}, {[",
    ];
    texts[(mixed(seed, index) % 7) as usize].as_bytes()
}

/// Bytes of an element; floating-point numbers are no NaN, whose bits JSON does not keep.
fn element(dtype: DType, bits: u64) -> [u8; 8] {
    let bits = match dtype {
        DType::Bool => bits & 1,
        DType::F16 if bits & 0x7c00 == 0x7c00 => bits & !0x3ff,
        DType::F32 if (bits as u32) & 0x7f80_0000 == 0x7f80_0000 => bits & !0x7f_ffff,
        DType::F64 if f64::from_bits(bits).is_nan() => bits & !((1 << 52) - 1),
        _ => bits,
    };
    bits.to_le_bytes()
}

/// The keys of an input, in an order that a number chooses.
fn input(tensor: &Tensor, data: &str, order: usize) -> String {
    let shape = format!("{:?}", tensor.shape());
    let mut keys = vec![
        "\"name\":\"x\"".to_owned(),
        format!("\"datatype\": \"{}\"", datatype::name(tensor.dtype())),
        format!("\"shape\" :{shape}"),
        data.to_owned(),
        "\"unknown\":[{\"a\":[\"]\"]},null,1e5]".to_owned(),
    ];
    let mut text = String::from("{");
    let mut order = order;
    while !keys.is_empty() {
        let key = keys.remove(order % keys.len());
        order /= keys.len() + 1;
        write!(text, "{key}{}", if keys.is_empty() { "}" } else { " , " }).unwrap();
    }
    text
}

fn in_json(tensor: &Tensor, order: usize, nested: bool) -> String {
    let mut data = b"\"data\":".to_vec();
    if nested {
        write_nested(tensor, &mut data).unwrap();
    } else {
        write_data(tensor, &mut data).unwrap();
    }
    let data = String::from_utf8(data).unwrap();
    format!(
        "{{\"id\":\"i\",\"inputs\":[{}]}}",
        input(tensor, &data, order)
    )
}

fn in_binary(tensor: &Tensor, order: usize) -> (Vec<u8>, usize) {
    let size = tensor.data().len();
    let data = format!("\"parameters\":{{\"binary_data_size\":{size}}}");
    let json = format!("{{\"inputs\":[{}]}}", input(tensor, &data, order)).into_bytes();
    let length = json.len();
    ([json, tensor.data().to_vec()].concat(), length)
}

fn only_input(request: InferRequest) -> Tensor {
    let [tensor] = <[Tensor; 1]>::try_from(request.inputs).unwrap();
    tensor
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same_whatever_the_order_of_keys(
        tensor in tensor(), order in any::<usize>(), nested in any::<bool>()
    ) {
        prop_assume!(tensor.dtype() != DType::BF16);
        let text = in_json(&tensor, order, nested);
        let request = decode(&Bytes::from(text.clone()), None);
        let request = request.unwrap_or_else(|refusal| panic!("{refusal}: {text}"));
        prop_assert_eq!(request.id.as_deref(), Some("i"));
        prop_assert_eq!(only_input(request), tensor);
    }

    #[test]
    fn binary_data_are_a_window_into_the_body(tensor in tensor(), order in any::<usize>()) {
        let (body, length) = in_binary(&tensor, order);
        let body = Bytes::from(body);
        let read = only_input(decode(&body, Some(length)).unwrap());
        prop_assert_eq!(&read, &tensor);
        if !read.data().is_empty() {
            prop_assert_eq!(read.data().as_ptr(), body[length..].as_ptr());
        }
    }

    #[test]
    fn a_request_that_is_cut_anywhere_is_refused(
        tensor in tensor(), order in any::<usize>(), nested in any::<bool>()
    ) {
        if tensor.dtype() != DType::BF16 {
            let text = in_json(&tensor, order, nested).into_bytes();
            for end in 0..text.len() {
                prop_assert!(read(&text[..end]).is_err(), "{}", end);
            }
        }
        let (body, length) = in_binary(&tensor, order);
        let body = Bytes::from(body);
        for end in 0..body.len() {
            prop_assert!(decode(&body.slice(..end), Some(length)).is_err(), "{}", end);
        }
        for wrong in [0, length - 1, length + 1, body.len() + 1, usize::MAX] {
            // A header that says too little or too much leaves no JSON, or other data.
            let right = wrong == length + 1 && body.len() > length && body[length] == b' ';
            prop_assert!(decode(&body, Some(wrong)).is_err() || right, "{}", wrong);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..300), header in any::<usize>()) {
        let body = Bytes::from(body);
        let _ = decode(&body, None);
        let _ = decode(&body, Some(header % 400));
    }

    #[test]
    fn no_change_of_a_byte_makes_it_panic(
        tensor in tensor(), order in any::<usize>(), at in any::<usize>(), byte in any::<u8>()
    ) {
        prop_assume!(tensor.dtype() != DType::BF16);
        let mut text = in_json(&tensor, order, true).into_bytes();
        let at = at % text.len();
        text[at] = byte;
        let _ = decode(&Bytes::from(text), None);
    }

    #[test]
    fn no_shape_makes_it_panic_or_take_more_memory_than_the_text(
        shape in prop::collection::vec(
            prop_oneof![Just(0i128), Just(-1), Just(1), Just(1 << 31), Just(i128::from(u64::MAX)), any::<i128>()],
            0..40,
        ),
        data in "(\\[|\\]|1|,){0,20}",
    ) {
        for dtype in DType::ALL {
            let datatype = datatype::name(dtype);
            let text = format!(
                r#"{{"inputs":[{{"name":"x","datatype":"{datatype}","shape":{shape:?},"data":[{data}]}}]}}"#
            );
            let _ = read(text.as_bytes());
        }
    }
}

#[test]
fn an_empty_tensor_in_binary_needs_no_header_and_its_data_may_be_null() {
    let text = r#"{"inputs":[{"name":"x","data":null,"shape":[2,0],"datatype":"FP32",
        "parameters":{"binary_data_size":0}}]}"#;
    let read = only_input(decode(&Bytes::from(text), None).unwrap());
    assert_eq!(
        (read.shape(), read.data()),
        ([2, 0].as_slice(), [].as_slice())
    );
    let text = text.replace("\"binary_data_size\":0", "");
    let refusal = decode(&Bytes::from(text), None).unwrap_err();
    assert!(refusal.message().contains("no data"), "{refusal}");
}

#[test]
fn a_shape_that_cannot_be_addressed_is_refused_and_one_with_a_zero_is_empty() {
    let request = |shape: &str, data: &str| {
        let text = format!(
            r#"{{"inputs":[{{"name":"x","datatype":"FP64","shape":{shape},"data":{data}}}]}}"#
        );
        decode(&Bytes::from(text), None)
    };
    let huge = request("[4294967296,4294967296,4294967296]", "[1]").unwrap_err();
    assert!(huge.message().contains("too large to address"), "{huge}");
    let many = request("[1000000000000]", "[1]").unwrap_err();
    assert!(many.message().contains("data has 1 elements"), "{many}");
    let empty = only_input(request("[18446744073709551615,0]", "[]").unwrap());
    assert!(empty.data().is_empty());
    let ranks = format!("[{}1]", "1,".repeat(64));
    assert!(
        request(&ranks, "[1]")
            .unwrap_err()
            .message()
            .contains("dimensions")
    );
}

#[test]
fn lists_must_be_nested_as_the_shape_is_or_not_at_all() {
    let request = |shape: &str, data: &str| {
        let text = format!(
            r#"{{"inputs":[{{"data":{data},"name":"x","datatype":"INT8","shape":{shape}}}]}}"#
        );
        decode(&Bytes::from(text), None)
    };
    for (shape, data) in [
        ("[]", "7"),
        ("[]", "[7]"),
        ("[2,2]", "[1,2,3,4]"),
        ("[2,2]", "[[1,2],[3,4]]"),
        ("[2,0]", "[[],[]]"),
        ("[1,1,1]", "[ [ [ 1 ] ] ]"),
    ] {
        assert!(request(shape, data).is_ok(), "{shape} {data}");
    }
    for (shape, data, words) in [
        ("[2,2]", "[[1,2,3,4]]", "dimension 1"),
        ("[2,2]", "[[1],[2,3,4]]", "dimension 1"),
        ("[2,2]", "[[1,2],[3,4],[]]", "dimension"),
        ("[2,2]", "[[1,2],3,4]", "not nested"),
        ("[2,2]", "[1,[2,3],4]", "data[1] is [2"),
        ("[4]", "[[1,2,3,4]]", "not nested"),
        ("[1,1,1]", "[[1]]", "not nested"),
        ("[2]", "[1,200]", "which INT8 cannot hold"),
        ("[2]", "[1,1.5]", "which INT8 cannot hold"),
        ("[2]", "5", "an array"),
        ("[]", "[[7]]", "not nested"),
    ] {
        let refusal = request(shape, data).unwrap_err();
        assert!(
            refusal.message().contains(words),
            "{shape} {data}: {refusal}"
        );
    }
}
