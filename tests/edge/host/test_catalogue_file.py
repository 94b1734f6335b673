"""The shipped catalogue holds what the shipped policy needs, and a file of the operator's own takes its place."""

from pathlib import Path

import pytest
import yaml

from agentd.core.accounting.price import per_million
from agentd.core.accounting.private import PrivateList
from agentd.edge.host.catalogue import (
    CatalogueRefused,
    keep_private,
    keep_snapshot,
    load_catalogue,
    load_private,
    load_snapshot,
)

ROOT = Path(__file__).parents[3]


def test_every_shipped_model_is_priced_and_has_room() -> None:
    catalogue = load_catalogue()
    assert catalogue.entries.keys() == catalogue.prices.keys()
    assert len(catalogue.prices) >= 60
    for name, entry in catalogue.entries.items():
        assert 0 < entry.max_output <= entry.context_length, name
        assert entry.modalities[0] == "text", name
        price = catalogue.prices[name]
        assert price.cache_read <= price.prompt <= price.cache_write <= price.cache_write_1h, name


def test_every_model_of_the_shipped_policy_fits_its_tier() -> None:
    catalogue = load_catalogue()
    policy = yaml.safe_load((ROOT / "etc" / "policy.yaml").read_text())
    for name, tier in policy["tiers"].items():
        for model in tier["models"]:
            prompt, completion = per_million(catalogue.prices[model["id"]])
            assert prompt <= tier["max_price"]["prompt"], (name, model)
            assert completion <= tier["max_price"]["completion"], (name, model)
            assert tier["max_output"] <= catalogue.entries[model["id"]].max_output, (name, model)


def test_the_snapshot_is_dated_and_named_by_its_digest() -> None:
    catalogue = load_catalogue()
    assert catalogue.dated == "2026-08-21"
    assert len(catalogue.digest) == 64
    assert catalogue.digest == load_catalogue(ROOT / "agentd" / "data" / "catalogue.json").digest


def test_a_file_of_the_operators_own(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text(
        '{"dated": "2026-11-01", "models": {"a/b": {"name": "B", "in": "1", "out": "1", "context": 9, "cap": 9, "accepts": []}}}'
    )
    assert list(load_catalogue(path).prices) == ["a/b"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogueRefused, match=r"cannot read .*gone\.json: No such file"):
        load_catalogue(tmp_path / "gone.json")


def test_the_newest_list_is_kept_whole_for_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.json"
    entries = dict(load_catalogue().entries)
    assert load_snapshot(path) == {}
    keep_snapshot(path, entries)
    assert load_snapshot(path) == entries
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.stat().st_ino
    keep_snapshot(path, entries)
    assert path.stat().st_ino == before  # the same list is not written again
    keep_snapshot(path, {})
    assert (load_snapshot(path), path.stat().st_ino == before) == ({}, False)


def test_a_list_that_cannot_be_read_or_kept_stops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.json"
    path.write_bytes(b"half a li")
    assert load_snapshot(path) == {}
    keep_snapshot(tmp_path / "gone" / "catalogue.json", {})
    assert not (tmp_path / "gone").exists()


def test_who_keeps_nothing_is_kept_with_its_date(tmp_path: Path) -> None:
    path = tmp_path / "private.json"
    known = PrivateList(frozenset({"a/b", "c/d"}), "2026-11-01T00:00:00+00:00")
    assert load_private(path) is None
    keep_private(path, known)
    assert load_private(path) == known
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "data",
    [b"", b"half a li", b"[]", b"{}", b'{"format":2,"at":"x","models":[]}', b'{"format":1,"at":"x","models":"all"}',
     b'{"format":1,"at":"x","models":[1]}', b'{"format":1,"at":null,"models":[]}', b"[" * 5000],
)  # fmt: skip
def test_a_file_that_is_no_such_list_is_not_known_rather_than_empty(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "private.json"
    path.write_bytes(data)
    assert load_private(path) is None
    path.unlink()
    path.mkdir()
    assert load_private(path) is None
