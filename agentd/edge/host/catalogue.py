"""The catalogue on this machine: the one that ships with agentd, or a file of the operator's, and the newest lists that an
upstream gave. Read once at start-up, before the event loop serves anyone, since reading a file blocks; the newest lists are
written by a thread."""

import logging
from collections.abc import Mapping
from pathlib import Path

from agentd.core.accounting.catalogue import Catalogue, CatalogueRefused, ModelEntry, parse_catalogue
from agentd.core.accounting.market import parse_snapshot, snapshot
from agentd.core.accounting.private import PrivateList, parse_private_file, private_file
from agentd.data import shipped

__all__ = [
    "Catalogue",
    "CatalogueRefused",
    "ModelEntry",
    "keep_private",
    "keep_snapshot",
    "load_catalogue",
    "load_private",
    "load_snapshot",
]

log = logging.getLogger("agentd.catalogue")


def load_catalogue(path: Path | str | None = None) -> Catalogue:
    """Read the shipped catalogue, or the file at `path`. Raises `CatalogueRefused` if it is missing or not understood."""
    if path is None:
        return parse_catalogue(shipped("catalogue.json"), "the shipped catalogue")
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        hint = "Name a file that agentd can read, or leave the setting out to use the shipped catalogue."
        raise CatalogueRefused("catalogue.unreadable", f"cannot read {path}: {reason}", hint) from error
    return parse_catalogue(data, str(path))


def load_snapshot(path: Path) -> dict[str, ModelEntry]:
    """The newest list that was kept at `path`; nothing when there is none that can be read: the catalogue serves."""
    try:
        return parse_snapshot(path.read_bytes(), str(path))
    except FileNotFoundError:
        return {}
    except (OSError, CatalogueRefused) as error:
        log.warning("the kept list of models is left aside: %s", error)
        return {}


def keep_snapshot(path: Path, entries: Mapping[str, ModelEntry]) -> None:
    """Keep a list for the next start: whole or not at all, and only when it is another. What fails is logged: the list in
    force does not depend on it."""
    _keep(path, snapshot(entries))


def load_private(path: Path) -> PrivateList | None:
    """The list of endpoints that keep nothing, as it was kept at `path`; None when there is none that can be read."""
    try:
        known = parse_private_file(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("the kept list of endpoints that keep nothing is left aside: %s", error)
        return None
    if known is None:
        log.warning("%s is no list of endpoints that keep nothing, and is left aside", path)
    return known


def keep_private(path: Path, known: PrivateList) -> None:
    """Keep that list for the next start. What fails is logged."""
    _keep(path, private_file(known))


def _keep(path: Path, data: bytes) -> None:
    try:
        if path.exists() and path.read_bytes() == data:
            return
        fresh = path.with_suffix(".new")
        fresh.write_bytes(data)
        fresh.chmod(0o600)
        fresh.replace(path)
    except OSError as error:
        log.warning("%s could not be kept: %s", path.name, error)
