"""A daemon to be killed while it prunes: it prunes what is older than forty days and takes calls at the same time.

Each receipt is reported on stdout, unbuffered, before it goes on: `p SEQ 0` for the prune line, `d SEQ DIGEST` for a decision,
and `e 0 0` when nothing is left to remove.
"""

import asyncio
import os
import sys
from pathlib import Path

from agentd.edge.ledger.ledger import Ledger
from edge.ledger.lines import Clock, decision
from edge.ledger.pruning import TODAY, ask, prune_line


async def work(ledger: Ledger, clock: Clock) -> None:
    while True:
        receipt = await ledger.append(decision(clock.at))
        os.write(1, f"d {receipt.seq} {receipt.digest}\n".encode())
        if not (await ledger.reader.extent())["pruning"]:
            os.write(1, b"e 0 0\n")


async def main() -> None:
    clock = Clock(TODAY)
    async with Ledger.open(Path(sys.argv[1]), clock) as ledger:
        if (await ledger.reader.extent())["pruned"] is None:
            done = await ledger.prune(ask(clock, 40), prune_line(clock))
            os.write(1, f"p {done['line']} 0\n".encode())
        await work(ledger, clock)


asyncio.run(main())
