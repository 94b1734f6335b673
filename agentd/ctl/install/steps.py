"""Steps: each says what it will do, does it, and says what it did. A failed one says how to go on; all can be run again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from agentd.ctl.install.files import InTheWay
from agentd.ctl.install.run import CommandFailed

State = Literal["plan", "same", "done", "warn", "FAIL"]

SAME = ""
"""What a step returns that found everything as it should be."""


class StepFailed(Exception):
    """A step could not be done: what, and what to do next. Nothing after it was tried."""

    def __init__(self, message: str, cure: str) -> None:
        """Message and next step, both whole sentences."""
        super().__init__(message)
        self.cure = cure


class Warned(Exception):
    """A step that failed, with which one can live: the text says what is lacking. The others go on."""


@dataclass(frozen=True, slots=True)
class Step:
    """`plan`: what it would do, one thing a line. `do`: does it; returns what changed, or `SAME`."""

    title: str
    plan: Sequence[str]
    do: Callable[[], str]
    cure: str
    """What to do when it fails; "run it again" is added by whoever shows it."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a step went."""

    title: str
    state: State
    says: str


def perform(steps: Sequence[Step], show: Callable[[Done], None], *, dry_run: bool) -> list[Done]:
    """All steps in their order, each shown when it is done. Raises `StepFailed` at the first that fails."""
    went = []
    for step in steps:
        done = Done(step.title, "plan", "\n".join(step.plan)) if dry_run else _one(step, show)
        show(done)
        went.append(done)
    return went


def _one(step: Step, show: Callable[[Done], None]) -> Done:
    try:
        says = step.do()
    except Warned as warned:
        return Done(step.title, "warn", str(warned))
    except StepFailed as failed:
        show(Done(step.title, "FAIL", str(failed)))
        raise StepFailed(f"The step “{step.title}” failed.", failed.cure) from None
    except (CommandFailed, InTheWay, OSError) as failed:
        show(Done(step.title, "FAIL", str(failed)))
        raise StepFailed(f"The step “{step.title}” failed.", step.cure) from None
    return Done(step.title, "done" if says else "same", says or "as it should be")
