"""Messages and frames: what is sent arrives as it was, and nothing else is taken."""

import json
import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.sandbox import wire
from agentd.sandbox.bounds import Bounds
from agentd.sandbox.codec import Malformed, decode, encode
from agentd.sandbox.inner import FROM_CALL, FROM_ZYGOTE, Finished, Report
from agentd.sandbox.masks import matcher
from agentd.sandbox.protocol import FROM_PARENT, FROM_SANDBOX, Exited, Kill, Limits, Prepare, Profile, Run, Usage

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=())).map(
    lambda text: os.fsdecode(text.encode("utf-8", "replace"))
)
BYTES = st.binary(max_size=40).map(lambda data: os.fsdecode(data.replace(b"\0", b"")))
RUNS = st.builds(
    Run,
    id=st.integers(1, 2**40),
    profile=TEXT,
    argv=st.lists(TEXT | BYTES, min_size=1, max_size=5).map(lambda words: ("x", *words)),
    cwd=BYTES,
    env=st.lists(st.tuples(st.just("A"), BYTES), max_size=3).map(tuple),
    limits=st.builds(Limits, wall_s=st.floats(0.1, 1e6), tasks=st.integers(1, 1000)),
    digest=TEXT,
)


@given(RUNS)
def test_an_order_arrives_as_it_was(run: Run) -> None:
    assert decode(encode(run), FROM_PARENT) == run


@pytest.mark.parametrize("report", [None, Report(1, 0, Usage(0.5, 0.25, 3, 4, 5), "cpu", "/usr/bin/\udcff", "ab")])
def test_nested_and_absent_values_arrive(report: Report | None) -> None:
    assert decode(encode(Finished(3, report)), FROM_ZYGOTE) == Finished(3, report)


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["is", "id", "profile", "argv"]) | st.text(), inner)
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    for kinds in (FROM_PARENT, FROM_SANDBOX, FROM_ZYGOTE, FROM_CALL):
        try:
            message = decode(data, kinds)
        except Malformed:
            continue
        assert decode(encode(message), kinds) == message


@pytest.mark.parametrize(
    "change",
    [
        {"id": "1"}, {"id": True}, {"id": 1.5}, {"id": None}, {"id": 2**60}, {"argv": []}, {"argv": "ls"}, {"argv": [1]},
        {"argv": [""]},
        {"argv": ["a\0b"]}, {"env": [["A"]]}, {"env": [["A=", "b"]]}, {"env": [["A", "b", "c"]]}, {"env": {"A": "b"}},
        {"cwd": "/" * 5000},
        {"limits": {}}, {"limits": None}, {"more": 1}, {"argv": ["x"] * 5000}, {"argv": ["x" * (3 << 20)]}, {"is": "Prepare"},
        {"is": ["Run"]},
    ],
)  # fmt: skip
def test_an_order_that_is_wrong_is_malformed(change: dict[str, object]) -> None:
    good = json.loads(encode(Run(1, "p", ("ls",), "/", (("A", "b"),), Limits())))
    with pytest.raises(Malformed):
        decode(json.dumps({**good, **change}).encode(), FROM_PARENT)


@pytest.mark.parametrize("name", list(json.loads(encode(Run(1, "p", ("ls",), "/", (), Limits())))))
def test_an_order_without_a_field_is_malformed(name: str) -> None:
    good = json.loads(encode(Run(1, "p", ("ls",), "/", (), Limits())))
    del good[name]
    with pytest.raises(Malformed):
        decode(json.dumps(good).encode(), FROM_PARENT)


@pytest.mark.parametrize("name", ["wall_s", "memory", "tasks", "file_bytes", "output_bytes", "open_files"])
def test_every_run_is_bounded(name: str) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Limits(**{name: 0})


