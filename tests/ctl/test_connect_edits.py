"""Edits of clients' configurations, and how they are taken back: what was there before is there again."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agentd.ctl.clients import NAMES, client_named
from agentd.ctl.clients.edits import ASIDE, CannotEdit, JsonKeys, Lines, WholeFile, undone
from agentd.ctl.clients.plan import Aim, Door

FILE = Path("/srv/agent/file.json")
DOOR = Door("/run/agentd/agent.sock", "127.0.0.1:8710", "agentd-" + "t" * 43)
KEYS = st.sampled_from(["a", "b", "c", "models"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers(0, 9) | st.text(max_size=3), lambda inner: st.dictionaries(KEYS, inner, max_size=3)
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)
PATHS = st.lists(KEYS, min_size=1, max_size=3).map(tuple)


@given(OBJECTS, st.lists(st.tuples(PATHS, st.integers(10, 99)), max_size=3))
def test_json_that_was_not_touched_comes_back_byte_for_byte(
    data: dict[str, Any], values: list[tuple[tuple[str, ...], int]]
) -> None:
    before = json.dumps(data, indent=3)
    try:
        after = JsonKeys(FILE, 0o600, values).applied(before)
    except CannotEdit:
        return  # a path leads through something that is no object
    assert undone(before, after, after) == before


@given(OBJECTS, PATHS, st.integers(100, 999))
def test_json_that_its_client_rewrote_loses_our_part_alone(
    data: dict[str, Any], path: tuple[str, ...], ours: int
) -> None:
    before = json.dumps(data)
    try:
        after = JsonKeys(FILE, 0o600, [(path, ours)]).applied(before)
    except CannotEdit:
        return
    now = json.loads(after)
    now["theirs"] = {"since": 1}
    back = undone(before, after, json.dumps(now))
    assert back is not None
    assert json.loads(back) == {**data, "theirs": {"since": 1}}


def test_a_value_that_was_changed_since_is_somebody_elses() -> None:
    before = '{"agents": {"model": "old", "kept": 1}}'
    after = JsonKeys(FILE, 0o600, [(("agents", "model"), "ours")]).applied(before)
    back = undone(before, after, after.replace("ours", "newer"))
    assert json.loads(back or "")["agents"] == {"model": "newer", "kept": 1}


@pytest.mark.parametrize("text", ["[]", "{ // a comment\n}", '{"a": 1,}', '"text"'])
def test_what_is_no_plain_json_object_is_not_edited(text: str) -> None:
    with pytest.raises(CannotEdit, match="JSON"):
        JsonKeys(FILE, 0o600, [(("a",), 1)]).applied(text)


TOML = 'model = "gpt"\napproval_policy = "never"  # mine\n\n[tools]\nmodel = "other"\n'
CODEX = Lines(Path("config.toml"), 0o600, 'model = "auto"\n', '[model_providers.agentd]\nname = "agentd"\n', ("model",))


def test_root_keys_of_toml_are_put_aside_and_come_back() -> None:
    after = CODEX.applied(TOML)
    read = tomllib.loads(after)
    assert (read["model"], read["approval_policy"], read["tools"]["model"]) == ("auto", "never", "other")
    assert f'{ASIDE}model = "gpt"' in after
    assert undone(TOML, after, after) == TOML
    assert undone(TOML, after, after + "[since]\n") == TOML + "[since]\n"


def test_toml_that_would_break_is_left_alone() -> None:
    with pytest.raises(CannotEdit, match="TOML"):
        CODEX.applied('[model_providers.agentd]\nname = "mine"\n')


def test_a_mark_that_was_removed_is_said() -> None:
    after = CODEX.applied(TOML)
    with pytest.raises(CannotEdit, match="is missing"):
        undone(TOML, after, after.replace("# <<< agentd\n", "", 2))


def test_a_file_of_ours_is_never_put_over_a_strangers() -> None:
    with pytest.raises(CannotEdit, match="not made by agentctl"):
        WholeFile(FILE, 0o600, "ours").applied("theirs")


@pytest.mark.parametrize("name", NAMES)
def test_every_client_has_a_plan_that_its_format_can_hold(name: str, tmp_path: Path) -> None:
    client = client_named(name)
    plan = client.plan(Aim(tmp_path, DOOR, "vendor/model-1"))
    assert client.name == name
    assert plan.start
    for edit in plan.edits:
        text = edit.applied(None)
        read = {".json": json.loads, ".toml": tomllib.loads, ".yaml": yaml.safe_load}.get(edit.path.suffix)
        if read:
            assert read(text)
        assert edit.path.is_relative_to(tmp_path)
        assert edit.mode == (0o755 if "bin" in edit.path.parts else 0o600)
        assert undone(None, text, text) is None
        assert DOOR.token not in repr(DOOR)
