"""OpenRouter's own SDK, which checks every field of every answer: chat, responses and the list of models."""

from functools import partial
from typing import Any

import httpx
from openrouter import OpenRouter

from clients.py.talk import Ask, Failed, Step, Steps, Talk, Way, call, main

PAGE = 3
"""Models of one page of the list, so that there are several."""

MOST_PAGES = 30
"""More than there are: a list that never ends is an error."""


def connect(way: Way) -> Ask:
    """The client of a way."""
    http = httpx.Client(transport=httpx.HTTPTransport(uds=way.socket)) if way.socket else None
    client = OpenRouter(server_url=f"{way.url}/api/v1", api_key=way.token, client=http, retry_config=None)
    asks = {"chat": _chat, "responses": _responses, "models": _models, "model": _model}
    return lambda talk: partial(asks[talk.api], client)(talk)


def _chat(client: OpenRouter, talk: Talk) -> Steps:
    messages: list[Any] = [{"role": "user", "content": talk.prompt}]
    body: dict[str, Any] = {"model": talk.model, "stream": talk.stream}
    body |= {"tools": talk.tools} if talk.tools else {}
    body |= {"max_tokens": talk.cap} if talk.cap else {}
    for result in (*talk.results, None):
        answer = client.chat.send(messages=messages, **body)
        message, step = _gathered(answer) if talk.stream else (answer.choices[0].message, _told(answer))
        yield step.told()
        if result is None:
            return
        messages.append(message)
        messages.append({"role": "tool", "tool_call_id": _first_call(message), "content": result})


def _first_call(message: Any) -> str:
    calls = message["tool_calls"] if isinstance(message, dict) else message.tool_calls
    first = calls[0]
    return str(first["id"] if isinstance(first, dict) else first.id)


def _told(answer: Any) -> Step:
    (choice,) = answer.choices
    message = choice.message
    return Step(
        said=message.content or "",
        thought=message.reasoning or "",
        calls=tuple(call(made.function.name, made.function.arguments) for made in message.tool_calls or ()),
        finish=choice.finish_reason,
        tokens=(answer.usage.prompt_tokens, answer.usage.completion_tokens),
        cost=answer.usage.cost,
        model=answer.model,
    )


def _gathered(stream: Any) -> tuple[dict[str, Any], Step]:
    """The chunks of a stream as one message, and what they told."""
    message: dict[str, Any] = {"role": "assistant", "content": "", "reasoning": "", "tool_calls": []}
    ended: dict[str, Any] = {}
    for event in stream:
        chunk = event.data if hasattr(event, "data") else event
        if chunk.error:
            raise Failed(chunk.error.message, chunk.error.code)
        for choice in chunk.choices:
            _add(message, choice.delta)
            ended |= {"finish": choice.finish_reason} if choice.finish_reason else {}
        if chunk.usage:
            ended |= {"tokens": (chunk.usage.prompt_tokens, chunk.usage.completion_tokens), "cost": chunk.usage.cost}
        ended["model"] = chunk.model
    made = tuple(call(each["function"]["name"], each["function"]["arguments"]) for each in message["tool_calls"])
    return message, Step(message["content"], message["reasoning"], made, **ended)


def _add(message: dict[str, Any], delta: Any) -> None:
    message["content"] += delta.content or ""
    message["reasoning"] += delta.reasoning or ""
    for part in delta.tool_calls or ():
        if part.index == len(message["tool_calls"]):
            made: dict[str, Any] = {"id": part.id, "type": "function", "function": {"name": "", "arguments": ""}}
            message["tool_calls"].append(made)
        function = message["tool_calls"][part.index]["function"]
        function["name"] += part.function.name or ""
        function["arguments"] += part.function.arguments or ""


def _responses(client: OpenRouter, talk: Talk) -> Steps:
    said: list[Any] = [{"role": "user", "content": talk.prompt}]
    body: dict[str, Any] = {"model": talk.model, "stream": talk.stream}
    body |= {"tools": talk.tools} if talk.tools else {}
    body |= {"max_output_tokens": talk.cap} if talk.cap else {}
    for result in (*talk.results, None):
        answer = client.beta.responses.send(input=said, **body)
        whole = _last(answer) if talk.stream else answer
        yield _replied(whole).told()
        if result is None:
            return
        made = next(item for item in whole.output if item.type == "function_call")
        said += [item.model_dump(mode="json", by_alias=True, exclude_unset=True) for item in whole.output]
        said.append({"type": "function_call_output", "call_id": made.call_id, "output": result})


def _last(stream: Any) -> Any:
    """The response that a stream of events ends with."""
    last = None
    for event in stream:
        data = event.data if hasattr(event, "data") else event
        if data.type == "error":
            raise Failed(data.message, data.code)
        last = getattr(data, "response", last)
    return last


def _replied(answer: Any) -> Step:
    if answer.error:
        raise Failed(answer.error.message, answer.status)
    of = {
        kind: [item for item in answer.output if item.type == kind]
        for kind in ("message", "reasoning", "function_call")
    }
    return Step(
        said="".join(part.text for item in of["message"] for part in item.content),
        thought="".join(part.text for item in of["reasoning"] for part in item.summary),
        calls=tuple(call(made.name, made.arguments) for made in of["function_call"]),
        finish=answer.status,
        tokens=(answer.usage.input_tokens, answer.usage.output_tokens),
        cost=answer.usage.cost,
        model=answer.model,
    )


def _models(client: OpenRouter, _talk: Talk) -> Steps:
    page = client.models.list(limit=PAGE)
    for _ in range(MOST_PAGES):
        yield from ({"id": model.id} for model in page.result.data)
        page = page.next()
        if page is None:
            return
    raise Failed("the list never ends", None)


def _model(client: OpenRouter, talk: Talk) -> Steps:
    author, _, slug = talk.model.partition("/")
    yield {"id": client.models.get(author=author, slug=slug).data.id}


if __name__ == "__main__":
    main(connect)
