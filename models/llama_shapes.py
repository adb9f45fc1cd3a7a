"""Llama-shaped language models of our own: their shapes, tokenizers, chat template and export.

Both scripts that make such models stand on this module: make_shapes.py, whose weights are random,
and train_chat.py, which trains some. What they write is the folder that onnxruntime-genai's model
builder writes (`model.onnx` with its data, `genai_config.json`, the tokenizer's files and
`generation_config.json`), because that is what people bring; so the builder itself writes it here.

Everything is made from a seed, and nothing is fetched: there is no model hub behind any of it.
"""

import json
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, PreTrainedTokenizerFast

SEED = 20_250_301

BEGIN_OF_TEXT, END_OF_TEXT, BEGIN_OF_TURN, END_OF_TURN = "<s>", "</s>", "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = [BEGIN_OF_TEXT, END_OF_TEXT, BEGIN_OF_TURN, END_OF_TURN]
"""In the order of their ids, from 0."""

CHAT_TEMPLATE = """\
{{- bos_token }}
{%- set system = namespace(text='') %}
{%- if messages and messages[0]['role'] == 'system' %}
    {%- set system.text = messages[0]['content'] %}
    {%- set messages = messages[1:] %}
{%- endif %}
{%- if tools %}
    {%- set system.text = (system.text + '\\n\\n' if system.text else '') + 'You may call these functions:' %}
    {%- for tool in tools %}
        {%- set system.text = system.text + '\\n' + (tool | tojson) %}
    {%- endfor %}
    {%- set system.text = system.text + '\\nTo call one, answer with <tool_call>{\"name\": ..., \"arguments\": ...}</tool_call>.' %}
{%- endif %}
{%- if system.text %}
    {{- '<|im_start|>system\\n' + system.text + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message['role'] == 'system' %}
        {{- raise_exception('a system message must be the first one') }}
    {%- elif message['role'] not in ['user', 'assistant', 'tool'] %}
        {{- raise_exception('unknown role: ' + message['role']) }}
    {%- endif %}
    {{- '<|im_start|>' + message['role'] + '\\n' }}
    {%- if message['content'] %}
        {{- message['content'] }}
    {%- endif %}
    {%- for call in message['tool_calls'] or [] %}
        {{- '<tool_call>' + ({'name': call['function']['name'], 'arguments': call['function']['arguments']} | tojson) + '</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
"""ChatML, as many small models have it, with tools as text of the system's turn."""


@dataclass(frozen=True)
class Shape:
    """The numbers that make a Llama: sizes in elements, positions in tokens."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    positions: int
    theta: float = 10_000.0

    def config(self):
        """Returns the shape as transformers has it, with tied embeddings."""
        return LlamaConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.hidden,
            intermediate_size=self.feed_forward,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            head_dim=self.head_dim,
            max_position_embeddings=self.positions,
            rope_parameters={"rope_type": "default", "rope_theta": self.theta},
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
            bos_token_id=SPECIAL_TOKENS.index(BEGIN_OF_TEXT),
            eos_token_id=SPECIAL_TOKENS.index(END_OF_TEXT),
            dtype="float32",
        )


SHAPES = {
    "tiny": Shape(2_048, 256, 4, 4, 2, 64, 768, 2_048),
    "135m": Shape(49_152, 576, 30, 9, 3, 64, 1_536, 8_192, 100_000.0),
    "0.5b": Shape(151_936, 896, 24, 14, 2, 64, 4_864, 32_768, 1_000_000.0),
}
"""What is served here (tiny), SmolLM-135M's shape, and Qwen2.5-0.5B's without its biases."""


# --- tokenizers ---


def train_tokenizer(lines, size):
    """Trains a byte-level BPE tokenizer on lines of text; `size` counts the special tokens too."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{BEGIN_OF_TEXT} $A",
                pair=f"{BEGIN_OF_TEXT} $A {BEGIN_OF_TEXT} $B",
                special_tokens=[(BEGIN_OF_TEXT, SPECIAL_TOKENS.index(BEGIN_OF_TEXT))],
            ),
        ]
    )
    if tokenizer.get_vocab_size() != size:
        raise SystemExit(f"the text is enough for {tokenizer.get_vocab_size()} tokens only, {size} are wanted")
    return tokenizer


def invented_words(count):
    """Returns lines of `count` different words that no language has, enough for any vocabulary."""
    rng = random.Random(SEED)
    onsets = [
        "b",
        "br",
        "d",
        "f",
        "g",
        "gl",
        "h",
        "k",
        "kr",
        "l",
        "m",
        "n",
        "p",
        "pl",
        "r",
        "s",
        "st",
        "t",
        "tr",
        "v",
    ]
    nuclei = ["a", "ai", "e", "ea", "i", "o", "ou", "u"]
    codas = ["", "", "l", "m", "n", "nd", "r", "rt", "s", "t"]
    words = {}
    while len(words) < count:
        syllables = rng.randint(1, 4)
        words["".join(rng.choice(onsets) + rng.choice(nuclei) + rng.choice(codas) for _ in range(syllables))] = None
    listed = list(words)
    lines = [" ".join(listed[at : at + 20]) for at in range(0, count, 20)]
    return lines + lines[: len(lines) // 2] + lines[: len(lines) // 4]


# --- folders ---


def save_checkpoint(network, tokenizer, folder):
    """Writes a folder as Hugging Face has it, which the builder reads."""
    network.save_pretrained(folder)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        clean_up_tokenization_spaces=False,
        model_max_length=network.config.max_position_embeddings,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(folder)
    (folder / "generation_config.json").write_text(_json(_generation_config()))


def _generation_config():
    """Returns what ends a generation: the end of the text and the end of a turn."""
    return {
        "bos_token_id": SPECIAL_TOKENS.index(BEGIN_OF_TEXT),
        "eos_token_id": [SPECIAL_TOKENS.index(END_OF_TEXT), SPECIAL_TOKENS.index(END_OF_TURN)],
        "pad_token_id": SPECIAL_TOKENS.index(END_OF_TEXT),
    }


def _json(value):
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def build(checkpoint, target, precision, accuracy_level=None, provider="cpu"):
    """Has the builder write `target` from the checkpoint's folder.

    `precision` is `fp32`, `fp16` or `int4`; without an accuracy level int4 has the builder's own.
    """
    target.mkdir(parents=True)
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
    command += [
        "-i",
        str(checkpoint),
        "-o",
        str(target),
        "-p",
        precision,
        "-e",
        provider,
        "-c",
        str(target / "cache"),
    ]
    if accuracy_level is not None:
        command += ["--extra_options", f"accuracy_level={accuracy_level}"]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode != 0:
        raise SystemExit(f"the builder failed:\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}")
    _tidy(checkpoint, target)


def _tidy(checkpoint, target):
    """Makes the tokenizer's files the same whatever the version of transformers.

    Newer versions write the chat template into a file of its own; tokenizer_config.json is where
    every reader looks for it.
    """
    shutil.rmtree(target / "cache", ignore_errors=True)
    (target / "chat_template.jinja").unlink(missing_ok=True)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "add_bos_token": True,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": json.loads((checkpoint / "config.json").read_text())["max_position_embeddings"],
        "chat_template": CHAT_TEMPLATE,
    }
    (target / "tokenizer_config.json").write_text(_json(settings))
    (target / "tokenizer.json").write_bytes((checkpoint / "tokenizer.json").read_bytes())
    (target / "generation_config.json").write_text(_json(_generation_config()))
