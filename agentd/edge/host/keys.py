"""Keys: read from the OS keyring once, then kept in memory: a keyring takes tens of milliseconds and may ask a person.

The order of steps is what makes rotation and revocation safe. Set: store, read back, and only then use; when storing fails
the old key stays in use. Delete: stop using first, then remove; when removing fails the key is out of use all the same.
A keyring that fails while agentd runs takes no key away that is already in memory: `health` tells.

Each operation runs in a thread of its own that nobody waits for at exit, because a keyring that waits for a person cannot
be interrupted. While such a thread hangs no second one is started.
"""

import asyncio
import logging
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import TypeVar

from keyring.backend import KeyringBackend

from agentd.core.types.errors import KeyUnavailable
from agentd.edge.host.backends import HINTS, explain, open_backend
from agentd.edge.host.scrub import Scrubber
from agentd.edge.host.secret import Secret

log = logging.getLogger("agentd.keys")

T = TypeVar("T")

SERVICE = "agentd"
"""What all of agentd's entries in the keyring are filed under."""

SIGNING_KEY = "checkpoint-signing"
"""The one name that is agentd's own (`signing`): never listed, set or deleted by hand."""

KEYRING_CLOCK_S = 10.0
"""A healthy keyring answers in 12 to 49 ms; ten seconds allow for its cold start on a slow disk."""

MIN_KEY_CHARS = 8
"""A shorter value protects nothing, and could not be told from ordinary words when scrubbing."""

MAX_KEY_CHARS = 4095
"""Below 4 KiB: a key travels in one header line, which servers bound at 8 KiB."""

