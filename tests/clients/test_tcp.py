"""Unmodified clients over TCP, by token: the official SDKs and Claude Code; and what they make of a refused one."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from clients import claude
from clients.tcp import TcpAgent, agent_over_tcp
from harness.daemon import Daemon, discard, start

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def agent() -> Iterator[TcpAgent]:
    """One daemon for all that leave it as it is."""
    made = agent_over_tcp(start)
    yield made
    discard(made.daemon)


def _said(text: str) -> Any:
    return [{"role": "user", "content": text}]


def _decisions(daemon: Daemon) -> list[dict[str, Any]]:
    return [line for line in daemon.lines() if line["kind"] == "decision"]


def test_openai(agent: TcpAgent) -> None:
    with openai.OpenAI(base_url=f"{agent.url}/v1", api_key=agent.token) as client:
        answer = client.chat.completions.create(model="chat", messages=_said("[[sim:say fine]]"))
        assert answer.choices[0].message.content == "fine"
        stream = client.chat.completions.create(model="chat", messages=_said("[[sim:say one two]]"), stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == "one two"
        assert "chat" in {model.id for model in client.models.list()}
    line = _decisions(agent.daemon)[-1]
    assert (line["agent"], line["caller"]["transport"], line["status"]) == ("main", "tcp", "done")


@pytest.mark.parametrize("how", ["api_key", "auth_token"])
def test_anthropic(agent: TcpAgent, how: str) -> None:
    credentials: Any = {how: agent.token}
    with anthropic.Anthropic(base_url=agent.url, **credentials) as client:
        answer = client.messages.create(model="chat", max_tokens=50, messages=_said("[[sim:say fine]]"))
        (block,) = answer.content
        assert block.type == "text"
        assert block.text == "fine"
        with client.messages.stream(model="chat", max_tokens=50, messages=_said("[[sim:say one two]]")) as stream:
            assert "".join(stream.text_stream) == "one two"


def test_without_a_valid_token_each_raises_once_what_its_users_catch(agent: TcpAgent) -> None:
    before = len(_decisions(agent.daemon))
    with (
        openai.OpenAI(base_url=f"{agent.url}/v1", api_key="sk-none") as chat,
        pytest.raises(openai.AuthenticationError),
    ):
        chat.chat.completions.create(model="chat", messages=_said("hello"))
    with (
        anthropic.Anthropic(base_url=agent.url, api_key="sk-none") as messages,
        pytest.raises(anthropic.AuthenticationError, match="local token"),
    ):
        messages.messages.create(model="chat", max_tokens=50, messages=_said("hello"))
    assert [line["code"] for line in _decisions(agent.daemon)[before:]] == ["token.unknown"] * 2


@pytest.mark.parametrize("how", ["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"])
def test_claude_code_does_a_turn_with_a_tool_call(agent: TcpAgent, tmp_path: Path, how: str) -> None:
    claude.binary()
    prompt = "[[sim:shell touch marker && echo the-file-is-there]]"
    turn = claude.turn_over_tcp(
        agent.url, prompt, tmp_path, model="agentd/implementation", credentials={how: agent.token}
    )

    assert (turn.work / "marker").exists()
    assert "the-file-is-there" in turn.said
    first, second = _decisions(agent.daemon)[-2:]
    assert (first["agent"], first["class"], second["code"]) == ("main", "implementation", "tier.kept")
    assert (first["caller"]["transport"], first["caller"]["uid"]) == ("tcp", os.geteuid())


def test_claude_code_tells_its_user_that_the_token_is_revoked(
    start_agentd: Callable[..., Daemon], tmp_path: Path
) -> None:
    claude.binary()
    agent = agent_over_tcp(start_agentd)
    assert agent.daemon.ctl("agent", "token", "revoke", agent.token).returncode == 0
    credentials = {"ANTHROPIC_AUTH_TOKEN": agent.token}
    turn = claude.turn_over_tcp(agent.url, "hello", tmp_path, model="chat", credentials=credentials)
    assert (turn.status, turn.result["is_error"]) == (1, True)
    assert "revoked" in json.dumps(turn.result)
    lines = _decisions(agent.daemon)
    assert {line["code"] for line in lines} == {"token.revoked"}
    assert len(lines) <= 1 + 2 * claude.MAX_RETRIES
