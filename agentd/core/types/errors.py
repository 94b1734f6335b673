"""Errors carry a stable code, what happened, and what to do next. Rooms raise them; only the edge turns them into answers."""

from dataclasses import dataclass

from agentd.core.types.verdicts import Answer


class AgentdError(Exception):
    """Base of agentd's own errors: `code` is stable, `message` says what happened, `hint` what to do next."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        """Take the three parts; `str()` joins them for logs."""
        super().__init__(f"{message} [{code}]" + (f" {hint}" if hint else ""))
        self.code = code
        self.message = message
        self.hint = hint


class Unreadable(AgentdError):
    """A request that cannot be read as its dialect. `answer` says how to refuse it."""

    def __init__(self, code: str, message: str, hint: str = "", answer: Answer = Answer.INVALID) -> None:
        """See `AgentdError`; `answer` is INVALID or TOO_LARGE."""
        super().__init__(code, message, hint)
        self.answer = answer


class RecordUnavailable(AgentdError):
    """The ledger cannot make a line durable: nothing may happen."""


class UpstreamFailed(AgentdError):
    """The upstream gave no usable answer. `retryable`: another candidate may be tried, if no byte went to the agent yet;
    `answer`: how the agent is to be told; `billed`: whether the upstream may have worked and so may charge for it."""

    def __init__(  # noqa: PLR0913  each is a fact that the caller knows and nobody can derive
        self,
        code: str,
        message: str,
        *,
        status: int,
        retryable: bool,
        answer: Answer,
        retry_after_s: int | None = None,
        billed: bool = False,
    ) -> None:
        """`status` is the upstream's own (0: none came)."""
        super().__init__(code, message)
        self.status = status
        self.retryable = retryable
        self.answer = answer
        self.retry_after_s = retry_after_s
        self.billed = billed
        self.rule = ""  # what decided, where that was not the upstream
        self.generation: str | None = None  # the upstream's handle for what may be billed all the same
        self.affordable: int | None = None  # tokens of output that the account can pay for, where that is all that is wrong
        self.exhausted = False  # no further call of this key can be paid for
        self.recipients: tuple[str, ...] = ()  # providers that saw the data before it failed


class KeyUnavailable(AgentdError):
    """A secret cannot be had from the keyring; `code` and `hint` say which failure and what to do."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a policy file: where, what, and how to mend it. Lines and columns count from 1."""

    line: int
    column: int
    where: str  # "tiers.economy.models[0].id"
    message: str
    hint: str = ""


class PolicyRefused(AgentdError):
    """A policy file that cannot be used, with every fault found in it."""

    def __init__(self, source: str, faults: tuple[Fault, ...]) -> None:
        """`source` names the file for messages."""
        first = faults[0]
        where = f"{source}:{first.line}:{first.column}"
        super().__init__("policy.refused", f"{where}: {first.message} ({len(faults)} fault(s))", first.hint)
        self.source = source
        self.faults = faults
