"""OpenAI's SDKs: lines of code, since they have no configuration file."""

from agentd.ctl.clients.plan import Aim, Client, Plan

SOCKET = """# Python
import httpx, openai
door = httpx.Client(transport=httpx.HTTPTransport(uds="{socket}"))
client = openai.OpenAI(base_url="http://agentd/v1", api_key="{token}", http_client=door)

// JavaScript
import {{ Agent, fetch as undiciFetch }} from "undici";
const dispatcher = new Agent({{ connect: {{ socketPath: "{socket}" }} }});
const fetch = (url, init) => undiciFetch(url, {{ ...init, dispatcher }});
const client = new OpenAI({{ baseURL: "http://agentd/v1", apiKey: "{token}", fetch }});
"""
TCP = """# either language, or any program that reads these
OPENAI_BASE_URL={url}/v1
OPENAI_API_KEY={token}
"""


def plan(aim: Aim) -> Plan:
    """Nothing to write."""
    text = TCP if aim.door.tcp else SOCKET
    return Plan((), text.format(socket=aim.door.socket, url=aim.door.url, token=aim.door.token))


CLIENT = Client("openai-sdk", "chat", False, plan)
