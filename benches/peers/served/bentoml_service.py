"""A service of BentoML, as its pages "Services" and "Workers" have it, over ONNX Runtime.

The folder of the models comes in PEERS_MODELS.
"""

import os
from pathlib import Path
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
        self.sessions = {
            path.name: onnxruntime.InferenceSession(
                str(path / "model.onnx"), options, ["CPUExecutionProvider"]
            )
            for path in Path(os.environ["PEERS_MODELS"]).iterdir()
        }

    @bentoml.api
    def predict(self, model: str, image: Image) -> list[float]:
        scores = self.sessions[model].run(["scores"], {"image": image[numpy.newaxis]})[0]
        return scores[0].tolist()
