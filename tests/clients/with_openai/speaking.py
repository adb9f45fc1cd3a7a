"""What the tests of text share: the model, what to ask it, and what the server's metrics say of it."""

import json
import shutil
import urllib.request

import prometheus_client.parser

import served

MODEL = "tiny-chat"
CHAT = served.ROOT / "models" / "tiny-chat"
EMBEDDER = served.ROOT / "tests" / "generation" / "embedder"
CONTEXT = json.loads((CHAT / "genai_config.json").read_text())["model"]["context_length"]
# Each call of a client ends after so many seconds, whatever happens.
PATIENCE = 60.0
# What the model was taught, and how the answer begins.
QUESTION = "How do I start the server?"
# Fields that have a request run for as long as the context allows: well over a thousand tokens.
ON_AND_ON = {"max_tokens": CONTEXT - 200, "extra_body": {"ignore_eos": True}}
SETTINGS = """
models.workers = 1
memory.headroom = "128MiB"
"""
# What is to be said at the end of a run.
REMARKS: list[str] = []


def write_chat(folder) -> None:
    """Fills a models folder with the bundled model."""
    shutil.copytree(CHAT, folder / MODEL)


def options(server: served.Server) -> dict:
    """Returns how a client reaches a server."""
    return {
        "base_url": f"http://{server.http}/v1",
        "api_key": "none",
        "max_retries": 0,
        "timeout": PATIENCE,
    }


def user(text: str) -> list[dict]:
    """Returns a conversation of one message."""
    return [{"role": "user", "content": text}]


def ask(text: str = QUESTION, **more) -> dict:
    """Returns the fields of a request for chat that has the best answer each time."""
    return {"model": MODEL, "messages": user(text), "temperature": 0, **more}


def go_on(prompt="The server", **more) -> dict:
    """Returns the fields of a request for a continuation, the best one each time."""
    return {"model": MODEL, "prompt": prompt, "temperature": 0, **more}


def said(chunks, index: int = 0) -> str:
    """Returns the text of one answer of a stream of chat."""
    deltas = (choice for chunk in chunks for choice in chunk.choices if choice.index == index)
    return "".join(choice.delta.content or "" for choice in deltas)


def continued(chunks, index: int = 0) -> str:
    """Returns the text of one answer of a stream of completions."""
    return "".join(choice.text for chunk in chunks for choice in chunk.choices if choice.index == index)


def ending(chunks, index: int = 0) -> str | None:
    """Returns why one answer of a stream ended, which must be said once and last."""
    of_it = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    told = [choice.finish_reason for choice in of_it if choice.finish_reason is not None]
    assert told == [of_it[-1].finish_reason], "why it ended is said once, in the last chunk"
    return told[0]


# --- what tokens are called ----------------------------------------------------------------------


def token_names() -> list[str]:
    """Returns by its id the name that each token of the bundled model has in log-probabilities."""
    tokenizer = json.loads((CHAT / "tokenizer.json").read_text())
    special = {token["id"] for token in tokenizer["added_tokens"]}
    by_letter = letters()
    names = {}
    for text, token in tokenizer["model"]["vocab"].items():
        content = text.encode() if token in special else bytes(by_letter[letter] for letter in text)
        names[token] = name_of(content)
    return [names[token] for token in range(len(names))]


def letters() -> dict[str, int]:
    """Returns the byte that each letter of a byte-level vocabulary stands for."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + at): byte for at, byte in enumerate(others)}


def name_of(content: bytes) -> str:
    """Returns a token's name: its text, or its bytes where they are no text."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in content)


# --- what the metrics say ------------------------------------------------------------------------


def figures(server: served.Server, model: str = MODEL) -> dict[tuple[str, ...], float]:
    """Returns the metrics of generation, by their names and what else tells them apart."""
    with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=PATIENCE) as answer:
        text = answer.read().decode()
    # All of it is much to read where something is looked at again and again.
    ours = "".join(line + "\n" for line in text.splitlines() if line.startswith("impetus_generation_"))
    found = {}
    for family in prometheus_client.parser.text_string_to_metric_families(ours):
        for sample in family.samples:
            labels = dict(sample.labels)
            if labels.pop("model", None) == model:
                name = sample.name.removeprefix("impetus_generation_")
                found[(name, *labels.values())] = sample.value
    return found


def busy(server: served.Server, model: str = MODEL) -> tuple[float, float]:
    """Returns how many sequences run and how many wait."""
    now = figures(server, model)
    return now[("sequences_running",)], now[("sequences_waiting",)]


def until_idle(server: served.Server, model: str = MODEL) -> None:
    """Waits until nothing runs and nothing waits."""
    server.until("an idle model", lambda: busy(server, model) == (0, 0))


def until_running(server: served.Server, count: int = 1, model: str = MODEL) -> None:
    """Waits until at least so many sequences run."""
    server.until(f"{count} running sequences", lambda: busy(server, model)[0] >= count)


def finished(server: served.Server, reason: str, model: str = MODEL) -> float:
    """Returns how many sequences have ended for that reason."""
    return figures(server, model)[("finished_total", reason)]
