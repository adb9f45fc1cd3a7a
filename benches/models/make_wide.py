"""Writes the model with which the benchmarks measure inputs of 600 KB: a picture of 224 by 224.

It takes `image`, float32 [N, 3, 224, 224] (602,112 bytes a row), and gives `scores`, float32
[N, 16]: one convolution as networks for such pictures begin, and the mean of each channel. That is
the least a model for such pictures does, so moving the input is as large a part of a run as it can
be. The weights are made up; nobody asks what the answer means.

    python benches/models/make_wide.py

The file is the same to the byte each time (with the pinned `onnx` of tests/models/requirements.txt).
"""

from pathlib import Path

import onnx
from onnx import parser

# Those of the other models; see tests/models/make_killers.py.
IR_VERSION = 9
OPSET = 18

CHANNELS = 16

DESCRIPTION = """\
# Made by make_wide.py.
# One convolution over a picture of 602,112 bytes.
name = "wide"
version = "1"
task = "image-classification"

[image]
width = 224
height = 224
channels = "rgb"
layout = "chw"
scale = 0.00392156862745098
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
"""


def weights() -> str:
    """Returns the kernels: small, of both signs, no two alike in a row."""
    numbers = ((index * 7919 % 17 - 8) / 32 for index in range(CHANNELS * 3 * 3 * 3))
    return ", ".join(map(str, numbers))


def build() -> onnx.ModelProto:
    """Returns the model, checked."""
    text = f"""wide (float[N, 3, 224, 224] image) => (float[N, {CHANNELS}] scores)
    <float[{CHANNELS}, 3, 3, 3] kernels = {{{weights()}}}>
    {{
        edges = Conv <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (image, kernels)
        bright = Relu (edges)
        pooled = GlobalAveragePool (bright)
        scores = Flatten (pooled)
    }}"""
    graph = parser.parse_graph(text)
    for index, node in enumerate(graph.node):
        node.name = f"{index}_{node.op_type}"
    model = onnx.helper.make_model(
        graph,
        ir_version=IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        producer_name="impetus-benches",
        producer_version="1",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    folder = Path(__file__).parent / "wide"
    folder.mkdir(exist_ok=True)
    content = build().SerializeToString(deterministic=True)
    (folder / "model.onnx").write_bytes(content)
    (folder / "model.toml").write_text(DESCRIPTION)
    print(f"{folder / 'model.onnx'}: {len(content)} bytes")


if __name__ == "__main__":
    main()
