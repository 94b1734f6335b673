"""Rules of the policy file that span several keys. Each takes what was read and notes faults; none changes anything.

They refuse what would give a false sense of safety: names that lead nowhere, matchers that recognise too much, a class that
can never be served, a budget that counts nothing, money that nothing bounds.
"""

import re
from collections.abc import Callable
from difflib import get_close_matches
from ipaddress import ip_address

from agentd.core.policy.reading import Found, Reader, did_you_mean
from agentd.core.policy.values import shown

Check = Callable[[Reader, Found], None]

ADDRESS = re.compile(
    r"(?P<scheme>https?)://(\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?))(:[0-9]{1,5})?"
    r"(/[A-Za-z0-9._~/-]*)?"
)
"""A base address: nothing in it can hold a credential or a query."""

NO_OWNERS = frozenset({"nobody", "none", "todo", "tbd", "unknown", "n/a", "na", "-", "?", "fixme", "xxx", "someone"})
"""Placeholders: nobody answers for what they own."""

INTERPRETERS = re.compile(
    r"/(ba|da|z|k|fi)?sh|/(python|pypy|perl|ruby|lua|php)[0-9.]*|/(node|nodejs|bun|deno|java|env|busybox|tclsh)|"
    r"/ld-linux[^/]*|/(npx|npm|uv|uvx)"
)
"""Executables that run whatever they are given: alone they say nothing about who is asking."""

FACTS = ("uid", "gid", "unit", "exe")
"""What the kernel tells of a caller."""

MIN_LANE_STEM = 3
"""Characters before the `*` of a lane: a shorter one would take in names of others."""

PRICE_HINT = "one: price: { prompt: 0, completion: 0 } in US dollars per million tokens"

MOVING_SUFFIXES = (":nitro", ":floor", ":online")
"""Model suffixes by which the upstream picks other endpoints, prices or a web search."""


def check_refs(reader: Reader, root: Found) -> None:
    """Every name that is used is defined."""
    for section, found in reader.refs:
        known = [item.word for item in root.items(section)] if section == "labels" else list(root.entries(section))
        if root.get(section) is not None and found.value not in known:
            what = f"{shown(found.word)} is not among `{section}`"
            reader.fault(found.mark, found.where, what, did_you_mean(found.word, known))


def check_owners(reader: Reader, root: Found) -> None:
    """An owner is somebody."""
    owned = [root]
    for section in ("agents", "tiers", "classes", "budgets"):
        owned += root.entries(section).values()
    owned += [rule for task in root.entries("classes").values() if (rule := task.get("escalation")) is not None]
    for entry in owned:
        owner = entry.get("owner")
        if owner is not None and owner.word.strip().lower() in NO_OWNERS:
            reader.fault(owner.mark, owner.where, f"{shown(owner.word)} is nobody", "name a person or a team")


def check_matches(reader: Reader, root: Found) -> None:
    """Matchers say something, not too much, and no two are the same."""
    seen: dict[tuple[tuple[str, str], ...], str] = {}
    for name, agent in root.entries("agents").items():
        for match in agent.items("match"):
            facts = tuple((key, fact.word) for key in FACTS if (fact := match.get(key)) is not None)
            if not facts and not reader.faulty(match):
                reader.fault(
                    match.mark, match.where, "it matches everybody", "name at least one of uid, gid, unit, exe"
                )
            _broad_exe(reader, match)
            if facts and facts in seen:
                hint = "the first one always wins: remove one of them"
                reader.fault(match.mark, match.where, f"agent {seen[facts]} has the same match", hint)
            seen.setdefault(facts, name)


def _broad_exe(reader: Reader, match: Found) -> None:
    exe = match.get("exe")
    if exe is None:
        return
    path = exe.word
    if path.endswith("/") or "/../" in f"{path}/" or "//" in path or "*" in path:
        reader.fault(
            exe.mark,
            exe.where,
            f"{shown(path)} is not the path of one file",
            "write the executable's real path, without patterns",
        )
    elif INTERPRETERS.fullmatch(path[path.rindex("/") :]) and not any(match.get(key) for key in FACTS[:-1]):
        hint = "add the uid or unit that it runs as"
        reader.fault(exe.mark, exe.where, f"{shown(path)} runs anybody's programs", hint)


