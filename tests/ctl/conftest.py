"""Every test here that wants one gets an office, opened and later torn down."""

from collections.abc import Iterator

import pytest

from ctl.office import Office


@pytest.fixture
def office() -> Iterator[Office]:
    """With the shipped policy, a key, and an empty record."""
    made = Office()
    made.open()
    yield made
    made.destroy()
