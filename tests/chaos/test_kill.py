"""kill -9 at random points of a busy daemon: no call reached the upstream without its line, the chain verifies, and what was
billed is within what is known and what is held.

The upstream is a process of its own whose log of arrivals is written before it answers; the record is what the next daemon finds.
Each call carries a word of its own, and its line the digest of the body with that word in it.
"""

import hashlib
import json
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaos import books
from daemon.stage import Stage
from harness import daemon as daemons
from harness import upstream as upstreams
from harness.http import call

CLIENTS = 6
LONGEST_S = 0.25


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[upstreams.Upstream]:
    made = upstreams.start(tmp_path)
    yield made
    made.stop()


def body_of(word: str, *, stream: bool) -> bytes:
    asked = {
        "model": "chat",
        "stream": stream,
        "max_tokens": 50,
        "messages": [{"role": "user", "content": f"[[sim:long 30]] word {word}"}],
    }
    return json.dumps(asked).encode()


def hammer(door: Path, name: str, stop: threading.Event, sent: dict[str, bytes]) -> None:
    """Call without pause until told to stop or the door is gone."""
    number = 0
    while not stop.is_set():
        number += 1
        word = f"{name}-{number}"
        sent[word] = body_of(word, stream=number % 2 == 0)
        try:
            call(door, "POST", "/v1/chat/completions", sent[word])
        except (OSError, ValueError):
            return
        except Exception:  # http.client has an exception for each way of breaking off
            return


def run_and_kill(daemon: daemons.Daemon, turn: int, chance: random.Random, sent: dict[str, bytes]) -> None:
    stop = threading.Event()
    clients = [
        threading.Thread(target=hammer, args=(daemon.agent_socket, f"{turn}-{n}", stop, sent)) for n in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    stop.wait(chance.uniform(0.005, LONGEST_S))
    daemon.process.send_signal(signal.SIGKILL)
    daemon.process.wait()
    stop.set()
    for client in clients:
        client.join()


def check(daemon: daemons.Daemon, upstream: upstreams.Upstream, sent: dict[str, bytes]) -> int:
    """Every arrival has its line; every line is closed; the chain holds. Answers how many arrivals there were."""
    verified = daemon.ctl("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    exported = [json.loads(line) for line in daemon.ctl("audit", "export").stdout.splitlines()]
    decided = {line["detail"]["body"] for line in exported if line["kind"] == "decision" and line["verdict"] == "allow"}
    arrived = [entry for entry in upstream.arrivals() if "word " in json.dumps(entry)]
    for entry in arrived:
        word = json.dumps(entry).split("word ", 1)[1].split('"')[0].split("\\")[0]
        assert hashlib.sha256(sent[word]).hexdigest()[:32] in decided, f"{word} reached the upstream without a line"
    opened = {line["seq"] for line in exported if line["kind"] == "decision" and line["verdict"] == "allow"}
    closed = [line["opens"] for line in exported if line["kind"] == "outcome"]
    assert sorted(closed) == sorted(opened)
    return len(arrived)


def kill_again_and_again(times: int, start: Callable[..., daemons.Daemon], upstream: upstreams.Upstream) -> None:
    chance = random.Random(7)
    sent: dict[str, bytes] = {}
    policy, environment = upstream.policy(), upstream.environment()
    daemon = start(policy, env=environment, simulate=False)
    for turn in range(times):
        run_and_kill(daemon, turn, chance, sent)
        daemon = daemons.start(policy, env=environment, simulate=False, home=daemon.home)
        if turn % 20 == 0:
            check(daemon, upstream, sent)
    assert check(daemon, upstream, sent) > times
    books.within(Stage(daemon, upstream))
    daemon.stop()


def test_a_few_kills(start_agentd: Callable[..., daemons.Daemon], upstream: upstreams.Upstream) -> None:
    kill_again_and_again(4, start_agentd, upstream)


@pytest.mark.slow
def test_two_hundred_kills(start_agentd: Callable[..., daemons.Daemon], upstream: upstreams.Upstream) -> None:
    kill_again_and_again(200, start_agentd, upstream)