@pytest.mark.parametrize("path", ["ws", "/ws/", "/a/../b", "/", "/a//b", "/a\0b", ""])
def test_a_workspace_is_an_absolute_plain_path(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        Profile("p", path)


@pytest.mark.parametrize("name", ["/etc", "../x", "a/../../x", "a//b", "a\0"])
def test_a_protected_name_lies_within(name: str) -> None:
    with pytest.raises(ValueError, match="within"):
        Profile("p", "/ws", protected=(name,))


@given(st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=300)), max_size=6), st.integers(1, 64))
def test_frames_arrive_whole_however_they_are_cut(sent: list[tuple[bytes, bytes]], piece: int) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        data = b"".join(wire.packed(wire.Frame(head, body)) for head, body in sent)
        receiver = wire.Receiver(theirs)
        found = []
        for at in range(0, len(data), piece):
            ours.sendall(data[at : at + piece])
            found += receiver.receive()
        receiver.close()
    assert [(frame.head, frame.body) for frame in found] == sent


def test_descriptors_stay_with_their_frames() -> None:
    ours, theirs = socket.socketpair()
    readable, writable = os.pipe()
    wire.send(ours, wire.Frame(b"none"))
    wire.send(ours, wire.Frame(b"one", b"", (writable,)))
    receiver = wire.Receiver(theirs)
    frames: list[wire.Frame] = []
    while len(frames) < 2:
        frames += receiver.receive()
    assert [len(frame.descriptors) for frame in frames] == [0, 1]
    os.write(frames[1].descriptors[0], b"through")
    assert os.read(readable, 10) == b"through"
    for fd in (readable, writable, *frames[1].descriptors):
        os.close(fd)
    ours.close()
    receiver.close()


@pytest.mark.parametrize(
    "prefix", [(wire.MAX_HEAD + 1, 0, 0), (0, wire.MAX_BODY + 1, 0), (0, 0, wire.MAX_DESCRIPTORS + 1), (1, 0, 1)]
)
def test_a_frame_that_lies_is_malformed(prefix: tuple[int, int, int]) -> None:
    ours, theirs = socket.socketpair()
    ours.sendall(struct.pack("!IIB", *prefix) + b"x")
    receiver = wire.Receiver(theirs)
    with pytest.raises(Malformed):
        receiver.receive()
    ours.close()
    receiver.close()


def test_descriptors_that_nobody_named_are_closed() -> None:
    ours, theirs = socket.socketpair()
    before = len(os.listdir("/proc/self/fd"))
    receiver = wire.Receiver(theirs)
    for _ in range(2):
        socket.send_fds(ours, [b"\0"], [0] * 8)
        receiver.receive()
    socket.send_fds(ours, [b"\0"], [0] * 8)
    with pytest.raises(Malformed):
        receiver.receive()
    receiver.close()
    ours.close()
    assert len(os.listdir("/proc/self/fd")) == before - 2


@given(st.integers(8, 400), st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=100)), max_size=30))
def test_bounded_output_is_beginning_and_end(limit: int, pieces: list[tuple[int, bytes]]) -> None:
    bounds = Bounds(limit)
    out = {1: b"", 2: b""}
    whole = {1: b"", 2: b""}
    for stream, data in pieces:
        whole[stream] += data
        out[stream] += bounds.take(stream, data)
    kept, dropped = 0, 0
    for stream in (1, 2):
        head = out[stream]
        tail = bounds.end(stream)
        assert whole[stream] == head + whole[stream][len(head) : len(head) + tail.skipped] + tail.data
        kept += len(head) + len(tail.data)
        dropped += tail.skipped
    assert kept <= limit
    assert dropped == bounds.truncated


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("**/.env", ".env", True), ("**/.env", "a/b/.env", True), ("**/.env", "a/x.env", False), ("**/.env", ".env/x", False),
        ("**/*.pem", "certs/server.pem", True), ("**/*.pem", "server.pem.txt", False), ("secret/*", "secret/x", True),
        ("secret/*", "a/secret/x", False), ("**/id_*", "a\n/id_rsa", True), ("**/.env", "a/.env\n", False),
    ],
)  # fmt: skip
def test_hidden_patterns(pattern: str, path: str, fits: bool) -> None:
    wanted = matcher([pattern])
    assert wanted is not None
    assert bool(wanted.match(path)) == fits


def test_small_messages_are_small() -> None:
    assert len(encode(Kill(1))) < 32
    assert decode(encode(Prepare(Profile("p", "/ws"))), FROM_PARENT) == Prepare(Profile("p", "/ws"))
    assert decode(encode(Exited(1, 0, 0, Usage())), FROM_SANDBOX) == Exited(1, 0, 0, Usage())
