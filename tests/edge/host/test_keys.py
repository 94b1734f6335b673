"""Keys: their life in memory with a scripted keyring, and with a real one on a bus of its own."""

import asyncio
import logging
import threading
from pathlib import Path

import keyring.errors
import pytest
import secretstorage.exceptions
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from keyring.backend import KeyringBackend

from agentd.core.types.errors import KeyUnavailable
from agentd.edge.host import backends
from agentd.edge.host.keys import SERVICE, SIGNING_KEY, KeyRing
from agentd.edge.host.signing import load_signer
from agentd.gate.ports import Keys
from edge.host.keyring_box import KeyringBox

CANARY = "sk-or-v1-canary-0123456789"
ROTATED = "sk-or-v1-rotated-987654321"


class Shelf:
    """A keyring in memory that can be told to fail."""

    def __init__(self, **held: str) -> None:
        self.held = dict(held)
        self.fails: BaseException | None = None
        self.alters = False

    def open(self) -> KeyringBackend:
        return self  # type: ignore[return-value]

    def get_password(self, service: str, name: str) -> str | None:
        self._turn(service)
        return self.held.get(name)

    def set_password(self, service: str, name: str, value: str) -> None:
        self._turn(service)
        self.held[name] = value + ("x" if self.alters else "")

    def delete_password(self, service: str, name: str) -> None:
        self._turn(service)
        if self.held.pop(name, None) is None:
            raise keyring.errors.PasswordDeleteError("no such password")

    def _turn(self, service: str) -> None:
        assert service == SERVICE
        if self.fails is not None:
            raise self.fails


def refused(ring: KeyRing, name: str) -> KeyUnavailable:
    with pytest.raises(KeyUnavailable) as caught:
        ring.get(name)
    return caught.value


async def code_of(action: object) -> str:
    with pytest.raises(KeyUnavailable) as caught:
        await action  # type: ignore[misc]
    assert caught.value.hint, "every failure names a next step"
    assert CANARY not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value.code


def test_the_life_of_a_key() -> None:
    async def story() -> None:
        shelf = Shelf(openrouter=CANARY)
        ring = KeyRing(shelf.open)
        port: Keys = ring
        assert ring.health()[0] == "keyring.unread"

        await ring.load(["openrouter", "local", "openrouter"])
        assert port.health()[0] == "ok"
        assert ring.names() == ["openrouter"]
        assert ring.get("openrouter").reveal() == CANARY
        assert refused(ring, "local").code == "key.missing"
        assert "agentctl key set local" in refused(ring, "local").hint

        before = ring.get("openrouter")
        await port.set("openrouter", ROTATED + "\n")
        assert (ring.get("openrouter").reveal(), before.reveal(), shelf.held["openrouter"]) == (
            ROTATED,
            CANARY,
            ROTATED,
        )
        assert ring.scrub(f"{CANARY} {ROTATED}") == "[key openrouter] [key openrouter]"

        await port.delete("openrouter")
        assert (ring.names(), shelf.held) == ([], {})
        assert await code_of(ring.delete("openrouter")) == "key.unknown"

    asyncio.run(story())


def test_a_key_that_is_gone_from_the_keyring_goes_out_of_use() -> None:
    async def story() -> None:
        shelf = Shelf(one=CANARY)
        ring = KeyRing(shelf.open)
        await ring.load(["one"])
        shelf.held.clear()
        await ring.load(["one"])
        assert ring.names() == []

    asyncio.run(story())


def test_a_failing_keyring_takes_no_key_away_and_gives_none() -> None:
    async def story() -> None:
        shelf = Shelf(one=CANARY)
        ring = KeyRing(shelf.open)
        await ring.load(["one"])
        shelf.fails = keyring.errors.KeyringLocked("Failed to unlock the collection!")
        await ring.load(["one", "two"])
        assert ring.health()[0] == "keyring.locked"
        assert ring.get("one").reveal() == CANARY
        assert refused(ring, "two").code == "keyring.locked"
        assert await code_of(ring.set("one", ROTATED)) == "keyring.locked"
        assert ring.get("one").reveal() == CANARY, "what could not be stored is not used"
        assert await code_of(ring.delete("one")) == "keyring.locked"
        assert ring.names() == [], "what is revoked is out of use even when the keyring keeps it"
        shelf.fails = None
        await ring.load(["one"])
        assert ring.health()[0] == "ok"

    asyncio.run(story())


def test_a_keyring_that_gives_back_something_else_is_not_trusted() -> None:
    async def story() -> None:
        shelf = Shelf()
        shelf.alters = True
        ring = KeyRing(shelf.open)
        assert await code_of(ring.set("one", CANARY)) == "keyring.failed"
        assert ring.names() == []

    asyncio.run(story())


def test_a_keyring_that_waits_for_a_person_costs_one_thread_and_heals() -> None:
    async def story() -> None:
        answered = threading.Event()
        opened: list[int] = []
        shelf = Shelf(one=CANARY)

        def open_slowly() -> KeyringBackend:
            opened.append(1)
            answered.wait()
            return shelf.open()

        ring = KeyRing(open_slowly, clock_s=0.01)
        await ring.load(["one"])
        assert ring.health()[0] == "keyring.timeout"
        assert await code_of(ring.set("one", CANARY)) == "keyring.timeout"
        assert len(opened) == 1, "no second thread while the first one hangs"
        answered.set()
        ring._clock_s = 10
        while ring.health()[0] != "ok":
            await ring.load(["one"])
        assert ring.names() == ["one"]

    asyncio.run(story())


