"""OpenAI chat completions, as OpenRouter and OpenAI-compatible servers speak it.

Text, tools and options pass through; what is agentd's is the model, the output cap, where it may be served and under which
names. Usage is always wanted: plain servers have to be asked for it, and the chunk that brings it is kept from clients that
did not ask.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from agentd.core.dialects import caching, chat_turns, firewall, knobs, listing, marks, refusals, rewriting, splice
from agentd.core.dialects.asked import cap_of, flag_of, model_of
from agentd.core.dialects.chat_reply import ChatEar
from agentd.core.dialects.grammar import WHOLE, Page, Refusal, ReplyMachine, Rewrite
from agentd.core.dialects.reading import load
from agentd.core.dialects.replies import StreamMachine, WholeMachine
from agentd.core.dialects.tools import offered
from agentd.core.dialects.turns import shape_of
from agentd.core.types.calls import Dialect, ModelCall
from agentd.core.types.verdicts import Deny


class Chat:
    """Fulfils `Grammar`."""

    dialect = Dialect.CHAT

    def read(self, body: bytes) -> ModelCall:
        """See `Grammar`."""
        fields = load(body)
        found, dropped = firewall.inspect(self.dialect, fields)
        model = model_of(fields)
        tools = offered(self.dialect, fields)
        outline = chat_turns.outline(fields)
        caps = [cap for name in ("max_completion_tokens", "max_tokens") if (cap := cap_of(fields, name)) is not None]
        return ModelCall(
            dialect=self.dialect,
            body=body,
            model_asked=model,
            stream=flag_of(fields, "stream"),
            wants_usage=_wants_usage(fields),
            max_output=min(caps, default=None),
            shape=shape_of(outline, tools.names),
            smuggled=firewall.told([*firewall.model_asked(model), *found, *tools.found, *outline.found]),
            dropped=dropped,
            knobs=knobs.asked(self.dialect, fields),
            long_marks=marks.long(fields),
        )

    def rewrite(self, call: ModelCall, rewrite: Rewrite) -> bytes:
        """See `Grammar`."""
        client = knobs.turned(splice.members(call.body), rewrite.clamps)
        own = {"model": splice.encode(rewrite.model)}
        if rewrite.openrouter:
            own.update(_for_openrouter(call, rewrite, client))
        else:
            own.update(_for_plain(call, rewrite))
        if rewrite.foreign:
            own["messages"] = chat_turns.without_state(client["messages"], rewrite.foreign)
        return rewriting.assemble(call, rewrite, client, own)

    def reader(self, call: ModelCall) -> ReplyMachine:
        """See `Grammar`."""
        ear = ChatEar(call.wants_usage)
        return StreamMachine(ear) if call.stream else WholeMachine(ear)

    def refusal(self, deny: Deny, decision: str) -> Refusal:
        """See `Grammar`."""
        return refusals.chat(deny, decision)

    def stream_error(self, deny: Deny, decision: str, begun: str = "") -> bytes:
        """See `Grammar`."""
        return refusals.chat_event(deny, decision)

    def models(self, entries: Sequence[Mapping[str, Any]], page: Page = WHOLE) -> bytes:
        """See `Grammar`."""
        return listing.chat(entries, page)


def _wants_usage(fields: Mapping[str, Any]) -> bool:
    """Whether the client asked for usage in the stream, in either of the ways there are."""
    asked = ((fields.get("stream_options"), "include_usage"), (fields.get("usage"), "include"))
    return any(isinstance(option, dict) and option.get(key) is True for option, key in asked)


def _for_openrouter(call: ModelCall, rewrite: Rewrite, client: Mapping[str, splice.Written]) -> dict[str, bytes]:
    own = {**rewriting.routing(call, rewrite, client), **caching.mark(call, rewrite)}
    own["max_completion_tokens"] = splice.encode(rewrite.max_output)
    if rewrite.session and "prompt_cache_key" in client:
        own["prompt_cache_key"] = splice.encode(rewrite.session)
    if rewrite.user:
        own["user"] = splice.encode(rewrite.user)
    return own


def _for_plain(call: ModelCall, rewrite: Rewrite) -> dict[str, bytes]:
    """A server beside OpenRouter: the older name of the cap is the one that all of them know."""
    own = {"max_tokens": splice.encode(rewrite.max_output)}
    if call.stream:
        own["stream_options"] = splice.encode({"include_usage": True})
    return own
