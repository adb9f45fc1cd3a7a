"""LitServe with one endpoint for each model, as its page "Multiple endpoints" has it.

    python litserve_app.py PORT MODELS_FOLDER
"""

import sys
from pathlib import Path

import litserve
import numpy
import onnxruntime


class OnnxApi(litserve.LitAPI):
    def __init__(self, path: Path):
        super().__init__(api_path=f"/{path.name}/predict")
        self.path = str(path / "model.onnx")

    def setup(self, device):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.path, options, ["CPUExecutionProvider"])

    def decode_request(self, request):
        return numpy.asarray(request["data"], dtype=numpy.float32).reshape(1, 3, 32, 32)

    def predict(self, image):
        return self.session.run(["scores"], {"image": image})[0]

    def encode_response(self, scores):
        return {"scores": scores[0].tolist()}


if __name__ == "__main__":
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    apis = [OnnxApi(path) for path in sorted(folder.iterdir())]
    # Without restart_workers the whole server ends when a worker has died.
    server = litserve.LitServer(
        apis, accelerator="cpu", workers_per_device=2, timeout=30, restart_workers=True
    )
    server.run(host="127.0.0.1", port=port, generate_client_file=False)
