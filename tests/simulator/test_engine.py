"""What is refused, filtered, cached, priced and booked, without a socket."""

from typing import Any

import pytest

from agentd.core.accounting.price import cost_of
from agentd.core.types.receipts import Usage
from agentd.simulator.problems import AVAILABILITY, ERROR_TYPES, TYPE_OF_STATUS
from agentd.simulator.words import Problem
from simulator.served import CATALOGUE, CHEAP, DEAR, GRAMMARS, Hands, asked, engine, serve, whole

LONG = "word " * 5000


def refused(api: str, body: dict[str, Any], **headers: str) -> Problem:
    problem = serve(engine(), api, body, **headers).problem
    assert problem is not None
    return problem


@pytest.mark.parametrize("api", ["chat", "messages"])
@pytest.mark.parametrize(
    "fields",
    [
        {"messages": []},
        {"messages": None},
        {"messages": "hello"},
        {"messages": ["hello"]},
        {"messages": [{"role": "boss", "content": "x"}]},
        {"messages": [{"role": "user", "content": 5}]},
        {"model": 5},
        {"stream": "yes"},
        {"max_tokens": 0},
        {"max_tokens": "10"},
        {"max_tokens": True},
        {"models": ["a/b"], "fallbacks": [{"model": "a/b"}]},
        {"fallbacks": [{"model": "a/b"}] * 4},
        {"store": True},
        {"previous_response_id": "r-1"},
        {"stop": ["a"] * 5},
        {"reasoning_effort": "low", "reasoning": {"effort": "high"}},
        {"provider": "anthropic"},
        {"provider": {"only": "anthropic"}},
        {"session_id": "x" * 257},
        {"tools": {}},
        {"cache_control": {"type": "eternal"}},
        {"cache_control": {"type": "ephemeral", "ttl": "1d"}},
    ],
    ids=str,
)
def test_what_breaks_the_contract_is_a_400(api: str, fields: dict[str, Any]) -> None:
    problem = refused(api, asked(**fields) if "model" not in fields else {**asked(), **fields})
    assert (problem.status, problem.error_type) == (400, "invalid_request")


@pytest.mark.parametrize("api", ["chat", "messages"])
def test_at_most_four_marks(api: str) -> None:
    part = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
    four = {"model": DEAR, "messages": [{"role": "user", "content": [part] * 4}]}
    assert serve(engine(), api, four).answer is not None
    assert "maximum of 4" in refused(api, {**four, "cache_control": {"type": "ephemeral"}}).message


def test_every_error_type_has_its_shape_in_both_apis() -> None:
    for name, row in ERROR_TYPES.items():
        problem = refused("chat", asked(f"[[sim:fault type:{name}]]"))
        assert problem.status == row.status
        chat = GRAMMARS["chat"].error(problem, "gen-1")
        assert chat["error"]["code"] == row.status
        assert ("metadata" in chat["error"]) == (row.status != 500)
        messages = GRAMMARS["messages"].error(problem, "gen-1")
        assert (messages["type"], messages["error"]["type"], messages["request_id"]) == (
            "error",
            row.messages_type,
            "gen-1",
        )
        assert messages["error"]["error_type"] == name


@pytest.mark.parametrize("status", [*TYPE_OF_STATUS, 418, 599])
def test_every_status(status: int) -> None:
    assert refused("chat", asked(f"[[sim:fault status:{status}]]")).status == status
    assert refused("chat", asked(model=f"sim/status.{status}")).status == status


@pytest.mark.parametrize("code", AVAILABILITY)
def test_every_availability(code: str) -> None:
    problem = refused("chat", asked(f"[[sim:fault availability:{code}]]"))
    body = GRAMMARS["chat"].error(problem, None)["error"]
    assert body["availability"]["code"] == code
    assert body["http_status"] == body["code"] == problem.status
    assert (body["availability"]["retryable"]) == (problem.status in (429, 503))
    assert bool(problem.headers) == body["availability"]["retryable"]


