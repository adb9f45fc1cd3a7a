#!/usr/bin/env python3
"""Makes what the tests of this crate compare with: small tokenizers, and transformers' own results.

    pip install 'transformers==5.24.0' 'jinja2==3.1.6'
    python text/tests/make_goldens.py [--train]

Writes `goldens/tokens.json` (transformers' encode and decode by `tokenizers/*/`) and
`goldens/templates.json` (transformers' rendering of `templates/*.jinja`), the same at each run. With
`--train` it makes the tokenizers anew first, from the text below; their trainers break ties in an order
of their own, so that other tokenizers come of it each time, and other goldens.
"""

import datetime
import json
import random
import shutil
import sys
from pathlib import Path

import jinja2
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

HERE = Path(__file__).parent
NOW = datetime.datetime(2026, 3, 9, 8, 5, 7)

CORPUS = [
    "The server answers every request, and when a worker dies it starts another one.",
    "A question about the weather in Paris: what is the temperature today, in celsius or fahrenheit?",
    "Streams go on in the same response; clients see a pause, nothing else is lost.",
    "Grüße aus Köln, où est la gare? ¿Dónde está el tren? Über allen Gipfeln ist Ruh.",
    "Привет, как дела? 你好，世界。こんにちは、元気ですか。 नमस्ते दुनिया",
    "def answer(question: str) -> str:\n    return {'yes': 1, \"no\": 0}[question.strip()]\n",
    '{"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}',
    "Numbers such as 1234, 5678.90 and 3.14159; symbols such as @ # $ % & * and <tags>.",
]

TEXTS = [
    "",
    " ",
    "Hello, world!",
    "  two spaces before and after  ",
    "The server answers\nevery request.\n\n",
    "tab\tand\r\nline ends",
    "Grüße, ça va? 你好 世界 👩‍👩‍👧‍👦 🇩🇪 café cafe\u0301",
    "<|im_start|>user\nHello<|im_end|>\n",
    "<s>[INST] within </s> text",
    "<tool_call>\n{\"name\": \"f\"}\n</tool_call>",
    "1234567890 3.14 x=y+z;",
    "\u2581 underline \u0120 and <0x41>",
    "نص عربي עברית ไทย 한국어",
    "a" * 70,
]

SPECIALS = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]


def corpus():
    return CORPUS * 4


def byte_level(size=420):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        corpus(), trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, special_tokens=SPECIALS, show_progress=False)
    )
    tokenizer.add_tokens([AddedToken("<tool_call>", special=False), AddedToken("</tool_call>", special=False)])
    tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])]
    )
    # What a server must switch off again.
    tokenizer.enable_truncation(max_length=8)
    tokenizer.enable_padding(pad_id=2, pad_token="</s>", length=12)
    return tokenizer


