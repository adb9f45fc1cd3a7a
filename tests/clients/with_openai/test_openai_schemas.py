"""openai: 200 schemas that nobody thought of, each answered with what conforms to it, however it is drawn."""

import asyncio
import json

import jsonschema
import openai
import pytest

import schemas
import speaking
from speaking import ask

SCHEMAS = 200
TOGETHER = 16


async def answered(client, number: int) -> str | None:
    """Returns what is wrong with the answer to a schema, if anything."""
    schema = schemas.schema(number)
    asked = ask(f"Question {number}", max_tokens=1500) | {"temperature": 1, "seed": number}
    named = {"name": "answer", "schema": schema, "strict": True}
    answer = await client.chat.completions.create(
        **asked, response_format={"type": "json_schema", "json_schema": named}
    )
    [choice] = answer.choices
    if choice.finish_reason != "stop":
        return f"{number}: ends with {choice.finish_reason}: {choice.message.content[:200]!r}; {schema}"
    try:
        jsonschema.Draft202012Validator(schema).validate(json.loads(choice.message.content))
    except (ValueError, jsonschema.ValidationError) as error:
        return f"{number}: {choice.message.content!r} for {schema}: {error}"
    return None


@pytest.mark.timeout(240)
def test_every_schema_is_conformed_to(speaker):
    for number in range(SCHEMAS):
        jsonschema.Draft202012Validator.check_schema(schemas.schema(number))

    async def run() -> list[str | None]:
        async with openai.AsyncOpenAI(**speaking.options(speaker)) as client:
            gate = asyncio.Semaphore(TOGETHER)

            async def one(number: int) -> str | None:
                async with gate:
                    return await answered(client, number)

            return await asyncio.gather(*map(one, range(SCHEMAS)))

    wrong = [each for each in asyncio.run(run()) if each is not None]
    assert not wrong, f"{len(wrong)} of {SCHEMAS}: " + "\n".join(wrong)
    speaking.until_idle(speaker)
