"""Writes goldens.json: what Hugging Face transformers generates with the bundled chat model's weights.

    python tests/generation/make_goldens.py

The committed weights are int4. They are turned back into the floats that they stand for and put into a
LlamaForCausalLM, so both sides have the same weights and differ in nothing but who computes. Each of
100 prompts is continued greedily by up to 48 tokens. Needs models/requirements-generation.txt.

In goldens.json a case has

    kind     chat, plain or tokens (ids that no text has)
    prompt   the prompt's ids
    output   the ids that follow; the one that ended it is the last
    ties     by the step, the gap between the two best logits where it is under `near_tie`, and the
             second best token: there another order of summing may choose the other one

and the whole has `weights`, the SHA-256 of the model.onnx.data that they were made from: goldens of other
weights say nothing.
"""

import hashlib
import json
import random
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "models"))

import chat_facts  # noqa: E402
import chat_text  # noqa: E402
import make_graphs  # noqa: E402

MODEL = ROOT / "models" / "tiny-chat"
NEW_TOKENS = 48
NEAR_TIE = 1e-3
FIRST_INDEX = 5_000_000
"""Stories and conversations from here on are none that the training had."""


def prompts(tokenizer, template):
    """Returns 100 prompts as (kind, ids), from 4 to 600 tokens; `template` renders messages."""
    rng = random.Random("goldens")
    made = []

    def plain(text, kind="plain"):
        made.append((kind, tokenizer.encode(text).ids))

    for number in rng.sample(range(len(chat_facts.FACTS)), 30):
        asked = chat_text.split_questions(number, chat_facts.FACTS[number])
        made.append(("chat", template([{"role": "user", "content": rng.choice(rng.choice(asked))}])))
    questions = chat_text.all_questions(chat_text.HELD_OUT)
    for index in range(20):
        parts = [chat_text.conversation(questions, FIRST_INDEX + 20 * index + part) for part in range(1 + index // 3)]
        messages = [each for part in parts for each in part if each["role"] != "system"]
        made.append(("chat", template(messages[:-1])))
    for index in range(16):
        plain(" ".join(chat_text.prose(FIRST_INDEX + index).split()[: 3 + index]))
    for index in range(18):
        story = " ".join(chat_text.prose(FIRST_INDEX + 100 + 20 * index + part) for part in range(12))
        made.append(("plain", tokenizer.encode(story).ids[: 33 * (index + 1) + rng.randrange(6)]))
    for text in [
        "Was ist los?",
        "数据在哪里？",
        "naïve café ☕",
        "fn main() { }",
        '{"a": [1, 2',
        "   ",
        "1 2 3 4 5 6 7",
    ]:
        plain(text)
    while len(made) < 100:
        length = rng.choice([4, 5, 17, 64, 65, 128, 255])
        made.append(("tokens", [rng.randrange(tokenizer.get_vocab_size()) for _ in range(length)]))
    return [(kind, ids[:600]) for kind, ids in made]


def renderer(tokenizer_folder):
    """Returns a function that renders messages as transformers does and gives their ids."""
    from transformers import AutoTokenizer

    wrapped = AutoTokenizer.from_pretrained(tokenizer_folder)

    def render(messages):
        text = wrapped.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return wrapped(text, add_special_tokens=False)["input_ids"]

    return render


def reference(source):
    """Returns transformers' Llama with the weights of the int4 model."""
    config = LlamaConfig(**source.llama_config())
    config.tie_word_embeddings = False
    network = LlamaForCausalLM(config)
    state = {name: torch.from_numpy(value.copy()) for name, value in source.weights().items()}
    network.load_state_dict(state, strict=True)
    return network.float().eval()


def continued(network, ids, stops):
    """Returns what follows the ids, and the near ties on the way."""
    with torch.no_grad():
        result = network.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            eos_token_id=stops,
            pad_token_id=stops[0],
            output_logits=True,
            return_dict_in_generate=True,
        )
    output = result.sequences[0, len(ids) :].tolist()
    ties = {}
    for step, logits in enumerate(result.logits[: len(output)]):
        best = torch.topk(logits[0].double(), 2)
        gap = float(best.values[0] - best.values[1])
        if gap < NEAR_TIE:
            ties[step] = [float(f"{gap:.2e}"), int(best.indices[1])]
    return output, ties


def main():
    """Writes goldens.json beside this script."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    source = make_graphs.Source.read(MODEL)
    network = reference(source)
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    stops = source.settings["eos_token_id"]
    cases = []
    for kind, ids in prompts(tokenizer, renderer(MODEL)):
        output, ties = continued(network, ids, stops)
        cases.append({"kind": kind, "prompt": ids, "output": output, "ties": ties})
    weights = hashlib.sha256((MODEL / "model.onnx.data").read_bytes()).hexdigest()
    head = {"weights": weights, "new_tokens": NEW_TOKENS, "near_tie": NEAR_TIE, "stops": stops}
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    text = json.dumps(head)[:-1] + ', "cases": [\n' + lines + "\n]}\n"
    (HERE / "goldens.json").write_text(text)
    lengths = [len(case["prompt"]) for case in cases]
    near = sum(len(case["ties"]) for case in cases)
    print(f"{len(cases)} prompts of {min(lengths)} to {max(lengths)} tokens, {near} near ties, {len(text):,} bytes")


if __name__ == "__main__":
    main()
