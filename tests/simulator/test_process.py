"""`python -m agentd.simulator`: where it listens, what it logs and when, how it stops."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.served import KEY, PATIENCE_S, ROOT, asked, get, open_post, post, process


def lines(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_the_log_has_a_request_before_its_answer(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with (
        process(tmp_path, "--log", str(log)) as path,
        open_post(path, "chat", asked("[[sim:fault hang-mid]]", stream=True)) as peer,
    ):
        assert peer.recv(1)
        (line,) = lines(log)
        assert "hang-mid" in str(line["body"])
        assert KEY not in log.read_text()
        assert post(path, "messages", asked())[0] == 200
        assert len(lines(log)) == 2


def test_generations_are_late_by_default(tmp_path: Path) -> None:
    with process(tmp_path) as path:
        generation = json.loads(post(path, "chat", asked())[2])["id"]
        assert [get(path, f"/api/v1/generation?id={generation}")[0] for _ in range(2)] == [404, 200]


def test_on_tcp_it_takes_a_free_port_and_says_which() -> None:
    command = [sys.executable, "-m", "agentd.simulator", "--tcp", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as running:
        assert running.stdout is not None
        host, _, port = running.stdout.readline().decode().strip().rpartition(":")
        with socket.create_connection((host, int(port)), PATIENCE_S) as peer:
            peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert peer.recv(100).startswith(b"HTTP/1.1 401")
        running.terminate()
        assert running.wait(PATIENCE_S) == 0


@pytest.mark.parametrize(
    "options",
    [[], ["--unix", "x", "--tcp", "127.0.0.1:0"], ["--tcp", "here"], ["--unix", "/nowhere/at/all.sock"],
     ["--unix", "s", "--log", "/nowhere/log"]],
    ids=str,
)  # fmt: skip
def test_wrong_arguments_end_with_2(options: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agentd.simulator", *options]
    ended = subprocess.run(command, capture_output=True, cwd=ROOT, timeout=PATIENCE_S, check=False)
    assert ended.returncode == 2
    assert ended.stderr
    assert b"Traceback" not in ended.stderr
