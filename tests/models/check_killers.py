"""Runs the killer models in ONNX Runtime: right and quick without a marker, dangerous with one.

    python tests/models/check_killers.py

Each danger runs in a process of its own, under a limit of time or of memory. Needs requirements.txt
and a Linux machine; takes about ten seconds and ends with 1 when a model is not what it is said to
be.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import make_killers
import numpy as np
import onnxruntime as ort

FOLDER = Path(__file__).parent
MIB = 1 << 20


def session(name: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    path = str(FOLDER / name / "model.onnx")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def expected(images: np.ndarray) -> np.ndarray:
    """Returns the scores every one of the models has to give."""
    quarters = np.clip(images, 0, 1).reshape(-1, 3, 2, 16, 2, 16).mean(axis=(1, 3, 5))
    logits = 16 * quarters.reshape(-1, 4)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def pictures(rows: int, seed: int) -> np.ndarray:
    """Returns pictures in 0..1, each with one quarter brighter than the others."""
    random = np.random.default_rng(seed)
    images = random.random((rows, 3, 32, 32), dtype=np.float32) * 0.8
    for row in range(rows):
        top, left = divmod(int(random.integers(4)), 2)
        images[row, :, 16 * top : 16 * top + 16, 16 * left : 16 * left + 16] += 0.2
    return images


def marked(rows: int, marker: float) -> np.ndarray:
    images = pictures(rows, 7)
    images[rows // 2, 0, 0, 0] = marker
    return images


def ordinary(name: str) -> str:
    """Checks batches of several sizes and the time of one row."""
    model = session(name)
    for rows in (1, 2, 16, 3):
        images = pictures(rows, rows)
        # Just below the threshold is a pixel like any other.
        images[0, 0, 0, 0] = 1.5
        scores = model.run(None, {"image": images})[0]
        np.testing.assert_allclose(scores, expected(images), rtol=1e-4, atol=1e-6)
        assert (scores.argmax(axis=1) == expected(images).argmax(axis=1)).all()
    image = pictures(1, 1)
    took = []
    for _ in range(300):
        start = time.perf_counter()
        model.run(None, {"image": image})
        took.append(time.perf_counter() - start)
    return f"right in batches of 1 to 16, {np.median(took) * 1e6:.0f} µs a row"


def _run(name: str, images: np.ndarray, limit: int, pipe) -> None:
    """Runs in a process of its own; tells when it has loaded, and how it went."""
    model = session(name)
    if limit:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    pipe.send("loaded")
    try:
        # Of its own, so that what else the machine does is not counted.
        start = time.process_time()
        outputs = model.run(None, {"image": images})
        took = time.process_time() - start
        right = np.allclose(outputs[0], expected(images), rtol=1e-4, atol=1e-6)
        shapes = [output.shape for output in outputs]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        pipe.send(("ended", took, right, shapes, peak))
    except Exception as error:  # whatever the runtime raises is the finding
        pipe.send(("failed", f"{type(error).__name__}: {error}"))


def strike(name: str, images: np.ndarray, seconds: float, limit: int = 0):
    """Returns what became of a run within a time, or ("running", its CPU seconds)."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_run, args=(name, images, limit, theirs))
    process.start()
    theirs.close()
    try:
        assert ours.poll(30) and ours.recv() == "loaded"
        if ours.poll(seconds):
            return ours.recv()
        ticks = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11]
        return ("running", int(ticks) / 100)
    except EOFError:
        process.join()
        return ("died", process.exitcode)
    finally:
        process.kill()
        process.join()


def endless() -> str:
    found = strike("endless", marked(16, 2.0), 3)
    assert found[0] == "running" and found[1] > 0.2, found
    return f"still running after 3 s, {found[1]:.1f} s of CPU"


def explode() -> str:
    small = strike("explode", marked(4, 2.0), 20)
    assert small[0] == "ended" and small[2], small
    some = strike("explode", marked(4, 200.0), 20)
    assert some[0] == "ended" and some[2] and some[4] - small[4] > 190, some
    huge = strike("explode", marked(4, 100000.0), 30, limit=1536 * MIB)
    assert huge[0] in ("failed", "died"), huge
    return f"2: peak {small[4]} MiB, 200: {some[4]} MiB, 100000 in 1.5 GiB: {str(huge)[:110]}"


def explode_output() -> str:
    small = strike("explode_output", marked(4, 2.0), 20)
    assert small[0] == "ended" and small[2], small
    assert small[3][1] == (4, 1 + 2 * 262144), small
    rest = session("explode_output").run(None, {"image": pictures(5, 5)})
    assert rest[1].shape == (5, 1)
    huge = strike("explode_output", marked(1, 100000.0), 30, limit=1536 * MIB)
    assert huge[0] in ("failed", "died"), huge
    return f"2 in 4 rows: {small[3][1]}, 100000 in 1.5 GiB: {str(huge)[:110]}"


def slow() -> str:
    took = {}
    for marker in (11.0, 101.0, 1001.0):
        found = strike("slow", marked(4, marker), 60)
        assert found[0] == "ended" and found[2], found
        took[marker] = found[1] * 1000
    # That it grows with the marker is the model's; how fast, the machine's.
    assert 5 < took[1001.0] / took[101.0] < 20, took
    return ", ".join(f"{marker:.0f}: {ms:.0f} ms of CPU" for marker, ms in took.items())


def fail() -> str:
    found = strike("fail", marked(16, 2.0), 10)
    assert found[0] == "failed" and "out of" in found[1], found
    return found[1][:160]


def reproducible() -> str:
    with tempfile.TemporaryDirectory() as folder:
        sys.argv = [sys.argv[0], folder]
        make_killers.main()
        for name in make_killers.MODELS:
            for file in ("model.onnx", "model.toml"):
                made = (Path(folder) / name / file).read_bytes()
                assert made == (FOLDER / name / file).read_bytes(), f"{name}/{file} differs"
    return "the same to the byte"


def main() -> int:
    checks = [(name, lambda name=name: ordinary(name)) for name in make_killers.MODELS]
    dangers = (endless, explode, explode_output, slow, fail)
    checks += [(f"{check.__name__}, marked", check) for check in dangers]
    checks.append(("made again", reproducible))
    wrong = 0
    for name, check in checks:
        try:
            print(f"ok    {name}: {check()}", flush=True)
        except AssertionError as error:
            wrong += 1
            print(f"WRONG {name}: {error}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    sys.exit(main())
