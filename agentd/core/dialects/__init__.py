"""The grammars, sans-io: bytes in, facts and bytes out. One module a dialect."""

from collections.abc import Mapping
from typing import Final

from agentd.core.dialects.chat import Chat
from agentd.core.dialects.grammar import Grammar
from agentd.core.dialects.messages import Messages
from agentd.core.dialects.responses import Responses
from agentd.core.types.calls import Dialect

_GRAMMARS: Final[Mapping[Dialect, Grammar]] = {
    Dialect.CHAT: Chat(),
    Dialect.MESSAGES: Messages(),
    Dialect.RESPONSES: Responses(),
}


def grammar(dialect: Dialect) -> Grammar:
    """The grammar of a dialect. It holds nothing of any call, so one serves all."""
    return _GRAMMARS[dialect]
