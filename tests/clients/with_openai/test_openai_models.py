"""openai: what models there are."""

import openai
import pytest

import speaking


def test_models_are_listed_and_told_of_one_by_one(client):
    listed = list(client.models.list())
    assert {model.id for model in listed} == {speaking.MODEL, "embedder"}
    for model in listed:
        assert model.object == "model" and model.created > 0 and model.owned_by
        assert client.models.retrieve(model.id).id == model.id


def test_a_model_that_is_not_there_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("nobody")
    assert refused.value.status_code == 404 and "nobody" in str(refused.value)


def test_everything_is_there_under_openais_prefix_too(speaker, connect):
    client = connect(speaker, base_url=f"http://{speaker.http}/openai/v1")
    assert speaking.MODEL in {model.id for model in client.models.list()}
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("nobody")
    assert refused.value.code == "model_not_found" and refused.value.param == "model"
    there = client.chat.completions.create(**speaking.ask())
    here = connect(speaker).chat.completions.create(**speaking.ask())
    assert there.choices == here.choices
    assert client.completions.create(**speaking.go_on()).choices[0].text


def test_every_answer_has_a_name_and_says_how_long_it_took(client):
    raw = client.chat.completions.with_raw_response.create(
        **speaking.ask(), extra_headers={"x-request-id": "of-my-own-7"}
    )
    assert raw.headers["x-request-id"] == "of-my-own-7" and raw.request_id == "of-my-own-7"
    assert float(raw.headers["openai-processing-ms"]) >= 0
    answer = raw.parse()
    assert answer._request_id == "of-my-own-7" and answer.id.startswith("chatcmpl-")
    names = {client.models.with_raw_response.list().headers["x-request-id"] for _ in range(2)}
    assert len(names) == 2
    with client.completions.with_streaming_response.create(**speaking.go_on(), stream=True) as raw:
        assert raw.headers["content-type"].startswith("text/event-stream")
        assert raw.headers["x-request-id"] and raw.headers["openai-processing-ms"]
        lines = [line for line in raw.iter_lines() if line]
    assert lines[-1] == "data: [DONE]" and all(line.startswith("data: ") for line in lines)
