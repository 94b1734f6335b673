"""OpenAI responses, as OpenRouter speaks it: without state.

Nothing is kept at the upstream from one call to the next: `store` is always false, and what would refer to something kept is
refused. Both names of a session, which choose where a cache is and how the upstream groups its log, become agentd's own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from agentd.core.dialects import caching, firewall, knobs, listing, marks, refusals, responses_turns, rewriting, splice
from agentd.core.dialects.asked import cap_of, flag_of, model_of
from agentd.core.dialects.grammar import WHOLE, Page, Refusal, ReplyMachine, Rewrite
from agentd.core.dialects.reading import load
from agentd.core.dialects.replies import StreamMachine, WholeMachine
from agentd.core.dialects.responses_reply import ResponsesEar
from agentd.core.dialects.tools import offered
from agentd.core.dialects.turns import shape_of
from agentd.core.types.calls import Dialect, ModelCall
from agentd.core.types.verdicts import Deny


class Responses:
    """Fulfils `Grammar`."""

    dialect = Dialect.RESPONSES

    def read(self, body: bytes) -> ModelCall:
        """See `Grammar`."""
        fields = load(body)
        found, dropped = firewall.inspect(self.dialect, fields)
        model = model_of(fields)
        tools = offered(self.dialect, fields)
        outline = responses_turns.outline(fields)
        return ModelCall(
            dialect=self.dialect,
            body=body,
            model_asked=model,
            stream=flag_of(fields, "stream"),
            wants_usage=True,
            max_output=cap_of(fields, "max_output_tokens"),
            shape=shape_of(outline, tools.names),
            smuggled=firewall.told([*firewall.model_asked(model), *found, *tools.found, *outline.found]),
            dropped=dropped,
            knobs=knobs.asked(self.dialect, fields),
            long_marks=marks.long(fields),
        )

    def rewrite(self, call: ModelCall, rewrite: Rewrite) -> bytes:
        """See `Grammar`."""
        client = knobs.turned(splice.members(call.body), rewrite.clamps)
        own = {
            "model": splice.encode(rewrite.model),
            "max_output_tokens": splice.encode(rewrite.max_output),
            "store": splice.encode(False),
        }
        if rewrite.openrouter:
            own.update(_for_openrouter(call, rewrite, client))
        if rewrite.foreign:
            own["input"] = responses_turns.without_state(client["input"], rewrite.foreign)
        return rewriting.assemble(call, rewrite, client, own)

    def reader(self, call: ModelCall) -> ReplyMachine:
        """See `Grammar`."""
        return StreamMachine(ResponsesEar()) if call.stream else WholeMachine(ResponsesEar())

    def refusal(self, deny: Deny, decision: str) -> Refusal:
        """See `Grammar`."""
        return refusals.responses(deny, decision)

    def stream_error(self, deny: Deny, decision: str, begun: str = "") -> bytes:
        """See `Grammar`."""
        return refusals.responses_event(deny, decision, begun)

    def models(self, entries: Sequence[Mapping[str, Any]], page: Page = WHOLE) -> bytes:
        """See `Grammar`: the list is the same as for chat completions."""
        return listing.chat(entries, page)


def _for_openrouter(call: ModelCall, rewrite: Rewrite, client: Mapping[str, splice.Written]) -> dict[str, bytes]:
    own = {**rewriting.routing(call, rewrite, client), **caching.mark(call, rewrite)}
    if rewrite.session and "prompt_cache_key" in client:
        own["prompt_cache_key"] = splice.encode(rewrite.session)
    if rewrite.user:
        own["user"] = splice.encode(rewrite.user)
    return own
