"""Writes the bundled chat model as other graphs with the same weights, for tests to serve.

    python tests/generation/make_graphs.py MODEL_FOLDER OUT [NAME...]

MODEL_FOLDER is models/tiny-chat, int4 with accuracy level 1 as onnxruntime-genai's builder writes it.
Each NAME (all of them when none is given) becomes a folder OUT/NAME:

    fp32     the weights as floats, GroupQueryAttention as before
    fp16     the same in half precision: weights, caches and logits
    int4-4   the weights as they are, with accuracy level 4, which rounds activations to int8
    optimum  floats in plain ONNX operators, with past and present joined and position ids, laid out as
             Optimum does it (config.json, and no genai_config.json)

Since the weights are the same, so are the tokens that the goldens have, but for fp16 and int4-4, which
round on their way. It needs numpy and onnx alone; the files are made when a test wants them.
"""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TOKENIZER_FILES = ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]
OPTIMUM_OPSET = 17


# --- the weights ---


@dataclass
class Source:
    """The int4 model: its folder, its graph, what its configuration says, and its initializers."""

    folder: Path
    model: onnx.ModelProto
    settings: dict
    tensors: dict

    @classmethod
    def read(cls, folder):
        """Reads a folder as the builder writes it."""
        model = onnx.load(folder / "model.onnx")
        settings = json.loads((folder / "genai_config.json").read_text())["model"]
        tensors = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
        return cls(folder, model, settings, tensors)

    def floats(self, name):
        """Returns the weight `[N, K]` that `name.weight_Q4` and its scales stand for.

        A byte holds two numbers of 4 bits, the lower one first, each 8 too large; 32 along K share a scale.
        """
        packed = self.tensors[f"{name}.weight_Q4"]
        rows = packed.shape[0]
        numbers = np.stack([packed & 15, packed >> 4], axis=-1).reshape(rows, -1, 32).astype(np.float32) - 8
        scales = self.tensors[f"{name}.weight_scales"].reshape(rows, -1, 1)
        return (numbers * scales).reshape(rows, -1)

    def weights(self):
        """Returns all weights as floats under the names that a LlamaForCausalLM of transformers gives them."""
        decoder = self.settings["decoder"]
        heads, kv_heads = decoder["num_attention_heads"], decoder["num_key_value_heads"]
        layers, size = decoder["num_hidden_layers"], decoder["head_size"]
        found = {
            "model.embed_tokens.weight": self.floats("lm_head.MatMul"),
            "lm_head.weight": self.floats("lm_head.MatMul"),
        }
        for layer in range(layers):
            name = f"model.layers.{layer}"
            packed = self.floats(f"{name}.attn.qkv_proj.MatMul")
            parts = np.split(packed, [heads * size, (heads + kv_heads) * size])
            for side, part in zip("qkv", parts):
                found[f"{name}.self_attn.{side}_proj.weight"] = part
            found[f"{name}.self_attn.o_proj.weight"] = self.floats(f"{name}.attn.o_proj.MatMul")
            for part in ("gate", "up", "down"):
                found[f"{name}.mlp.{part}_proj.weight"] = self.floats(f"{name}.mlp.{part}_proj.MatMul")
            for norm in ("input_layernorm", "post_attention_layernorm"):
                found[f"{name}.{norm}.weight"] = self.tensors[f"{name}.{norm}.weight"]
        found["model.norm.weight"] = self.tensors[f"model.layers.{layers}.final_norm_layernorm.weight"]
        return found

    def llama_config(self):
        """Returns the model's shape as a config.json of transformers has it."""
        decoder = self.settings["decoder"]
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.settings["vocab_size"],
            "hidden_size": decoder["hidden_size"],
            "intermediate_size": self.tensors["model.layers.0.mlp.gate_proj.MatMul.weight_Q4"].shape[0],
            "num_hidden_layers": decoder["num_hidden_layers"],
            "num_attention_heads": decoder["num_attention_heads"],
            "num_key_value_heads": decoder["num_key_value_heads"],
            "head_dim": decoder["head_size"],
            "max_position_embeddings": self.settings["context_length"],
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "hidden_act": "silu",
            "tie_word_embeddings": True,
            "bos_token_id": self.settings["bos_token_id"],
            "eos_token_id": self.settings["eos_token_id"],
            "pad_token_id": self.settings["pad_token_id"],
            "torch_dtype": "float32",
        }


