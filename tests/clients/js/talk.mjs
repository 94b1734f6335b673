// What the drivers share: they read rounds of conversations from stdin, hold them one by one, and write what came of them to
// stdout, as JSON. In: [{"name", "url", "socket", "token", "talks": [...]}, ...] as tests/clients/talks.py makes them; a socket
// makes the URL's host a mere word. Out: by round and conversation, the steps of it.

import { text } from "node:stream/consumers";
import { Agent, fetch as fetchBy } from "undici";

/** A step that succeeded, in words that all dialects have. Tokens: [in, out]; calls: [name, arguments as an object]. */
export function step({ said = "", thought = "", calls = [], finish = null, tokens = null, cost = null, model = "" }) {
  return { said, thought, calls, finish, tokens, cost, model };
}

/** A tool call in the form of a step. */
export function call(name, args) {
  return [name, typeof args === "string" ? readable(args) : args];
}

/** JSON where it is JSON, else the text itself: what a custom tool is given. */
function readable(args) {
  try {
    return JSON.parse(args);
  } catch {
    return args;
  }
}

/** What a user of the SDK would see of an error: its class, the status, and what it says. */
function failure(error) {
  return { error: error.constructor.name, status: error.status ?? error.statusCode ?? null, message: String(error.message) };
}

/** `fetch` through a Unix socket, or undefined where there is none: then the SDK takes its own. */
function fetchFor(way) {
  if (!way.socket) return undefined;
  const dispatcher = new Agent({ connect: { socketPath: way.socket } });
  return (input, init) => fetchBy(input, { ...init, dispatcher });
}

/** Hold a conversation. `ask` gives the steps of it one by one, so that those before an error are not lost. */
async function held(ask, talk) {
  const steps = [];
  try {
    for await (const one of ask(talk)) steps.push(one);
  } catch (error) {
    steps.push(failure(error));
  }
  return steps;
}

/** The whole of a driver. `connect(way, fetch)` makes the SDK's client and gives the function that asks it. */
export async function main(connect) {
  const told = {};
  for (const { talks, ...way } of JSON.parse(await text(process.stdin))) {
    const ask = connect(way, fetchFor(way));
    told[way.name] = {};
    for (const talk of talks) told[way.name][talk.name] = await held(ask, talk);
  }
  process.stdout.write(JSON.stringify(told), () => process.exit(0)); // not waiting for idle connections
}
