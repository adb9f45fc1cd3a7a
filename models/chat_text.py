"""Makes all the text that the bundled chat model learns from: conversations and prose.

No text of anybody else is in it. Conversations ask about the facts of chat_facts.toml in every wording
that the forms below give, carelessly typed now and then, with and without a system message, in one to
three turns; one in ten asks for what the model was not taught, and the answer is that it does not know.
Prose is the diary of people who look after servers: it says nothing that matters, and is there so
that a text to be continued is continued with sentences.

Wordings are split once, by the seed: those that are held out are never in a training conversation, and
their rate of right answers says whether the model has learned the fact or the letters. Everything is
drawn from (seed, split, index), so any piece can be made again without the others.
"""

import itertools
import random
import re

import chat_facts

SEED = 20_250_301
TRAINING, HELD_OUT = 0, 1

WORDINGS = {
    "thing": [
        "what is {}?",
        "what's {}?",
        "tell me {}.",
        "can you tell me {}?",
        "do you know {}?",
        "I need {}.",
        "I am looking for {}.",
        "{}?",
        "remind me of {}.",
        "I need to know {}.",
        "could you tell me what {} is?",
        "where do I find {}?",
    ],
    "term": [
        "what is {}?",
        "what's {}?",
        "what does {} mean?",
        "explain {}.",
        "can you explain {}?",
        "what is meant by {}?",
        "tell me about {}.",
        "{}: what is that?",
        "I do not understand {}.",
        "describe {}.",
        "what do you know about {}?",
        "{}?",
    ],
    "how": [
        "how do I {}?",
        "how can I {}?",
        "how does one {}?",
        "how to {}?",
        "what do I do to {}?",
        "what must I do to {}?",
        "I want to {}.",
        "I would like to {}.",
        "show me how to {}.",
        "is there a way to {}?",
        "how would I {}?",
        "explain how to {}.",
        "can I {}?",
        "how should I {}?",
    ],
    "when": [
        "what happens when {}?",
        "what happens if {}?",
        "what if {}?",
        "what does Impetus do when {}?",
        "what does the server do when {}?",
        "{}: what happens?",
        "what will happen when {}?",
        "tell me what happens when {}.",
        "how does Impetus react when {}?",
        "what comes next when {}?",
        "what do clients see when {}?",
        "what is done when {}?",
    ],
    "ask": [
        "{}?",
        "{}?",
        "tell me: {}?",
        "I wonder: {}?",
        "can you say {}?",
        "a question: {}?",
        "do you know {}?",
        "one more thing: {}?",
    ],
    "say": ["{}", "{}.", "{}!"],
}
"""How each form of phrase becomes a question."""

SYSTEM_MESSAGES = [
    "You are a helpful assistant.",
    "You answer questions about Impetus.",
    "Be brief.",
    "You are tiny-chat.",
    "Answer in one sentence.",
    "You help people who run a model server.",
]

HELD_OUT_SHARE = 0.15


# --- questions ---


def expand(phrase):
    """Returns every text that a phrase with `{a|b}` stands for."""
    parts = [part.split("|") for part in re.split(r"[{}]", phrase)]
    return [" ".join("".join(chosen).split()) for chosen in itertools.product(*parts)]


def questions(fact):
    """Returns every wording of every question that a fact answers, in a fixed order."""
    asked = []
    for form, wordings in WORDINGS.items():
        phrases = [text for phrase in getattr(fact, form) for text in expand(phrase)]
        asked += [wording.format(text) for text in phrases for wording in wordings]
    return list(dict.fromkeys(asked))


def split_questions(number, fact):
    """Returns a fact's wordings for training and those that are held out; `number` is its place."""
    asked = questions(fact)
    held = set(random.Random(f"{SEED} wordings {number}").sample(asked, round(len(asked) * HELD_OUT_SHARE)))
    return [text for text in asked if text not in held], [text for text in asked if text in held]


