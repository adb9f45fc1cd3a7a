"""Numbers and texts that are easily got wrong on the wire, as numpy arrays of each datatype."""

import struct

import ml_dtypes
import numpy

NUMPY = {
    "BOOL": numpy.bool_,
    "UINT8": numpy.uint8,
    "UINT16": numpy.uint16,
    "UINT32": numpy.uint32,
    "UINT64": numpy.uint64,
    "INT8": numpy.int8,
    "INT16": numpy.int16,
    "INT32": numpy.int32,
    "INT64": numpy.int64,
    "FP16": numpy.float16,
    "FP32": numpy.float32,
    "FP64": numpy.float64,
    "BF16": ml_dtypes.bfloat16,
    "BYTES": numpy.object_,
}
DATATYPES = list(NUMPY)
# What JSON can say: there is no way to write BF16 in it.
IN_JSON = [datatype for datatype in DATATYPES if datatype != "BF16"]
FLOATS = {"FP16": numpy.uint16, "BF16": numpy.uint16, "FP32": numpy.uint32, "FP64": numpy.uint64}
# Quiet NaNs with a payload: every bit of them has to come back.
NANS = {"FP16": 0x7E55, "BF16": 0x7FD5, "FP32": 0x7FC12345, "FP64": 0x7FF8123456789ABC}
TEXTS = ["", "plain", "ünïcödé → 🦊", 'quotes " and \\ and \n', "x" * 300]


def sample(datatype: str, rows: int = 3, finite: bool = False) -> numpy.ndarray:
    """Returns `rows` rows of values: the extremes of the type, and ordinary ones.

    `finite` leaves out what JSON has no words for.
    """
    if datatype == "BOOL":
        return numpy.arange(rows * 5).reshape(rows, 5) % 3 == 0
    if datatype == "BYTES":
        return numpy.array([TEXTS[row:] + TEXTS[:row] for row in range(rows)], dtype=numpy.object_)
    kind = NUMPY[datatype]
    if datatype in FLOATS:
        limits = ml_dtypes.finfo(kind)
        row = [
            0.0,
            -0.0,
            1.0,
            -1.5,
            0.1,
            1 / 3,
            limits.max,
            limits.min,
            limits.smallest_subnormal,
            limits.tiny,
        ]
        row = numpy.array(row, dtype=kind)
        if not finite:
            odd = numpy.array([numpy.inf, -numpy.inf], dtype=kind)
            nan = numpy.array([NANS[datatype]], dtype=FLOATS[datatype]).view(kind)
            row = numpy.concatenate([row, odd, nan])
    else:
        limits = numpy.iinfo(kind)
        row = numpy.array([limits.min, limits.max, 0, 1, 7, limits.max // 3], dtype=kind)
    return numpy.stack([numpy.roll(row, shift) for shift in range(rows)])


def bits(array: numpy.ndarray) -> tuple:
    """Returns what two arrays must have in common to be the same to the bit."""
    if array.dtype == numpy.object_:
        content = [text.encode() if isinstance(text, str) else bytes(text) for text in array.flatten()]
        return array.shape, b"".join(struct.pack("<I", len(text)) + text for text in content)
    return array.shape, array.tobytes()
