"""How long files and functions are, and which ones stand out. A report to read, not a gate: nothing fails by it.

    make measure

Lines of code are lines that are neither blank nor comment nor docstring; complexity counts the ways through a function.
"""

import ast
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

FILE_LINES = 400
FUNCTION_LINES = 40
CORE_FUNCTION_LINES = 25
COMPLEXITY = 9
BRANCHES = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.IfExp,
    ast.comprehension,
    ast.BoolOp,
    ast.match_case,
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def code_lines(node: ast.AST, text: Sequence[str]) -> int:
    """Lines of code within a node; `text` is the whole file's lines."""
    start, end = getattr(node, "lineno", 1), getattr(node, "end_lineno", len(text))
    silent = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Module | ast.ClassDef | Function) and ast.get_docstring(each) is not None:
            silent |= set(range(each.body[0].lineno, (each.body[0].end_lineno or 0) + 1))
    return sum(
        1
        for n in range(start, end + 1)
        if n not in silent and text[n - 1].strip() and not text[n - 1].lstrip().startswith("#")
    )


def complexity(function: Function) -> int:
    """One, and one more for each branch."""
    return 1 + sum(isinstance(node, BRANCHES) for node in ast.walk(function))


def functions(tree: ast.Module) -> Iterator[Function]:
    """Every function and method, nested ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def summary(values: Sequence[int]) -> str:
    """Median, ninth decile, largest."""
    ordered = sorted(values)
    return f"median {statistics.median(ordered):.0f}, p90 {ordered[int(len(ordered) * 0.9)]}, max {ordered[-1]}"


def measure(root: Path) -> tuple[int, list[str]]:
    """Lines of code below a folder, and the report on it."""
    sizes, lengths, depths, outliers = [], [], [], []
    total = 0
    for file in sorted(root.rglob("*.py")):
        text = file.read_text().splitlines()
        tree = ast.parse("\n".join(text))
        total += code_lines(tree, text)
        sizes.append(len(text))
        if len(text) > FILE_LINES:
            outliers.append(f"  {file}: {len(text)} lines")
        limit = CORE_FUNCTION_LINES if "core" in file.parts else FUNCTION_LINES
        for function in functions(tree):
            lengths.append(code_lines(function, text))
            depths.append(complexity(function))
            if lengths[-1] > limit or depths[-1] > COMPLEXITY:
                outliers.append(
                    f"  {file}:{function.lineno} {function.name}: {lengths[-1]} lines, complexity {depths[-1]}"
                )
    report = [
        f"{root}: {len(sizes)} files, {total} lines of code, {len(lengths)} functions",
        f"  lines of a file: {summary(sizes)}",
        f"  lines of a function: {summary(lengths)}",
        f"  complexity: {summary(depths)}",
    ]
    return total, report + outliers


def main() -> None:
    """Print the report on product and tests."""
    product, report = measure(Path("agentd"))
    tests, _ = measure(Path("tests"))
    print("\n".join(report))
    print(f"tests: {tests} lines of code, {tests / product:.2f} for each line of the product")


if __name__ == "__main__":
    main()
