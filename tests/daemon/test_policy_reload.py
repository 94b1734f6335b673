"""The policy file changes in every way in which files change, while four clients call without pause: no call fails for it, each
is judged by one whole version, and what is refused is recorded once, with line and column."""

import hashlib
import json
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from daemon.crowd import Crowd, body_of, exported
from harness import daemon as daemons
from harness.http import UnixConnection

TEXT = daemons.SHIPPED_POLICY.read_text()
PATIENCE_S = 60.0
LOOK_S = 0.02
"""Between two looks at what is in force."""


def version(name: str) -> str:
    """A whole policy that no other test writes."""
    return TEXT.replace("change: first version", f"change: {name}")


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def daemon(start_agentd: Callable[..., daemons.Daemon]) -> daemons.Daemon:
    return start_agentd()


def policy_state(daemon: daemons.Daemon) -> dict[str, Any]:
    state: dict[str, Any] = daemon.operate("GET", "/operator/v1/status").json()["policy"]
    return state


def until(daemon: daemons.Daemon, wanted: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    """Look until the daemon says so."""
    ends, pause = monotonic() + PATIENCE_S, threading.Event()
    while not wanted(state := policy_state(daemon)):
        assert monotonic() < ends, f"{what} did not come; the state is {state}"
        pause.wait(LOOK_S)
    return state


def in_force(daemon: daemons.Daemon, text: str) -> None:
    digest = digest_of(text)
    until(daemon, lambda state: state["digest"] == digest and state["fault"] is None, f"version {digest[:12]}")


def faulty(daemon: daemons.Daemon) -> dict[str, Any]:
    fault: dict[str, Any] = until(daemon, lambda state: state["fault"] is not None, "a fault")["fault"]
    return fault


def by_rename(file: Path, text: str) -> None:
    beside = file.with_suffix(".new")
    beside.write_text(text)
    beside.rename(file)


def by_symlink(file: Path, text: str) -> None:
    """As configuration tools do it: a link to a directory of versions, swapped."""
    folder = file.parent / f"version-{digest_of(text)[:8]}"
    folder.mkdir()
    (folder / "policy.yaml").write_text(text)
    data, link = file.parent / "data", file.parent / "link"
    link.symlink_to(folder.name)
    link.rename(data)
    if not file.is_symlink():
        link.symlink_to("data/policy.yaml")
        link.rename(file)


def in_place(file: Path, text: str) -> None:
    """As some editors do it: the same file, cut to nothing and written anew."""
    file.write_text(text)


def byte_by_byte(file: Path, text: str) -> None:
    with file.open("wb", buffering=0) as out:
        for start in range(0, len(text), 7):
            out.write(text[start : start + 7].encode())


def delete_and_write(file: Path, text: str) -> None:
    file.unlink()
    file.write_text(text)


WAYS = (by_rename, by_symlink, in_place, byte_by_byte, delete_and_write)


def judged_whole(daemon: daemons.Daemon, crowd: Crowd, whole: set[str]) -> list[dict[str, Any]]:
    """Nobody failed; every decision names one of the whole versions. Gives the record."""
    assert crowd.broken == []
    assert {heard.reply.status for heard in crowd.heard} == {200}
    lines = exported(daemon)
    assert {line["policy"] for line in lines if line["kind"] == "decision"} <= whole
    return lines


def refusals(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line["kind"] == "policy" and line["code"] == "policy.refused"]


def recorded_once(lines: list[dict[str, Any]]) -> None:
    """No two refusals in a row for the same text, and each says where and what."""
    told = [line["policy"] for line in lines if line["kind"] == "policy" and line["code"] != "policy.restored"]
    assert all(one != next_one for one, next_one in pairwise(told))
    for line in refusals(lines):
        first = line["detail"]["faults"][0]
        assert first["line"] >= 1
        assert first["column"] >= 1
        assert first["message"]


def test_every_way_of_changing_the_file_puts_the_new_version_in_force(daemon: daemons.Daemon) -> None:
    whole = {digest_of(TEXT)}
    with Crowd(daemon.agent_socket) as crowd:
        crowd.served()
        for turn in range(2):
            for way in WAYS:
                text = version(f"{way.__name__} {turn}")
                whole.add(digest_of(text))
                way(daemon.policy, text)
                in_force(daemon, text)
        crowd.served()
    lines = judged_whole(daemon, crowd, whole)
    recorded_once(lines)
    loaded = [line["policy"] for line in lines if line["kind"] == "policy" and line["code"] == "policy.loaded"]
    assert set(loaded) == whole
    assert len(loaded) == len(whole)


def test_a_stream_keeps_the_policy_that_it_began_with(daemon: daemons.Daemon) -> None:
    connection = UnixConnection(daemon.agent_socket)
    try:
        connection.request(
            "POST", "/v1/chat/completions", body_of("[[sim:slow 40]] [[sim:long 40]] a story", stream=True)
        )
        answer = connection.getresponse()
        begun = answer.read1(1)
        text = version("under a stream")
        by_rename(daemon.policy, text)
        in_force(daemon, text)
        assert (begun + answer.read()).endswith(b"data: [DONE]\n\n")
    finally:
        connection.close()
    assert daemon.ask("POST", "/v1/chat/completions", body_of("hello")).status == 200
    lines = exported(daemon)
    before, after = (line for line in lines if line["kind"] == "decision")
    outcome = next(line for line in lines if line["opens"] == before["seq"])
    loaded = next(line for line in lines if line["policy"] == digest_of(text))
    assert before["seq"] < loaded["seq"] < outcome["seq"], "the stream ended too early to tell"
    assert (before["policy"], after["policy"]) == (digest_of(TEXT), digest_of(text))
    explained = json.loads(daemon.ctl("explain", f"d-{before['seq']}", "--json").stdout)
    assert explained["line"]["policy"] == digest_of(TEXT)
    assert digest_of(TEXT)[:12] in daemon.ctl("explain", f"d-{before['seq']}").stdout


def test_a_broken_version_is_said_once_with_its_place_and_changes_nothing(daemon: daemons.Daemon) -> None:
    lines = TEXT.splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines, 1) if line.startswith("budgets:"))
    broken = "".join([*lines[: place - 1], "bugdets:\n", *lines[place:]])
    with Crowd(daemon.agent_socket, 2) as crowd:
        for _ in range(3):
            by_rename(daemon.policy, broken)
            faults = faulty(daemon)["faults"]
            fault = next(fault for fault in faults if fault["line"] == place)
            assert fault["column"] == 1
            assert "bugdets" in fault["message"]
            assert "budgets" in fault["hint"]
            crowd.served()
        assert "NOT IN FORCE" in daemon.ctl("status").stdout
        assert "policy file" in daemon.ctl("doctor").stdout
        by_rename(daemon.policy, TEXT)
        in_force(daemon, TEXT)
        crowd.served()
    told = judged_whole(daemon, crowd, {digest_of(TEXT)})
    assert len(refusals(told)) == 1
    recorded_once(told)
    assert [line["code"] for line in told if line["kind"] == "policy"][-2:] == ["policy.refused", "policy.restored"]


