// OpenAI's client for Node against a server that is named by IMPETUS_URL and has the models of the Python tests.
//
// Each call has a deadline of the client's own; nothing here waits by time. What the Python tests hold field
// by field is not repeated: here is what the other client reads in its own way.

import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI from "openai";

const base = process.env.IMPETUS_URL;
const model = process.env.IMPETUS_MODEL ?? "tiny-chat";
const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: "none", maxRetries: 0, timeout: 60_000 });

const ask = (more = {}) => ({
  model,
  messages: [{ role: "user", content: "How do I start the server?" }],
  temperature: 0,
  ...more,
});
const goOn = (more = {}) => ({ model, prompt: "The server", temperature: 0, ...more });
const onAndOn = { max_tokens: 1800, ignore_eos: true };

// Waits until nothing runs any more; each look is an answer of the server.
async function untilIdle() {
  const end = Date.now() + 60_000;
  for (;;) {
    const text = await (await fetch(`${base}/metrics`)).text();
    const busy = ["running", "waiting"].map((what) => {
      const line = new RegExp(`^impetus_generation_sequences_${what}\\{[^}]*model="${model}"[^}]*\\} (\\S+)`, "m");
      return Number(text.match(line)?.[1]);
    });
    if (busy.every((count) => count === 0)) return;
    assert.ok(Date.now() < end, `still busy: ${busy}`);
  }
}

async function refusal(promise) {
  const error = await promise.then(
    () => assert.fail("it was not refused"),
    (error) => error,
  );
  return error;
}

test("models are listed and told of", async () => {
  const ids = [];
  for await (const listed of client.models.list()) ids.push(listed.id);
  assert.deepEqual(ids.sort(), ["embedder", model].sort());
  assert.equal((await client.models.retrieve(model)).id, model);
  assert.ok((await refusal(client.models.retrieve("nobody"))) instanceof OpenAI.NotFoundError);
});

test("a question is answered, whole and in parts", async () => {
  const whole = await client.chat.completions.create(ask());
  const [choice] = whole.choices;
  assert.match(choice.message.content, /make run/);
  assert.equal(choice.finish_reason, "stop");
  assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens);

  const stream = await client.chat.completions.create(
    ask({ stream: true, stream_options: { include_usage: true } }),
  );
  let text = "";
  const ends = [];
  let usage = null;
  let chunks = 0;
  for await (const chunk of stream) {
    chunks += 1;
    for (const part of chunk.choices) {
      text += part.delta.content ?? "";
      if (part.finish_reason) ends.push(part.finish_reason);
    }
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, choice.message.content);
  assert.deepEqual(ends, ["stop"]);
  assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
  assert.ok(chunks > 4);
});

test("the helper for streams puts the message together", async () => {
  const whole = await client.chat.completions.create(ask());
  const parts = [];
  const runner = client.chat.completions.stream(ask()).on("content", (part) => parts.push(part));
  const message = await runner.finalMessage();
  assert.equal(message.content, whole.choices[0].message.content);
  assert.equal(parts.join(""), message.content);
});

test("every answer has a name", async () => {
  const { data, response, request_id: name } = await client.chat.completions
    .create(ask(), { headers: { "x-request-id": "from-node-1" } })
    .withResponse();
  assert.equal(name, "from-node-1");
  assert.ok(Number(response.headers.get("openai-processing-ms")) >= 0);
  assert.equal(data.object, "chat.completion");
});

test("a stream that is broken off stops its sequence", async () => {
  const stream = await client.completions.create({ ...goOn(), ...onAndOn, stream: true });
  let read = 0;
  for await (const _ of stream) {
    read += 1;
    if (read === 5) break;
  }
  assert.equal(read, 5);
  await untilIdle();
});

test("an abort controller stops a stream and a request", async () => {
  const streams = new AbortController();
  const stream = await client.chat.completions.create(
    { ...ask(), ...onAndOn, stream: true },
    { signal: streams.signal },
  );
  let read = 0;
  for await (const _ of stream) {
    read += 1;
    if (read === 3) streams.abort();
  }
  assert.ok(read >= 3);

  const requests = new AbortController();
  const asked = client.completions.create({ ...goOn(), ...onAndOn, n: 4 }, { signal: requests.signal });
  const gone = refusal(asked);
  requests.abort();
  assert.ok((await gone) instanceof OpenAI.APIUserAbortError);
  await untilIdle();
});

test("a client that loses patience says so", async () => {
  const late = client.completions.create({ ...goOn(), ...onAndOn, n: 8 }, { timeout: 100 });
  assert.ok((await refusal(late)) instanceof OpenAI.APIConnectionTimeoutError);
  await untilIdle();
});

