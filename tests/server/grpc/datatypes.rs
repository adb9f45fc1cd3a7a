//! What goes in comes out: every datatype, every way, the smallest and the large.

use impetus::grpc::proto::infer_parameter::ParameterChoice;
use impetus::grpc::proto::{InferTensorContents, ModelInferRequest, ModelInferResponse};

use super::client::{Client, parameters, raw, wanted};
use super::models::{self, DATATYPES, wait_for_all};

/// Returns the one output of an answer.
fn output(answer: &ModelInferResponse) -> (&str, &[i64], &[u8]) {
    assert_eq!(
        (answer.outputs.len(), answer.raw_output_contents.len()),
        (1, 1)
    );
    let output = &answer.outputs[0];
    assert_eq!(output.name, "y");
    (
        &output.datatype,
        &output.shape,
        &answer.raw_output_contents[0],
    )
}

/// Six elements of a datatype, none like the other where that is possible.
fn six(datatype: &str) -> Vec<u8> {
    let width = match datatype {
        "BYTES" => {
            let strings: [&[u8]; 6] = [b"", b"a", b"a\0b", &[0xff, 0xfe], "größe".as_bytes(), b"z"];
            let lengths = strings
                .iter()
                .map(|s| u32::try_from(s.len()).unwrap().to_le_bytes());
            let pairs = lengths.zip(strings);
            return pairs
                .flat_map(|(length, s)| [length.as_slice(), s].concat())
                .collect();
        }
        "BOOL" => return vec![0, 1, 1, 0, 1, 0],
        "UINT8" | "INT8" => 1,
        "UINT16" | "INT16" | "FP16" | "BF16" => 2,
        "UINT32" | "INT32" | "FP32" => 4,
        _ => 8,
    };
    (0..6 * width)
        .map(|index| (index * 37 + 11) as u8)
        .collect()
}

#[test]
fn every_datatype_comes_back_as_it_went_to_the_bit() {
    let server = models::setup().start();
    wait_for_all(&server);
    let client = Client::of(&server);
    for (datatype, _) in DATATYPES {
        let model = format!("echo_{datatype}");
        let data = six(datatype);
        let answer = client
            .infer(raw(&model, datatype, &[2, 3], data.clone()))
            .unwrap();
        assert_eq!(
            output(&answer),
            (datatype, [2, 3].as_slice(), data.as_slice())
        );
        assert_eq!(
            (answer.model_name, answer.model_version),
            (model.clone(), "1".to_owned())
        );
        // Nothing at all is a tensor as well.
        for empty in [[0, 3], [2, 0], [0, 0]] {
            let answer = client.infer(raw(&model, datatype, &empty, vec![])).unwrap();
            assert_eq!(output(&answer), (datatype, empty.as_slice(), [].as_slice()));
        }
    }
    let number = 41.5_f32.to_le_bytes();
    let answer = client
        .infer(raw("number", "FP32", &[], number.to_vec()))
        .unwrap();
    assert_eq!(output(&answer), ("FP32", [].as_slice(), number.as_slice()));
}

fn typed(datatype: &str, contents: InferTensorContents) -> ModelInferRequest {
    let mut request = raw(&format!("echo_{datatype}"), datatype, &[1, 2], vec![]);
    request.raw_input_contents.clear();
    request.inputs[0].contents = Some(contents);
    request
}

