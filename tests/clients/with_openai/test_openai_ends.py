"""openai: clients that go, or lose patience, leave nothing behind that runs."""

import asyncio
import os
import signal

import openai
import pytest

import speaking
from speaking import ask, go_on


def long(**more) -> dict:
    return go_on(**speaking.ON_AND_ON | more)


@pytest.fixture
def cancelled(speaker):
    """Says how many sequences have been cancelled since the test began."""
    speaking.until_idle(speaker)
    before = speaking.finished(speaker, "cancelled")
    return lambda: speaking.finished(speaker, "cancelled") - before


def test_a_stream_that_is_closed_stops_its_sequence(speaker, client, cancelled):
    stream = client.completions.create(**long(), stream=True)
    read = [next(stream) for _ in range(5)]
    assert speaking.continued(read)
    stream.close()
    speaking.until_idle(speaker)
    assert cancelled() == 1


def test_all_answers_of_a_stream_end_with_it(speaker, client, cancelled):
    fields = ask(n=6) | speaking.ON_AND_ON
    with client.chat.completions.create(**fields, stream=True) as stream:
        next(stream)
        speaking.until_running(speaker, 6)
    speaking.until_idle(speaker)
    assert cancelled() == 6


def test_a_client_that_loses_patience_takes_its_request_with_it(speaker, client, cancelled):
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.2).completions.create(**long(n=8))
    speaking.until_idle(speaker)
    assert cancelled() == 8


def test_a_client_that_loses_patience_while_it_waits_is_forgotten(speaker, client, cancelled):
    with client.completions.create(**long(n=16), stream=True) as stream:
        next(stream)
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=0.2).completions.create(**go_on())
        speaking.until_running(speaker, 16)
        speaker.until("an empty queue", lambda: speaking.busy(speaker)[1] == 0)
        assert cancelled() == 1, "the one that waited"
    speaking.until_idle(speaker)
    assert cancelled() == 17


def test_tasks_that_are_cancelled_leave_room_for_others(speaker, cancelled):
    async def go_and_come() -> list[str]:
        async with openai.AsyncOpenAI(**speaking.options(speaker)) as client:
            tasks = [asyncio.create_task(client.completions.create(**long())) for _ in range(24)]
            while (await asyncio.to_thread(speaking.busy, speaker))[0] < 16:
                pass
            for task in tasks:
                task.cancel()
            gone = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in gone)
            answers = await asyncio.gather(*(client.completions.create(**go_on()) for _ in range(16)))
            return [answer.choices[0].text for answer in answers]

    assert len(set(asyncio.run(go_and_come()))) == 1
    speaking.until_idle(speaker)
    assert cancelled() == 24


def test_a_stop_string_stops_the_sequence_too(speaker, client, cancelled):
    text = client.completions.create(**go_on(max_tokens=8)).choices[0].text
    answer = client.completions.create(**long(stop=text[3:6]))
    assert answer.choices[0].finish_reason == "stop" and answer.usage.completion_tokens < 40
    speaking.until_idle(speaker)
    assert cancelled() == 1


def test_a_stream_goes_on_when_its_worker_is_killed(start_chat, connect):
    server = start_chat().until_ready()
    client = connect(server)
    fields = go_on(max_tokens=600, extra_body={"ignore_eos": True})
    whole = client.completions.create(**fields).choices[0].text
    stream = client.completions.create(**fields, stream=True)
    chunks = [next(stream) for _ in range(10)]
    os.kill(server.listed()[0]["workers"][0]["pid"], signal.SIGKILL)
    chunks.extend(stream)
    assert speaking.continued(chunks) == whole and speaking.ending(chunks) == "length"
    assert speaking.figures(server)[("resumed_total",)] >= 1


def test_a_server_that_is_told_to_end_finishes_what_it_has_begun(start_chat, connect):
    server = start_chat().until_ready()
    fields = go_on(max_tokens=900, extra_body={"ignore_eos": True})
    whole = connect(server).completions.create(**fields).choices[0].text
    stream = connect(server).completions.create(**fields, stream=True)
    chunks = [next(stream)]
    os.kill(server.pid, signal.SIGTERM)
    chunks.extend(stream)
    assert speaking.continued(chunks) == whole and speaking.ending(chunks) == "length"
    server.until_ended()


def test_a_model_that_is_unloaded_finishes_what_it_has_begun(start_chat, connect):
    server = start_chat().until_ready()
    client = connect(server)
    stream = client.completions.create(**long(), stream=True)
    next(stream)
    repository = connect(server, base_url=f"http://{server.http}/v2/repository/models/{speaking.MODEL}")
    repository.post("/unload", cast_to=object, body={})
    assert speaking.ending(list(stream)) == "length"
    with pytest.raises(openai.NotFoundError):
        client.completions.create(**go_on())
    repository.post("/load", cast_to=object, body={})
    server.until_ready()
    assert client.completions.create(**go_on()).choices[0].text
