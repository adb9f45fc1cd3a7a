"""The cases of ONNX's own backend tests, and what is right for each: ONNX Runtime's answer, to the bit.

The data is what the package `onnx` brings along: one graph per case, and inputs and outputs as
protobuf. ONNX Runtime is the version that the server's workers load, with the options that they use, so
whatever differs has been done to the numbers on their way.

A case that cannot be compared is a `Skip` with its reason, and every reason is one of a few, so that
what is left out can be counted. Whether a graph is one that the server takes is decided here, by the
types in it; that it then refuses none of the others is what `conformance` shows.
"""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper

from graphs import DATATYPES

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
KINDS = ("node", "simple")
# The tolerance of ONNX's own runner.
RTOL, ATOL = 1e-3, 1e-7

BF16 = "tensor(bfloat16)"
# ONNX Runtime's words for the element types that the protocol has.
TYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    BF16: "BF16",
    "tensor(string)": "BYTES",
}

# Cases whose answer is drawn at random: the numbers are other ones in each session.
RANDOM = {
    "test_training_dropout",
    "test_training_dropout_default",
    "test_training_dropout_default_mask",
    "test_training_dropout_mask",
}

DRAWN = "draws random numbers"
NOT_LOADED = "ONNX Runtime does not load it"
NOT_RUN = "ONNX Runtime does not run it"
NO_TENSOR = "has an input or output that is no tensor"
NO_DATATYPE = "has a type that the protocol does not have"


@dataclass
class Case:
    """A graph, and inputs with the answer that is right for them."""

    name: str
    path: Path
    inputs: dict[str, numpy.ndarray]
    outputs: dict[str, numpy.ndarray]
    # Whether that is also what the case expects, within the tolerance of ONNX's own runner.
    expected: bool


@dataclass
class Skip:
    """A case that is not compared, and why."""

    name: str
    reason: str
    detail: str = ""


def folders() -> Iterator[Path]:
    """Returns the folder of each case."""
    for kind in KINDS:
        yield from sorted(place for place in (DATA / kind).iterdir() if (place / "model.onnx").exists())


def options() -> onnxruntime.SessionOptions:
    """Returns the options with which the server's workers open a session."""
    chosen = onnxruntime.SessionOptions()
    chosen.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    chosen.intra_op_num_threads = 1
    chosen.inter_op_num_threads = 1
    chosen.enable_mem_pattern = True
    # What cannot be loaded or run is reported here, and needs no lines of its own.
    chosen.log_severity_level = 4
    return chosen


def read(place: Path) -> list[Case | Skip]:
    """Returns what is to be compared of a case: one for each set of data, mostly one."""
    try:
        session = onnxruntime.InferenceSession(str(place / "model.onnx"), options(), ["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 (the runtime's own classes have no base of their own)
        return [Skip(place.name, NOT_LOADED, _line(error))]
    ports = [*session.get_inputs(), *session.get_outputs()]
    for port in ports:
        if not port.type.startswith("tensor("):
            return [Skip(place.name, NO_TENSOR, f"{port.name} is {port.type}")]
        if port.type not in TYPES:
            return [Skip(place.name, NO_DATATYPE, f"{port.name} is {port.type}")]
    if place.name in RANDOM:
        return [Skip(place.name, DRAWN)]
    return [_judged(place, data, session) for data in sorted(place.glob("test_data_set_*"))]


def _judged(place: Path, data: Path, session: onnxruntime.InferenceSession) -> Case | Skip:
    names = [port.name for port in session.get_inputs()]
    given = [_tensor(file) for file in _numbered(data, "input")]
    inputs = dict(zip(names, given, strict=False))
    try:
        found = run(session, inputs)
    except Exception as error:  # noqa: BLE001
        return Skip(place.name, NOT_RUN, _line(error))
    expected = [_tensor(file) for file in _numbered(data, "output")]
    fits = all(_fits(array, right) for array, right in zip(found.values(), expected, strict=True))
    return Case(place.name, place / "model.onnx", inputs, found, fits)


def run(session: onnxruntime.InferenceSession, inputs: dict[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
    """Runs a graph and returns its outputs by name."""
    names = [port.name for port in session.get_outputs()]
    if not any(port.type == BF16 for port in [*session.get_inputs(), *session.get_outputs()]):
        return dict(zip(names, session.run(names, inputs), strict=True))
    # numpy has no such type of its own, so this goes by way of its bits.
    values = {name: _value(array) for name, array in inputs.items()}
    outputs = session.run_with_ort_values(names, values)
    return {name: _array(value) for name, value in zip(names, outputs, strict=True)}


# === Between numpy and ONNX Runtime ===


def _value(array: numpy.ndarray) -> onnxruntime.OrtValue:
    if array.dtype == ml_dtypes.bfloat16:
        raw = array.copy(order="C").view(numpy.uint16)
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(raw, TensorProto.BFLOAT16)
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


def _array(value: onnxruntime.OrtValue) -> numpy.ndarray:
    if value.data_type() == BF16:
        raw = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
        return numpy.frombuffer(raw, dtype=ml_dtypes.bfloat16).reshape(value.shape())
    # The runtime's memory goes with the value.
    return value.numpy().copy()


def _tensor(file: Path) -> numpy.ndarray:
    array = numpy_helper.to_array(TensorProto.FromString(file.read_bytes()))
    if array.dtype.kind in "SUO":
        texts = [text.decode() if isinstance(text, bytes) else str(text) for text in array.flatten()]
        return numpy.array(texts, dtype=numpy.object_).reshape(array.shape)
    return array


def _numbered(data: Path, what: str) -> list[Path]:
    return sorted(data.glob(f"{what}_*.pb"), key=lambda file: int(file.stem.rpartition("_")[2]))


def _fits(found: numpy.ndarray, right: numpy.ndarray) -> bool:
    if found.shape != right.shape or found.dtype != right.dtype:
        return False
    if found.dtype == numpy.object_ or found.dtype.kind in "biu":
        return bool(numpy.array_equal(found, right))
    wide = numpy.float64
    return bool(numpy.allclose(found.astype(wide), right.astype(wide), RTOL, ATOL, equal_nan=True))


def _line(error: Exception) -> str:
    return str(error).strip().replace("\n", " ")[:200]


assert set(TYPES.values()) == set(DATATYPES)
