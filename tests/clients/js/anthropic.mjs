// Anthropic's SDK: messages.

import Anthropic from "@anthropic-ai/sdk";
import { call, main, step } from "./talk.mjs";

function connect(way, fetch) {
  const client = new Anthropic({ baseURL: way.url, apiKey: null, authToken: way.token, fetch, maxRetries: 0 });
  const asks = { messages, models, model, count };
  return (talk) => asks[talk.api](client, talk);
}

async function* messages(client, talk) {
  const said = [{ role: "user", content: talk.prompt }];
  const body = { model: talk.model, messages: said, tools: talk.tools ?? undefined, max_tokens: talk.cap ?? 1000 };
  for (const result of [...talk.results, null]) {
    const answer = talk.stream
      ? await client.messages.stream(body).finalMessage()
      : await client.messages.create(body);
    yield told(answer);
    if (result === null) return;
    const made = answer.content.find((block) => block.type === "tool_use");
    said.push({ role: "assistant", content: answer.content });
    said.push({ role: "user", content: [{ type: "tool_result", tool_use_id: made.id, content: result }] });
  }
}

function told({ content, stop_reason, model, usage }) {
  const of = (type) => content.filter((block) => block.type === type);
  return step({
    said: of("text").map((block) => block.text).join(""),
    thought: of("thinking").map((block) => block.thinking).join(""),
    calls: of("tool_use").map((block) => call(block.name, block.input)),
    finish: stop_reason,
    tokens: [usage.input_tokens, usage.output_tokens],
    cost: usage.cost,
    model,
  });
}

async function* models(client) {
  for await (const model of client.models.list({ limit: 3 })) yield { id: model.id };
}

async function* model(client, talk) {
  yield { id: (await client.models.retrieve(talk.model)).id };
}

async function* count(client, talk) {
  const counted = await client.messages.countTokens({ model: talk.model, messages: [{ role: "user", content: talk.prompt }] });
  yield { counted: counted.input_tokens > 0 };
}

await main(connect);
