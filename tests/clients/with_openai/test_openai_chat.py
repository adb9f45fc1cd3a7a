"""openai: conversations, whole and streamed."""

import asyncio

import openai
import pytest

import speaking
from speaking import ask


def stream(client, **fields) -> list:
    return list(client.chat.completions.create(**ask(**fields), stream=True))


def test_a_question_that_the_model_was_taught_is_answered(client):
    answer = client.chat.completions.create(**ask())
    assert answer.object == "chat.completion" and answer.model == speaking.MODEL
    assert answer.created > 0 and answer.system_fingerprint
    [choice] = answer.choices
    assert choice.index == 0 and choice.finish_reason == "stop" and choice.logprobs is None
    assert choice.message.role == "assistant" and choice.message.refusal is None
    assert "make run" in choice.message.content and not choice.message.tool_calls
    usage = answer.usage
    assert usage.prompt_tokens > 10 and usage.completion_tokens > 5
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_a_stream_has_the_same_text_in_parts(client):
    whole = client.chat.completions.create(**ask())
    chunks = stream(client)
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(chunk.choices[0].delta.role is None for chunk in chunks[1:])
    assert speaking.said(chunks) == whole.choices[0].message.content
    assert speaking.ending(chunks) == "stop"
    assert sum(bool(chunk.choices[0].delta.content) for chunk in chunks) > 3, "it comes in parts"
    assert all(chunk.usage is None for chunk in chunks)


def test_the_last_chunk_tells_the_tokens_when_asked_to(client):
    whole = client.chat.completions.create(**ask())
    *chunks, last = stream(client, stream_options={"include_usage": True})
    assert last.choices == [] and all(chunk.usage is None for chunk in chunks)
    assert last.usage.completion_tokens == whole.usage.completion_tokens
    assert last.usage.prompt_tokens == whole.usage.prompt_tokens
    # The very same prompt had been there: little of it had to be computed.
    assert last.usage.prompt_tokens_details.cached_tokens > last.usage.prompt_tokens // 2
    counting = stream(client, stream_options={"include_usage": True, "continuous_usage_stats": True})
    counts = [chunk.usage.completion_tokens for chunk in counting]
    assert counts == sorted(counts) and counts[-1] == whole.usage.completion_tokens


def test_conversations_have_turns_a_system_and_parts(client):
    messages = [
        {"role": "system", "content": "Be brief."},
        *speaking.user("hello"),
        {"role": "assistant", "content": "Hello! Ask me something about running Impetus."},
        {"role": "user", "content": [{"type": "text", "text": speaking.QUESTION}]},
    ]
    answer = client.chat.completions.create(**ask() | {"messages": messages})
    assert "make run" in answer.choices[0].message.content
    longer = answer.usage.prompt_tokens
    assert longer > client.chat.completions.create(**ask()).usage.prompt_tokens
    # Newer clients say developer for system.
    messages[0]["role"] = "developer"
    again = client.chat.completions.create(**ask() | {"messages": messages})
    assert again.usage.prompt_tokens == longer and again.choices == answer.choices


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_an_answer_is_cut_at_its_length(client, name):
    answer = client.chat.completions.create(**ask(**{name: 3}))
    assert answer.usage.completion_tokens == 3 and answer.choices[0].finish_reason == "length"
    chunks = stream(client, **{name: 3})
    assert speaking.said(chunks) == answer.choices[0].message.content
    assert speaking.ending(chunks) == "length"
    assert client.chat.completions.create(**ask()).choices[0].message.content.startswith(
        answer.choices[0].message.content
    )


def test_an_answer_ends_before_a_stop_string_wherever_tokens_end(client):
    whole = client.chat.completions.create(**ask()).choices[0].message.content
    # Every stretch of three characters in the middle: most of them lie across tokens.
    for at in range(4, 24):
        stop = whole[at : at + 3]
        before = whole[: whole.index(stop)]
        answer = client.chat.completions.create(**ask(stop=stop)).choices[0]
        assert (answer.message.content, answer.finish_reason) == (before, "stop"), stop
        chunks = stream(client, stop=["never in it", stop])
        assert (speaking.said(chunks), speaking.ending(chunks)) == (before, "stop"), stop


