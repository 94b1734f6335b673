"""The shipped catalogue holds what the shipped policy needs, and a file of the operator's own takes its place."""

from pathlib import Path

import pytest
import yaml

from agentd.core.accounting.price import per_million
from agentd.edge.host.catalogue import CatalogueRefused, load_catalogue

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
