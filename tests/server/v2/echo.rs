//! Models that give back what they take.

use std::fs;

use crate::contract::onnx::{Message, node, whole};
use crate::harness::{Server, Setup};

/// Every datatype with its number in `onnx.proto3`.
pub const TYPES: [(&str, u64); 14] = [
    ("BOOL", 9),
    ("UINT8", 2),
    ("UINT16", 4),
    ("UINT32", 12),
    ("UINT64", 13),
    ("INT8", 3),
    ("INT16", 5),
    ("INT32", 6),
    ("INT64", 7),
    ("FP16", 10),
    ("BF16", 16),
    ("FP32", 1),
    ("FP64", 11),
    ("BYTES", 8),
];

/// Starts a server with `echo`, whose inputs `in_FP32` and so on come back as `out_FP32`; with
/// `pair`, which has one input `x` of rows of three FP32, and gives it back as `y`; and with the demo
/// model.
pub fn start() -> Server {
    start_with(Setup::new())
}

pub fn start_with(setup: Setup) -> Server {
    let of_types = TYPES.iter().map(|(name, number)| {
        (
            format!("in_{name}"),
            format!("out_{name}"),
            *number,
            vec![None, None],
        )
    });
    install(&setup, "echo", of_types.collect(), "");
    let row = vec![None, Some(3)];
    install(
        &setup,
        "triple",
        vec![("x".into(), "y".into(), 1, row)],
        "labels = [\"a\", \"b\"]",
    );
    let server = setup.start();
    server.wait_for("all models", || {
        let index = server.post(
            "/v2/repository/index",
            "application/json",
            br#"{"ready":true}"#,
        );
        index.status == 200
            && index
                .json()
                .as_array()
                .is_some_and(|index| index.len() == 3)
    });
    server
}

/// An input, the output as which it comes back, the number of its type, and its shape.
pub type Through = (String, String, u64, Vec<Option<u64>>);

pub fn install(setup: &Setup, name: &str, through: Vec<Through>, description: &str) {
    let mut graph = Message::default();
    for (input, output, _, _) in &through {
        graph = graph.message(1, node("Identity", &[input], output));
    }
    graph = graph.text(2, name);
    for (input, _, element, shape) in &through {
        graph = graph.message(11, value(input, *element, shape));
    }
    for (_, output, element, shape) in &through {
        graph = graph.message(12, value(output, *element, shape));
    }
    let folder = setup.path().join("models").join(name);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("model.onnx"), whole(graph)).unwrap();
    fs::write(folder.join("model.toml"), description).unwrap();
}

fn value(name: &str, element: u64, shape: &[Option<u64>]) -> Message {
    let mut dims = Message::default();
    for (index, extent) in shape.iter().enumerate() {
        let dim = match extent {
            Some(extent) => Message::default().number(1, *extent),
            None => Message::default().text(2, &format!("d{index}")),
        };
        dims = dims.message(1, dim);
    }
    let tensor = Message::default().number(1, element).message(2, dims);
    Message::default()
        .text(1, name)
        .message(2, Message::default().message(1, tensor))
}
