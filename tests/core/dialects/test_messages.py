"""The messages dialect: what is sent."""

from agentd.core.dialects import grammar
from agentd.core.dialects.grammar import Rewrite
from agentd.core.types.calls import Dialect
from core.dialects.talk import CHAT, FULL, MESSAGES, PLAIN, PLUGINS, anthropic, chat, sent, user


def test_a_messages_body() -> None:
    call = anthropic(
        user("q"), max_tokens=32000, metadata={"user_id": "device"}, context_management={"edits": []}, system="s"
    )
    assert sent(call) == {
        "model": "acme/one",
        "messages": [user("q")],
        "max_tokens": 500,
        "metadata": {"user_id": "u-1"},
        "system": "s",
        "provider": sent(chat(user("q")))["provider"],
        "plugins": PLUGINS,
        "session_id": "s-1",
    }
    assert sent(call, PLAIN) == {"model": "llama", "messages": [user("q")], "max_tokens": 500, "system": "s"}


def test_context_management_stays_with_anthropic_itself() -> None:
    call = anthropic(user("q"), context_management={"edits": []})
    assert sent(call, Rewrite("m", 5, openrouter=True, first_party=True))["context_management"] == {"edits": []}
    assert "context_management" not in sent(call)


def test_nothing_is_kept_between_calls() -> None:
    call = anthropic(user("q"))
    assert MESSAGES.rewrite(call, FULL) == MESSAGES.rewrite(call, FULL)
    assert grammar(Dialect.MESSAGES) is MESSAGES
    assert (CHAT.dialect, MESSAGES.dialect) == (Dialect.CHAT, Dialect.MESSAGES)