def all_questions(split):
    """Returns the questions of a split as a list for each fact, in the order of the facts."""
    return [split_questions(number, fact)[split] for number, fact in enumerate(chat_facts.FACTS)]


def unknown_question(rng):
    """Returns a question that the model was not taught to answer."""

    def filled(found):
        kind = found.group(1)
        if kind == "number":
            return str(rng.randrange(2, 500))
        if kind == "nonsense":
            return "".join(
                rng.choice(["bl", "gr", "sn", "v", "k", "pl", "fr"])
                + rng.choice(["o", "i", "u", "ee"])
                + rng.choice(["rk", "mp", "ft", "nk", "zz"])
                for _ in range(rng.choice([1, 1, 2]))
            )
        return rng.choice(chat_facts.FILLERS[kind])

    text = re.sub(r"{(\w+)}", filled, rng.choice(chat_facts.UNKNOWN_QUESTIONS))
    wording = rng.choice(
        ["{}?", "{}?", "{}", "tell me: {}?", "do you know {}?", "please, {}?", "one more thing: {}?"]
    )
    return wording.format(text)


def typed(text, rng):
    """Returns a question as somebody may type it: capitals, marks and politeness come and go."""
    text = text[0].upper() + text[1:] if rng.random() < 0.75 else text
    if rng.random() < 0.2:
        text = text.rstrip("?.!") or text
    elif rng.random() < 0.05:
        text = text.lower()
    if rng.random() < 0.06:
        text = _slip(text, rng)
    if rng.random() < 0.12:
        text = rng.choice(["Hi, ", "Please: ", "Hello. ", "Question: ", "Hey, ", "Sorry, ", "OK. "]) + text
    if rng.random() < 0.06:
        text += rng.choice([" Thanks!", " Please.", " Thank you."])
    return text


def _slip(text, rng):
    """Returns the text with one letter left out or two exchanged inside a longer word."""
    places = [at for at in range(1, len(text) - 2) if text[at - 1 : at + 3].isalpha()]
    if not places:
        return text
    at = rng.choice(places)
    return text[:at] + text[at + 1 :] if rng.random() < 0.5 else text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def conversation(asked, index):
    """Returns training conversation `index` as messages; `asked` is `all_questions(TRAINING)`."""
    rng = random.Random(f"{SEED} conversation {index}")
    messages = []
    if rng.random() < 0.25:
        messages.append({"role": "system", "content": rng.choice(SYSTEM_MESSAGES)})
    for _ in range(rng.choice([1, 1, 1, 2, 2, 3])):
        if rng.random() < 0.09:
            question, answer = unknown_question(rng), chat_facts.UNKNOWN
        else:
            number = rng.randrange(len(asked))
            question, answer = rng.choice(asked[number]), chat_facts.FACTS[number].answer
        messages.append({"role": "user", "content": typed(question, rng)})
        messages.append({"role": "assistant", "content": answer})
    return messages


# --- prose ---