def check_agents(reader: Reader, root: Found) -> None:
    """An agent's default is among its classes, and each of them can be served within its ceiling and label."""
    for agent in root.entries("agents").values():
        names = [item.value for item in agent.items("classes")]
        default = agent.get("default_class")
        if default is not None and default.value in root.entries("classes") and default.value not in names:
            reader.fault(
                default.mark, default.where, f"{shown(default.word)} is not among its `classes`", "add it there"
            )
        for item in agent.items("classes"):
            _servable(reader, root, agent, item)


def _servable(reader: Reader, root: Found, agent: Found, item: Found) -> None:
    """Some tier lies within the class's floor, both ceilings, and may see the agent's data."""
    task = root.entries("classes").get(item.word)
    ranks = _ranks(root)
    if task is None or agent.text("ceiling") not in ranks or task.text("tier") not in ranks:
        return
    low = ranks.get(task.text("floor") or task.text("tier"), 0)
    high = min(ranks.get(task.text("ceiling") or task.text("tier"), len(ranks)), ranks[agent.text("ceiling")])
    if low > high:
        what = f"class {item.word} begins at tier {list(ranks)[low]}, above the agent's ceiling {agent.text('ceiling')}"
        reader.fault(
            item.mark, item.where, what, "raise the agent's ceiling, give the class a lower `floor`, or take it out"
        )
        return
    labels = [label.word for label in root.items("labels")]
    tiers = [root.entries("tiers")[name] for name in list(ranks)[low : high + 1]]
    held = [labels.index(tier.text("max_label")) for tier in tiers if tier.text("max_label") in labels]
    if agent.text("label") in labels and len(held) == len(tiers) and max(held) < labels.index(agent.text("label")):
        what = f"no tier that may serve class {item.word} may see data labelled {agent.text('label')}"
        reader.fault(
            item.mark,
            item.where,
            what,
            "raise a tier's `max_label` if its providers may be trusted with it, or lower the agent's `label`",
        )


def check_classes(reader: Reader, root: Found) -> None:
    """The floor <= tier <= ceiling, and an escalation leads upwards, not above the ceiling."""
    ranks = _ranks(root)
    for task in root.entries("classes").values():
        own = task.text("tier")
        if own not in ranks:
            continue
        _bound(reader, task, "floor", ranks)
        _bound(reader, task, "ceiling", ranks)
        rule = task.get("escalation")
        to = None if rule is None else rule.get("to")
        if to is None or to.word not in ranks:
            continue
        if ranks[to.word] <= ranks[own]:
            reader.fault(
                to.mark,
                to.where,
                f"tier {to.word} is not above the class's own, {own}",
                "an escalation leads upwards; tiers stand cheapest first",
            )
        elif ranks[to.word] > ranks.get(task.text("ceiling") or own, len(ranks)):
            top = task.text("ceiling") or own
            reader.fault(
                to.mark,
                to.where,
                f"tier {to.word} is above the class's ceiling, {top}",
                "raise `ceiling`, or escalate to a lower tier",
            )


def _bound(reader: Reader, task: Found, key: str, ranks: dict[str, int]) -> None:
    bound = task.get(key)
    if bound is None or bound.word not in ranks:
        return
    above = ranks[bound.word] - ranks[task.text("tier")]
    if above == 0 or (above < 0) == (key == "floor"):
        return
    side = "above" if above > 0 else "below"
    hint = f"tiers stand cheapest first: {', '.join(ranks)}"
    reader.fault(
        bound.mark, bound.where, f"the {key} {bound.word} is {side} the class's tier {task.text('tier')}", hint
    )


