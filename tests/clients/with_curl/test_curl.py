"""curl: every call of the REST protocol as somebody types it, and what the bytes of an answer are."""

import json
import shutil
import struct
import subprocess

import pytest

import values


class Answer:
    """An answer as curl gives it: status, head and body."""

    def __init__(self, output: bytes):
        head, _, self.body = output.partition(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 100"):
            head, _, self.body = self.body.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }

    def json(self):
        return json.loads(self.body)


@pytest.fixture
def curl(server):
    program = shutil.which("curl")
    assert program, "curl is not there: install it (Debian: apt-get install curl)"

    def call(path: str, *options: str, data: bytes | dict | None = None) -> Answer:
        command = [program, "--silent", "--show-error", "--include", "--max-time", "30", *options]
        if data is not None:
            command += ["--data-binary", "@-"]
        content = json.dumps(data).encode() if isinstance(data, dict) else data
        done = subprocess.run(
            [*command, f"http://{server.http}{path}"], input=content or b"", capture_output=True, timeout=60
        )
        assert done.returncode == 0, done.stderr.decode()
        return Answer(done.stdout)

    return call


def pair(**more) -> dict:
    """Returns a request to `simple`."""
    given = [
        {"name": "INPUT0", "shape": [1, 16], "datatype": "INT32", "data": list(range(16))},
        {"name": "INPUT1", "shape": [1, 16], "datatype": "INT32", "data": [1] * 16},
    ]
    return {"inputs": given, **more}


# --- Every call ----------------------------------------------------------------------------------


def test_health_is_said_in_the_status_and_in_the_body(curl):
    live = curl("/v2/health/live")
    assert live.status == 200 and live.json()["live"] is True
    ready = curl("/v2/health/ready")
    assert ready.status == 200 and ready.json()["ready"] is True and ready.json()["live"] is True
    assert curl("/v2/models/simple/ready").status == 200
    assert curl("/v2/models/nobody/ready").status == 404


def test_metadata_config_and_statistics_are_json(curl):
    version = curl("/v2/models/simple").json()["versions"][-1]
    for path in ("/v2", "/v2/models/simple", f"/v2/models/simple/versions/{version}"):
        answer = curl(path)
        assert answer.status == 200 and answer.json()["name"]
        assert answer.headers["content-type"].startswith("application/json")
    for part in ("config", "stats", "ready"):
        for path in (f"/v2/models/simple/{part}", f"/v2/models/simple/versions/{version}/{part}"):
            assert curl(path).status == 200, path
    assert curl("/v2/models/stats").json()["model_stats"]


def test_the_repository_is_listed(curl):
    listed = curl("/v2/repository/index", data=b"").json()
    assert {"name": "simple", "state": "READY"}.items() <= {m["name"]: m for m in listed}["simple"].items()
    ready = curl("/v2/repository/index", data={"ready": True}).json()
    assert {model["state"] for model in ready} == {"READY"}


def test_loading_is_for_whoever_may(curl):
    # On this machine everybody may; what is there already stays as it is.
    assert curl("/v2/repository/models/simple/load", data=b"").status == 200
    missing = curl("/v2/repository/models/nobody/load", data=b"")
    assert missing.status == 404 and "nobody" in missing.json()["error"]


def test_numbers_typed_in_are_answered_with_numbers(curl):
    answer = curl("/v2/models/simple/infer", data=pair(id="17"))
    assert answer.status == 200
    said = answer.json()
    assert said["model_name"] == "simple" and said["id"] == "17"
    outputs = {output["name"]: output for output in said["outputs"]}
    assert outputs["OUTPUT0"]["data"] == list(range(1, 17))
    assert outputs["OUTPUT0"]["shape"] == [1, 16] and outputs["OUTPUT0"]["datatype"] == "INT32"
    assert "inference-header-content-length" not in answer.headers


def test_nested_lists_are_the_same_as_flat_ones(curl):
    given = {"name": "x", "shape": [2, 2], "datatype": "FP32"}
    answers = [
        curl("/v2/models/identity_fp32/infer", data={"inputs": [given | {"data": data}]}).json()["outputs"]
        for data in ([1, 2.5, -3, 4e-3], [[1, 2.5], [-3, 4e-3]])
    ]
    assert answers[0] == answers[1]
    assert answers[0][0]["data"] == [1, 2.5, -3, 0.004]


