//! A model that fails at run time for certain inputs, written as protocol buffers by hand.
//!
//! It takes four numbers, cuts their fractions off and looks each up in a table of four, so that a
//! number outside 0 to 3 is no place in the table and the run fails: `y = table[int64(x)]`.
//! Field numbers are those of `onnx.proto3`.

use std::fs;
use std::path::Path;

const FLOAT: u64 = 1;
const INT64: u64 = 7;

/// A message under construction.
#[derive(Default)]
pub struct Message(pub Vec<u8>);

// === impl Message ===

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    pub fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    pub fn message(self, field: u64, message: Self) -> Self {
        self.bytes(field, &message.0)
    }
}

/// Puts the model into a folder of models under the name `fussy`.
pub fn install_fussy_model(models: &Path) {
    let folder = models.join("fussy");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("model.onnx"), fussy()).unwrap();
}

fn fussy() -> Vec<u8> {
    let to_int = Message::default()
        .text(1, "to")
        .number(3, INT64)
        .number(20, 2);
    let cast = node("Cast", &["x"], "places").message(5, to_int);
    let table: Vec<u8> = [0.1_f32, 0.2, 0.3, 0.4]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    let table = Message::default()
        .number(1, 4)
        .number(2, FLOAT)
        .text(8, "table")
        .bytes(9, &table);
    let graph = Message::default()
        .message(1, cast)
        .message(1, node("Gather", &["table", "places"], "y"))
        .text(2, "fussy")
        .message(5, table)
        .message(11, four_floats("x"))
        .message(12, four_floats("y"));
    whole(graph)
}

/// Returns the file of a model that is this graph.
pub fn whole(graph: Message) -> Vec<u8> {
    let opset = Message::default().text(1, "").number(2, 17);
    let model = Message::default().number(1, 8);
    model.message(7, graph).message(8, opset).0
}

pub fn node(op: &str, inputs: &[&str], output: &str) -> Message {
    let inputs = inputs
        .iter()
        .fold(Message::default(), |node, input| node.text(1, input));
    inputs.text(2, output).text(4, op)
}

fn four_floats(name: &str) -> Message {
    let dim = |size| Message::default().number(1, size);
    let shape = Message::default().message(1, dim(1)).message(1, dim(4));
    let tensor = Message::default().number(1, FLOAT).message(2, shape);
    Message::default()
        .text(1, name)
        .message(2, Message::default().message(1, tensor))
}
