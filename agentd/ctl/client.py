"""The daemon, as a command sees it: JSON over HTTP over the operator's Unix socket.

Every failure becomes a `CtlError` with the exit code of its kind and the exact next step."""

import http.client
import json
import shlex
import socket
import sys
from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.parse import quote, urlencode

from agentd.ctl.exits import CtlError, Exit

Json = dict[str, Any]

PREFIX = "/operator/v1"

TIMEOUT_S = 30.0
"""Longest silence of the daemon: the slowest answer (a policy's tests, a disk that syncs) takes a few seconds."""

GROUP = "agentd-operators"
"""Members may connect to the system's daemon."""

EXITS = {400: Exit.USAGE, 403: Exit.REFUSED, 404: Exit.NOT_FOUND, 413: Exit.USAGE, 422: Exit.FINDING}
"""How statuses end a command; any other failure is a refusal."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP to a Unix socket."""

    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("agentd", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._path)
        except OSError:
            self.sock.close()
            raise


class Client:
    """Asks the daemon behind `path`."""

    def __init__(self, path: str, looked: tuple[str, ...] = (), timeout_s: float | None = None) -> None:
        """Nothing is connected before something is asked. `looked`: where a socket was looked for; `timeout_s`: the longest
        silence, if not `TIMEOUT_S`."""
        self.path = path
        self._looked = looked
        self._timeout_s = timeout_s

    def get(self, route: str, query: Mapping[str, object] | None = None, *, endless: bool = False) -> Json:
        """The answer to a question; `endless` waits for it as long as it takes. Raises `CtlError`."""
        return self._ask("GET", _with(route, query), None, None if endless else self._timeout_s or TIMEOUT_S)

    def send(self, method: str, route: str, body: Json, *, endless: bool = False) -> Json:
        """The answer to an act; `endless` waits for it as long as it takes. Raises `CtlError`."""
        return self._ask(method, route, body, None if endless else TIMEOUT_S)

    def stream(self, route: str, query: Mapping[str, object] | None = None, *, endless: bool = False) -> Iterator[Json]:
        """Rows as they come; `endless` waits for each as long as it takes. Raises `CtlError`, also when it breaks off."""
        connection, response = self._open("GET", _with(route, query), None, None if endless else TIMEOUT_S)
        try:
            for line in response:
                yield _row(line, self.path)
        except (OSError, http.client.HTTPException) as broken:
            raise self._gone(broken) from None
        finally:
            connection.close()

    def _ask(self, method: str, route: str, body: Json | None, timeout: float | None) -> Json:
        connection, response = self._open(method, route, body, timeout)
        try:
            return _row(response.read(), self.path)
        except (OSError, http.client.HTTPException) as broken:
            raise self._gone(broken) from None
        finally:
            connection.close()

    def _open(
        self, method: str, route: str, body: Json | None, timeout: float | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = _UnixConnection(self.path, timeout)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            connection.request(method, PREFIX + route, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            if response.status >= 400:
                raise _refusal(response.status, response.read())
        except PermissionError:
            connection.close()
            raise _forbidden(self.path) from None
        except (OSError, http.client.HTTPException) as failed:
            connection.close()
            raise self._gone(failed) from None
        except CtlError:
            connection.close()
            raise
        return connection, response

    def _gone(self, why: Exception) -> CtlError:
        others = [place for place in self._looked if place != self.path]
        nor = f" Nor is there one at {', '.join(others)}." if others and isinstance(why, FileNotFoundError) else ""
        return CtlError(
            Exit.UNREACHABLE,
            f"agentd is not reachable at {self.path}: {_reason(why)}.{nor}",
            "Start it: systemctl start agentd (this box), or agentd serve (your own). Elsewhere: --socket PATH.",
        )


def part(text: str) -> str:
    """A piece of a route, quoted."""
    return quote(text, safe="")


def _with(route: str, query: Mapping[str, object] | None) -> str:
    given = {
        key: value for key, value in (query or {}).items() if value is not None and value is not False and value != ""
    }
    return f"{route}?{urlencode(given)}" if given else route


def _row(line: bytes, path: str) -> Json:
    try:
        return cast("Json", json.loads(line))
    except ValueError:
        message = f"What answers at {path} is not agentd, or an answer broke off."
        raise CtlError(Exit.UNREACHABLE, message, "Check --socket and the daemon's log.") from None


def _refusal(status: int, body: bytes) -> CtlError:
    try:
        error = json.loads(body)["error"]
        message, hint, code = str(error["message"]), str(error.get("hint", "")), str(error["code"])
    except (ValueError, KeyError, TypeError):
        return CtlError(Exit.REFUSED, f"agentd answered {status} without saying why.", "See the daemon's log.")
    return CtlError(EXITS.get(status, Exit.REFUSED), f"{message} [{code}]", hint)


def _forbidden(path: str) -> CtlError:
    again = shlex.join(["sudo", "agentctl", *sys.argv[1:]])
    hint = f"Run: {again}   or join the group and log in again: sudo usermod -aG {GROUP} $USER"
    return CtlError(Exit.REFUSED, f"You may not connect to {path}.", hint)


def _reason(why: Exception) -> str:
    if isinstance(why, FileNotFoundError):
        return "there is no such socket"
    if isinstance(why, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(why, TimeoutError):
        return f"no answer within {TIMEOUT_S:.0f} s"
    return str(why) or type(why).__name__