@pytest.mark.parametrize(
    ("form", "header"),
    [
        ("int", "7"),
        ("float", "1.5"),
        ("negative", "-3"),
        ("huge", "86400"),
        ("date", "Fri, 15 Jan 2027 08:00:09 GMT"),
        ("soon", "soon"),
        ("absent", None),
    ],
)
def test_every_form_of_retry_after(form: str, header: str | None) -> None:
    problem = refused("chat", asked(f"[[sim:fault retry-after:{form}]]"))
    assert problem.status == 429
    assert dict(problem.headers).get("Retry-After") == header


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("empty402", 402, "Insufficient credits"),
        ("promptlimit402", 402, "Prompt tokens limit exceeded"),
        ("keylimit403", 403, "Key limit exceeded (daily limit)"),
        ("budget403", 403, "budget of $50 exceeded"),
        ("guardrail403", 403, "guardrail"),
        ("moderation403", 403, "flagged"),
        ("management403", 403, "Only management keys"),
    ],
)
def test_the_traps_of_402_and_403(fault: str, status: int, words: str) -> None:
    problem = refused("chat", asked(f"[[sim:fault {fault}]]"))
    assert problem.status == status
    assert words in problem.message


def test_what_tells_the_403_apart() -> None:
    assert "patterns" in refused("chat", asked("[[sim:fault guardrail403]]")).metadata
    assert {"reasons", "flagged_input"} <= refused("chat", asked("[[sim:fault moderation403]]")).metadata.keys()
    assert not refused("chat", asked("[[sim:fault keylimit403]]")).metadata


def test_afford_gives_way_to_a_smaller_cap() -> None:
    body = asked("[[sim:fault afford:500]]", max_tokens=4000)
    problem = refused("chat", body)
    assert "You requested up to 4000 tokens, but can only afford 500" in problem.message
    assert "only afford 250" in str(problem.metadata["previous_errors"])
    assert serve(engine(), "chat", {**body, "max_tokens": 450}).answer is not None


def test_once_fails_once_for_each_prompt_and_model() -> None:
    made = engine()
    body = asked("[[sim:fault once:429]]")
    first, second, third = (serve(made, "chat", body) for _ in range(3))
    assert first.problem is not None
    assert first.problem.status == 429
    assert second.answer is not None
    assert third.answer is not None
    assert serve(made, "chat", {**body, "model": DEAR}).problem is not None


def test_a_page_instead_of_json() -> None:
    problem = refused("chat", asked("[[sim:fault html429]]"))
    assert problem.raw is not None
    assert problem.raw[0].startswith("text/html")


def test_the_key_can_come_back_in_an_error() -> None:
    assert "Bearer hush" in refused("chat", asked("[[sim:fault echo-key]]"), authorization="Bearer hush").message


@pytest.mark.parametrize("fault", ["nonsense", "status", "status:x", "availability:x", "type:x", "afford:lots"])
def test_a_fault_that_nobody_knows_is_an_error(fault: str) -> None:
    assert "knows no fault" in refused("chat", asked(f"[[sim:fault {fault}]]")).message


def test_a_refusal_costs_nothing() -> None:
    made = engine()
    serve(made, "chat", asked("[[sim:fault status:502]]"))
    serve(made, "chat", asked("[[sim:fault hang-before]]"))
    assert made.books.entries == ()


def test_unknown_and_vanished_models() -> None:
    assert refused("chat", asked(model="acme/none")).availability is not None
    gone = serve(engine(vanished=frozenset({CHEAP})), "chat", asked()).problem
    assert gone is not None
    assert gone.status == 400


@pytest.mark.parametrize("model", ["", "openrouter/auto"])
def test_no_model_means_the_account_default(model: str) -> None:
    assert whole(engine(), "chat", asked(model=model))["model"] == DEAR


def test_a_routing_suffix_is_left_aside() -> None:
    assert whole(engine(), "chat", asked(model=CHEAP + ":nitro"))["model"] == CHEAP
    assert refused("chat", asked(model=CHEAP + ":free")).status == 400


