"""What Hugging Face transformers generates with the same weights, token for token: alone, and in company.

The goldens say at which steps the two best tokens were so close that another order of summing may
choose the other one. Where an answer parts from its golden there, and nowhere else, it counts as a tie;
what comes behind is another text, and is not compared. How many there were is said at the end of the run.

Ids are read back from the names that tokens have in log-probabilities, which are those of the vocabulary.
"""

import asyncio
import hashlib
import json
import random
import sys

import openai
import pytest

import served
import speaking

sys.path.insert(0, str(served.ROOT / "tests" / "generation"))
import make_graphs  # noqa: E402

GOLDENS = json.loads((served.ROOT / "tests" / "generation" / "goldens.json").read_text())
CASES = GOLDENS["cases"]
TOGETHER = 16
GRAPHS = {"int4": speaking.MODEL, "fp32": "fp32", "optimum": "optimum"}
# A graph that joins past and present runs one sequence at a time, in company too: so a part of them is enough alone,
# and there is little company. It costs many times what the others cost.
ALONE = {"optimum": CASES[::4]}
COMPANY = {"optimum": 4}
NAMES = speaking.token_names()
IDS = {name: token for token, name in enumerate(NAMES)}


@pytest.fixture(scope="session")
def golden_server(impetus, tmp_path_factory):
    """A server with the bundled model and two other graphs with its weights."""
    own = served.Server(impetus, tmp_path_factory.mktemp("goldens"), speaking.SETTINGS)
    source = make_graphs.Source.read(speaking.CHAT)
    for name in ("fp32", "optimum"):
        make_graphs.write(source, name, own.models / name)
    speaking.write_chat(own.models)
    with own as running:
        yield running.until_ready()


def fields(model: str, case: dict, **more) -> dict:
    return {
        "model": model,
        "prompt": case["prompt"],
        "temperature": 0,
        "max_tokens": GOLDENS["new_tokens"],
        "logprobs": 0,
        **more,
    }


def ids(told, finish_reason: str) -> list[int]:
    """Returns an answer's tokens. The one that ended it is not told; the first that could have stands for it."""
    found = [IDS[name] for name in told]
    return found + GOLDENS["stops"][:1] if finish_reason == "stop" else found


def verdict(case: dict, made: list[int], most: int) -> str:
    """Returns `same`, `tie`, or in words where an answer of at most so many tokens is different."""
    golden = [GOLDENS["stops"][0] if token in GOLDENS["stops"] else token for token in case["output"]][:most]
    for step, (ours, theirs) in enumerate(zip(made, golden, strict=False)):
        if ours != theirs:
            tie = case["ties"].get(str(step))
            if tie is not None and ours in (tie[1], *(GOLDENS["stops"] if tie[1] in GOLDENS["stops"] else ())):
                return "tie"
            return f"step {step} is {ours}, not {theirs} ({case['kind']}, {len(case['prompt'])} tokens)"
    return "same" if len(made) == len(golden) else f"{len(made)} tokens, not {len(golden)}"


def judged(name: str, verdicts: list[str]) -> None:
    different = [each for each in verdicts if each not in ("same", "tie")]
    speaking.REMARKS.append(
        f"goldens, {name}: {verdicts.count('same')} the same, {verdicts.count('tie')} part at a near tie, "
        f"{len(different)} differ"
    )
    assert not different, different


def test_the_goldens_are_of_these_weights():
    weights = hashlib.sha256((speaking.CHAT / "model.onnx.data").read_bytes()).hexdigest()
    assert GOLDENS["weights"] == weights, "make them again: tests/generation/make_goldens.py"
    assert len(CASES) == 100 and len(IDS) == len(NAMES)


@pytest.mark.parametrize("graph", GRAPHS)
def test_alone_every_golden_is_met(golden_server, connect, graph):
    client = connect(golden_server)
    verdicts = []
    for case in ALONE.get(graph, CASES):
        [choice] = client.completions.create(**fields(GRAPHS[graph], case)).choices
        made = ids(choice.logprobs.tokens, choice.finish_reason)
        verdicts.append(verdict(case, made, GOLDENS["new_tokens"]))
    judged(f"{graph} alone", verdicts)


@pytest.mark.parametrize("graph", GRAPHS)
def test_in_company_every_golden_is_met(golden_server, graph):
    """All of them with 16 at a time, in another order, among others that end early or are cancelled midway."""
    rng = random.Random(f"company of {graph}")
    asked = [(case, GOLDENS["new_tokens"], None) for case in CASES]
    company = COMPANY.get(graph, 20)
    asked += [(case, rng.randrange(1, 30), None) for case in rng.sample(CASES, company)]
    asked += [(case, GOLDENS["new_tokens"], rng.randrange(1, 6)) for case in rng.sample(CASES, company)]
    rng.shuffle(asked)

    async def run() -> list[str]:
        async with openai.AsyncOpenAI(**speaking.options(golden_server)) as client:
            gate = asyncio.Semaphore(TOGETHER)

            async def one(case: dict, most: int, chunks: int | None) -> str | None:
                async with gate:
                    return await golden(client, GRAPHS[graph], case, most, chunks)

            return await asyncio.gather(*(one(*each) for each in asked))

    judged(f"{graph} in company", [each for each in asyncio.run(run()) if each is not None])
    speaking.until_idle(golden_server, GRAPHS[graph])


async def golden(client, model: str, case: dict, most: int, chunks: int | None) -> str | None:
    """Asks for a golden, and returns the verdict; with a number of chunks it goes away after so many."""
    stream = await client.completions.create(**fields(model, case, max_tokens=most), stream=True)
    made, finish = [], None
    async for chunk in stream:
        for choice in chunk.choices:
            made.extend(choice.logprobs.tokens if choice.logprobs else [])
            finish = choice.finish_reason or finish
        if chunks is not None:
            chunks -= 1
            if chunks <= 0:
                await stream.close()
                return None
    return verdict(case, ids(made, finish), most)
