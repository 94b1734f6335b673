"""Anthropic messages, as OpenRouter speaks it.

`context_management` is understood by Anthropic's own endpoints alone; elsewhere its mere presence is an error, so there it
is left out. The user id, into which clients put device and session, becomes agentd's opaque one.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from agentd.core.dialects import caching, firewall, knobs, listing, marks, messages_turns, refusals, rewriting, splice
from agentd.core.dialects.asked import cap_of, flag_of, model_of
from agentd.core.dialects.grammar import WHOLE, Page, Refusal, ReplyMachine, Rewrite
from agentd.core.dialects.messages_reply import MessagesEar
from agentd.core.dialects.reading import load
from agentd.core.dialects.replies import StreamMachine, WholeMachine
from agentd.core.dialects.tools import offered
from agentd.core.dialects.turns import shape_of
from agentd.core.types.calls import Dialect, ModelCall
from agentd.core.types.verdicts import Deny

FIRST_PARTY: Final = frozenset({"context_management"})
"""Fields that only Anthropic's own endpoints take."""


class Messages:
    """Fulfils `Grammar`."""

    dialect = Dialect.MESSAGES

    def read(self, body: bytes) -> ModelCall:
        """See `Grammar`."""
        fields = load(body)
        found, dropped = firewall.inspect(self.dialect, fields)
        model = model_of(fields)
        tools = offered(self.dialect, fields)
        outline = messages_turns.outline(fields)
        return ModelCall(
            dialect=self.dialect,
            body=body,
            model_asked=model,
            stream=flag_of(fields, "stream"),
            wants_usage=True,
            max_output=cap_of(fields, "max_tokens"),
            shape=shape_of(outline, tools.names),
            smuggled=firewall.told([*firewall.model_asked(model), *found, *tools.found, *outline.found]),
            dropped=dropped,
            knobs=knobs.asked(self.dialect, fields),
            long_marks=marks.long(fields),
        )

    def rewrite(self, call: ModelCall, rewrite: Rewrite) -> bytes:
        """See `Grammar`."""
        client = knobs.turned(splice.members(call.body), rewrite.clamps)
        own = {"model": splice.encode(rewrite.model), "max_tokens": splice.encode(rewrite.max_output)}
        if rewrite.openrouter:
            own.update(rewriting.routing(call, rewrite, client))
            own.update(caching.mark(call, rewrite))
            if rewrite.user:
                own["metadata"] = splice.encode({"user_id": rewrite.user})
        if rewrite.foreign:
            own["messages"] = messages_turns.without_state(client["messages"], rewrite.foreign)
        leave = frozenset() if rewrite.first_party else FIRST_PARTY
        kept = {name: raw for name, raw in client.items() if name not in leave}
        return rewriting.assemble(call, rewrite, kept, own)

    def reader(self, call: ModelCall) -> ReplyMachine:
        """See `Grammar`."""
        return StreamMachine(MessagesEar()) if call.stream else WholeMachine(MessagesEar())

    def refusal(self, deny: Deny, decision: str) -> Refusal:
        """See `Grammar`."""
        return refusals.messages(deny, decision)

    def stream_error(self, deny: Deny, decision: str, begun: str = "") -> bytes:
        """See `Grammar`."""
        return refusals.messages_event(deny, decision)

    def models(self, entries: Sequence[Mapping[str, Any]], page: Page = WHOLE) -> bytes:
        """See `Grammar`. Always whole: this list says itself that there is no more."""
        return listing.messages(entries)
