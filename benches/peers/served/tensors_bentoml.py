"""A service of BentoML with two workers. The model comes in PEERS_MODEL.

Numbers come as JSON: BentoML takes arrays pickled too, but not from clients.
"""

import os
from typing import Annotated

import bentoml
import numpy
import onnxruntime
from bentoml.validators import DType, Shape

Image = Annotated[numpy.ndarray, Shape((3, 32, 32)), DType("float32")]


@bentoml.service(workers=2, traffic={"timeout": 30})
class Onnx:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = os.environ["PEERS_MODEL"]
        self.session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])

    @bentoml.api
    def predict(self, image: Image) -> list[float]:
        return self.session.run(["probabilities"], {"image": image[numpy.newaxis]})[0][0].tolist()
