"""Clients that call without pause, each in its own dialect, and remember every answer; whoever waits hears of each at once."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.daemon import Daemon
from harness.http import Reply, call
from harness.upstream import Upstream

PATIENCE_S = 60.0
"""Nothing here takes seconds; a crowded machine may."""

BREATH_S = 0.02
"""Between two refusals: a client without any would take the machine from whoever is to mend it."""

KINDS = (
    ("/v1/chat/completions", False),
    ("/v1/messages", True),
    ("/v1/chat/completions", True),
    ("/v1/messages", False),
)
"""What the first, second ... client asks: where, and whether as a stream."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer. `word` names the call."""

    client: int
    word: str
    target: str
    reply: Reply

    @property
    def told(self) -> dict[str, Any]:
        """The machine-readable part of a refusal, wherever the dialect carries it."""
        body = self.reply.json()
        found: dict[str, Any] = body["error"]["metadata"] if "chat" in self.target else body["agentd"]
        return found


@dataclass
class Crowd:
    """`size` clients at one door. A context: leaving it ends them."""

    door: Path
    size: int = 4
    heard: list[Heard] = field(default_factory=list)
    broken: list[BaseException] = field(default_factory=list)
    sent: dict[str, bytes] = field(default_factory=dict)
    _news: threading.Condition = field(default_factory=threading.Condition)
    _ended: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._call_on, args=(number,)) for number in range(self.size)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def each_hears(self, wanted: Callable[[Heard], bool], what: str) -> list[Heard]:
        """Wait until each client has got an answer of this kind, counted from now; gives all that came since."""
        since = len(self.heard)

        def all_heard() -> bool:
            return bool(self.broken) or len({h.client for h in self.heard[since:] if wanted(h)}) == self.size

        with self._news:
            came = self._news.wait_for(all_heard, PATIENCE_S)
        assert not self.broken, self.broken
        assert came, f"no {what} for everyone; the last answers: {[h.reply.status for h in self.heard[-10:]]}"
        return self.heard[since:]

    def served(self) -> list[Heard]:
        """Wait until each is served again."""
        return self.each_hears(lambda heard: heard.reply.status == 200, "answer")

    def refused(self, code: str) -> list[Heard]:
        """Wait until each is refused with this code."""
        return self.each_hears(lambda heard: heard.reply.status != 200 and heard.told["code"] == code, code)

    def _call_on(self, client: int) -> None:
        number = 0
        while not self._ended.is_set():
            number += 1
            target, stream = KINDS[client % len(KINDS)]
            word = f"{client}-{number}"
            body = body_of(f"[[sim:long 20]] word {word}", stream=stream)
            self.sent[word] = body
            try:
                heard = Heard(client, word, target, call(self.door, "POST", target, body))
            except Exception as error:  # of whatever kind: a broken connection is what is looked for here
                self.broken.append(error)
                with self._news:
                    self._news.notify_all()
                return
            self.heard.append(heard)
            with self._news:
                self._news.notify_all()
            if heard.reply.status != 200:
                self._ended.wait(BREATH_S)


def body_of(text: str, *, stream: bool = False, model: str = "chat", tokens: int = 50) -> bytes:
    """A call in a form that both dialects take."""
    asked = {"model": model, "stream": stream, "max_tokens": tokens, "messages": [{"role": "user", "content": text}]}
    return json.dumps(asked).encode()


def exported(daemon: Daemon) -> list[dict[str, Any]]:
    """Every line of the record."""
    done = daemon.ctl("audit", "export")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def all_written_down(lines: Iterable[dict[str, Any]], upstream: Upstream, sent: dict[str, bytes]) -> int:
    """Every arrival at the upstream has its line of an allow, and every such line is closed once. Gives the arrivals."""
    lines = list(lines)
    allowed = [line for line in lines if line["kind"] == "decision" and line["verdict"] == "allow"]
    bodies = {line["detail"]["body"] for line in allowed}
    arrived = [entry for entry in upstream.arrivals() if entry["method"] == "POST"]  # GETs ask for keys and lists, of nobody
    for entry in arrived:
        word = entry["body"].split("word ", 1)[1].split('"')[0]
        assert hashlib.sha256(sent[word]).hexdigest()[:32] in bodies, f"{word} reached the upstream without a line"
    closed = sorted(line["opens"] for line in lines if line["kind"] == "outcome")
    assert closed == sorted(line["seq"] for line in allowed)
    return len(arrived)
