"""A small assembler for the classic BPF that seccomp takes: rules in, bytes out.

Each rule tests the number of a system call and perhaps one argument; the first that fits answers. Instructions are 8 bytes:
operation, distance when true, distance when false, constant. Jumps go forward only, so a rule is written as "if not, skip me",
which never overflows the distance of one byte.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

_LOAD = 0x20
_JUMP_EQUAL = 0x15
_JUMP_AT_LEAST = 0x35
_JUMP_ANY_BIT = 0x45
_RETURN = 0x06

_NUMBER = 0
_ARCH = 4
_ARGUMENTS = 16

ALLOW = 0x7FFF0000
KILL = 0x80000000
FOREIGN_BITS = 0x40000000
"""Set in the numbers of x32, a second calling convention under the same architecture."""


class Test(Enum):
    """How an argument's lower 32 bits are compared. The kernel ignores the upper ones of the arguments tested here."""

    ANY_BIT = "any-bit"
    ONE_OF = "one-of"
    NONE_OF = "none-of"


@dataclass(frozen=True, slots=True)
class When:
    """A condition on an argument, counted from 0."""

    argument: int
    test: Test
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """`errno` is what the call fails with, where `when` holds or there is none."""

    number: int
    errno: int
    when: When | None = None


def assemble(arch: int, rules: Sequence[Rule], foreign_errno: int) -> bytes:
    """The program: another architecture is killed, x32 fails, then the rules in their order, then yes."""
    head = [
        _instruction(_LOAD, constant=_ARCH),
        _instruction(_JUMP_EQUAL, 1, 0, arch),
        _instruction(_RETURN, constant=KILL),
        _instruction(_LOAD, constant=_NUMBER),
        _instruction(_JUMP_AT_LEAST, 0, 1, FOREIGN_BITS),
        _instruction(_RETURN, constant=errno_of(foreign_errno)),
    ]
    body = [instruction for rule in rules for instruction in _rule(rule)]
    return b"".join([*head, *body, _instruction(_RETURN, constant=ALLOW)])


def errno_of(number: int) -> int:
    """The answer that makes a call fail with an error."""
    return 0x00050000 | number


def unpack(program: bytes, at: int) -> tuple[int, int, int, int]:
    """An instruction by its place: operation, jump when true, jump when false, constant."""
    operation, if_true, if_false, constant = struct.unpack_from("<HBBI", program, 8 * at)
    return operation, if_true, if_false, constant


def judge(program: bytes, arch: int, number: int, arguments: Sequence[int]) -> int:
    """What the kernel would answer: the same steps, for architectures that are not at hand."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    at, held = 0, 0
    while True:
        operation, if_true, if_false, constant = unpack(program, at)
        if operation == _RETURN:
            return constant
        if operation == _LOAD:
            held = int.from_bytes(data[constant : constant + 4], "little")
            at += 1
            continue
        true = {_JUMP_EQUAL: held == constant, _JUMP_AT_LEAST: held >= constant, _JUMP_ANY_BIT: bool(held & constant)}[
            operation
        ]
        at += 1 + (if_true if true else if_false)


def _rule(rule: Rule) -> list[bytes]:
    answer = _instruction(_RETURN, constant=errno_of(rule.errno))
    if rule.when is None:
        return [_instruction(_JUMP_EQUAL, 0, 1, rule.number), answer]
    inner = [_instruction(_LOAD, constant=_ARGUMENTS + 8 * rule.when.argument), *_test(rule.when), answer]
    inner.append(_instruction(_LOAD, constant=_NUMBER))  # the next rule tests the number again
    return [_instruction(_JUMP_EQUAL, 0, len(inner), rule.number), *inner]


def _test(when: When) -> list[bytes]:
    """Falls through to the answer where the condition holds, else jumps over it."""
    count = len(when.values)
    if when.test is Test.ANY_BIT:
        mask = sum(set(when.values))
        return [_instruction(_JUMP_ANY_BIT, 0, 1, mask)]
    tests = []
    for index, value in enumerate(when.values):
        left = count - index - 1
        if when.test is Test.NONE_OF:
            tests.append(_instruction(_JUMP_EQUAL, left + 1, 0, value))
        else:
            tests.append(_instruction(_JUMP_EQUAL, left, 0 if left else 1, value))
    return tests


def _instruction(operation: int, if_true: int = 0, if_false: int = 0, constant: int = 0) -> bytes:
    return struct.pack("<HBBI", operation, if_true, if_false, constant)
