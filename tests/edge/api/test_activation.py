"""Sockets handed over by the service manager, in real processes with real descriptors."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agentd.edge.api.activation import activated
from agentd.edge.api.listen import ListenFailed, release

TAKE = """
import os, sys
os.environ["LISTEN_PID"] = os.environ["LISTEN_PID"].replace("self", str(os.getpid()))
from agentd.edge.api.activation import activated
from agentd.edge.api.listen import ListenFailed, release
try:
    found = activated(os.environ, os.getpid())
except ListenFailed as error:
    sys.exit(error.message)
assert not [name for name in os.environ if name.startswith("LISTEN_")]
for each in found:
    assert not each.sock.get_inheritable() and not each.sock.getblocking() and each.bound is None
    print(each.door if each.names is None else "tcp", each.path, each.sock.fileno())
    if len(sys.argv) > 1:
        each.sock.setblocking(True)
        each.sock.accept()[0].sendall(each.door.encode())
    release(each)
"""


def take(
    sockets: list[socket.socket], names: str, pid: str = "self", count: str | None = None, *args: str
) -> subprocess.Popen[str]:
    """A process that gets these sockets as descriptors 3 and on."""

    def arrange() -> None:
        copies = [os.dup(sock.fileno()) for sock in sockets]
        copies = [os.dup2(copy, 50 + index) for index, copy in enumerate(copies)]
        for index, copy in enumerate(copies):
            os.dup2(copy, 3 + index, inheritable=True)

    environ = {
        **os.environ,
        "LISTEN_PID": pid,
        "LISTEN_FDS": str(len(sockets)) if count is None else count,
        "LISTEN_FDNAMES": names,
    }
    return subprocess.Popen(
        [sys.executable, "-c", TAKE, *args], env=environ, text=True, close_fds=False, preexec_fn=arrange,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def listening(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    return sock


def test_both_doors_are_taken_by_name_and_serve(tmp_path: Path) -> None:
    with listening(tmp_path / "o") as operator, listening(tmp_path / "a") as agent:
        process = take([operator, agent], "operator:agent", "self", None, "serve")
        for name in ("operator", "agent"):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(20)
                client.connect(str(tmp_path / name[0]))
                assert client.recv(20) == name.encode()
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert out.split("\n")[:2] == [f"operator {tmp_path / 'o'} 3", f"agent {tmp_path / 'a'} 4"]
    assert (tmp_path / "a").is_socket()  # what we did not bind stays


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_the_door_over_tcp_is_the_agents_door(family: socket.AddressFamily, host: str, tmp_path: Path) -> None:
    with socket.create_server((host, 0), family=family) as tcp, listening(tmp_path / "o") as operator:
        process = take([operator, tcp], "operator:tcp", "self", None, "serve")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "o"))
            assert client.recv(20) == b"operator"
        with socket.create_connection(tcp.getsockname()[:2], timeout=20) as client:
            assert client.recv(20) == b"agent"
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert out.split("\n")[:2] == [f"operator {tmp_path / 'o'} 3", "tcp None 4"]


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")])
def test_tcp_on_other_addresses_than_loopback_is_refused(family: socket.AddressFamily, host: str) -> None:
    with socket.create_server((host, 0), family=family) as tcp:
        process = take([tcp], "tcp")
        assert "is not loopback" in process.communicate(timeout=20)[1]
        assert process.returncode == 1


def test_only_a_listening_tcp_socket_is_the_door_over_tcp(tmp_path: Path) -> None:
    unix, silent = listening(tmp_path / "a"), socket.socket()
    silent.bind(("127.0.0.1", 0))
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for sock in (unix, silent, datagram):
        process = take([sock], "tcp")
        assert "is no listening TCP socket" in process.communicate(timeout=20)[1]
        assert process.returncode == 1
        sock.close()


def test_sockets_for_another_process_are_not_ours(tmp_path: Path) -> None:
    with listening(tmp_path / "a") as agent:
        out, _ = take([agent], "agent", pid="1").communicate(timeout=20)
    assert out == ""


@pytest.mark.parametrize(
    ("names", "count", "told"),
    [
        ("agents", None, "under the name 'agents'"),
        ("", None, "under the names []"),
        ("agent:operator", None, "1 sockets were handed over"),
        ("agent", "x", "LISTEN_FDS is 'x'"),
        ("agent", "", "LISTEN_FDS is ''"),
        ("agent", "-1", "LISTEN_FDS is '-1'"),
    ],
)
def test_a_door_without_its_name_is_refused(tmp_path: Path, names: str, count: str | None, told: str) -> None:
    with listening(tmp_path / "a") as agent:
        process = take([agent], names, count=count)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert told in err


def test_one_name_twice_is_refused(tmp_path: Path) -> None:
    with listening(tmp_path / "a") as one, listening(tmp_path / "b") as two:
        process = take([one, two], "agent:agent")
        assert "['agent', 'agent']" in process.communicate(timeout=20)[1]
        assert process.returncode == 1


def test_only_a_listening_unix_stream_socket_is_a_door(tmp_path: Path) -> None:
    silent = socket.socket(socket.AF_UNIX)
    datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    tcp = socket.create_server(("127.0.0.1", 0))
    one, two = socket.socketpair()
    for sock in (silent, datagram, tcp, one):
        process = take([sock], "agent")
        assert "no listening Unix stream socket" in process.communicate(timeout=20)[1]
        assert process.returncode == 1
    for sock in (silent, datagram, tcp, one, two):
        sock.close()


def test_a_descriptor_that_is_no_socket(tmp_path: Path) -> None:
    environ = {"LISTEN_PID": "7", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "agent"}
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(ListenFailed, match="no socket"):
        activated(environ, 7, first=descriptor)
    assert environ == {}
    os.close(descriptor)


def test_no_activation_at_all() -> None:
    assert activated({}, 7) == ()


def test_the_file_of_an_activated_socket_stays(tmp_path: Path) -> None:
    sock = listening(tmp_path / "a")
    (found,) = activated(
        {"LISTEN_PID": "7", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "agent"}, 7, first=os.dup(sock.fileno())
    )
    release(found)
    assert (tmp_path / "a").is_socket()
    sock.close()
