"""openai: answers that conform to a schema, an expression or a grammar, whatever the model would say."""

import json
import re
from typing import Literal

import jsonschema
import openai
import pydantic
import pytest

import speaking
from speaking import ask, go_on

PLACE = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "kind": {"enum": ["live", "ready"]},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 5}, "minItems": 1, "maxItems": 3},
    },
    "required": ["name", "port", "kind", "tags"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "schema": PLACE, "strict": True}}


class Endpoint(pydantic.BaseModel):
    """What the client's own helper asks for."""

    model_config = pydantic.ConfigDict(extra="forbid")
    status: Literal["healthy", "degraded"]
    retries: Literal[1, 2, 3]
    flags: list[bool] = pydantic.Field(max_length=3)


def drawn(seed: int, **more) -> dict:
    return ask(max_tokens=600, **more) | {"temperature": 1, "seed": seed}


@pytest.mark.parametrize("seed", range(6))
def test_an_answer_conforms_to_its_schema(client, seed):
    answer = client.chat.completions.create(**drawn(seed, response_format=FORMAT)).choices[0]
    assert answer.finish_reason == "stop"
    jsonschema.validate(json.loads(answer.message.content), PLACE)


def test_a_stream_and_a_continuation_conform_as_well(client):
    whole = client.chat.completions.create(**drawn(3, response_format=FORMAT)).choices[0].message.content
    chunks = list(client.chat.completions.create(**drawn(3, response_format=FORMAT), stream=True))
    assert speaking.said(chunks) == whole and speaking.ending(chunks) == "stop"
    text = client.completions.create(**go_on(max_tokens=600), extra_body={"response_format": FORMAT})
    jsonschema.validate(json.loads(text.choices[0].text), PLACE)


def test_any_object_is_one(client):
    # What a model says of itself has no bound, so that it may be cut; what ends is an object.
    ended = 0
    for seed in range(8):
        answer = client.chat.completions.create(
            **drawn(seed, response_format={"type": "json_object"})
        ).choices[0]
        assert answer.message.content.lstrip().startswith("{")
        if answer.finish_reason == "stop":
            ended += 1
            assert isinstance(json.loads(answer.message.content), dict)
    assert ended > 0


def test_the_helper_for_types_gets_an_object(client):
    answer = client.chat.completions.parse(**drawn(1), response_format=Endpoint)
    parsed = answer.choices[0].message.parsed
    assert isinstance(parsed, Endpoint) and len(parsed.flags) <= 3
    with client.chat.completions.stream(**drawn(1), response_format=Endpoint) as following:
        assert following.get_final_completion().choices[0].message.parsed == parsed


def test_the_helper_for_types_says_when_an_answer_was_cut(client):
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(**drawn(1) | {"max_tokens": 3}, response_format=Endpoint)


REGEX = r"(restart|stop) in [1-9][0-9]{0,2} (ms|s)\."
LARK = 'start: "restart" " " NAME " (" /[0-9]{2}/ ")"\nNAME: /[a-z]{3,8}/\n'
CHOICES = ["live", "ready?", "start(up)", "naïve ☕"]


@pytest.mark.parametrize(
    ("field", "pattern"),
    [
        ({"regex": REGEX}, REGEX),
        ({"guided_regex": REGEX}, REGEX),
        ({"structured_outputs": {"regex": REGEX}}, REGEX),
        ({"grammar": LARK}, r"restart [a-z]{3,8} \([0-9]{2}\)"),
        ({"guided_grammar": LARK}, r"restart [a-z]{3,8} \([0-9]{2}\)"),
        ({"guided_choice": CHOICES}, "|".join(map(re.escape, CHOICES))),
        ({"structured_outputs": {"choice": CHOICES}}, "|".join(map(re.escape, CHOICES))),
        ({"guided_json": {"enum": [1, 22]}}, "1|22"),
        ({"guided_json": json.dumps({"type": "boolean", "enum": [True]}) }, "true"),
        ({"structured_outputs": {"json": {"const": "x"}}}, '"x"'),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_every_way_to_ask_for_a_form_holds(client, field, pattern):
    for seed in (1, 2):
        chat = client.chat.completions.create(**drawn(seed), extra_body=field).choices[0]
        assert re.fullmatch(pattern, chat.message.content), chat.message.content
        assert chat.finish_reason == "stop"
    text = client.completions.create(**go_on(max_tokens=100), extra_body=field).choices[0]
    assert re.fullmatch(pattern, text.text), text.text


def test_half_a_character_at_the_end_of_a_prompt_is_no_part_of_the_answer(client):
    half = speaking.token_names().index(r"bytes:\xf0")
    answer = client.completions.create(**go_on([0, 300, half]), extra_body={"guided_choice": ["yes", "no"]})
    assert answer.choices[0].text in ("yes", "no")


def test_an_answer_of_a_form_is_cut_at_its_length_like_any_other(client):
    answer = client.completions.create(**go_on(max_tokens=20), extra_body={"regex": "[ab]{1000}"}).choices[0]
    assert answer.finish_reason == "length" and re.fullmatch("[ab]+", answer.text)


def test_each_of_several_answers_conforms(client):
    answer = client.chat.completions.create(
        **drawn(5, n=4), extra_body={"regex": "[0-9]{4}-[0-9]{2}"}
    )
    texts = [choice.message.content for choice in answer.choices]
    assert all(re.fullmatch("[0-9]{4}-[0-9]{2}", text) for text in texts) and len(set(texts)) > 1


@pytest.mark.parametrize(
    ("field", "param"),
    [
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        ({"regex": "a", "grammar": LARK}, "grammar"),
        ({"guided_choice": []}, "guided_choice"),
        ({"structured_outputs": {"json": 7}}, "structured_outputs.json"),
    ],
)
def test_a_form_that_makes_no_sense_is_refused_by_its_name(client, field, param):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**ask(), extra_body=field)
    assert refused.value.param == param and f"`{param}`" in refused.value.message


@pytest.mark.parametrize(
    ("field", "param"),
    [
        ({"regex": "(unclosed"}, "regex"),
        ({"regex": "(?=ahead)a"}, "regex"),
        ({"grammar": "no grammar at all"}, "grammar"),
        ({"guided_json": {"type": "nonsense"}}, "guided_json"),
        ({"guided_json": {"type": "integer", "minimum": 2, "maximum": 1}}, "guided_json"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"$ref": "#/$defs/absent"}}}},
            "response_format",
        ),
    ],
    ids=["regex", "look-ahead", "grammar", "schema", "impossible", "reference"],
)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_form_that_cannot_be_read_is_refused_by_its_name(client, field, param, streamed):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**ask(), extra_body=field, stream=streamed)
    assert refused.value.type == "invalid_request_error" and refused.value.message
    assert refused.value.param is not None and refused.value.param.startswith(param)
    # And the next one is answered as if nothing had been.
    assert client.chat.completions.create(**ask()).choices[0].finish_reason == "stop"


def test_a_form_that_takes_long_to_read_stops_nobody_else(start_chat, connect):
    server = start_chat().until_ready()
    client = connect(server)
    large = {f"p{number}": {"type": "string", "maxLength": 50} for number in range(3000)}
    running = client.completions.create(**go_on(**speaking.ON_AND_ON), stream=True)
    begun = next(running)
    try:
        client.chat.completions.create(**ask(max_tokens=4), extra_body={"guided_json": {"properties": large}})
    except openai.BadRequestError as refused:
        assert refused.param == "guided_json"
    assert speaking.ending([begun, *running]) == "length"
    [model] = server.listed()
    assert not any(model["losses"].values()), model
