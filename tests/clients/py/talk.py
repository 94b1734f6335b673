"""What the drivers of SDKs in Python share, in the manner of `js/talk.mjs`: rounds of conversations come in by stdin, and what
came of them goes to stdout, as JSON. A driver may run in another environment than the tests, so it knows nothing of them.
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Steps = Iterator[dict[str, Any]]


@dataclass(frozen=True)
class Way:
    """Where the SDK is pointed at. With a socket, the URL's host is a mere word."""

    name: str
    url: str
    token: str
    socket: str | None


@dataclass(frozen=True)
class Talk:
    """One conversation; `results` are those of the tools that the model calls, one a step."""

    name: str
    api: str
    model: str
    prompt: str
    stream: bool
    tools: list[dict[str, Any]] | None
    results: list[str]
    cap: int | None


Ask = Callable[[Talk], Steps]


@dataclass(frozen=True)
class Step:
    """A step that succeeded, in words that all dialects have."""

    said: str = ""
    thought: str = ""
    calls: tuple[tuple[str, Any], ...] = ()
    finish: str | None = None
    tokens: tuple[int, int] | None = None
    cost: float | None = None
    model: str = ""

    def told(self) -> dict[str, Any]:
        """For the answer."""
        return {
            "said": self.said,
            "thought": self.thought,
            "calls": list(self.calls),
            "finish": self.finish,
            "tokens": self.tokens,
            "cost": self.cost,
            "model": self.model,
        }


class Failed(Exception):
    """An answer that says itself that it failed, where the SDK raises nothing."""

    def __init__(self, message: str, status: Any) -> None:
        super().__init__(message)
        self.status_code = status


def call(name: str, arguments: Any) -> tuple[str, Any]:
    """A tool call in the form of a step; what is no JSON is what a custom tool is given."""
    if not isinstance(arguments, str):
        return name, arguments
    try:
        return name, json.loads(arguments)
    except ValueError:
        return name, arguments


def main(connect: Callable[[Way], Ask]) -> None:
    """The whole of a driver. `connect` makes the SDK's client and gives the function that asks it."""
    told = {}
    for each in json.load(sys.stdin):
        talks = [Talk(**talk) for talk in each.pop("talks")]
        ask = connect(Way(**each))
        told[each["name"]] = {talk.name: _held(ask, talk) for talk in talks}
    json.dump(told, sys.stdout)


def _held(ask: Ask, talk: Talk) -> list[dict[str, Any]]:
    """The steps of a conversation; those before an error are not lost."""
    steps = []
    try:
        for step in ask(talk):
            steps.append(step)
    except Exception as error:  # whatever the SDK raises is what is measured
        status = getattr(error, "status_code", None)
        steps.append({"error": type(error).__name__, "status": status, "message": str(error)})
    return steps
