"""The simulator as a process of its own, reached over TCP with a key, as the real upstream would be. Its log is the upstream's
own account of what arrived: one line per request, written before the answer."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.daemon import REPO, SHIPPED_POLICY

KEY = "sk-or-v1-test-0123456789abcdef"
CREDENTIALS = "agentd.edge.host.backends.CredentialsKeyring"


@dataclass
class Upstream:
    """A running simulator."""

    process: subprocess.Popen[str]
    url: str
    log: Path
    home: Path

    def arrivals(self) -> list[dict[str, Any]]:
        """What it was sent, in order. A last line that is being written is not read."""
        text = self.log.read_text() if self.log.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def policy(self) -> str:
        """The shipped policy with this upstream in the place of the real one."""
        return SHIPPED_POLICY.read_text().replace("https://openrouter.ai/api/v1", self.url)

    def environment(self) -> dict[str, str]:
        """What a daemon needs to have this upstream's key, as a unit's credential."""
        folder = self.home / "credentials"
        folder.mkdir(exist_ok=True)
        (folder / "openrouter").write_text(KEY)
        return {"PYTHON_KEYRING_BACKEND": CREDENTIALS, "CREDENTIALS_DIRECTORY": str(folder)}

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


def start(home: Path, *flags: str, key: str | None = KEY) -> Upstream:
    """Start one under a directory and wait until it says where it listens. It takes this key alone; None: any."""
    log = home / "upstream.jsonl"
    command = [
        sys.executable,
        "-m",
        "agentd.simulator",
        "--tcp",
        "127.0.0.1:0",
        *(() if key is None else ("--key", key)),
        "--log",
        str(log),
        *flags,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPO)
    said = process.stdout.readline() if process.stdout else ""
    address = said.split()[-1].removeprefix("http://").split("/")[0]
    return Upstream(process, f"http://{address}/api/v1", log, home)