# --- the builder's graph, with other numbers ---


def with_floats(source):
    """Returns the graph with every int4 operator replaced by the one that computes with floats."""
    model = onnx.ModelProto()
    model.CopyFrom(source.model)
    graph = model.graph
    nodes, table = [], None
    tensors = {
        each.name: each for each in graph.initializer if not each.name.endswith((".weight_Q4", ".weight_scales"))
    }
    for node in graph.node:
        if node.op_type == "MatMulNBits":
            name = node.input[1].removesuffix(".weight_Q4")
            tensors[f"{name}.weight"] = numpy_helper.from_array(
                np.ascontiguousarray(source.floats(name).T), f"{name}.weight"
            )
            node = helper.make_node("MatMul", [node.input[0], f"{name}.weight"], list(node.output), node.name)
        elif node.op_type == "Reshape" and node.input[0].endswith(".weight_Q4"):
            table = node.input[0].removesuffix(".weight_Q4")
            continue
        elif node.op_type == "GatherBlockQuantized":
            tensors["embed_tokens.weight"] = numpy_helper.from_array(source.floats(table), "embed_tokens.weight")
            node = helper.make_node("Gather", ["embed_tokens.weight", node.input[1]], list(node.output), node.name)
        nodes.append(node)
    used = {name for node in nodes for name in node.input}
    kept = [node for node in nodes if node.op_type != "Constant" or node.output[0] in used]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(kept)
    graph.initializer.extend(tensors.values())
    return model