@pytest.mark.parametrize(
    ("model", "provider", "served"),
    [
        (DEAR, {}, "Anthropic"),
        (DEAR, {"zdr": True}, "Google"),
        (DEAR, {"order": ["amazon-bedrock"]}, "Amazon Bedrock"),
        (DEAR, {"order": ["elsewhere"]}, "Anthropic"),
        (DEAR, {"only": ["google-vertex/europe"]}, "Google"),
        (DEAR, {"ignore": ["anthropic"]}, "Google"),
        (DEAR, {"max_price": {"prompt": 5, "completion": "25"}}, "Anthropic"),
        ("deepseek/deepseek-v4-flash", {}, "DeepSeek"),
        ("deepseek/deepseek-v4-flash", {"data_collection": "deny"}, "Fireworks"),
    ],
)
def test_who_serves(model: str, provider: dict[str, Any], served: str) -> None:
    assert whole(engine(), "chat", asked(model=model, provider=provider))["provider"] == served


@pytest.mark.parametrize(
    ("model", "fields", "code", "excluded"),
    [
        (DEAR, {"provider": {"max_price": {"prompt": 4.99}}}, "constraint_filtered", "max_price"),
        (DEAR, {"provider": {"max_price": {"completion": "24"}}}, "constraint_filtered", "max_price"),
        (DEAR, {"provider": {"max_price": {"prompt": "cheap"}}}, "constraint_filtered", "max_price"),
        (DEAR, {"provider": {"max_price": 5}}, "constraint_filtered", "max_price"),
        (DEAR, {"provider": {"only": ["groq"]}}, "constraint_filtered", "allowed_providers"),
        (DEAR, {"provider": {"only": ["anthropic"], "zdr": True}}, "privacy_restricted", "data_policy:zdr"),
        ("deepseek/deepseek-v4-pro", {"provider": {"only": ["deepseek"], "data_collection": "deny"}}, "privacy_restricted",
         "data_policy:training"),
        ("z-ai/glm-5", {"provider": {"only": ["deepinfra"], "require_parameters": True}, "response_format": {}},
         "constraint_filtered", "require_parameters"),
    ],
)  # fmt: skip
def test_filters_are_hard(model: str, fields: dict[str, Any], code: str, excluded: str) -> None:
    problem = refused("chat", asked(model=model, **fields))
    assert problem.status == 404
    assert problem.availability is not None
    assert (problem.availability["code"], problem.availability["excluded_by"]) == (code, [excluded])


def test_limits_of_a_model() -> None:
    entry = CATALOGUE.entries[CHEAP]
    assert refused("chat", asked(max_tokens=entry.max_output + 1)).status == 404
    assert serve(engine(), "chat", asked(max_tokens=entry.max_output)).answer is not None
    body = asked("x" * 4 * 200_000, model="anthropic/claude-haiku-4.5")
    assert refused("chat", body).error_type == "context_length_exceeded"


def test_context_management_wants_first_party() -> None:
    fields: dict[str, Any] = {"context_management": {"edits": []}, "max_tokens": 10}
    assert whole(engine(), "messages", asked(model=DEAR, **fields))["provider"] == "Anthropic"
    assert "context management" in refused("messages", asked(model=CHEAP, **fields)).message
    assert refused("messages", asked(model=DEAR, provider={"zdr": True}, **fields)).status == 400


