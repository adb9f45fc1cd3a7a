"""Makes the graphs that the tests of text generation run: a small decoder in two forms.

`shared.onnx` keeps keys and values in one buffer by GroupQueryAttention, as onnxruntime-genai's
builder writes it; `concatenating.onnx` gives past and present as tensors of their own and takes
position ids, as Optimum writes it. The weights are random, by a fixed seed, and the same in both.
`refusing.onnx` is one that takes no chunk of a prompt behind another.

    python3 engine/tests/generation/make_graphs.py
"""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

LAYERS, HIDDEN, INNER, VOCABULARY = 2, 32, 48, 64
HEADS, KV_HEADS, HEAD_DIM = 4, 2, 16
POSITIONS = 64
CONTRIB = "com.microsoft"


class Graph:
    """A graph under construction."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, name, values):
        if all(known.name != name for known in self.constants):
            self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, op, inputs, outputs, domain="", **attributes):
        outputs = [outputs] if isinstance(outputs, str) else outputs
        name = outputs[0]
        self.nodes.append(
            helper.make_node(op, inputs, outputs, name=name, domain=domain, **attributes)
        )
        return name

    def matmul(self, x, weight, name):
        return self.node("MatMul", [x, self.constant(f"{name}.weight", weight)], name)


def weights():
    """Returns every weight; scales are such that the scores differ well and depend on all tokens."""
    random = np.random.default_rng(20240607)

    def normal(*shape, scale):
        return (random.standard_normal(shape) * scale).astype(np.float32)

    layers = []
    for _ in range(LAYERS):
        layers.append(
            {
                "qkv": normal(HIDDEN, (HEADS + 2 * KV_HEADS) * HEAD_DIM, scale=0.35),
                "out": normal(HEADS * HEAD_DIM, HIDDEN, scale=0.3),
                "up": normal(HIDDEN, INNER, scale=0.2),
                "down": normal(INNER, HIDDEN, scale=0.2),
            }
        )
    half = HEAD_DIM // 2
    angles = np.outer(np.arange(POSITIONS), 100.0 ** (-np.arange(half) / half))
    return {
        "embed": normal(VOCABULARY, HIDDEN, scale=1.0),
        "head": normal(HIDDEN, VOCABULARY, scale=0.6),
        "layers": layers,
        "cos": np.cos(angles).astype(np.float32),
        "sin": np.sin(angles).astype(np.float32),
    }


def normalised(graph, x, name):
    scale = graph.constant("ones", np.ones(HIDDEN, np.float32))
    return graph.node("SimplifiedLayerNormalization", [x, scale], name, epsilon=1e-5)


def body(graph, parameters, attention):
    """Adds everything but the attention, which `attention` adds for each layer."""
    x = graph.node("Gather", [graph.constant("embed", parameters["embed"]), "input_ids"], "x")
    for index, layer in enumerate(parameters["layers"]):
        name = f"layer{index}"
        normed = normalised(graph, x, f"{name}.norm1")
        qkv = graph.matmul(normed, layer["qkv"], f"{name}.qkv")
        attended = attention(graph, index, qkv)
        projected = graph.matmul(attended, layer["out"], f"{name}.out")
        x = graph.node("Add", [x, projected], f"{name}.x1")
        up = graph.matmul(normalised(graph, x, f"{name}.norm2"), layer["up"], f"{name}.up")
        down = graph.matmul(graph.node("Tanh", [up], f"{name}.tanh"), layer["down"], f"{name}.down")
        x = graph.node("Add", [x, down], f"{name}.x2")
    last = normalised(graph, x, "norm")
    head = graph.constant("head", parameters["head"])
    graph.node("MatMul", [last, head], "logits")


def shared(parameters):
    graph = Graph()
    axis = graph.constant("axis", np.array([1], np.int64))
    one = graph.constant("one", np.array(1, np.int64))
    sums = graph.node("ReduceSum", ["attention_mask", axis], "sums", keepdims=0)
    less = graph.node("Sub", [sums, one], "sums.less")
    lengths = graph.node("Cast", [less], "lengths", to=TensorProto.INT32)
    shape = graph.node("Shape", ["attention_mask"], "mask.shape")
    total = graph.node("Gather", [shape, one], "total.long")
    total = graph.node("Cast", [total], "total", to=TensorProto.INT32)
    cos = graph.constant("cos", parameters["cos"])
    sin = graph.constant("sin", parameters["sin"])

    def attention(graph, index, qkv):
        past = [f"past_key_values.{index}.{side}" for side in ("key", "value")]
        present = [f"present.{index}.{side}" for side in ("key", "value")]
        return graph.node(
            "GroupQueryAttention",
            [qkv, "", "", *past, lengths, total, cos, sin],
            [f"layer{index}.attended", *present],
            domain=CONTRIB,
            num_heads=HEADS,
            kv_num_heads=KV_HEADS,
            do_rotary=1,
            rotary_interleaved=0,
        )

    body(graph, parameters, attention)
    return model(graph, positions=False)


def concatenating(parameters):
    graph = Graph()
    cos = graph.constant("cos", parameters["cos"])
    sin = graph.constant("sin", parameters["sin"])
    minus = graph.constant("minus", np.array(-1e9, np.float32))
    zero = graph.constant("zero", np.array(0, np.float32))
    # A key at position j is seen from position i if j <= i.
    shape = graph.node("Shape", ["attention_mask"], "mask.shape")
    one = graph.constant("one", np.array(1, np.int64))
    none = graph.constant("none", np.array(0, np.int64))
    total = graph.node("Gather", [shape, one], "total")
    keys = graph.node("Range", [none, total, one], "keys")
    last = graph.constant("last", np.array([2], np.int64))
    queries = graph.node("Unsqueeze", ["position_ids", last], "queries")
    hidden = graph.node("Greater", [keys, queries], "hidden")
    bias = graph.node("Where", [hidden, minus, zero], "bias.flat")
    heads_axis = graph.constant("heads.axis", np.array([1], np.int64))
    bias = graph.node("Unsqueeze", [bias, heads_axis], "bias")
    scale = graph.constant("scale", np.array(HEAD_DIM**-0.5, np.float32))
    sizes = [count * HEAD_DIM for count in (HEADS, KV_HEADS, KV_HEADS)]
    sizes = graph.constant("sizes", np.array(sizes, np.int64))

    def heads(x, count, name):
        split = graph.constant(f"split{count}", np.array([0, 0, count, HEAD_DIM], np.int64))
        rows = graph.node("Reshape", [x, split], f"{name}.rows")
        return graph.node("Transpose", [rows], f"{name}.heads", perm=[0, 2, 1, 3])

    def repeated(x, name):
        """Every head of keys or values is used by as many heads of queries."""
        indices = np.repeat(np.arange(KV_HEADS), HEADS // KV_HEADS).astype(np.int64)
        repeat = graph.constant("repeat", indices)
        return graph.node("Gather", [x, repeat], f"{name}.repeated", axis=1)

    def attention(graph, index, qkv):
        name = f"layer{index}"
        parts = [f"{name}.{side}" for side in ("q", "k", "v")]
        graph.node("Split", [qkv, sizes], parts, axis=2)

        def turned(side, count):
            x = heads(f"{name}.{side}", count, f"{name}.{side}")
            return graph.node(
                "RotaryEmbedding",
                [x, "position_ids", cos, sin],
                f"{name}.{side}.turned",
                domain=CONTRIB,
                interleaved=0,
            )

        query, key = turned("q", HEADS), turned("k", KV_HEADS)
        value = heads(f"{name}.v", KV_HEADS, f"{name}.v")
        present = {}
        for side, new in (("key", key), ("value", value)):
            past = f"past_key_values.{index}.{side}"
            present[side] = graph.node("Concat", [past, new], f"present.{index}.{side}", axis=2)
        keys = repeated(present["key"], f"{name}.key")
        keys = graph.node("Transpose", [keys], f"{name}.key.columns", perm=[0, 1, 3, 2])
        scores = graph.node("MatMul", [query, keys], f"{name}.scores")
        scores = graph.node("Mul", [scores, scale], f"{name}.scores.scaled")
        scores = graph.node("Add", [scores, bias], f"{name}.scores.seen")
        shares = graph.node("Softmax", [scores], f"{name}.shares", axis=-1)
        values = repeated(present["value"], f"{name}.value")
        mixed = graph.node("MatMul", [shares, values], f"{name}.mixed")
        mixed = graph.node("Transpose", [mixed], f"{name}.mixed.rows", perm=[0, 2, 1, 3])
        join = graph.constant("join", np.array([0, 0, HEADS * HEAD_DIM], np.int64))
        return graph.node("Reshape", [mixed, join], f"{name}.attended")

    body(graph, parameters, attention)
    return model(graph, positions=True)


def refusing(parameters):
    """A decoder that knows but the last token, and takes several only where there are none before."""
    graph = Graph()
    embed = graph.constant("embed", parameters["embed"])
    x = graph.node("Gather", [embed, "input_ids"], "x")
    split = graph.constant("split", np.array([0, 0, KV_HEADS, HEAD_DIM], np.int64))
    rows = graph.node("Reshape", [x, split], "rows")
    new = graph.node("Transpose", [rows], "new", perm=[0, 2, 1, 3])
    for index in range(LAYERS):
        for side in ("key", "value"):
            name = f"{index}.{side}"
            graph.node("Concat", [f"past_key_values.{name}", new], f"present.{name}", axis=2)
    # A square of as many columns as there are new tokens, stretched over all: fails if it is wider
    # than one and narrower than all.
    shape = graph.node("Shape", ["attention_mask"], "mask.shape")
    zero = graph.constant("zero", np.array(0, np.float32))
    factor = graph.node("Cast", ["input_ids"], "ids.real", to=TensorProto.FLOAT)
    nothing = graph.node("Mul", [factor, zero], "nothing")
    stretched = graph.node("Expand", [nothing, shape], "stretched")
    nothing = graph.node("ReduceMax", [stretched], "nothing.one", keepdims=0)
    scores = graph.node("MatMul", [x, graph.constant("head", parameters["head"])], "scores")
    graph.node("Add", [scores, nothing], "logits")
    return model(graph, positions=True)


def model(graph, positions):
    def value(name, kind, shape):
        return helper.make_tensor_value_info(name, kind, shape)

    numbers, real = TensorProto.INT64, TensorProto.FLOAT
    inputs = [
        value("input_ids", numbers, ["batch", "sequence"]),
        value("attention_mask", numbers, ["batch", "total"]),
    ]
    if positions:
        inputs.append(value("position_ids", numbers, ["batch", "sequence"]))
    outputs = [value("logits", real, ["batch", "sequence", VOCABULARY])]
    for index in range(LAYERS):
        for side in ("key", "value"):
            # The builder leaves the last extent open; Optimum states it.
            last = HEAD_DIM if positions else "head_dim"
            past = ["batch", KV_HEADS, "past", last]
            present = ["batch", KV_HEADS, "present", last]
            inputs.append(value(f"past_key_values.{index}.{side}", real, past))
            outputs.append(value(f"present.{index}.{side}", real, present))
    made = helper.make_model(
        helper.make_graph(graph.nodes, "decoder", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(CONTRIB, 1)],
        ir_version=8,
        producer_name="make_graphs.py",
    )
    return made


def main():
    folder = Path(__file__).parent
    parameters = weights()
    for make in (shared, concatenating, refusing):
        save(make(parameters), folder / f"{make.__name__}.onnx")


if __name__ == "__main__":
    main()
