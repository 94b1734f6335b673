"""OpenAI's SDK: chat and responses."""

from functools import partial
from typing import Any

import httpx2
import openai

from clients.py.talk import Ask, Failed, Step, Steps, Talk, Way, call, main


def connect(way: Way) -> Ask:
    """The client of a way."""
    http = httpx2.Client(transport=httpx2.HTTPTransport(uds=way.socket)) if way.socket else None
    client = openai.OpenAI(base_url=f"{way.url}/v1", api_key=way.token, http_client=http, max_retries=0)
    asks = {"chat": _chat, "responses": _responses, "models": _models, "model": _model}
    return lambda talk: partial(asks[talk.api], client)(talk)


def _chat(client: openai.OpenAI, talk: Talk) -> Steps:
    messages: list[Any] = [{"role": "user", "content": talk.prompt}]
    for result in (*talk.results, None):
        answer = _completion(client, talk, messages)
        yield _told(answer).told()
        if result is None:
            return
        message = answer.choices[0].message
        messages.append(message)
        messages.append({"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": result})


def _completion(client: openai.OpenAI, talk: Talk, messages: list[Any]) -> Any:
    body: dict[str, Any] = {"model": talk.model, "messages": messages}
    body |= {"tools": talk.tools} if talk.tools else {}
    body |= {"max_tokens": talk.cap} if talk.cap else {}
    if not talk.stream:
        return client.chat.completions.create(**body)
    with client.chat.completions.stream(**body, stream_options={"include_usage": True}) as stream:
        return stream.get_final_completion()


def _told(answer: Any) -> Step:
    (choice,) = answer.choices
    message = choice.message
    return Step(
        said=message.content or "",
        thought=(message.model_extra or {}).get("reasoning") or "",
        calls=tuple(call(made.function.name, made.function.arguments) for made in message.tool_calls or ()),
        finish=choice.finish_reason,
        tokens=(answer.usage.prompt_tokens, answer.usage.completion_tokens),
        cost=answer.usage.model_extra["cost"],
        model=answer.model,
    )


def _responses(client: openai.OpenAI, talk: Talk) -> Steps:
    said: list[Any] = [{"role": "user", "content": talk.prompt}]
    for result in (*talk.results, None):
        answer = _response(client, talk, said)
        yield _replied(answer).told()
        if result is None:
            return
        made = next(item for item in answer.output if item.type == "function_call")
        said += [item.to_dict() for item in answer.output]
        said.append({"type": "function_call_output", "call_id": made.call_id, "output": result})


def _response(client: openai.OpenAI, talk: Talk, said: list[Any]) -> Any:
    body: dict[str, Any] = {"model": talk.model, "input": said}
    body |= {"tools": talk.tools} if talk.tools else {}
    body |= {"max_output_tokens": talk.cap} if talk.cap else {}
    if not talk.stream:
        return client.responses.create(**body)
    last = None
    with client.responses.stream(**body) as stream:
        for event in stream:  # the helper's own last word is nothing but a good answer
            last = getattr(event, "response", last)
    return last


def _replied(answer: Any) -> Step:
    if answer.error:
        raise Failed(answer.error.message, answer.status)
    of = {kind: [item for item in answer.output if item.type == kind] for kind in ("reasoning", "function_call")}
    return Step(
        said=answer.output_text,
        thought="".join(part.text for item in of["reasoning"] for part in item.summary),
        calls=tuple(call(made.name, made.arguments) for made in of["function_call"]),
        finish=answer.status,
        tokens=(answer.usage.input_tokens, answer.usage.output_tokens),
        cost=answer.usage.model_extra["cost"],
        model=answer.model,
    )


def _models(client: openai.OpenAI, _talk: Talk) -> Steps:
    yield from ({"id": model.id} for model in client.models.list())


def _model(client: openai.OpenAI, talk: Talk) -> Steps:
    yield {"id": client.models.retrieve(talk.model).id}


if __name__ == "__main__":
    main(connect)
