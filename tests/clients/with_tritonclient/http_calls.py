"""What tests of tritonclient over HTTP send and check."""

import numpy
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype


def tensor(name: str, array: numpy.ndarray, binary: bool = True) -> triton.InferInput:
    given = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    return given.set_data_from_numpy(array, binary_data=binary)


def pair(rows: int = 2, binary: bool = True) -> list[triton.InferInput]:
    """Returns the inputs of `simple`."""
    first = numpy.arange(rows * 16, dtype=numpy.int32).reshape(rows, 16)
    return [tensor("INPUT0", first, binary), tensor("INPUT1", numpy.ones_like(first), binary)]


def check_pair(result: triton.InferResult, rows: int = 2) -> None:
    first = numpy.arange(rows * 16, dtype=numpy.int32).reshape(rows, 16)
    numpy.testing.assert_array_equal(result.as_numpy("OUTPUT0"), first + 1)
    numpy.testing.assert_array_equal(result.as_numpy("OUTPUT1"), first - 1)


def refused(call, status: str, *words: str) -> str:
    """Checks that a call is refused with this status in words that contain these; returns them."""
    with pytest.raises(InferenceServerException) as caught:
        call()
    assert caught.value.status() == status, caught.value
    for word in words:
        assert word in caught.value.message(), caught.value
    return caught.value.message()
