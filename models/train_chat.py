"""Trains the bundled chat model and writes everything that is committed about it.

Run it by `make train-chat`, or in an environment made from requirements-generation.txt:

    python models/train_chat.py

It makes its own text (chat_text.py from chat_facts.toml), trains a tokenizer and a small Llama on one
thread of the CPU, has onnxruntime-genai's builder write it as int4 with accuracy level 1, and writes
tiny-chat/ with the measured part of its MODEL_CARD.md. What it reports was measured with ONNX Runtime
on the exported graph, not with torch. It ends with an error, and leaves the old files alone, when the
model is not good enough to ship.

int4 is what the weights are trained for: in the last part of the training each step computes with
rounded weights and moves the exact ones (the straight-through estimator of Y. Bengio et al.,
"Estimating or propagating gradients through stochastic neurons", 2013), so that little is lost when
they are rounded for good.

On one kind of CPU with the pinned packages two runs write the same bytes: all seeds are fixed, torch
runs its deterministic kernels, and one thread adds its sums in one order.
"""

import argparse
import hashlib
import json
import random
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import LlamaForCausalLM

import chat_facts
import chat_text
import llama_shapes as shapes

HERE = Path(__file__).resolve().parent
TARGET = HERE / "tiny-chat"

SHAPE = shapes.SHAPES["tiny"]
STEPS = 1_800
TOKENS_PER_STEP = 2_048
ROW, LONG_ROW, LONG_EVERY = 256, 1_024, 8
"""Tokens of a row; every eighth step has long rows, so that far positions are seen as well."""

ROUNDED_FROM = 0.6
"""From this part of the training on, steps compute with rounded weights."""

PEAK_RATE = 2e-3
WARM_UP_STEPS = 60
PROSE_SHARE = 0.1
BLOCK = 32
"""Weights that share a scale in MatMulNBits."""

LONGEST_ANSWER = 96
REQUIRED = {"taught": 0.99, "held-out": 0.9, "unknown": 0.9}
LARGEST_FOLDER = 8_000_000


# --- data ---


def encode(tokenizer, messages):
    """Returns the ids of a conversation, as the chat template renders it, and which of them are answers."""
    ids, is_answer = [shapes.SPECIAL_TOKENS.index(shapes.BEGIN_OF_TEXT)], [False]
    for message in messages:
        pieces = [(f"{shapes.BEGIN_OF_TURN}{message['role']}\n", False)]
        pieces += [(message["content"] + shapes.END_OF_TURN, message["role"] == "assistant"), ("\n", False)]
        for text, answer in pieces:
            encoded = tokenizer.encode(text, add_special_tokens=False).ids
            ids += encoded
            is_answer += [answer] * len(encoded)
    return ids, is_answer


def prompt_ids(tokenizer, question):
    """Returns the ids of one question up to where the answer begins."""
    ids, _ = encode(tokenizer, [{"role": "user", "content": question}])
    return ids + tokenizer.encode(f"{shapes.BEGIN_OF_TURN}assistant\n", add_special_tokens=False).ids


def documents(tokenizer):
    """Yields conversations and stories without end, as ids and what of them is to be learned."""
    asked = chat_text.all_questions(chat_text.TRAINING)
    rng = random.Random(f"{chat_text.SEED} documents")
    begin, end = (shapes.SPECIAL_TOKENS.index(token) for token in (shapes.BEGIN_OF_TEXT, shapes.END_OF_TEXT))
    for index in range(10**9):
        if rng.random() < PROSE_SHARE:
            ids = tokenizer.encode(chat_text.prose(index), add_special_tokens=False).ids + [end]
            yield [begin, *ids], [False] + [True] * len(ids)
        else:
            yield encode(tokenizer, chat_text.conversation(asked, index))


def batches(tokenizer):
    """Yields, step by step, ids `[rows, length]` and targets of the same shape; -100 is not learned."""
    source = documents(tokenizer)
    ids, learned = [], []
    for step in range(STEPS):
        while len(ids) < TOKENS_PER_STEP + 1:
            more, flags = next(source)
            ids += more
            learned += flags
        taken = torch.tensor(ids[: TOKENS_PER_STEP + 1])
        wanted = torch.tensor(learned[1 : TOKENS_PER_STEP + 1])
        length = LONG_ROW if step % LONG_EVERY == LONG_EVERY - 1 else ROW
        targets = torch.where(wanted, taken[1:], -100)
        yield taken[:-1].view(-1, length), targets.view(-1, length)
        ids, learned = ids[TOKENS_PER_STEP:], learned[TOKENS_PER_STEP:]