def in_half_precision(model):
    """Returns a graph of floats with weights, inputs and outputs in half precision."""
    halved = onnx.ModelProto()
    halved.CopyFrom(model)
    for tensor in halved.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in (*halved.graph.input, *halved.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    return halved


def with_accuracy_level(source, level):
    """Returns the int4 graph with another accuracy level."""
    model = onnx.ModelProto()
    model.CopyFrom(source.model)
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "MatMulNBits" and attribute.name == "accuracy_level":
                attribute.i = level
    return model


# --- the graph without GroupQueryAttention ---


class Plain:
    """Writes a Llama in plain ONNX operators, as an export of the PyTorch code looks.

    Shapes in comments: B sequences, S new positions, T positions with those of before, H heads, D head size.
    """

    def __init__(self, source):
        self.config = source.llama_config()
        self.weights = source.weights()
        self.nodes, self.tensors = [], {}

    def node(self, operator, inputs, outputs=1, **attributes):
        """Adds a node and returns the name of its output, or the names of them."""
        names = [f"{operator}_{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, f"{operator}_{len(self.nodes)}", **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value, kind=np.float32):
        """Returns the name of a small constant."""
        value = np.array(value, kind)
        digits = "_".join(str(each) for each in value.ravel()).replace("-", "minus")
        name = f"constant_{value.dtype}_{digits}_{value.ndim}"
        self.tensors[name] = value
        return name

    def ints(self, *values):
        """Returns the name of a list of whole numbers."""
        return self.constant(values, np.int64)

    def linear(self, x, name):
        """Multiplies with a weight of transformers, which is kept the other way round."""
        self.tensors[name] = np.ascontiguousarray(self.weights[name].T)
        return self.node("MatMul", [x, name])

    def norm(self, x, name):
        """Divides by the root of the mean square (B. Zhang, R. Sennrich, 2019)."""
        self.tensors[name] = self.weights[name]
        square = self.node("ReduceMean", [self.node("Pow", [x, self.constant(2.0)])], axes=[-1], keepdims=1)
        root = self.node("Sqrt", [self.node("Add", [square, self.constant(self.config["rms_norm_eps"])])])
        return self.node("Mul", [self.node("Div", [x, root]), name])

    def heads(self, x, count):
        """Returns `[B, S, count * D]` as `[B, count, S, D]`."""
        split = self.node("Reshape", [x, self.ints(0, 0, count, self.config["head_dim"])])
        return self.node("Transpose", [split], perm=[0, 2, 1, 3])

    def angles(self):
        """Returns cosines and sines for the position ids, both `[B, 1, S, D]`."""
        size = self.config["head_dim"]
        frequencies = self.config["rope_theta"] ** (-np.arange(0, size, 2, dtype=np.float64) / size)
        turned = np.outer(np.arange(self.config["max_position_embeddings"]), frequencies)
        for name, values in (("cosines", np.cos(turned)), ("sines", np.sin(turned))):
            self.tensors[name] = np.concatenate([values, values], axis=1).astype(np.float32)
        rows = [self.node("Gather", [name, "position_ids"]) for name in ("cosines", "sines")]
        return [self.node("Unsqueeze", [row, self.ints(1)]) for row in rows]

    def rotated(self, x, angles):
        """Turns each pair of a head's numbers by its position (J. Su et al., 2021)."""
        half = self.config["head_dim"] // 2
        first, second = self.node("Split", [x, self.ints(half, half)], outputs=2, axis=-1)
        crossed = self.node("Concat", [self.node("Neg", [second]), first], axis=-1)
        return self.node("Add", [self.node("Mul", [x, angles[0]]), self.node("Mul", [crossed, angles[1]])])

    def mask(self):
        """Returns what is added to the scores, `[B, 1, S, T]`: nothing where a position may look."""

        def extent(name, axis):
            return self.node("Gather", [self.node("Shape", [name]), self.constant(axis, np.int64)])

        past, new = extent("past_key_values.0.key", 2), extent("input_ids", 1)
        total, one, zero = self.node("Add", [past, new]), self.constant(1, np.int64), self.constant(0, np.int64)
        here = self.node("Unsqueeze", [self.node("Range", [past, total, one]), self.ints(1)])
        there = self.node("Unsqueeze", [self.node("Range", [zero, total, one]), self.ints(0)])
        given = self.node("Cast", [self.node("Unsqueeze", ["attention_mask", self.ints(1, 2)])], to=TensorProto.BOOL)
        allowed = self.node("And", [self.node("LessOrEqual", [there, here]), given])
        return self.node("Where", [allowed, self.constant(0.0), self.constant(np.finfo(np.float32).min)])

    def repeated(self, x):
        """Returns keys or values `[B, kv heads, T, D]` once for every head that uses them."""
        config = self.config
        times = config["num_attention_heads"] // config["num_key_value_heads"]
        tiled = self.node("Concat", [self.node("Unsqueeze", [x, self.ints(2)])] * times, axis=2)
        shape = self.node("Shape", [x])
        rest = self.node("Slice", [shape, self.ints(2), self.ints(4)])
        batch = self.node("Slice", [shape, self.ints(0), self.ints(1)])
        wanted = self.node("Concat", [batch, self.ints(config["num_attention_heads"]), rest], axis=0)
        return self.node("Reshape", [tiled, wanted])

    def attention(self, x, layer, angles, mask):
        """Returns a layer's attention; writes its present keys and values."""
        config, name = self.config, f"model.layers.{layer}.self_attn"
        query = self.rotated(
            self.heads(self.linear(x, f"{name}.q_proj.weight"), config["num_attention_heads"]), angles
        )
        key = self.rotated(self.heads(self.linear(x, f"{name}.k_proj.weight"), config["num_key_value_heads"]), angles)
        value = self.heads(self.linear(x, f"{name}.v_proj.weight"), config["num_key_value_heads"])
        for side, new in (("key", key), ("value", value)):
            pair = [f"past_key_values.{layer}.{side}", new]
            self.nodes.append(
                helper.make_node("Concat", pair, [f"present.{layer}.{side}"], f"present.{layer}.{side}", axis=2)
            )
        keys, values = self.repeated(f"present.{layer}.key"), self.repeated(f"present.{layer}.value")
        scores = self.node("MatMul", [query, self.node("Transpose", [keys], perm=[0, 1, 3, 2])])
        scores = self.node("Mul", [scores, self.constant(config["head_dim"] ** -0.5)])
        shares = self.node("Softmax", [self.node("Add", [scores, mask])], axis=-1)
        joined = self.node("Transpose", [self.node("MatMul", [shares, values])], perm=[0, 2, 1, 3])
        flat = self.node("Reshape", [joined, self.ints(0, 0, config["num_attention_heads"] * config["head_dim"])])
        return self.linear(flat, f"{name}.o_proj.weight")

    def feed_forward(self, x, layer):
        """Returns a layer's gated feed-forward network."""
        name = f"model.layers.{layer}.mlp"
        gate = self.linear(x, f"{name}.gate_proj.weight")
        gated = self.node(
            "Mul", [self.node("Mul", [gate, self.node("Sigmoid", [gate])]), self.linear(x, f"{name}.up_proj.weight")]
        )
        return self.linear(gated, f"{name}.down_proj.weight")

    def model(self):
        """Returns the whole graph."""
        self.tensors["model.embed_tokens.weight"] = self.weights["model.embed_tokens.weight"]
        angles, mask = self.angles(), self.mask()
        x = self.node("Gather", ["model.embed_tokens.weight", "input_ids"])
        for layer in range(self.config["num_hidden_layers"]):
            name = f"model.layers.{layer}"
            x = self.node(
                "Add", [x, self.attention(self.norm(x, f"{name}.input_layernorm.weight"), layer, angles, mask)]
            )
            x = self.node(
                "Add", [x, self.feed_forward(self.norm(x, f"{name}.post_attention_layernorm.weight"), layer)]
            )
        logits = self.linear(self.norm(x, "model.norm.weight"), "lm_head.weight")
        self.nodes.append(helper.make_node("Identity", [logits], ["logits"], "logits"))
        return self._finished()

    def _finished(self):
        """Puts inputs, outputs and weights around the nodes."""
        config, whole = self.config, "past_sequence_length + sequence_length"
        past = ["batch_size", config["num_key_value_heads"], "past_sequence_length", config["head_dim"]]
        present = [*past[:2], whole, past[3]]
        ints, floats = TensorProto.INT64, TensorProto.FLOAT
        new = ["batch_size", "sequence_length"]
        inputs = [
            helper.make_tensor_value_info("input_ids", ints, new),
            helper.make_tensor_value_info("attention_mask", ints, ["batch_size", whole]),
            helper.make_tensor_value_info("position_ids", ints, new),
        ]
        outputs = [helper.make_tensor_value_info("logits", floats, [*new, config["vocab_size"]])]
        for layer in range(config["num_hidden_layers"]):
            for side in ("key", "value"):
                inputs.append(helper.make_tensor_value_info(f"past_key_values.{layer}.{side}", floats, past))
                outputs.append(helper.make_tensor_value_info(f"present.{layer}.{side}", floats, present))
        tensors = [numpy_helper.from_array(value, name) for name, value in self.tensors.items()]
        graph = helper.make_graph(self.nodes, "main_graph", inputs, outputs, tensors)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPTIMUM_OPSET)], ir_version=8)


