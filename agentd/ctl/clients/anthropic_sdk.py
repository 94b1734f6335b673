"""Anthropic's SDKs: lines of code, since they have no configuration file. The Python one wants a client of `httpx2`."""

from agentd.ctl.clients.plan import Aim, Client, Plan

SOCKET = """# Python
import anthropic, httpx2
door = httpx2.Client(transport=httpx2.HTTPTransport(uds="{socket}"))
client = anthropic.Anthropic(base_url="http://agentd", api_key="{token}", http_client=door)
answer = client.messages.create(model="{model}", max_tokens=1000, messages=ASKED)

// JavaScript
import {{ Agent, fetch as undiciFetch }} from "undici";
const dispatcher = new Agent({{ connect: {{ socketPath: "{socket}" }} }});
const fetch = (url, init) => undiciFetch(url, {{ ...init, dispatcher }});
const client = new Anthropic({{ baseURL: "http://agentd", apiKey: "{token}", fetch }});
const answer = await client.messages.create({{ model: "{model}", max_tokens: 1000, messages: asked }});
"""
TCP = """# either language, or any program that reads these
ANTHROPIC_BASE_URL={url}
ANTHROPIC_API_KEY={token}
# each request names its model: {model}
"""


def plan(aim: Aim) -> Plan:
    """Nothing to write."""
    door = aim.door
    text = TCP if door.tcp else SOCKET
    return Plan((), text.format(socket=door.socket, url=door.url, token=door.token, model=aim.model))


CLIENT = Client("anthropic-sdk", "messages", False, plan)