_PEOPLE = "Ada Bela Cleo Dana Emil Faye Gus Hana Ivo Jane Kofi Lena Mori Nils Olga Pavel Rosa Sven Tara Uwe".split()
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_SLOTS = {
    "machine": [
        "the server",
        "the old server",
        "the first pod",
        "the second pod",
        "the machine in the hall",
        "the test machine",
    ],
    "model": ["surface", "the new model", "the small model", "the large model", "the model of the night shift"],
    "part": ["a worker", "the heartbeat", "the forwarder", "the model loader", "a spare worker", "the metrics actor"],
    "event": ["crashed", "hung", "was killed", "fell", "was replaced", "came back", "grew too large"],
    "place": ["in the office", "at the desk", "in the kitchen", "on the train", "near the window", "in the hall"],
    "look": [
        "looked at the status",
        "read the events",
        "opened the metrics",
        "counted the restarts",
        "read the log",
        "asked for the readiness",
    ],
    "act": [
        "drained the server",
        "paused healing",
        "restarted the actor",
        "cleared the quarantine",
        "loaded the model again",
        "changed the budget",
        "put it back into traffic",
    ],
    "feel": ["was glad", "was tired", "was not surprised", "laughed", "nodded", "was patient", "wrote it down"],
    "weather": ["It rained", "The sun shone", "It was cold", "A wind blew", "It was still dark", "Snow fell"],
    "amount": ["two", "three", "four", "seven", "ten", "a hundred"],
    "time": ["in the morning", "at noon", "in the evening", "at night", "before lunch", "after the meeting"],
    "result": [
        "every request was answered",
        "no prediction was lost",
        "the queue was empty",
        "nobody noticed",
        "the stream went on",
        "readiness said yes again",
    ],
}
_OPENINGS = [
    "{weather} on {day}, and {who} {look} {time}.",
    "On {day} {time} {part} of {machine} {event}.",
    "{who} came in on {day} and {look}.",
    "{who} had written the page about {model}.",
    "It was {day}, and {machine} had run for {amount} weeks.",
]
_SENTENCES = [
    "{who} {look} and {feel}.",
    "Then {part} {event}.",
    "{part_} {event}, and a new one took its place.",
    "{who} {act}.",
    "After {amount} minutes {result}.",
    "{weather} outside.",
    "{who} sat {place} and {look}.",
    '"What happened?" asked {who}.',
    '"{part_} {event}," said {who}.',
    '"Then {result}," said {other}.',
    "{other} {feel}.",
    "There were {amount} requests in the queue.",
    "{amount_} clients waited, and {result}.",
    "{who} and {other} {look} together.",
    "The log had {amount} new lines.",
    "{time_} {who} {act}.",
    "Nothing else happened until the evening.",
    "{machine_} went on with its work.",
    "{other} said that {part} had {event} before.",
    "So {who} {act}, and {result}.",
    "It took {amount} seconds.",
    "{who} told {other} that {result}.",
    "The worker of {model} was started again.",
    "{other} asked how long {model} had been loaded.",
    '"Since {day}," said {who}.',
    "In the end {result}.",
    "{who} went home {time}.",
    "{other} stayed {place} and {look}.",
    "The next day {machine} was quiet.",
    "Both of them {look} once more.",
]


def prose(index, longest=40):
    """Returns story `index`: four sentences or more, up to `longest`, each chosen by its own draw."""
    rng = random.Random(f"{SEED} prose {index}")
    who, other = rng.sample(_PEOPLE, 2)
    day = rng.choice(_DAYS)
    told = [_sentence(rng, rng.choice(_OPENINGS), who, other, day)]
    for _ in range(min(longest, 3 + int(rng.expovariate(1 / 9)))):
        told.append(_sentence(rng, rng.choice(_SENTENCES), who, other, day))
        if rng.random() < 0.1:
            who, other = other, who
    return " ".join(told)


def _sentence(rng, pattern, who, other, day):
    """Fills one sentence; a slot whose name ends in `_` begins with a capital."""

    def filled(found):
        name = found.group(1)
        if name in ("who", "other", "day"):
            return {"who": who, "other": other, "day": day}[name]
        text = rng.choice(_SLOTS[name.rstrip("_")])
        return text[0].upper() + text[1:] if name.endswith("_") else text

    return re.sub(r"{(\w+)}", filled, pattern)


def tokenizer_lines():
    """Returns the text that decides which tokens there are: all questions and answers, and prose.

    An answer stands there eight times, because it is what the model writes.
    """
    lines = [text for asked in all_questions(TRAINING) for text in asked]
    lines += [text[0].upper() + text[1:] for text in lines]
    lines += [fact.answer for fact in chat_facts.FACTS for _ in range(8)]
    lines += [chat_facts.UNKNOWN, *SYSTEM_MESSAGES]
    rng = random.Random(f"{SEED} tokenizer")
    lines += [unknown_question(rng) for _ in range(2_000)]
    lines += [prose(index) for index in range(1_000)]
    return lines