# --- folders ---


def write(source, name, out):
    """Writes one of the graphs with all that a loader wants beside it."""
    out.mkdir(parents=True)
    model = {
        "fp32": lambda: with_floats(source),
        "fp16": lambda: in_half_precision(with_floats(source)),
        "int4-4": lambda: with_accuracy_level(source, 4),
        "optimum": lambda: Plain(source).model(),
    }[name]()
    if name == "optimum":
        onnx.checker.check_model(model)
        (out / "config.json").write_text(json.dumps(source.llama_config(), indent=2) + "\n")
    else:
        shutil.copyfile(source.folder / "genai_config.json", out / "genai_config.json")
    onnx.save(model, out / "model.onnx")
    for each in TOKENIZER_FILES:
        shutil.copyfile(source.folder / each, out / each)


NAMES = ["fp32", "fp16", "int4-4", "optimum"]


def main(arguments):
    """Writes the graphs that are named."""
    if len(arguments) < 2 or any(name not in NAMES for name in arguments[2:]):
        raise SystemExit(f"usage: make_graphs.py MODEL_FOLDER OUT [{' | '.join(NAMES)}]...")
    source, out = Source.read(Path(arguments[0])), Path(arguments[1])
    for name in arguments[2:] or NAMES:
        shutil.rmtree(out / name, ignore_errors=True)
        write(source, name, out / name)


if __name__ == "__main__":
    main(sys.argv[1:])
