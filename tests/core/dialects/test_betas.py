"""Beta flags and versions: what passes is listed."""

import pytest

from agentd.core.dialects.betas import DEFAULT_VERSION, passing, version


@pytest.mark.parametrize(
    ("flag", "anywhere", "first_party"),
    [
        ("claude-code-20250219", True, True),
        ("interleaved-thinking-2025-05-14", True, True),
        ("context-management-2025-06-27", False, True),
        ("fast-mode-2026-02-01", False, False),
        ("context-1m-2025-08-07", False, False),
        ("code-execution-2025-08-25", False, False),
        ("claude-code-1\r\nx: y", False, False),
        ("", False, False),
    ],
)
def test_flags(flag: str, anywhere: bool, first_party: bool) -> None:
    assert passing((flag,), first_party=False) == ((flag,) if anywhere else ())
    assert passing((flag,), first_party=True) == ((flag,) if first_party else ())


@pytest.mark.parametrize(
    ("asked", "sent"),
    [("2023-06-01", "2023-06-01"), ("2099-01-01", "2099-01-01"), ("2099-01-01 x", DEFAULT_VERSION), (None, DEFAULT_VERSION)],
)
def test_versions(asked: str | None, sent: str) -> None:
    assert version(asked) == sent