#[test]
fn elements_that_are_written_out_are_understood_and_the_answer_is_raw() {
    let server = models::setup().start();
    wait_for_all(&server);
    let client = Client::of(&server);
    let none = InferTensorContents::default;
    let cases: Vec<(&str, InferTensorContents, Vec<u8>)> = vec![
        (
            "BOOL",
            InferTensorContents {
                bool_contents: vec![true, false],
                ..none()
            },
            vec![1, 0],
        ),
        (
            "INT8",
            InferTensorContents {
                int_contents: vec![-128, 127],
                ..none()
            },
            vec![0x80, 0x7f],
        ),
        (
            "INT16",
            InferTensorContents {
                int_contents: vec![-2, 258],
                ..none()
            },
            vec![0xfe, 0xff, 2, 1],
        ),
        (
            "INT32",
            InferTensorContents {
                int_contents: vec![-1, 1],
                ..none()
            },
            vec![255, 255, 255, 255, 1, 0, 0, 0],
        ),
        (
            "INT64",
            InferTensorContents {
                int64_contents: vec![i64::MIN, 1],
                ..none()
            },
            [i64::MIN, 1].map(i64::to_le_bytes).concat(),
        ),
        (
            "UINT8",
            InferTensorContents {
                uint_contents: vec![0, 255],
                ..none()
            },
            vec![0, 255],
        ),
        (
            "UINT16",
            InferTensorContents {
                uint_contents: vec![1, 65535],
                ..none()
            },
            vec![1, 0, 255, 255],
        ),
        (
            "UINT32",
            InferTensorContents {
                uint_contents: vec![1, u32::MAX],
                ..none()
            },
            [1, u32::MAX].map(u32::to_le_bytes).concat(),
        ),
        (
            "UINT64",
            InferTensorContents {
                uint64_contents: vec![1, u64::MAX],
                ..none()
            },
            [1, u64::MAX].map(u64::to_le_bytes).concat(),
        ),
        (
            "FP32",
            InferTensorContents {
                fp32_contents: vec![0.5, f32::NEG_INFINITY],
                ..none()
            },
            [0.5, f32::NEG_INFINITY].map(f32::to_le_bytes).concat(),
        ),
        (
            "FP64",
            InferTensorContents {
                fp64_contents: vec![0.1, -0.0],
                ..none()
            },
            [0.1_f64, -0.0].map(f64::to_le_bytes).concat(),
        ),
        (
            "BYTES",
            InferTensorContents {
                bytes_contents: vec![vec![0xff].into(), vec![].into()],
                ..none()
            },
            vec![1, 0, 0, 0, 0xff, 0, 0, 0, 0],
        ),
    ];
    for (datatype, contents, expected) in cases {
        let answer = client.infer(typed(datatype, contents)).unwrap();
        assert_eq!(
            output(&answer),
            (datatype, [1, 2].as_slice(), expected.as_slice())
        );
    }
}

#[test]
fn a_tensor_of_64_megabytes_goes_there_and_back() {
    let server = models::one("UINT8")
        .set("models.slot_bytes", "\"80MiB\"")
        .set("models.output_cap", "\"80MiB\"")
        .start_ready();
    let client = Client::of(&server);
    let data: Vec<u8> = (0..64_000_000_u32)
        .map(|index| (index % 251) as u8)
        .collect();
    let data = bytes::Bytes::from(data);
    let answer = client
        .infer(raw("echo_UINT8", "UINT8", &[1, 64_000_000], data.clone()))
        .unwrap();
    let (_, shape, returned) = output(&answer);
    assert_eq!(shape, [1, 64_000_000]);
    assert!(returned == &data[..], "the bytes differ");
}

#[test]
fn outputs_come_as_they_are_asked_for_and_the_id_comes_back() {
    let server = models::one("FP32").start_ready();
    let client = Client::of(&server);
    let numbers = [0.25_f32, 4.0, -1.0, 9.0].map(f32::to_le_bytes).concat();
    let mut request = raw("echo_FP32", "FP32", &[2, 2], numbers);
    request.id = "the one".to_owned();
    request.outputs = vec![wanted("y")];
    request.outputs[0].parameters = parameters("classification", ParameterChoice::Int64Param(1));
    let answer = client.infer(request).unwrap();
    assert_eq!(answer.id, "the one");
    let (datatype, shape, strings) = output(&answer);
    assert_eq!((datatype, shape), ("BYTES", [2, 1].as_slice()));
    assert_eq!(strings, b"\x0a\0\0\x004.000000:1\x0a\0\0\x009.000000:1");
}
