"""What one model signed does not reach another: not when the session comes to it, nor in the calls after that, in which the
client sends the whole conversation again."""

import json
from typing import Any

from agentd.core.types.records import Kind
from gate.way import Box, failed, play, whole

Json = dict[str, Any]


def thought(by: str) -> Json:
    return {"role": "assistant", "content": by, "reasoning_details": [{"type": "reasoning.encrypted", "data": by}]}


def human(words: str) -> Json:
    return {"role": "user", "content": words}


async def say(box: Box, *messages: Json) -> list[str]:
    """A call of the session; whose thinking its last attempt was sent with."""
    asked = {"model": "agentd", "max_tokens": 100, "messages": list(messages)}
    assert (await box.ask(body=json.dumps(asked).encode())).status == 200
    sent = json.loads(box.upstream.sent[-1].body)["messages"]
    assert len(sent) == len(messages)
    return [message["content"] for message in sent if "reasoning_details" in message]


def foreign(box: Box) -> Any:
    return (box.record.of(Kind.DECISION)[-1].detail or {}).get("foreign")


def test_thinking_stays_with_the_model_that_signed_it() -> None:
    async def scene(box: Box) -> None:
        talk = [human("hello")]
        assert await say(box, *talk) == []
        talk += [thought("one"), human("go on")]
        assert await say(box, *talk) == ["one"]
        assert foreign(box) is None
        box.upstream.scripts = [failed(), [whole(model="small/two")]]
        assert await say(box, *talk) == []  # the second model gets none of it
        assert [dispatch.body.count(b"reasoning_details") for dispatch in box.upstream.sent[-2:]] == [1, 0]
        assert foreign(box) == 3
        talk += [thought("two"), human("and on")]
        assert await say(box, *talk) == ["two"]
        assert json.loads(box.upstream.sent[-1].body)["model"] == "small/two"
        assert foreign(box) == 3
        talk += [thought("two again"), human("and on")]
        assert await say(box, *talk) == ["two", "two again"]

    play(scene)