def test_a_loop_that_ends_while_a_thread_hangs_is_not_held_up() -> None:
    answered = threading.Event()
    done = threading.Event()

    def open_slowly() -> KeyringBackend:
        answered.wait()
        done.set()
        return Shelf().open()

    asyncio.run(KeyRing(open_slowly, clock_s=0.01).load(["one"]))
    assert not done.is_set()
    answered.set()
    assert done.wait(10)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "\n",
        "short",
        "sk-or v1-canary",
        "sk-or-v1\ncanary",
        "sk-or-v1-canary\t",
        "sk-or-v1-c\x00anary",
        "sk-or-v1-cänary",
        "k" * 4096,
    ],
)
def test_values_that_are_no_key(value: str, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        shelf = Shelf(held=value)
        ring = KeyRing(shelf.open)
        assert await code_of(ring.set("one", value)) == "key.bad_value"
        await ring.load(["held"])
        assert ring.names() == []

    asyncio.run(story())
    assert any("unusable" in record.message for record in caplog.records)
    assert not value.strip() or value not in caplog.text


@pytest.mark.parametrize("value", ["k" * 8, "k" * 4095, CANARY + "\r\n", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"])
def test_values_that_are_keys(value: str) -> None:
    async def story() -> None:
        ring = KeyRing(Shelf().open)
        await ring.set("one", value)
        assert ring.get("one").reveal() == value.rstrip()

    asyncio.run(story())


@pytest.mark.parametrize("name", ["", "-a", "Open", "a b", "a/b", "../x", "a" * 65, SIGNING_KEY, "a\n"])
def test_names_that_are_none(name: str) -> None:
    async def story() -> None:
        ring = KeyRing(Shelf().open)
        assert await code_of(ring.set(name, CANARY)) == "key.bad_name"
        assert await code_of(ring.delete(name)) == "key.bad_name"

    asyncio.run(story())


def test_the_signing_key_is_nobodys_upstream_key() -> None:
    async def story() -> None:
        shelf = Shelf()
        ring = KeyRing(shelf.open)
        signer = await load_signer(ring)
        assert signer is not None
        await ring.load([SIGNING_KEY])
        assert ring.names() == []
        assert refused(ring, SIGNING_KEY).code == "key.missing"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (keyring.errors.NoKeyringError("x"), "keyring.no_service"),
        (keyring.errors.InitError("Failed to create the collection: Prompt dismissed.."), "keyring.uninitialised"),
        (keyring.errors.KeyringLocked("x"), "keyring.locked"),
        (secretstorage.exceptions.PromptDismissedException("x"), "keyring.locked"),
        (secretstorage.exceptions.SecretServiceNotAvailableException("x"), "keyring.bus_gone"),
        (FileNotFoundError("/run/agentd-keyring/bus"), "keyring.bus_gone"),
        (ConnectionResetError("x"), "keyring.bus_gone"),
        (TimeoutError(), "keyring.timeout"),
        (keyring.errors.PasswordSetError("x"), "keyring.read_only"),
        (keyring.errors.PasswordDeleteError("x"), "key.unknown"),
        (ZeroDivisionError(CANARY), "keyring.failed"),
    ],
)
def test_each_failure_has_its_own_words(error: Exception, code: str) -> None:
    told = backends.explain(error)
    assert told.code == code
    assert told.hint
    assert CANARY not in str(told)


def test_no_two_failures_share_message_or_cure() -> None:
    messages = {code: message for _, code, message in backends._MEANINGS}
    assert len(set(messages.values())) == len(messages)
    assert len({backends.HINTS[code] for code in messages}) == len(messages)


BUS = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere"}


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        ({}, "keyring.no_bus"),
        ({"PYTHON_KEYRING_BACKEND": backends.SECRET_SERVICE}, "keyring.no_bus"),
        (BUS | {"PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring"}, "keyring.insecure"),
        (BUS | {"PYTHON_KEYRING_BACKEND": "keyrings.cryptfile.cryptfile.CryptFileKeyring"}, "keyring.insecure"),
        (BUS | {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}, "keyring.insecure"),
        (BUS | {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}, "keyring.insecure"),
        (BUS | {"PYTHON_KEYRING_BACKEND": "keyring.backends.chainer.ChainerBackend"}, "keyring.insecure"),
    ],
)
def test_only_trusted_keyrings_open(environ: dict[str, str], code: str) -> None:
    with pytest.raises(KeyUnavailable) as caught:
        backends.open_backend(environ)
    assert caught.value.code == code


