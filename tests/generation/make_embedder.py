"""Makes embedder/: a BERT too small to mean anything, laid out as sentence-transformers lays models out.

    python tests/generation/make_embedder.py

The layout is the one that nearly all published models have, which the library wrote up to version 5; what
version 6 writes instead lies in `newer/`, to be copied over it. Weights are random, drawn from a seed, and the
vocabulary has the words of the stories of models/chat_text.py.

What the tests want of it is that the server does what sentence-transformers does: embeddings.json has what that
library makes of 20 sentences with the same weights, for the pooling that the folder says (mean, normalised) and
for others, and the ids of each sentence. The export is held against them before anything is written. Needs
models/requirements-generation.txt.
"""

import json
import re
import shutil
import string
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Normalize, Pooling, Transformer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "models"))

import chat_facts  # noqa: E402
import chat_text  # noqa: E402

TARGET = HERE / "embedder"
SEED = 20_250_301
VOCABULARY = 900
"""At most so many word pieces."""
HIDDEN = 32
LONGEST = 48
"""Tokens of a sentence, [CLS] and [SEP] counted; what is longer is cut off."""

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

SENTENCES = [
    "Where are predictions logged?",
    "The liveness endpoint is /api/health/live.",
    "a worker hangs",
    "A WORKER HANGS",
    "Hello",
    "",
    "   ",
    "Ada restarted the actor, and every request was answered.",
    "Two workers were replaced at night.",
    "surface",
    "naïve café",
    "数据在哪里",
    "☕",
    "one\ntwo\tthree",
    '"quoted" & <tagged>',
    "What happens when the disk is full?",
    "8080 8081 9000",
    "an-unhyphenated_word, or not?",
    " ".join(["the server went on with its work"] * 12),
    "bye " * 60,
]

VARIANTS = {
    "mean, normalised": ("mean", True),
    "mean": ("mean", False),
    "cls": ("cls", False),
    "max": ("max", False),
    "cls, normalised": ("cls", True),
}


def vocabulary():
    """Returns the word pieces: letters, a few endings, and the most frequent words of the stories and facts.

    The trainer of `tokenizers` would choose better ones, but others each time.
    """
    letters = string.ascii_lowercase + string.digits + string.punctuation + "é"
    pieces = (
        SPECIAL_TOKENS
        + list(letters)
        + [f"##{letter}" for letter in letters]
        + ["##ed", "##ing", "##er", "##ly", "##es"]
    )
    texts = [chat_text.prose(index) for index in range(200)] + [fact.answer for fact in chat_facts.FACTS]
    words = Counter(re.findall("[a-z]{2,}", " ".join(texts).lower()))
    ranked = sorted(words, key=lambda word: (-words[word], word))
    return pieces + ranked[: VOCABULARY - len(pieces)]


def tokenizer():
    """Returns a tokenizer of word pieces as BERT has them, lower case."""
    pieces = {piece: number for number, piece in enumerate(vocabulary())}
    made = Tokenizer(models.WordPiece(vocab=pieces, unk_token="[UNK]"))
    made.add_special_tokens(SPECIAL_TOKENS)
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", SPECIAL_TOKENS.index("[CLS]")), ("[SEP]", SPECIAL_TOKENS.index("[SEP]"))],
    )
    return made


def checkpoint(folder):
    """Writes the encoder as Hugging Face has it."""
    torch.manual_seed(SEED)
    config = BertConfig(
        vocab_size=len(vocabulary()),
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.25,
    )
    BertModel(config, add_pooling_layer=False).eval().save_pretrained(folder)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer(),
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=LONGEST,
    )
    wrapped.save_pretrained(folder)


