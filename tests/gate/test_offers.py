"""What a caller may ask for, with sizes as far as they are known."""

from agentd.core.accounting.catalogue import ModelEntry
from agentd.gate.offers import offers
from builders import policy

POLICY = policy()
AGENT = POLICY.agents["main"]


def by_id(known: dict[str, ModelEntry]) -> dict[str, dict[str, object]]:
    return {str(entry["id"]): entry for entry in offers(POLICY, AGENT, known)}


def test_lanes_come_first_and_prefixes_are_no_names() -> None:
    assert list(by_id({})) == ["heartbeat", "chat", "code", "small/one", "small/two", "middle/one", "top/one"]


def test_each_has_the_sizes_of_the_model_that_serves_it_within_the_policys_caps() -> None:
    found = by_id(
        {
            "small/one": ModelEntry(9_000, 700, "", 0, ("text",)),
            "middle/one": ModelEntry(8_000, 9_999, "", 0, ("text",)),
        }
    )
    sizes = {name: (entry.get("context_length"), entry["max_output"]) for name, entry in found.items()}
    assert sizes == {
        "heartbeat": (9_000, 700),
        "chat": (9_000, 700),
        "code": (8_000, 2_000),
        "small/one": (9_000, 700),
        "small/two": (None, 4_096),
        "middle/one": (8_000, 4_096),
        "top/one": (None, 4_096),
    }