def usage(made: Any, api: str, body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = whole(made, api, body)["usage"]
    return found


def test_an_automatic_cache_within_a_session() -> None:
    clock = Hands()
    made = engine(clock)
    first = asked(LONG, session_id="s")
    more = [{"role": "assistant", "content": "ok"}, {"role": "user", "content": "more"}]
    longer = {**first, "messages": [*first["messages"], *more]}
    cached = [
        usage(made, "chat", body)["prompt_tokens_details"]["cached_tokens"]
        for body in (first, longer, {**longer, "session_id": "t"}, {**longer, "model": "openai/gpt-5"})
    ]
    assert cached == [0, 6254, 0, 0]
    clock.now_ns += 301 * 10**9
    assert usage(made, "chat", longer)["prompt_tokens_details"]["cached_tokens"] == 0


def test_short_prompts_and_models_without_a_cache_rate_are_not_cached() -> None:
    for body in (asked("short"), asked(LONG, model="cohere/command-a")):
        made = engine()
        usage(made, "chat", body)
        assert usage(made, "chat", body)["prompt_tokens_details"]["cached_tokens"] == 0


@pytest.mark.parametrize("api", ["chat", "messages"])
def test_anthropic_caches_up_to_marks_alone(api: str) -> None:
    made = engine()
    plain = asked(LONG, model=DEAR, session_id="s", max_tokens=100)
    marked = {**plain, "cache_control": {"type": "ephemeral"}}
    serve(made, api, plain)
    read = [serve(made, api, body).answer for body in (plain, marked, marked, plain)]
    tallies = [answer.tally for answer in read if answer is not None]
    assert [tally.cached for tally in tallies] == [0, 0, 6254, 6254]
    assert [tally.written for tally in tallies] == [0, 6254, 0, 0]


def test_a_mark_inside_the_prompt_keeps_the_part_before_it() -> None:
    made = engine()
    system = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    first, second = (
        usage(made, "messages", asked(text, model=DEAR, system=system, session_id="s", max_tokens=50)) for text in "ab"
    )
    assert first["cache_creation"] == {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 6250}
    assert (second["cache_read_input_tokens"], second["cache_creation_input_tokens"]) == (6250, 0)
    assert second["input_tokens"] == 5


def test_an_hour_long_mark_is_dearer_and_lasts() -> None:
    clock = Hands()
    made = engine(clock)
    for ttl in ("5m", "1h"):
        serve(made, "chat", asked(LONG, model=DEAR, session_id=ttl, cache_control={"type": "ephemeral", "ttl": ttl}))
    short, long = (entry.cost for entry in made.books.entries)
    assert long - short == 6254 * 3750
    clock.now_ns += 3000 * 10**9
    cached = [
        usage(made, "chat", asked(LONG, model=DEAR, session_id=ttl))["prompt_tokens_details"] for ttl in ("5m", "1h")
    ]
    assert [details["cached_tokens"] for details in cached] == [0, 6254]


def test_the_books_hold_what_the_answers_say() -> None:
    made = engine()
    total = 0
    for index in range(20):
        for api, model in (("chat", CHEAP), ("messages", DEAR)):
            total += round(
                usage(made, api, asked(f"{LONG} [[sim:long {index}]]", model, max_tokens=99))["cost"] * 10**9
            )
    assert made.books.total == total > 0


def test_cost_is_the_price_list() -> None:
    made = engine()
    found = usage(made, "chat", asked("[[sim:long 100]]", DEAR))
    price = CATALOGUE.prices[DEAR]
    assert found["cost"] * 10**9 == cost_of(price, Usage(found["prompt_tokens"], 100), Hands().now_ns)


@pytest.mark.parametrize(
    ("api", "prompt", "completion"),
    [("chat", "prompt", "completions"), ("messages", "prompt", "completions"), ("responses", "input", "output")],
)
def test_the_parts_of_a_cost_make_the_whole(api: str, prompt: str, completion: str) -> None:
    body = asked("[[sim:long 100]]", DEAR, max_tokens=200)
    if api == "responses":
        body["input"] = body.pop("messages")
    found = usage(engine(), api, body)
    parts = [found["cost_details"][f"upstream_inference_{part}_cost"] for part in (prompt, completion)]
    assert all(part > 0 for part in parts)
    assert sum(parts) == pytest.approx(found["cost"])


def test_byok_bills_the_fee_and_shows_the_rest() -> None:
    made = engine()
    found = usage(made, "chat", asked("[[sim:fault byok]] [[sim:long 1000]]", DEAR))
    assert found["is_byok"] is True
    upstream = found["cost_details"]["upstream_inference_cost"]
    assert found["cost"] == pytest.approx(upstream * 0.05, abs=1e-9)
    assert made.books.total_spend == pytest.approx((found["cost"] + upstream) * 10**9)


@pytest.mark.parametrize("fault", ["choice-error", "body200error", "error-mid:int", "zero-usage"])
def test_what_failed_or_was_cached_whole_is_not_billed(fault: str) -> None:
    made = engine()
    assert serve(made, "chat", asked(f"[[sim:fault {fault}]]")).answer is not None
    assert made.books.total == 0


@pytest.mark.parametrize(("model", "share"), [("openai/gpt-5", 0.25), (CHEAP, 1.0)])
def test_a_client_that_leaves_pays_by_the_providers_ways(model: str, share: float) -> None:
    made = engine()
    served = serve(made, "chat", asked("[[sim:long 1000]]", model, stream=True))
    made.books.cancel(served.generation, 0.25)
    (entry,) = made.books.entries
    assert (entry.cancelled, entry.finish) == (True, None)
    assert entry.tally.completion == 1000 * share


def test_a_generation_is_late() -> None:
    made = engine(late=2)
    served = serve(made, "chat", asked())
    found = [made.books.lookup(served.generation) for _ in range(4)]
    assert [record is None for record in found] == [True, True, False, False]
    assert found[2] is not None
    assert found[2]["total_cost"] == made.books.total / 10**9
    assert made.books.lookup("gen-other") is None


def test_metadata_for_those_who_ask() -> None:
    answer = serve(engine(), "chat", asked(), x_openrouter_metadata="enabled").answer
    assert answer is not None
    assert answer.metadata is not None
    assert answer.metadata["attempts"] == [{"provider": "Google AI Studio", "model": CHEAP, "status": 200}]
    retried = serve(engine(), "chat", asked("[[sim:fault retried]]"), x_openrouter_metadata="enabled").answer
    assert retried is not None
    assert retried.metadata is not None
    assert [tried["provider"] for tried in retried.metadata["attempts"]] == ["Beta", "Google AI Studio"]
    silent = serve(engine(), "chat", asked()).answer
    assert silent is not None
    assert silent.metadata is None


def test_every_part_of_a_chat_prompt_costs_tokens() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = {
        "model": CHEAP,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}, {"type": "openrouter:web_search"}],
        "messages": [
            {"role": "system", "content": "be brief"},
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9999}}],
            },
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "done"}]},
            {"role": "assistant", "content": None},
        ],
    }
    read = GRAMMARS["chat"].read(body, {})
    assert [segment.tokens for segment in read.segments] == [15, 8, 6, 1004, 22, 5, 4]
    assert [tool.name for tool in read.tools] == ["f", "openrouter:web_search"]
    assert [turn.results for turn in read.turns if turn.role == "tool"] == [("done",)]


