"""What the desk is told about the daemon and the machine it runs on, as plain values: the gate reads no file, socket or
disk of its own. Every entry may be missing (an older or smaller daemon); a missing fact is shown as not known and is
never taken for good."""

from typing import TypedDict


class SocketVitals(TypedDict, total=False):
    """A socket as it lies on the disk now."""

    door: str  # agent | operator
    path: str
    mode: int  # permission bits, 0o660
    group: str
    dir_mode: int


class UpstreamVitals(TypedDict, total=False):
    """An upstream as the last calls saw it; nobody is called for this."""

    name: str
    url: str
    breaker: str  # closed | open | half_open
    last_error: str  # code of the last failure, as long as no call has gone well since
    failed_at: str  # RFC 3339
    last_ok: str  # RFC 3339
    simulated: bool


class Vitals(TypedDict, total=False):
    """The daemon now."""

    version: str
    pid: int
    started_at: str  # RFC 3339
    simulate: bool
    user_mode: bool  # agent and operator may share a uid: a trial, no boundary
    in_flight: int
    sockets: list[SocketVitals]
    tcp: str  # where the agents' door over TCP is, "127.0.0.1:8710"; missing: not opened
    upstreams: list[UpstreamVitals]
    counters: dict[str, int]
    ledger: tuple[str, str]  # (code, sentence): "ok" or which failure
    signing: bool  # checkpoints are signed
    state_dir: str
    policy_path: str  # the file that is watched
    state_mode: int
    disk_free: int  # bytes for the record
    core_dumps_off: bool
    clock_synced: bool | None  # None: the machine does not say
    loop_lag_ms: int
    rss: int  # bytes
