"""JSON schemas by the number: the same number is always the same schema, and what conforms to it is short."""

import random

NAMES = ["name", "port", "is ready", "größe", "a.b", "x-1", "数据", 'q"uote', "_", "Z"]
WORDS = ["live", "ready?", "", "naïve ☕", 'a "quoted" word', "back\\slash", "tab\tand\nline", "0", "null"]
PATTERNS = ["^[a-z]{1,6}$", "^[A-Z][a-z]{0,5}-[0-9]{2}$", "^(yes|no|maybe)$", "^[0-9]{1,3}(\\.[0-9]{1,3}){3}$"]
DEEPEST = 3


def schema(number: int) -> dict:
    """Returns a schema of an object, of an array, or now and then of anything."""
    rng = random.Random(f"schema {number}")
    kinds = [an_object, an_object, an_object, an_array, any_of, leaf]
    return rng.choice(kinds)(rng, 0)


def anything(rng: random.Random, depth: int) -> dict:
    if depth >= DEEPEST:
        return leaf(rng, depth)
    return rng.choice([an_object, an_array, any_of, leaf, leaf, leaf, leaf])(rng, depth)


def leaf(rng: random.Random, depth: int) -> dict:
    return rng.choice([an_enum, a_const, an_integer, a_number, a_string, a_string, a_truth])(rng, depth)


def an_object(rng: random.Random, depth: int) -> dict:
    """Properties of which some may be missing, and no others."""
    names = rng.sample(NAMES, rng.randrange(1, 5))
    needed = [name for name in names if rng.random() < 0.6]
    made = {
        "type": "object",
        "properties": {name: anything(rng, depth + 1) for name in names},
        "additionalProperties": False,
    }
    if needed or rng.random() < 0.5:
        made["required"] = needed
    return made


def an_array(rng: random.Random, depth: int) -> dict:
    least = rng.randrange(0, 3)
    return {
        "type": "array",
        "items": anything(rng, depth + 1),
        "minItems": least,
        "maxItems": least + rng.randrange(0, 3),
    }


def any_of(rng: random.Random, depth: int) -> dict:
    return {"anyOf": [anything(rng, depth + 1) for _ in range(rng.randrange(2, 4))]}


def an_enum(rng: random.Random, depth: int) -> dict:
    values = [*WORDS, 7, -1, 2.5, True, None, [1, "a"], {"k": "v"}]
    return {"enum": rng.sample(values, rng.randrange(1, 5))}


def a_const(rng: random.Random, depth: int) -> dict:
    return {"const": rng.choice([*WORDS, 0, -3.25, False, None, {"a": [1]}])}


def an_integer(rng: random.Random, depth: int) -> dict:
    least = rng.randrange(-200, 200)
    return {"type": "integer", "minimum": least, "maximum": least + rng.randrange(0, 5000)}


def a_number(rng: random.Random, depth: int) -> dict:
    """Between bounds and with few decimals, or it would have no end."""
    least = rng.randrange(-20, 20)
    return {
        "type": "number",
        "minimum": least,
        "maximum": least + rng.randrange(1, 50),
        "multipleOf": rng.choice([0.5, 0.25]),
    }


def a_string(rng: random.Random, depth: int) -> dict:
    if rng.random() < 0.4:
        return {"type": "string", "pattern": rng.choice(PATTERNS)}
    least = rng.randrange(0, 4)
    return {"type": "string", "minLength": least, "maxLength": least + rng.randrange(0, 12)}


def a_truth(rng: random.Random, depth: int) -> dict:
    return rng.choice([{"type": "boolean"}, {"type": "null"}, {"type": ["boolean", "null"]}])