def test_texts_and_truths_are_typed_as_such(curl):
    given = {"name": "x", "shape": [1, 3], "datatype": "BYTES", "data": ["a", "ü", ""]}
    assert curl("/v2/models/identity_bytes/infer", data={"inputs": [given]}).json()["outputs"][0]["data"] == [
        "a",
        "ü",
        "",
    ]
    given = {"name": "x", "shape": [1, 2], "datatype": "BOOL", "data": [True, False]}
    assert curl("/v2/models/identity_bool/infer", data={"inputs": [given]}).json()["outputs"][0]["data"] == [
        True,
        False,
    ]


def test_whole_numbers_are_exact_to_the_last_digit(curl):
    for datatype, numbers in (
        ("UINT64", [18446744073709551615, 9007199254740993]),
        ("INT64", [-9223372036854775808, 9223372036854775807]),
    ):
        given = {"name": "x", "shape": [1, 2], "datatype": datatype, "data": numbers}
        answer = curl(f"/v2/models/identity_{datatype.lower()}/infer", data={"inputs": [given]})
        assert answer.json()["outputs"][0]["data"] == numbers


def test_a_members_order_is_the_clients_business(curl):
    given = {"data": [1, 2], "datatype": "FP32", "shape": [1, 2], "name": "x"}
    answer = curl(
        "/v2/models/identity_fp32/infer", data={"outputs": [{"name": "y"}], "inputs": [given], "id": "a"}
    )
    assert answer.status == 200 and answer.json()["outputs"][0]["data"] == [1, 2]


# --- Binary tensors ------------------------------------------------------------------------------


def binary(datatype: str, shape: list[int], raw: bytes, **more) -> tuple[list[str], bytes]:
    """Returns the options and the body of a request with one binary tensor `x`."""
    given = {"name": "x", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [given], **more}).encode()
    return ["--header", f"Inference-Header-Content-Length: {len(head)}"], head + raw


def test_binary_tensors_are_little_endian_behind_the_json(curl):
    raw = struct.pack("<4f", 1, -2, 0.5, 3)
    options, body = binary("FP32", [2, 2], raw, parameters={"binary_data_output": True})
    answer = curl("/v2/models/identity_fp32/infer", *options, data=body)
    length = int(answer.headers["inference-header-content-length"])
    (output,) = json.loads(answer.body[:length])["outputs"]
    assert output["parameters"]["binary_data_size"] == 16 and "data" not in output
    assert answer.body[length:] == raw
    assert answer.headers["content-type"] == "application/octet-stream"


def test_truths_are_a_byte_and_texts_are_behind_their_length(curl):
    for datatype, shape, raw in (
        ("BOOL", [1, 3], b"\x01\x00\x01"),
        ("BYTES", [1, 2], b"\x02\0\0\0hi\x00\0\0\0"),
    ):
        options, body = binary(
            datatype, shape, raw, outputs=[{"name": "y", "parameters": {"binary_data": True}}]
        )
        answer = curl(f"/v2/models/identity_{datatype.lower()}/infer", *options, data=body)
        assert answer.status == 200, answer.body
        assert answer.body.endswith(raw)


def test_binary_without_being_asked_for_is_answered_in_json(curl):
    options, body = binary("FP32", [1, 1], struct.pack("<f", 7))
    answer = curl("/v2/models/identity_fp32/infer", *options, data=body)
    assert answer.json()["outputs"][0]["data"] == [7]


def test_a_header_of_length_0_is_one_raw_tensor(curl):
    # One row, as Triton has it, and the size of the body says how many numbers are in it.
    raw = struct.pack("<3f", 1, -2, 0.5)
    answer = curl(
        "/v2/models/identity_fp32/infer", "--header", "Inference-Header-Content-Length: 0", data=raw
    )
    assert answer.status == 200, answer.body
    length = int(answer.headers["inference-header-content-length"])
    (output,) = json.loads(answer.body[:length])["outputs"]
    assert output["shape"] == [1, 3]
    assert answer.body[length:] == raw


