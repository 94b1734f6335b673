"""A daemon to be killed: writes as fast as it can and reports each receipt on stdout, unbuffered, before it goes on.

A report is a line `d SEQ DIGEST` or `o SEQ DIGEST`. What was reported was acknowledged; it must survive whatever comes.
"""

import asyncio
import os
import sys
from pathlib import Path

from agentd.edge.ledger.ledger import Ledger
from edge.ledger.lines import Clock, decision, outcome

WORKERS = 8


async def work(ledger: Ledger) -> None:
    while True:
        receipt = await ledger.append(decision())
        os.write(1, f"d {receipt.seq} {receipt.digest}\n".encode())
        closed = await ledger.append(outcome(receipt.seq))
        os.write(1, f"o {closed.seq} {closed.digest}\n".encode())


async def main() -> None:
    async with Ledger.open(Path(sys.argv[1]), Clock()) as ledger, asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(work(ledger))


asyncio.run(main())