def lost(file: Path) -> None:
    file.unlink()


def for_everybody(file: Path) -> None:
    file.chmod(0o666)


def emptied(file: Path) -> None:
    os.truncate(file, 0)


def cut_short(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 4)


def a_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("spoil", [lost, for_everybody, emptied, cut_short, a_directory])
def test_a_file_that_cannot_be_used_is_refused_until_it_can(
    spoil: Callable[[Path], None], daemon: daemons.Daemon
) -> None:
    with Crowd(daemon.agent_socket, 2) as crowd:
        spoil(daemon.policy)
        fault = faulty(daemon)
        assert fault["faults"][0]["hint"]
        crowd.served()
        daemon.policy.rmdir() if daemon.policy.is_dir() else daemon.policy.unlink(missing_ok=True)
        text = version("mended")
        daemon.policy.write_text(text)
        daemon.policy.chmod(0o644)
        in_force(daemon, text)
        crowd.served()
    lines = judged_whole(daemon, crowd, {digest_of(TEXT), digest_of(text)})
    assert refusals(lines)
    recorded_once(lines)


def in_pieces(file: Path, text: str, chance: random.Random) -> Iterator[None]:
    """Write in place, block by block in random order; pauses after each block."""
    data = text.encode()
    places = list(range(0, len(data), 512))
    chance.shuffle(places)
    with file.open("r+b", buffering=0) as out:
        if chance.random() < 0.5:
            out.truncate(chance.randrange(len(data)))
        for place in places:
            out.seek(place)
            out.write(data[place : place + 512])
            yield
        out.truncate(len(data))
    yield


def write_at_random(daemon: daemons.Daemon, times: int) -> None:
    """Partial writes with pauses of which some are long enough for the daemon to take a look at the half."""
    chance, pause = random.Random(11), threading.Event()
    whole = {digest_of(TEXT)}
    text = TEXT
    with Crowd(daemon.agent_socket) as crowd:
        crowd.served()
        for turn in range(times):
            text = version(f"turn {turn} " + "x" * chance.randrange(40))
            whole.add(digest_of(text))
            stop_at = chance.randrange(10)
            rest_s = 0.35 if turn % 10 == 0 else chance.random() * 0.004
            for number, _ in enumerate(in_pieces(daemon.policy, text, chance)):
                if number == stop_at:
                    pause.wait(rest_s)
        in_force(daemon, text)
        crowd.served()
    recorded_once(judged_whole(daemon, crowd, whole))


def test_a_hundred_random_partial_writes(daemon: daemons.Daemon) -> None:
    write_at_random(daemon, 100)


@pytest.mark.slow
def test_a_thousand_random_partial_writes(daemon: daemons.Daemon) -> None:
    write_at_random(daemon, 1000)


def test_a_version_that_could_not_be_recorded_is_taken_when_the_record_is_back(daemon: daemons.Daemon) -> None:
    """Nobody has to touch the file again: it waits, as the log says."""
    database, away = daemon.state / "ledger.db", daemon.state / "away.db"
    waiting = version("while the record is away")
    database.rename(away)
    by_rename(daemon.policy, waiting)
    ends, pause = monotonic() + PATIENCE_S, threading.Event()
    while "the new policy waits" not in daemon.said():
        assert monotonic() < ends, daemon.said()
        pause.wait(LOOK_S)
    away.rename(database)
    in_force(daemon, waiting)


def test_sighup_judges_a_refused_file_again(daemon: daemons.Daemon) -> None:
    """What made it faulty may be mended elsewhere (a user was added), so the same text is read again."""
    daemon.policy.write_text(TEXT.replace("tier: economy", "tier: econmy", 1))
    faulty(daemon)
    told = daemon.said().count("econmy")
    daemon.process.send_signal(signal.SIGHUP)
    ends, pause = monotonic() + PATIENCE_S, threading.Event()
    while daemon.said().count("econmy") == told:
        assert monotonic() < ends, daemon.said()
        pause.wait(LOOK_S)
