"""openai: embeddings, held against what sentence-transformers makes of the same sentences."""

import asyncio
import base64
import json
import math

import numpy
import openai
import pytest

import served
import speaking

GOLDENS = json.loads((served.ROOT / "tests" / "generation" / "embeddings.json").read_text())
SENTENCES = [sentence for sentence in GOLDENS["sentences"] if sentence]
WANTED = dict(zip(GOLDENS["sentences"], GOLDENS["embeddings"]["mean, normalised"], strict=True))


def near(ours, sentence: str) -> bool:
    return numpy.allclose(ours, WANTED[sentence], rtol=1e-4, atol=1e-5)


def ask(given, **more) -> dict:
    # The reference cuts what is too long for the model.
    return {"model": "embedder", "input": given, "extra_body": {"truncate": True}, **more}


@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}])
def test_a_batch_of_sentences_has_the_embeddings_of_the_reference(client, encoding):
    answer = client.embeddings.create(**ask(SENTENCES, **encoding))
    assert answer.object == "list" and answer.model == "embedder"
    assert [each.index for each in answer.data] == list(range(len(SENTENCES)))
    for each, sentence in zip(answer.data, SENTENCES, strict=True):
        ours = each.embedding
        if isinstance(ours, str):
            ours = numpy.frombuffer(base64.b64decode(ours), dtype="<f4")
        assert near(ours, sentence), sentence
        assert math.isclose(float(numpy.linalg.norm(ours)), 1, abs_tol=1e-4)
    tokens = dict(zip(GOLDENS["sentences"], GOLDENS["tokens"], strict=True))
    assert answer.usage.prompt_tokens == sum(len(tokens[sentence]) for sentence in SENTENCES)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens


def test_both_forms_are_the_same_numbers(client):
    # The client asks for base64 by itself, and gives floats.
    for sentence in SENTENCES[:4]:
        floats = client.embeddings.create(**ask(sentence, encoding_format="float")).data[0].embedding
        packed = client.embeddings.create(**ask(sentence)).data[0].embedding
        assert numpy.array_equal(numpy.float32(floats), numpy.float32(packed))


def test_one_sentence_is_the_same_as_among_others(client):
    for sentence in SENTENCES:
        [alone] = client.embeddings.create(**ask(sentence)).data
        assert alone.index == 0 and near(alone.embedding, sentence)


def test_tokens_are_taken_as_well(client):
    lists = [tokens for tokens, text in zip(GOLDENS["tokens"], GOLDENS["sentences"], strict=True) if text][:3]
    answer = client.embeddings.create(**ask(lists))
    for each, sentence in zip(answer.data, SENTENCES, strict=False):
        assert near(each.embedding, sentence)
    assert near(client.embeddings.create(**ask(lists[0])).data[0].embedding, SENTENCES[0])


def test_null_is_absence(client):
    plain = client.embeddings.create(**ask("Hello", encoding_format="float")).data[0].embedding
    body = {"model": "embedder", "input": "Hello", "encoding_format": None, "dimensions": None, "truncate": None}
    answer = client.post("/embeddings", cast_to=object, body=body)
    assert answer["data"][0]["embedding"] == plain


def test_many_clients_are_answered_together(speaker):
    async def run() -> list[list[float]]:
        async with openai.AsyncOpenAI(**speaking.options(speaker)) as client:
            asked = [client.embeddings.create(**ask(sentence)) for sentence in SENTENCES * 4]
            return [answer.data[0].embedding for answer in await asyncio.gather(*asked)]

    for ours, sentence in zip(asyncio.run(run()), SENTENCES * 4, strict=True):
        assert near(ours, sentence)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"input": [-1]}, "input"),
        ({"input": [1_000_000]}, "input"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": 100_000}, "dimensions"),
        ({"model": speaking.MODEL}, "model"),
    ],
    ids=str,
)
def test_what_is_not_possible_is_refused_by_its_name(client, fields, param):
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(**ask("x") | fields)
    assert refused.value.param is not None and refused.value.param.startswith(param)


def test_a_text_that_is_too_long_is_refused_with_both_numbers_unless_it_may_be_cut(client):
    longest = max(SENTENCES, key=len)
    cut = len(GOLDENS["tokens"][GOLDENS["sentences"].index(longest)])
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model="embedder", input=["short", longest])
    error = refused.value
    assert error.code == "context_length_exceeded" and error.param == "input"
    assert "input[1]" in error.message and f"takes {cut}" in error.message


def test_fewer_dimensions_are_given_as_such_or_refused(client):
    try:
        [fewer] = client.embeddings.create(**ask("Hello", dimensions=8)).data
    except openai.BadRequestError as refused:
        assert refused.param == "dimensions"
    else:
        assert len(fewer.embedding) == 8
        assert math.isclose(float(numpy.linalg.norm(fewer.embedding)), 1, abs_tol=1e-4)
    [all_of_them] = client.embeddings.create(**ask("Hello", dimensions=len(WANTED["Hello"]))).data
    assert near(all_of_them.embedding, "Hello")
