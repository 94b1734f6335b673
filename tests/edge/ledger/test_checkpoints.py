"""Checkpoints: at the right moments, with signatures that hold, and said to a place outside the database."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from agentd.edge.ledger import writer
from agentd.edge.ledger.ledger import Ledger
from edge.ledger.lines import Clock, Key, decision, lines_of, run, signature_is_good, verified


def denial() -> Any:
    return decision(verdict="deny")


def test_a_checkpoint_is_written_at_the_end_signed_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    key = Key()

    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock(), key) as ledger:
            await ledger.append(denial())
        async with Ledger.open(tmp_path, Clock(), key) as ledger:
            report = await verified(ledger, check=signature_is_good, trusted=frozenset({key.public_hex}))
            return ledger.id, await lines_of(ledger), report, await ledger.reader.anchor()

    with caplog.at_level(logging.INFO, "agentd.ledger"):
        ledger_id, lines, report, anchor = run(conversation())
    seal = lines[-1]
    assert (seal["kind"], seal["seq"], seal["detail"]["lines"]) == ("checkpoint", 3, 2)
    assert (report.intact, report.signed, report.vouched_to, report.keys) == (True, 1, 3, (key.public_hex,))
    assert anchor == {"ledger": ledger_id, "seq": 3, "digest": seal["digest"], "public": key.public_hex}
    assert f"checkpoint 3 {seal['digest']} of ledger {ledger_id}" in caplog.text


def test_without_a_key_a_checkpoint_says_that_it_is_unsigned(tmp_path: Path) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            await ledger.append(denial())
        async with Ledger.open(tmp_path, Clock()) as ledger:
            return await lines_of(ledger, "checkpoint"), await verified(ledger, check=signature_is_good)

    (seal,), report = run(conversation())
    assert (seal["detail"]["signature"], seal["detail"]["public"]) == (None, None)
    assert "no signing key" in seal["detail"]["unsigned"]
    assert (report.intact, report.signed, report.vouched_to) == (True, 0, 0)


def test_a_signature_of_another_place_or_key_is_bad(tmp_path: Path) -> None:
    key = Key()
    assert signature_is_good(key.public_hex, b"m", key.sign(b"m").hex())
    assert not signature_is_good(key.public_hex, b"n", key.sign(b"m").hex())
    assert not signature_is_good(Key().public_hex, b"m", key.sign(b"m").hex())
    assert not signature_is_good("zz", b"m", "zz")


@pytest.mark.parametrize(("lines", "seals"), [(3, 0), (4, 1), (9, 2)])
def test_a_checkpoint_comes_after_so_many_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: Any, seals: Any
) -> None:
    monkeypatch.setattr(writer, "CHECKPOINT_LINES", 5)

    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            for _ in range(lines):
                await ledger.append(denial())
            while ledger.counters.lines != 1 + lines + seals:
                await asyncio.sleep(0)
            return [line["detail"]["lines"] for line in await lines_of(ledger, "checkpoint")]

    assert run(conversation()) == [5] * seals


def test_a_checkpoint_comes_after_so_long_if_anything_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PROBE_S", 0.002)
    clock = Clock()

    async def conversation() -> Any:
        async with Ledger.open(tmp_path, clock) as ledger:
            seen = asyncio.Event()
            ledger.on_append(lambda record: seen.set() if record["kind"] == "checkpoint" else None)
            await ledger.append(denial())
            clock.move(writer.CHECKPOINT_S)
            await seen.wait()
            count = ledger.counters.lines
            clock.move(10 * writer.CHECKPOINT_S)
            await ledger.append(denial())
            return count, await lines_of(ledger, "checkpoint")

    count, lines = run(conversation())
    assert (count, [line["seq"] for line in lines][:1]) == (3, [3]), "and an idle record writes none"


def test_a_key_may_change_and_the_last_one_vouches(tmp_path: Path) -> None:
    old, new = Key(), Key()

    async def conversation() -> Any:
        for key in (old, new):
            async with Ledger.open(tmp_path, Clock(), key) as ledger:
                await ledger.append(denial())
        async with Ledger.open(tmp_path, Clock(), new) as ledger:
            return [
                await verified(ledger, check=signature_is_good, trusted=frozenset({key.public_hex}))
                for key in (old, new)
            ]

    by_old, by_new = run(conversation())
    assert by_new.keys == (old.public_hex, new.public_hex)
    assert (by_old.vouched_to, by_new.vouched_to) == (3, 5)
