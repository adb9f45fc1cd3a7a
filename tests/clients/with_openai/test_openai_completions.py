"""openai: continuations of texts and of tokens, whole and streamed."""

import math

import pytest

import speaking
from speaking import go_on

TOKENS = [0, 300, 301, 302]


def stream(client, **fields) -> list:
    return list(client.completions.create(**go_on(**fields), stream=True))


def test_a_text_is_continued_by_sixteen_tokens_unless_told_otherwise(client):
    answer = client.completions.create(**go_on())
    assert answer.object == "text_completion" and answer.id.startswith("cmpl-")
    [choice] = answer.choices
    assert choice.text and choice.finish_reason == "length" and choice.logprobs is None
    assert answer.usage.completion_tokens == 16
    longer = client.completions.create(**go_on(max_tokens=24))
    assert longer.choices[0].text.startswith(choice.text) and longer.usage.completion_tokens <= 24


def test_a_stream_has_the_same_text_in_parts(client):
    whole = client.completions.create(**go_on())
    chunks = stream(client, stream_options={"include_usage": True})
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert speaking.continued(chunks) == whole.choices[0].text and speaking.ending(chunks) == "length"
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage.model_copy(
        update={"prompt_tokens_details": chunks[-1].usage.prompt_tokens_details}
    )
    assert len(chunks) > 8, "it comes in parts"


@pytest.mark.parametrize(
    ("prompts", "same_as"),
    [
        (["The server", "A worker", "Night"], ["The server", "A worker", "Night"]),
        ([TOKENS, TOKENS[:2]], [[TOKENS], [TOKENS[:2]]]),
        (TOKENS, [[TOKENS]]),
    ],
    ids=["texts", "lists of tokens", "one list of tokens"],
)
def test_each_of_several_prompts_has_answers_of_its_own(client, prompts, same_as):
    together = client.completions.create(**go_on(prompts, max_tokens=8))
    alone = [client.completions.create(**go_on(prompt, max_tokens=8)) for prompt in same_as]
    assert [choice.text for choice in together.choices] == [one.choices[0].text for one in alone]
    assert [choice.index for choice in together.choices] == list(range(len(same_as)))
    assert together.usage.prompt_tokens == sum(one.usage.prompt_tokens for one in alone)
    chunks = stream(client, prompt=prompts, max_tokens=8)
    for index, choice in enumerate(together.choices):
        assert speaking.continued(chunks, index) == choice.text


def test_several_prompts_have_several_answers_each(client):
    fields = go_on(["The server", "A worker"], n=3, max_tokens=6, seed=5) | {"temperature": 1}
    answer = client.completions.create(**fields)
    assert [choice.index for choice in answer.choices] == list(range(6))
    # What a prompt is answered does not depend on what it came with.
    second = client.completions.create(**fields | {"prompt": "A worker"})
    assert [choice.text for choice in answer.choices[3:]] == [choice.text for choice in second.choices]


def test_an_answer_begins_with_its_prompt_when_asked_to(client):
    plain = client.completions.create(**go_on()).choices[0].text
    echoed = client.completions.create(**go_on(echo=True))
    assert echoed.choices[0].text == "The server" + plain and echoed.usage.completion_tokens == 16
    assert speaking.continued(stream(client, echo=True)) == "The server" + plain
    text = client.completions.create(**go_on(TOKENS, echo=True)).choices[0].text
    assert text.endswith(client.completions.create(**go_on(TOKENS)).choices[0].text)


def test_probabilities_come_in_lists_with_their_places(client):
    answer = client.completions.create(**go_on(logprobs=2, max_tokens=10))
    told, text = answer.choices[0].logprobs, answer.choices[0].text
    assert "".join(told.tokens) == text
    assert len(told.tokens) == len(told.token_logprobs) == len(told.top_logprobs) == len(told.text_offset)
    for token, logprob, best, offset in zip(
        told.tokens, told.token_logprobs, told.top_logprobs, told.text_offset, strict=True
    ):
        assert text[offset:].startswith(token) and len(best) == 2
        assert math.isclose(max(best.values()), logprob, abs_tol=1e-6) and logprob <= 0
    parts = [choice.logprobs for chunk in stream(client, logprobs=2, max_tokens=10) for choice in chunk.choices]
    assert [token for part in parts for token in part.tokens] == told.tokens
    assert [offset for part in parts for offset in part.text_offset] == told.text_offset


def test_a_prompt_can_be_scored_without_being_continued(client):
    answer = client.completions.create(**go_on(echo=True, logprobs=1, max_tokens=0))
    [choice] = answer.choices
    assert choice.text == "The server" and answer.usage.completion_tokens == 0
    told = choice.logprobs
    assert len(told.tokens) == answer.usage.prompt_tokens
    assert told.token_logprobs[0] is None and all(logprob <= 0 for logprob in told.token_logprobs[1:])
    # What is most likely behind a prompt is what it is continued with.
    longer = client.completions.create(**go_on(logprobs=1, max_tokens=4)).choices[0]
    scored = client.completions.create(
        **go_on("The server" + longer.text, echo=True, logprobs=1, max_tokens=0)
    ).choices[0].logprobs
    if scored.tokens[-4:] == longer.logprobs.tokens:
        for again, before in zip(scored.token_logprobs[-4:], longer.logprobs.token_logprobs, strict=True):
            assert math.isclose(again, before, abs_tol=1e-3)


def test_a_stop_string_ends_a_continuation(client):
    whole = client.completions.create(**go_on(max_tokens=24)).choices[0].text
    stop = whole[10:13]
    before = whole[: whole.index(stop)]
    for fields in ({"stop": stop}, {"stop": ["\x00", stop]}):
        answer = client.completions.create(**go_on(max_tokens=24, logprobs=0, **fields)).choices[0]
        assert (answer.text, answer.finish_reason) == (before, "stop")
        assert len("".join(answer.logprobs.tokens)) <= len(before) + len(stop)
        chunks = stream(client, max_tokens=24, **fields)
        assert (speaking.continued(chunks), speaking.ending(chunks)) == (before, "stop")


def test_an_answer_ends_where_the_context_does(client):
    prompt = TOKENS * ((speaking.CONTEXT - 8) // len(TOKENS))
    answer = client.completions.create(**go_on(prompt, max_tokens=100, extra_body={"ignore_eos": True}))
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.total_tokens <= speaking.CONTEXT and answer.usage.completion_tokens < 100


def test_no_character_is_split_between_chunks(client):
    prompt = "naïve café ☕ 数据在哪里"
    fields = {"prompt": prompt, "max_tokens": 100, "extra_body": {"regex": "[☕数据é🙂]{20}"}}
    whole = client.completions.create(**go_on(**fields)).choices[0]
    # None of these is one token.
    assert len(whole.text) == 20 and set(whole.text) <= set("☕数据é🙂") and whole.finish_reason == "stop"
    parts = [choice.text for chunk in stream(client, **fields) for choice in chunk.choices]
    assert "".join(parts) == whole.text and len(parts) > 5
    assert all(set(part) <= set(whole.text) for part in parts)
    echoed = client.completions.create(**go_on(echo=True, **fields)).choices[0]
    assert echoed.text == prompt + whole.text
