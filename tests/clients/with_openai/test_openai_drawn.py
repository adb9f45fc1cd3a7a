"""openai: requests with many fields at once, as a generator draws them. A stream tells what a whole answer tells."""

import asyncio
import math
import random

import openai
import pytest

import schemas
import speaking

REQUESTS = 200
TOGETHER = 20
WORDS = 'the server ☕ worker naïve 数据 42 {"a": [ \n restart 🙂 Ada'.split(" ")
FORMS = [
    lambda rng: {"regex": "[a-z ☕]{2,30}"},
    lambda rng: {"guided_json": schemas.schema(rng.randrange(200))},
    lambda rng: {"guided_choice": ["yes", "no", "☕🙂"]},
    lambda rng: {"response_format": {"type": "json_object"}},
]
FIELDS = {
    "top_p": lambda rng: rng.uniform(0.1, 1),
    "presence_penalty": lambda rng: rng.uniform(-2, 2),
    "frequency_penalty": lambda rng: rng.uniform(-2, 2),
    "logit_bias": lambda rng: {str(rng.randrange(2048)): rng.uniform(-5, 5) for _ in range(5)},
    "n": lambda rng: rng.randrange(2, 4),
    "stop": lambda rng: rng.choice(["e", "the", ".", ["☕", "🙂", " s"], "\n", "er"]),
}
MORE = {
    "top_k": lambda rng: rng.randrange(1, 60),
    "min_p": lambda rng: rng.uniform(0, 0.2),
    "repetition_penalty": lambda rng: rng.choice([0.8, 1.1, 1.5]),
    "min_tokens": lambda rng: 1,
    "ignore_eos": lambda rng: True,
}


def some(rng: random.Random, fields: dict) -> dict:
    return {name: draw(rng) for name, draw in fields.items() if rng.random() < 0.2}


def request(number: int) -> dict:
    """Returns the fields of a request for chat, where it has messages, or for a continuation."""
    rng = random.Random(f"drawn {number}")
    more = some(rng, MORE) | (rng.choice(FORMS)(rng) if rng.random() < 0.3 else {})
    fields = {
        "model": speaking.MODEL,
        "temperature": rng.choice([0, 0.7, 1, 1.7]),
        "seed": number,
        "max_tokens": rng.choice([1, 7, 30, 60]),
        "extra_body": more,
        **some(rng, FIELDS),
    }
    text = " ".join(rng.choices(WORDS, k=rng.randrange(1, 30)))
    if rng.random() < 0.5:
        told = {"logprobs": True, "top_logprobs": rng.randrange(4)} if rng.random() < 0.5 else {}
        return fields | told | {"messages": speaking.user(text)}
    told = {"logprobs": rng.randrange(4)} if rng.random() < 0.5 else {}
    tokens = [0, *(rng.randrange(2048) for _ in range(rng.randrange(1, 30)))]
    return fields | told | {"prompt": rng.choice([text, tokens]), "echo": rng.random() < 0.3}


def differences(fields: dict, whole, chunks: list) -> list[str]:
    """Returns what a stream tells otherwise than the whole answer, or what is wrong in both."""
    is_chat = "messages" in fields
    wrong = []
    for choice in whole.choices:
        text = choice.message.content if is_chat else choice.text
        streamed = (speaking.said if is_chat else speaking.continued)(chunks, choice.index)
        if text != streamed:
            wrong.append(f"{text!r} and in a stream {streamed!r}")
        if speaking.ending(chunks, choice.index) != choice.finish_reason:
            wrong.append(f"ends with {choice.finish_reason}, the stream with another reason")
        stops = fields.get("stop", [])
        for stop in [stops] if isinstance(stops, str) else stops:
            if stop in text and not fields.get("echo"):
                wrong.append(f"{stop!r} is in {text!r}")
        if not is_chat and choice.logprobs:
            wrong.extend(tokens_apart(choice, chunks))
    told, last = whole.usage, chunks[-1].usage
    if (told.prompt_tokens, told.completion_tokens) != (last.prompt_tokens, last.completion_tokens):
        wrong.append(f"{told} and in a stream {last}")
    return wrong


def tokens_apart(choice, chunks: list) -> list[str]:
    """Holds the tokens that chunks tell of against those of the whole answer."""
    parts = [
        part.logprobs for chunk in chunks for part in chunk.choices if part.index == choice.index and part.logprobs
    ]
    whole = choice.logprobs
    if [token for part in parts for token in part.tokens] != whole.tokens:
        return ["other tokens in a stream"]
    if [offset for part in parts for offset in part.text_offset] != whole.text_offset:
        return ["other places in a stream"]
    logprobs = [logprob for part in parts for logprob in part.token_logprobs]
    same = all(
        one == other or (one is not None and other is not None and math.isclose(one, other, abs_tol=2e-3))
        for one, other in zip(logprobs, whole.token_logprobs, strict=True)
    )
    return [] if same else ["other probabilities in a stream"]


@pytest.mark.timeout(240)
def test_a_stream_and_a_whole_answer_tell_the_same(speaker):
    async def run() -> list[str]:
        async with openai.AsyncOpenAI(**speaking.options(speaker)) as client:
            gate = asyncio.Semaphore(TOGETHER)

            async def one(number: int) -> list[str]:
                fields = request(number)
                create = client.chat.completions.create if "messages" in fields else client.completions.create
                async with gate:
                    # A prompt that is taken in whole gives scores that differ in their last bits (some 4e-6) from
                    # those of one whose beginning was there already, and a draw may fall just between: so it
                    # is there for both.
                    await create(**fields)
                    whole = await create(**fields)
                    stream = await create(**fields, stream=True, stream_options={"include_usage": True})
                    chunks = [chunk async for chunk in stream]
                return [f"{number}: {wrong}; {fields}" for wrong in differences(fields, whole, chunks)]

            return sum(await asyncio.gather(*map(one, range(REQUESTS))), [])

    wrong = asyncio.run(run())
    assert not wrong, f"{len(wrong)}: " + "\n".join(wrong[:5])
    speaking.until_idle(speaker)
