"""Catalogue files: what is read, what stays unpriced, what is refused."""

import hashlib
import json
from decimal import Decimal

import pytest

from agentd.core.accounting.catalogue import CatalogueRefused, parse_catalogue
from agentd.core.accounting.price import per_million

ROW = {"name": "One", "in": "1", "out": "2", "context": 1000, "cap": 100, "accepts": ["text"]}


def file(**rows: object) -> bytes:
    return json.dumps({"dated": "2026-08-21", "models": rows}).encode()


def test_a_row_becomes_a_price_and_an_entry() -> None:
    row = {
        **ROW, "read": "0.1", "write": "1.25", "write_1h": "2", "created": "2026-01-02", "accepts": ["text", "image"],
        "over": [{"above": 500, "in": "3"}],
    }  # fmt: skip
    catalogue = parse_catalogue(file(one=row), "x.json")
    price, entry = catalogue.prices["one"], catalogue.entries["one"]
    assert per_million(price) == (Decimal(1), Decimal(2))
    assert (price.cache_read, price.cache_write, price.cache_write_1h) == (
        Decimal("1e-7"),
        Decimal("0.00000125"),
        Decimal("0.000002"),
    )
    assert price.overrides[0].min_prompt_tokens == 500
    assert (entry.context_length, entry.max_output, entry.name, entry.modalities) == (
        1000,
        100,
        "One",
        ("text", "image"),
    )
    assert entry.created == 1767312000
    assert entry.pricing["prompt"] == "0.000001"


def test_the_digest_is_of_the_bytes() -> None:
    data = file(one=ROW)
    assert parse_catalogue(data, "x").digest == hashlib.sha256(data).hexdigest()


def test_unknown_birth_is_zero() -> None:
    assert parse_catalogue(file(one=ROW), "x").entries["one"].created == 0


@pytest.mark.parametrize("bad", ["-1", "cheap", "NaN", ""])
def test_a_model_without_a_readable_price_is_known_and_unpriced(bad: str) -> None:
    catalogue = parse_catalogue(file(one={**ROW, "in": bad}), "x")
    assert "one" in catalogue.entries
    assert "one" not in catalogue.prices


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"dated": "yesterday", "models": {}}',
        b'{"dated": "2026-08-21", "models": []}',
        b'{"dated": "2026-08-21", "models": {"one": 1}}',
        file(one={**ROW, "context": 0}),
        file(one={**ROW, "cap": True}),
        file(one={**ROW, "cap": "100"}),
        file(one={name: value for name, value in ROW.items() if name != "name"}),
        file(one={**ROW, "created": "once"}),
        file(one={**ROW, "over": [{"in": "1"}]}),
    ],
)
def test_a_file_of_another_shape_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(CatalogueRefused, match=r"here\.json is not a catalogue") as refused:
        parse_catalogue(data, "here.json")
    assert refused.value.code == "catalogue.unreadable"
    assert refused.value.hint
