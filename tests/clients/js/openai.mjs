// OpenAI's SDK: chat and responses.

import OpenAI from "openai";
import { call, main, step } from "./talk.mjs";

function connect(way, fetch) {
  const client = new OpenAI({ baseURL: `${way.url}/v1`, apiKey: way.token, fetch, maxRetries: 0 });
  const asks = { chat, responses, models, model };
  return (talk) => asks[talk.api](client, talk);
}

async function* chat(client, talk) {
  const messages = [{ role: "user", content: talk.prompt }];
  const body = { model: talk.model, messages, tools: talk.tools ?? undefined, max_tokens: talk.cap ?? undefined };
  for (const result of [...talk.results, null]) {
    const answer = await completion(client, body, talk.stream);
    yield told(answer);
    if (result === null) return;
    const { message } = answer.choices[0];
    messages.push(message, { role: "tool", tool_call_id: message.tool_calls[0].id, content: result });
  }
}

function completion(client, body, stream) {
  if (!stream) return client.chat.completions.create(body);
  return client.chat.completions.stream({ ...body, stream_options: { include_usage: true } }).finalChatCompletion();
}

function told({ choices: [{ message, finish_reason }], model, usage }) {
  return step({
    said: message.content ?? "",
    thought: message.reasoning ?? "",
    calls: (message.tool_calls ?? []).map((made) => call(made.function.name, made.function.arguments)),
    finish: finish_reason,
    tokens: [usage.prompt_tokens, usage.completion_tokens],
    cost: usage.cost,
    model,
  });
}

async function* responses(client, talk) {
  const input = [{ role: "user", content: talk.prompt }];
  const body = { model: talk.model, input, tools: talk.tools ?? undefined, max_output_tokens: talk.cap ?? undefined };
  for (const result of [...talk.results, null]) {
    const answer = talk.stream
      ? await client.responses.stream(body).finalResponse()
      : await client.responses.create(body);
    yield replied(answer);
    if (result === null) return;
    const made = answer.output.find((item) => item.type === "function_call");
    input.push(...answer.output, { type: "function_call_output", call_id: made.call_id, output: result });
  }
}

function replied({ output, output_text, status, model, usage, error }) {
  if (error) throw Object.assign(new Error(error.message), { status });
  const of = (type) => output.filter((item) => item.type === type);
  return step({
    said: output_text,
    thought: of("reasoning").map((item) => item.summary.map((part) => part.text).join("")).join(""),
    calls: [
      ...of("function_call").map((made) => call(made.name, made.arguments)),
      ...of("custom_tool_call").map((made) => call(made.name, made.input)),
    ],
    finish: status,
    tokens: [usage.input_tokens, usage.output_tokens],
    cost: usage.cost,
    model,
  });
}

async function* models(client) {
  for await (const model of client.models.list()) yield { id: model.id };
}

async function* model(client, talk) {
  yield { id: (await client.models.retrieve(talk.model)).id };
}

await main(connect);