def test_a_text_part_and_a_string_are_the_same_to_the_cache() -> None:
    parts = [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]
    plain, part = (
        GRAMMARS["messages"].read({"model": DEAR, "messages": [{"role": "user", "content": content}]}, {}).segments[0]
        for content in ("hi", parts)
    )
    assert (plain.text, plain.tokens) == (part.text, part.tokens)
    assert (plain.mark, part.mark) == (None, "5m")


def test_sessions_by_id_by_header_by_key_and_by_beginning() -> None:
    def session(headers: dict[str, str], **fields: Any) -> str:
        return GRAMMARS["chat"].read(asked(**fields), headers).session

    assert session({"x-session-id": "h"}, session_id="b", prompt_cache_key="k") == "b"
    assert session({"x-session-id": "h"}, prompt_cache_key="k") == "h"
    assert session({}, prompt_cache_key="k") == "k"
    assert session({}) == session({})
    assert session({}) != session({}, text="other")


def test_messages_tools_without_a_schema_and_empty_messages() -> None:
    body = {
        "model": DEAR,
        "tools": [{"type": "bash_20250124", "name": "bash"}],
        "messages": [{"role": "user", "content": []}],
    }
    read = GRAMMARS["messages"].read(body, {})
    assert (read.tools[0].name, dict(read.tools[0].schema)) == ("bash", {})
    assert read.segments[-1].tokens == 4


def test_metadata_is_written_in_every_form() -> None:
    for api in ("chat", "messages"):
        answer = serve(engine(), api, asked(), x_openrouter_metadata="enabled").answer
        assert answer is not None
        assert "openrouter_metadata" in GRAMMARS[api].whole(answer)
        assert b"openrouter_metadata" in b"".join(GRAMMARS[api].frames(answer))


def test_long_lives_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.simulator.books.MAX_ENTRIES", 3)
    monkeypatch.setattr("agentd.simulator.cache.MAX_PREFIXES", 3)
    made = engine()
    costs = [whole(made, "chat", asked(f"{LONG} {index}"))["usage"]["cost"] for index in range(10)]
    assert len(made.books.entries) == 3
    assert made.books.total == sum(round(cost * 10**9) for cost in costs)
    assert usage(made, "chat", asked(f"{LONG} 0"))["prompt_tokens_details"]["cached_tokens"] == 0
