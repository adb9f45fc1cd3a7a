"""openai: functions that the model may or must call."""

import json

import jsonschema
import openai
import pytest

import speaking
from speaking import ask

RESTART = {
    "type": "function",
    "function": {
        "name": "restart_worker",
        "description": "Restarts a worker.",
        "parameters": {
            "type": "object",
            "properties": {
                "worker": {"type": "integer", "minimum": 0, "maximum": 9},
                "reason": {"enum": ["hang", "memory", "crash"]},
            },
            "required": ["worker", "reason"],
            "additionalProperties": False,
        },
    },
}
LOOK = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {
            "type": "object",
            "properties": {"deep": {"type": "boolean"}},
            "required": ["deep"],
            "additionalProperties": False,
        },
    },
}
SCHEMAS = {tool["function"]["name"]: tool["function"]["parameters"] for tool in (RESTART, LOOK)}
NAMED = {"type": "function", "function": {"name": "look"}}


def drawn(**more) -> dict:
    return ask(max_tokens=400, tools=[RESTART, LOOK], **more) | {"temperature": 1}


def check(call) -> None:
    """Insists that a call is one of those there are, with arguments as they must be."""
    assert call.type == "function" and call.id.startswith("call_")
    jsonschema.validate(json.loads(call.function.arguments), SCHEMAS[call.function.name])


@pytest.mark.parametrize(("choice", "names"), [("required", set(SCHEMAS)), (NAMED, {"look"})])
@pytest.mark.parametrize("seed", range(4))
def test_a_call_that_is_demanded_comes_and_fits_its_schema(client, choice, names, seed):
    [answer] = client.chat.completions.create(**drawn(tool_choice=choice, seed=seed)).choices
    assert answer.finish_reason in ("tool_calls", "stop") and answer.message.tool_calls
    assert not answer.message.content
    for call in answer.message.tool_calls:
        check(call)
        assert call.function.name in names


def test_a_call_that_is_demanded_says_so_at_its_end(client):
    for choice in ("required", NAMED):
        [answer] = client.chat.completions.create(**drawn(tool_choice=choice, seed=1)).choices
        assert answer.finish_reason == "tool_calls"


def test_a_call_is_streamed_as_the_helper_wants_it(client):
    fields = drawn(tool_choice="required", seed=2, parallel_tool_calls=False)
    [whole] = client.chat.completions.create(**fields).choices[0].message.tool_calls
    check(whole)
    with client.chat.completions.stream(**fields) as following:
        [call] = following.get_final_completion().choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == (whole.function.name, whole.function.arguments)
    chunks = list(client.chat.completions.create(**fields, stream=True))
    parts = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or []]
    assert {part.index for part in parts} == {0} and parts[0].id and parts[0].function.name == whole.function.name
    assert "".join(part.function.arguments or "" for part in parts) == whole.function.arguments
    assert speaking.said(chunks) == "" and speaking.ending(chunks) == "tool_calls"


def test_a_model_that_may_call_may_also_answer(client):
    for choice in ("auto", "none"):
        [answer] = client.chat.completions.create(**ask(tools=[RESTART], tool_choice=choice)).choices
        # It was not taught to call anything.
        assert answer.message.content and not answer.message.tool_calls and answer.finish_reason == "stop"


def test_the_model_is_told_of_tools_unless_it_is_to_call_none(client):
    def length(**fields) -> int:
        return client.chat.completions.create(**ask(max_tokens=1, **fields)).usage.prompt_tokens

    plain = length()
    assert length(tools=[RESTART]) > plain + 50
    assert length(tools=[RESTART], tool_choice="none") == plain


def test_a_conversation_goes_on_after_a_call(client):
    [call] = client.chat.completions.create(**drawn(tool_choice=NAMED, seed=1)).choices[0].message.tool_calls
    messages = [
        *speaking.user(speaking.QUESTION),
        {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": '{"found": 3}'},
    ]
    [answer] = client.chat.completions.create(**ask(tools=[LOOK]) | {"messages": messages}).choices
    assert answer.message.role == "assistant" and answer.message.content


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [RESTART, {"type": "function", "function": {"name": "a b"}}]}, "tools[1].function.name"),
        ({"tools": [RESTART], "tool_choice": NAMED}, "tool_choice"),
        ({"tools": [RESTART], "tool_choice": "perhaps"}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"functions": [RESTART["function"]]}, "functions"),
        (
            {"tools": [RESTART], "tool_choice": "required", "response_format": {"type": "json_object"}},
            "tool_choice",
        ),
    ],
)
def test_tools_that_make_no_sense_are_refused_by_their_name(client, fields, param):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**ask(), **fields)
    assert refused.value.param == param
