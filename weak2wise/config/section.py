"""The base class of all config sections. A section checks itself; error messages have the full name of the key.

It is checked when it is made, from a file or in code, so the same mistake gets the same message.
"""

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args

import msgspec
from msgspec import Meta, Struct, structs

from weak2wise.errors import ConfigError

T = TypeVar("T")

LARGEST = 10**15
"""Of any number: more, infinity included, is a mistake, and would overflow somewhere."""
Count = Annotated[int, Meta(ge=1, le=LARGEST)]
"""At least one."""
Natural = Annotated[int, Meta(ge=0, le=LARGEST)]
Positive = Annotated[float, Meta(gt=0, le=LARGEST)]
Temperature = Annotated[float, Meta(ge=0, le=5)]
Price = Annotated[float, Meta(ge=0, le=LARGEST)]
Share = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(min_length=1)]
Url = Annotated[str, Meta(pattern=r"^https?://[^/\s@?#]+[^\s@?#]*(\?[^\s#]*)?$")]
"""A base URL; a path is added to it, before its query. No user and password: they would be secrets in a file."""

Duration = Annotated[str, Meta(pattern=r"^\s*[0-9]+(\.[0-9]+)?\s*(ms|s|m|min|h|d)\s*$", max_length=40)]
"""``200ms``, ``60s``, ``10m`` or ``10min``, ``24h``, ``7d``; ``seconds_of`` reads it."""
DURATION_SAID = "expected a duration such as 200ms, 60s, 10m, 24h or 7d"

MOST_BYTES, MOST_PART_BYTES = 4000, 255
"""Bytes of a path, with room for the files of a work_dir, and of each part of it."""

_AT = re.compile(r" - at (?P<is_key>`key` in )?`\$(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"unknown field `(?P<key>[^`]*)`")


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping in the config file. An unknown key is an error.

    Raises:
        ConfigError: a value is not valid for its key; the message names the key.
    """

    section: ClassVar[str] = ""
    """The key of the section in the file, for messages."""

    def __post_init__(self) -> None:
        """Check every value and convert it to its type: lists to tuples, integers to floats."""
        for field in structs.fields(type(self)):
            value = self._checked(field.name, field.type, self._key(field.encode_name))
            structs.force_setattr(self, field.name, value)

    def _checked(self, name: str, kind: Any, key: str) -> Any:
        return convert(getattr(self, name), kind, key)

    def _key(self, name: str) -> str:
        return f"{self.section}.{name}" if self.section else name

    def _expand_user(self, *names: str) -> None:
        """Expand ``~`` in the paths of these fields."""
        for name in names:
            value = getattr(self, name)
            if value is not None:
                key = self._key(name)
                found = (
                    expand_user(value, key)
                    if isinstance(value, str)
                    else tuple(expand_user(path, key) for path in value)
                )
                structs.force_setattr(self, name, found)


def expand_user(path: str, key: str) -> str:
    """The path with ``~`` expanded. Raises ``ConfigError`` if there is no such user."""
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError:
        raise ConfigError(f"{key}: {path}: there is no such user") from None


def check_file_name(path: str, key: str) -> None:
    """Raise ``ConfigError`` if no file can have this name."""
    problem = None
    if "\0" in path or any("\ud800" <= c < "\udc80" or "\udcff" < c <= "\udfff" for c in path):
        problem = "holds a character that no file name can"
    elif len(os.fsencode(path)) > MOST_BYTES or any(
        len(os.fsencode(part)) > MOST_PART_BYTES for part in path.split("/")
    ):
        problem = "too long for a file name"
    if problem:
        raise ConfigError(f"{key}: {problem}")


def convert(value: object, kind: type[T], key: str) -> T:
    """Convert a value to its type and check its bounds.

    Args:
        value: from YAML or from code.
        kind: the type of the key, with its bounds.
        key: the full name of the key, for the message.

    Raises:
        ConfigError: with the message ``section.key: what was expected``.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message = str(error)
    except (UnicodeEncodeError, RecursionError):
        raise ConfigError(f"{key}: expected a value that YAML can hold") from None
    at = _AT.search(message)
    inside = at["path"] if at else ""
    path = key + inside
    body = message[: at.start()] if at else message
    if at and at["is_key"]:
        body = f"each key in it: {body}"
    if unknown := _UNKNOWN.search(body):
        raise ConfigError(unknown_key(f"{path}.{unknown['key']}", _fields_at(kind, inside))) from None
    if "enum value" in body:
        body = f"expected one of {', '.join(_words(_type_at(kind, inside)))}"
    if Duration in (found_kind := _type_at(kind, inside), *get_args(found_kind)):
        body = DURATION_SAID
    elif "matching regex" in body:
        body = "expected http:// or https:// and a host, with no user or password"
    body = body.replace("`", "").replace("Expected", "expected", 1).replace("Invalid", "invalid", 1)
    body = body.replace("Object missing required field", "missing key")
    raise ConfigError(f"{path}: {body}{_found(value, inside)}") from None


def unknown_key(path: str, known: Iterable[str]) -> str:
    """The message for an unknown key of a section."""
    return f"{path}: unknown key; {nearest(path.rpartition('.')[2], known)}"


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint: the most similar known name, or all known names."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"


def _found(value: object, path: str) -> str:
    """The invalid value, if it is a number. Text is not repeated: it may be a secret."""
    for key in filter(None, path.split(".")):
        if not isinstance(value, dict) or key not in value:
            return ""
        value = value[key]
    return f", found {value!r}" if isinstance(value, int | float) else ""


def _type_at(kind: Any, path: str) -> Any:
    """The type of the key at ``path`` below ``kind``."""
    for key in filter(None, path.split(".")):
        kind = _fields_at(kind, "").get(key)
    return kind


def _words(kind: Any) -> list[str]:
    """The words that a type allows, also beside other types."""
    return [word for part in get_args(kind) for word in ([part] if isinstance(part, str) else _words(part))]


def _fields_at(kind: Any, path: str) -> dict[str, Any]:
    """The keys of the section at ``path`` below ``kind``, with their types."""
    found = _type_at(kind, path)
    for part in (found, *get_args(found)):  # an optional section is a union
        if isinstance(part, type) and issubclass(part, Section):
            return {field.encode_name: field.type for field in structs.fields(part)}
    return {}
