"""Six official SDKs hold the same conversations with the simulator itself and through agentd, over TCP and at the Unix socket,
and their users are told the same: text, thinking, tool calls, how it ended, tokens, cost, model. What agentd changes is refusals,
and each SDK must be able to read those: as its own error for that status, with agentd's words and the decision's name in it.
OpenRouter's SDKs check every field of every answer, so what agentd writes itself has to be complete.
"""

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from clients.sdks import SDKS, Results, Sdk, Steps, drive, places, rounds
from clients.talks import LANE, LISTS, MODEL, STATUSES, Talk, Told, talks, yardsticks
from harness.daemon import SHIPPED_POLICY

pytestmark = pytest.mark.clients

AT_ONCE = 2
"""SDKs side by side: as many as a small machine has cores."""

OURS = re.compile(r"agentd: .*Rule: .*", re.DOTALL)
NAMED = re.compile(r"Decision: d-[0-9]+")

HELPER_RAISES = {
    ("openai, Python", "chat, stream: output cap"),
    ("openai, JavaScript", "responses, stream: unknown fields"),
}
"""Where the SDK takes a good answer for an error, with the simulator and through agentd."""

UNKNOWN_MODEL = Talk("unknown model", "", "hello", model="nobody/none")
PLAIN = Talk("known model", "", "hello")


def held(sdk: Sdk) -> list[Talk]:
    """What an SDK is to talk about."""
    return [talk for api in sdk.apis for talk in talks(api)]


def extra(sdk: Sdk) -> list[Talk]:
    """What differs by its nature, so that it is held but not compared."""
    named = {"models": LANE, "model": MODEL, "count": LANE}
    lists = [Talk(api, api, "hello", model=named[api]) for api in LISTS if api != "count" or "messages" in sdk.apis]
    nothing = Talk("no model", "model", model="nobody/none")
    first = sdk.apis[0]
    strange = [Talk(talk.name, first, talk.prompt, model=talk.model) for talk in (UNKNOWN_MODEL, PLAIN)]
    return [*lists, nothing, *strange]


Runs = dict[str, Future[Results]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """All SDKs that are installed, some side by side."""
    with places() as place, ThreadPoolExecutor(AT_ONCE) as pool:
        made = {}
        for sdk in SDKS:
            alone = [talk for api in sdk.apis for talk in yardsticks(api)]
            asked = rounds(sdk, place, [*held(sdk), *extra(sdk)], alone)
            made[sdk.name] = pool.submit(drive, sdk, asked, tmp_path_factory.mktemp("sdk"))
        yield made


@dataclass(frozen=True, slots=True)
class Found:
    """What one SDK brought back."""

    sdk: Sdk
    results: Results

    def directly(self, name: str) -> Steps:
        """What came of a conversation with the simulator."""
        return self.results["direct"][name]

    def through(self, name: str, door: str = "good") -> Steps:
        """What came of it through agentd: the same over TCP and at the Unix socket, but for the numbers of decisions."""
        ways = [steps[name] for place, steps in self.results.items() if place in (f"tcp {door}", f"unix {door}")]
        assert ways
        assert {_without_numbers(steps) for steps in ways} == {_without_numbers(ways[0])}
        return ways[0]


def _without_numbers(steps: Steps) -> str:
    return re.sub(r"\b(d|halt)-[0-9]+", r"\1-N", repr(steps))


@pytest.fixture(params=SDKS, ids=lambda sdk: sdk.name.replace(", ", "-"))
def found(request: pytest.FixtureRequest, runs: Runs) -> Found:
    return Found(request.param, runs[request.param.name].result())


def test_what_it_is_told_is_the_same_through_agentd(found: Found) -> None:
    same = [talk for talk in held(found.sdk) if talk.told is Told.SAME]
    assert {talk.name: found.through(talk.name) for talk in same} == {
        talk.name: found.directly(talk.name) for talk in same
    }
    for talk in same:
        raises = any("error" in step for step in found.directly(talk.name))
        assert raises is ((found.sdk.name, talk.name) in HELPER_RAISES), found.directly(talk.name)


def test_the_conversations_are_what_they_are_meant_to_be(found: Found) -> None:
    for api in found.sdk.apis:
        for how in ("whole", "stream"):
            (plain,) = found.directly(f"{api}, {how}: plain")
            assert (plain["said"], plain["model"]) == ("Grüße aus 世界", MODEL)
            assert all(count > 0 for count in plain["tokens"])
            calling, answering = found.directly(f"{api}, {how}: tools")
            assert calling["calls"] == [["weather", {"city": "Bern"}]]
            assert "rain at 7" in answering["said"]
        (plain,) = found.directly(f"{api}, whole: plain")
        assert plain["cost"] > 0


def test_a_refusal_is_its_own_error_in_agentds_words(found: Found) -> None:
    for talk in held(found.sdk):
        if talk.told is not Told.REFUSED:
            continue
        (error,) = found.through(talk.name, talk.door)
        status = STATUSES[talk.answer][talk.api]
        (known,) = found.directly(f"{talk.api}: status {status}")
        assert (error.get("error"), error.get("status")) == (known["error"], status), (talk.name, error)
        assert OURS.search(error["message"]), (talk.name, error)
        assert bool(NAMED.search(error["message"])) is (talk.door != "lost"), (talk.name, error)


def test_an_answer_that_breaks_off_is_an_error_in_agentds_words(found: Found) -> None:
    for talk in held(found.sdk):
        if talk.told is Told.BROKEN:
            (error,) = found.through(talk.name)
            assert OURS.search(error.get("message", "")), (talk.name, error)
            assert NAMED.search(error["message"])
            assert "Validation" not in error["error"]


def test_it_reads_the_list_of_what_the_agent_may_ask_for(found: Found) -> None:
    listed = [model["id"] for model in found.through("models")]
    assert len(set(listed)) == len(listed)
    assert {LANE, "code", MODEL, "anthropic/claude-opus-4.6"} <= set(listed)
    assert found.through("model") == [{"id": MODEL}]
    (error,) = found.through("no model")
    assert error["status"] == 404
    assert OURS.search(error["message"])
    if "messages" in found.sdk.apis:
        assert found.through("count") == [{"counted": True}]


def test_a_model_that_nobody_has_is_served_by_what_the_policy_says(found: Found) -> None:
    """A name is a wish: through agentd it gets what the class of the turn gets. The upstream itself refuses."""
    assert f"id: {MODEL}" in SHIPPED_POLICY.read_text()
    assert found.through("unknown model") == found.directly("known model")
    (error,) = found.directly("unknown model")
    assert error["status"] == 400
