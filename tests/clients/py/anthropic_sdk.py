"""Anthropic's SDK: messages."""

from functools import partial
from typing import Any

import anthropic
import httpx2

from clients.py.talk import Ask, Step, Steps, Talk, Way, call, main


def connect(way: Way) -> Ask:
    """The client of a way."""
    http = httpx2.Client(transport=httpx2.HTTPTransport(uds=way.socket)) if way.socket else None
    client = anthropic.Anthropic(base_url=way.url, auth_token=way.token, http_client=http, max_retries=0)
    asks = {"messages": _messages, "models": _models, "model": _model, "count": _count}
    return lambda talk: partial(asks[talk.api], client)(talk)


def _messages(client: anthropic.Anthropic, talk: Talk) -> Steps:
    said: list[Any] = [{"role": "user", "content": talk.prompt}]
    for result in (*talk.results, None):
        answer = _message(client, talk, said)
        yield _told(answer).told()
        if result is None:
            return
        made = next(block for block in answer.content if block.type == "tool_use")
        found = {"type": "tool_result", "tool_use_id": made.id, "content": result}
        said += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": [found]}]


def _message(client: anthropic.Anthropic, talk: Talk, said: list[Any]) -> Any:
    body: dict[str, Any] = {"model": talk.model, "messages": said, "max_tokens": talk.cap or 1000}
    body |= {"tools": talk.tools} if talk.tools else {}
    if not talk.stream:
        return client.messages.create(**body)
    with client.messages.stream(**body) as stream:
        return stream.get_final_message()


def _told(answer: Any) -> Step:
    of = {kind: [block for block in answer.content if block.type == kind] for kind in ("text", "thinking", "tool_use")}
    return Step(
        said="".join(block.text for block in of["text"]),
        thought="".join(block.thinking for block in of["thinking"]),
        calls=tuple(call(block.name, block.input) for block in of["tool_use"]),
        finish=answer.stop_reason,
        tokens=(answer.usage.input_tokens, answer.usage.output_tokens),
        cost=answer.usage.model_extra["cost"],
        model=answer.model,
    )


def _models(client: anthropic.Anthropic, _talk: Talk) -> Steps:
    yield from ({"id": model.id} for model in client.models.list(limit=3))


def _model(client: anthropic.Anthropic, talk: Talk) -> Steps:
    yield {"id": client.models.retrieve(talk.model).id}


def _count(client: anthropic.Anthropic, talk: Talk) -> Steps:
    said: Any = [{"role": "user", "content": talk.prompt}]
    yield {"counted": client.messages.count_tokens(model=talk.model, messages=said).input_tokens > 0}


if __name__ == "__main__":
    main(connect)
