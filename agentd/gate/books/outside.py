"""What is known of the world outside, as one decision sees it: which upstreams are shut, how large the models are, whose prices
hold. Whoever learns something puts a whole new value in the place of the old one, so that a decision never sees half of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from agentd.core.accounting.catalogue import ModelEntry
from agentd.core.types.verdicts import Deny


@dataclass(slots=True)
class Outside:
    """The outside now."""

    shut: Mapping[str, Deny] = field(default_factory=dict)  # upstreams that nothing goes to, and what callers are told
    models: Mapping[str, ModelEntry] = field(default_factory=dict)  # by id
    catalogue: str = ""  # digest of the catalogue that prices and models are from
