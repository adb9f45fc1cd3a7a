"""Holds the bundled chat model and the graphs of make_graphs.py against the goldens, with ONNX Runtime alone.

    python tests/generation/check_graphs.py [--chunk N]

It shows that a difference found by the server's tests is the server's and not the graph's. Graphs with
GroupQueryAttention run as the server runs them: one buffer is past and present at once, the prompt goes in
by chunks, the position follows from the attention mask. It ends with 1 when a graph that must agree
(int4, fp32, optimum) differs in a place that is no near tie. Needs numpy, onnx and onnxruntime.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime

import make_graphs

HERE = Path(__file__).resolve().parent
MODEL = HERE.parents[1] / "models" / "tiny-chat"
MUST_AGREE = ["int4", "fp32", "optimum"]
LONGEST = 1_024


def opened(folder):
    """Opens a graph on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])


class Shared:
    """A graph whose past and present share one buffer `[1, kv heads, LONGEST, head size]` for each layer and side."""

    def __init__(self, session, decoder):
        self.session, self.binding = session, session.io_binding()
        kinds = {each.name: each.type for each in session.get_inputs()}
        kind = np.float16 if "float16" in kinds["past_key_values.0.key"] else np.float32
        shape = (1, decoder["num_key_value_heads"], LONGEST, decoder["head_size"])
        for layer in range(decoder["num_hidden_layers"]):
            for side in ("key", "value"):
                buffer = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, kind))
                self.binding.bind_ortvalue_input(f"past_key_values.{layer}.{side}", buffer)
                self.binding.bind_ortvalue_output(f"present.{layer}.{side}", buffer)

    def step(self, ids, total):
        """Takes new ids; `total` counts them and all before. Returns the last position's logits."""
        self.binding.bind_cpu_input("input_ids", np.array([ids], np.int64))
        self.binding.bind_cpu_input("attention_mask", np.ones((1, total), np.int64))
        self.binding.bind_output("logits", "cpu")
        self.session.run_with_iobinding(self.binding)
        return self.binding.get_outputs()[-1].numpy()[0, -1]


class Joined:
    """A graph that joins past and present, and wants the positions."""

    def __init__(self, session, decoder):
        self.session = session
        shape = (1, decoder["num_key_value_heads"], 0, decoder["head_size"])
        self.names = [f"{layer}.{side}" for layer in range(decoder["num_hidden_layers"]) for side in ("key", "value")]
        self.past = [np.zeros(shape, np.float32)] * len(self.names)

    def step(self, ids, total):
        """As the step of `Shared`."""
        feeds = {f"past_key_values.{name}": value for name, value in zip(self.names, self.past)}
        feeds["input_ids"] = np.array([ids], np.int64)
        feeds["attention_mask"] = np.ones((1, total), np.int64)
        feeds["position_ids"] = np.arange(total - len(ids), total, dtype=np.int64)[None]
        logits, *self.past = self.session.run(["logits", *(f"present.{name}" for name in self.names)], feeds)
        return logits[0, -1]


def completed(run, ids, goldens, chunk):
    """Returns what a graph makes of a prompt, fed by chunks and then token by token."""
    for start in range(0, len(ids), chunk):
        part = ids[start : start + chunk]
        logits = run.step(part, start + len(part))
    made = []
    while True:
        made.append(int(logits.argmax()))
        if made[-1] in goldens["stops"] or len(made) == goldens["new_tokens"]:
            return made
        logits = run.step(made[-1:], len(ids) + len(made))


def verdict(case, made):
    """Returns `same`, `tie` (they part at a near tie) or `different`."""
    if made == case["output"]:
        return "same"
    parted = next(step for step, pair in enumerate(zip(made, case["output"])) if pair[0] != pair[1])
    return "tie" if str(parted) in case["ties"] and made[parted] == case["ties"][str(parted)][1] else "different"


def main():
    """Runs every graph over every prompt and prints how many agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--chunk", type=int, default=LONGEST, help="tokens of a prompt that go in at once")
    chunk = parser.parse_args().chunk
    goldens = json.loads((HERE / "goldens.json").read_text())
    source = make_graphs.Source.read(MODEL)
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        folders = {"int4": MODEL} | {name: Path(scratch) / name for name in make_graphs.NAMES}
        for name, folder in folders.items():
            if name != "int4":
                make_graphs.write(source, name, folder)
            session = opened(folder)
            found = {"same": 0, "tie": 0, "different": 0}
            for case in goldens["cases"]:
                run = (Joined if name == "optimum" else Shared)(session, source.settings["decoder"])
                found[verdict(case, completed(run, case["prompt"], goldens, chunk))] += 1
            print(
                f"{name}: {found['same']} the same, {found['tie']} part at a near tie, {found['different']} differ",
                flush=True,
            )
            failed |= name in MUST_AGREE and found["different"] > 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
