"""What the upstream says of the key itself. In: the bytes of GET /key. Out: what it may still spend, what it has spent today, and
whether it is one of those that may do everything.

Figures are in dollars, as numbers; a figure that is none is "not said", which is neither zero nor unlimited. What providers
billed to keys of the account's own is counted beside the rest there, and added here, as it is in the record. The key's label
holds a part of the key and is not read.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from agentd.core.types.money import Nusd, format_usd, nusd_near

MAX_USD: Final = Decimal(10**9)
"""No key spends a billion; more is a fault."""

TOLERANCE: Final = 100_000_000
"""Nano-dollars (10 cents) by which two counts of a day may differ: calls that the two sides book on different days."""

TOLERANCE_PART: Final = 20
"""... or a twentieth of the larger count, whichever is more."""


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """A key. None is "not said", and for `limit` and `remaining` also "without a limit"."""

    limit: Nusd | None
    remaining: Nusd | None
    reset: str | None  # daily, weekly, monthly
    used_today: Nusd | None  # since midnight UTC
    management: bool

    @property
    def empty(self) -> bool:
        """Nothing can be bought with it."""
        return self.remaining is not None and self.remaining <= 0


def parse_key(body: bytes) -> KeyFacts | None:
    """Read what the upstream says of a key; None if the bytes say nothing."""
    try:
        document = json.loads(body, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        return None
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict):
        return None
    reset = data.get("limit_reset")
    return KeyFacts(
        limit=_nusd(data, "limit"),
        remaining=_nusd(data, "limit_remaining"),
        reset=reset if reset in ("daily", "weekly", "monthly") else None,
        used_today=_both(_nusd(data, "usage_daily"), _nusd(data, "byok_usage_daily")),
        management=data.get("is_management_key") is True or data.get("is_provisioning_key") is True,
    )


def drift(upstream: Nusd, cost: Nusd, reserved: Nusd) -> str:
    """How two counts of a day differ beyond tolerance, in words; empty if they agree.

    `upstream` is the upstream's count; `cost` and `reserved` are the record's: what is known, and what may come on top of it.
    """
    slack = max(TOLERANCE, max(upstream, cost) // TOLERANCE_PART)
    counts = f"the upstream counts {format_usd(upstream)} today, the record {format_usd(cost)}"
    if upstream > cost + reserved + slack:
        return f"{counts} and {format_usd(reserved)} reserved: something is billed to the key that did not pass here"
    if upstream < cost - slack:
        return f"{counts}: calls were booked here that the upstream did not bill to the key"
    return ""


def _both(usage: Nusd | None, own: Nusd | None) -> Nusd | None:
    return None if usage is None else usage + (own or 0)


def _nusd(data: Mapping[str, Any], name: str) -> Nusd | None:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return None
    amount = Decimal(value)
    return nusd_near(amount) if amount.is_finite() and abs(amount) <= MAX_USD else None
