"""Which lines of the project search text with a regular expression, and which of them ran.

Found in the syntax tree, so that a pattern that is added somewhere cannot be missed.
"""

import ast
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from tests.engine_runs import ROOT

_SEARCHES = {"search", "fullmatch", "finditer", "findall", "sub", "subn"}
_SEARCHES_OR_OTHERS = {"match", "split"}
"""What texts have, too: it counts if a pattern is called so, whose name is written in capitals."""


class Use(NamedTuple):
    """A call that searches with a pattern, by its file and its lines."""

    path: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.path}:{self.first}"


def uses() -> set[Use]:
    """Every such call in a function of the project's packages."""
    files = [file for package in ("weak2wise", "workers") for file in (ROOT / package).rglob("*.py")]
    return {use for file in files for use in _uses_in(file)}


def _uses_in(file: Path) -> Iterator[Use]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in (node for made in ast.walk(tree) if isinstance(made, functions) for node in ast.walk(made)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = ast.unparse(node.func.value).rpartition(".")[2]
            is_pattern = owner == "re" or owner.isupper()
            if node.func.attr in _SEARCHES or (node.func.attr in _SEARCHES_OR_OTHERS and is_pattern):
                yield Use(str(file.relative_to(ROOT)), node.lineno, node.end_lineno or node.lineno)


class Ran:
    """The lines of the given files that ran."""

    def __init__(self, files: set[str]) -> None:
        self._files = {str(ROOT / file): file for file in files}
        self._lines: set[tuple[str, int]] = set()

    def has(self, use: Use) -> bool:
        """Whether any line of a call ran."""
        return any((use.path, line) in self._lines for line in range(use.first, use.last + 1))

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what runs inside, in this thread."""
        before = sys.gettrace()
        sys.settrace(self._called)
        try:
            yield
        finally:
            sys.settrace(before)

    def _called(self, frame: FrameType, _event: str, _value: Any) -> Any:
        file = self._files.get(frame.f_code.co_filename)
        if file is None:
            return None

        def line(frame: FrameType, _event: str, _value: Any) -> Any:
            self._lines.add((file, frame.f_lineno))
            return line

        return line
