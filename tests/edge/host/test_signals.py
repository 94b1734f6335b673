"""Signals, sent for real to this very process."""

import asyncio
import os
import signal
from collections.abc import Callable

import pytest
import uvloop

from agentd.edge.host.signals import Signals

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[..., None]:
    def run_in(story: Callable[[], object]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(story())  # type: ignore[arg-type]

    return run_in


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_once_is_stop_twice_is_cut(run: Callable[..., None], number: signal.Signals) -> None:
    async def story() -> None:
        with Signals(reload=lambda: None).caught() as signals:
            send(number)
            await signals.stop.wait()
            assert not signals.cut.is_set()
            send(signal.SIGTERM)
            await signals.cut.wait()

    run(story)


def test_hangup_reloads_each_time_but_not_while_stopping(
    run: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def story() -> None:
        reloads: asyncio.Queue[str] = asyncio.Queue()
        with Signals(reload=lambda: reloads.put_nowait("again")).caught() as signals:
            for _ in range(2):
                send(signal.SIGHUP)
                await reloads.get()
            send(signal.SIGTERM)
            await signals.stop.wait()
            send(signal.SIGHUP)
            while "ignored" not in caplog.text:
                await asyncio.sleep(0)
            assert reloads.empty()

    run(story)


def test_afterwards_the_old_handlers_are_back(run: Callable[..., None]) -> None:
    async def story() -> None:
        with pytest.raises(ZeroDivisionError), Signals(reload=lambda: None).caught():
            raise ZeroDivisionError

    run(story)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)
