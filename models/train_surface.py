"""Trains the surface demo model and writes everything that is committed about it.

Run it by `make train`, or in an environment made from requirements-training.txt:

    python models/train_surface.py

It reads the labels from surface/model.toml, draws its own pictures (surface_drawing.py), trains a
small CNN on the CPU, and writes surface/model.onnx, surface/samples/ and the measured part of
surface/MODEL_CARD.md. What it reports was measured with ONNX Runtime on the exported file, not
with torch, on pictures that no training step saw. It ends with an error, and leaves the old files
alone, when the model is not good enough to ship.

On one kind of CPU with the pinned packages two runs write the same bytes: all seeds are fixed, torch
runs its deterministic kernels, and the number of threads, which decides the order of its sums, is
fixed too.
"""

import argparse
import hashlib
import io
import multiprocessing
import shutil
import tempfile
import time
import tomllib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

import surface_drawing as drawing

HERE = Path(__file__).resolve().parent
TARGET = HERE / "surface"

PICTURES = {drawing.TRAINING: 24_000, drawing.VALIDATION: 3_000, drawing.HELD_OUT: 6_000}
EPOCHS = 16
BATCH = 128
PEAK_RATE = 3e-3
THREADS = 2

REQUIRED_ACCURACY = 0.95
LARGEST_FILE = 1_000_000
OPSET = 17


class SurfaceNet(nn.Module):
    """Three convolution blocks, then what is there on average and what stands out most.

    The input is `[N, 3, 32, 32]`, RGB, floats in 0..1; the output is the logits, `[N, classes]`.
    Normalisation is inside, so that whoever calls the model needs to know nothing about it.
    """

    def __init__(self, classes, mean, std):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("inverse_std", 1 / torch.tensor(std).view(1, 3, 1, 1))
        self.block1 = self._block(3, 32)
        self.block2 = self._block(32, 64, 64)
        self.block3 = self._block(64, 96)
        self.head = nn.Linear(2 * 96, classes)

    @staticmethod
    def _block(*channels):
        layers = []
        for before, after in zip(channels, channels[1:]):
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        return nn.Sequential(*layers)

    def forward(self, image):
        x = (image - self.mean) * self.inverse_std
        x = functional.max_pool2d(self.block1(x), 2)
        x = functional.max_pool2d(self.block2(x), 2)
        x = self.block3(x)
        average = functional.adaptive_avg_pool2d(x, 1).flatten(1)
        most = functional.adaptive_max_pool2d(x, 1).flatten(1)
        return self.head(torch.cat([average, most], dim=1))


class Served(nn.Module):
    """The network as it is exported: probabilities instead of logits."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image):
        return functional.softmax(self.network(image), dim=1)


# --- data ---


def _drawn(job):
    """Draws one picture and scales it down; each split meets all ways of scaling in turn."""
    labels, split, index = job
    picture, label = drawing.draw(labels, split, index)
    ways = list(drawing.SHRINKERS)
    return drawing.shrink(picture, ways[(index // len(labels)) % len(ways)]), label


def dataset(labels, split):
    """Returns a split as float pictures `[N, 3, 32, 32]` in 0..1 and classes `[N]`."""
    jobs = [(labels, split, index) for index in range(PICTURES[split])]
    with multiprocessing.Pool() as pool:
        drawn = pool.map(_drawn, jobs, chunksize=100)
    pictures = np.stack([to_input(picture) for picture, _ in drawn])
    return pictures, np.array([label for _, label in drawn])


def to_input(picture):
    """Turns an RGB picture of 32x32 bytes into the model's input, as a server does."""
    return picture.transpose(2, 0, 1).astype(np.float32) / np.float32(255)


# --- training ---


