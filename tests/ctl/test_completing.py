"""Completion asks the daemon for names, and is silent where there is none to ask."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.gate.ports_operator import HaltAsk
from ctl.office import Office
from gate.desk.test_operator import OPERATOR

COMMAND = [sys.executable, "-c", "from agentd.ctl.main import main; main()"]


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    made = Office()
    made.open()
    made.call(text="thanks!")
    made.do(made.desk.halt(OPERATOR, HaltAsk("tier", "frontier", "smoke")))
    yield made
    made.destroy()


def complete(socket: Path, words: str) -> tuple[list[str], str]:
    """What the shell would offer after these words, the last of which is begun; and what was said on stderr."""
    environment = {
        **os.environ,
        "_AGENTCTL_COMPLETE": "bash_complete",
        "COMP_WORDS": f"agentctl {words}",
        "COMP_CWORD": str(len(f"agentctl {words}".split(" ")) - 1),
        "AGENTD_OPERATOR_SOCKET": str(socket),
    }
    done = subprocess.run(COMMAND, capture_output=True, text=True, env=environment, check=False)
    return [line.partition(",")[2] for line in done.stdout.split()], done.stderr


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("logs --agent ", ["main"]),
        ("logs --tier f", ["frontier"]),
        ("logs --class i", ["implementation"]),
        ("policy why --lane h", ["heartbeat"]),
        ("halt --tier e", ["economy"]),
        ("resume --tier ", ["frontier"]),
        ("resume --agent ", []),
        ("key delete ", ["openrouter"]),
        ("agent token create m", ["main"]),
        ("agent token revoke ", []),
        ("explain d", ["d-3"]),
        ("explain h", ["halt-5"]),
    ],
)
def test_names_come_from_the_daemon(office: Office, words: str, names: list[str]) -> None:
    assert complete(office.socket, words) == (names, "")


@pytest.mark.parametrize("words", ["logs --agent ", "explain ", "resume --tier ", "key set "])
def test_without_a_daemon_nothing_is_offered_and_nothing_said(tmp_path: Path, words: str) -> None:
    assert complete(tmp_path / "none.sock", words) == ([], "")


def test_the_option_names_the_socket(office: Office, tmp_path: Path) -> None:
    assert complete(tmp_path / "none.sock", f"--socket {office.socket} logs --agent ") == (["main"], "")
