"""openai: more clients than slots. All of them are answered, and nobody waits while others come and go."""

import asyncio
import random

import openai
import pytest

import speaking
from speaking import go_on

CLIENTS, SLOTS, ROUNDS = 64, 16, 4
# Whoever comes waits for those that wait already and for some of those that run: fewer than there are
# clients. Answers are seen by the clients in another order than they were finished in, hence twice as many.
MOST_BEFORE = 2 * CLIENTS


@pytest.mark.timeout(240)
def test_of_more_clients_than_slots_none_starves(speaker):
    speaking.until_idle(speaker)
    done, before, answers = 0, [], []
    rng = random.Random("crowd")

    async def one(client, number: int) -> None:
        nonlocal done
        for turn in range(ROUNDS):
            fields = go_on([0, 300 + number, 400 + turn], max_tokens=rng.randrange(4, 48))
            came = done
            stream = await client.completions.create(
                **fields, extra_body={"ignore_eos": True}, stream=True, stream_options={"include_usage": True}
            )
            chunks = []
            async for chunk in stream:
                if not chunks:
                    before.append(done - came)
                chunks.append(chunk)
            done += 1
            answers.append((fields["max_tokens"], chunks[-1].usage.completion_tokens))

    async def crowd() -> None:
        async with openai.AsyncOpenAI(**speaking.options(speaker)) as client:
            await asyncio.gather(*(one(client, number) for number in range(CLIENTS)))

    asyncio.run(crowd())
    assert len(answers) == CLIENTS * ROUNDS and all(asked == got for asked, got in answers)
    assert max(before) <= MOST_BEFORE, f"{max(before)} others were answered while one waited to begin"
    speaking.until_idle(speaker)
    speaking.REMARKS.append(
        f"{CLIENTS} clients on {SLOTS} slots: at most {max(before)} others were answered before one began"
    )


def test_what_is_answered_does_not_depend_on_who_else_asks(speaker):
    rng = random.Random("company")
    asked = [
        go_on([0, *(rng.randrange(300, 2000) for _ in range(rng.randrange(1, 40)))], max_tokens=24, seed=number)
        | {"temperature": rng.choice([0, 1])}
        for number in range(24)
    ]

    async def texts(together: int) -> list[str]:
        async with openai.AsyncOpenAI(**speaking.options(speaker)) as client:
            gate = asyncio.Semaphore(together)

            async def one(fields: dict) -> str:
                async with gate:
                    return (await client.completions.create(**fields)).choices[0].text

            return await asyncio.gather(*(one(fields) for fields in asked))

    alone = asyncio.run(texts(1))
    assert asyncio.run(texts(SLOTS)) == alone and len(set(alone)) > 12
