"""Where in a policy to look: its rules by the facts that they ask for, so that a call touches those few that could hold for it
and not all that there are. Order is kept throughout, since the first rule that holds decides.

An index says "could": whoever uses it still asks each rule. It is made once, with the policy.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Index(Generic[T]):
    """Things by keys, each with its place in the policy. A thing may have several keys."""

    places: Mapping[Hashable, tuple[tuple[int, T], ...]] = field(default_factory=dict)

    def at(self, keys: Iterable[Hashable]) -> list[T]:
        """The things that have one of these keys, in the order of the policy, each once."""
        found: dict[int, T] = {}
        for key in keys:
            found.update(self.places.get(key, ()))
        return [found[place] for place in sorted(found)]


def indexed(things: Iterable[tuple[Iterable[Hashable], T]]) -> Index[T]:
    """An index of things in the order of the policy, each with its keys."""
    places: dict[Hashable, list[tuple[int, T]]] = defaultdict(list)
    for place, (keys, thing) in enumerate(things):
        for key in dict.fromkeys(keys):
            places[key].append((place, thing))
    return Index({key: tuple(found) for key, found in places.items()})