def test_several_answers_to_one_question_are_told_apart(client):
    fields = ask("hello", n=4, max_tokens=12) | {"temperature": 1.5, "seed": 7}
    whole = client.chat.completions.create(**fields)
    texts = [choice.message.content for choice in whole.choices]
    assert [choice.index for choice in whole.choices] == [0, 1, 2, 3] and len(set(texts)) > 1
    chunks = list(client.chat.completions.create(**fields, stream=True))
    assert [speaking.said(chunks, index) for index in range(4)] == texts
    assert [speaking.ending(chunks, index) for index in range(4)] == [
        choice.finish_reason for choice in whole.choices
    ]
    first = [choice.index for chunk in chunks for choice in chunk.choices if choice.delta.role]
    assert sorted(first) == [0, 1, 2, 3]


def test_probabilities_are_told_of_every_token(client):
    answer = client.chat.completions.create(**ask(logprobs=True, top_logprobs=3))
    told = answer.choices[0].logprobs.content
    assert b"".join(bytes(token.bytes) for token in told).decode() == answer.choices[0].message.content
    for token in told:
        assert token.token == bytes(token.bytes).decode(errors="replace")
        best = [likely.logprob for likely in token.top_logprobs]
        assert len(best) == 3 and best == sorted(best, reverse=True)
        # The best one is always taken at temperature 0.
        assert (token.token, token.logprob) == (token.top_logprobs[0].token, best[0])
        assert token.logprob <= 0
    chunks = stream(client, logprobs=True, top_logprobs=3)
    parts = [chunk.choices[0].logprobs for chunk in chunks]
    assert [token for part in parts if part for token in part.content] == told
    alone = client.chat.completions.create(**ask(logprobs=True)).choices[0].logprobs.content
    assert all(token.top_logprobs == [] for token in alone)
    assert [token.logprob for token in alone] == [token.logprob for token in told]


def test_the_model_writes_on_in_its_own_message(client):
    whole = client.chat.completions.create(**ask()).choices[0].message.content
    begun = whole[: whole.index(" ", 10)]
    messages = [*speaking.user(speaking.QUESTION), {"role": "assistant", "content": begun}]
    rest = client.chat.completions.create(
        **ask() | {"messages": messages}, extra_body={"continue_final_message": True}
    )
    assert begun + rest.choices[0].message.content == whole


def test_fields_that_nobody_knows_are_passed_over(client):
    plain = client.chat.completions.create(**ask())
    more = client.chat.completions.create(
        **ask(store=False, user="eve", metadata={"a": "b"}, service_tier="auto", modalities=["text"]),
        extra_body={"of_tomorrow": {"nested": [1]}, "response_format": {"type": "text"}},
    )
    assert more.choices == plain.choices


def test_the_helper_for_streams_follows(client):
    whole = client.chat.completions.create(**ask()).choices[0].message.content
    with client.chat.completions.stream(**ask()) as following:
        kinds = [event.type for event in following]
        final = following.get_final_completion()
    assert final.choices[0].message.content == whole
    assert "content.delta" in kinds and kinds[-1] == "content.done"


def test_the_asynchronous_client_gets_the_same(speaker, client):
    whole = client.chat.completions.create(**ask()).choices[0].message.content

    async def both() -> list[str]:
        async with openai.AsyncOpenAI(**speaking.options(speaker)) as other:

            async def streamed() -> str:
                chunks = await other.chat.completions.create(**ask(), stream=True)
                return speaking.said([chunk async for chunk in chunks])

            async def at_once() -> str:
                return (await other.chat.completions.create(**ask())).choices[0].message.content

            return await asyncio.gather(*(streamed() for _ in range(12)), *(at_once() for _ in range(12)))

    assert asyncio.run(both()) == [whole] * 24
