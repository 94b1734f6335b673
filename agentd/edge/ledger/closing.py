"""Outcomes that nobody else will tell: of calls that were cut off by agentd's end, and of calls that were never made."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agentd.core.types.receipts import CostSource, Ending
from agentd.core.types.records import Kind, Line
from agentd.edge.ledger.store import Store


def outcome_for(decision: Mapping[str, Any], at: str, ending: Ending, note: str) -> Line:
    """The outcome that closes a decision (a record, under wire names).

    STOPPED means that the call was never made and costs nothing. Anything else leaves the cost unknown, which keeps the
    reservation.
    """
    unmade = ending is Ending.STOPPED
    return Line(
        kind=Kind.OUTCOME,
        at=at,
        agent=decision.get("agent"),
        session=decision.get("session"),
        request=decision.get("request"),
        class_=decision.get("class"),
        tier=decision.get("tier"),
        model=decision.get("model"),
        reserved_nusd=decision.get("reserved_nusd"),
        cost_nusd=0 if unmade else None,
        status=ending.value,
        opens=decision.get("seq"),
        detail={"note": note, "cost_source": (CostSource.COMPUTED if unmade else CostSource.UNSETTLED).value},
    )


def closing(store: Store, calls: Sequence[int], at: str, ending: Ending, note: str) -> Iterator[Line]:
    """An outcome for each of these decisions, which are read from the store. Raises `RecordUnavailable`."""
    for seq in calls:
        body = next((body for _, body, _ in store.rows(seq, seq)), b"{}")
        yield outcome_for(json.loads(body) | {"seq": seq}, at, ending, note)