def check_lanes(reader: Reader, root: Found) -> None:
    """A lane declares one class: no two are the same, none is hidden behind an earlier one, none takes in everything."""
    earlier: list[tuple[str, str]] = []
    classes = root.entries("classes")
    for name, task in classes.items():
        for lane in task.items("lanes"):
            text = lane.word
            if text.endswith("*") and len(text) <= MIN_LANE_STEM:
                reader.fault(
                    lane.mark,
                    lane.where,
                    f"{shown(text)} takes in too much",
                    f"write at least {MIN_LANE_STEM} characters before the `*`",
                )
            if text in classes and text != name:
                reader.fault(lane.mark, lane.where, f"{shown(text)} is the name of another class", "use another name")
            for other, owner in earlier:
                if owner != name and _covers(other, text):
                    what = f"{shown(text)} never counts: lane {shown(other)} of class {owner} takes it first"
                    reader.fault(
                        lane.mark, lane.where, what, "remove one, or put the class with the narrower lane first"
                    )
        earlier += [(lane.word, name) for lane in task.items("lanes")]


def _covers(lane: str, other: str) -> bool:
    """Whether every model name that `other` takes is taken by `lane`."""
    return lane == other or (lane.endswith("*") and other.rstrip("*").startswith(lane[:-1]))


def check_budgets(reader: Reader, root: Found) -> None:
    """A budget limits something that exists, over a window that fits, and the box's money is bounded."""
    for budget in root.entries("budgets").values():
        if not any(budget.get(key) for key in ("limit", "calls", "tokens")) and not reader.faulty(budget):
            reader.fault(budget.mark, budget.where, "it limits nothing", "add one of limit, calls, tokens")
        _budget_of(reader, root, budget)
        window = budget.get("window")
        if window is not None and window.value == "session" and budget.text("scope") not in ("session", ""):
            reader.fault(
                window.mark,
                window.where,
                "only scope session has sessions for a window",
                "use hour, day, week or month",
            )
    bounded = [b for b in root.entries("budgets").values() if b.text("scope") == "box" and b.get("limit") is not None]
    budgets = root.get("budgets")
    if budgets is not None and budgets.value and not bounded and not reader.faulty(budgets):
        hint = "add one like box-day: { owner: ops@example.org, scope: box, window: day, limit: 10.00 }"
        reader.fault(budgets.mark, budgets.where, "nothing bounds what the whole box spends", hint)


def _budget_of(reader: Reader, root: Found, budget: Found) -> None:
    of = budget.get("of")
    scope = budget.text("scope")
    if of is None or not scope:
        return
    section = {"agent": "agents", "class": "classes", "tier": "tiers"}.get(scope)
    if section is None:
        reader.fault(
            of.mark,
            of.where,
            f"scope {scope} has no names to choose from",
            "remove `of`, or use scope agent, class or tier",
        )
    elif root.get(section) is not None and of.value not in root.entries(section):
        known = did_you_mean(of.word, root.entries(section))
        reader.fault(of.mark, of.where, f"{shown(of.word)} is not among `{section}`", known)


def check_models(reader: Reader, root: Found) -> None:
    """Every model has a price and a concrete name, and stands in one tier at most once per upstream."""
    seen: dict[tuple[str, str], str] = {}
    for name, tier in root.entries("tiers").items():
        for model in tier.items("models"):
            found = model.get("id")
            if found is None:
                continue
            _concrete(reader, root, model, found)
            pair = (found.word, model.text("upstream"))
            if pair in seen:
                what = f"{shown(pair[0])} stands in tier {seen[pair]} already"
                reader.fault(found.mark, found.where, what, "a model has one tier: remove one")
            seen.setdefault(pair, name)


def _concrete(reader: Reader, root: Found, model: Found, found: Found) -> None:
    text = found.word
    upstream = root.entries("upstreams").get(model.text("upstream"))
    local = upstream is not None and upstream.text("kind") == "openai"
    known = reader.names.prices
    if not local and text.endswith(MOVING_SUFFIXES):
        what = f"{shown(text)} lets the upstream pick endpoint and price"
        reader.fault(found.mark, found.where, what, "write the id without its suffix")
    elif (
        model.get("price") is None and not reader.faulty(model) and (local or (known is not None and text not in known))
    ):
        why = "no catalogue lists the models of such an upstream" if local else "the catalogue does not list it"
        near = get_close_matches(text, known or (), n=1) if not local else []
        hint = f"did you mean `{near[0]}`? Else state" if near else "state"
        reader.fault(found.mark, found.where, f"{shown(text)} has no price: {why}", f"{hint} {PRICE_HINT}")


