// OpenRouter's own SDK, which checks every field of every answer: chat, responses and the list of models.

import { HTTPClient, OpenRouter } from "@openrouter/sdk";
import { call, main, step } from "./talk.mjs";

const PAGE = 3; // models of one page of the list, so that there are several
const MOST_PAGES = 30; // more than there are: a list that never ends is an error

function connect(way, fetch) {
  const client = new OpenRouter({
    serverURL: `${way.url}/api/v1`,
    apiKey: way.token,
    retryConfig: { strategy: "none" },
    httpClient: fetch && new HTTPClient({ fetcher: (request) => again(fetch, request) }),
  });
  const asks = { chat, responses, models, model };
  return (talk) => asks[talk.api](client, talk);
}

/** A request of the built-in `fetch` in the terms of another one, and its response back: the SDK takes no strange ones. */
async function again(fetch, request) {
  const body = ["GET", "HEAD"].includes(request.method) ? undefined : await request.arrayBuffer();
  const { method, headers, signal } = request;
  const response = await fetch(request.url, { method, headers: [...headers], body, signal });
  return new Response(response.body, { status: response.status, headers: [...response.headers] });
}

async function* chat(client, talk) {
  const messages = [{ role: "user", content: talk.prompt }];
  const chatRequest = {
    model: talk.model,
    messages,
    tools: talk.tools ?? undefined,
    maxTokens: talk.cap ?? undefined,
    stream: talk.stream,
  };
  for (const result of [...talk.results, null]) {
    const answer = await client.chat.send({ chatRequest });
    const whole = talk.stream ? await gathered(answer) : answer;
    yield told(whole);
    if (result === null) return;
    const { message } = whole.choices[0];
    messages.push(message, { role: "tool", toolCallId: message.toolCalls[0].id, content: result });
  }
}

/** The chunks of a stream as one answer. */
async function gathered(stream) {
  const message = { role: "assistant", content: "", reasoning: "", toolCalls: [] };
  let finishReason = null;
  let usage = null;
  let model = "";
  for await (const chunk of stream) {
    if (chunk.error) throw Object.assign(new Error(chunk.error.message), { status: chunk.error.code });
    for (const choice of chunk.choices) {
      message.content += choice.delta.content ?? "";
      message.reasoning += choice.delta.reasoning ?? "";
      for (const part of choice.delta.toolCalls ?? []) add(message.toolCalls, part);
      finishReason = choice.finishReason ?? finishReason;
    }
    usage = chunk.usage ?? usage;
    model = chunk.model;
  }
  return { choices: [{ message, finishReason }], usage, model };
}

function add(calls, { index, id, function: part }) {
  calls[index] ??= { id, type: "function", function: { name: "", arguments: "" } };
  calls[index].function.name += part?.name ?? "";
  calls[index].function.arguments += part?.arguments ?? "";
}

function told({ choices: [{ message, finishReason }], model, usage }) {
  return step({
    said: message.content ?? "",
    thought: message.reasoning ?? "",
    calls: (message.toolCalls ?? []).map((made) => call(made.function.name, made.function.arguments)),
    finish: finishReason,
    tokens: [usage.promptTokens, usage.completionTokens],
    cost: usage.cost,
    model,
  });
}

async function* responses(client, talk) {
  const input = [{ role: "user", content: talk.prompt }];
  const responsesRequest = {
    model: talk.model,
    input,
    tools: talk.tools ?? undefined,
    maxOutputTokens: talk.cap ?? undefined,
    stream: talk.stream,
  };
  for (const result of [...talk.results, null]) {
    const answer = await client.beta.responses.send({ responsesRequest });
    const whole = talk.stream ? await ended(answer) : answer;
    yield replied(whole);
    if (result === null) return;
    const made = whole.output.find((item) => item.type === "function_call");
    input.push(...whole.output, { type: "function_call_output", callId: made.callId, output: result });
  }
}

/** The response that a stream of events ends with. */
async function ended(stream) {
  let last = null;
  for await (const event of stream) {
    if (event.type === "error") throw Object.assign(new Error(event.message), { status: event.code });
    last = event.response ?? last;
  }
  return last;
}

function replied({ output, status, model, usage, error }) {
  if (error) throw Object.assign(new Error(error.message), { status });
  const of = (type) => output.filter((item) => item.type === type);
  return step({
    said: of("message").map((item) => item.content.map((part) => part.text).join("")).join(""),
    thought: of("reasoning").map((item) => item.summary.map((part) => part.text).join("")).join(""),
    calls: [
      ...of("function_call").map((made) => call(made.name, made.arguments)),
      ...of("custom_tool_call").map((made) => call(made.name, made.input)),
    ],
    finish: status,
    tokens: [usage.inputTokens, usage.outputTokens],
    cost: usage.cost,
    model,
  });
}

async function* models(client) {
  let pages = 0;
  for await (const page of await client.models.list({ limit: PAGE })) {
    if (++pages > MOST_PAGES) throw new Error("the list never ends");
    for (const model of page.result.data) yield { id: model.id };
  }
}

async function* model(client, talk) {
  const [author, ...slug] = talk.model.split("/");
  yield { id: (await client.models.get({ author, slug: slug.join("/") })).data.id };
}

await main(connect);
