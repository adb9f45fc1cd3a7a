"""openai: what is refused, as the exceptions that clients tell it by."""

import concurrent.futures

import openai
import pytest

import speaking
from speaking import ask, go_on

PICTURE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"frequency_penalty": -2.5}, "frequency_penalty"),
        ({"n": 0}, "n"),
        ({"n": 1000}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"stop": ""}, "stop"),
        ({"stop": [f"{number}" for number in range(17)]}, "stop"),
        ({"seed": "seven"}, "seed"),
        ({"logit_bias": {"1000000": 1}}, "logit_bias"),
        ({"logit_bias": {"5": 101}}, "logit_bias"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": PICTURE}, "messages[0].content[0]"),
        ({"extra_body": {"top_k": -2}}, "top_k"),
        ({"extra_body": {"min_p": 2}}, "min_p"),
        ({"extra_body": {"repetition_penalty": 0}}, "repetition_penalty"),
        ({"extra_body": {"min_tokens": 9}, "max_tokens": 8}, "min_tokens"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_field_with_a_value_that_is_not_possible_is_named(client, fields, param):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**ask() | fields)
    error = refused.value
    assert error.status_code == 400 and error.type == "invalid_request_error"
    assert error.param == param and error.code and f"`{param}`" in error.message
    assert error.request_id == error.response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": [0, -1]}, "prompt"),
        ({"prompt": [1_000_000]}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": ["x"] * 1000}, "prompt"),
        ({"logprobs": 21}, "logprobs"),
        ({"best_of": 5}, "best_of"),
        ({"suffix": "the end"}, "suffix"),
        ({"echo": "yes"}, "echo"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_continuation_that_is_not_possible_is_refused_by_its_field(client, fields, param):
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(**go_on() | fields)
    assert refused.value.param is not None and refused.value.param.startswith(param)


def test_a_model_that_is_not_there_is_not_found(client):
    for create, fields in [
        (client.chat.completions.create, ask()),
        (client.completions.create, go_on()),
        (client.embeddings.create, {"input": "x"}),
    ]:
        with pytest.raises(openai.NotFoundError) as refused:
            create(**fields | {"model": "nobody"})
        assert refused.value.code == "model_not_found" and refused.value.param == "model"
        assert "nobody" in refused.value.message


def test_a_model_of_another_kind_says_so(client):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**ask() | {"model": "embedder"})
    assert refused.value.code == "wrong_kind_of_model" and refused.value.param == "model"


def test_a_conversation_that_the_template_refuses_is_refused_in_its_words(client):
    messages = [*speaking.user("x"), {"role": "system", "content": "late"}]
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**ask() | {"messages": messages})
    assert "a system message must be the first one" in refused.value.message
    assert refused.value.param == "messages"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(client, streamed):
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(**go_on([5] * 3001), stream=streamed)
    error = refused.value
    assert error.code == "context_length_exceeded" and error.param == "prompt"
    assert "3001" in error.message and str(speaking.CONTEXT) in error.message
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**ask("word " * 4000), stream=streamed)
    assert refused.value.code == "context_length_exceeded" and refused.value.param == "messages"
    assert str(speaking.CONTEXT) in refused.value.message


def test_what_is_no_request_at_all_is_refused_in_the_same_form(client):
    for content in (b"{", b"[]", b'{"messages": 7}'):
        with pytest.raises(openai.BadRequestError) as refused:
            client.post(
                "/chat/completions",
                cast_to=object,
                options={"headers": {"content-type": "application/json"}},
                content=content,
            )
        assert refused.value.code and refused.value.message
    with pytest.raises(openai.APIStatusError) as refused:
        client.get("/chat/completions", cast_to=object)
    assert refused.value.status_code == 405 and refused.value.code == "method_not_allowed"


def test_what_finds_the_queue_full_is_told_when_to_ask_again(start_chat, connect):
    server = start_chat("models.queue = 2\ngeneration.slots = 1\n").until_ready()
    patient, hasty = connect(server, max_retries=12), connect(server)
    long = go_on(**speaking.ON_AND_ON)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(hasty.completions.create, **long) for _ in range(12)]
        errors = [future.exception() for future in asked]
    refused = [error for error in errors if error is not None]
    assert refused and len(refused) <= 12 - 3
    for error in refused:
        assert isinstance(error, openai.RateLimitError) and error.code == "queue_full"
        assert error.type == "rate_limit_error" and int(error.response.headers["retry-after"]) >= 1
    # A client that waits as it is told gets its answer.
    short = go_on(max_tokens=300, extra_body={"ignore_eos": True})
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: patient.completions.create(**short), range(6)))
    assert [answer.usage.completion_tokens for answer in answers] == [300] * 6
    speaking.until_idle(server)


def test_a_generation_that_takes_too_long_is_ended(start_chat, connect):
    server = start_chat('generation.timeout = "150ms"\ngeneration.slots = 2\n').until_ready()
    client = connect(server)
    long = go_on(n=8, **speaking.ON_AND_ON)
    with pytest.raises(openai.InternalServerError) as late:
        client.completions.create(**long)
    assert late.value.status_code == 504 and late.value.code == "deadline_exceeded"
    chunks = []
    with pytest.raises(openai.APIError) as late:
        chunks.extend(client.completions.create(**long | {"n": 1}, stream=True))
    assert late.value.code == "deadline_exceeded"
    speaking.until_idle(server)
    assert client.completions.create(**go_on(max_tokens=1)).choices[0].text


def test_a_model_that_cannot_be_loaded_is_not_available(start, connect):
    def broken(folder) -> None:
        (folder / speaking.MODEL).mkdir()
        for each in speaking.CHAT.iterdir():
            (folder / speaking.MODEL / each.name).write_bytes(each.read_bytes())
        (folder / speaking.MODEL / "model.onnx.data").write_bytes(b"")

    server = start(broken)
    server.until("a model that is known", lambda: speaking.MODEL in server.names())
    with pytest.raises(openai.InternalServerError) as refused:
        connect(server).chat.completions.create(**ask())
    assert refused.value.status_code == 503 and refused.value.type == "server_error"
    assert int(refused.value.response.headers["retry-after"]) >= 1
