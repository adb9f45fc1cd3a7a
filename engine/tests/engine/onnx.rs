//! Writes ONNX files by hand: just enough protocol buffers for graphs of a node or two.
//!
//! Field numbers are those of `onnx.proto3`.

use impetus_engine::{DType, Dim};

/// A message under construction.
#[derive(Default, Clone)]
struct Message(Vec<u8>);

/// A graph under construction.
#[derive(Default)]
pub(crate) struct Graph {
    body: Message,
}

/// One node of a graph.
pub(crate) struct Node<'a> {
    pub(crate) op: &'a str,
    pub(crate) inputs: &'a [&'a str],
    pub(crate) outputs: &'a [&'a str],
}

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    fn message(self, field: u64, message: Message) -> Self {
        self.bytes(field, &message.0)
    }
}

impl Graph {
    pub(crate) fn node(mut self, node: Node<'_>) -> Self {
        let mut message = Message::default();
        for input in node.inputs {
            message = message.text(1, input);
        }
        for output in node.outputs {
            message = message.text(2, output);
        }
        self.body = self.body.message(1, message.text(4, node.op));
        self
    }

    pub(crate) fn constant(mut self, name: &str, dtype: DType, dims: &[u64], data: &[u8]) -> Self {
        let mut tensor = Message::default();
        for dim in dims {
            tensor = tensor.number(1, *dim);
        }
        tensor = tensor
            .number(2, element_type(dtype))
            .text(8, name)
            .bytes(9, data);
        self.body = self.body.message(5, tensor);
        self
    }

    pub(crate) fn input(self, name: &str, dtype: DType, dims: &[Dim]) -> Self {
        self.value(11, name, element_type(dtype), dims)
    }

    /// Declares an input of which nothing but the type is known.
    pub(crate) fn shapeless_input(mut self, name: &str, dtype: DType) -> Self {
        let tensor = Message::default().number(1, element_type(dtype));
        let value = Message::default()
            .text(1, name)
            .message(2, Message::default().message(1, tensor));
        self.body = self.body.message(11, value);
        self
    }

    pub(crate) fn output(self, name: &str, dtype: DType, dims: &[Dim]) -> Self {
        self.value(12, name, element_type(dtype), dims)
    }

    /// Declares an output of an element type that Impetus does not know.
    pub(crate) fn foreign_output(self, name: &str, element_type: u64, dims: &[Dim]) -> Self {
        self.value(12, name, element_type, dims)
    }

    /// Returns the file.
    pub(crate) fn build(self) -> Vec<u8> {
        let opset = Message::default().text(1, "").number(2, 17);
        Message::default()
            .number(1, 8)
            .message(7, self.body.text(2, "test"))
            .message(8, opset)
            .0
    }

    fn value(mut self, field: u64, name: &str, element_type: u64, dims: &[Dim]) -> Self {
        let shape = dims.iter().fold(Message::default(), |shape, dim| {
            let dim = match dim {
                Dim::Fixed(extent) => Message::default().number(1, *extent as u64),
                Dim::Free(Some(name)) => Message::default().text(2, name),
                Dim::Free(None) => Message::default(),
            };
            shape.message(1, dim)
        });
        let tensor = Message::default().number(1, element_type).message(2, shape);
        let value = Message::default()
            .text(1, name)
            .message(2, Message::default().message(1, tensor));
        self.body = self.body.message(field, value);
        self
    }
}

fn element_type(dtype: DType) -> u64 {
    match dtype {
        DType::F32 => 1,
        DType::U8 => 2,
        DType::I8 => 3,
        DType::U16 => 4,
        DType::I16 => 5,
        DType::I32 => 6,
        DType::I64 => 7,
        DType::Bytes => 8,
        DType::Bool => 9,
        DType::F16 => 10,
        DType::F64 => 11,
        DType::U32 => 12,
        DType::U64 => 13,
        DType::BF16 => 16,
    }
}

pub(crate) fn free(name: &str) -> Dim {
    Dim::Free(Some(name.to_owned()))
}

/// `y = x`, any length.
pub(crate) fn identity(dtype: DType) -> Vec<u8> {
    Graph::default()
        .input("x", dtype, &[free("n")])
        .output("y", dtype, &[free("n")])
        .node(Node {
            op: "Identity",
            inputs: &["x"],
            outputs: &["y"],
        })
        .build()
}

/// `sum = a + b` on rows of three.
pub(crate) fn add() -> Vec<u8> {
    let rows = [free("batch"), Dim::Fixed(3)];
    Graph::default()
        .input("a", DType::F32, &rows)
        .input("b", DType::F32, &rows)
        .output("sum", DType::F32, &rows)
        .node(Node {
            op: "Add",
            inputs: &["a", "b"],
            outputs: &["sum"],
        })
        .build()
}

/// `y` is `x` repeated as often as the input `times` says.
pub(crate) fn tile() -> Vec<u8> {
    Graph::default()
        .input("x", DType::U8, &[free("n")])
        .input("times", DType::I64, &[Dim::Fixed(1)])
        .output("y", DType::U8, &[free("m")])
        .node(Node {
            op: "Tile",
            inputs: &["x", "times"],
            outputs: &["y"],
        })
        .build()
}

/// `y = table[at]` from a table of four; other indices fail while running.
pub(crate) fn gather() -> Vec<u8> {
    let table: Vec<u8> = [10f32, 20.0, 30.0, 40.0]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    Graph::default()
        .input("at", DType::I64, &[free("n")])
        .output("y", DType::F32, &[free("n")])
        .constant("table", DType::F32, &[4], &table)
        .node(Node {
            op: "Gather",
            inputs: &["table", "at"],
            outputs: &["y"],
        })
        .build()
}

/// `y` is `x` as two rows of three, which works for six elements alone.
pub(crate) fn reshape() -> Vec<u8> {
    let target: Vec<u8> = [2i64, 3].iter().flat_map(|dim| dim.to_le_bytes()).collect();
    Graph::default()
        .input("x", DType::F32, &[free("n")])
        .output("y", DType::F32, &[Dim::Fixed(2), Dim::Fixed(3)])
        .constant("target", DType::I64, &[2], &target)
        .node(Node {
            op: "Reshape",
            inputs: &["x", "target"],
            outputs: &["y"],
        })
        .build()
}
