"""OpenAI's SDKs: lines of code, since they have no configuration file."""

from agentd.ctl.clients.plan import Aim, Client, Plan

SOCKET = """# Python
import httpx, openai
door = httpx.Client(transport=httpx.HTTPTransport(uds="{socket}"))
client = openai.OpenAI(base_url="http://agentd/v1", api_key="{token}", http_client=door)
answer = client.chat.completions.create(model="{model}", messages=ASKED)

// JavaScript
import {{ Agent, fetch as undiciFetch }} from "undici";
const dispatcher = new Agent({{ connect: {{ socketPath: "{socket}" }} }});
const fetch = (url, init) => undiciFetch(url, {{ ...init, dispatcher }});
const client = new OpenAI({{ baseURL: "http://agentd/v1", apiKey: "{token}", fetch }});
const answer = await client.chat.completions.create({{ model: "{model}", messages: asked }});
"""
TCP = """# either language, or any program that reads these
OPENAI_BASE_URL={url}/v1
OPENAI_API_KEY={token}
# each request names its model: {model}
"""


def plan(aim: Aim) -> Plan:
    """Nothing to write."""
    door = aim.door
    text = TCP if door.tcp else SOCKET
    return Plan((), text.format(socket=door.socket, url=door.url, token=door.token, model=aim.model))


CLIENT = Client("openai-sdk", "chat", False, plan)