def test_credentials_of_a_unit_are_a_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "openrouter").write_text(CANARY + "\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND", raising=False)

    async def story() -> None:
        ring = KeyRing()
        await ring.load(["openrouter", "absent"])
        assert (ring.health()[0], ring.names()) == ("ok", ["openrouter"])
        assert ring.get("openrouter").reveal() == CANARY
        assert await code_of(ring.set("openrouter", ROTATED)) == "keyring.read_only"
        assert ring.get("openrouter").reveal() == CANARY
        assert ring.health()[0] == "ok", "read-only is not ill"
        assert await load_signer(ring) is None
        assert await code_of(ring.delete("openrouter")) == "keyring.read_only"
        (tmp_path / SIGNING_KEY).write_text("5a" * 32)
        assert await load_signer(ring) is not None

    asyncio.run(story())


def test_a_pinned_credentials_keyring_without_a_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", backends.CREDENTIALS_KEYRING)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    ring = KeyRing()
    asyncio.run(ring.load(["openrouter"]))
    assert ring.health()[0] == "keyring.uninitialised"


def test_a_real_keyring_from_unlocking_to_its_death(keyring_box: KeyringBox, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        ring = KeyRing()
        await ring.load(["openrouter"])
        assert ring.health()[0] == "keyring.no_service"

        keyring_box.start_keyring(b"first password")
        await ring.load(["openrouter"])
        assert (ring.health()[0], ring.names()) == ("ok", [])
        await ring.set("openrouter", CANARY)
        signer = await load_signer(ring)
        await ring.set("openrouter", ROTATED)

        fresh = KeyRing()
        await fresh.load(["openrouter"])
        assert fresh.get("openrouter").reveal() == ROTATED
        again = await load_signer(fresh)
        assert signer is not None
        assert again is not None
        assert again.public_hex == signer.public_hex
        await fresh.delete("openrouter")
        assert await code_of(fresh.delete("openrouter")) == "key.unknown"
        await fresh.set("openrouter", CANARY)

        keyring_box.kill_keyring()
        await fresh.load(["openrouter"])
        assert fresh.health()[0] == "keyring.no_service"
        assert fresh.names() == ["openrouter"], "what is in memory stays in use"
        keyring_box.kill_bus()
        await fresh.load(["openrouter"])
        assert fresh.health()[0] == "keyring.bus_gone"

    caplog.set_level(logging.DEBUG)
    asyncio.run(story())
    assert CANARY not in caplog.text
    assert ROTATED not in caplog.text


@pytest.mark.parametrize(
    ("password", "code"), [(b"wrong", "keyring.locked"), (None, "keyring.locked"), (b"right", "ok")]
)
def test_a_real_keyring_opens_to_its_own_password_only(
    keyring_box: KeyringBox, password: bytes | None, code: str
) -> None:
    async def store() -> None:
        ring = KeyRing()
        await ring.set("openrouter", CANARY)

    async def look() -> tuple[str, int]:
        ring = KeyRing()
        await ring.load(["openrouter"])
        return ring.health()[0], len(ring.names())

    keyring_box.start_keyring(b"right")
    asyncio.run(store())
    keyring_box.kill_keyring()
    keyring_box.start_keyring(password)
    assert asyncio.run(look()) == (code, int(code == "ok"))


def test_a_keyring_that_nobody_ever_unlocked(keyring_box: KeyringBox) -> None:
    keyring_box.start_keyring(None)
    ring = KeyRing()
    asyncio.run(ring.load(["openrouter"]))
    assert ring.health()[0] == "keyring.uninitialised"
    assert asyncio.run(load_signer(ring)) is None


def test_keyring_files_hold_no_key_in_the_clear(keyring_box: KeyringBox) -> None:
    keyring_box.start_keyring(b"a password")
    asyncio.run(KeyRing().set("openrouter", CANARY))
    files = list(keyring_box.root.rglob("*.keyring"))
    assert files
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]


def test_signer(keyring_box: KeyringBox) -> None:
    keyring_box.start_keyring(b"a password")

    async def story() -> str:
        ring = KeyRing()
        signer = await load_signer(ring)
        assert signer is not None
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer.public_hex))
        public.verify(signer.sign(b"head"), b"head")
        with pytest.raises(InvalidSignature):
            public.verify(signer.sign(b"head"), b"other head")
        assert repr(signer) == f"Signer({signer.public_hex})"
        private = (await ring.read_or_create(SIGNING_KEY, str)).reveal()
        assert ring.scrub(f"a {private} b") == "a [key checkpoint-signing] b"
        return private

    private = asyncio.run(story())
    assert bytes.fromhex(private)


@pytest.mark.parametrize("stored", ["", "not hex", "00" * 31, "00" * 33])
def test_a_damaged_signing_key_is_left_alone(stored: str, caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf(**{SIGNING_KEY: stored})
    assert asyncio.run(load_signer(KeyRing(shelf.open))) is None
    assert shelf.held[SIGNING_KEY] == stored
    assert "damaged" in caplog.text
    assert not stored or stored not in caplog.text


def test_no_signer_is_made_while_the_keyring_cannot_say_that_there_is_none() -> None:
    shelf = Shelf()
    shelf.fails = keyring.errors.KeyringLocked("x")
    assert asyncio.run(load_signer(KeyRing(shelf.open))) is None
    shelf.fails = None
    assert shelf.held == {}
