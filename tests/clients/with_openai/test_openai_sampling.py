"""openai: the fields that say how tokens are chosen, each by something that only it can do."""

import math

import pytest

import speaking
from speaking import ask, go_on

NEVER = -100
MANY = 48


def text(client, **fields) -> str:
    return client.completions.create(**go_on(max_tokens=MANY) | fields).choices[0].text


def tokens(client, **fields) -> list[str]:
    """Returns the tokens of a continuation that goes on and on."""
    fields = {"logprobs": 0, **fields}
    fields["extra_body"] = {"ignore_eos": True} | fields.get("extra_body", {})
    return client.completions.create(**go_on(max_tokens=MANY) | fields).choices[0].logprobs.tokens


def test_a_seed_gives_the_same_answer_again_and_another_seed_another(client):
    def drawn(**fields) -> list[str]:
        answer = client.chat.completions.create(
            **ask("hello", n=2, max_tokens=24) | {"temperature": 1.5, **fields}
        )
        return [choice.message.content for choice in answer.choices]

    first = drawn(seed=7)
    assert first == drawn(seed=7) and first[0] != first[1]
    assert len({tuple(drawn(seed=seed)) for seed in (7, 8, 9, -1)}) == 4
    # Without one, every answer is drawn anew.
    assert len({tuple(drawn(temperature=2)) for _ in range(8)}) > 1


def test_temperature_zero_takes_the_best_token_and_higher_ones_scatter(client):
    assert len({text(client) for _ in range(3)}) == 1
    assert len({text(client, temperature=1.5, seed=seed) for seed in range(6)}) > 3
    # As good as none at all: the best one is always much the likeliest.
    assert text(client, temperature=1e-6, seed=1) == text(client)


@pytest.mark.parametrize(
    "fields",
    [
        {"top_p": 0.0},
        {"top_p": 1e-6},
        {"extra_body": {"top_k": 1}},
        {"extra_body": {"min_p": 1.0}},
    ],
    ids=["top_p 0", "top_p", "top_k", "min_p"],
)
def test_where_only_the_best_token_is_left_it_is_taken_at_any_temperature(client, fields):
    assert text(client, temperature=2, seed=3, **fields) == text(client)


@pytest.mark.parametrize("field", [{"top_k": 5}, {"top_k": -1}, {"top_k": 0}, {"min_p": 0.02}])
def test_a_cut_that_leaves_several_leaves_no_other(client, field):
    answer = client.completions.create(
        **go_on(max_tokens=MANY, logprobs=5, seed=11) | {"temperature": 2},
        extra_body=field | {"ignore_eos": True},
    )
    told = answer.choices[0].logprobs
    # A sixth name is there where the token that was chosen is none of the best five.
    beyond = any(len(best) > 5 for best in told.top_logprobs)
    if "top_k" in field:
        assert beyond == (field["top_k"] <= 0), "at temperature 2 some lie beyond, where they may"
    else:
        # Probabilities are told as they were before the temperature: of 0.02 at 2, its square is left at 1.
        least = 2 * math.log(field["min_p"]) - 0.01
        for logprob, best in zip(told.token_logprobs, told.top_logprobs, strict=True):
            assert logprob - max(best.values()) >= least


def test_a_bias_forbids_a_token_or_demands_it(client):
    names = speaking.token_names()
    assert set(tokens(client, prompt=[0, 300], logit_bias={"400": 100})) == {names[400]}
    assert set(tokens(client, prompt=[0, 300], logit_bias={"400": 70, "401": 100})) == {names[401]}
    low = {str(token): NEVER for token in range(400)}
    high = tokens(client, prompt=[0, 300], logit_bias=low, temperature=2, seed=1)
    assert set(high).isdisjoint(names[:400]) and len(set(high)) > 10


def test_penalties_keep_a_text_from_repeating_itself(client):
    # Two tokens that everything is staked on, one a little more.
    two = {"prompt": [0, 300], "logit_bias": {"400": 100, "401": 99}}
    plain = tokens(client, **two)
    assert len(set(plain)) == 1
    for fields in (
        {"frequency_penalty": 0.5},
        {"presence_penalty": 2},
        {"extra_body": {"repetition_penalty": 1.5}},
    ):
        assert len(set(tokens(client, **two, **fields))) == 2, fields
    # Of a presence it matters only that it is; so the better one wins again once both are there.
    present = tokens(client, **two, presence_penalty=2)
    assert present[0] == plain[0] and present[1] != plain[0] and set(present[2:]) == {plain[0]}
    # With every occurrence a little more speaks against a token.
    often = tokens(client, **two, frequency_penalty=2)
    assert abs(often.count(plain[0]) - MANY // 2) <= 2
    # What speaks for repeating changes nothing about what repeats anyway.
    assert tokens(client, **two, frequency_penalty=-2, presence_penalty=-2) == plain


def test_a_repetition_penalty_sees_the_prompt_too(client):
    two = {"logit_bias": {"400": 100, "401": 99}, "extra_body": {"repetition_penalty": 1.5}}
    fresh = tokens(client, prompt=[0, 300], **two)
    seen = tokens(client, prompt=[0, 400], **two)
    assert fresh[0] == seen[1] and fresh[1] == seen[0]


def test_an_answer_has_as_few_tokens_as_it_must(client):
    plain = client.chat.completions.create(**ask())
    most = plain.usage.completion_tokens + 20
    longer = client.chat.completions.create(**ask(max_tokens=most), extra_body={"min_tokens": most - 5})
    assert longer.usage.completion_tokens >= most - 5
    endless = client.chat.completions.create(**ask(max_tokens=most), extra_body={"ignore_eos": True})
    assert endless.usage.completion_tokens == most and endless.choices[0].finish_reason == "length"


def test_a_token_of_ones_own_ends_an_answer(client):
    biased = {"max_tokens": 8, "logit_bias": {"400": 100}}
    answer = client.completions.create(**go_on(**biased), extra_body={"stop_token_ids": [400]})
    assert answer.choices[0].text == "" and answer.choices[0].finish_reason == "stop"
    assert speaking.ending(
        list(client.completions.create(**go_on(**biased), extra_body={"stop_token_ids": [401]}, stream=True))
    ) == "length"
