"""The few fields of a body that the way reads: model, stream, output cap."""

import pytest

from agentd.core.dialects import grammar
from agentd.core.types.calls import Dialect
from agentd.core.types.errors import Unreadable
from core.dialects.talk import CHAT, Json, body_of, sent

CAP_NAMES = ("max_tokens", "max_completion_tokens", "max_output_tokens")
CAPS: list[tuple[Dialect, Json, int | None]] = [
    (Dialect.CHAT, {}, None),
    (Dialect.CHAT, {"max_tokens": 7}, 7),
    (Dialect.CHAT, {"max_completion_tokens": 7, "max_tokens": 9}, 7),
    (Dialect.CHAT, {"max_completion_tokens": None, "max_tokens": 9}, 9),
    (Dialect.MESSAGES, {"max_tokens": 7}, 7),
    (Dialect.MESSAGES, {}, None),
    (Dialect.RESPONSES, {"max_output_tokens": 7, "max_tokens": 5}, 7),
    (Dialect.RESPONSES, {}, None),
]


@pytest.mark.parametrize(("dialect", "fields", "cap"), CAPS)
def test_the_clients_cap_is_read_and_agentds_is_sent(dialect: Dialect, fields: Json, cap: int | None) -> None:
    call = grammar(dialect).read(body_of(dialect, **fields))
    assert call.max_output == cap
    out = sent(call)
    assert [out[name] for name in CAP_NAMES if name in out] == [500]


def in_words_of(dialect: Dialect, fields: Json) -> Json:
    """The fields under the names of a dialect."""
    other = {"max_tokens": "max_output_tokens"} if dialect is Dialect.RESPONSES else {}
    return {other.get(name, name): value for name, value in fields.items()}


ODD: list[Json] = [
    {"model": 7},
    {"model": ["a"]},
    {"model": "m" * 257},
    {"stream": "yes"},
    {"stream": 1},
    {"max_tokens": 0},
    {"max_tokens": -5},
    {"max_tokens": True},
    {"max_tokens": "9"},
    {"max_tokens": 1.5},
]


@pytest.mark.parametrize("fields", ODD)
@pytest.mark.parametrize("dialect", list(Dialect))
def test_the_few_fields_that_are_read_must_have_their_form(dialect: Dialect, fields: Json) -> None:
    with pytest.raises(Unreadable) as caught:
        grammar(dialect).read(body_of(dialect, **in_words_of(dialect, fields)))
    assert caught.value.code == "request.shape"
    assert caught.value.message.startswith(next(iter(in_words_of(dialect, fields))))


def test_a_missing_model_is_no_fault() -> None:
    call = CHAT.read(b'{"messages": [{"role": "user", "content": "q"}]}')
    assert (call.model_asked, call.stream, sent(call)["model"]) == ("", False, "acme/one")
