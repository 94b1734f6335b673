"""The bytes of good answers and of each fault, in both APIs; those of the socket over a real one."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from agentd.simulator.wire import Pause, Piece, Stop, stream_pieces, whole_pieces
from simulator.served import (
    CHEAP,
    DEAR,
    GRAMMARS,
    asked,
    dechunk,
    engine,
    events,
    get,
    open_post,
    post,
    serve,
    whole,
)

QUIET_S = 0.3
"""Longer than any piece of an answer takes."""

APIS = ("chat", "messages")
TEXT = "[[sim:say Grüße, 世界! This is a text of more than one piece, for a stream.]]"


def frames(api: str, text: str = TEXT, fault: str = "", model: str = CHEAP) -> list[bytes]:
    served = serve(engine(), api, asked(f"{text} [[sim:fault {fault}]]" if fault else text, model, stream=True))
    assert served.answer is not None
    return GRAMMARS[api].frames(served.answer)


def pieces(api: str, *faults: str, slow_ms: int = 0) -> list[Piece]:
    answer = serve(engine(), api, asked(TEXT, stream=True)).answer
    assert answer is not None
    return stream_pieces(GRAMMARS[api], answer, faults, slow_ms)


def bytes_of(found: list[Piece]) -> bytes:
    return b"".join(piece for piece in found if isinstance(piece, bytes))


def test_a_chat_stream() -> None:
    made = frames("chat", "[[sim:reasoning hm]] [[sim:say hello]] " + '[[sim:tool f {"a": 1}]]')
    assert made[-1] == b"data: [DONE]\n\n"
    chunks = events(made)
    assert len({chunk["id"] for chunk in chunks}) == 1
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert [delta["reasoning"] for delta in deltas if "reasoning" in delta] == ["hm"]
    assert "".join(delta.get("content", "") for delta in deltas) == "hello"
    calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert calls[0]["function"]["name"] == "f"
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"a": 1}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"]][-1] == "tool_calls"
    assert (chunks[-1]["choices"], chunks[-1]["usage"]["completion_tokens"]) == ([], 6)


def test_a_messages_stream() -> None:
    made = frames("messages", "[[sim:reasoning hm]] [[sim:say hello]] " + '[[sim:tool f {"a": 1}]]', model=DEAR)
    found = events(made)
    kinds = [event["type"] for event in found]
    assert kinds[:2] == ["message_start", "ping"]
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 3
    deltas = [event["delta"]["type"] for event in found if event["type"] == "content_block_delta"]
    assert deltas == ["thinking_delta", "signature_delta", "text_delta", "input_json_delta", "input_json_delta"]
    assert found[-2]["delta"]["stop_reason"] == "tool_use"
    assert found[-2]["usage"]["input_tokens"] is None
    assert found[-2]["usage"]["cost"] > 0
    assert all(frame.startswith(b"event: ") and frame.endswith(b"\n\n") for frame in made)


def test_bodies_say_the_same_as_streams() -> None:
    body = asked("[[sim:say hello]] " + '[[sim:tool f {"a": 1}]]', DEAR, max_tokens=50)
    chat, messages = whole(engine(), "chat", body), whole(engine(), "messages", body)
    assert chat["choices"][0]["message"]["content"] == messages["content"][0]["text"] == "hello"
    assert chat["choices"][0]["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a": 1}'}
    assert messages["content"][1]["input"] == {"a": 1}
    assert (chat["choices"][0]["finish_reason"], messages["stop_reason"]) == ("tool_calls", "tool_use")
    assert "system_fingerprint" in chat
    assert chat["usage"]["cost"] == messages["usage"]["cost"]


@pytest.mark.parametrize("api", APIS)
def test_half_characters_do_not_stop_it(api: str) -> None:
    assert b"?" in b"".join(frames(api, "[[sim:say \ud83d]]"))


@pytest.mark.parametrize("api", APIS)
def test_usage_missing(api: str) -> None:
    assert not any(
        "usage" in event or "usage" in event.get("message", {}) for event in events(frames(api, fault="usage-missing"))
    )
    assert "usage" not in whole(engine(), api, asked("[[sim:fault usage-missing]]"))


@pytest.mark.parametrize("api", APIS)
def test_cost_null(api: str) -> None:
    last = [event["usage"] for event in events(frames(api, fault="usage-null-cost")) if "usage" in event][-1]
    assert last["cost"] is None


def test_usage_beside_a_choice() -> None:
    last = events(frames("chat", fault="usage-nonempty-choices"))[-1]
    assert (last["choices"][0]["finish_reason"], last["choices"][0]["delta"]["content"]) == (None, "")
    assert last["usage"]["prompt_tokens"] > 0


def test_unknown_fields_and_events() -> None:
    for chunk in events(frames("chat", fault="unknown-fields"))[:-1]:
        assert "mood" in chunk
        assert chunk["choices"][0]["delta"].get("aroma") == 7
    assert "sparkle" in [event["type"] for event in events(frames("messages", fault="unknown-fields"))]
    assert whole(engine(), "chat", asked("[[sim:fault unknown-fields]]"))["service_tier"] == "interstellar"


@pytest.mark.parametrize("api", APIS)
def test_crlf_everywhere_and_nothing_else_changed(api: str) -> None:
    plain, odd = bytes_of(pieces(api)), bytes_of(pieces(api, "crlf"))
    assert odd.count(b"\n") == odd.count(b"\r\n") > 0
    assert odd.replace(b"\r\n", b"\n") == plain


@pytest.mark.parametrize("api", APIS)
def test_comments_before_and_between(api: str) -> None:
    found = [piece for piece in pieces(api, "comments") if isinstance(piece, bytes)]
    assert found[0].startswith(b": ")
    assert sum(piece.startswith(b": ") for piece in found) > len(found) // 2 - 1


@pytest.mark.parametrize("api", APIS)
def test_characters_are_split(api: str) -> None:
    found = [piece for piece in pieces(api, "split-utf8") if isinstance(piece, bytes)]
    broken = 0
    for piece in found:
        try:
            piece.decode()
        except UnicodeDecodeError:
            broken += 1
    assert broken >= 2
    assert b"".join(found) == bytes_of(pieces(api))


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("fault", "last"), [("hang-mid", Stop.HANG), ("cut-mid", Stop.CUT), ("lying-length", Stop.CUT), ("end-mid", None)]
)
def test_breaking_off_in_the_middle(api: str, fault: str, last: Stop | None) -> None:
    all_of, found = pieces(api), pieces(api, fault)
    assert (found[-1] if isinstance(found[-1], Stop) else None) is last
    assert bytes_of(all_of).startswith(bytes_of(found))
    assert 0 < len(bytes_of(found)) < len(bytes_of(all_of))


@pytest.mark.parametrize(
    ("form", "code", "done"), [("int", 502, False), ("string", "server_error", False), ("int-done", 502, True)]
)
def test_an_error_in_the_middle_of_chat(form: str, code: int | str, done: bool) -> None:
    data = bytes_of(pieces("chat", f"error-mid:{form}"))
    last = events([data])[-1]
    assert last["error"]["code"] == code
    assert last["choices"][0]["finish_reason"] == "error"
    assert data.endswith(b"[DONE]\n\n") == done


def test_an_error_in_the_middle_of_messages() -> None:
    last = events([bytes_of(pieces("messages", "error-mid:string"))])[-1]
    assert (last["type"], last["error"]["type"], last["error"]["error_type"]) == ("error", "api_error", "server_error")


@pytest.mark.parametrize("api", APIS)
def test_slow_waits_before_each_piece(api: str) -> None:
    found = pieces(api, slow_ms=5)
    assert found[::2] == [Pause(5)] * (len(found) // 2)
    assert Pause(20) in pieces(api, "slow")


def test_an_end_mark_too_many() -> None:
    assert bytes_of(pieces("messages", "done-extra")).endswith(b"data: [DONE]\n\n")


def test_bodies_with_faults() -> None:
    body = b'{"a":"\xc3\xbc"}'
    assert whole_pieces(body, (), 0) == ([body], len(body))
    assert whole_pieces(body, ("blank-lines",), 0) == ([b"\n\n   \n" + body], len(body) + 6)
    assert whole_pieces(body, ("lying-length",), 0) == ([body, Stop.CUT], len(body) + 100)
    assert whole_pieces(body, ("cut-mid",), 0) == ([body[:5], Stop.CUT], len(body))
    assert whole_pieces(body, ("hang-mid",), 0) == ([body[:5], Stop.HANG], len(body))
    assert whole_pieces(body, ("split-utf8",), 7) == ([Pause(7), body[:7], Pause(1), body[7:]], None)


def books(simulator: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = get(simulator, "/__sim/books")[1]["generations"]
    return found


@pytest.mark.parametrize("api", APIS)
def test_on_the_socket_a_good_stream_ends_well(simulator: Path, api: str) -> None:
    status, head, body = post(simulator, api, asked(stream=True))
    data, ended = dechunk(body)
    assert (status, ended) == (200, True)
    assert b"text/event-stream" in head
    assert b"X-Generation-Id: gen-" in head
    assert data.endswith(b"[DONE]\n\n" if api == "chat" else b'data: {"type":"message_stop"}\n\n')


@pytest.mark.parametrize("api", APIS)
def test_on_the_socket_a_cut_stream_has_no_end(simulator: Path, api: str) -> None:
    status, _, body = post(simulator, api, asked("[[sim:fault cut-mid]]", stream=True))
    data, ended = dechunk(body)
    assert (status, ended) == (200, False)
    assert data


def test_on_the_socket_an_early_end_looks_whole(simulator: Path) -> None:
    _, _, body = post(simulator, "chat", asked("[[sim:fault end-mid]]", stream=True))
    data, ended = dechunk(body)
    assert ended
    assert b"[DONE]" not in data


def test_on_the_socket_a_length_lies(simulator: Path) -> None:
    _, head, body = post(simulator, "chat", asked("[[sim:fault lying-length]]"))
    promised = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert len(body) == promised - 100
    assert json.loads(body)


def test_on_the_socket_errors_are_plain_json(simulator: Path) -> None:
    status, head, body = post(simulator, "messages", asked("[[sim:fault status:529]]", stream=True))
    assert status == 529
    assert b"application/json" in head
    assert json.loads(body)["error"]["type"] == "overloaded_error"


def test_on_the_socket_a_200_can_be_an_error(simulator: Path) -> None:
    status, _, body = post(simulator, "chat", asked("[[sim:fault body200error]]"))
    assert (status, list(json.loads(body))) == (200, ["error", "user_id"])
    status, _, body = post(simulator, "chat", asked("[[sim:fault choice-error]]"))
    choice = json.loads(body)["choices"][0]
    assert (status, choice["finish_reason"], choice["error"]["code"]) == (200, "error", 502)


def test_on_the_socket_a_page(simulator: Path) -> None:
    status, head, body = post(simulator, "chat", asked("[[sim:fault html429]]"))
    assert status == 429
    assert b"text/html" in head
    assert body.startswith(b"<!DOCTYPE")


@pytest.mark.parametrize(("fault", "starts"), [("hang-before", b""), ("hang-mid", b"HTTP/1.1 200 OK")])
def test_on_the_socket_silence_lasts_until_the_client_leaves(simulator: Path, fault: str, starts: bytes) -> None:
    with open_post(simulator, "chat", asked(f"[[sim:fault {fault}]]", stream=True)) as peer:
        data, ended = until_silence(peer)
    assert not ended
    assert data[: len(starts)] == starts
    assert bool(data) == bool(starts)


def until_silence(peer: socket.socket) -> tuple[bytes, bool]:
    """What comes until nothing comes for a while, and whether the other side closed."""
    peer.settimeout(QUIET_S)
    data = b""
    try:
        while piece := peer.recv(65536):
            data += piece
    except TimeoutError:
        return data, False
    return data, True


def test_on_the_socket_a_client_that_leaves_is_noted(simulator: Path) -> None:
    before = len(books(simulator))
    with open_post(simulator, "chat", asked("[[sim:long 4000]] [[sim:slow 5]]", "openai/gpt-5", stream=True)) as peer:
        assert peer.recv(65536).startswith(b"HTTP/1.1 200")
    entry = books(simulator)[before]
    for _ in range(1000):
        if entry["cancelled"]:
            break
        entry = books(simulator)[before]
    assert entry["cancelled"] is True
    assert entry["native_tokens_completion"] < 4000


@pytest.mark.parametrize("key", ["", "sk-or-wrong"])
def test_on_the_socket_the_key_counts(simulator: Path, key: str) -> None:
    assert post(simulator, "chat", asked(), key)[0] == 401
    status, _, body = post(simulator, "messages", asked(), key)
    assert (status, json.loads(body)["error"]["type"]) == (401, "authentication_error")
    assert get(simulator, "/api/v1/models", key)[0] == 401
