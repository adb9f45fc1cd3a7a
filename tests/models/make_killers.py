"""Writes the killer models: small ONNX files that are harmless until one pixel says otherwise.

What a model server must survive cannot be shown with hooks that it offers itself. These graphs are
dangerous to any program that loads them into ONNX Runtime, by nothing but their input.

Every model takes `image`, float32 [N, 3, 32, 32], and gives `scores`, float32 [N, 4], first. All
share one rule for the scores, so that whoever sends a picture can tell what has to come back: clip
the picture to 0..1, take the mean of each quarter over all channels, multiply by 16, softmax. The
dangers add an exact zero to the scores; it is computed, so no optimizer can drop them, and it
leaves the answers as they are.

The first number of a row (channel 0, row 0, column 0) is its marker. Up to 1.5 it is a pixel like
any other; beyond, it triggers what the model is named after, for the whole batch it is in.

    python tests/models/make_killers.py [FOLDER]

The files are the same to the byte each time (with the pinned `onnx` of requirements.txt).
"""

import sys
from pathlib import Path

import onnx
from onnx import parser

# Taken by every ONNX Runtime since 1.15.
IR_VERSION = 9
OPSET = 18

LABELS = ["top_left", "top_right", "bottom_left", "bottom_right"]

# Products of 64 by 64 matrices that take about a millisecond on one core; README.md says where.
SLOW_ITERATIONS_PER_MILLISECOND = 176

# `marker` is [N]: what each row asks for, 0 where it asks for nothing. `zero` is what the danger
# leaves behind.
COMMON = """
    clipped = Clip (image, nought, one)
    pooled = AveragePool <kernel_shape = [16, 16], strides = [16, 16]> (clipped)
    quarters = ReduceMean <keepdims = 0> (pooled, channel_axis)
    flat = Flatten (quarters)
    logits = Mul (flat, sharpness)
    first = Slice (image, corner_from, corner_to, corner_axes)
    pixel = Reshape (first, minus_one)
    armed = Greater (pixel, threshold)
    marker = Where (armed, pixel, nought)
    {danger}
    shifted = Add (logits, zero)
    scores = Softmax <axis = -1> (shifted)
"""

CONSTANTS = """
    float nought = {{0.0}}, float one = {{1.0}}, float threshold = {{1.5}}, float sharpness = {{16.0}},
    int64[1] channel_axis = {{1}}, int64[1] minus_one = {{-1}},
    int64[3] corner_from = {{0, 0, 0}}, int64[3] corner_to = {{1, 1, 1}},
    int64[3] corner_axes = {{1, 2, 3}}{more}
"""

# --- The dangers -------------------------------------------------------------------------------

PLAIN = "zero = Identity (nought)"

# The condition is read from the input in every round, so there is nothing to fold.
ENDLESS = """
    worst = ReduceMax <keepdims = 0> (marker)
    goes_on = Greater (worst, threshold)
    zero = Loop ("", goes_on, nought) <
        body = round (int64 i, bool before, float sum) => (bool after, float next) {
            pixels = ReduceSum <keepdims = 0> (image)
            nothing = Mul (pixels, nought)
            next = Add (sum, nothing)
            asked = Add (worst, next)
            after = Greater (asked, threshold)
        }
    >
"""

# 1 MiB more in each round, all of it kept until the loop ends: memory grows as it is written, so
# no allocator can refuse it at once for being absurd.
EXPLODE = """
    asked = ReduceSum <keepdims = 0> (marker)
    whole = Floor (asked)
    rounds = Cast <to = 7> (whole)
    any = Greater (asked, threshold)
    zero = If (any) <
        then_branch = grow () => (float grown) {
            seed = Mul (asked, nought)
            stacked = Loop (rounds, "") <
                body = round (int64 i, bool before) => (bool after, float[k] piece) {
                    after = Identity (before)
                    piece = Expand (seed, mebibyte)
                }
            >
            grown = ReduceSum <keepdims = 0> (stacked)
        },
        else_branch = rest () => (float rested) { rested = Identity (nought) }
    >
"""

