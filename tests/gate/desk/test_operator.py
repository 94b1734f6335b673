"""The desk over the real record: what it shows, what it does, and that nothing is done that could not be written down."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from agentd.core.accounting.price import counterfactual
from agentd.core.types.callers import Peer
from agentd.core.types.errors import KeyUnavailable, PolicyRefused, RecordUnavailable
from agentd.core.types.receipts import Usage
from agentd.core.types.records import Kind, Line
from agentd.gate.ports import LineQuery
from agentd.gate.ports_operator import HaltAsk, OperatorRefused, SpendAsk
from ctl.office import AGENT, POLICY_FILE, PRICES, Office, digest_of, done, plain_line

OPERATOR = Peer("operator", uid=1000, gid=1000, pid=7, start_ticks=3, exe="/usr/bin/agentctl")
CANARY = "sk-or-v1-canary-0123456789abcdef"


@pytest.fixture
def office() -> Iterator[Office]:
    made = Office()
    made.open()
    yield made
    made.destroy()


def lines(office: Office, *kinds: Kind) -> list[dict[str, Any]]:
    query = LineQuery(kinds=tuple(kind.value for kind in kinds))
    found: list[dict[str, Any]] = office.do(office.ledger.reader.lines(query))
    return found


def break_record(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(_line: Line) -> None:
        raise RecordUnavailable("record.disk_full", "The disk is full.", "Make room.")

    monkeypatch.setattr(office.ledger, "append", full)


class TestAdmission:
    """The alarm behind the socket's group."""

    def test_an_agent_is_refused_and_that_is_recorded(self, office: Office) -> None:
        office.vitals["user_mode"] = False
        with pytest.raises(OperatorRefused) as refused:
            office.do(office.desk.admit(AGENT))
        assert refused.value.code == "operator.agent"
        (line,) = lines(office, Kind.DECISION)
        assert (line["verdict"], line["code"], line["agent"]) == ("deny", "operator.agent", "main")
        assert line["caller"]["pid"] == AGENT.pid

    def test_others_come_in(self, office: Office) -> None:
        office.vitals["user_mode"] = False
        office.do(office.desk.admit(OPERATOR))
        assert lines(office, Kind.DECISION) == []

    def test_in_a_trial_uids_are_shared_and_nobody_is_kept_out(self, office: Office) -> None:
        office.do(office.desk.admit(AGENT))
        assert lines(office, Kind.DECISION) == []

    def test_an_agent_stays_out_when_the_record_is_full(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        office.vitals["user_mode"] = False
        break_record(office, monkeypatch)
        with pytest.raises(RecordUnavailable):
            office.do(office.desk.admit(AGENT))


class TestKeys:
    """Recorded by name, never by value."""

    def test_set_replace_and_delete(self, office: Office) -> None:
        assert office.do(office.desk.set_key(OPERATOR, "spare", CANARY)) == {
            "name": "spare",
            "replaced": False,
            "upstreams": [],
        }
        assert office.keys.values["spare"] == CANARY
        assert office.do(office.desk.set_key(OPERATOR, "openrouter", CANARY))["replaced"] is True
        assert office.do(office.desk.delete_key(OPERATOR, "openrouter"))["upstreams"] == ["openrouter"]
        assert [(line["code"], line["detail"]["name"]) for line in lines(office, Kind.KEY)] == [
            ("key.set", "spare"),
            ("key.set", "openrouter"),
            ("key.delete", "openrouter"),
        ]
        assert CANARY not in str(lines(office))

    def test_what_could_not_be_written_is_not_stored(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        break_record(office, monkeypatch)
        with pytest.raises(RecordUnavailable):
            office.do(office.desk.set_key(OPERATOR, "spare", CANARY))
        with pytest.raises(RecordUnavailable):
            office.do(office.desk.delete_key(OPERATOR, "openrouter"))
        assert list(office.keys.values) == ["openrouter"]

    def test_a_failure_of_the_keyring_is_a_second_line(self, office: Office) -> None:
        office.keys.broken = True
        for act in (office.desk.set_key(OPERATOR, "spare", CANARY), office.desk.delete_key(OPERATOR, "openrouter")):
            with pytest.raises(OperatorRefused) as refused:
                office.do(act)
            assert refused.value.code == "keyring.locked"
            assert not isinstance(refused.value, KeyUnavailable)
        assert [line["code"] for line in lines(office, Kind.KEY)] == [
            "key.set",
            "key.failed",
            "key.delete",
            "key.failed",
        ]

    @pytest.mark.parametrize(
        "name", ["", "Open", "sk-or-v1-0123456789abcdef0123456789abcdef0123", "a b", "../x", "ü", "a" * 41]
    )
    def test_no_name(self, office: Office, name: str) -> None:
        for act in (office.desk.set_key(OPERATOR, name, "v"), office.desk.delete_key(OPERATOR, name)):
            with pytest.raises(OperatorRefused) as refused:
                office.do(act)
            assert refused.value.code == "key.name"
            assert not name or name not in str(refused.value)
        assert lines(office, Kind.KEY) == []

    @pytest.mark.parametrize("value", ["", "  ", "x" * 4097])
    def test_no_value(self, office: Office, value: str) -> None:
        with pytest.raises(OperatorRefused, match=r"key\.value"):
            office.do(office.desk.set_key(OPERATOR, "spare", value))
        assert lines(office, Kind.KEY) == []

    def test_a_key_that_is_not_there_cannot_be_deleted(self, office: Office) -> None:
        with pytest.raises(OperatorRefused, match=r"key\.none"):
            office.do(office.desk.delete_key(OPERATOR, "spare"))

    def test_the_listing_has_those_in_use_and_those_wanted(self, office: Office) -> None:
        office.keys.values = {"spare": "v"}
        rows = office.do(office.desk.keys())["keys"]
        assert rows == [
            {"name": "openrouter", "in_use": False, "upstreams": ["openrouter"]},
            {"name": "spare", "in_use": True, "upstreams": []},
        ]


class TestHalts:
    """Orders, against the names of the policy."""

    @pytest.mark.parametrize(("scope", "name"), [("agent", "nobody"), ("tier", "gold")])
    def test_what_the_policy_does_not_know_cannot_be_stopped(self, office: Office, scope: str, name: str) -> None:
        with pytest.raises(OperatorRefused, match="The policy has no"):
            office.do(office.desk.halt(OPERATOR, HaltAsk(scope, name, "r")))
        assert lines(office, Kind.HALT) == []

    def test_a_stop_of_something_since_removed_can_be_ended(self, office: Office) -> None:
        office.do(office.desk.halt(OPERATOR, HaltAsk("tier", "frontier", "r")))
        fewer = POLICY_FILE.read_text().replace("frontier", "gold")
        office.do(office.policies.load(fewer, "policy.yaml"))
        assert office.do(office.desk.resume(OPERATOR, HaltAsk("tier", "frontier", "r")))["name"] == "frontier"

    def test_stops_hold_over_a_restart(self, office: Office) -> None:
        office.do(office.desk.halt(OPERATOR, HaltAsk("agent", "main", "loops")))
        before = office.do(office.desk.halts())
        office.close()
        again = Office(home=office.home)
        again.open()
        assert again.do(again.desk.halts()) == before
        again.close()


class TestExplain:
    """By number, with proof."""

    def test_by_its_own_number_and_by_its_outcomes(self, office: Office) -> None:
        seq = office.call(text="thanks!")
        page = office.do(office.desk.explain(seq))
        assert page == office.do(office.desk.explain(seq + 1))
        assert page["decision"] == f"d-{seq}"
        assert page["outcome"]["seq"] == seq + 1
        assert page["proof"]["intact"] is True

    @pytest.mark.parametrize("seq", [0, 999])
    def test_what_is_not_there(self, office: Office, seq: int) -> None:
        with pytest.raises(OperatorRefused) as refused:
            office.do(office.desk.explain(seq))
        assert refused.value.code == "line.none"

    def test_lines_that_are_no_calls_are_told_too(self, office: Office) -> None:
        assert office.do(office.desk.explain(1))["decision"] == "genesis-1"
        seq = office.do(office.desk.halt(OPERATOR, HaltAsk("box", "", "smoke")))["seq"]
        page = office.do(office.desk.explain(seq))
        assert (page["decision"], page["headline"]) == (f"halt-{seq}", "halt: smoke")

    def test_an_old_decision_is_explained_by_the_policy_of_then(self, office: Office) -> None:
        seq = office.call(text="thanks!")
        office.do(
            office.policies.load(
                POLICY_FILE.read_text().replace("change: first version", "change: second"), "policy.yaml"
            )
        )
        page = office.do(office.desk.explain(seq))
        assert "first version" in str(page["sections"])
        assert "second" not in str(page["sections"])

    def test_an_unreadable_old_version_counts_as_not_kept(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seq = office.call(text="thanks!")
        old = POLICY_FILE.read_text()
        office.do(office.policies.load(old.replace("change: first version", "change: second"), "policy.yaml"))
        monkeypatch.setattr("agentd.compiling.parse_policy", _unreadable)
        page = office.do(office.desk.explain(seq))
        assert "not kept here" in str(page["sections"])

    def test_a_checkpoint_covers_what_stands_before_it(self, office: Office) -> None:
        seq = office.call(text="thanks!")
        office.close()  # writes a checkpoint
        again = Office(home=office.home)
        again.open()
        proof = again.do(again.desk.explain(seq))["proof"]
        assert proof["checkpoint"] > seq
        assert proof["signed"] is True
        again.close()


def _unreadable(*_args: object) -> None:
    from agentd.core.types.errors import Fault

    raise PolicyRefused("policy.yaml", (Fault(1, 1, "", "of another time"),))


class TestPolicy:
    """Versions by hash."""

    def test_the_one_in_force_and_by_the_beginning_of_its_hash(self, office: Office) -> None:
        text = POLICY_FILE.read_text()
        whole = digest_of(text)
        found = office.do(office.desk.policy(None))
        assert found == {"digest": whole, "text": text, "in_force": True} == office.do(office.desk.policy(whole[:6]))

    def test_older_versions_are_kept(self, office: Office) -> None:
        old = POLICY_FILE.read_text()
        office.do(office.policies.load(old.replace("change: first version", "change: second"), "policy.yaml"))
        found = office.do(office.desk.policy(digest_of(old)))
        assert (found["text"], found["in_force"]) == (old, False)
        assert [row["change"] for row in office.do(office.desk.policy_history())] == ["second", "first version"]

    @pytest.mark.parametrize("digest", ["", "ffff", "zz"])
    def test_an_unknown_version(self, office: Office, digest: str) -> None:
        with pytest.raises(OperatorRefused, match=r"policy\.unknown"):
            office.do(office.desk.policy(digest))

    def test_a_beginning_of_two_is_none(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        async def two() -> list[dict[str, Any]]:
            return [{"hash": "aab"}, {"hash": "aac"}]

        monkeypatch.setattr(office.ledger.reader, "policies", two)
        with pytest.raises(OperatorRefused, match=r"policy\.ambiguous"):
            office.do(office.desk.policy("aa"))

    def test_trying_a_text_changes_nothing(self, office: Office) -> None:
        good = office.do(office.desk.policy_test(None, ""))
        assert good["ok"] is True
        held = office.policies.current
        assert held is not None
        assert len(good["tests"]) == len(held.policy.tests) > 0
        bad = office.do(office.desk.policy_test("version: 1", "mine.yaml"))
        assert bad["ok"] is False
        assert bad["faults"]
        assert bad["source"] == "mine.yaml"
        assert office.policies.fault is None
        assert len(lines(office, Kind.POLICY)) == 1

    def test_why(self, office: Office) -> None:
        found = office.do(office.desk.policy_why({"agent": "main", "lane": "implementation"}))
        assert (found["verdict"], found["class"], found["tier"]) == ("allow", "implementation", "standard")
        assert office.do(office.desk.policy_why({"uid": 65533}))["code"] == "caller.unknown"
        assert lines(office, Kind.DECISION) == []


class TestWithoutPolicy:
    """Nothing is in force: the desk still answers."""

    @pytest.fixture
    def office(self) -> Iterator[Office]:
        made = Office(policy_text=None)
        made.open()
        yield made
        made.destroy()

    def test_everything_can_be_seen(self, office: Office) -> None:
        assert office.do(office.desk.status())["policy"] == {
            "in_force": False,
            "path": "/etc/agentd/policy.yaml",
            "fault": None,
        }
        assert office.do(office.desk.agents()) == {"agents": [], "policy": None}
        assert office.do(office.desk.keys())["keys"][0]["upstreams"] == []
        assert office.do(office.desk.spend(SpendAsk(compare=True)))["compare"] is None
        assert "bad" in {check["state"] for check in office.do(office.desk.doctor())}
        office.do(office.desk.admit(AGENT))
        for ask in (office.desk.policy(None), office.desk.policy_test(None, "")):
            with pytest.raises(OperatorRefused, match=r"policy\.none"):
                office.do(ask)

    def test_everything_can_be_stopped(self, office: Office) -> None:
        assert office.do(office.desk.halt(OPERATOR, HaltAsk("agent", "main", "r")))["name"] == "main"

    def test_a_decision_without_policy_is_explained(self, office: Office) -> None:
        line = plain_line(Kind.DECISION, verdict="deny", code="policy.none", detail={"message": "no policy"})
        page = office.do(office.desk.explain(office.append(line).seq))
        assert "none was in force" in str(page["sections"])


class TestStatusAndSpend:
    """Numbers."""

    def test_status_has_a_refused_file_with_its_place(self, office: Office) -> None:
        with pytest.raises(PolicyRefused):
            office.do(office.policies.load("version: 2\n# end of policy\n", "policy.yaml"))
        policy = office.do(office.desk.status())["policy"]
        assert policy["in_force"] is True
        assert policy["change"] == "first version"
        assert policy["fault"]["faults"][0]["line"] >= 1

    def test_spend_adds_up(self, office: Office) -> None:
        office.call(text="thanks!", cost=1000)
        office.call(lane="implementation", cost=2000)
        found = office.do(office.desk.spend(SpendAsk(by="class")))
        assert {row["name"]: row["cost_nusd"] for row in found["rows"]} == {"routine": 1000, "implementation": 2000}
        assert found["total"]["cost_nusd"] == 3000
        assert found["total"]["calls"] == 2
        assert found["compare"] is None

    def test_the_comparison_is_the_same_by_whatever_rows_are_asked(self, office: Office) -> None:
        office.call(text="thanks!", usage=(10_000, 100))
        office.call(lane="implementation", usage=(50_000, 2000))
        found = [
            office.do(office.desk.spend(SpendAsk(by=by, compare=True)))["compare"] for by in ("class", "model", "day")
        ]
        assert found[0] == found[1] == found[2]
        assert found[0]["model"] == "anthropic/claude-opus-4.6"
        assert found[0]["cold_nusd"] > found[0]["warm_nusd"] > found[0]["actual_nusd"]

    def test_only_known_ways_to_add_up(self, office: Office) -> None:
        with pytest.raises(OperatorRefused, match=r"spend\.by"):
            office.do(office.desk.spend(SpendAsk(by="session")))

    def test_what_was_written_to_the_cache_is_compared_at_the_price_of_writing(self, office: Office) -> None:
        _, closed = office.decide(text="thanks!")
        usage = Usage(prompt=1000, completion=10, cached=100, cache_write=600)
        closed(replace(done(cost=1), usage=usage))
        found = office.do(office.desk.spend(SpendAsk(by="model", compare=True)))
        price = PRICES[found["compare"]["model"]]
        assert found["rows"][0]["cache_write_tokens"] == 600
        assert found["compare"]["warm_nusd"] == counterfactual(price, usage, warm=True)
        dry = counterfactual(price, replace(usage, cache_write=0), warm=True)
        assert found["compare"]["warm_nusd"] > dry, "writing is dearer than reading fresh"
