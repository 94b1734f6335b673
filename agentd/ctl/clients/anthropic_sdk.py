"""Anthropic's SDKs: lines of code, since they have no configuration file. The Python one wants a client of `httpx2`."""

from agentd.ctl.clients.plan import Aim, Client, Plan

SOCKET = """# Python
import anthropic, httpx2
door = httpx2.Client(transport=httpx2.HTTPTransport(uds="{socket}"))
client = anthropic.Anthropic(base_url="http://agentd", api_key="{token}", http_client=door)

// JavaScript
import {{ Agent, fetch as undiciFetch }} from "undici";
const dispatcher = new Agent({{ connect: {{ socketPath: "{socket}" }} }});
const fetch = (url, init) => undiciFetch(url, {{ ...init, dispatcher }});
const client = new Anthropic({{ baseURL: "http://agentd", apiKey: "{token}", fetch }});
"""
TCP = """# either language, or any program that reads these
ANTHROPIC_BASE_URL={url}
ANTHROPIC_API_KEY={token}
"""


def plan(aim: Aim) -> Plan:
    """Nothing to write."""
    text = TCP if aim.door.tcp else SOCKET
    return Plan((), text.format(socket=aim.door.socket, url=aim.door.url, token=aim.door.token))


CLIENT = Client("anthropic-sdk", "messages", False, plan)
