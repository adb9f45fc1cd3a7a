"""LitServe with two workers and two HTTP servers, as its page "Performance" has it.

    python tensors_litserve.py PORT MODEL

Numbers come as JSON or, since LitServe hands on JSON and forms only, as a file in a form.
"""

import sys

import litserve
import numpy
import onnxruntime


class OnnxApi(litserve.LitAPI):
    def setup(self, device):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(sys.argv[2], options, ["CPUExecutionProvider"])

    def decode_request(self, request):
        if "file" in request:
            data = numpy.frombuffer(request["file"].file.read(), dtype=numpy.float32)
        else:
            data = numpy.array(request["data"], dtype=numpy.float32)
        return data.reshape(1, 3, 32, 32)

    def predict(self, image):
        return self.session.run(["probabilities"], {"image": image})[0]

    def encode_response(self, scores):
        return {"scores": scores[0].tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(OnnxApi(), accelerator="cpu", workers_per_device=2, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=2,
        generate_client_file=False,
        log_level="warning",
    )