UNREAD = "The keyring was not read yet."

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class KeyRing:
    """`gate.ports.Keys`, and `get` for the upstream client. One per process, used from one event loop."""

    def __init__(self, opener: Callable[[], KeyringBackend] = open_backend, clock_s: float = KEYRING_CLOCK_S) -> None:
        """`opener` gives the backend (blocking); `clock_s` bounds each operation in seconds."""
        self.scrub = Scrubber()
        self._opener = opener
        self._clock_s = clock_s
        self._secrets: dict[str, Secret] = {}
        self._failure: KeyUnavailable | None = KeyUnavailable("keyring.unread", UNREAD, "Wait for the start to end.")
        self._lock = asyncio.Lock()
        self._hanging: Callable[[], bool] = lambda: False

    async def load(self, names: Iterable[str]) -> None:
        """Read these keys into use, at start and whenever policy names new ones. Does not raise: `health` tells.

        A name that the keyring does not hold goes out of use. If the keyring fails, what is in memory stays.
        """
        wanted = [name for name in dict.fromkeys(names) if name != SIGNING_KEY]
        try:
            found = await self._call(lambda ring: {name: ring.get_password(SERVICE, name) for name in wanted})
        except KeyUnavailable as error:
            log.warning("keys were not read: %s", error)
            return
        for name, value in found.items():
            self._take_over(name, value)

    def get(self, name: str) -> Secret:
        """The key in use under this name, from memory. Raises `KeyUnavailable`: `key.missing`, or why the keyring gave none."""
        secret = self._secrets.get(name)
        if secret is not None:
            return secret
        if (failure := self._failure) is not None:
            raise KeyUnavailable(failure.code, f"There is no key {name!r}: {failure.message}", failure.hint)
        raise KeyUnavailable("key.missing", f"The keyring holds no key {name!r}.", f"Store it: agentctl key set {name}")

    async def set(self, name: str, value: str) -> None:
        """Store and put in use at once; requests that began with the old key end with it. Raises `KeyUnavailable`."""
        _check_name(name)
        secret = Secret(name, _clean(value))
        self.scrub.learn(secret)
        await self._store(secret)
        self._secrets[name] = secret

    async def delete(self, name: str) -> None:
        """Stop using it, then remove it. Raises `KeyUnavailable`; the key is out of use even then."""
        _check_name(name)
        self._secrets.pop(name, None)
        await self._call(lambda ring: ring.delete_password(SERVICE, name))

    def names(self) -> Sequence[str]:
        """Names of the keys in use, sorted."""
        return sorted(self._secrets)

    def health(self) -> tuple[str, str]:
        """`("ok", …)`, or code and sentence of the last failure of the keyring, with what to do next."""
        if self._failure is None:
            return "ok", "The keyring answers."
        return self._failure.code, f"{self._failure.message} {self._failure.hint}"

    async def read_or_create(self, name: str, make: Callable[[], str]) -> Secret:
        """A secret of agentd's own, made and stored when the keyring says that there is none. Raises `KeyUnavailable`."""
        value = await self._call(lambda ring: ring.get_password(SERVICE, name))
        secret = Secret(name, value if value is not None else make())
        self.scrub.learn(secret)
        if value is None:
            await self._store(secret)
        return secret

    def _take_over(self, name: str, value: str | None) -> None:
        if value is None:
            self._secrets.pop(name, None)
            return
        try:
            secret = Secret(name, _clean(value))
        except KeyUnavailable as error:
            log.error("the keyring's value of key %s is unusable: %s", name, error)
            self._secrets.pop(name, None)
            return
        self.scrub.learn(secret)
        self._secrets[name] = secret

    async def _store(self, secret: Secret) -> None:
        def store(ring: KeyringBackend) -> bool:
            ring.set_password(SERVICE, secret.name, secret.reveal())
            return ring.get_password(SERVICE, secret.name) == secret.reveal()

        if not await self._call(store):
            message = f"The keyring took {secret!r} but gives back another value."
            raise KeyUnavailable("keyring.failed", message, HINTS["keyring.failed"])

    async def _call(self, operation: Callable[[KeyringBackend], T]) -> T:
        async with self._lock:
            try:
                result = await self._in_thread(operation)
            except Exception as error:  # noqa: BLE001  the keyring libraries raise nearly anything: D-Bus, sockets, decoding
                failure = explain(error)
                if failure.code.startswith("keyring.") and failure.code != "keyring.read_only":
                    self._failure = failure
                raise failure from None  # the original could hold the value in its text or its frames
            self._failure = None
            return result

    async def _in_thread(self, operation: Callable[[KeyringBackend], T]) -> T:
        if self._hanging():
            raise TimeoutError
        outcome: Future[T] = Future()
        self._hanging = lambda: not outcome.done()
        threading.Thread(target=_work, args=(outcome, self._opener, operation), name="keyring", daemon=True).start()
        async with asyncio.timeout(self._clock_s):
            return await asyncio.wrap_future(outcome)


def _work(outcome: Future[T], opener: Callable[[], KeyringBackend], operation: Callable[[KeyringBackend], T]) -> None:
    outcome.set_running_or_notify_cancel()  # from here on a caller that gives up cannot cancel it under our feet
    try:
        outcome.set_result(operation(opener()))
    except BaseException as error:  # noqa: BLE001  whatever it is belongs to the caller; this thread has nobody to tell
        outcome.set_exception(error)


def _check_name(name: str) -> None:
    if name == SIGNING_KEY:
        raise KeyUnavailable("key.bad_name", f"{name!r} is agentd's own key.", "Choose another name.")
    if not NAME.fullmatch(name):
        hint = "Use a-z, 0-9, dot, dash and underscore, at most 64."
        raise KeyUnavailable("key.bad_name", f"{name[:64]!r} is no name for a key.", hint)


def _clean(value: str) -> str:
    """The value without the line end that a pipe or a paste leaves. Raises `KeyUnavailable`, which does not quote it."""
    value = value.rstrip("\r\n")
    if not MIN_KEY_CHARS <= len(value) <= MAX_KEY_CHARS:
        message = f"The value has {len(value)} characters; a key has {MIN_KEY_CHARS} to {MAX_KEY_CHARS}."
    elif not (value.isascii() and value.isprintable()) or " " in value:
        message = "The value holds a blank, a line break, or a character that no key has."
    else:
        return value
    raise KeyUnavailable("key.bad_value", message, "Copy it again, whole and alone; nothing was stored.")
