"""Architecture page and glossary name places that exist, and no code uses a name that the glossary has given up."""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PAGES = {"architecture": ARCHITECTURE, "glossary": GLOSSARY}

CODE = re.compile(r"`([^`\n]+)`")
PLACE = re.compile(r"((?:weak2wise|workers)(?:\.\w+)*): ([\w.]+)")
MODULE = re.compile(r"(?:weak2wise|workers)(?:\.\w+)*")
PATH = re.compile(r"(?:weak2wise|workers|tests|scripts|docs)/[\w./-]*")
IDENTIFIER = re.compile(r"[A-Za-z_]\w*")

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def places(text: str) -> list[tuple[str, str]]:
    """Every ``module: name`` in code type."""
    return [(found[1], found[2]) for code in CODE.findall(text) if (found := PLACE.fullmatch(code))]


def file_of(module: str) -> Path | None:
    """The file of a module or package."""
    path = ROOT.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def bound(node: ast.stmt) -> Iterator[str]:
    """The variables that a statement binds, without and with ``self``."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    for target in targets:
        if isinstance(target, ast.Name):
            yield target.id
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
            yield target.attr


def members(scope: ast.Module | Definition) -> dict[str, ast.AST]:
    """What a module or class defines by name: functions, classes, variables, and what its constructor sets."""
    found: dict[str, ast.AST] = {}
    for node in scope.body:
        if isinstance(node, Definition):
            found[node.name] = node
            if node.name == "__init__":
                inside = (inner for inner in ast.walk(node) if isinstance(inner, ast.stmt))
                found |= {name: inner for inner in inside for name in bound(inner)}
        elif isinstance(node, ast.stmt):
            found |= dict.fromkeys(bound(node), node)
    return found


def exists(module: str, name: str) -> bool:
    """Whether a module defines a name, or a class in it does."""
    path = file_of(module)
    scope: ast.AST | None = tree_of(path) if path else None
    for part in name.split("."):
        if not isinstance(scope, ast.Module | ast.ClassDef):
            return False
        scope = members(scope).get(part)
    return scope is not None


def test_a_place_that_is_not_in_the_code_is_known_for_one() -> None:
    assert exists("weak2wise.run.host", "Host.open")
    assert exists("weak2wise.run.host", "Host.budget")
    assert not exists("weak2wise.run.host", "Host.gate")
    assert not exists("weak2wise.run.gate", "Gate")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_place_that_a_page_names_is_in_the_code(page: str) -> None:
    found = places(PAGES[page])
    assert len(found) > 50
    assert [f"{module}: {name}" for module, name in found if not exists(module, name)] == []


@pytest.mark.parametrize(
    "text", [ARCHITECTURE, GLOSSARY, CONTRIBUTING], ids=["architecture", "glossary", "contributing"]
)
def test_every_module_and_path_that_a_page_names_is_there(text: str) -> None:
    names = CODE.findall(text)
    modules = [name for name in names if MODULE.fullmatch(name)] + [module for module, _ in places(text)]
    paths = [name for name in names if PATH.fullmatch(name)]
    assert len(modules) + len(paths) > 10
    assert paths
    assert [name for name in modules if file_of(name) is None] == []
    assert [path for path in paths if not (ROOT / path).exists()] == []


def section(heading: str) -> str:
    """The text below a heading of the architecture page, as far as the next."""
    return ARCHITECTURE.partition(f"## {heading}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(
    ("heading", "most"),
    [
        ("The way of the run", 16),
        ("The way of a question", 12),
        ("The way of an API reply", 12),
        ("The way of a mask bit", 12),
    ],
)
def test_each_walk_is_short_and_each_of_its_places_is_in_the_code(heading: str, most: int) -> None:
    steps = re.findall(r"^\d+\. (.*)$", section(heading), re.MULTILINE)
    assert 4 <= len(steps) <= most
    assert [step for step in steps if not (step.startswith("`") and places(step.partition(" — ")[0]))] == []


def test_the_map_has_the_layers_that_import_linter_holds() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = next(contract["layers"] for contract in linter["contracts"] if contract["type"] == "layers")
    rows = re.findall(r"^\| (`.*?) \|", section("Map of the house"), re.MULTILINE)
    assert [CODE.findall(row) for row in rows] == [layer.split(" | ") for layer in layers]


def test_the_map_has_every_package() -> None:
    shown = {name for name in CODE.findall(section("Map of the house")) if MODULE.fullmatch(name)}
    there = {f"weak2wise.{path.stem}" for path in (ROOT / "weak2wise").iterdir() if is_module(path)}
    assert there <= shown


def is_module(path: Path) -> bool:
    return (path.is_dir() and (path / "__init__.py").is_file()) or (path.suffix == ".py" and path.stem != "__init__")


def given_up() -> set[str]:
    """The names in code type on the lines that say which words are not used."""
    lines = re.findall(r"^\*not:\* (.*)$", GLOSSARY, re.MULTILINE)
    return {name for line in lines for name in CODE.findall(line) if IDENTIFIER.fullmatch(name)}


def used() -> dict[str, str]:
    """Every name that the code uses, without leading underscores, and one place of it."""
    found: dict[str, str] = {}
    for path in sorted([*(ROOT / "weak2wise").rglob("*.py"), *(ROOT / "workers").rglob("*.py")]):
        place = str(path.relative_to(ROOT))
        found.setdefault(path.stem.lstrip("_"), place)
        for node in ast.walk(tree_of(path)):
            for key in ("id", "attr", "name", "asname", "arg"):
                if isinstance(name := getattr(node, key, None), str):
                    found.setdefault(name.rpartition(".")[2].lstrip("_"), f"{place}:{getattr(node, 'lineno', '?')}")
    return found


@pytest.mark.slow
def test_no_code_uses_a_name_that_was_given_up() -> None:
    names, code = given_up(), used()
    assert {"Purse", "Gate", "Books", "Offload", "StopRun", "line_up", "asked_by"} <= names
    assert {name: code[name] for name in names if name.lstrip("_") in code} == {}


def test_every_word_has_one_meaning() -> None:
    words = re.findall(r"^\*\*(.+?)\*\*", GLOSSARY, re.MULTILINE)
    assert len(words) > 80
    assert sorted(set(words)) == sorted(words)


def test_every_word_has_its_line_of_others_not_to_use() -> None:
    entries = [entry for entry in GLOSSARY.split("\n\n") if entry.startswith("**")]
    assert [entry for entry in entries if "\n*not:* " not in entry] == []