@pytest.mark.parametrize("length", ["-1", "abc", "999999", "18446744073709551616", "1.5"])
def test_a_header_length_that_cannot_be_is_refused(curl, length):
    options, body = binary("FP32", [1, 1], struct.pack("<f", 7))
    answer = curl(
        "/v2/models/identity_fp32/infer", "--header", f"Inference-Header-Content-Length: {length}", data=body
    )
    assert answer.status == 400 and answer.json()["error"]


# --- Compression ---------------------------------------------------------------------------------


def test_an_answer_is_compressed_for_whoever_wants_it(curl, server):
    given = {"name": "x", "shape": [1, 1000], "datatype": "FP32", "data": [0.5] * 1000}
    plain = curl("/v2/models/identity_fp32/infer", data={"inputs": [given]})
    packed = curl(
        "/v2/models/identity_fp32/infer", "--header", "Accept-Encoding: gzip", data={"inputs": [given]}
    )
    assert packed.headers["content-encoding"] == "gzip"
    assert len(packed.body) < len(plain.body)
    opened = curl("/v2/models/identity_fp32/infer", "--compressed", data={"inputs": [given]})
    assert opened.json()["outputs"] == plain.json()["outputs"]


# --- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path, body, status",
    [
        ("/v2/models/nobody/infer", pair(), 404),
        ("/v2/models/simple/versions/77/infer", pair(), 404),
        ("/v2/models/simple/infer", b"", 400),
        ("/v2/models/simple/infer", b"{", 400),
        ("/v2/models/simple/infer", b"[]", 400),
        ("/v2/models/simple/infer", {}, 400),
        ("/v2/models/simple/infer", {"inputs": []}, 400),
        ("/v2/models/simple/infer", {"inputs": [{"name": "INPUT0"}]}, 400),
        ("/v2/models/simple/infer", pair(outputs=[{"name": "nothing"}]), 400),
        ("/v2/models/simple/infer", pair(outputs=[{"name": "OUTPUT0"}, {"name": "OUTPUT0"}]), 400),
        ("/v2/models/simple/infer", json.dumps(pair()).encode() + b"more", 400),
        ("/v2/nothing/like/this", None, 404),
    ],
)
def test_every_refusal_is_an_error_in_json(curl, path, body, status):
    answer = curl(path, data=body)
    assert answer.status == status, answer.body
    assert isinstance(answer.json()["error"], str) and answer.json()["error"]


def test_the_wrong_method_is_refused_in_json(curl):
    answer = curl("/v2/models/simple/infer")
    assert answer.status == 405 and answer.json()["error"]


@pytest.mark.parametrize(
    "data", ["[1, 2", "[1 2]", "[01]", "[1,]", "[.5]", "[+1]", '["1"]', "[[1], 2]", "1", "{}"]
)
def test_numbers_that_are_none_are_refused(curl, data):
    body = '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":' + data + "}]}"
    answer = curl("/v2/models/identity_fp32/infer", data=body.encode())
    assert answer.status == 400 and answer.json()["error"]


@pytest.mark.parametrize("datatype", values.DATATYPES)
@pytest.mark.parametrize("shape", [[-1, 1], [1, 1.5], ["1", 1], [2**40, 2**40], [2**62, 8], None, 1])
def test_shapes_that_cannot_be_are_refused(curl, datatype, shape):
    given = {"name": "x", "shape": shape, "datatype": datatype, "data": []}
    answer = curl(f"/v2/models/identity_{datatype.lower()}/infer", data={"inputs": [given]})
    assert answer.status == 400 and answer.json()["error"]


# --- Version 1 -----------------------------------------------------------------------------------


def test_version_1_predicts(curl):
    answer = curl("/v1/models/identity_fp32:predict", data={"instances": [[1.5, 2], [3, 4]]})
    assert answer.status == 200 and answer.json() == {"predictions": [[1.5, 2], [3, 4]]}
    assert curl("/v1/models/identity_fp32").json()["ready"] is True
    missing = curl("/v1/models/nobody:predict", data={"instances": [[1]]})
    assert missing.status == 404 and missing.json()["error"]
