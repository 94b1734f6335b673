"""Nothing in a message makes the upstream fetch, or look up what it keeps; words about addresses are only words."""

import pytest

from agentd.core.dialects import grammar
from agentd.core.types.calls import Dialect
from core.dialects.talk import Json, assistant, body, result, use, user

URL = "https://user:pass@files.example.org/secret/path?token=1"
SHOWN = "https://files.example.org"
PNG = "data:image/png;base64,AA"

# dialect, part of a user message, what is refused of it
PARTS: list[tuple[str, Json, str | None]] = [
    ("chat", {"type": "image_url", "image_url": {"url": PNG}}, None),
    ("chat", {"type": "image_url", "image_url": {"url": " DATA:image/png;base64,AA"}}, None),
    ("chat", {"type": "image_url", "image_url": {"url": URL}}, SHOWN),
    ("chat", {"type": "image_url", "image_url": {"url": " HTTPS://x.test/a"}}, "HTTPS://x.test"),
    ("chat", {"type": "image_url", "image_url": URL}, SHOWN),
    ("chat", {"type": "image_url", "image_url": {"url": "//x.test/a"}}, "an address"),
    ("chat", {"type": "image_url", "image_url": {"url": "ftp://x.test"}}, "ftp://x.test"),
    ("chat", {"type": "file", "file": {"filename": "a: b", "file_data": "data:application/pdf;base64,AA"}}, None),
    ("chat", {"type": "file", "file": {"file_data": "JVBERi0x"}}, None),
    ("chat", {"type": "file", "file": {"file_data": URL}}, SHOWN),
    ("chat", {"type": "file", "file": {"file_url": URL}}, SHOWN),
    ("chat", {"type": "file", "file": {"file_id": "file-1"}}, "a file kept by the upstream"),
    ("chat", {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}, None),
    ("chat", {"type": "video_url", "video_url": {"url": URL}}, SHOWN),
    ("chat", {"type": "unheard_of", "deep": [[{"list": {"url": [URL]}}]]}, SHOWN),
    ("chat", {"type": "text", "text": f"see {URL}", "url": URL}, None),
    ("messages", {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}, None),
    ("messages", {"type": "image", "source": {"type": "url", "url": URL}}, SHOWN),
    ("messages", {"type": "image", "source": {"type": "file", "file_id": "f"}}, "a file kept by the upstream"),
    ("messages", {"type": "document", "source": {"type": "url", "url": URL}}, SHOWN),
    ("messages", {"type": "document", "source": {"type": "text", "data": f"see: {URL}"}, "title": URL}, None),
    (
        "messages",
        {
            "type": "document",
            "source": {"type": "content", "content": [{"type": "image", "source": {"type": "url", "url": URL}}]},
        },
        SHOWN,
    ),
    ("messages", {"type": "container_upload", "file_id": "f"}, "a file kept by the upstream"),
    ("messages", result({"type": "image", "source": {"type": "url", "url": URL}}), SHOWN),
    ("messages", result(f"the page {URL} says"), None),
]


@pytest.mark.parametrize(("where", "part", "refused"), PARTS)
def test_parts(where: str, part: Json, refused: str | None) -> None:
    call = grammar(Dialect(where)).read(body([user("q", part)]))
    assert [(one.what, one.refused) for one in call.smuggled] == ([(refused, True)] if refused else [])
    assert "secret" not in repr(call.smuggled)
    assert "pass" not in repr(call.smuggled)


def test_the_place_is_named() -> None:
    call = grammar(Dialect.CHAT).read(body([user("q"), user("r", {"type": "image_url", "image_url": {"url": URL}})]))
    assert call.smuggled[0].where == "messages[1].content[1].image_url.url"


def test_arguments_of_tools_are_the_agents_own_words() -> None:
    assert grammar(Dialect.MESSAGES).read(body([user("q"), assistant(use("fetch"))])).smuggled == ()


def test_a_system_prompt_is_looked_at_too() -> None:
    picture = {"type": "image", "source": {"type": "url", "url": URL}}
    assert grammar(Dialect.MESSAGES).read(body(system=[picture])).smuggled[0].refused


def test_a_part_with_thousands_of_doors_costs_little_and_is_refused() -> None:
    deep: Json = {"url": [URL] * 5_000}
    for _ in range(60):
        deep = {"k" * 1_000: deep, "other": "x"}
    call = grammar(Dialect.CHAT).read(body([user("q", {"type": "unheard_of", **deep})]))
    assert {one.refused for one in call.smuggled} == {True}
    assert max(len(one.where) for one in call.smuggled) < 200


_FAR = {"type": "image", "source": {"type": "url", "url": "http://evil.invalid/x.png"}}
_RESULT = {"type": "tool_result", "tool_use_id": "a"}
_DOCUMENT = {"type": "document", "source": {"type": "url", "url": "http://evil.invalid/x.pdf"}}


@pytest.mark.parametrize(
    "part",
    [
        {**_RESULT, "content": [{**_RESULT, "content": [_FAR]}]},
        {"type": "mcp_tool_result", "tool_use_id": "a", "content": [_FAR]},
        {
            "type": "web_fetch_tool_result",
            "tool_use_id": "a",
            "content": {"type": "web_fetch_result", "content": _DOCUMENT},
        },
    ],
    ids=["a result in a result", "an mcp result", "a fetched document"],
)
def test_an_address_hidden_in_a_result_is_refused(part: Json) -> None:
    assert any(one.refused for one in grammar(Dialect.MESSAGES).read(body([user("q", part)])).smuggled)


def test_pictures_beside_the_content_are_looked_at() -> None:
    far = {"type": "image_url", "image_url": {"url": "http://evil.invalid/x.png"}}
    answer = {"role": "assistant", "content": "here", "images": [far]}
    assert any(one.refused for one in grammar(Dialect.CHAT).read(body([user("q"), answer])).smuggled)