def byte_fallback(strip, size=560):
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    steps = [normalizers.Prepend("▁")] if strip else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    words = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=SPECIALS + [f"<0x{byte:02X}>" for byte in range(256)],
        limit_alphabet=110,
        show_progress=False,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("(?=▁)"), "isolated")
    tokenizer.train_from_iterator(corpus(), words)
    described = json.loads(tokenizer.to_str())
    described["pre_tokenizer"] = None
    described["added_tokens"] = [token for token in described["added_tokens"] if not token["content"].startswith("<0x")]
    tokenizer = Tokenizer.from_str(json.dumps(described))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if strip:
        steps.append(decoders.Strip(" ", 1, 0))
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def unigram(size=300):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.train_from_iterator(
        corpus(), trainers.UnigramTrainer(vocab_size=size, special_tokens=SPECIALS, unk_token="<unk>", show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    return tokenizer


def word_piece(size=300):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    specials = ["[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(
        corpus(), trainers.WordPieceTrainer(vocab_size=size, special_tokens=specials, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return tokenizer


def write_tokenizer(name, tokenizer, config):
    folder = HERE / "tokenizers" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    described = json.loads(tokenizer.to_str())
    (folder / "tokenizer.json").write_text(json.dumps(described, ensure_ascii=False, separators=(",", ":")) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n")


def added(content):
    """A special token as older versions of transformers wrote them."""
    flags = dict.fromkeys(["lstrip", "normalized", "rstrip", "single_word"], False)
    return {"__type": "AddedToken", "content": content, **flags, "special": True}


def make_tokenizers():
    common = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    ends = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    bert = {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    write_tokenizer("byte_level", byte_level(), {**common, **ends, "eos_token": added("<|im_end|>")})
    write_tokenizer("byte_fallback", byte_fallback(True), {**common, **ends})
    write_tokenizer("byte_fallback_unstripped", byte_fallback(False), {**common, **ends})
    write_tokenizer("unigram", unigram(), {**common, **ends})
    write_tokenizer("word_piece", word_piece(), {**common, **bert})
    write_tokenizer("ends_ignored", byte_level(300), {**common, **ends, "add_bos_token": False, "add_eos_token": True})


def token_goldens(folder):
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    draws = random.Random(7)
    lists = [tokenizer.encode(text, add_special_tokens=False) for text in TEXTS]
    lists += [[draws.randrange(len(tokenizer)) for _ in range(draws.randrange(1, 30))] for _ in range(12)]
    return {
        "encode": [
            {"text": text, "plain": lists[index], "with_special": tokenizer.encode(text, add_special_tokens=True)}
            for index, text in enumerate(TEXTS)
        ],
        "decode": [
            {
                "ids": ids,
                "all": tokenizer.decode(ids, skip_special_tokens=False),
                "without_special": tokenizer.decode(ids, skip_special_tokens=True),
            }
            for ids in lists
        ],
    }


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Says what the weather is \"now\" & <soon>.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "A city, e.g. Köln"},
                "days": {"type": "integer", "minimum": 1, "maximum": 7.5, "default": 1.0},
                "units": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "items": {"type": "array", "items": {"type": "number"}},
                "either": {"type": ["string", "number"]},
            },
            "required": ["city"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "time", "description": "The time.", "parameters": {"type": "object", "properties": {}}}}


def message(role, content, **more):
    return {"role": role, "content": content, **more}


def call(name, arguments, identifier="abcdefgh1"):
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


SYSTEM = message("system", "You are helpful.\n")
HELLO = message("user", "Hello, who are you?")
ANSWER = message("assistant", "I am a server. ")
ODD = message("user", "  'Quotes', \"double\", <b>&amp; \\back\\ \n\ttabs, Grüße 你好 👩‍👩‍👧 and {{ braces }} {% if %}  ")
ASKS = message("assistant", None, tool_calls=[call("get_weather", {"city": "Köln", "days": 2})])
RESULT = message("tool", '{"temperature": 21.5}', tool_call_id="abcdefgh1", name="get_weather")

CASES = [
    {"name": "one_message", "messages": [HELLO], "add_generation_prompt": True},
    {"name": "without_prompt", "messages": [HELLO, ANSWER]},
    {"name": "system", "messages": [SYSTEM, HELLO], "add_generation_prompt": True},
    {"name": "turns", "messages": [SYSTEM, HELLO, ANSWER, message("user", "Why?")], "add_generation_prompt": True},
    {"name": "odd_characters", "messages": [ODD, ANSWER, ODD], "add_generation_prompt": True},
    {"name": "roles_in_disorder", "messages": [HELLO, HELLO]},
    {"name": "unknown_role", "messages": [HELLO, message("critic", "No.")]},
    {"name": "nothing_said", "messages": [message("user", "")], "add_generation_prompt": True},
    {"name": "tools", "messages": [SYSTEM, message("user", "Weather?")], "tools": [WEATHER, CLOCK], "add_generation_prompt": True},
    {"name": "tool_result", "messages": [message("user", "Weather?"), ASKS, RESULT], "tools": [WEATHER], "add_generation_prompt": True},
    {
        "name": "two_calls",
        "messages": [
            message("user", "Weather and time?"),
            message("assistant", "Let me see.", tool_calls=[call("get_weather", {"city": "Paris"}), call("time", {}, "abcdefgh2")]),
            RESULT,
            message("tool", "12:00", tool_call_id="abcdefgh2"),
            message("assistant", "Noon, and warm."),
            message("user", "Thanks."),
        ],
        "tools": [WEATHER, CLOCK],
        "add_generation_prompt": True,
    },
    {"name": "empty_tools", "messages": [HELLO], "tools": [], "add_generation_prompt": True},
    {"name": "parts", "messages": [message("user", [{"type": "text", "text": " One. "}, {"type": "text", "text": "Two."}])]},
    {
        "name": "reasoning",
        "messages": [HELLO, message("assistant", "Four.", reasoning="Two and two."), message("user", "Sure?"), message("assistant", "<think>\nYes\n</think>\n\nYes.")],
    },
    {"name": "variables", "messages": [HELLO], "add_generation_prompt": True, "extra": {"enable_thinking": False, "date_string": "1 May 2020", "tools_in_user_message": False}},
    {"name": "continued", "messages": [HELLO, message("assistant", "I am a")], "continue_final_message": True},
    {"name": "continued_with_spaces", "messages": [HELLO, message("assistant", " I am a ")], "continue_final_message": True},
    {"name": "null_fields", "messages": [message("user", "Hello", name=None), message("assistant", "Hi", tool_calls=None), HELLO]},
]


class Clock(datetime.datetime):
    """The time at which everything is rendered."""

    @classmethod
    def now(cls, tz=None):
        return NOW


def render(tokenizer, source, case):
    try:
        return {
            "rendered": tokenizer.apply_chat_template(
                case["messages"],
                tools=case.get("tools"),
                chat_template=source,
                add_generation_prompt=case.get("add_generation_prompt", False),
                continue_final_message=case.get("continue_final_message", False),
                tokenize=False,
                **case.get("extra", {}),
            )
        }
    except jinja2.exceptions.TemplateError as error:
        if type(error) is jinja2.exceptions.TemplateError:
            return {"refused": str(error)}
        return {"broken": str(error)}
    except (ValueError, TypeError) as error:
        return {"broken": str(error)}


def template_goldens():
    chat_template_utils.datetime = Clock
    tokenizer = PreTrainedTokenizerFast.from_pretrained(HERE / "tokenizers" / "byte_fallback")
    results = {}
    for path in sorted((HERE / "templates").glob("*.jinja")):
        source = path.read_text()
        results[path.stem] = {case["name"]: render(tokenizer, source, case) for case in CASES}
    return {
        "made_with": {"transformers": transformers.__version__, "jinja2": jinja2.__version__},
        "now": NOW.isoformat() + "Z",
        "specials": tokenizer.special_tokens_map,
        "cases": CASES,
        "results": results,
    }


def write_goldens(name, goldens):
    folder = HERE / "goldens"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(goldens, ensure_ascii=False, indent=1) + "\n")


def main():
    if "--train" in sys.argv[1:]:
        make_tokenizers()
    folders = sorted(path for path in (HERE / "tokenizers").iterdir() if path.is_dir())
    write_goldens("tokens.json", {folder.name: token_goldens(folder) for folder in folders})
    write_goldens("templates.json", template_goldens())


if __name__ == "__main__":
    main()