# The same, and all of it is delivered: `extra` has 1 + 262144 columns for each unit of the marker.
EXPLODE_OUTPUT = """
    asked = ReduceMax <keepdims = 0> (marker)
    whole = Floor (asked)
    rounds = Cast <to = 7> (whole)
    any = Greater (asked, threshold)
    zero = Identity (nought)
    light = Unsqueeze (pixel, channel_axis)
    dim = Clip (light, nought, one)
    rows = Shape <end = 1> (image)
    wide = Concat <axis = 0> (rows, mebibyte)
    extra = If (any) <
        then_branch = grow () => (float[n, m] grown) {
            stacked = Loop (rounds, "") <
                body = round (int64 i, bool before) => (bool after, float[n, k] piece) {
                    after = Identity (before)
                    piece = Expand (dim, wide)
                }
            >
            turned = Transpose <perm = [1, 0, 2]> (stacked)
            joined = Flatten (turned)
            grown = Concat <axis = 1> (dim, joined)
        },
        else_branch = rest () => (float[n, m] rested) { rested = Identity (dim) }
    >
"""

SLOW = """
    worst = ReduceMax <keepdims = 0> (marker)
    beyond = Sub (worst, one)
    wanted = Max (beyond, nought)
    products = Mul (wanted, products_per_unit)
    rounds = Cast <to = 7> (products)
    matrix = Expand (nought, matrix_shape)
    product = Loop (rounds, "", matrix) <
        body = round (int64 i, bool before, float[64, 64] left) => (bool after, float[64, 64] next) {
            after = Identity (before)
            next = MatMul (left, rotation)
        }
    >
    zero = ReduceSum <keepdims = 0> (product)
"""

# Row 0 of a table that has only that one, or row 1000000.
FAIL = """
    worst = ReduceMax <keepdims = 0> (marker)
    wrong = Greater (worst, threshold)
    row = Where (wrong, far_away, here)
    zero = Gather (table, row)
"""

MEBIBYTE = ", int64[1] mebibyte = {262144}"
FREE_EXTRA = ", float[N, M] extra"


def rotation() -> str:
    """Returns a 64 by 64 permutation matrix, the one that shifts by one."""
    numbers = (float((column - row) % 64 == 1) for row in range(64) for column in range(64))
    return ", float[64, 64] rotation = {" + ", ".join(map(str, numbers)) + "}"


MODELS = {
    "plain": (PLAIN, "", ""),
    "endless": (ENDLESS, "", ""),
    "explode": (EXPLODE, MEBIBYTE, ""),
    "explode_output": (EXPLODE_OUTPUT, MEBIBYTE, FREE_EXTRA),
    "slow": (
        SLOW,
        f", float products_per_unit = {{{float(SLOW_ITERATIONS_PER_MILLISECOND)}}}"
        ", int64[2] matrix_shape = {64, 64}" + rotation(),
        "",
    ),
    "fail": (FAIL, ", int64 far_away = {1000000}, int64 here = {0}, float[1] table = {0.0}", ""),
}

SAID = {
    "plain": "Does nothing wrong.",
    "endless": "Never ends when the marker of a row is above 1.5.",
    "explode": "Takes as many MiB as the markers above 1.5 say, and twice that at its end.",
    "explode_output": "Answers with as many MiB a row as the highest marker above 1.5 says.",
    "slow": "Takes about marker - 1 milliseconds when the marker of a row is above 1.5.",
    "fail": "Fails as it runs when the marker of a row is above 1.5.",
}


def build(name: str) -> onnx.ModelProto:
    """Returns a model, checked."""
    danger, constants, outputs = MODELS[name]
    text = (
        f"{name} (float[N, 3, 32, 32] image) => (float[N, 4] scores{outputs})\n"
        f"<{CONSTANTS.format(more=constants)}>\n"
        f"{{{COMMON.format(danger=danger)}}}"
    )
    graph = parser.parse_graph(text)
    for index, node in enumerate(graph.node):
        node.name = f"{index}_{node.op_type}"
    model = onnx.helper.make_model(
        graph,
        ir_version=IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        producer_name="impetus-killers",
        producer_version="1",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def description(name: str) -> str:
    """Returns the text of a model's model.toml."""
    labels = ", ".join(f'"{label}"' for label in LABELS)
    return (
        "# Made by make_killers.py.\n"
        f"# {SAID[name]}\n"
        f'name = "{name}"\nversion = "1"\ntask = "image-classification"\n\n'
        "# In the order of the model's output: the brightest quarter of the picture.\n"
        f"labels = [{labels}]\n"
    )


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
    for name in MODELS:
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        content = build(name).SerializeToString(deterministic=True)
        (target / "model.onnx").write_bytes(content)
        (target / "model.toml").write_text(description(name))
        print(f"{target / 'model.onnx'}: {len(content)} bytes")


if __name__ == "__main__":
    main()
