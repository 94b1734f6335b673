"""Money is an integer of nano-dollars (1 USD = 10**9), so that sums are exact and order does not matter.

Prices are finer than one nano-dollar per token: multiply first, round once per ledger line, upwards for reservations.
"""

from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal

Nusd = int
"""Nano-dollars."""

NUSD_PER_USD = 10**9


def nusd_up(usd: Decimal) -> Nusd:
    """Exact dollars to nano-dollars, rounded up: for reservations, which must never be too small."""
    return int((usd * NUSD_PER_USD).to_integral_value(ROUND_CEILING))


def nusd_near(usd: Decimal) -> Nusd:
    """Exact dollars to nano-dollars, rounded to the nearest: for costs."""
    return int((usd * NUSD_PER_USD).to_integral_value(ROUND_HALF_EVEN))


def format_usd(nusd: Nusd) -> str:
    """Nano-dollars for people: cents where that is enough, else as many digits as carry meaning (`$0.000043`)."""
    sign, amount = ("-", -nusd) if nusd < 0 else ("", nusd)
    usd = Decimal(amount) / NUSD_PER_USD
    if amount == 0 or usd >= 1:
        return f"{sign}${usd:,.2f}"
    digits = 4 if usd >= Decimal("0.01") else 6
    return f"{sign}${usd:.{digits}f}"
