"""Text by onnxruntime-genai, as `impetus-bare generate` does it: for each line of standard input

    generate BATCH PROMPT TOKENS

a batch of prompts is generated for, and one line of JSON says how many seconds its steps and the whole
took. `text_genai.py FOLDER THREADS [engine]`

Without `engine` the whole batch is one `Generator`; with it each prompt is a request to an `Engine`,
which on the CPU makes batches of a fixed size of what has been asked for. Everything else is left at
its default, but for the greedy choice and for the tokens that end an answer, which are not to.
"""

import json
import sys
import time

import numpy
import onnxruntime_genai as og

SPECIAL = 4


def opened(folder: str, threads: int, batch: int) -> og.Model:
    config = og.Config(folder)
    settings = {
        "model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}},
        "engine": {"static_batching": {"max_batch_size": batch}},
    }
    config.overlay(json.dumps(settings))
    return og.Model(config)


def by_generator(model: og.Model, prompts: numpy.ndarray, tokens: int) -> list[float]:
    batch, prompt = prompts.shape
    params = og.GeneratorParams(model)
    # An answer that may not end before its longest length has just that.
    options = {"max_length": prompt + tokens, "min_length": prompt + tokens}
    params.set_search_options(do_sample=False, batch_size=batch, **options)
    generator = og.Generator(model, params)
    steps = []
    began = time.perf_counter()
    generator.append_tokens(prompts)
    while not generator.is_done():
        generator.generate_next_token()
        generator.get_next_tokens()
        now = time.perf_counter()
        steps.append(now - began)
        began = now
    if len(steps) != tokens:
        raise RuntimeError(f"{len(steps)} tokens instead of {tokens}")
    return steps


def by_engine(engine: og.Engine, prompts: numpy.ndarray, tokens: int) -> list[float]:
    requests = [engine.create_request() for _ in prompts]
    events = engine.create_event_buffer(4 * len(requests))
    began = time.perf_counter()
    for request, prompt in zip(requests, prompts, strict=True):
        turn = og.TurnOptions(request)
        turn.set_do_sample(False)
        turn.set_max_generated_tokens(tokens)
        turn.set_min_generated_tokens(tokens)
        request.begin_turn(prompt, turn)
    steps, made = [], 0
    while engine.has_pending_requests():
        came = engine.run(events)
        made += sum(1 for event in came if event.flags & og.EngineEventFlags.TOKEN)
        now = time.perf_counter()
        steps.append(now - began)
        began = now
    if made != tokens * len(requests):
        raise RuntimeError(f"{made} tokens instead of {tokens * len(requests)}")
    for request in requests:
        request.close()
    return steps


def main() -> None:
    folder, threads, *how = sys.argv[1:]
    source = numpy.random.default_rng(1)
    with open(f"{folder}/genai_config.json") as file:
        vocabulary = json.load(file)["model"]["vocab_size"]
    model = opened(folder, int(threads), 16)
    engine = og.Engine(model) if how == ["engine"] else None
    for line in sys.stdin:
        verb, *numbers = line.split()
        if verb != "generate":
            raise SystemExit(f"{line!r} is not understood")
        batch, prompt, tokens = map(int, numbers)
        prompts = source.integers(SPECIAL, vocabulary, (batch, prompt), dtype=numpy.int32)
        began = time.perf_counter()
        steps = by_engine(engine, prompts, tokens) if engine else by_generator(model, prompts, tokens)
        whole = time.perf_counter() - began
        # The first one takes the prompts in.
        print(json.dumps({"steps": steps[1:], "whole": whole}), flush=True)


if __name__ == "__main__":
    main()
