"""Makes docs/reference/config.md and docs/reference/commands.md from the code; as a program, writes them."""

import json
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import griffe
import msgspec
from msgspec import NODEFAULT, inspect

from tests.engine_runs import ROOT
from weak2wise.commands import app
from weak2wise.config import Config, OpenAIEndpoint, VllmEndpoint
from weak2wise.config.section import LARGEST, Duration, Section

FOLDER = ROOT / "docs" / "reference"
OPENING = """# Config keys

A config is a YAML file. `config.yaml` in the project's folder is an example with a comment on most keys;
`weak2wise init PROVIDER` writes one for a provider; `--set params.n_mask=8` sets one key from the command line.
An unknown key is an error.

This page is made from the code (`python -m tests.docs.reference_pages`).
"""
ENDPOINTS: dict[str, type[Section]] = {"openai": OpenAIEndpoint, "vllm": VllmEndpoint}
"""By the ``type`` of ``model_endpoints.NAME``."""


def config_page() -> str:
    """The page of config keys: a table for each section, in the order of the schema."""
    parts = [OPENING]
    for field in _fields(Config):
        name = field.encode_name
        if name == "model_endpoints":
            for kind, endpoint in ENDPOINTS.items():
                parts += _section(endpoint, "model_endpoints.NAME", title=f"`model_endpoints.NAME`, `type: {kind}`")
        else:
            section = _struct(field.type)
            assert section
            parts += _section(section, name)
    return "\n".join(dict.fromkeys(parts))  # what two kinds of endpoint share is there once


def _fields(kind: type[Section]) -> tuple[inspect.Field, ...]:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return info.fields


def _section(kind: type[Section], name: str, *, title: str = "") -> Iterator[str]:
    """A section's table, then those of the sections inside."""
    meanings = _docs(kind)
    inner = []
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for field in _fields(kind):
        found = _struct(field.type)
        if found:
            inner.append((found, f"{name}.{field.encode_name}"))
        cells = (f"`{field.encode_name}`", _type(field.type), _default(field), meanings[field.name])
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    yield f"## {title or f'`{name}`'}\n\n{_text(kind.__doc__ or '')}\n\n" + "\n".join(rows) + "\n"
    for found, key in inner:
        yield from _section(found, key)


def _docs(kind: type) -> dict[str, str]:
    """The docstring of each key, also of those that the class inherits."""
    docs: dict[str, str] = {}
    for cls in reversed(kind.__mro__):
        if issubclass(cls, Section) and cls is not Section:
            for name, member in griffe.load(cls.__module__)[cls.__name__].members.items():
                if member.is_attribute and member.docstring:
                    docs[name] = _text(member.docstring.value)
    return docs


def _text(docstring: str) -> str:
    """A docstring's text in Markdown, a line for each paragraph."""
    paragraphs = docstring.partition("\n    Raises:")[0].replace("``", "`").strip().split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _struct(kind: inspect.Type) -> type[Section] | None:
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    found = next((one.cls for one in kinds if isinstance(one, inspect.StructType)), None)
    assert found is None or issubclass(found, Section)
    return found


def _type(kind: inspect.Type) -> str:
    """A type in words."""
    match kind:
        case inspect.UnionType(types=types):
            text = " or ".join(_type(one) for one in types if not isinstance(one, inspect.NoneType))
        case inspect.LiteralType(values=values):
            text = ", ".join(f"`{value}`" for value in values)
        case inspect.IntType() | inspect.FloatType():
            text = ("whole number" if isinstance(kind, inspect.IntType) else "number") + _bounds(kind)
        case inspect.StrType(pattern=pattern):
            text = "duration" if pattern == _DURATION else "address" if pattern else "text"
        case inspect.BoolType():
            text = "`true`, `false`"
        case inspect.VarTupleType(item_type=item):
            text = f"list of {_type(item)}"
        case inspect.TupleType(item_types=items):
            text = f"[{', '.join(_type(item) for item in items)}]"
        case inspect.DateType():
            text = "date"
        case _:
            text = "section" if isinstance(kind, inspect.StructType) else "mapping"
    return text


_DURATION = get_args(Duration)[1].pattern


def _bounds(kind: Any) -> str:
    low = (
        f"at least {kind.ge:g}"
        if kind.ge not in (None, -LARGEST)
        else f"above {kind.gt:g}"
        if kind.gt is not None
        else ""
    )
    high = (
        f"at most {kind.le:g}"
        if kind.le not in (None, LARGEST)
        else f"below {kind.lt:g}"
        if kind.lt is not None
        else ""
    )
    return "".join(f", {bound}" for bound in (low, high) if bound)


def _default(field: inspect.Field) -> str:
    if field.required:
        return "**required**"
    value = field.default if field.default is not NODEFAULT else field.default_factory()
    if value is None or isinstance(value, Section) or value in ((), {}):
        return ""
    return f"`{json.dumps(msgspec.to_builtins(value))}`" if not isinstance(value, date) else f"`{value}`"


def commands_page() -> str:
    """The page of commands, as cyclopts writes it."""
    with patch.object(sys, "argv", ["weak2wise"]):  # cyclopts shows the program that was started
        made = app.generate_docs(output_format="markdown")
    first = "## weak2wise run"
    opening = """# Commands

`weak2wise`, `python -m weak2wise` and `python -m weak2wise.engine` are the same; without a command they are
`weak2wise run`. Each command explains itself with `--help`, and `weak2wise --install-completion` teaches your shell.
This page is made from the code (`python -m tests.docs.reference_pages`).

"""
    return opening + first + made.split(first, 1)[1].rstrip() + "\n"


PAGES = {FOLDER / "config.md": config_page, FOLDER / "commands.md": commands_page}


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(exist_ok=True)
    for path, page in PAGES.items():
        Path(path).write_text(page())


if __name__ == "__main__":
    main()
