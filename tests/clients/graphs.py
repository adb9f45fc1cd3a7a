"""The models that the clients are tried on: small graphs, written at the start of the tests.

`identity_*`, one for each datatype, gives back what it gets: two free dimensions, so a request may
be of any size, and of none. `simple` is the one of Triton's own examples: sum and difference of two
inputs. The others are what their descriptions say.
"""

import shutil
from pathlib import Path

import onnx
from onnx import TensorProto, helper, parser

from served import ROOT

# Taken by every ONNX Runtime since 1.17.
IR_VERSION = 9
OPSET = 20

# The datatypes of the protocol and what ONNX calls them.
DATATYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16,
    "BYTES": TensorProto.STRING,
}
KILLERS = ROOT / "tests" / "models"
LABELS = ["cat", "dog", "fox", "hen"]

TEXTS = {
    # Sum and difference.
    "simple": """simple (int32[N, 16] INPUT0, int32[N, 16] INPUT1)
        => (int32[N, 16] OUTPUT0, int32[N, 16] OUTPUT1)
    { OUTPUT0 = Add (INPUT0, INPUT1)  OUTPUT1 = Sub (INPUT0, INPUT1) }""",
    # Joins two texts.
    "join": """join (string[N, M] left, string[N, M] right) => (string[N, M] joined)
    { joined = StringConcat (left, right) }""",
    # Inputs and outputs of several types.
    "mixed": """mixed (float[N, 4] numbers, bool[N, 4] flags, string[N, 1] words)
        => (float[N, 4] chosen, int64[N, 1] best, string[N, 1] same)
    {
        negative = Neg (numbers)
        chosen = Where (flags, numbers, negative)
        best = ArgMax <axis = 1> (chosen)
        same = Identity (words)
    }""",
    # One dimension, free.
    "line": """line (float[N] x) => (float[N] y) { y = Neg (x) }""",
    # No free dimension: it takes exactly this, and is never stacked.
    "fixed": """fixed (float[2, 3] x) => (float[2, 3] y) { y = Neg (x) }""",
    # Scores as they are, with labels.
    "classes": """classes (float[N, 4] x) => (float[N, 4] scores) { scores = Identity (x) }""",
}

CLASSES = f"""name = "classes"
version = "1"
labels = {LABELS}
""".replace("'", '"')


def _model(graph: onnx.GraphProto) -> bytes:
    model = helper.make_model(
        graph,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="impetus-tests",
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def identity(datatype: str) -> bytes:
    """Returns a model that gives back `x` as `y`."""
    kind = DATATYPES[datatype]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        f"identity_{datatype.lower()}",
        [helper.make_tensor_value_info("x", kind, ["N", "M"])],
        [helper.make_tensor_value_info("y", kind, ["N", "M"])],
    )
    return _model(graph)


def scalar() -> bytes:
    """Returns a model of one number, without any dimension: one more than what it gets."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "one"], ["y"])],
        "scalar",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
        [helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])],
    )
    return _model(graph)


def times(factor: float) -> bytes:
    """Returns a model that multiplies by this number, so that an answer says which version gave it."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "times",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor("factor", TensorProto.FLOAT, [], [factor])],
    )
    return _model(graph)


def put(folder: Path, name: str, model: bytes, description: str = "") -> None:
    """Puts a model into a folder of models."""
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    (place / "model.onnx").write_bytes(model)
    if description:
        (place / "model.toml").write_text(description)


def put_version(folder: Path, name: str, version: int, model: bytes) -> None:
    """Puts a version of a model into a folder of models, whole or not at all."""
    place = folder / name / str(version)
    staging = folder / f".{name}-{version}"
    staging.mkdir(parents=True)
    (staging / "model.onnx").write_bytes(model)
    place.parent.mkdir(exist_ok=True)
    staging.rename(place)


def copy_killer(folder: Path, name: str) -> None:
    """Copies one of the models that are slow or fail by their input (tests/models/README.md)."""
    shutil.copytree(KILLERS / name, folder / name)


def write_all(folder: Path) -> None:
    """Writes every model above."""
    for datatype in DATATYPES:
        put(folder, f"identity_{datatype.lower()}", identity(datatype))
    for name, text in TEXTS.items():
        put(folder, name, _model(parser.parse_graph(text)), CLASSES if name == "classes" else "")
    put(folder, "scalar", scalar())
    for name in ("plain", "slow", "fail"):
        copy_killer(folder, name)
