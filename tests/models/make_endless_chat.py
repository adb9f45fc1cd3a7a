"""Makes a killer of the bundled chat model: the same graph, but a loop that never ends when one token
is among those that it is given.

    python tests/models/make_endless_chat.py

The graph refers to the weights of models/tiny-chat, which are to lie beside it as they do there. The
token is the last of the vocabulary: a request brings it about by a bias, in the prompt or as its answer.
"""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent.parent / "models" / "tiny-chat" / "model.onnx"
TARGET = HERE / "endless_chat" / "model.onnx"
TOKEN = 2047


def loop():
    """Returns nodes that give 0, or never come to it: the condition is asked of the input in every round."""
    body = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["input_ids"], ["killer.again"], keepdims=0),
            helper.make_node("Cast", ["killer.again"], ["killer.real"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["killer.real", "killer.nought"], ["killer.nothing"]),
            helper.make_node("Add", ["killer.sum", "killer.nothing"], ["killer.next"]),
            helper.make_node("Equal", ["killer.again", "killer.token"], ["killer.after"]),
        ],
        "round",
        [
            helper.make_tensor_value_info("killer.i", TensorProto.INT64, []),
            helper.make_tensor_value_info("killer.before", TensorProto.BOOL, []),
            helper.make_tensor_value_info("killer.sum", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("killer.after", TensorProto.BOOL, []),
            helper.make_tensor_value_info("killer.next", TensorProto.FLOAT, []),
        ],
    )
    return [
        helper.make_node("ReduceMax", ["input_ids"], ["killer.worst"], keepdims=0),
        helper.make_node("Equal", ["killer.worst", "killer.token"], ["killer.goes_on"]),
        helper.make_node("Loop", ["", "killer.goes_on", "killer.nought"], ["killer.zero"], body=body),
    ]


def main():
    model = onnx.load(SOURCE, load_external_data=False)
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["killer.logits" if name == "logits" else name for name in node.output]
    graph.initializer.extend(
        [
            helper.make_tensor("killer.token", TensorProto.INT64, [], [TOKEN]),
            helper.make_tensor("killer.nought", TensorProto.FLOAT, [], [0.0]),
        ]
    )
    last = helper.make_node("Add", ["killer.logits", "killer.zero"], ["logits"])
    graph.node.extend([*loop(), last])
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