class Encoder(torch.nn.Module):
    """The encoder with inputs and outputs as exports for sentence-transformers have them."""

    def __init__(self, bert):
        super().__init__()
        self.bert = bert

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.bert(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state


def export(folder, path):
    """Writes the encoder's graph; batch and length are free."""
    bert = BertModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="eager").eval()
    example = torch.ones(2, 7, dtype=torch.long)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    free = {0: "batch_size", 1: "sequence_length"}
    path.parent.mkdir(parents=True)
    torch.onnx.export(
        Encoder(bert),
        (example, example, torch.zeros_like(example)),
        path,
        dynamo=False,
        opset_version=17,
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_axes={name: free for name in [*names, "last_hidden_state"]},
    )
    onnx.checker.check_model(onnx.load(path), full_check=True)


def assembled(folder, pooling, normalised):
    """Returns the model of sentence-transformers with one way of pooling."""
    encoder = Transformer(str(folder), max_seq_length=LONGEST)
    parts = [encoder, Pooling(HIDDEN, pooling_mode=pooling)]
    return SentenceTransformer(modules=parts + [Normalize()] if normalised else parts, device="cpu")


def older_layout(folder):
    """Moves what version 6 wrote to `newer/` and writes what earlier versions write in its place."""
    names = [
        "modules.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        "1_Pooling/config.json",
        "2_Normalize/config.json",
    ]
    for name in names:
        (folder / "newer" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder / name, folder / "newer" / name)
    (folder / "2_Normalize").rmdir()
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for at, (path, kind) in enumerate(kinds)
    ]
    pooling = {"word_embedding_dimension": HIDDEN}
    for mode in ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens"):
        pooling[f"pooling_mode_{mode}"] = mode == "mean_tokens"
    _write(folder / "modules.json", modules)
    _write(folder / "1_Pooling" / "config.json", pooling)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": LONGEST, "do_lower_case": False})
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "pad", "cls", "sep", "mask")}
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": LONGEST, **special}
    _write(folder / "tokenizer_config.json", settings)
    versions = {"sentence_transformers": "2.2.2", "transformers": "4.30.0", "pytorch": "2.0.1"}
    _write(folder / "config_sentence_transformers.json", {"__version__": versions})


def _write(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def hold_against(path, goldens):
    """Ends with an error unless the graph gives what the library gave, one sentence at a time and all at once."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rows = goldens["tokens"]
    for group in [[row] for row in rows] + [rows]:
        ids = np.zeros((len(group), max(map(len, group))), np.int64)
        mask = np.zeros_like(ids)
        for at, row in enumerate(group):
            ids[at, : len(row)], mask[at, : len(row)] = row, 1
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        states, weights = session.run(None, feeds)[0], mask[:, :, None]
        means = (states * weights).sum(1) / weights.sum(1)
        right = np.array(goldens["embeddings"]["mean"])[[rows.index(row) for row in group]]
        if np.abs(means - right).max() > 1e-5:
            raise SystemExit(f"the export differs by {np.abs(means - right).max()}")


def main():
    """Writes the folder and the embeddings."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        raw, saved = Path(scratch) / "raw", Path(scratch) / "saved"
        checkpoint(raw)
        models_by_name = {name: assembled(raw, *way) for name, way in VARIANTS.items()}
        first = next(iter(models_by_name.values()))
        goldens = {"sentences": SENTENCES, "embeddings": {}}
        goldens["tokens"] = [first.preprocess([sentence])["input_ids"][0].tolist() for sentence in SENTENCES]
        for name, model in models_by_name.items():
            found = model.encode(SENTENCES, batch_size=8, convert_to_numpy=True)
            goldens["embeddings"][name] = [[float(f"{value:.6g}") for value in row] for row in found]
        first.save(str(saved), create_model_card=False)
        (saved / "model.safetensors").unlink()
        older_layout(saved)
        export(raw, saved / "onnx" / "model.onnx")
        hold_against(saved / "onnx" / "model.onnx", goldens)
        shutil.rmtree(TARGET, ignore_errors=True)
        shutil.copytree(saved, TARGET)
    lines = ",\n".join(
        f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in goldens.items()
    )
    (HERE / "embeddings.json").write_text("{\n" + lines + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
