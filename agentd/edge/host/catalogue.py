"""The catalogue on this machine: the one that ships with agentd, or a file of the operator's. Read once at start-up,
before the event loop serves anyone, since reading a file blocks."""

from pathlib import Path

from agentd.core.accounting.catalogue import Catalogue, CatalogueRefused, ModelEntry, parse_catalogue
from agentd.data import shipped

__all__ = ["Catalogue", "CatalogueRefused", "ModelEntry", "load_catalogue"]


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
