"""Makes language models of real sizes with random weights, to measure and to test with.

    python models/make_shapes.py --out DIR SHAPE[-PRECISION]...

SHAPE is `tiny`, `135m` or `0.5b` (llama_shapes.py has the numbers), PRECISION one of

    fp32
    fp16      as the builder makes it for the CPU: without GroupQueryAttention, past and present joined
    fp16-gqa  as it makes it for GPUs: with GroupQueryAttention, which ONNX Runtime also runs on the CPU
    int4-1    int4 with accuracy level 1: sums in fp32
    int4-4    int4 with accuracy level 4: activations rounded to int8, the builder's own choice

Without one all that are usual for the shape are made. Each becomes a folder `DIR/SHAPE-PRECISION` as
onnxruntime-genai's builder writes it. One that is there already is left alone.

What such a model says is noise, but it takes the time and the memory of one that was trained, and
the same seed gives the same weights. Needs requirements-generation.txt; the largest shape needs
about 10 GiB of memory while it is built.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

import llama_shapes as shapes

PRECISIONS = {
    "fp32": {"precision": "fp32"},
    "fp16": {"precision": "fp16"},
    "fp16-gqa": {"precision": "fp16", "provider": "cuda"},
    "int4-1": {"precision": "int4", "accuracy_level": 1},
    "int4-4": {"precision": "int4", "accuracy_level": 4},
}
USUAL = {"tiny": list(PRECISIONS), "135m": ["fp32", "int4-1", "int4-4"], "0.5b": ["fp32", "int4-1", "int4-4"]}


def wanted(names):
    """Returns the precisions that are asked for, by shape, in the order of the command line."""
    asked = {}
    for name in names:
        shape, _, precision = name.partition("-")
        if shape not in USUAL or (precision and precision not in PRECISIONS):
            raise SystemExit(f"{name}: must be one of {', '.join(USUAL)}, or that with -{', -'.join(PRECISIONS)}")
        asked.setdefault(shape, []).extend([precision] if precision else USUAL[shape])
    return asked


def random_checkpoint(shape, folder):
    """Writes a checkpoint of the shape with weights drawn as transformers draws fresh ones."""
    torch.manual_seed(shapes.SEED)
    with torch.device("cpu"):
        network = LlamaForCausalLM(shape.config()).eval()
    tokenizer = shapes.train_tokenizer(shapes.invented_words(2 * shape.vocabulary), shape.vocabulary)
    shapes.save_checkpoint(network, tokenizer, folder)


def main():
    """Makes what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to")
    parser.add_argument("shapes", nargs="+", metavar="SHAPE", help="tiny, 135m, 0.5b; or tiny-fp32 and so on")
    arguments = parser.parse_args()
    for name, precisions in wanted(arguments.shapes).items():
        missing = [each for each in precisions if not (arguments.out / f"{name}-{each}").exists()]
        if missing:
            _make(name, missing, arguments.out)


def _make(name, precisions, out):
    """Makes one shape in several precisions from the same checkpoint."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        checkpoint = Path(scratch) / "checkpoint"
        random_checkpoint(shapes.SHAPES[name], checkpoint)
        for precision in precisions:
            built = Path(scratch) / precision
            shapes.build(checkpoint, built, **PRECISIONS[precision])
            shutil.move(built, out / f"{name}-{precision}")
            print(f"made: {out / f'{name}-{precision}'}", flush=True)


if __name__ == "__main__":
    main()