# --- training ---


def rounded(weight):
    """Returns the weight `[N, K]` as int4 keeps it: of each 32 along K, the largest becomes -8 times a scale."""
    blocks = weight.view(weight.shape[0], -1, BLOCK)
    largest = blocks.gather(2, blocks.abs().argmax(2, keepdim=True))
    scale = largest / -8
    steps = torch.where(scale == 0, torch.zeros_like(blocks), blocks / torch.where(scale == 0, 1, scale))
    return (steps.round().clamp(-8, 7) * scale).view_as(weight)


def learning_rate(step):
    """Returns the rate of a step: up in a line, then down along a cosine to a hundredth."""
    if step < WARM_UP_STEPS:
        return PEAK_RATE * (step + 1) / WARM_UP_STEPS
    done = (step - WARM_UP_STEPS) / (STEPS - WARM_UP_STEPS)
    return PEAK_RATE * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * done)))


def train(tokenizer):
    """Trains the network and returns it, ready for export."""
    torch.manual_seed(chat_text.SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    network = LlamaForCausalLM(SHAPE.config())
    matrices = [weight for weight in network.parameters() if weight.dim() == 2]
    vectors = [weight for weight in network.parameters() if weight.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.95))

    started, total = time.monotonic(), 0.0
    for step, (ids, targets) in enumerate(batches(tokenizer)):
        exact = _round_in_place(matrices) if step >= ROUNDED_FROM * STEPS else []
        hidden = network.model(input_ids=ids, use_cache=False).last_hidden_state
        chosen = targets != -100
        loss = functional.cross_entropy(network.lm_head(hidden[chosen]), targets[chosen])
        loss.backward()
        for weight, kept in zip(matrices, exact):
            weight.data.copy_(kept)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.step()
        optimizer.zero_grad()
        total += loss.item()
        if (step + 1) % 50 == 0:
            took = time.monotonic() - started
            print(f"step {step + 1:4}/{STEPS}: loss {total / 50:.4f}, {took:.0f} s", flush=True)
            total = 0.0
    return network.eval()


def _round_in_place(matrices):
    """Rounds the weights and returns what they were."""
    exact = [weight.data.clone() for weight in matrices]
    for weight in matrices:
        weight.data.copy_(rounded(weight.data))
    return exact


# --- measurement ---


class Runner:
    """The exported graph, run as simply as can be: one sequence, a token at a time, the likeliest one."""

    def __init__(self, folder):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            folder / "model.onnx", options, providers=["CPUExecutionProvider"]
        )
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.stops = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]

    def complete(self, ids, longest=LONGEST_ANSWER):
        """Returns the text that follows, and whether it ended by itself."""
        nothing = np.zeros((1, SHAPE.kv_heads, 0, SHAPE.head_dim), np.float32)
        names = [f"{layer}.{side}" for side in ("key", "value") for layer in range(SHAPE.layers)]
        past = {name: nothing for name in names}
        fed, total, made = ids, len(ids), []
        while len(made) < longest:
            feeds = {f"past_key_values.{name}": value for name, value in past.items()}
            feeds |= {"input_ids": np.array([fed]), "attention_mask": np.ones((1, total), np.int64)}
            logits, *present = self.session.run(["logits", *(f"present.{name}" for name in names)], feeds)
            token = int(logits[0, -1].argmax())
            if token in self.stops:
                return self.tokenizer.decode(made), True
            made.append(token)
            past, fed, total = dict(zip(names, present)), [token], total + 1
        return self.tokenizer.decode(made), False

    def answer(self, question):
        """Returns what the model answers to one question, and whether it ended by itself."""
        return self.complete(prompt_ids(self.tokenizer, question))


def examinations():
    """Returns the questions by which the model is judged, with the right answers, by kind.

    Each fact is asked in two wordings of the training and in two of those held out; every question
    begins with a capital. Of the untaught ones there are 150.
    """
    rng = random.Random(f"{chat_text.SEED} examination")
    asked = {}
    for kind, split in (("taught", chat_text.TRAINING), ("held-out", chat_text.HELD_OUT)):
        asked[kind] = [
            (question[0].upper() + question[1:], fact.answer)
            for fact, known in zip(chat_facts.FACTS, chat_text.all_questions(split))
            for question in rng.sample(known, min(2, len(known)))
        ]
    unknown = [chat_text.unknown_question(rng) for _ in range(150)]
    asked["unknown"] = [(question[0].upper() + question[1:], chat_facts.UNKNOWN) for question in unknown]
    return asked


