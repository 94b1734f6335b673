"""Signals, as events of the loop: stop, stop at once, read the policy again.

SIGTERM and SIGINT ask for a staged end; whoever sends a second one has lost patience, and running streams are cut. SIGHUP
asks for a reload. Python's own handlers return when the context ends, so that a hanging shutdown can still be interrupted.
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger("agentd.signals")

STOPPING = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """`stop` is set by the first request to end, `cut` by the second; `reload` is called for each SIGHUP, on the loop.

    `reload` must return at once (set an event, put into a queue) and not raise.
    """

    def __init__(self, reload: Callable[[], None]) -> None:
        """Take what a SIGHUP calls; nothing is caught before `caught`."""
        self.stop = asyncio.Event()
        self.cut = asyncio.Event()
        self._reload = reload

    @contextmanager
    def caught(self) -> Iterator["Signals"]:
        """Catch them in the running loop, which must be the main thread's, until the context ends."""
        loop = asyncio.get_running_loop()
        for number in STOPPING:
            loop.add_signal_handler(number, self._on_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)
        try:
            yield self
        finally:
            for number in (*STOPPING, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def _on_stop(self, number: signal.Signals) -> None:
        if self.stop.is_set():
            log.warning("%s again: cutting what still runs", number.name)
            self.cut.set()
            return
        log.info("%s: stopping", number.name)
        self.stop.set()

    def _on_reload(self) -> None:
        if self.stop.is_set():
            log.info("SIGHUP ignored: stopping")
            return
        self._reload()
