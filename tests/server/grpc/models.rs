//! Small models, written as protocol buffers by hand: each gives back what it gets.

use std::fs;
use std::path::Path;

use crate::contract::onnx::{Message, node, whole};
use crate::harness::{Server, Setup};

/// Every datatype of the protocol with ONNX's number for it.
pub const DATATYPES: [(&str, u64); 14] = [
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

/// Names of two dimensions of any extent.
const ANY: [&str; 2] = ["n", "k"];

/// A folder of models, one for each datatype under `echo_FP32` and so on: `y = x`, of any shape with
/// two dimensions; and `number`, which takes an FP32 without any.
pub fn setup() -> Setup {
    let setup = Setup::without_models();
    let models = setup.path().join("models");
    for (name, number) in DATATYPES {
        install(&models, &format!("echo_{name}"), number, &ANY);
    }
    install(&models, "number", 1, &[]);
    setup.set("models.workers", "1")
}

/// A server with one echo.
pub fn one(datatype: &str) -> Setup {
    let setup = Setup::without_models();
    let (_, number) = DATATYPES.into_iter().find(|d| d.0 == datatype).unwrap();
    let name = format!("echo_{datatype}");
    install(&setup.path().join("models"), &name, number, &ANY);
    setup.set("models.workers", "1")
}

/// Waits until every model is ready.
pub fn wait_for_all(server: &Server) {
    server.wait_for("every model", || {
        let models = server.status()["models"].clone();
        let models = models.as_array().unwrap();
        !models.is_empty() && models.iter().all(|model| model["state"] == "ready")
    });
}

fn install(models: &Path, name: &str, datatype: u64, shape: &[&str]) {
    let folder = models.join(name);
    fs::create_dir(&folder).unwrap();
    let graph = Message::default()
        .message(1, node("Identity", &["x"], "y"))
        .text(2, name)
        .message(11, value("x", datatype, shape))
        .message(12, value("y", datatype, shape));
    fs::write(folder.join("model.onnx"), whole(graph)).unwrap();
}

fn value(name: &str, datatype: u64, shape: &[&str]) -> Message {
    let shape = shape.iter().fold(Message::default(), |shape, dim| {
        shape.message(1, Message::default().text(2, dim))
    });
    let tensor = Message::default().number(1, datatype).message(2, shape);
    Message::default()
        .text(1, name)
        .message(2, Message::default().message(1, tensor))
}