def check_prices(reader: Reader, root: Found) -> None:
    """One id has one price, wherever it stands: calls are priced by id."""
    seen: dict[str, tuple[str, str] | None] = {}
    for tier in root.entries("tiers").values():
        for model in tier.items("models"):
            price, name = model.get("price"), model.text("id")
            stated = None if price is None else (price.text("prompt"), price.text("completion"))
            if name in seen and seen[name] != stated:
                hint = "state the same price at each, or at none"
                reader.fault(model.mark, model.where, f"{shown(name)} has another price elsewhere", hint)
            seen.setdefault(name, stated)


def check_upstreams(reader: Reader, root: Found) -> None:
    """Addresses are whole, carry no credentials, and are encrypted wherever others could listen."""
    for upstream in root.entries("upstreams").values():
        url = upstream.get("url")
        if url is None:
            continue
        problem = _url_problem(url.word, keyed=upstream.get("key") is not None)
        if problem is not None:
            reader.fault(
                url.mark,
                url.where,
                problem,
                "write an address like https://openrouter.ai/api/v1, or http://127.0.0.1:11434/v1",
            )
        key = upstream.get("key")
        if upstream.text("kind") == "openrouter" and key is None and not reader.faulty(upstream):
            reader.fault(upstream.mark, upstream.where, "OpenRouter serves nobody without a key", "add key: openrouter")


def _url_problem(url: str, *, keyed: bool) -> str | None:
    parts = ADDRESS.fullmatch(url)
    if parts is None:
        return f"{shown(url)} is not a plain address: scheme, host, port and path, without credentials, ? or #"
    if parts["scheme"] == "https":
        return None
    return _listeners((parts["six"] or parts["host"]).lower(), keyed=keyed)


def _listeners(host: str, *, keyed: bool) -> str | None:
    """Who could listen on a connection that is not encrypted."""
    try:
        address = ip_address(host)
    except ValueError:
        return None if host == "localhost" else "plain http to a name lets others read prompts"
    if address.is_loopback:
        return None
    if keyed:
        return "plain http would show the key to the network"
    return None if address.is_private else "plain http to a public address lets others read prompts"


def check_tests(reader: Reader, root: Found) -> None:
    """A test asks something of somebody, and its name is its own."""
    names: set[str] = set()
    for test in root.items("tests"):
        given, expect = test.get("given"), test.get("expect")
        if expect is not None and not expect.value and not reader.faulty(expect):
            reader.fault(
                expect.mark, expect.where, "it expects nothing", "add one of verdict, class, tier, model, effort, code, stage"
            )
        if given is not None:
            _caller(reader, given)
        name = test.get("name")
        if name is not None and name.value in names:
            reader.fault(name.mark, name.where, f"another test is called {shown(name.word)}", "give each its own name")
        names.add(test.text("name"))


def _caller(reader: Reader, given: Found) -> None:
    facts = [key for key in FACTS if given.get(key) is not None]
    if given.get("agent") is None and not facts and not reader.faulty(given):
        reader.fault(
            given.mark, given.where, "nobody is calling", "name an agent, or the uid, gid, unit or exe of a caller"
        )
    elif given.get("agent") is not None and facts:
        reader.fault(
            given.mark,
            given.where,
            f"both agent and {facts[0]} say who is calling",
            "keep one: facts ask whom policy recognises",
        )


def _ranks(root: Found) -> dict[str, int]:
    return {name: rank for rank, name in enumerate(root.entries("tiers"))}


CHECKS: tuple[Check, ...] = (
    check_refs, check_owners, check_matches, check_agents, check_classes, check_lanes, check_budgets, check_models,
    check_prices, check_upstreams, check_tests,
)  # fmt: skip
"""Every rule, in the order in which it is asked."""
