"""Triton Inference Server as PyTriton starts it, with two Python processes that run ONNX Runtime.

    python tensors_triton.py HTTP_PORT MODEL

The binary inside the package has no ONNX backend of its own, so a batch goes on to Python.
"""

import sys

import numpy
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


class Model:
    """One of the two; each opens its session in its own process, when it is first called."""

    def __init__(self):
        self.session = None

    @batch
    def __call__(self, image):
        if self.session is None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            self.session = onnxruntime.InferenceSession(sys.argv[2], options, ["CPUExecutionProvider"])
        return self.session.run(["probabilities"], {"image": image})


if __name__ == "__main__":
    port = int(sys.argv[1])
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=port,
        allow_grpc=False,
        allow_metrics=False,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="surface",
            infer_func=[Model(), Model()],
            inputs=[Tensor(name="image", dtype=numpy.float32, shape=(3, 32, 32))],
            outputs=[Tensor(name="probabilities", dtype=numpy.float32, shape=(6,))],
            config=ModelConfig(max_batch_size=8),
        )
        triton.serve()
