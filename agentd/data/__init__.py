"""Files that ship with agentd. `shipped("catalogue.json")` gives their bytes wherever the package is installed."""

from importlib.resources import files


def shipped(name: str) -> bytes:
    """The bytes of a file of this package. Raises FileNotFoundError for a name that does not ship."""
    return files(__name__).joinpath(name).read_bytes()
