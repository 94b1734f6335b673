"""The sandbox process: one parent, several views, many commands, one loop.

It starts nothing but views, decides nothing, and trusts nobody: a parent that talks nonsense is dropped, and every command
ends with the connection. What a view says is checked as strictly; one that is lost takes its commands with it, each
reported as such.
"""

import os
import select
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

from agentd.sandbox import cgroup, inner, wire
from agentd.sandbox.codec import Malformed, decode, encode
from agentd.sandbox.protocol import (
    FROM_PARENT,
    MAX_RUNS,
    UNSAFE,
    Kill,
    Prepare,
    Prepared,
    Profile,
    Refused,
    Ring,
    Rings,
    Run,
)
from agentd.sandbox.running import MAX_KILLS, Running, standard_input
from agentd.sandbox.unavailable import Unavailable
from agentd.sandbox.views import View

BACKLOG = 4 << 20
"""Bytes that wait for a parent who does not read; beyond, no output of commands is read, and they wait in turn."""
MAX_PROFILES = 32
NAME_OF_GROUP = "call"


class Server:
    """State of the process for one connection."""

    def __init__(
        self, parent: socket.socket, rings: Sequence[Ring], hierarchies: Sequence[cgroup.Hierarchy], *, unsafe: bool
    ) -> None:
        parent.setblocking(False)
        self._parent = parent
        self._receiver = wire.Receiver(parent)
        self._rings = tuple(rings)
        self._hierarchies = hierarchies
        self._unsafe = unsafe
        self._out = bytearray()
        self._profiles: dict[str, Profile] = {}
        self._views: dict[str, View] = {}
        self._waiting: dict[str, list[tuple[Run, int]]] = {}
        self._runs: dict[int, Running] = {}
        self._groups = 0

    def serve(self) -> None:
        """Until the parent is gone or talks nonsense; then nothing of it runs any more."""
        self._say(Rings(self._rings))
        try:
            while True:
                self._turn()
        except (wire.Closed, Malformed, ConnectionError):
            return
        finally:
            for name in list(self._views):
                self._lose(name, "parent")
            self._receiver.close()

    def _turn(self) -> None:
        poll = select.poll()
        poll.register(self._parent, select.POLLIN | (select.POLLOUT if self._out else 0))
        views = {view.sock.fileno(): name for name, view in self._views.items()}
        pipes = {fd: run for run in self._runs.values() for fd in run.pipes} if len(self._out) < BACKLOG else {}
        for fd in (*views, *pipes):
            poll.register(fd, select.POLLIN)
        now = time.monotonic()
        due = min((run.due(now) for run in self._runs.values()), default=None)
        for fd, event in poll.poll(None if due is None else max(0.0, due * 1000)):
            if fd == self._parent.fileno():
                self._hear(event)
            elif fd in views:
                self._hear_view(views[fd])
            elif fd in pipes and fd in pipes[fd].pipes:
                for output, data in pipes[fd].read(fd):
                    self._say(output, data)
        self._watch_clocks()

    def _hear(self, event: int) -> None:
        if event & select.POLLOUT:
            self._flush()
        if event & ~select.POLLOUT:
            with suppress(BlockingIOError):
                for frame in self._receiver.receive():
                    self._obey(frame)

    def _obey(self, frame: wire.Frame) -> None:
        try:
            message = decode(frame.head, FROM_PARENT)
            if isinstance(message, Run):
                self._accept(message, frame)
                return
            if frame.descriptors or frame.body:
                raise Malformed("a body or descriptors where none belong")
            if isinstance(message, Prepare):
                self._prepare(message.profile)
            elif isinstance(message, Kill) and message.id in self._runs and not self._runs[message.id].kills:
                self._kill(self._runs[message.id], "kill")
        finally:
            for fd in frame.descriptors:
                os.close(fd)

    def _prepare(self, profile: Profile) -> None:
        if profile.name == UNSAFE and not self._unsafe:
            hint = "start agentd-sandbox with --unsafe, if commands may really run without a cage"
            self._say(
                Refused(0, profile.name, "unsafe-is-off", "this sandbox process serves no profile without a cage", hint)
            )
            return
        lacking = [ring for ring in self._rings if ring.name in profile.required and not ring.held]
        unknown = set(profile.required) - {ring.name for ring in self._rings}
        if profile.name != UNSAFE and (lacking or unknown):
            said = "; ".join(f"{ring.name} ({ring.detail}): {ring.cure}" for ring in lacking)
            names = ", ".join([*(ring.name for ring in lacking), *sorted(unknown)])
            self._say(
                Refused(0, profile.name, "ring-missing", f"this machine lacks what the profile requires: {names}", said)
            )
            return
        if len(self._profiles) >= MAX_PROFILES and profile.name not in self._profiles:
            self._say(Refused(0, profile.name, "too-many-profiles", f"at most {MAX_PROFILES} profiles"))
            return
        if profile.name in self._views:
            self._lose(profile.name, "kill")
        self._profiles[profile.name] = profile
        self._start(profile.name)

    def _start(self, name: str) -> bool:
        try:
            self._views[name] = View(self._profiles[name])
        except (Unavailable, wire.Closed) as error:
            code, hint = (error.code, error.hint) if isinstance(error, Unavailable) else ("view-failed", "")
            self._say(Refused(0, name, code, str(error), hint))
            return False
        return True

    def _accept(self, run: Run, frame: wire.Frame) -> None:
        refusal = self._refusal(run, frame)
        if refusal is None and run.profile not in self._views and not self._start(run.profile):
            refusal = Refused(run.id, run.profile, "no-view", "the view of this profile cannot be built")
        if refusal is not None:
            self._say(refusal)
            return
        try:
            stdin = standard_input(frame)
        except Unavailable as error:
            self._say(Refused(run.id, run.profile, error.code, error.message, error.hint))
            return
        if self._views[run.profile].settled:
            self._begin(run, stdin)
        else:
            self._waiting.setdefault(run.profile, []).append((run, stdin))

    def _refusal(self, run: Run, frame: wire.Frame) -> Refused | None:
        waiting = [each.id for queue in self._waiting.values() for each, _ in queue]
        if run.id <= 0 or run.id in self._runs or run.id in waiting:
            raise Malformed("a run's number is above 0 and not in use")
        if len(frame.descriptors) > 1 or (frame.descriptors and frame.body):
            raise Malformed("standard input is a body or one descriptor")
        if run.profile not in self._profiles:
            return Refused(
                run.id, run.profile, "no-profile", f"no profile {run.profile!r} is prepared", "prepare it first"
            )
        if len(self._runs) + len(waiting) >= MAX_RUNS:
            return Refused(
                run.id, run.profile, "too-many-runs", f"at most {MAX_RUNS} commands at a time", "wait for one to end"
            )
        return None

    def _begin(self, run: Run, stdin: int) -> None:
        view = self._views[run.profile]
        given = [stdin]
        running: Running | None = None
        try:
            view.stands()
            running = Running(run, self._group(run))
            given += running.open_pipes()
            given += running.group.joiners() if running.group else ()
            self._runs[run.id] = running
            view.forward(run, tuple(given))
        except Unavailable as error:
            self._say(Refused(run.id, run.profile, error.code, error.message, error.hint))
        except wire.Closed:
            self._lose(run.profile, "zygote-lost")
        except OSError as error:
            self._forget(run.id, running)
            self._say(Refused(run.id, run.profile, "no-resources", str(error), "see the limits of the sandbox process"))
        finally:
            for fd in given:
                os.close(fd)

    def _group(self, run: Run) -> cgroup.Group | None:
        if not self._hierarchies:
            return None
        self._groups += 1
        return cgroup.make(self._hierarchies, f"{NAME_OF_GROUP}-{os.getpid()}-{self._groups}", run.limits)

    def _forget(self, number: int, running: Running | None) -> None:
        self._runs.pop(number, None)
        if running is not None:
            for _ in running.rest():
                continue
            if running.group is not None:
                running.group.remove()

    def _hear_view(self, name: str) -> None:
        try:
            for message in self._views[name].receive():
                if isinstance(message, inner.Settled):
                    self._settle(name, message)
                elif isinstance(message, inner.Unsettled):
                    self._lose(name, "zygote-lost", message)
                    return
                elif isinstance(message, inner.Finished):
                    self._finish(message)
        except (wire.Closed, Malformed):
            self._lose(name, "zygote-lost")

    def _settle(self, name: str, message: inner.Settled) -> None:
        view = self._views[name]
        view.remember_first()
        view.settled = True
        self._say(Prepared(name, message.rings))
        for run, stdin in self._waiting.pop(name, []):
            self._begin(run, stdin)

    def _finish(self, message: inner.Finished) -> None:
        running = self._runs.pop(message.id, None)
        if running is None:
            raise Malformed("the end of a run that there is not")
        report = message.report
        if report is not None and report.code:
            self._forget(message.id, running)
            self._say(Refused(message.id, running.run.profile, report.code, report.message))
            return
        for output, data in running.rest():
            self._say(output, data)
        exited = running.exited(report, "cage-lost")
        if running.group is not None:
            running.group.remove()
        self._say(exited)

    def _kill(self, running: Running, by: str) -> None:
        running.killed_by = running.killed_by or by
        running.kill_sent_at = time.monotonic()
        running.kills += 1
        with suppress(wire.Closed):  # then the view's end is heard next
            self._views[running.run.profile].forward(Kill(running.run.id))

    def _watch_clocks(self) -> None:
        now = time.monotonic()
        for running in list(self._runs.values()):
            if running.kill_sent_at is not None:
                if running.due(now) > 0 or running.run.profile not in self._views:
                    continue
                if running.kills < MAX_KILLS:
                    self._kill(running, running.killed_by)
                else:
                    self._lose(running.run.profile, "zygote-lost")
            elif by := running.run_out(now):
                self._kill(running, by)

    def _lose(self, name: str, by: str, why: inner.Unsettled | None = None) -> None:
        """A view has ended or has to: end all that is in it, and say so of each command."""
        view = self._views.pop(name)
        words = view.end()
        for running in [each for each in self._runs.values() if each.run.profile == name]:
            del self._runs[running.run.id]
            for output, data in running.rest():
                self._say(output, data)
            self._say(running.exited(None, by))
            if running.group is not None:
                running.group.remove()
        if not view.settled and by != "parent":
            code, message = (
                (why.code, why.message) if why else ("view-failed", words or "the view ended before it stood")
            )
            self._say(Refused(0, name, code, message, "see docs/sandbox.md for what a view needs"))
            for run, stdin in self._waiting.pop(name, []):
                self._say(Refused(run.id, name, code, message))
                os.close(stdin)

    def _say(self, message: object, body: bytes = b"") -> None:
        self._out += wire.packed(wire.Frame(encode(message), body))
        self._flush()

    def _flush(self) -> None:
        with suppress(BlockingIOError, ConnectionError):  # a parent that has gone is noticed where it is read
            while self._out:
                del self._out[: self._parent.send(self._out)]