test("errors are those of the client", async () => {
  const hot = await refusal(client.chat.completions.create(ask({ temperature: 3 })));
  assert.ok(hot instanceof OpenAI.BadRequestError);
  assert.deepEqual([hot.status, hot.param, hot.type], [400, "temperature", "invalid_request_error"]);
  assert.ok(hot.requestID && hot.code && hot.message.includes("temperature"));

  const nobody = await refusal(client.chat.completions.create({ ...ask(), model: "nobody" }));
  assert.ok(nobody instanceof OpenAI.NotFoundError);
  assert.equal(nobody.code, "model_not_found");

  const long = await refusal(client.completions.create(goOn({ prompt: Array(3001).fill(5), stream: true })));
  assert.ok(long instanceof OpenAI.BadRequestError);
  assert.equal(long.code, "context_length_exceeded");
  assert.match(long.message, /3001.*2048|2048.*3001/s);
});

const look = {
  type: "function",
  function: {
    name: "look",
    parameters: {
      type: "object",
      properties: { where: { enum: ["here", "there"] } },
      required: ["where"],
      additionalProperties: false,
    },
  },
};

test("a call of a tool comes whole and in a stream", async () => {
  const fields = ask({ tools: [look], tool_choice: "required", parallel_tool_calls: false, max_tokens: 200 });
  const [choice] = (await client.chat.completions.create(fields)).choices;
  const [call] = choice.message.tool_calls;
  assert.equal(choice.finish_reason, "tool_calls");
  assert.equal(call.function.name, "look");
  assert.ok(["here", "there"].includes(JSON.parse(call.function.arguments).where));
  const streamed = await client.chat.completions.stream(fields).finalMessage();
  assert.deepEqual(
    streamed.tool_calls.map((each) => each.function.arguments),
    [call.function.arguments],
  );
});

test("the client runs a tool and asks again", async () => {
  const seen = [];
  const runner = client.chat.completions.runTools(
    {
      ...ask({ tool_choice: { type: "function", function: { name: "look" } }, max_tokens: 200 }),
      tools: [
        {
          ...look,
          function: {
            ...look.function,
            parse: JSON.parse,
            function: (given) => {
              seen.push(given.where);
              return "nothing there";
            },
          },
        },
      ],
    },
    { maxChatCompletions: 1 },
  );
  await runner.done();
  assert.equal(seen.length, 1);
});

test("an answer conforms to its schema", async () => {
  const schema = {
    type: "object",
    properties: {
      port: { type: "integer", minimum: 1, maximum: 9999 },
      names: { type: "array", items: { type: "string", maxLength: 6 }, maxItems: 2 },
    },
    required: ["port", "names"],
    additionalProperties: false,
  };
  for (let seed = 0; seed < 4; seed += 1) {
    const answer = await client.chat.completions.parse(
      ask({
        temperature: 1,
        seed,
        max_tokens: 500,
        response_format: { type: "json_schema", json_schema: { name: "place", schema, strict: true } },
      }),
    );
    const { parsed } = answer.choices[0].message;
    assert.deepEqual(Object.keys(parsed).sort(), ["names", "port"]);
    assert.ok(Number.isInteger(parsed.port) && parsed.port >= 1 && parsed.port <= 9999);
    assert.ok(parsed.names.length <= 2 && parsed.names.every((name) => [...name].length <= 6));
  }
  const regex = await client.chat.completions.create(ask({ regex: "[0-9]{3}-[a-z]{2}" }));
  assert.match(regex.choices[0].message.content, /^[0-9]{3}-[a-z]{2}$/);
});

test("several texts and tokens are continued", async () => {
  const both = await client.completions.create(goOn({ prompt: ["The server", "A worker"], n: 2, logprobs: 1 }));
  assert.deepEqual(
    both.choices.map((choice) => choice.index),
    [0, 1, 2, 3],
  );
  for (const choice of both.choices) assert.equal(choice.logprobs.tokens.join(""), choice.text);
  const tokens = await client.completions.create(goOn({ prompt: [0, 300, 301], echo: true }));
  assert.ok(tokens.choices[0].text.length > 0);
  let text = "";
  for await (const chunk of await client.completions.create(goOn({ stream: true })))
    text += chunk.choices[0]?.text ?? "";
  assert.equal(text, (await client.completions.create(goOn())).choices[0].text);
});

test("embeddings come as floats and as base64", async () => {
  const input = ["Hello", "a worker hangs"];
  const floats = await client.embeddings.create({ model: "embedder", input, encoding_format: "float" });
  const packed = await client.embeddings.create({ model: "embedder", input });
  assert.equal(floats.data.length, 2);
  for (const [index, { embedding }] of floats.data.entries()) {
    assert.ok(Math.abs(Math.hypot(...embedding) - 1) < 1e-4);
    const other = packed.data[index].embedding;
    assert.equal(other.length, embedding.length);
    for (const [at, number] of embedding.entries()) assert.ok(Math.abs(other[at] - number) < 1e-6);
  }
});
