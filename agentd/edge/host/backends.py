"""Which keyring of the operating system is used, and what each of its failures means.

Two are trusted: the Secret Service over D-Bus (GNOME Keyring, KeePassXC, KWallet speak it), and a read-only one over the
credentials directory that systemd fills for a unit. The search that the keyring library would do is not used: it takes
the highest bidder among all installed plug-ins, some of which keep passwords in a plain file or ask on a terminal that a
daemon does not have.

Everything here blocks, for milliseconds or, while a person is asked to unlock, for minutes: `keys` calls it in a thread.
"""

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import keyring.errors
import secretstorage
import secretstorage.exceptions
from keyring.backend import KeyringBackend
from keyring.backends.SecretService import Keyring as SecretServiceKeyring

from agentd.core.types.errors import KeyUnavailable

PIN = "PYTHON_KEYRING_BACKEND"
BUS = "DBUS_SESSION_BUS_ADDRESS"
CREDENTIALS = "CREDENTIALS_DIRECTORY"

SECRET_SERVICE = "keyring.backends.SecretService.Keyring"  # noqa: S105  a class, no secret
CREDENTIALS_KEYRING = "agentd.edge.host.backends.CredentialsKeyring"

MAX_CREDENTIAL_BYTES = 64 * 1024
"""More than any key by far; a wrong file (a log, a device) is not read whole."""


class CredentialsKeyring(KeyringBackend):
    """Reads `$CREDENTIALS_DIRECTORY/NAME`, as systemd's LoadCredential provides it.

    Cannot write: rotating means replacing the credential and restarting the unit. All credentials of the unit are
    agentd's, so `service` is not asked.
    """

    priority = 0  # never chosen by the library's own search

    def get_password(self, service: str, username: str) -> str | None:
        """The text of the file, or None where there is none. Raises `OSError`, and `InitError` without a directory."""
        directory = os.environ.get(CREDENTIALS)
        if not directory:
            raise keyring.errors.InitError(f"{CREDENTIALS} is not set")
        try:
            with (Path(directory) / Path(username).name).open("rb") as file:
                return file.read(MAX_CREDENTIAL_BYTES).decode().rstrip("\r\n")
        except FileNotFoundError:
            return None

    def set_password(self, service: str, username: str, password: str) -> None:
        """Always refuses: raises `PasswordSetError`."""
        raise keyring.errors.PasswordSetError("credentials of a unit are read-only")

    def delete_password(self, service: str, username: str) -> None:
        """Always refuses, like `set_password`, since neither is possible: raises `PasswordSetError`."""
        raise keyring.errors.PasswordSetError("credentials of a unit are read-only")


def open_backend(environ: Mapping[str, str] = os.environ) -> KeyringBackend:
    """The keyring to use: the one that is pinned, else the Secret Service where there is a bus, else unit credentials.

    Raises `KeyUnavailable`, or what `explain` turns into one. Blocks: it asks the bus whether anybody is there.
    """
    chosen = environ.get(PIN) or _by_surroundings(environ)
    if chosen == CREDENTIALS_KEYRING:
        return CredentialsKeyring()  # type: ignore[no-untyped-call]  # the base class is not annotated
    if chosen != SECRET_SERVICE:
        raise _failure("keyring.insecure", f"{PIN} names {chosen!r}, which agentd does not trust with keys.")
    if not environ.get(BUS):
        raise _failure("keyring.no_bus", f"{BUS} is not set, so there is no keyring to talk to.")
    with closing(secretstorage.dbus_init()) as bus:
        if not secretstorage.check_service_availability(bus):
            raise _failure("keyring.no_service", "There is a D-Bus, but no keyring answers on it.")
    return SecretServiceKeyring()  # type: ignore[no-untyped-call]  # nor is this one


def _by_surroundings(environ: Mapping[str, str]) -> str:
    return CREDENTIALS_KEYRING if environ.get(CREDENTIALS) and not environ.get(BUS) else SECRET_SERVICE


HINTS = {
    "keyring.insecure": f"Unset {PIN}, or set it to {SECRET_SERVICE} or {CREDENTIALS_KEYRING}.",
    "keyring.no_bus": "On a server enable agentd-keyring.service; in a shell without a desktop run agentd under "
    "`dbus-run-session` with an unlocked gnome-keyring-daemon.",
    "keyring.no_service": "On a server see `systemctl status agentd-keyring`; in a session install gnome-keyring and start it: "
    "`gnome-keyring-daemon --unlock --components=secrets`.",
    "keyring.bus_gone": "Restart agentd-keyring-bus.service, or agentd itself inside the running session.",
    "keyring.uninitialised": "Unlock it once, which also creates it: `gnome-keyring-daemon --unlock --components=secrets`, "
    "or restart agentd-keyring.service.",
    "keyring.locked": "Unlock it with the password that it was made with. On a server see `journalctl -u agentd-keyring`: "
    "the sealed password may not be the one of this keyring.",
    "keyring.timeout": "It may be waiting for a person to unlock it: look for a prompt, or restart agentd-keyring.service.",
    "keyring.read_only": "Put the value into the unit's credential (systemd-creds encrypt) and restart agentd.",
    "keyring.failed": "See the keyring's own log: `journalctl -u agentd-keyring`, or `journalctl --user` in a session.",
    "key.unknown": "`agentctl key list` shows the names that are in use.",
}
"""What to do next, by code."""


def explain(error: BaseException) -> KeyUnavailable:
    """The failure behind an exception of the keyring libraries. Never their text: it could hold what was being stored."""
    if isinstance(error, KeyUnavailable):
        return error
    for kinds, code, message in _MEANINGS:
        if isinstance(error, kinds):
            return _failure(code, message)
    return _failure(
        "keyring.failed", f"The keyring failed in a way that agentd does not know ({type(error).__name__})."
    )


def _failure(code: str, message: str) -> KeyUnavailable:
    return KeyUnavailable(code, message, HINTS[code])


# The first that fits counts, so the special stand before the general: PromptDismissed is an ItemNotFound, TimeoutError an
# OSError. InitError is what a missing default collection ends in when nobody answers its prompt.
_MEANINGS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str, str], ...] = (
    (TimeoutError, "keyring.timeout", "The keyring did not answer in time."),
    (keyring.errors.NoKeyringError, "keyring.no_service", "No keyring is installed that could keep keys."),
    (
        (
            keyring.errors.KeyringLocked,
            secretstorage.exceptions.LockedException,
            secretstorage.exceptions.PromptDismissedException,
        ),
        "keyring.locked",
        "The keyring is locked, and nobody unlocked it.",
    ),
    (
        keyring.errors.InitError,
        "keyring.uninitialised",
        "The keyring runs, but holds no collection that somebody unlocked.",
    ),
    (keyring.errors.PasswordSetError, "keyring.read_only", "This keyring can be read, but not written to."),
    (keyring.errors.PasswordDeleteError, "key.unknown", "The keyring holds no key of that name."),
    (
        (secretstorage.exceptions.SecretServiceNotAvailableException, OSError),
        "keyring.bus_gone",
        "The D-Bus of the keyring cannot be reached.",
    ),
)
