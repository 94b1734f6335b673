"""A real Secret Service for tests: a private D-Bus that starts nothing by itself, and GNOME Keyring on it.

Both are children of the test. Readiness is heard from the bus, never waited for by the clock.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jeepney import MatchRule, message_bus
from jeepney.io.blocking import DBusConnection, Proxy, open_dbus_connection

SECRETS = "org.freedesktop.secrets"
START_CLOCK_S = 10

BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="false"/> <allow receive_sender="*"/> <allow own="*"/>
  </policy>
</busconfig>
"""


class KeyringBox:
    """A bus and its keyring under one directory; `unlock` may be called again after `kill_keyring`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.address = f"unix:path={root}/bus"
        self._bus: subprocess.Popen[bytes] | None = None
        self._keyring: subprocess.Popen[bytes] | None = None

    def start_bus(self) -> None:
        config = self.root / "bus.conf"
        config.write_text(BUS_CONFIG.format(socket=self.root / "bus"))
        command = ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address=1"]
        self._bus = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._bus.stdout is not None
        assert self._bus.stdout.readline(), "the bus did not start"

    def start_keyring(self, password: bytes | None) -> None:
        """Without a password nobody unlocks it."""
        with self._watch() as (connection, owners):
            command = ["gnome-keyring-daemon", "--foreground", "--components=secrets"]
            if password is not None:
                command.append("--unlock")
            places = {
                "HOME": str(self.root),
                "XDG_DATA_HOME": str(self.root / "data"),
                "XDG_RUNTIME_DIR": str(self.root),
            }
            self._keyring = subprocess.Popen(
                command,
                env=os.environ | places | {"DBUS_SESSION_BUS_ADDRESS": self.address},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            assert self._keyring.stdin is not None
            self._keyring.stdin.write(password or b"")
            self._keyring.stdin.close()
            connection.recv_until_filtered(owners, timeout=START_CLOCK_S)

    def kill_keyring(self) -> None:
        _end(self._keyring)
        self._keyring = None

    def kill_bus(self) -> None:
        _end(self._bus)
        self._bus = None

    def close(self) -> None:
        self.kill_keyring()
        self.kill_bus()

    @contextmanager
    def _watch(self) -> Iterator[tuple[DBusConnection, object]]:
        connection = open_dbus_connection(self.address)
        rule = MatchRule(type="signal", sender=message_bus.bus_name, member="NameOwnerChanged")
        rule.add_arg_condition(0, SECRETS)
        Proxy(message_bus, connection).AddMatch(rule)
        try:
            with connection.filter(rule) as owners:
                yield connection, owners
        finally:
            connection.close()


def _end(process: "subprocess.Popen[bytes] | None") -> None:
    if process is not None:
        process.kill()
        process.communicate()
