"""Making local tokens. What keeps them out of logs is their form, which `scrub.ScrubbingFormatter` knows: so also those are found
that an earlier run made, and of which nothing is left but a digest."""

import secrets

from agentd.core.types.tokens import PREFIX

RANDOM_BYTES = 32
"""256 bits: nothing to guess, so its plain digest can be kept."""


def mint_token() -> str:
    """A new token, out of the system's chance."""
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