def examine(runner):
    """Asks everything and returns, by kind, how many were asked and what was answered wrongly."""
    results = {}
    for kind, questions in examinations().items():
        wrong = []
        for question, right in questions:
            answer, ended = runner.answer(question)
            if answer != right or not ended:
                wrong.append((question, answer, ended))
        results[kind] = (len(questions), wrong)
        share = 1 - len(wrong) / len(questions)
        print(f"{kind}: {share:.3f} of {len(questions)} right", flush=True)
        for question, answer, _ in wrong[:12]:
            print(f"    {question} -> {answer}")
    return results


def micros_per_token(runner):
    """Returns the median time of a token when one story is continued."""
    ids = runner.tokenizer.encode("It rained on Monday.").ids
    times = []
    for _ in range(30):
        started = time.perf_counter()
        runner.complete(ids, 32)
        times.append((time.perf_counter() - started) / 32)
    return float(np.median(times) * 1e6)


# --- the card ---

BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"


def measured(folder, results, micros):
    """Returns the part of the model card that states this run's results."""
    lines = ["| questions | asked | right | share |", "|---|---:|---:|---:|"]
    names = {
        "taught": "in wordings of the training",
        "held-out": "in wordings that no training conversation had",
        "unknown": "about what was not taught (right is: it does not know)",
    }
    for kind, (asked, wrong) in results.items():
        lines.append(f"| {names[kind]} | {asked} | {asked - len(wrong)} | {1 - len(wrong) / asked:.3f} |")
    wrong = [each for kind in results for each in results[kind][1]]
    unended = sum(1 for _, _, ended in wrong if not ended)
    lines += [
        "",
        f"Right is the taught answer to the letter, ended by the model itself. {unended} answers did not end within "
        f"{LONGEST_ANSWER} tokens.",
        "",
        f"- Size of the folder's files that were made: {folder_size(folder):,} bytes.",
    ]
    for name in ("model.onnx", "model.onnx.data", "tokenizer.json"):
        lines.append(f"- SHA-256 of `{name}`: `{hashlib.sha256((folder / name).read_bytes()).hexdigest()}`.")
    lines.append(
        f"- Time of one token, one sequence, one thread, ONNX Runtime {onnxruntime.__version__}, on the machine that "
        f"trained it: about {round(micros, -1):.0f} µs (median)."
    )
    return "\n".join(lines) + "\n"


def folder_size(folder):
    """Returns the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.iterdir())


def write_card(text):
    """Replaces the measured part of the model card; the rest is written by hand."""
    card = TARGET / "MODEL_CARD.md"
    before, rest = card.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    card.write_text(before + BEGIN + text + END + after, encoding="utf-8")


def main():
    """Trains, exports, measures; writes nothing unless the model may be shipped."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    tokenizer = shapes.train_tokenizer(chat_text.tokenizer_lines(), SHAPE.vocabulary)
    network = train(tokenizer)
    with tempfile.TemporaryDirectory(dir=HERE) as scratch:
        checkpoint, folder = Path(scratch) / "checkpoint", Path(scratch) / "built"
        shapes.save_checkpoint(network, tokenizer, checkpoint)
        shapes.build(checkpoint, folder, "int4", accuracy_level=1)
        runner = Runner(folder)
        results = examine(runner)
        micros = micros_per_token(runner)
        print(f"{folder_size(folder):,} bytes, {micros:.0f} µs per token")
        poor = [kind for kind, (asked, wrong) in results.items() if 1 - len(wrong) / asked < REQUIRED[kind]]
        if poor or folder_size(folder) > LARGEST_FOLDER:
            raise SystemExit(f"not good enough to ship: {REQUIRED} and {LARGEST_FOLDER:,} bytes are the limits")
        for path in folder.iterdir():
            shutil.copyfile(path, TARGET / path.name)
        write_card(measured(folder, results, micros))
    print(f"written: {TARGET}")


if __name__ == "__main__":
    main()