def train(labels, pictures, targets):
    """Trains the network and returns it, ready for export."""
    torch.manual_seed(drawing.SEED)
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    order = np.random.default_rng(drawing.SEED)

    mean = pictures.mean(axis=(0, 2, 3)).round(4).tolist()
    std = pictures.std(axis=(0, 2, 3)).round(4).tolist()
    network = SurfaceNet(len(labels), mean, std)
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=0.02)
    steps = len(pictures) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=EPOCHS * steps)
    pictures, targets = torch.from_numpy(pictures), torch.from_numpy(targets)

    for epoch in range(EPOCHS):
        started, total = time.monotonic(), 0.0
        shuffled = torch.from_numpy(order.permutation(len(pictures)))
        for step in range(steps):
            chosen = shuffled[step * BATCH : (step + 1) * BATCH]
            batch = _turned(pictures[chosen], int(order.integers(8)))
            loss = functional.cross_entropy(network(batch), targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        took = time.monotonic() - started
        print(f"epoch {epoch + 1:2}/{EPOCHS}: loss {total / steps:.4f}, {took:.0f} s", flush=True)
    return network.eval()


def _turned(batch, way):
    """Returns the batch in one of the eight positions of a square: a surface has no upper side."""
    batch = torch.rot90(batch, way % 4, dims=(2, 3))
    return batch.flip(3) if way >= 4 else batch


# --- export and measurement ---


def export(network):
    """Returns the ONNX file's bytes, checked, with batch normalisation folded into the weights."""
    buffer = io.BytesIO()
    torch.onnx.export(
        Served(network).eval(),
        (torch.zeros(1, 3, drawing.MODEL_INPUT, drawing.MODEL_INPUT),),
        buffer,
        dynamo=False,
        opset_version=OPSET,
        do_constant_folding=True,
        input_names=["image"],
        output_names=["probabilities"],
        dynamic_axes={"image": {0: "batch"}, "probabilities": {0: "batch"}},
    )
    model = onnx.load_from_string(buffer.getvalue())
    model.graph.name = "surface"
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def session(model):
    """Opens the exported model as a worker would: on one thread that does not spin."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def classify(runner, pictures):
    """Returns the probabilities of a batch of inputs, `[N, classes]`."""
    parts = [pictures[at : at + 500] for at in range(0, len(pictures), 500)]
    return np.concatenate([runner.run(None, {"image": part})[0] for part in parts])


def confusion(probabilities, targets, classes):
    """Counts, for each true class (row), what the model said (column)."""
    table = np.zeros((classes, classes), dtype=int)
    np.add.at(table, (targets, probabilities.argmax(axis=1)), 1)
    return table


def micros_per_sample(runner, pictures):
    """Returns the median time of one run with one picture."""
    times = []
    for index in range(2_000):
        one = pictures[index % len(pictures)][None]
        started = time.perf_counter()
        runner.run(None, {"image": one})
        times.append(time.perf_counter() - started)
    return float(np.median(times) * 1e6)


# --- samples ---

SAMPLES_AS_SEEN = 3
"""Samples per class at 32x32: exactly what the model gets."""

LARGE_SAMPLES = [("crack", "png"), ("stain", "png"), ("hole", "jpg")]
"""One more of these classes, at 96x96: for these the server has to resize."""


def write_samples(labels, runner, folder):
    """Writes the first held-out pictures of each class and returns how many had to be passed over.

    A sample documents what a right answer looks like, so one that the model gets wrong is passed
    over and counted; the card says how many were.
    """
    folder.mkdir(parents=True)
    passed_over = 0
    for label, name in enumerate(labels):
        wanted = [("png", drawing.MODEL_INPUT)] * SAMPLES_AS_SEEN
        wanted += [(ending, drawing.PHOTO) for large, ending in LARGE_SAMPLES if large == name]
        index = label
        for number, (ending, side) in enumerate(wanted, start=1):
            path = folder / f"{name}-{number}.{ending}"
            while not _write_if_right(labels, runner, path, index, side):
                passed_over += 1
                index += len(labels)
            index += len(labels)
    return passed_over


def _write_if_right(labels, runner, path, index, side):
    """Writes one held-out picture and keeps it if the model, given the file, names its class."""
    picture, label = drawing.draw(labels, drawing.HELD_OUT, index)
    if side == drawing.MODEL_INPUT:
        picture = drawing.shrink(picture, "area")
    options = {"quality": 92} if path.suffix == ".jpg" else {"optimize": True}
    Image.fromarray(picture).save(path, **options)
    with Image.open(path) as opened:
        small = opened.convert("RGB").resize((drawing.MODEL_INPUT,) * 2, Image.Resampling.BILINEAR)
    right = classify(runner, to_input(np.asarray(small))[None])[0].argmax() == label
    if not right:
        path.unlink()
    return right


# --- the card ---

BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"


def measured(labels, table, micros, model, passed_over):
    """Returns the part of the model card that states this run's results."""
    accuracy = np.trace(table) / table.sum()
    wrong = table.sum() - np.trace(table)
    lines = [
        f"Held-out accuracy **{accuracy:.3f}** ({wrong} of {table.sum():,} pictures wrong).",
        "",
        "| true class | " + " | ".join(labels) + " | recall |",
        "|---|" + "---:|" * (len(labels) + 1),
    ]
    for name, row in zip(labels, table):
        cells = " | ".join(str(count) for count in row)
        lines.append(f"| {name} | {cells} | {row[labels.index(name)] / row.sum():.3f} |")
    precision = " | ".join(f"{table[i, i] / max(table[:, i].sum(), 1):.3f}" for i in range(len(labels)))
    lines += [
        f"| precision | {precision} | |",
        "",
        "Rows are what was drawn, columns what the model said.",
        "",
        f"- Size of `model.onnx`: {len(model):,} bytes.",
        f"- SHA-256: `{hashlib.sha256(model).hexdigest()}`.",
        f"- Time of one picture alone, one thread, ONNX Runtime {onnxruntime.__version__}, "
        f"on the machine that trained it: about {round(micros, -1):.0f} µs (median).",
        f"- Held-out pictures passed over as samples because the model gets them wrong: {passed_over}.",
    ]
    return "\n".join(lines) + "\n"


def write_card(text):
    """Replaces the measured part of the model card; the rest is written by hand."""
    card = TARGET / "MODEL_CARD.md"
    before, rest = card.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    card.write_text(before + BEGIN + text + END + after, encoding="utf-8")


def main():
    """Draws, trains, measures; writes nothing unless the model may be shipped."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    settings = tomllib.loads((TARGET / "model.toml").read_text(encoding="utf-8"))
    labels = settings["labels"]
    if settings["image"]["width"] != drawing.MODEL_INPUT or settings["image"]["height"] != drawing.MODEL_INPUT:
        raise SystemExit(f"model.toml: image must be {drawing.MODEL_INPUT}x{drawing.MODEL_INPUT}")

    network = train(labels, *dataset(labels, drawing.TRAINING))
    model = export(network)
    runner = session(model)
    for split, name in ((drawing.VALIDATION, "validation"), (drawing.HELD_OUT, "held-out")):
        pictures, targets = dataset(labels, split)
        table = confusion(classify(runner, pictures), targets, len(labels))
        accuracy = np.trace(table) / table.sum()
        print(f"{name} accuracy {accuracy:.4f}\n{table}")
    micros = micros_per_sample(runner, pictures)
    print(f"{len(model):,} bytes, {micros:.0f} µs per picture")
    if accuracy < REQUIRED_ACCURACY or len(model) > LARGEST_FILE:
        raise SystemExit(f"not good enough to ship: {REQUIRED_ACCURACY} and {LARGEST_FILE:,} bytes are the limits")

    with tempfile.TemporaryDirectory(dir=TARGET) as scratch:
        samples = Path(scratch) / "samples"
        passed_over = write_samples(labels, runner, samples)
        shutil.rmtree(TARGET / "samples", ignore_errors=True)
        samples.rename(TARGET / "samples")
    (TARGET / "model.onnx").write_bytes(model)
    write_card(measured(labels, table, micros, model, passed_over))
    print(f"written: {TARGET}")


if __name__ == "__main__":
    main()
