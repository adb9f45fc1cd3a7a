"""Writes the models with which the benchmarks measure the serving of tensors, into a folder.

    .test/clients/bin/python benches/models/make_tensors.py FOLDER

- `identity`: gives back what it gets, `image`, float32 [N, 3, 32, 32] (12,288 bytes a row): only overhead.
- `free`: the same with every dimension free, [N, M]: for requests of varying shapes.
- `resnet18`: the layers of ResNet-18, float32 [N, 3, 224, 224] (602,112 bytes a row) to [N, 1000].
- `medium`: the same layers for pictures of 96 by 96: some milliseconds a row.

The weights are drawn with a fixed seed and scaled so that numbers stay within bounds; nobody asks what
the answers mean. 45 MB each, which is why they are not kept.
"""

import sys
from pathlib import Path

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

# Those of the other models; see tests/models/make_killers.py.
IR_VERSION = 9
OPSET = 18
SEED = 18
# Channels of the four stages; the first convolution of each but the first halves the picture.
STAGES = (64, 128, 256, 512)
CLASSES = 1000


class Layers:
    """The nodes and weights of a network, as they are added."""

    def __init__(self):
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._random = numpy.random.default_rng(SEED)

    def weight(self, *shape: int) -> str:
        """Adds weights of both signs, scaled by how many of them meet in one number."""
        reach = numpy.prod(shape[1:], dtype=float)
        array = self._random.standard_normal(shape, dtype=numpy.float32) * numpy.float32(reach**-0.5)
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def add(self, kind: str, *inputs: str, **attributes) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"{name}_{kind}", **attributes))
        return name

    def convolve(self, value: str, given: int, made: int, side: int, stride: int = 1) -> str:
        edge = side // 2
        bias = self.weight(made, 1)
        flat = self.add("Reshape", bias, "minus_one")
        return self.add(
            "Conv",
            value,
            self.weight(made, given, side, side),
            flat,
            kernel_shape=[side, side],
            strides=[stride, stride],
            pads=[edge] * 4,
        )

    def block(self, value: str, given: int, made: int, stride: int) -> str:
        """Adds two convolutions and the way around them."""
        inner = self.add("Relu", self.convolve(value, given, made, 3, stride))
        inner = self.convolve(inner, made, made, 3)
        around = value if (given, stride) == (made, 1) else self.convolve(value, given, made, 1, stride)
        return self.add("Relu", self.add("Add", inner, around))


def resnet(side: int) -> onnx.ModelProto:
    layers = Layers()
    layers.weights.append(numpy_helper.from_array(numpy.array([-1], dtype=numpy.int64), "minus_one"))
    value = layers.add("Relu", layers.convolve("image", 3, STAGES[0], 7, 2))
    value = layers.add("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    given = STAGES[0]
    for made in STAGES:
        for stride in (1 if made == STAGES[0] else 2, 1):
            value = layers.block(value, given, made, stride)
            given = made
    value = layers.add("Flatten", layers.add("GlobalAveragePool", value))
    layers.nodes.append(
        helper.make_node("Gemm", [value, layers.weight(CLASSES, given)], ["scores"], name="last", transB=1)
    )
    return model(layers.nodes, [3, side, side], [CLASSES], "scores", layers.weights)


def identity(*dims) -> onnx.ModelProto:
    return model([helper.make_node("Identity", ["image"], ["scores"], name="same")], dims, dims, "scores")


def model(nodes: list, taken, given, output: str, weights=()) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "tensors",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *taken])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", *given])],
        list(weights),
    )
    made = helper.make_model(
        graph,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="impetus-benches",
    )
    onnx.checker.check_model(made, full_check=True)
    return made


def write(folder: Path) -> None:
    """Writes those that are not there yet."""
    models = {
        "identity": lambda: identity(3, 32, 32),
        "free": lambda: identity("M"),
        "resnet18": lambda: resnet(224),
        "medium": lambda: resnet(96),
    }
    for name, build in models.items():
        place = folder / name
        if (place / "model.toml").exists():
            continue
        place.mkdir(parents=True, exist_ok=True)
        (place / "model.onnx").write_bytes(build().SerializeToString(deterministic=True))
        (place / "model.toml").write_text(f'name = "{name}"\nversion = "1"\n')


if __name__ == "__main__":
    write(Path(sys.argv[1]))
